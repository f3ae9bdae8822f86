"""What does the model say of the rows of a file, of any length?

CSV in, CSV out: a line for each good row, in order: `row` (its number among the rows of the file, from 1),
the id columns that the file has, under their own names, `probability` (four decimals), `class` (1 leaves,
0 stays), `risk` (high, medium, low: see `bands`), `reason_1`, `reason_2`, … (see `reasons`). Every cell is
safe for a spreadsheet (`escapes`). Bad rows are left out and told of with line, column and reason.

A file without anything odd is read by DuckDB, in frames of 50,000 rows; any other by the exact reader.
Both ways give the same (tested); no more than a frame is ever held.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import IO

import numpy as np

from risk.data import csv_check, csv_rows, validation
from risk.data.csv_check import Checked
from risk.data.frames import to_frame
from risk.data.validation import Rejection
from risk.engines import frame_reader, sql
from risk.engines.duckdb_session import name_of, scan_csv
from risk.engines.frame_reader import OddError, Rows
from risk.errors import DatasetError
from risk.limits import Room
from risk.prediction.csv_output import render_header, render_lines
from risk.prediction.predictor import Predictor

CHUNK_ROWS = 10_000


@dataclass
class Told:
    """What became of the rows of a file."""

    n_rows: int = 0
    n_leaving: int = 0
    rejected: list[Rejection] = field(default_factory=list)


def predict_file(checked: Checked, predictor: Predictor, out: IO[str], *, n_reasons: int, room: Room) -> Told:
    """Write what the model says of each good row of a checked file.

    Parameters
    ----------
    out : text file
        Open for writing and seeking: when something odd turns up half way, all is written again.

    Raises
    ------
    DatasetError
        When the file is no table, or lacks a column that the model needs.
    """
    reason = checked.refusal or validation.refuse_header(checked.header, predictor.schema.features)
    if reason:
        raise DatasetError(f"{checked.name}: {reason}")
    if not checked.odd:
        start = out.tell()
        try:
            return _write(read_fast(checked, predictor, room), checked, predictor, out, n_reasons)
        except OddError:
            out.seek(start)
            out.truncate()
    return _write(read_exactly(checked, predictor), checked, predictor, out, n_reasons)


def _write(
    chunks: Iterator[tuple[Rows, list[Rejection]]],
    checked: Checked,
    predictor: Predictor,
    out: IO[str],
    n_reasons: int,
) -> Told:
    told, ids = Told(), ids_of(checked, predictor)
    out.write(render_header(ids, n_reasons))
    for chunk, rejected in chunks:
        told.rejected += rejected
        if not len(chunk.numbers):
            continue
        texts = [chunk.texts[name] for name in ids]
        lines, n_leaving = render_lines(predictor, chunk.numbers, chunk.X, texts, n_reasons)
        out.write(lines)
        told.n_rows += len(chunk.numbers)
        told.n_leaving += n_leaving
    return told


def ids_of(checked: Checked, predictor: Predictor) -> list[str]:
    """Name the id columns that a file has."""
    return [name for name in predictor.schema.ids if name in checked.header]


def read_fast(checked: Checked, predictor: Predictor, room: Room) -> Iterator[tuple[Rows, list[Rejection]]]:
    """Read the rows of a file in which nothing is odd; what is odd all the same is an OddError."""
    schema, header = predictor.schema, checked.header
    raw = [f"c{position}" for position in range(len(header))]
    said = " and ".join(
        f"({cell} is null or {cell} = {sql.literal(name)})" for cell, name in zip(raw, header, strict=True)
    )
    trim = ", ".join(
        f"case when {sql.has_outer_blank(c)} then nullif({sql.trimmed(c)}, '') else {c} end as {c}"
        for c in raw
    )
    cells = {name: cell for name, cell in zip(header, raw, strict=True) if name}
    check = [f"not ({said})", *(frame_reader.is_good_number(cells[name]) for name in schema.numbers)]
    ids = ids_of(checked, predictor)
    with (
        csv_check.open_regular(checked.path) as handle,
        frame_reader.connect(room, len(raw)) as connection,
    ):
        scanned = scan_csv([name_of(handle)], len(raw), checked.separator)
        source = f"select row_number() over () as row_no, {trim} from {scanned}"
        for chunk in frame_reader.read(connection, source, cells, schema, texts=ids, check=check):
            yield chunk, []


def read_exactly(checked: Checked, predictor: Predictor) -> Iterator[tuple[Rows, list[Rejection]]]:
    """Read the rows of any file, with the lines and reasons of bad ones."""
    schema, ids = predictor.schema, ids_of(checked, predictor)
    found = csv_rows.read_rows(checked)
    first = 1
    while part := list(islice(found, CHUNK_ROWS)):
        taken = validation.sort_rows(part, checked.header, (*schema.features, *ids), schema)
        texts = {name: np.array([row[name] or None for row in taken.good], dtype=object) for name in ids}
        numbers = np.array(taken.places, dtype=np.int64) + first
        X = to_frame(taken.good, schema)
        yield Rows(numbers, X, texts, {}), taken.rejected
        first += len(part)
