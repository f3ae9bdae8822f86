"""Answers in JSON, and predictions as one JSON document or as the CSV that came with three more columns."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from flask import Response, g, jsonify, request
from flask.json.provider import DefaultJSONProvider

from risk import text
from risk.serving import model_cache, problems
from risk.serving.model_cache import ServedModel
from risk.serving.problems import Refusal
from risk.serving.requested import ClientChunk, RequestedClients

_SIGN = re.compile(
    "[=+\\-@\t\r\uff1d\uff0b\uff0d\uff20]"
)  # those that `text.escape_for_spreadsheet` looks for
ADDED = ("predicted_class", "predicted_probability", "problem")


# --- any answer -------------------------------------------------------------------------------------------


def render_json(value: Any) -> str:
    """Render JSON as its standard has it: no NaN, keys in the order given, text as it is."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


class StrictJSON(DefaultJSONProvider):
    """The JSON of every answer."""

    def dumps(self, obj: Any, **_: Any) -> str:
        return render_json(obj)


def render_problem(status: int, detail: str, **members: Any) -> Response:
    """Render an error by RFC 9457."""
    answer = jsonify(problems.describe(status, detail, **members))
    answer.status_code = status
    answer.mimetype = problems.MEDIA_TYPE
    answer.headers.extend(problems.headers_of(status))
    return answer


def render_refusal(deployment: Path, refusal: Refusal) -> tuple[list[tuple[str, str]], bytes]:
    """Render headers and body for a request that never reached the application."""
    body = render_json(problems.describe(refusal.status, refusal.detail)).encode()
    headers = [
        *problems.SAFE_HEADERS,
        *problems.headers_of(refusal.status),
        ("X-Release", model_cache.current_id(deployment)),
        ("Content-Type", problems.MEDIA_TYPE),
        ("Content-Length", str(len(body))),
    ]
    return headers, body


def answer_json(release: str, members: dict[str, Any]) -> Response:
    """Answer with facts about one release, named in body and header."""
    g.release = release
    return jsonify({"release": release, **members})


def answer_csv(release: str, pieces: Iterator[bytes]) -> Response:
    """Answer with a CSV that is sent while it is written."""
    g.release = release
    answer = Response(pieces, mimetype="text/csv")
    answer.headers["Content-Disposition"] = 'attachment; filename="predictions.csv"'
    return answer


def prefers_csv() -> bool:
    """Report whether the client prefers a CSV to JSON."""
    if "csv" not in request.headers.get("Accept", ""):
        return False
    accepted = request.accept_mimetypes
    return accepted["text/csv"] > accepted["application/json"]


# --- predictions ------------------------------------------------------------------------------------------


def to_json(served: ServedModel, clients: RequestedClients) -> dict[str, Any]:
    """Write class and probability of every good client in order, and the bad ones where they are listed."""
    predicted: list[dict[str, Any]] = []
    rejected: list[dict[str, Any]] = []
    for chunk in clients.chunks:
        predictions = served.predict(chunk.columns)
        pairs = zip(predictions.classes.tolist(), predictions.probability.tolist(), strict=True)
        predicted += [{**chunk.labels(k), "class": c, "probability": p} for k, (c, p) in enumerate(pairs)]
        rejected += chunk.problems.values()
    return {"predictions": predicted, **({"rejected": rejected} if clients.is_partial else {})}


def to_csv(served: ServedModel, clients: RequestedClients) -> Iterator[bytes]:
    """Write the clients as they came, bad ones too, with three columns more, a chunk at a time.

    No cell is such that a spreadsheet would run it. Columns of an earlier answer are replaced.
    """
    positions = [index for index, name in enumerate(clients.header) if name not in ADDED]
    yield write_rows([make_safe([*(clients.header[index] for index in positions), *ADDED])])
    for chunk in clients.chunks:
        columns = [make_safe(chunk.cells[index]) for index in positions]
        yield write_rows(zip(*columns, *_render_columns(served, chunk), strict=True))


def _render_columns(served: ServedModel, chunk: ClientChunk) -> list[list[str]]:
    """Render class, probability and problem of every client, good or bad."""
    predictions = served.predict(chunk.columns)
    classes = list(map(str, predictions.classes.tolist()))
    columns = [classes, list(map(repr, predictions.probability.tolist())), [""] * len(classes)]
    if not chunk.problems:
        return columns
    good, rows = zip(*columns, strict=True), list[tuple[str, ...]]()
    for k in range(len(classes) + len(chunk.problems)):
        problem = chunk.problems.get(k)
        rows.append(
            next(good) if problem is None else ("", "", text.escape_for_spreadsheet(_explain(problem)))
        )
    return [list(column) for column in zip(*rows, strict=True)]


def _explain(problem: Mapping[str, Any]) -> str:
    column = "" if problem["column"] is None else f"{problem['column']} "
    return f"line {problem['line']}: {column}{problem['reason']}"


def make_safe(cells: Sequence[str]) -> Sequence[str]:
    """Let no cell be such that a spreadsheet would run it; without one of its signs none is."""
    if _SIGN.search("".join(cells)) is None:
        return cells
    return [cell if cell.isalnum() else text.escape_for_spreadsheet(cell) for cell in cells]


def write_rows(rows: Iterable[Sequence[str]]) -> bytes:
    """Write rows as CSV."""
    return "".join(map(text.render_csv_row, rows)).encode()
