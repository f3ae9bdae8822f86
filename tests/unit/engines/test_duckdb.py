"""The engine says in SQL what the rules of rows say in Python: both ways give the same table."""

import csv
import io
import math
import tempfile
from pathlib import Path

import duckdb
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from risk.data import csv_check, csv_spans, schema, validation
from risk.data.schema_inference import ColumnCounts
from risk.engines import sql
from risk.engines.duckdb import DuckDBEngine
from risk.limits import Room

quick = settings(deadline=None, database=None, derandomize=True)
NAMES = ("a", "b", "c")
# The characters that readers disagree about, and a few that none should mind.
SIGNS = [*"ab019.,;|\t \"'#\\\u00a0é漢🙂\u0301-eE+_\u2028\u0085\ufeff", "\n", "\r\n", "\r"]
CELLS = st.lists(st.sampled_from(SIGNS), max_size=4).map("".join)


@pytest.fixture(scope="module")
def connection():
    with duckdb.connect(":memory:") as opened:
        yield opened


def ask(connection, expression, text):
    (answer,) = connection.execute(f"select {expression} from (select ?::varchar as x)", [text]).fetchone()
    return answer


NUMBER_LIKE = st.text(st.sampled_from("0123456789.+-eE"), max_size=9)


@settings(quick, max_examples=400)
@given(st.one_of(NUMBER_LIKE, st.text(max_size=6), st.floats().map(str), st.integers().map(str)))
@example("1e308")
@example("1e309")
@example("-1e-400")
@example("1.")
@example(".")
@example("9" * 400)
@example("infinity")
@example("1_000")
@example("0x10")
@example("١٢")  # Arabic digits: Python's float takes them
@example("1e+")
@example("+-1")
def test_sql_and_python_agree_on_what_is_a_number(connection, text):
    text = text.replace("\0", "")
    value = schema.parse_number(text)
    wanted = value is not None and not math.isnan(value) and text.lower() not in schema.BOOLEAN_WORDS
    assert ask(connection, sql.is_number("x"), text) is wanted


@settings(quick, max_examples=400)
@given(
    st.lists(st.one_of(st.sampled_from(SIGNS), st.characters(exclude_categories=["Cs"])), max_size=8).map(
        "".join
    )
)
@example(" \u0301x \u0301")
@example("\u00a0\u2003 x")
@example("\r\n x \r\n")
def test_sql_and_python_trim_the_same_blanks(connection, text):
    text = text.replace("\0", "")
    assert ask(connection, sql.trimmed("x"), text) == text.strip(csv_check.BLANKS)


@settings(quick, max_examples=200)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=5))
@example("NaN")
@example("\u212aNA")
@example("TRUE")
def test_sql_and_python_agree_on_missing_and_boolean_words(connection, text):
    text = text.replace("\0", "")
    for words in (schema.MISSING_WORDS, tuple(schema.BOOLEAN_WORDS)):
        listed = ", ".join(map(sql.literal, words))
        assert ask(connection, f"lower(x) in ({listed})", text) is (text.lower() in words)


def write(path, table, separator=",", line_end="\n", mark="", quoting=csv.QUOTE_MINIMAL):
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator=line_end, quoting=quoting)
    writer.writerow(NAMES)
    for row in table:
        bare = csv.QUOTE_ALL if any("\r" in cell or "\n" in cell for cell in row) else quoting
        csv.writer(text, delimiter=separator, lineterminator=line_end, quoting=bare).writerow(row)
    path.write_bytes((mark + text.getvalue()).encode())


def read_fast(folder, checked):
    """Read with the engine alone; None when it says that the file is odd."""
    with DuckDBEngine(NAMES, Room(folder / "spill"), reads=folder) as opened:
        if checked.odd or opened.read([(0, checked)]) or opened.find_shapeless():
            return None
        return opened.connection.execute("select c0, c1, c2 from raw order by rowid").fetchall()


def read_exact(checked):
    found = [part for part in validation.sort_file(checked, NAMES, None, chunk_rows=2)]
    good = [tuple(row[name] or None for name in NAMES) for part in found for row in part.good]
    return good, [rejection for part in found for rejection in part.rejected]


