"""Rows of a file are sorted alike in whole blocks and one by one."""

import csv
import io

from hypothesis import given, settings
from hypothesis import strategies as st

from risk.data import csv_check, csv_rows, validation
from risk.data.schema import Schema

SCHEMA = Schema(
    ("id", "size", "plan", "left"),
    {"size": "number", "plan": "text"},
    "left",
    ("1", "yes"),
    ("0", "no"),
    ("id",),
    (),
)
PLAIN = st.tuples(
    st.sampled_from(["a", "b", "c1"]),
    st.sampled_from(["1", "-2.5", "3e4", "", "NA", "true"]),
    st.sampled_from(["x", "ünï", ""]),
    st.sampled_from(["0", "1", "YES", ""]),
)
ODD = st.sampled_from(
    ["", "a", "a,b\n", "a,many,x,0", "a,1e101,x,0", "a,1,x,perhaps", 'a,1,"x, y",1', 'a,1,"x\ny",1',
     'a,1,x"y,1', "id,size,plan,left", "a,1,x,0,,", "a,1,x,0,more", " a , 1 ,x, 1 ", '"a,1,x,0', ",,,"]
)  # fmt: skip


@settings(max_examples=300)
@given(
    before=st.lists(PLAIN, max_size=8),
    odd=st.lists(ODD, max_size=2),
    after=st.lists(PLAIN, max_size=5),
    chunk_rows=st.integers(1, 5),
    columns=st.permutations(SCHEMA.columns),
    schema=st.sampled_from([SCHEMA, None]),
)
def test_blocks_and_single_rows_are_sorted_alike(
    tmp_path_factory, before, odd, after, chunk_rows, columns, schema
):
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    position = [SCHEMA.columns.index(name) for name in columns]
    writer.writerows([row[k] for k in position] for row in before)
    text.writelines(f"{line}\n" for line in odd)
    writer.writerows([row[k] for k in position] for row in after)
    path = tmp_path_factory.getbasetemp() / "rows.csv"
    path.write_text(text.getvalue(), encoding="utf-8", newline="")
    checked = csv_check.check(path, SCHEMA.columns)
    if checked.refusal:
        return
    wanted = validation.sort_rows(csv_rows.read_rows(checked), checked.header, SCHEMA.columns, schema)
    found = list(validation.sort_file(checked, SCHEMA.columns, schema, chunk_rows=chunk_rows))
    assert [row for part in found for row in part.good] == wanted.good
    assert [one for part in found for one in part.rejected] == wanted.rejected


def test_a_file_in_which_nothing_is_odd_is_not_read_row_by_row(tmp_path, monkeypatch):
    path = tmp_path / "rows.csv"
    path.write_text("id,size,plan,left\n" + "a,1,x,0\n" * 25)
    checked = csv_check.check(path, SCHEMA.columns)
    monkeypatch.setattr(csv_rows, "read_rows", None)
    found = list(validation.sort_file(checked, SCHEMA.columns, SCHEMA, chunk_rows=10))
    assert [len(part.good) for part in found] == [10, 10, 5] and found[0].places == list(range(10))
