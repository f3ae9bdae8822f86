"""Report on clients and model: report.json, and PDF, HTML and charts drawn from it alone."""

from __future__ import annotations

import argparse
import datetime
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from config import Config
from risk.data.ledger import load_ready_ledger
from risk.errors import UsageError
from risk.files import put, put_json, put_text, read_json
from risk.model import registry
from risk.reporting import document
from risk.runtime import logs, runner, state

if TYPE_CHECKING:
    pass

LOG = logs.log("reporting")
PICTURE_DPI = 150


@dataclass(frozen=True)
class ReportingResult:
    """What was reported on."""

    release: str
    date: str
    n_pages: int

    def history(self, _: Config) -> dict[str, Any]:
        """Give what the history records of this run beside how long it took: nothing."""
        return {}


def run(
    config: Config, *, verdict: Mapping[str, Any] | None = None, today: str | None = None
) -> ReportingResult:
    """Write report.json, and draw PDF, HTML and pictures from it alone.

    Parameters
    ----------
    verdict : mapping, optional
        Of the drift check of this run; None takes that of the last run.
    today : str, optional
        The date printed, as YYYY-MM-DD; None is today in UTC.

    Raises
    ------
    MissingArtifactError
        When nothing is deployed, ingested or diagnosed yet.
    """
    release = registry.load(config.prod_deployment, config.secrets.get("RISK_MODEL_KEY"))
    ledger = load_ready_ledger(config.ledger)
    diagnostics = read_json(config.diagnostics, "run diagnostics.py first")
    history = read_json(config.trends, "run diagnostics.py first")
    if verdict is None:
        verdict = state.last_verdict(config.tick_state)
    date = today or datetime.datetime.now(datetime.UTC).date().isoformat()
    report = document.make_report(release, ledger.files, diagnostics, history, verdict, date)
    put_json(config.report, report)
    return ReportingResult(release.id, date, draw(config, report))


def draw(config: Config, report: Mapping[str, Any]) -> int:
    """Draw the pictures and the pages; return the number of pages of the PDF."""
    # Without a folder for its cache matplotlib warns, and cron would send a mail at every run.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    import numpy as np
    from matplotlib import style

    import pretty_confusion_matrix
    from risk.reporting import charts, html, pdf

    score = report["score"]
    counts = np.array(
        [
            [score["true_negative"], score["false_positive"]],
            [score["false_negative"], score["true_positive"]],
        ]
    )
    title = f"release {report['release']['id']} on {score['n']:,} test rows"
    # The default style: a matplotlibrc of the user or the working folder would change the bytes.
    with style.context("default"), put(config.confusion_matrix, "wb") as handle:
        picture = pretty_confusion_matrix.draw_confusion_matrix(counts, title=title)
        picture.savefig(handle, format="png", metadata={"Software": None})
    with style.context("default"), put(config.time_trends, "wb") as handle:
        picture = charts.draw_trends(report["trends"])
        picture.savefig(handle, format="png", dpi=PICTURE_DPI, metadata={"Software": None})
    put_text(config.report_page, html.render_report(report))
    with put(config.summary_report, "wb") as handle:
        return pdf.render_pdf(handle, report, config.confusion_matrix, config.time_trends)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--today", metavar="DATE", type=check_date, help="date to print, YYYY-MM-DD (default: today, UTC)"
    )


def check_date(text: str) -> str:
    """Check a date of the command line."""
    try:
        return datetime.date.fromisoformat(text).isoformat()
    except ValueError as error:
        raise UsageError(f"--today: {text!r} is not a date such as 2026-01-31") from error


def main(argv: list[str] | None = None) -> int:
    """Run from the shell."""
    return runner.main("reporting", run, argv, description=__doc__, options=add_options)


if __name__ == "__main__":
    raise SystemExit(main())
