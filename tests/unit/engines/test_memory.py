"""The engine in memory gives the bytes and counts that DuckDB gives."""

import csv
import io
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from risk.data.schema_inference import ColumnCounts
from risk.engines.duckdb import DuckDBEngine
from risk.engines.memory import MemoryEngine
from risk.limits import Room
from risk.text import render_csv_row

NAMES = ("a", "b", "left")
CELLS = st.sampled_from(
    [
        "",
        "1",
        "01",
        "a,b",
        'q"',
        "#",
        "x#",
        "'",
        " ",
        "a b",
        "two\nlines",
        "\r",
        "é",
        "\u2028",
        "-1",
        "NULL",
        "nan",
        "True",
        "1e101",
        "-.5e2",
        "\\",
    ]
)
ROWS = st.lists(st.tuples(CELLS, CELLS, st.sampled_from(["", "1", "0"])), max_size=6)


@settings(max_examples=25)
@given(st.lists(ROWS, min_size=1, max_size=4), st.integers(0, 3))
def test_rows_are_counted_and_written_as_by_duckdb(files, dropped):
    with (
        tempfile.TemporaryDirectory() as name,
        DuckDBEngine(NAMES, Room(Path(name)), reads=Path(name)) as engine,
    ):
        results = []
        for keeper in (engine, MemoryEngine(NAMES)):
            for number, rows in enumerate(files):
                filled = [row for row in rows if any(row)]
                keeper.add_rows(number, [dict(zip(NAMES, row, strict=True)) for row in filled])
            keeper.drop_files({dropped})
            path = Path(name) / "out.csv"
            counts = keeper.count_rows(), keeper.count_columns(["a", "b"]), keeper.count_labels("left")
            keeper.deduplicate()
            keeper.write(path)
            numbers, unlabelled = keeper.row_facts("left")
            facts = list(numbers), bytes(unlabelled)
            results.append((counts, path.read_bytes(), keeper.count_labelled("left"), facts))
        assert results[0] == results[1]


def test_words_for_missing_are_filled_and_no_numbers():
    engine = MemoryEngine(["a"])
    engine.add_rows(3, [{"a": cell} for cell in ("", "NA", "1", "true", "x", "1e101")])
    assert engine.count_columns(["a"]) == {3: {"a": ColumnCounts(filled=5, missing_words=1, numbers=2)}}


@given(st.lists(CELLS | st.text(max_size=5), min_size=2, max_size=4), st.booleans())
def test_a_rendered_row_reads_back_equal(cells, quote_hash):
    rendered = render_csv_row(cells, quote_hash=quote_hash)
    assert next(csv.reader(io.StringIO(rendered, newline=""), strict=True)) == cells
