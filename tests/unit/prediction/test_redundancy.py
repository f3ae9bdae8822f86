"""Which columns say the same of the same clients."""

import json

import numpy as np
import pandas as pd
import pytest

from risk.prediction import redundancy
from risk.prediction.redundancy import Redundancy


def frame(**columns):
    return pd.DataFrame(
        {
            name: pd.Series(cells, dtype="float64" if isinstance(cells[0], float) else "str")
            for name, cells in columns.items()
        }
    )


def test_cells_in_exactly_the_same_rows_are_twins():
    X = frame(net=["no", "dsl", "fiber"] * 20, tv=["none", "yes", "no"] * 20)
    found = redundancy.find_twins(X)
    assert found == [
        [("net", "no"), ("tv", "none")],
        [("net", "dsl"), ("tv", "yes")],
        [("net", "fiber"), ("tv", "no")],
    ]


def test_one_row_that_differs_makes_no_twins():
    net, tv = ["no", "dsl"] * 20, ["none", "yes"] * 20
    tv[0] = "yes"
    assert redundancy.find_twins(frame(net=net, tv=tv)) == []


@pytest.mark.parametrize(("n", "twins"), [(9, 0), (10, 1)])
def test_few_rows_may_agree_by_chance(n, twins):
    X = frame(a=["x"] * n + list("pqrst") * 20, b=["y"] * n + list("uvwxz") * 19 + list("uvwzx"))
    assert len([group for group in redundancy.find_twins(X) if ("a", "x") in group]) == twins


def test_missing_cells_switches_and_texts_can_be_twins_but_no_values_of_a_graded_number():
    draw = np.random.default_rng(0)
    gone = draw.random(200) < 0.3
    X = frame(
        size=np.where(gone, np.nan, draw.normal(size=200)).tolist(),
        flag=np.where(gone, 1.0, 0.0).tolist(),
        note=["?" if g else "ok" for g in gone],
    )
    assert redundancy.find_twins(X) == [
        [("size", None), ("flag", 1.0), ("note", "?")],
        [("flag", 0.0), ("note", "ok")],
    ]


def test_a_constant_column_is_nobodys_twin():
    assert redundancy.find_twins(frame(a=["x"] * 50, b=["y"] * 50)) == []


def test_numbers_move_together_either_way_and_through_a_third():
    draw = np.random.default_rng(1)
    a = draw.normal(size=2000)
    b = a + 0.4 * draw.normal(size=2000)
    X = pd.DataFrame({"a": a, "b": b, "c": -np.exp(b), "d": draw.normal(size=2000), "e": 1.0})
    X.loc[::10, "b"] = np.nan
    assert redundancy.find_correlated(X) == [["a", "b", "c"]]
    assert redundancy.find_correlated(X[["d"]]) == [] == redundancy.find_correlated(X[["d", "e"]])


def test_columns_that_move_together_count_for_no_more_than_all_of_them():
    found = Redundancy(correlated=[["a", "b"]]).bound_effects(
        np.array([[3.0, -2.0, 5.0], [3.0, 2.0, 5.0]]), list("abc")
    )
    assert found.tolist() == [[1.0, -2.0, 5.0], [3.0, 2.0, 5.0]]


def test_cells_are_marked_with_the_number_of_their_group():
    kept = Redundancy([[("net", "no"), ("tv", None)], [("flag", 1.0), ("net", "dsl")]])
    X = frame(net=["no", "dsl", "x"], tv=["a", None, "b"], flag=[0.0, 1.0, np.nan])
    assert kept.mark_twins(X, list(X.columns)).tolist() == [[1, 0, 0], [2, 1, 2], [0, 0, 0]]


def test_echoes_survive_the_model_card():
    kept = Redundancy([[("net", "no"), ("size", None), ("flag", 1.0)]], [["a", "b"]])
    assert Redundancy.from_json(json.loads(json.dumps(kept.to_json()))) == kept
    assert Redundancy.from_json({}).mark_twins(frame(a=["x"]), ["a"]).tolist() == [[0]]


def test_a_large_table_is_looked_at_in_a_sample_whatever_its_length():
    for n in (0, 1, 50_000, 50_001, 120_000):
        X = pd.DataFrame({"a": np.arange(n) * 1.0, "b": np.arange(n) * 2.0})
        assert redundancy.find_redundancy(X).correlated == ([["a", "b"]] if n > 1 else [])
