"""Cells that span lines are accepted unless one of the lines looks like a row."""

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.data import csv_check, csv_rows, csv_spans

HEADER = ("a", "b", "c", "d")
CELLS = st.text(st.sampled_from([*"ab1 \n\"'"]), max_size=6)


def check(text, tmp_path_factory):
    path = tmp_path_factory.mktemp("spans") / "a.csv"
    path.write_text(text, newline="")
    return csv_check.check(path, HEADER)


@settings(max_examples=100, database=None, derandomize=True)
@given(st.lists(st.lists(CELLS, min_size=4, max_size=4), min_size=1, max_size=8))
def test_no_well_written_table_without_separators_in_its_cells_is_refused(tmp_path_factory, table):
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([HEADER, *table])
    checked = check(text.getvalue(), tmp_path_factory)
    assert checked.refusal is None
    assert not any(csv_rows.ends_a_file(row.problem or "") for row in csv_rows.read_rows(checked))


@settings(max_examples=100, database=None, derandomize=True)
@given(
    st.integers(0, 8), st.integers(1, 8), st.integers(0, 3), st.integers(0, 3), st.booleans(), st.booleans()
)
def test_a_pair_of_stray_quotes_is_refused_with_its_lines_wherever_it_stands(
    tmp_path_factory, first, distance, opens, closes, quoted, crlf
):
    rows = [[f"{name}{number}" for name in HEADER] for number in range(20)]
    if quoted:
        rows = [[f'"{row[0]}"', *row[1:]] if number < first else row for number, row in enumerate(rows)]
    rows[first][opens] = f'"{rows[first][opens]}'
    rows[first + distance][closes] += '"'
    end = "\r\n" if crlf else "\n"
    checked = check(end.join(map(",".join, [HEADER, *rows, [""]])), tmp_path_factory)
    reasons = [checked.refusal or ""]
    reasons += [row.problem or "" for row in csv_rows.read_rows(checked)] if not checked.refusal else []
    wanted = f"opened at line {first + 2} closes at line {first + distance + 2}, "
    assert any(wanted in reason and csv_rows.ends_a_file(reason) for reason in reasons)


@pytest.mark.parametrize("block", [7, 64])
def test_where_blocks_end_changes_nothing(block):
    text = b'a,b,c\n"x\ny",1,2\n1,"2" ,3\n' + b'1,"a\n' + b"1,2,3\n" * 9 + b'b",3\n1,2,3'
    found = []
    for size in (block, len(text)):
        spans, n_lines = csv_spans.SpanCheck(",", 3, 1), 0
        for start in range(0, len(text), size):
            spans.update(text[start : start + size], n_lines)
            n_lines += text[start : start + size].count(b"\n")
        spans.finish(n_lines)
        found.append((spans.refusal, spans.is_unsure))
    assert found[0] == found[1]
    assert "opened at line 5 closes at line 15" in found[0][0]
