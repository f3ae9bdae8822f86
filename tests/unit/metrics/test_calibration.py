"""Calibration of probabilities, held against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from risk.metrics import calibration, cross_validation


def make_found(n=3000, slope=1.0, intercept=0.0, seed=0):
    """Log-odds said by a model that is off by a slope and an intercept."""
    draw = np.random.default_rng(seed)
    truth = draw.normal(-1, 1.5, n)
    y = (draw.random(n) < 1 / (1 + np.exp(-truth))).astype(np.int64)
    fold = cross_validation.draw_folds(y, random_state=0)
    return cross_validation.OutOfFold(y, fold, np.tile((truth - intercept) / slope, (len(fold), 1)))


def test_the_brier_loss_and_the_curve_are_those_of_scikit_learn():
    found = make_found()
    y, probability = found.y, found.probability[0]
    assert calibration.brier_loss(y, probability) == pytest.approx(brier_score_loss(y, probability))
    shares, predicted = calibration_curve(y, probability, n_bins=10, strategy="quantile")
    curve = calibration.reliability_curve(y, probability)
    assert [one["share_left"] for one in curve] == pytest.approx(shares)
    assert [one["mean_predicted"] for one in curve] == pytest.approx(predicted)
    assert [one["n"] for one in curve] == [300] * 10


@given(st.lists(st.tuples(st.integers(0, 1), st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0])), min_size=1))
def test_every_client_stands_in_one_bin_and_equal_probabilities_in_the_same(rows):
    y, probability = (np.array(column) for column in zip(*rows, strict=True))
    curve = calibration.reliability_curve(y, probability)
    assert sum(one["n"] for one in curve) == len(y) and len(curve) <= 10
    assert sum(one["n"] * one["share_left"] for one in curve) == pytest.approx(y.sum())
    assert sum(one["n"] * one["mean_predicted"] for one in curve) == pytest.approx(probability.sum())
    means = [one["mean_predicted"] for one in curve]
    assert means == sorted(means)
    turned = calibration.reliability_curve(y[::-1], probability[::-1])
    assert [one["n"] for one in turned] == [one["n"] for one in curve]


def test_a_sigmoid_finds_slope_and_intercept():
    found = make_found(20_000, slope=0.5, intercept=0.7)
    slope, intercept = calibration.fit_sigmoid(found.y, found.log_odds[0])
    assert slope == pytest.approx(0.5, abs=0.03) and intercept == pytest.approx(0.7, abs=0.08)


def test_a_sigmoid_of_classes_that_are_apart_is_finite():
    slope, intercept = calibration.fit_sigmoid(np.array([0, 0, 1, 1]), np.array([-30.0, -9.0, 8.0, 30.0]))
    assert np.isfinite([slope, intercept]).all() and slope > 0


def test_calibrating_mends_boasting_probabilities_and_leaves_honest_ones():
    boasting, honest = make_found(slope=0.4), make_found()
    mended = calibration.calibrate(boasting)
    loss = calibration.brier_loss
    assert mended.scores(loss).mean() < boasting.scores(loss).mean() - 0.01
    assert calibration.calibrate(honest).scores(loss).mean() == pytest.approx(
        honest.scores(loss).mean(), abs=5e-4
    )
    assert mended.scores(cross_validation.auc) == pytest.approx(boasting.scores(cross_validation.auc))


def test_a_sigmoid_never_sees_the_fold_it_is_judged_on():
    found = make_found(500)
    before = calibration.calibrate(found).log_odds
    out = found.fold[0] == 0
    other = cross_validation.OutOfFold(np.where(out, 1 - found.y, found.y), found.fold, found.log_odds)
    assert np.array_equal(calibration.calibrate(other).log_odds[0, out], before[0, out])
    assert not np.array_equal(calibration.calibrate(other).log_odds[0, ~out], before[0, ~out])
