"""Cross-validation and its one rule, against formulas and scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict, cross_val_score

from risk.metrics import cross_validation


def make_rows(n, seed=0):
    draw = np.random.default_rng(seed)
    X = pd.DataFrame({"a": draw.normal(size=n), "b": draw.normal(size=n)})
    return X, (draw.random(n) < 1 / (1 + np.exp(-X["a"].to_numpy()))).astype(np.int64)


@given(st.integers(2, 9), st.integers(2, 30))
def test_every_shuffle_leaves_every_row_out_once_and_every_fold_has_both_classes(n_left, n_stayed):
    y = np.array([1] * n_left + [0] * n_stayed)
    fold = cross_validation.draw_folds(y, random_state=3)
    n_folds = min(5, n_left, n_stayed)
    assert fold.shape == (3, len(y))
    for shuffle in fold:
        assert set(shuffle) == set(range(n_folds))
        assert all(set(y[shuffle == k]) == {0, 1} for k in range(n_folds))


@pytest.mark.parametrize(("n", "n_repeats"), [(5000, 3), (5001, 1)])
def test_only_small_tables_are_shuffled_three_times(n, n_repeats):
    assert len(cross_validation.draw_folds(np.arange(n) % 2, random_state=0)) == n_repeats


def test_left_out_rows_are_spoken_of_as_scikit_learn_would():
    X, y = make_rows(200)
    model = LogisticRegression()
    fold = np.empty((1, 200), dtype=np.int64)
    splits = StratifiedKFold(4, shuffle=True, random_state=1)
    for number, (_, out) in enumerate(splits.split(X, y)):
        fold[0, out] = number
    found = cross_validation.leave_out(model, X, y, fold)
    wanted = cross_val_predict(model, X, y, cv=splits, method="decision_function")
    assert np.array_equal(found.log_odds[0], wanted)
    assert found.scores(cross_validation.auc) == pytest.approx(
        cross_val_score(model, X, y, cv=splits, scoring="roc_auc"), abs=1e-12
    )
    labels, probability = found.pooled()
    assert np.array_equal(labels, y) and probability == pytest.approx(1 / (1 + np.exp(-wanted)))


def test_the_standard_error_is_that_of_nadeau_and_bengio():
    values = np.array([0.1, 0.3, 0.2, 0.4, 0.0])
    # variance 0.025, times 1/5 for the mean and 1/4 for a test fold over four training folds
    assert cross_validation.standard_error(values, 5) == pytest.approx(np.sqrt(0.025 * (1 / 5 + 1 / 4)))
    thrice = np.tile(values, 3)
    assert cross_validation.standard_error(thrice, 5) == pytest.approx(
        np.sqrt(thrice.var(ddof=1) * (1 / 15 + 1 / 4))
    )


@pytest.mark.parametrize(("shift", "better"), [(0.99, False), (1.01, True)])
def test_better_means_by_more_than_one_standard_error(shift, better):
    noise = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    gain = cross_validation.compare(noise + shift * cross_validation.standard_error(noise, 5), np.zeros(5), 5)
    assert gain.better is better
    assert gain.to_json() == {"gain": gain.gain, "standard_error": gain.standard_error}


def test_equal_models_are_not_better():
    assert not cross_validation.compare(np.ones(5), np.ones(5), 5).better


def test_a_summary_has_the_interval_of_student_and_ends_at_0_and_1():
    values = np.array([0.50, 0.60, 0.55, 0.65, 0.45])
    summary = cross_validation.summarise(values, 5)
    scale = values.std(ddof=1) * np.sqrt(1 / 5 + 1 / 4)
    low, high = stats.t.interval(0.95, 4, loc=values.mean(), scale=scale)
    assert (summary["low"], summary["high"]) == pytest.approx((low, high), abs=1e-12)
    assert (summary["mean"], summary["std"]) == pytest.approx((0.55, values.std(ddof=1)))
    wide = cross_validation.summarise(np.array([0.0, 1.0, 0.0, 1.0]), 4)
    assert (wide["low"], wide["high"]) == (0.0, 1.0)


def test_a_sample_holds_the_same_rows_whatever_their_order():
    X, y = make_rows(300)
    rows = cross_validation.sample_by_digest(X, y, 100)
    shuffled = np.random.default_rng(1).permutation(300)
    again = cross_validation.sample_by_digest(X.iloc[shuffled].reset_index(drop=True), y[shuffled], 100)
    assert len(rows) == 100 and set(shuffled[again]) == set(rows)
    assert np.array_equal(cross_validation.sample_by_digest(X, y, 300), np.arange(300))


@pytest.mark.parametrize(
    ("n_left", "n_tried"), [(20, 300_000), (100, 200_000), (3000, 50_000)], ids=["all", "more", "as always"]
)
def test_where_leavers_are_rare_more_rows_are_tried(n_left, n_tried):
    X = pd.DataFrame({"a": np.arange(300_000.0)})
    y = (np.arange(300_000) % (300_000 // n_left) == 0).astype(np.int64)
    rows = cross_validation.sample_to_try(X, y)
    assert len(rows) == n_tried and y[rows].sum() >= min(cross_validation.ENOUGH, n_left)


def test_a_digest_tells_of_content_alone():
    X = pd.DataFrame({"a": [1.0, 1.0, np.nan, 1.0], "b": pd.Series(["x", "x", None, "x"], dtype="str")})
    digests = cross_validation.row_digests(X)
    assert digests[0] == digests[1] == digests[3] != digests[2]
    with_label = cross_validation.row_digests(X, np.array([0, 1, 0, 0]))
    assert with_label[0] != with_label[1] and with_label[0] == with_label[3]
    assert np.array_equal(cross_validation.row_digests(X, np.array([0.0, 1.0, 0.0, 0.0])), with_label)
