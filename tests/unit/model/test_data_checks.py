"""What makes a score say little or too much: both sides of each threshold, honest tables in peace."""

import math

import numpy as np
import pandas as pd
import pytest

from risk.metrics import cross_validation
from risk.metrics.classification import Score
from risk.model import data_checks


def text(values):
    return pd.Series(list(values), dtype="str")


def make_table(n=600, seed=0):
    """An honest table: strong features, gaps, rare words, whole numbers."""
    draw = np.random.default_rng(seed)
    y = (draw.random(n) < 0.3).astype(np.int64)
    X = pd.DataFrame({
        "strong": draw.normal(3 * y, 1.0),
        "turnover": np.floor(draw.lognormal(12, 2, n)),
        "employees": draw.integers(1, 500, n).astype(float),
        "gaps": np.where(draw.random(n) < 0.5, np.nan, draw.normal(size=n)),
        "flag": (draw.random(n) < 0.02).astype(float),
        "plan": text(draw.choice(["basic", "pro", None], n)),
        "city": text(draw.choice([f"city {k}" for k in range(200)], n)),
    })  # fmt: skip
    return X, y


def suspect(X, y, rows=None):
    return data_checks.check_features(X, y, np.arange(len(y)) if rows is None else rows)


def codes(found):
    return [(one.code, *one.columns) for one in found]


def test_an_honest_table_is_left_in_peace():
    for seed in range(20):
        assert suspect(*make_table(seed=seed)) == []


# --- constant, id --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (pd.Series([7.0] * 100), "is 7 in every row"),
        (pd.Series([math.nan] * 100), "is empty in every row"),
        (text(["x"] * 100), "is 'x' in every row"),
        (text([None] * 100), "is empty in every row"),
    ],
)
def test_a_column_that_always_says_the_same_is_named(column, said):
    X, y = make_table(100)
    (found,) = suspect(X.assign(same=column), y)
    assert (found.code, found.columns) == ("constant", ("same",)) and said in found.text


@pytest.mark.parametrize("column", [pd.Series([7.0] * 99 + [math.nan]), text(["x"] * 99 + ["y"])])
def test_one_other_cell_outside_the_sample_makes_a_column_vary(column):
    X, y = make_table(100)
    assert suspect(X.assign(same=column), y, np.arange(90)) == []


