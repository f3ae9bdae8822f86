"""How does a report look on a screen: the facts of report.json in, one HTML document out?

report.html holds everything it needs: no script, nothing from elsewhere, under 300 kB. The page of the
server is of the same parts, with forms.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from risk.reporting import small_charts, summary

ROOT = Path(__file__).resolve().parents[2]
CSS = ROOT / "static" / "report.css"
MOST_BYTES = 300_000
MOST_ROWS, LEAST_ROWS = 200, 5
MOST_CHARTS = 12


@functools.cache
def templates() -> Environment:
    """Give the templates; every text is escaped."""
    return Environment(
        loader=FileSystemLoader(ROOT / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )


def render_report(report: Mapping[str, Any]) -> str:
    """Render report.html; tables are cut until the whole is small enough.

    Parameters
    ----------
    report : mapping
        report.json.
    """
    css = Markup(CSS.read_text(encoding="utf-8"))  # noqa: S704  (a file of ours)
    charts = draw_charts(report)
    most = MOST_ROWS
    while True:
        text = (
            templates()
            .get_template("report.html")
            .render(report=report, css=css, most=most, most_clients=most, words=summary, **charts)
        )
        if len(text.encode()) < MOST_BYTES or most <= LEAST_ROWS:
            return text
        most //= 2


def draw_charts(report: Mapping[str, Any]) -> dict[str, Any]:
    """Draw trend, reliability and what else has moved, as inline SVG; nothing where nothing is known."""
    moved = report["trends"]
    trend = small_charts.draw_trend(moved, summary.TREND, summary.TREND_NAME)
    reliability = small_charts.draw_reliability(report["calibration"]["curve"])
    others = [key for key, one in moved["series"].items() if len(one["points"]) > 1 and key != summary.TREND]
    charts = [(key, _inline(small_charts.draw_trend(moved, key, key))) for key in others[:MOST_CHARTS]]
    return {"trend": _inline(trend), "reliability": _inline(reliability), "charts": charts}


def _inline(chart: small_charts.SmallChart | None) -> Markup:
    return Markup(small_charts.render_svg(chart)) if chart else Markup("")  # noqa: S704  (its texts are escaped)
