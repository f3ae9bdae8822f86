"""Answers of the API as text for people: apireturns.txt; pure, standard library only."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WIDTH = 98
MAX_ROWS = 10


@dataclass(frozen=True)
class Call:
    """One request and its answer; `status` is None when none came."""

    method: str
    path: str
    sent: Mapping[str, Any] | None
    status: int | None
    body: Any

    @property
    def failed(self) -> bool:
        return self.status is None or self.status >= 400

    @property
    def broken(self) -> bool:
        return self.status is None or self.status >= 500


def render_calls(calls: Iterable[Call]) -> str:
    """Render apireturns.txt: a section a call; the same answers give the same text.

    Durations are left out: they differ between two runs that found the same.
    """
    return "\n".join(_render_call(call) for call in calls)


def _render_call(call: Call) -> str:
    sent = f" {json.dumps(call.sent, ensure_ascii=False)}" if call.sent else ""
    title = _make_printable(f"{call.method} {call.path}{sent}")
    status = "no answer" if call.status is None else f"status {call.status}"
    if call.failed or not isinstance(call.body, dict):
        shown = render_error(call.body)
    else:
        shown = RENDERERS[call.path](call.body)
    return "\n".join([title, "=" * min(len(title), WIDTH), status, *shown, ""])


def render_error(body: Any) -> list[str]:
    """Render the body of an error: title and detail of a problem, else the beginning of the text."""
    if not isinstance(body, dict):
        return [_make_printable(str(body))[:WIDTH]]
    return [f"{_make_printable(str(body.get('title')))}: {_make_printable(str(body.get('detail')))}"]


def _render_prediction(body: Mapping[str, Any]) -> list[str]:
    found, rejected = body["predictions"], body.get("rejected", [])
    n_leave = sum(one["class"] for one in found)
    lines = [
        f"release {body['release']}",
        f"{len(found):,} predictions: {n_leave:,} leave (class 1), {len(found) - n_leave:,} stay (class 0); "
        f"{len(rejected):,} rows rejected",
    ]
    return [*lines, *_render_rows(found), *_render_rows(rejected)]


def _render_rows(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Render the first of some rows that all have the same members."""
    if not found:
        return []
    names = [name for name in found[0] if name != "line"]
    table = [names, *([_show(one.get(name)) for name in names] for one in found[:MAX_ROWS])]
    more = [f"… and {len(found) - MAX_ROWS:,} more"] if len(found) > MAX_ROWS else []
    return ["", *_align(table), *more]


def _render_scoring(body: Mapping[str, Any]) -> list[str]:
    return _align([[name, _show(value)] for name, value in body.items() if name != "model_sha256"])


def _render_summarystats(body: Mapping[str, Any]) -> list[str]:
    figures = ("n", "mean", "median", "mode", "std", "min", "max")
    table = [["column", *figures]]
    table += [[name, *(_show(one[key]) for key in figures)] for name, one in body["statistics"].items()]
    return [f"{body['n_rows']:,} rows, {body['n_unlabelled']:,} of them unlabelled", "", *_align(table)]


def _render_diagnostics(body: Mapping[str, Any]) -> list[str]:
    missing = [["column", "missing", "percent"]]
    missing += [[k, f"{v['count']:,}", f"{v['percent']:.2f}"] for k, v in body["missing"].items()]
    timings = [["timing of", ""]]
    timings += [[name, "recorded" if one else "none yet"] for name, one in body["timings"].items()]
    modules = [["module", "installed", "latest"]]
    modules += [[m["module"], m["installed"], m["latest"]] for m in body["dependencies"]]
    rows = f"{body['n_rows']:,} rows"
    return [rows, "", *_align(missing), "", *_align(timings), "", *_align(modules)]


RENDERERS = {
    "/prediction": _render_prediction,
    "/scoring": _render_scoring,
    "/summarystats": _render_summarystats,
    "/diagnostics": _render_diagnostics,
}


def _show(value: Any) -> str:
    """Shorten one value for a reader."""
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _make_printable(text: str) -> str:
    """Make text from data safe to print: no line breaks, no control characters."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def _align(table: Sequence[Sequence[str]]) -> list[str]:
    """Align columns, figures right, and cut the widest ones until a line fits."""
    cells = [[_make_printable(cell) for cell in row] for row in table]
    columns = [*zip(*cells, strict=True)]
    widths = [max(map(len, column)) for column in columns]
    while sum(widths) + 2 * (len(widths) - 1) > WIDTH and max(widths) > 4:
        widths[widths.index(max(widths))] -= 1
    right = [all(_is_figure(cell) for cell in column[1:]) for column in columns]
    lines = []
    for row in cells:
        cut = [c if len(c) <= w else c[: w - 1] + "…" for c, w in zip(row, widths, strict=True)]
        shown = [
            c.rjust(w) if to_right else c.ljust(w) for c, w, to_right in zip(cut, widths, right, strict=True)
        ]
        lines.append("  ".join(shown).rstrip())
    return lines


def _is_figure(cell: str) -> bool:
    return cell == "-" or cell.lstrip("-").replace(",", "", 3).replace(".", "", 1).isdigit()