@pytest.mark.slow
@settings(quick, max_examples=120)
@given(
    st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=5),
    st.sampled_from(csv_check.SEPARATORS),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["", "\ufeff"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_any_written_table_is_read_the_same_fast_and_exact(table, separator, line_end, mark, quoting):
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "table.csv"
        write(path, table, separator, line_end, mark, quoting)
        checked = csv_check.check(path, NAMES, separator)
        assert checked.header == NAMES
        trimmed = [tuple(cell.strip(csv_check.BLANKS) or None for cell in row) for row in table]
        wanted = [row for row in trimmed if any(row) and row != NAMES]
        good, rejected = read_exact(checked)
        if any(csv_spans.SWALLOWED in str(one) for one in (checked.refusal, *rejected)):
            assert any(separator in cell and len(cell.splitlines()) > 1 for row in table for cell in row)
            assert read_fast(Path(name), checked) is None
            return
        assert good == wanted
        assert len(good) + len(rejected) == len(table)
        assert read_fast(Path(name), checked) in (None, wanted)


@pytest.mark.slow
@settings(quick, max_examples=250)
@given(
    st.lists(st.sampled_from([*SIGNS, *',,,,"\n\n\n']), max_size=30).map("".join),
    st.sampled_from(["", "1,2,3\n"]),
)
@example("1,2,3,,\n", "")
@example("1,2,3,4\n", "")
@example('1,"2" ,3\n', "")
@example('1, "2",3\n', "")
@example('1,2"x,3\n', "")
@example('1,"2\n,3\n', "4,5,6\n")
@example(",,\n", "1,2,3\n")
@example("a,b,c\n", "1,2,3\n")
@example("\n\n \n", "1,2,3\n")
def test_any_text_is_either_read_the_same_fast_and_exact_or_seen_to_be_odd(body, more):
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "table.csv"
        path.write_bytes(f"a,b,c\n{more}{body}".encode())
        checked = csv_check.check(path, NAMES, ",")
        if checked.refusal:
            return
        good, rejected = read_exact(checked)
        fast = read_fast(Path(name), checked)
        assert fast is None or (fast == good and not rejected)


@settings(quick, max_examples=60)
@given(st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=6))
def test_rows_added_by_the_exact_reader_are_kept_as_they_are(table):
    wanted = [tuple(cell or None for cell in row) for row in table]
    with (
        tempfile.TemporaryDirectory() as name,
        DuckDBEngine(NAMES, Room(Path(name)), reads=Path(name)) as opened,
    ):
        opened.add_rows(0, [dict(zip(NAMES, row, strict=True)) for row in table])
        assert opened.connection.execute("select c0, c1, c2 from raw order by rowid").fetchall() == wanted


@settings(quick, max_examples=60)
@given(st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=8))
def test_the_first_of_equal_rows_is_kept_in_order(table):
    wanted = list(dict.fromkeys(tuple(cell or None for cell in row) for row in table))
    with (
        tempfile.TemporaryDirectory() as name,
        DuckDBEngine(NAMES, Room(Path(name)), reads=Path(name)) as opened,
    ):
        opened.add_rows(0, [dict(zip(NAMES, row, strict=True)) for row in table])
        opened.deduplicate()
        opened.write(Path(name) / "out.csv")
        with (Path(name) / "out.csv").open(newline="", encoding="utf-8") as handle:
            found = [tuple(cell or None for cell in row) for row in csv.reader(handle)]
        assert found == wanted
        numbers, unlabelled = opened.row_facts("c")
        assert list(numbers) == [0] * len(wanted)
        assert list(unlabelled) == [row[2] is None for row in wanted]


def test_files_of_one_scan_keep_their_order_and_numbers(tmp_path):
    files = []
    for number in range(12):
        path = tmp_path / f"it's {number} #é.csv"
        write(path, [(f"{number}-{row}", "x", "") for row in range(500)])
        files.append((number, csv_check.check(path, NAMES)))
    with DuckDBEngine(NAMES, Room(tmp_path / "spill"), reads=tmp_path) as opened:
        assert opened.read(files) == set()
        assert opened.count_rows() == dict.fromkeys(range(12), 500)
        opened.write(tmp_path / "out.csv")
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert lines == [f"{number}-{row},x," for number in range(12) for row in range(500)]


def test_one_file_the_engine_cannot_read_does_not_spoil_the_scan_of_the_others(tmp_path):
    files = []
    for number, line_end in enumerate(["\n", "\r\n", "\n"]):
        write(tmp_path / f"{number}.csv", [(str(number), "x", "y")], line_end=line_end)
        files.append((number, csv_check.check(tmp_path / f"{number}.csv", NAMES)))
    with (tmp_path / "1.csv").open("ab") as handle:
        handle.write(b'1,2,3\n4,"5" 6,7\r\n')
    with DuckDBEngine(NAMES, Room(tmp_path / "spill"), reads=tmp_path) as opened:
        assert opened.read(files) == {1}


def test_a_column_that_is_empty_in_one_file_and_mixed_in_another_is_counted_in_both(tmp_path):
    with DuckDBEngine(["a", "b"], Room(tmp_path), reads=tmp_path) as opened:
        opened.add_rows(0, [{"a": "", "b": "1"}, {"a": "", "b": "2"}])
        opened.add_rows(1, [{"a": "x", "b": "3"}, {"a": "NA", "b": "4"}, {"a": "true", "b": "5"}])
        counts = opened.count_columns(["a", "b"])
    assert counts[0]["a"] == ColumnCounts(0, 0, 0)
    assert counts[1]["a"] == ColumnCounts(3, 1, 1)
    assert counts[0]["b"] == ColumnCounts(2, 0, 2)
