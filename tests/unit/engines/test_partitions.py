"""However a file is cut, its parts hold its rows, in their order, with their lines."""

import csv
import io
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from makers import csv_line

from risk.data import csv_check, csv_rows
from risk.engines import partitions
from risk.errors import ServiceError

NAMES = ("a", "b", "c")
MANY = settings(
    database=None,
    derandomize=True,
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
CELLS = st.lists(st.sampled_from([*'ab01.;\t \\é漢🙂\u2028\u0085\ufeff,"', "\n"]), max_size=4).map("".join)


def write(path, table, line_end="\n", mark=""):
    text = io.StringIO()
    csv.writer(text, lineterminator=line_end).writerows([NAMES, *table])
    path.write_bytes((mark + text.getvalue()).encode())
    return csv_check.check(path, NAMES, ",")


def read_cut(checked, part_bytes):
    """Read a file in parts; give line, problem and cells of each row, and the places."""
    cut = partitions.cut([(0, checked)], part_bytes)
    found = list(partitions.read(partitions.pack(cut, part_bytes), NAMES))
    places = [record[1] for record in found]
    before = {part.number: partitions.count_lines(part) for part in cut}
    rows = [
        (line + before[place // partitions.PLACES], problem, cells)
        for _, place, line, problem, *cells in found
    ]
    return cut, rows, places


def read_whole(checked):
    return [
        (row.line, row.problem, [None] * 3 if row.problem else [cell or None for cell in row.cells])
        for row in csv_rows.read_rows(checked)
    ]


@pytest.mark.parametrize("chunk_rows", [2, 10_000])
@MANY
@given(
    st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=8),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["", "\ufeff"]),
    st.integers(1, 40),
)
@example([("1", "2", "3"), ("", "", ""), ("a", "b", "c"), ("4", "5", "6")], "\n", "\ufeff", 3)
@example([("1", "2", 'x"y\n')] * 3, "\n", "", 1)
def test_the_parts_of_a_file_hold_its_rows(monkeypatch, chunk_rows, table, line_end, mark, part_bytes):
    monkeypatch.setattr(partitions, "CHUNK_ROWS", chunk_rows)
    with tempfile.TemporaryDirectory() as folder:
        checked = write(Path(folder) / "table.csv", table, line_end, mark)
        if checked.refusal:
            return
        cut, rows, places = read_cut(checked, part_bytes)
        assert rows == read_whole(checked)
        assert places == sorted(set(places))
        assert len(cut) == 1 or not (checked.odd or checked.quoted)


def test_a_large_file_without_quotes_is_cut_and_small_ones_are_put_together(tmp_path):
    checked = write(tmp_path / "a.csv", [("1", "2", "3")] * 100)
    cut = partitions.cut([(0, checked), (1, checked)], 100)
    assert [part.number for part in cut] == list(range(len(cut))) and len(cut) > 10
    assert [part.file_no for part in cut] == sorted(part.file_no for part in cut)
    assert [part for packed in partitions.pack(cut, 250) for part in packed] == cut
    packed = partitions.pack(cut, 250)
    assert 1 < len(packed) < len(cut)
    assert all(sum(part.stop - part.start for part in some) <= 250 for some in packed)


@pytest.mark.parametrize("change", ["gone", "longer", "touched"])
def test_a_file_that_is_another_one_here_is_told_with_its_host(tmp_path, change):
    path = tmp_path / "a.csv"
    checked = write(path, [("1", "2", "3")])
    (part,) = partitions.cut([(0, checked)])
    if change == "gone":
        path.unlink()
    elif change == "longer":
        path.write_bytes(path.read_bytes() + b"4,5,6\n")
    else:
        os.utime(path, ns=(1, 1))
    with pytest.raises(ServiceError, match=f"{path}.*{os.uname().nodename}"):
        list(partitions.read_part(part, NAMES))


@MANY
@given(
    st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=8),
    st.integers(0, 8),
    st.integers(1, 40),
    st.sampled_from([NAMES, ("corp\nname", "b", "c"), ('"', "b,", "c")]),
)
@example([("", "", ""), tuple(NAMES), ("a", "", "b")], 0, 5, NAMES)
@example([("1", "2", "x" * 200_000), ("a\rb", "\r", "#")], 1, 40, NAMES)
def test_committed_rows_are_read_as_they_stand(tmp_path, rows, n_before, part_bytes, header):
    """Those of the table behind a row, whatever they hold, and nothing behind what is committed."""
    lines = [csv_line(row) for row in (header, *rows)]
    path = tmp_path / "table.csv"
    path.write_bytes(b"".join(lines) + b"not committed")
    n_before = min(n_before, len(rows))
    start = len(b"".join(lines[: n_before + 1])) if n_before else 0
    one_line_each = not any(b"\n" in line[:-1] for line in lines)
    cut = partitions.cut_table(
        path, len(b"".join(lines)), header, one_line_each=one_line_each, start=start, part_bytes=part_bytes
    )
    limit = csv.field_size_limit()
    found = [record[3:] for record in partitions.read([cut], header)]
    csv.field_size_limit(limit)
    assert found == [(None, *(cell or None for cell in row)) for row in rows[n_before:]]
