"""The pages of the report: which blocks stand on each, in which order; PDF and HTML draw the blocks.

To add a page, write a function of report.json and give it a row in `PAGES`; a page of tables, texts and notes
needs nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from risk.reporting import summary, trend_scale

Report = Mapping[str, Any]


class Block(NamedTuple):
    """Something on a page under a heading of its own, or without one.

    `kind` says how it is drawn, by a row of `pdf.DRAWINGS` and a branch of templates/parts.html, and what
    `content` is: `headline`, `tiles`, `trend`, `trust`, `text` (a list of sentences), `warnings`, `note`,
    `clients`, `table`, `matrix`, `calibration`, `trends`, and on paper only `date` and `guide`.
    """

    kind: str
    content: Any
    title: str = ""
    note: str = ""


class Page(NamedTuple):
    """A page of the report; `name` is its anchor on a screen."""

    name: str
    title: str
    blocks: tuple[Block, ...]


def make_front(report: Report) -> Page:
    """The state, for executives."""
    content = report["summary"]
    blocks = [
        Block("date", report["date"]),
        Block("headline", content["headline"]),
        Block("tiles", content["figures"]),
        Block("trend", report["trends"], f"{summary.TREND_NAME} over time", describe_trend(report)),
        Block("trust", content["trust"], "Can the model be trusted?"),
        Block("text", [content["news"]], "Latest check"),
        Block("guide", summary.READING),
    ]
    return Page("state", "Attrition risk", tuple(blocks))


def describe_trend(report: Report) -> str:
    """Describe the dashed lines of the trend; nothing where none is drawn."""
    series = report["trends"]["series"].get(summary.TREND)
    if not series or not series["points"]:
        return ""
    trace = trend_scale.make_trace(summary.TREND, series)
    return summary.TREND_NOTE if trend_scale.list_deployments(report["trends"], trace) else ""


def make_clients(report: Report) -> Page:
    """The clients at risk, for those who call them."""
    clients = report["clients"]
    return Page("clients", "Whom to call first", (Block("note", clients["said"]), Block("clients", clients)))


def make_appendix(report: Report) -> Page:
    """Performance, drift, calibration, data and trends, for data scientists."""
    calibration = report["calibration"]
    blocks = [
        Block("note", report["subtitle"]),
        Block("text", report["score_said"], "Model performance"),
        Block("warnings", report["warnings"]),
        Block("text", report["verdict_said"], "Drift check"),
        Block("matrix", report["matrix"]),
        Block("calibration", calibration["curve"], "Calibration curve", calibration["said"]),
        *(Block("table", table) for table in report["tables"]),
        Block("trends", report["trends"], "Trends", report["trends_said"]),
        Block("table", report["trends_table"]),
    ]
    return Page("appendix", "Appendix", tuple(blocks))


def make_model_card(report: Report) -> Page:
    """The model card, for data scientists and auditors."""
    return Page("card", "Model card", tuple(Block("table", table) for table in report["card"]))


PAGES: tuple[Callable[[Report], Page], ...] = (make_front, make_clients, make_appendix, make_model_card)


def make_pages(report: Report) -> list[Page]:
    """Describe all pages of a report.

    Parameters
    ----------
    report : mapping
        report.json.
    """
    return [make(report) for make in PAGES]
