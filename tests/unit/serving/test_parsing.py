"""What is asked: the same cells are read the same, alone, in a column, in JSON and in any chunk of a CSV."""

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from risk.data import schema
from risk.data.schema import Schema
from risk.serving import csv_body, json_rows
from risk.serving.problems import Refusal

SCHEMA = Schema(
    ("client", "size", "plan", "left"),
    {"size": "number", "plan": "text"},
    "left",
    ("1",),
    ("0",),
    ("client",),
    (),
)
NUMBERS = (
    st.floats().map(repr) | st.integers().map(str) | st.from_regex(schema.NUMBER_PATTERN, fullmatch=True)
)
ODD = st.sampled_from(
    [
        "",
        "NA",
        "nan",
        "null",
        "True",
        "false",
        "inf",
        "1_000",
        "1e400",
        "0x1F",
        "+",
        ".",
        "e",
        "1e",
        "٣",
        "1 2",
    ]
)
ALPHABET = st.text(alphabet="0123456789+-.eE_ ", max_size=6)


@given(cells=st.lists(NUMBERS | ODD | ALPHABET, max_size=12))
@example(["1e100"])
@example(["1.0000000000000001e100", ""])
@example(["-1e101"])
@settings(max_examples=400, deadline=None)
def test_a_whole_column_is_read_as_each_of_its_cells(cells):
    one_by_one = [schema.parse_number(cell) for cell in cells]
    found = csv_body.read_numbers(cells)
    if None in one_by_one:
        assert found is None
    else:
        assert np.array_equal(found, np.array(one_by_one, dtype="float64"), equal_nan=True)


def read(text, max_rows=10**6):
    return csv_body.read_csv(text.encode(), SCHEMA, None, max_rows)


def test_rows_and_lines_are_counted_across_chunks(monkeypatch):
    monkeypatch.setattr(csv_body, "CHUNK_ROWS", 3)
    text = 'client,size,plan\na,1,x\n"b\nb",2,x\n\nc,seven,x\nd,4\ne,5,x\nf,1e200,y\ng,7,\n'
    asked = read(text)
    labels, problems, sizes, plans = [], [], [], []
    for clients in asked.chunks:
        labels += [clients.labels(k) for k in range(len(clients.columns["size"]))]
        problems += clients.problems.values()
        sizes += list(clients.columns["size"])
        plans += clients.columns["plan"]
    assert [(one["row"], one["line"], one["client"]) for one in labels] == [
        (1, 2, "a"),
        (2, 3, "b\nb"),
        (5, 8, "e"),
        (7, 10, "g"),
    ]
    assert sizes == [1, 2, 5, 7] and plans == ["x", "x", "x", None]
    assert [(one["row"], one["line"], one["column"]) for one in problems] == [
        (3, 6, "size"),
        (4, 7, None),
        (6, 9, "size"),
    ]


@given(
    rows=st.lists(st.tuples(NUMBERS | ODD, st.sampled_from(["x", "", "NA"])), max_size=20),
    size=st.integers(1, 7),
)
@settings(max_examples=150, deadline=None)
def test_chunks_of_any_size_give_the_same(rows, size):
    text = "client,size,plan\n" + "".join(f"c,{cell},{plan}\n" for cell, plan in rows)
    before, found = csv_body.CHUNK_ROWS, []
    for n in (size, 1000):
        csv_body.CHUNK_ROWS = n
        chunks = list(read(text).chunks)
        sizes = [repr(float(v)) for c in chunks for v in c.columns["size"]]
        plans = [v for c in chunks for v in c.columns["plan"]]
        labels = [c.labels(k) for c in chunks for k in range(len(c.columns["size"]))]
        found.append((sizes, plans, labels, [p for c in chunks for p in c.problems.values()]))
    csv_body.CHUNK_ROWS = before
    assert found[0] == found[1]
    assert len(found[0][2]) + len(found[0][3]) == len(rows)


def test_json_and_csv_read_a_cell_the_same():
    rows = [
        {"client": "a", "size": size, "plan": plan} for size, plan in [(1.5, "x"), (None, None), (True, "")]
    ]
    (from_json,) = json_rows.read_rows(rows, SCHEMA, 10).chunks
    (from_csv,) = read("client,size,plan\na,1.5,x\na,,\na,true,\n").chunks
    assert [repr(float(v)) for v in from_json.columns["size"]] == ["1.5", "nan", "1.0"]
    assert [repr(float(v)) for v in from_csv.columns["size"]] == ["1.5", "nan", "1.0"]
    assert from_json.columns["plan"] == from_csv.columns["plan"] == ["x", None, None]
    assert from_json.cells == from_csv.cells


@pytest.mark.parametrize(("n", "status"), [(3, None), (4, 413)])
def test_the_limit_of_rows_itself_is_allowed(n, status):
    row = {"size": 1, "plan": "x"}
    asks = [
        lambda: json_rows.read_rows([row] * n, SCHEMA, 3),
        lambda: read("size,plan\n" + "1,x\n" * n, 3),
    ]
    for ask in asks:
        if status is None:
            assert sum(len(clients.cells[-1]) for clients in ask().chunks) == n
        else:
            with pytest.raises(Refusal, match="over 3") as caught:
                ask()
            assert caught.value.status == status


@pytest.mark.parametrize(
    ("depth", "is_deep"), [(json_rows.MAX_DEPTH, False), (json_rows.MAX_DEPTH + 1, True)]
)
@pytest.mark.parametrize("brackets", ["[]", '{"a":}'], ids=["lists", "objects"])
def test_the_limit_of_depth_itself_is_allowed(depth, is_deep, brackets):
    body = (brackets[:-1] * depth + ("1" if brackets != "[]" else "") + brackets[-1] * depth).encode()
    if is_deep:
        with pytest.raises(Refusal, match="too deeply"):
            json_rows.parse_json(body, 10**6)
    else:
        json_rows.parse_json(body, 10**6)


@pytest.mark.parametrize(
    "body", [b"[" + b"{}," * 7 + b"{}]", b"[" * 9 + b"]" * 9, b'{"rows": [[], [], [], [], [], [], []]}']
)
def test_more_lists_and_objects_than_rows_are_refused_before_they_are_made(body):
    with pytest.raises(Refusal, match="over 6 rows") as caught:
        json_rows.parse_json(body, 6)
    assert caught.value.status == 413
    assert json_rows.parse_json(body, 7) is not None


def test_a_cell_beyond_a_double_is_refused_by_column_and_row():
    with pytest.raises(Refusal, match="row 2: 'size' is too large") as caught:
        json_rows.read_rows([{"size": 1, "plan": ""}, {"size": 1e101, "plan": ""}], SCHEMA, 10)
    assert caught.value.status == 422 and math.isfinite(1e101)
