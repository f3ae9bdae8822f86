"""Clients at risk as people read them: one line of the list in, texts out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from risk.data.schema import ROW
from risk.reporting import formats

NAMELESS = "without a name"


def describe_clients(listed: Mapping[str, Any] | None) -> dict[str, Any]:
    """Describe the top of the list: how much of it this is, and its lines.

    Parameters
    ----------
    listed : mapping or None
        As `atrisk.write_list` gives it; None when there is no list yet.
    """
    if listed is None:
        return {"said": "There is no list yet; run diagnostics.py.", "has_loss": False, "lines": []}
    lines = [describe_line(line) for line in listed["clients"]]
    by = "by expected loss" if listed["value_column"] else "by risk"
    note = (
        f"The first {len(lines):,} of {listed['n_clients']:,} clients, {by}; atrisk.csv holds all of them. "
        "Reasons are what raises a client's risk most, compared with typical values."
    )
    return {"said": note, "has_loss": listed["value_column"] is not None, "lines": lines}


def describe_line(line: Mapping[str, Any]) -> dict[str, Any]:
    """Describe one line of the list; reasons are texts, or objects with one."""
    low, high = line["probability_low"], line["probability_high"]
    loss = line["expected_loss"]
    return {
        "rank": f"{line['rank']:,}",
        "name": name_client(line["id"]),
        "probability": formats.format_percent(line["probability"]),
        "band": "" if low is None else f"{formats.format_percent(low, '')} to {formats.format_percent(high)}",
        "risk": line["risk"],
        "loss": "" if loss is None else f"{loss:,.0f}",
        "change": formats.format_rank_change(line["rank_change"]),
        "reasons": [one if isinstance(one, str) else one["text"] for one in line["reasons"]],
    }


def name_client(ids: Mapping[str, str | None]) -> str:
    """Name a client by its ids; without any by its row."""
    if list(ids) == [ROW]:
        return f"row {ids[ROW]}"
    return " · ".join(filter(None, ids.values())) or NAMELESS