@pytest.mark.parametrize(
    ("values", "is_id"),
    [
        (np.arange(1.0, 601), True),
        (np.random.default_rng(0).permutation(600) + 1.0, True),
        (np.random.default_rng(0).permutation(600) * 10.0 + 5e6, True),
        (np.cumsum(np.random.default_rng(0).integers(1, 10, 600)).astype(float), True),
        (np.cumsum(np.random.default_rng(0).integers(1, 10, 600))[::-1].astype(float), True),
        (np.sort(np.floor(np.random.default_rng(0).lognormal(12, 2, 600))), False),
        (np.random.default_rng(0).permutation(np.cumsum(np.arange(600) % 9 + 1.0)), False),
        (np.arange(600) / 4 + 0.5, False),
        (np.arange(600) // 2 * 1.0, False),
        (np.where(np.arange(600) == 300, 5.0, np.arange(600)), False),
        (np.arange(600) * 1e20, False),
    ],
    ids=[
        "counted", "in any order", "in tens", "rising", "falling", "sorted turnover", "unsorted gaps",
        "not whole", "in pairs", "one twice", "beyond whole doubles",
    ],
)  # fmt: skip
def test_whole_numbers_that_count_the_rows_are_like_an_id(values, is_id):
    X, y = make_table()
    assert codes(suspect(X.assign(number=values), y)) == [("like_an_id", "number")] * is_id


@pytest.mark.parametrize(("n_distinct", "is_id"), [(569, False), (570, True), (600, True)])
def test_text_that_is_different_in_nearly_every_row_is_like_an_id(n_distinct, is_id):
    X, y = make_table()
    X["name"] = text(f"client {min(k, n_distinct - 1)}" for k in range(600))
    assert codes(suspect(X, y)) == [("like_an_id", "name")] * is_id


def test_text_that_repeats_itself_outside_the_sample_is_no_id():
    X, y = make_table()
    X["name"] = text(f"client {k % 300}" for k in range(600))
    assert suspect(X, y, np.arange(300)) == []


@pytest.mark.parametrize(("n", "is_id"), [(29, False), (30, True)])
def test_few_rows_may_well_be_all_different(n, is_id):
    X, y = pd.DataFrame({"row": np.arange(float(n))}), np.arange(n) % 2
    assert bool(suspect(X, y)) == is_id


# --- leaks -----------------------------------------------------------------------------------------------


def make_leaks(y, seed=0):
    draw = np.random.default_rng(seed)
    return {
        "number": draw.normal(10.0 * y, 1.0),
        "falling": draw.normal(-10.0 * y, 1.0),
        "in the middle": np.where(y == 1, draw.uniform(4, 5, len(y)), draw.choice([0.0, 9.0], len(y))),
        "missing": np.where(y == 1, np.nan, draw.normal(size=len(y))),
        "date of leaving": text(f"2024-{k % 12}" if left else None for k, left in enumerate(y)),
        "word": text(np.where(y == 1, "gone", "here")),
    }


@pytest.mark.parametrize("name", make_leaks(np.array([0, 1])))
def test_a_column_that_knows_the_answer_is_named(name):
    X, y = make_table()
    found = suspect(X.assign(told=make_leaks(y)[name]), y)
    assert codes(found) == [("leak", "told")] and "ignore_columns" in found[0].text


@pytest.mark.parametrize(("wrong_share", "leaks"), [(0.004, True), (0.03, False)])
def test_a_column_that_is_wrong_now_and_then_is_no_leak(wrong_share, leaks):
    X, y = make_table(3000)
    wrong = np.random.default_rng(1).random(3000) < wrong_share
    X["told"] = text(np.where(wrong, 1 - y, y).astype(str))
    assert codes(suspect(X, y)) == [("leak", "told")] * leaks


@pytest.mark.parametrize(("n", "leaks"), [(49, False), (50, True)])
def test_a_word_that_only_leavers_have_is_named_when_many_do(n, leaks):
    X, y = make_table()
    state = np.full(600, "open", dtype=object)
    state[np.flatnonzero(y)[:n]] = "closed"
    found = suspect(X.assign(state=text(state)), y)
    assert codes(found) == [("leak", "state")] * leaks
    assert not leaks or "all 50 rows with 'closed' in column 'state' left" in found[0].text


def test_a_cell_that_only_leavers_have_is_named():
    X, y = make_table()
    reason = np.where((y == 1) & (np.arange(600) % 2 == 0), np.arange(600) % 40, np.nan)
    (found,) = suspect(X.assign(reason=reason), y)
    assert "with a value in column 'reason' left" in found.text
    X, y = make_table()
    filled = np.where((y == 1) & (np.arange(600) % 2 == 0), np.nan, np.random.default_rng(9).random(600))
    (found,) = suspect(X.assign(filled=filled), y)
    assert "with no value in column 'filled' left" in found.text


def test_a_group_in_which_nobody_left_is_innocent():
    X, y = make_table()
    state = np.full(600, "old", dtype=object)
    state[np.flatnonzero(y == 0)[:200]] = "new contract"
    assert suspect(X.assign(state=text(state)), y) == []


def test_where_nearly_everybody_leaves_a_pure_group_is_chance():
    X, _ = make_table()
    y = (np.arange(600) % 20 != 0).astype(np.int64)
    y[:100] = 1
    state = text(["a"] * 60 + ["b"] * 540)
    assert suspect(X[["gaps"]].assign(state=state), y) == []


def test_a_word_pure_in_the_sample_alone_is_not_named():
    X, y = make_table(2000)
    state = np.full(2000, "open", dtype=object)
    state[np.flatnonzero(y)[:300]] = "closed"
    last = np.flatnonzero(y == 0)[-1]
    state[last] = "closed"
    rows = np.delete(np.arange(2000), last)
    assert suspect(X.assign(state=text(state)), y, rows) == []


@pytest.mark.parametrize(("n_left", "looked_at"), [(29, False), (30, True)])
def test_few_leavers_are_told_by_chance(n_left, looked_at):
    y = (np.arange(300) < n_left).astype(np.int64)
    X = pd.DataFrame({"told": np.random.default_rng(0).normal(100.0 * y)})
    assert bool(suspect(X, y)) == looked_at


# --- scores ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("low", "suspected"), [(0.5, True), (0.51, False)])
def test_an_interval_that_reaches_one_half_is_no_signal(low, suspected):
    found = data_checks.check_signal({"mean": 0.6, "low": low, "high": 0.69})
    assert (found is not None) == suspected
    assert not suspected or ("no better than chance" in found.text and "(0.50 to 0.69)" in found.text)


def make_score(n=400, n_positive=120, auc=(0.80, 0.76, 0.84), **more):
    values = {"n": n, "n_positive": n_positive, "f1": 0.61, "f1_low": 0.32, "f1_high": 0.84}
    return Score(values | dict(zip(("auc", "auc_low", "auc_high"), auc, strict=True)) | more)


@pytest.mark.parametrize(
    ("n_left", "n_stayed", "suspected"), [(29, 400, True), (30, 30, False), (400, 29, True), (0, 5, True)]
)
def test_few_test_clients_of_a_class_say_little(n_left, n_stayed, suspected):
    found = data_checks.check_test_size(make_score(), n_left, n_stayed)
    assert (found is not None) == suspected
    assert not suspected or "from 0.32 to 0.84, AUC 0.80 (0.76 to 0.84)" in found.text


def make_trained(share=0.3, auc=(0.80, 0.78, 0.82)):
    data = {"n_samples": 2000, "n_positive": round(2000 * share)}
    return {"data": data, "cross_validation": {"auc": dict(zip(("mean", "low", "high"), auc, strict=True))}}


@pytest.mark.parametrize(
    ("score", "trained", "expected"),
    [
        ({}, {}, []),
        ({"n_positive": 200}, {}, ["test_share_differs"]),
        ({"n_positive": 200, "share_design": 20.0}, {}, []),
        ({"n_positive": 135}, {}, []),
        ({"auc": (0.60, 0.54, 0.65)}, {}, ["test_auc_differs"]),
        ({"auc": (0.99, 0.98, 1.0)}, {}, ["test_auc_differs"]),
        ({"auc": (0.77, 0.76, 0.775)}, {}, []),
        ({"auc": (0.60, 0.40, 0.79)}, {}, []),
        ({"auc": (None, None, None)}, {"share": 0.9}, ["test_share_differs"]),
    ],
    ids=str,
)
def test_test_data_from_another_world_are_named(score, trained, expected):
    found = data_checks.check_test_world(make_score(**score), make_trained(**trained))
    assert [one.code for one in found] == expected


@pytest.mark.parametrize(("n_common", "suspected"), [(0, False), (2, False), (3, True), (200, True)])
def test_test_clients_that_were_trained_on_are_counted(n_common, suspected):
    found = data_checks.check_client_overlap(n_common, 200)
    assert (found is not None) == suspected


def test_test_rows_that_were_trained_on_are_counted():
    X, y = make_table(1000)
    train, test = (
        cross_validation.row_digests(X[:800], y[:800]),
        cross_validation.row_digests(X[760:], y[760:]),
    )
    found = data_checks.check_overlap(train, test)
    assert found.code == "test_rows_in_training" and found.text.startswith("40 of 240 test rows")
    assert data_checks.check_overlap(train, test[40:]) is None


def test_rows_that_are_equal_by_chance_are_not_counted():
    draw = np.random.default_rng(0)
    train, test = draw.integers(0, 500, 2000), draw.integers(0, 500, 300)
    assert np.isin(test, train).mean() > 0.9
    assert data_checks.check_overlap(train, test) is None
    few = draw.integers(0, 40_000, 2000), draw.integers(0, 40_000, 400)
    assert data_checks.check_overlap(*few) is None
    assert data_checks.check_overlap(few[0], np.concatenate([few[1], few[0][:80]])) is not None
    assert data_checks.check_overlap(train, test[:0]) is None


def test_a_suspicion_is_written_as_json():
    assert data_checks.DataCheck("leak", "said", ("a",)).to_json() == {
        "code": "leak", "text": "said", "columns": ["a"]
    }  # fmt: skip
