"""Predictions of the rows of a file: both ways of reading give the same, bad rows are reported."""

import csv
import io
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sklearn.ensemble  # noqa: F401  (its thread pool must be there before it can be limited)
from explained_models import fit, make_card
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.special import expit
from threadpoolctl import threadpool_limits

from risk.data import csv_check
from risk.data.schema import Schema
from risk.engines import frame_reader
from risk.engines.frame_reader import OddError
from risk.errors import DatasetError
from risk.limits import Room
from risk.model import estimators
from risk.model.pipeline import Recipe
from risk.prediction import batch
from risk.prediction.predictor import Predictor

SCHEMA = Schema(
    ("client", "size", "plan", "left"),
    {"size": "number", "plan": "text"},
    "left",
    ("1",),
    ("0",),
    ("client",),
    (),
)


def make_predictor(estimator=estimators.LINEAR):
    draw = np.random.default_rng(0)
    X = pd.DataFrame({"size": np.where(draw.random(300) < 0.1, np.nan, draw.integers(0, 90, 300) * 1.0)})
    X["plan"] = pd.Series(draw.choice(["a", "b", None], 300), dtype="str")
    y = (draw.random(300) < expit(np.nan_to_num(X["size"]) / 20 - 2)).astype(np.int64)
    model = fit(X, y, Recipe(estimator, ("size",), ("plan",)))
    return replace(Predictor.from_card("r1", model, make_card(X, y)), schema=SCHEMA)


@pytest.fixture(scope="module", params=[estimators.LINEAR, estimators.BOOSTED])
def predictor(request):
    with threadpool_limits(1):
        yield make_predictor(request.param)


def predict(predictor, data, way="either", n_reasons=3):
    """Give the answer and the summary for a CSV of these bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clients.csv"
        path.write_bytes(data)
        checked, out = csv_check.check(path, SCHEMA.columns), io.StringIO()
        if way == "either":
            summary = batch.predict_file(
                checked, predictor, out, n_reasons=n_reasons, room=Room(Path(folder) / "spill")
            )
        else:
            read = (
                batch.read_exactly(checked, predictor)
                if way == "exact"
                else batch.read_fast(checked, predictor, Room(Path(folder) / "spill"))
            )
            summary = batch.write_file(read, checked, predictor, out, n_reasons)
        return out.getvalue(), summary


def parse(answer):
    return list(csv.DictReader(io.StringIO(answer)))


def test_each_row_has_a_line_with_its_prediction(predictor):
    answer, summary = predict(predictor, b'plan,client,size\na,ACME,80\n,"B, Inc.",\nc,=C,3\n')
    lines = parse(answer)
    assert list(lines[0]) == [
        "row",
        "client",
        "probability",
        "class",
        "risk",
        "reason_1",
        "reason_2",
        "reason_3",
    ]
    assert [(one["row"], one["client"]) for one in lines] == [("1", "ACME"), ("2", "B, Inc."), ("3", "'=C")]
    X = pd.DataFrame({"size": [80.0, np.nan, 3.0], "plan": pd.Series(["a", None, "c"], dtype="str")})
    said = predictor.model.predict_proba(X)[:, 1]
    assert [float(one["probability"]) for one in lines] == pytest.approx(said, abs=5e-5)
    assert [int(one["class"]) for one in lines] == predictor.model.predict(X).tolist()
    assert lines[0]["reason_1"].startswith("size 80, usually ") and lines[0]["risk"] in ("high", "medium")
    assert (summary.n_rows, summary.n_leaving, summary.rejected) == (3, sum(predictor.model.predict(X)), [])


def test_bad_rows_are_left_out_and_reported_with_line_column_and_reason():
    data = b'client,size,plan\nA,1,a\nB,many,a\n"C\nc",2,b\nD,3\nE,1e101,a\n\nF,4,a\n'
    answer, summary = predict(make_predictor(), data)
    assert [(one["row"], one["client"]) for one in parse(answer)] == [("1", "A"), ("3", "C\nc"), ("6", "F")]
    assert [(one.line, one.column, one.reason) for one in summary.rejected] == [
        (3, "size", "is not a number"),
        (6, "", "has 2 cells where the header has 3"),
        (7, "size", "is too large"),
    ]


def test_without_reasons_and_ids_there_are_none():
    answer, _ = predict(make_predictor(), b"size;plan\n1;a\n", n_reasons=0)
    assert answer.splitlines()[0] == "row,probability,class,risk" and answer.splitlines()[1].startswith(
        "1,0."
    )


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"client,plan\nA,a\n", "lacks the column 'size'"),
        (b"<html>", "an HTML or XML page"),
        (b"", "is empty"),
    ],
)
def test_a_file_that_is_no_such_table_is_refused_whole(data, said):
    with pytest.raises(DatasetError, match=said):
        predict(make_predictor(), data)


def test_a_label_in_the_file_is_neither_needed_nor_looked_at():
    with_label, _ = predict(make_predictor(), b"client,size,plan,left\nA,1,a,perhaps\n")
    without, _ = predict(make_predictor(), b"client,size,plan\nA,1,a\n")
    assert with_label == without


SIGNS = [*"ab09.,;| \t\"'-eE+=@_\u00a0é漢\u2028\u0085", "\n"]
CELL = st.one_of(
    st.sampled_from(["", "a", "b", "1", "-2.5", " 3 ", "NA", "true", "nan", "1_0", "=1", "0x1", "inf"]),
    st.lists(st.sampled_from(SIGNS), max_size=4).map("".join),
)


@pytest.mark.slow
@settings(deadline=None, database=None, derandomize=True, max_examples=60)
@given(st.lists(st.tuples(CELL, CELL, CELL), max_size=6), st.sampled_from(",;"))
@example([("", "", "")], ",")
@example([("client", "size", "plan")], ",")
@example([("x", "1", "a"), ("y", "2", "b")], ";")
def test_both_ways_of_reading_give_the_same(rows, separator):
    """Unless something is odd: then there is one way."""
    predictor = KEPT or KEPT.append(make_predictor()) or KEPT
    text = io.StringIO()
    csv.writer(text, delimiter=separator, lineterminator="\n").writerows([("client", "size", "plan"), *rows])
    data = text.getvalue().encode()
    exact = predict(predictor[0], data, "exact")
    assert predict(predictor[0], data) == exact
    try:
        fast = predict(predictor[0], data, "fast")
    except OddError:
        return
    assert fast == exact and not exact[1].rejected


KEPT: list = []


def test_rows_stay_in_order_over_many_chunks_and_something_odd_at_the_end_starts_again(monkeypatch):
    monkeypatch.setattr(frame_reader, "VECTORS", 1)
    n = 20_000
    data = "".join(["client,size,plan\n", *(f"client {k},{k % 90},a\n" for k in range(n))])
    predictor = make_predictor()
    answer, summary = predict(predictor, data.encode(), "fast", 0)
    assert [line.split(",")[1] for line in answer.splitlines()[1:]] == [f"client {k}" for k in range(n)]
    assert summary.n_rows == n
    again, summary = predict(predictor, (data + "last,x,a\n").encode(), n_reasons=0)
    assert again == answer and [one.line for one in summary.rejected] == [n + 2]
