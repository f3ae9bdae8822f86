"""How is an answer about clients written: one JSON document, or a CSV as it came with what was found?"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any

from risk import escapes
from risk.questions import Asked, Clients
from risk.serving import Served

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
    yield write_rows([[*(escapes.for_spreadsheet(asked.header[index]) for index in kept), *ADDED]])
    for clients in asked.chunks:
        yield write_rows(_rows(served, clients, kept))


def _rows(served: Served, clients: Clients, kept: Sequence[int]) -> Iterator[Sequence[str]]:
    classes, probability = served.say(clients.columns)
    good = zip(map(str, classes.tolist()), map(repr, probability.tolist()), strict=True)
    width = max(kept, default=-1) + 1
    for k, cells in enumerate(clients.cells):
        problem = clients.problems.get(k)
        if problem is None:
            said = (*next(good), "")
        else:
            cells = [*cells, *[""] * (width - len(cells))]
            column = "" if problem["column"] is None else f"{problem['column']} "
            said = ("", "", escapes.for_spreadsheet(f"line {problem['line']}: {column}{problem['reason']}"))
        yield [*(_safe(cells[index]) for index in kept), *said]


def _safe(cell: str) -> str:
    return cell if not cell or cell.isalnum() else escapes.for_spreadsheet(cell)


def write_rows(rows: Iterator[Sequence[str]] | list[list[str]]) -> bytes:
    """Write rows as CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
