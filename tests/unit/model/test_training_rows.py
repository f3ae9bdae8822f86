"""Which rows the gate's candidate is fitted on, and which are kept from it."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from risk.metrics import cross_validation
from risk.model import training_rows
from risk.model.training_rows import LabelledRows


def make_rows(n, turn=0.0, seed=0):
    """Clients whose reason for leaving is turned by an angle (radians) against the old world."""
    draw = np.random.default_rng(seed)
    X = pd.DataFrame(draw.normal(size=(n, 2)), columns=["a", "b"])
    logit = 2 * (np.cos(turn) * X["a"] + np.sin(turn) * X["b"]).to_numpy()
    return X, (draw.random(n) < 1 / (1 + np.exp(-logit))).astype(np.int64)


def choose(n_old, n_new, turn, seed=0):
    X_old, y_old = make_rows(n_old, 0.0, seed)
    X_new, y_new = make_rows(n_new, turn, seed + 1000)
    X, y = pd.concat([X_old, X_new], ignore_index=True), np.concatenate([y_old, y_new])
    model = make_pipeline(StandardScaler(), LogisticRegression())
    return training_rows.choose_rows(model, label(X, y, np.arange(len(y)) >= n_old), random_state=0)


def label(X, y, is_new, keys=()):
    return LabelledRows(X, y, is_new, np.empty(0), len(y), np.asarray(keys, dtype=np.int64))


@pytest.mark.parametrize(
    ("turn", "used"),
    [(0.0, training_rows.ALL), (np.pi / 2, training_rows.NEW), (np.pi, training_rows.NEW)],
    ids=["same", "turned", "reversed"],
)
def test_new_rows_alone_are_taken_where_the_old_ones_mislead(turn, used):
    found, facts = choose(1500, 400, turn)
    assert found == used
    assert (facts["gain"] > 2 * facts["standard_error"]) == (used == training_rows.NEW)
    assert facts["gain"] == pytest.approx(facts["auc"][training_rows.NEW] - facts["auc"][training_rows.ALL])
    assert (facts["n_old"], facts["n_new"], facts["n_folds"]) == (1500, 400, 15)


@pytest.mark.slow
def test_where_the_world_is_the_same_all_rows_are_taken_nearly_always():
    assert sum(choose(600, 200, 0.0, seed)[0] == training_rows.NEW for seed in range(30)) <= 3


def test_old_rows_of_the_same_world_help_a_small_batch_and_others_hurt_it():
    gains = {
        turn: np.mean([choose(3000, 100, turn, seed)[1]["gain"] for seed in range(5)]) for turn in (0, 1.5)
    }
    assert gains[0] < 0 < gains[1.5]


@pytest.mark.parametrize(("n_left", "compared"), [(29, False), (30, True)])
def test_too_few_new_rows_are_not_tried_alone(n_left, compared):
    X, _ = make_rows(300)
    y = np.arange(300) % 2
    is_new = np.arange(300) >= 200
    y[is_new] = np.arange(100) < n_left
    model = make_pipeline(StandardScaler(), LogisticRegression())
    used, facts = training_rows.choose_rows(model, label(X, y, is_new), random_state=0)
    assert ("auc" in facts) == compared and (used == training_rows.ALL or compared)
    assert compared or "too few" in facts["reason"]


def test_without_an_older_row_there_is_nothing_to_choose():
    X, y = make_rows(200)
    model = make_pipeline(StandardScaler(), LogisticRegression())
    used, facts = training_rows.choose_rows(model, label(X, y, np.ones(200, dtype=bool)), random_state=0)
    assert used == training_rows.ALL and "no older row" in facts["reason"]


def test_sampled_old_rows_weigh_as_much_as_all_of_them(monkeypatch):
    def auc_of_all():
        return np.mean([choose(6000, 300, 1.0, seed)[1]["auc"][training_rows.ALL] for seed in range(4)])

    whole = auc_of_all()
    monkeypatch.setattr(cross_validation, "SELECTION_ROWS", 600)
    assert auc_of_all() == pytest.approx(whole, abs=0.01)


def test_a_third_is_held_back_by_content_whatever_stands_beside_it():
    X, y = make_rows(3000)
    held_back = training_rows.hold_back(X, y)
    assert 0.3 < held_back.mean() < 0.37
    some = np.random.default_rng(1).permutation(3000)[:500]
    assert np.array_equal(training_rows.hold_back(X.iloc[some], y[some]), held_back[some])


def test_equal_rows_are_on_the_same_side():
    X, y = make_rows(100)
    twice = training_rows.hold_back(pd.concat([X, X]), np.concatenate([y, y]))
    assert np.array_equal(twice[:100], twice[100:])
