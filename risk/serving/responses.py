"""How is an answer about clients written: one JSON document, or a CSV as it came with what was found?"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from risk import text
from risk.serving.model_cache import Served
from risk.serving.parsing import Asked, Clients

_SIGN = re.compile("[=+\\-@\t\r\uff1d\uff0b\uff0d\uff20]")  # those of `escapes`
ADDED = ("predicted_class", "predicted_probability", "problem")


def to_json(served: Served, asked: Asked) -> dict[str, Any]:
    """Write class and probability of every good client in order, and the bad ones where they are listed."""
    predictions: list[dict[str, Any]] = []
    rejected: list[dict[str, Any]] = []
    for clients in asked.chunks:
        found = zip(*(one.tolist() for one in served.say(clients.columns)), strict=True)
        predictions += [{**clients.labels(k), "class": c, "probability": p} for k, (c, p) in enumerate(found)]
        rejected += clients.problems.values()
    return {"predictions": predictions, **({"rejected": rejected} if asked.is_partial else {})}


def to_csv(served: Served, asked: Asked) -> Iterator[bytes]:
    """Write the clients as they came, bad ones too, with three columns more, a chunk at a time.

    No cell is such that a spreadsheet would run it. Columns of an earlier answer are replaced.
    """
    kept = [index for index, name in enumerate(asked.header) if name not in ADDED]
    yield write_rows([make_safe([*(asked.header[index] for index in kept), *ADDED])])
    for clients in asked.chunks:
        columns = [make_safe(clients.cells[index]) for index in kept]
        yield write_rows(zip(*columns, *_say(served, clients), strict=True))


def _say(served: Served, clients: Clients) -> list[list[str]]:
    """Say class, probability and problem of every client, good or bad."""
    classes, probability = served.say(clients.columns)
    said = [[str(c) for c in classes.tolist()], [repr(p) for p in probability.tolist()], [""] * len(classes)]
    if not clients.problems:
        return said
    good, found = zip(*said, strict=True), list[tuple[str, ...]]()
    for k in range(len(said[0]) + len(clients.problems)):
        problem = clients.problems.get(k)
        found.append(
            next(good) if problem is None else ("", "", text.escape_for_spreadsheet(_explain(problem)))
        )
    return [list(column) for column in zip(*found, strict=True)]


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
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
