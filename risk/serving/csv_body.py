"""Parsing of CSV bodies, a chunk at a time: good rows are predicted, bad ones listed."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from risk.data import csv_check, csv_rows, validation
from risk.data.csv_check import Checked
from risk.data.schema import LARGEST, Schema, parse_number
from risk.serving import requested
from risk.serving.problems import Refusal

CHUNK_ROWS = 5_000


_PLAIN = frozenset("0123456789+-.eE")


def read_csv(data: bytes, schema: Schema, separator: str | None, max_rows: int) -> requested.RequestedClients:
    """Read a CSV text: its good rows are predicted, its bad ones listed."""
    checked = csv_check.check_open(io.BytesIO(data), Path("body.csv"), schema.columns, separator)
    reason = checked.refusal or validation.refuse_header(checked.header, schema.features)
    if reason:
        lacking = [] if checked.refusal else [name for name in schema.features if name not in checked.header]
        problems = [{"column": name, "reason": "is missing"} for name in lacking[: requested.MAX_PROBLEMS]]
        raise Refusal(400, f"the CSV {reason}", **({"problems": problems} if problems else {}))
    if data.count(b"\n") > max_rows + 1:
        raise Refusal(413, f"the CSV has over {max_rows:,} lines")
    return requested.RequestedClients(checked.header, _read_chunks(data, checked, schema), is_partial=True)


def _read_chunks(data: bytes, checked: Checked, schema: Schema) -> Iterator[requested.ClientChunk]:
    """Read blocks in which nothing is odd at once, and from the first other one on row by row."""
    header, separator, n_read = checked.header, checked.separator, 0
    if not checked.odd:
        for plain in csv_rows.read_plain(io.BytesIO(data), header, separator, CHUNK_ROWS):
            if plain is None:
                break
            lines = range(n_read + 2, n_read + 2 + len(plain[0]))
            yield _read_chunk(plain, lines, {}, n_read, header, schema)
            n_read += len(plain[0])
        else:
            return
    rows = islice(csv_rows.read_open_rows(io.BytesIO(data), header, separator), n_read, None)
    while chunk := list(islice(rows, CHUNK_ROWS)):
        width = len(header)
        cells = [*map(list, zip(*((*row.cells, *[""] * width)[:width] for row in chunk), strict=True))]
        wrong = {k: {"column": None, "reason": row.problem} for k, row in enumerate(chunk) if row.problem}
        yield _read_chunk(cells, [row.line for row in chunk], wrong, n_read, header, schema)
        n_read += len(chunk)


def _read_chunk(
    cells: list[list[str]],
    lines: Sequence[int],
    problems: dict[int, dict[str, Any]],
    n_before: int,
    header: tuple[str, ...],
    schema: Schema,
) -> requested.ClientChunk:
    """Sort the rows of some columns into good and bad ones; `problems` are of rows that are none."""
    place = {name: index for index, name in enumerate(header) if name}
    features = {name: cells[place[name]] for name in schema.features}
    columns = _read_columns(features, problems, schema)
    if columns is None:  # the exact way names what is wrong
        for k in range(len(lines)):
            row = {name: texts[k] for name, texts in features.items()}
            if k not in problems and (problem := requested.find_problem(row, schema)):
                problems[k] = problem
        columns = _read_columns(features, problems, schema) or {}
    good = [k for k in range(len(lines)) if k not in problems] if problems else range(len(lines))
    ids = {name: cells[place[name]] if name in place else None for name in schema.ids}

    def label(n: int) -> dict[str, Any]:
        k = good[n]
        named = {name: texts[k] or None if texts else None for name, texts in ids.items()}
        return {"row": n_before + k + 1, "line": lines[k], **named}

    described = {k: {"row": n_before + k + 1, "line": lines[k], **problems[k]} for k in sorted(problems)}
    return requested.ClientChunk(columns, label, cells, described)


def _read_columns(
    features: Mapping[str, list[str]], problems: Mapping[int, Any], schema: Schema
) -> dict[str, Any] | None:
    """Read features, a whole column of good rows at once; None when a cell is not such as its column."""
    columns: dict[str, Any] = {}
    for name, texts in features.items():
        good = [text for k, text in enumerate(texts) if k not in problems] if problems else texts
        if schema.kinds[name] == "number":
            columns[name] = read_numbers(good)
            if columns[name] is None:
                return None
        else:
            columns[name] = [text or None for text in good]
    return columns


def read_numbers(texts: Sequence[str]) -> np.ndarray | None:
    """Read a number column as `schema.parse_number` reads each cell; None when it could not read one.

    Plain numbers, which most columns hold alone, are read by the interpreter's own C: of those signs it
    reads what our pattern matches, and nothing else.
    """
    if _PLAIN.issuperset("".join(texts)):
        try:
            values = np.array([float(text) if text else math.nan for text in texts])
        except ValueError:
            return None
        return None if (np.abs(values) > LARGEST).any() else values
    parsed = [parse_number(text) for text in texts]
    return None if None in parsed else np.array(parsed, dtype="float64")
