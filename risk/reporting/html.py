"""The report as HTML: the pages described in `pages`, drawn by templates/parts.html.

report.html holds everything it needs: no script, nothing from elsewhere, under 300 kB. The page of the
server is made of the same parts, with forms.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from risk.reporting import pages, small_charts, summary
from risk.reporting.pages import Page

ROOT = Path(__file__).resolve().parents[2]
CSS = ROOT / "static" / "report.css"
MOST_BYTES = 300_000
MOST_ROWS, LEAST_ROWS = 200, 5
MOST_CHARTS = 12


@functools.cache
def templates() -> Environment:
    """Load the templates; every text is escaped."""
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
    drawn = draw_pages(report)
    template = templates().get_template("report.html")
    most = MOST_ROWS
    while True:
        text = template.render(report=report, css=css, pages=drawn, most=most)
        if len(text.encode()) < MOST_BYTES or most <= LEAST_ROWS:
            return text
        most //= 2


def draw_pages(report: Mapping[str, Any]) -> dict[str, Page]:
    """Describe the pages by name, with their charts as inline SVG; a chart without a point is left out."""
    described = pages.make_pages(report)
    return {page.name: page._replace(blocks=tuple(map(_draw_block, page.blocks))) for page in described}


def _draw_block(block: pages.Block) -> pages.Block:
    content = block.content
    if block.kind == "trend":
        content = _inline(small_charts.draw_trend(content, summary.TREND, summary.TREND_NAME))
    elif block.kind == "calibration":
        content = _inline(small_charts.draw_reliability(content))
    elif block.kind == "trends":
        content = _draw_trends(content)
    return block._replace(content=content)


def _draw_trends(history: Mapping[str, Any]) -> list[tuple[str, Markup]]:
    """Draw the series with more than one point, but for the one of page 1."""
    series = history["series"]
    others = [key for key, one in series.items() if len(one["points"]) > 1 and key != summary.TREND]
    return [(key, _inline(small_charts.draw_trend(history, key, key))) for key in others[:MOST_CHARTS]]


def _inline(chart: small_charts.SmallChart | None) -> Markup:
    return Markup(small_charts.render_svg(chart)) if chart else Markup("")  # noqa: S704  (its texts are escaped)
