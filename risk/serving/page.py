"""The page of the server: the report, the list of clients, releases and health.

Facts in, HTML out; the forms need no script.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from risk import files
from risk.errors import ArtifactError
from risk.model import registry
from risk.prediction import client_list_reader
from risk.prediction.client_list_reader import ClientListCache
from risk.reporting import html, tables
from risk.serving.prometheus import Gauge

PAGE_LINES = 25
LONGEST_SEARCH = 200
RISKS = ("high", "medium", "low")
ORDERS = (client_list_reader.MOVED, client_list_reader.NAME)
POLICY = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
# With no referrer at all, a browser sends a form with `Origin: null`, as a page from elsewhere would.
HEADERS = {"Content-Security-Policy": POLICY, "Referrer-Policy": "same-origin"}
FILES = {"report.css": "text/css", "icon.svg": "image/svg+xml"}
UNITS = (("day", 86_400), ("hour", 3_600), ("minute", 60))


@dataclass(frozen=True)
class View:
    """Which part of the list is asked for; what makes no sense is as if it was not asked."""

    search: str = ""
    risk: str = ""
    sort: str = ""
    offset: int = 0

    @classmethod
    def of(cls, arguments: Mapping[str, str]) -> View:
        """Read the fields of the form."""
        risk, sort, offset = (arguments.get(name, "") for name in ("risk", "sort", "offset"))
        whole = offset.isascii() and offset.isdecimal() and len(offset) < 10
        return cls(
            search=arguments.get("search", "").strip()[:LONGEST_SEARCH],
            risk=risk if risk in RISKS else "",
            sort=sort if sort in ORDERS else "",
            offset=int(offset) if whole else 0,
        )

    def link(self, offset: int) -> str:
        """Give the address of another part of the same list."""
        arguments = {"search": self.search, "risk": self.risk, "sort": self.sort, "offset": offset}
        return f"./?{urlencode({name: value for name, value in arguments.items() if value})}#clients"


def render_page(
    report: Mapping[str, Any] | str,
    listed: Mapping[str, Any] | str,
    view: View,
    deployment: Path,
    gauges: Sequence[Gauge],
    problem: str | None = None,
) -> str:
    """Render the page.

    Parameters
    ----------
    report, listed : mapping or str
        report.json, and some lines of the list as `client_list_reader.Page.to_json` gives them; or why
        there is none.
    deployment : Path
        The folder of the releases.
    gauges : sequence of Gauge
        What a monitoring system is given, too.
    problem : str, optional
        Why an upload was refused.
    """
    known = not isinstance(report, str)
    pages = html.draw_pages(report) if not isinstance(report, str) else {}
    return (
        html.templates()
        .get_template("page.html")
        .render(
            report=report if known else None,
            missing=report,
            problem=problem,
            view=view,
            releases=list_releases(deployment),
            health=describe_health(gauges),
            pages=pages,
            most=html.MOST_ROWS,
            **describe_list(listed, view),
        )
    )


# --- the list ----------------------------------------------------------------------------------------------


def read_list(clients: ClientListCache, view: View) -> dict[str, Any]:
    """Read the lines that are asked for.

    Raises
    ------
    ArtifactError
        When there is no list yet, or it is damaged.
    """
    order = view.sort or client_list_reader.RANK
    risk, search = view.risk or None, view.search or None
    page = clients.get().page(offset=view.offset, limit=PAGE_LINES, risk=risk, search=search, order=order)
    return page.to_json()


def describe_list(listed: Mapping[str, Any] | str, view: View) -> dict[str, Any]:
    """Describe the lines that were asked for, how many match, and where there are more."""
    if isinstance(listed, str):
        return {"list_problem": listed}
    n_found, first = listed["n_found"], listed["offset"]
    lines = [tables.describe_client(line) for line in listed["clients"]]
    last = first + len(lines)
    return {
        "list_problem": None,
        "lines": lines,
        "count": _describe_count(n_found, listed["n_clients"], first, last),
        "previous": view.link(max(first - PAGE_LINES, 0)) if first else None,
        "next": view.link(last) if lines and last < n_found else None,
    }


def _describe_count(n_found: int, n_clients: int, first: int, last: int) -> str:
    if not n_found:
        return f"None of {n_clients:,} clients match."
    of = f"{n_found:,} clients" if n_found == n_clients else f"{n_found:,} found among {n_clients:,} clients"
    return f"{first + 1:,} to {last:,} of {of}." if last > first else f"There is no more: {of}."


# --- releases and health -----------------------------------------------------------------------------------


def list_releases(folder: Path) -> dict[str, Any]:
    """Make the table of releases that are kept, the newest first, the deployed one marked."""
    try:
        current = registry.current(folder)
    except ArtifactError:
        current = None
    rows = [_describe_release(folder, name, current) for name in reversed(registry.list_names(folder))]
    header = ["release", "", "method", "deployed by", "score on the test data"]
    return tables.make_table("Kept releases", "", header, rows, [2, 1.5, 2, 1.5, -1.5])


def _describe_release(folder: Path, name: str, current: str | None) -> list[str]:
    served = "deployed now" if name == current else ""
    try:
        facts = files.read_json(folder / name / "manifest.json", "deploy again")
    except ArtifactError:
        return [registry.release_id(name), "damaged", "", "", ""]
    method = str(facts["estimator"]).replace("_", " ")
    return [registry.release_id(name), served, method, str(facts["deployed_by"]), f"{facts['score']:.3f}"]


def describe_health(gauges: Sequence[Gauge]) -> list[str]:
    """Describe how old everything is, and what waits."""
    known = {one.name: one.value for one in gauges if not one.labels}
    sentences = ["A model is deployed." if known["risk_model_served"] else "No model is deployed."]
    ages = (
        ("risk_model_age_seconds", "The deployed model was made {} ago."),
        ("risk_last_tick_age_seconds", "The last run ended {} ago."),
    )
    sentences += [
        sentence.format(format_age(age)) for name, sentence in ages if (age := known[name]) is not None
    ]
    if known["risk_tick_pending"]:
        sentences.append("Some steps of a run failed and will be tried again.")
    waiting, refused = known["risk_outbox_waiting"], known["risk_outbox_refused"]
    sentences.append(
        f"{waiting:,} batches of records wait for the database." if waiting else "The history is up to date."
    )
    sentences += [f"The database refused {refused:,} batches of records for good."] if refused else []
    queued = known["risk_alerts_waiting"]
    sentences += [f"{queued:,} alerts could not be sent yet, and will be tried again."] if queued else []
    unreadable = [
        one.labels["artifact"] for one in gauges if one.name == "risk_artifact_readable" and not one.value
    ]
    return sentences + [f"{name} is damaged or cannot be read." for name in unreadable]


def format_age(seconds: float) -> str:
    """Write a duration in its largest unit."""
    for unit, size in UNITS:
        n = int(seconds // size)
        if n:
            return f"{n:,} {unit}{'s' * (n != 1)}"
    return "less than a minute"
