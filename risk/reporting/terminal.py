"""Trends and events of the history on a terminal of 80 columns; pure, standard library only."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from risk import text
from risk.history import trends
from risk.reporting.formats import CELL_LETTERS, format_cell
from risk.text import fit

NAME_WIDTH = 26
FIRST_CLIENTS = 5


@dataclass(frozen=True)
class HistoryResult:
    """The trends of the history, or how many rows of each table were exported."""

    trends: Mapping[str, Any] = field(default_factory=dict, repr=False)
    since: str | None = None
    waiting: int = 0
    exported: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return dict(self.exported or self.trends)

    def text(self) -> str:
        if self.exported:
            return "".join(f"{name}.csv  {count:,} rows\n" for name, count in self.exported.items())
        late = f"{self.waiting:,} batches of records wait for the database\n" if self.waiting else ""
        return render_text(self.trends, since=self.since) + late


def render_text(history: Mapping[str, Any], *, since: str | None = None) -> str:
    """Render trends for a terminal of 80 columns: the series, then what happened when."""
    if not history["series"] and not history["marks"]:
        return f"nothing is recorded{f' since {since}' if since else ''}\n"
    lines = [f"{'trend':{NAME_WIDTH}} {'n':>7}  {'first':>10} {'previous':>10} {'last':>10} {'vs first':>10}"]
    for key, one in trends.latest(history).items():
        values = [point["value"] for point in history["series"][key]["points"]]
        previous = format_cell(values[-2]) if len(values) > 1 else "-"
        change = "-" if one["change_first"] is None else format_cell(one["change_first"], signed=True)
        figures = (format_cell(values[0]), previous, format_cell(one["last"]), change)
        lines.append(
            f"{fit(key, NAME_WIDTH)} {one['n']:>7,}  {' '.join(f'{f:>{CELL_LETTERS}}' for f in figures)}"
        )
    for panel, count in history["others"].items():
        if count:
            lines.append(f"and {count:,} more columns of {panel!r}, which changed less")
    held = trends.count_held(history)
    lines += [*textwrap.wrap(f"{held}.", text.WIDTH), ""] if held else [""]
    lines += _describe_events(history)
    return "\n".join(lines) + "\n"


def _describe_events(history: Mapping[str, Any]) -> list[str]:
    """Give a line to each deployment, rollback, alarm and judged batch, in order of time."""
    words = {"deployed": "deployed", "rollback": "rolled back to", "alarm": "DRIFT of"}
    events = [(m["at"], f"{words[m['kind']]} {m['release'] or 'a release'}") for m in history["marks"]]
    words_of = {"f1/release": "release", "f1/batch": "new rows", "f1/estimate": "new rows, estimated"}
    for key, word in words_of.items():
        for point in history["series"].get(key, {}).get("points", ()):
            band = f" ({point['low']:.3f}-{point['high']:.3f})" if "low" in point and "high" in point else ""
            events.append((point["at"], f"F1 {point['value']:.3f}{band} of {word}"))
    lines = (f"{at[:19].replace('T', ' ')}  {event}" for at, event in sorted(events))
    return [fit(line, text.WIDTH).rstrip() for line in lines]


# --- diagnostics -------------------------------------------------------------------------------------------


def render_diagnostics(facts: Mapping[str, Any]) -> str:
    """Render diagnostics.json as aligned tables."""
    n_rows = f"{facts['n_rows']:,} rows, {facts['n_unlabelled']:,} of them unlabelled"
    tables = (
        _list_statistics(facts["statistics"]),
        [("column", "missing", "percent")]
        + [(k, f"{v['count']:,}", f"{v['percent']:.2f}") for k, v in facts["missing"].items()],
        _list_timings(facts["timings"]),
        [("module", "installed", "latest")]
        + [(p["module"], p["installed"], p["latest"]) for p in facts["dependencies"]],
    )
    blocks = [n_rows, *map(text.align, tables), _render_predictions(facts["predictions"])]
    if facts["clients"]:
        blocks.append(render_clients(facts["clients"]))
    return "\n\n".join(blocks) + "\n"


def _list_statistics(statistics: Mapping[str, Any]) -> list[tuple[str, ...]]:
    header = ("column", "n", "mean", "median", "mode", "std", "min", "max")
    rows = [(name, *(format_cell(one[key]) for key in header[1:])) for name, one in statistics.items()]
    return [header, *rows]


def _list_timings(timings: Mapping[str, Any]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("stage", "seconds", "runs", "last run")]
    for name, timing in timings.items():
        if timing:
            rows.append((name, f"{timing['duration_s']:.2f}", str(timing["n_runs"]), timing["at"]))
        else:
            rows.append((name, "-", "0", "never"))
    return rows


def _render_predictions(predictions: Mapping[str, Any] | None) -> str:
    if not predictions:
        return "nothing is deployed yet"
    n_leaving, n = predictions["n_leaving"], predictions["n"]
    return f"release {predictions['release']}: {n_leaving:,} of {n:,} test rows are predicted to leave"


def render_clients(clients: Mapping[str, Any]) -> str:
    """Render how many clients are at risk, and the first of them."""
    n, n_at_risk = clients["n_clients"], clients["n_at_risk"]
    loss = f", expected loss {clients['value_at_risk']:,.0f}" if clients["value_at_risk"] is not None else ""
    lines = [f"{n_at_risk:,} of {n:,} clients at risk{loss}; all of them are in atrisk.csv"]
    for client in clients["clients"][:FIRST_CLIENTS]:
        reasons = "; ".join(reason["text"] for reason in client["reasons"])
        name = " ".join(value or "-" for value in client["id"].values())
        lines.append(fit(f"{100 * client['probability']:5.1f} %  {name}: {reasons}", text.WIDTH).rstrip())
    return "\n".join(lines)
