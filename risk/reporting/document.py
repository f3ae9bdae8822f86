"""The content of the report: report.json, from which PDF, HTML and page are drawn.

To add a page, put its facts in here and describe the page in `pages`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from risk.reporting import details, model_card, summary, tables

if TYPE_CHECKING:
    from risk.data.ledger import FileEntry
    from risk.model.registry import Release


def make_report(
    release: Release,
    files: Sequence[FileEntry],
    diagnostics: Mapping[str, Any],
    history: Mapping[str, Any],
    verdict: Mapping[str, Any] | None,
    date: str,
) -> dict[str, Any]:
    """Make report.json: all that PDF, report.html and page show, as data and as sentences.

    Parameters
    ----------
    diagnostics, history : mapping
        diagnostics.json and trends.json.
    verdict : mapping or None
        Of the last drift check.
    """
    metrics, card, manifest = release.json("metrics.json"), release.json("modelcard.json"), release.manifest
    listed = diagnostics.get("clients")
    if listed is not None and listed["release"] != release.id:
        listed = None  # predicted by another model than the one deployed
    return {
        "date": date,
        "release": {"id": release.id, "estimator": card["estimator"], "deployed_by": manifest["deployed_by"]},
        "summary": summary.make_summary(listed, metrics, card, verdict, release.id, manifest.get("why", {})),
        "clients": tables.describe_clients(listed),
        "subtitle": _describe_release(release.id, date, card, manifest),
        **_make_appendix(release.id, files, diagnostics, verdict, metrics, card),
        "verdict_said": [
            *details.describe_verdict(verdict, release.id, manifest),
            *details.describe_estimates(verdict, history),
        ],
        "trends_said": details.describe_marks(history),
        "trends_table": tables.make_trends_table(history),
        "trends": history,
        "card": model_card.make_model_card(card, metrics, history),
    }


def _describe_release(release: str, date: str, card: Mapping[str, Any], manifest: Mapping[str, Any]) -> str:
    return (
        f"{date}. Release {release}, {card['estimator'].replace('_', ' ')}, trained on "
        f"{card['data']['n_samples']:,} labelled rows of {card['data']['n_files']:,} files from "
        f"{card['data']['source']}, deployed by {manifest['deployed_by']}."
    )


def _make_appendix(
    release: str,
    files: Sequence[FileEntry],
    diagnostics: Mapping[str, Any],
    verdict: Mapping[str, Any] | None,
    metrics: Mapping[str, Any],
    card: Mapping[str, Any],
) -> dict[str, Any]:
    """Make what the appendix shows of model, drift check and data."""
    evidence = tables.make_evidence_tables(verdict)
    return {
        "score": metrics,
        "matrix": tables.make_confusion_matrix(metrics),
        "score_said": details.describe_score(metrics),
        "warnings": details.describe_warnings(metrics, card),
        "verdict": verdict,
        "calibration": details.describe_calibration(card),
        "tables": [*evidence, *tables.make_tables(files, diagnostics, release)],
    }
