"""Where a model is clearly worse: what was planted is found, chance is not."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from risk.metrics import auc, slices


def make_rows(n=4000, seed=0):
    """Honest probabilities, and columns that have nothing to do with how good they are."""
    draw = np.random.default_rng(seed)
    X = pd.DataFrame({"size": draw.lognormal(3, 1, n), "flag": (draw.random(n) < 0.3) * 1.0})
    X.loc[draw.random(n) < 0.1, "size"] = np.nan
    X["plan"] = pd.Series(draw.choice(["basic", "pro", "free", None], n), dtype="str")
    X["city"] = pd.Series([f"city {k}" for k in draw.geometric(0.1, n)], dtype="str")
    probability = expit(draw.normal(-1, 1.5, n))
    return X, (draw.random(n) < probability).astype(np.int64), probability


def test_labels_that_chance_drew_make_no_slice_worse_more_often_than_alpha():
    """Random labels and honest ones, 200 tables: at most 10 are expected, over 17 once in a hundred times."""
    n_found = 0
    for seed in range(100):
        X, y, probability = make_rows(1500, seed)
        flat = np.full(len(y), y.mean()) + np.random.default_rng(seed).normal(0, 0.01, len(y))
        chance = (np.random.default_rng(seed + 1000).random(len(y)) < y.mean()).astype(np.int64)
        n_found += bool(slices.find_slices(X, y, probability)) + bool(slices.find_slices(X, chance, flat))
    assert n_found <= 17


def test_a_slice_whose_leavers_are_not_told_apart_is_found_and_no_other():
    X, y, probability = make_rows()
    pro = (X["plan"] == "pro").to_numpy()
    y[pro] = np.random.default_rng(9).permutation(y[pro])
    (found,) = slices.find_slices(X, y, probability)
    assert (found.column, found.slice, found.kind) == ("plan", "pro", "ranking")
    assert found.n == pro.sum() and found.n_positive == y[pro].sum()
    assert abs(found.observed - 0.5) < 0.05 and found.observed < found.predicted - slices.MATERIAL
    assert found.p_value < 0.001 and found.text.startswith(f"plan pro ({pro.sum():,} rows): leavers are told")


@pytest.mark.parametrize("column", ["size", "plan"])
def test_a_slice_of_missing_cells_is_found(column):
    X, y, probability = make_rows()
    gone = X[column].isna().to_numpy()
    y[gone] = (np.random.default_rng(9).random(gone.sum()) < probability[gone] / 3).astype(np.int64)
    found = slices.find_slices(X, y, probability)
    assert [(one.column, one.slice, one.kind) for one in found] == [(column, "missing", "probability")]
    assert y[gone].mean() == pytest.approx(found[0].observed) and found[0].observed < found[0].predicted
    assert "of 100 left" in found[0].text


def test_the_fifths_of_a_number_are_slices():
    X, y, probability = make_rows()
    high = (X["size"] > X["size"].quantile(0.8)).to_numpy()
    y[high] = (np.random.default_rng(9).random(high.sum()) < expit(probability[high] * 4)).astype(np.int64)
    first = slices.find_slices(X, y, probability)[0]
    low, top = X["size"][high].min(), X["size"].max()
    assert (first.column, first.kind, first.slice) == ("size", "probability", f"{low:g} to {top:g}")


def test_a_column_that_the_model_leans_on_has_no_worse_slices_for_that():
    """AUC is lower inside each fifth of it, more so in the narrow ones; that is what is promised there."""
    draw = np.random.default_rng(3)
    x = draw.normal(size=5000)
    probability = expit(2 * x)
    y = (draw.random(5000) < probability).astype(np.int64)
    X = pd.DataFrame({"x": x, "noise": draw.normal(size=5000)})
    inside = [auc.compute_ranking(y[one.rows], probability[one.rows]).auc for one in slices.cut(X["x"])]
    assert max(inside) < auc.compute_ranking(y, probability).auc - slices.MATERIAL
    assert slices.find_slices(X, y, probability) == []


def test_one_weakness_is_named_once_whatever_goes_with_it():
    X, y, probability = make_rows()
    pro = (X["plan"] == "pro").to_numpy()
    X["copy"] = X["plan"].map({"basic": "a", "pro": "b", "free": "c"}).astype("str")
    X["near"] = np.where(pro, 50.0, 0.0) + np.random.default_rng(1).normal(size=len(y))
    y[pro] = (np.random.default_rng(9).random(pro.sum()) < probability[pro] / 3).astype(np.int64)
    (found,) = slices.find_slices(X, y, probability)
    assert (found.column, found.slice) == ("plan", "pro")


def test_two_weaknesses_are_both_found():
    X, y, probability = make_rows()
    pro, flag = (X["plan"] == "pro").to_numpy(), (X["flag"] == 1).to_numpy()
    for rows in (pro, flag):
        y[rows] = (np.random.default_rng(9).random(rows.sum()) < probability[rows] / 3).astype(np.int64)
    found = slices.find_slices(X, y, probability)
    assert {(one.column, one.slice) for one in found} == {("plan", "pro"), ("flag", "1")}


def test_probabilities_that_boast_everywhere_are_no_weakness_of_a_slice():
    """What holds in all rows alike is for the calibration to say."""
    X, y, probability = make_rows()
    boasting = expit(np.log(probability / (1 - probability)) + 1)
    assert slices.find_slices(X, y, boasting) == []


@pytest.mark.parametrize("n", [0, 1, 50])
def test_few_rows_say_nothing(n):
    X, y, probability = make_rows(100)
    assert slices.find_slices(X[:n], 1 - y[:n], probability[:n]) == []


def test_every_row_stands_in_one_slice_of_a_column():
    X, _, _ = make_rows()
    for name in X.columns:
        found = slices.cut(X[name])
        assert sum(one.rows.astype(int) for one in found).tolist() == [1] * len(X)
        assert len({one.name for one in found}) == len(found)
    assert [one.name for one in slices.cut(X["flag"])] == ["0", "1"]
    assert [one.name for one in slices.cut(pd.Series([np.nan, np.nan], name="x"))] == ["missing"]


def test_the_promised_auc_is_that_of_labels_drawn_by_the_probabilities():
    draw = np.random.default_rng(2)
    probability = np.round(expit(draw.normal(-1, 1.5, 300)), 2)
    drawn = [(draw.random(300) < probability).astype(np.int64) for _ in range(400)]
    mean = np.mean([auc.compute_ranking(y, probability).auc for y in drawn])
    assert slices.expected_auc(probability) == pytest.approx(mean, abs=0.005)
    assert slices.expected_auc(np.full(50, 0.3)) == pytest.approx(0.5)
