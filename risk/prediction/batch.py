"""Predictions of the rows of a file of any length: CSV in, CSV out (`csv_output`).

Good rows have a line each, in order; bad rows are left out and reported with line, column and reason. A file
without anything odd is read by DuckDB, in frames of 50,000 rows; any other by the exact reader. Both ways
give the same (tested); no more than a frame is ever held.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

from risk.data import csv_check, csv_rows
from risk.data.csv_check import Checked
from risk.engines import frame_reader, sql
from risk.engines.duckdb_session import name_of, scan_csv
from risk.engines.frame_reader import OddError
from risk.limits import Room
from risk.prediction import csv_output
from risk.prediction.csv_output import Chunk, FileSummary
from risk.prediction.predictor import Predictor


def predict_file(
    checked: Checked, predictor: Predictor, out: IO[str], *, n_reasons: int, room: Room
) -> FileSummary:
    """Write a line of predictions for each good row of a checked file.

    Parameters
    ----------
    out : text file
        Open for writing and seeking: when something odd turns up half way, all is written again.

    Raises
    ------
    DatasetError
        When the file is no table, or lacks a column that the model needs.
    """
    csv_output.check_header(checked, predictor)
    if not checked.odd:
        start = out.tell()
        try:
            return write_file(read_fast(checked, predictor, room), checked, predictor, out, n_reasons)
        except OddError:
            out.seek(start)
            out.truncate()
    return write_file(read_exactly(checked, predictor), checked, predictor, out, n_reasons)


def write_file(
    chunks: Iterator[Chunk], checked: Checked, predictor: Predictor, out: IO[str], n_reasons: int
) -> FileSummary:
    """Write the header, and a line for each row of the chunks."""
    out.write(csv_output.render_header(csv_output.ids_of(checked.header, predictor), n_reasons))
    return csv_output.write_predictions(chunks, predictor, out, n_reasons)


def read_fast(checked: Checked, predictor: Predictor, room: Room) -> Iterator[Chunk]:
    """Read the rows of a file in which nothing is odd; what is odd all the same is an OddError."""
    schema, header = predictor.schema, checked.header
    raw = [f"c{position}" for position in range(len(header))]
    repeats_header = " and ".join(
        f"({cell} is null or {cell} = {sql.literal(name)})" for cell, name in zip(raw, header, strict=True)
    )
    trim = ", ".join(
        f"case when {sql.has_outer_blank(c)} then nullif({sql.trimmed(c)}, '') else {c} end as {c}"
        for c in raw
    )
    cells = {name: cell for name, cell in zip(header, raw, strict=True) if name}
    check = [
        f"not ({repeats_header})",
        *(frame_reader.is_good_number(cells[name]) for name in schema.numbers),
    ]
    ids = csv_output.ids_of(checked.header, predictor)
    with (
        csv_check.open_regular(checked.path) as handle,
        frame_reader.connect(room, len(raw)) as connection,
    ):
        scanned = scan_csv([name_of(handle)], len(raw), checked.separator)
        source = f"select row_number() over () as row_no, {trim} from {scanned}"
        for chunk in frame_reader.read(connection, source, cells, schema, texts=ids, check=check):
            yield Chunk(chunk.numbers, chunk.X, chunk.texts, [])


def read_exactly(checked: Checked, predictor: Predictor) -> Iterator[Chunk]:
    """Read the rows of any file, with the lines and reasons of bad ones."""
    return csv_output.sort_chunks(csv_rows.read_rows(checked), checked.header, predictor)
