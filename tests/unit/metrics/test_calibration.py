"""Probabilities that mean what they say, against scikit-learn."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit, log_expit, logit
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


# --- can probabilities be trusted? -------------------------------------------------------------------------


def draw_known(n, seed, *, slope=1.0, intercept=0.0):
    """Outcomes, and probabilities of which the log-odds are off by a slope and an intercept."""
    draw = np.random.default_rng(seed)
    truth = draw.normal(-0.5, 1.5, n)
    return (draw.random(n) < expit(truth)).astype(float), expit((truth - intercept) / slope)


def test_the_sigmoid_that_mends_probabilities_is_the_most_probable_one():
    y, probability = draw_known(300, 1, slope=0.6, intercept=0.4)

    def loss(at):
        said = at[0] + at[1] * logit(probability)
        prior = (at[0] ** 2 + (at[1] - 1) ** 2) / (2 * calibration.PRIOR_SD**2)
        return prior - np.sum(y * log_expit(said) + (1 - y) * log_expit(-said))

    found = calibration.measure(y, probability)
    best = minimize(loss, [0.0, 1.0], method="BFGS", options={"gtol": 1e-8})
    assert [found.intercept, found.slope] == pytest.approx(best.x, abs=1e-5)
    assert np.array(found.covariance) == pytest.approx(best.hess_inv, rel=0.05, abs=1e-3)


def test_many_known_outcomes_find_how_probabilities_are_off():
    y, probability = draw_known(50_000, 2, slope=0.6, intercept=0.4)
    found = calibration.measure(y, probability)
    assert (found.slope, found.intercept) == (pytest.approx(0.6, abs=0.03), pytest.approx(0.4, abs=0.05))
    assert found.p_value < 1e-6 and np.abs(found.offsets).max() < 0.1
    assert found.correct(probability) == pytest.approx(expit(0.6 * logit(probability) + 0.4), abs=0.01)


def test_the_z_of_spiegelhalter_is_the_brier_loss_less_its_mean_over_its_spread():
    y, probability = draw_known(200, 3)
    p = probability
    mean, variance = np.sum(p * (1 - p)), np.sum((1 - 2 * p) ** 2 * p * (1 - p))
    z = (np.sum((y - p) ** 2) - mean) / np.sqrt(variance)
    assert calibration.measure(y, probability).z == pytest.approx(z)


def test_honest_probabilities_are_suspected_as_often_as_alpha_says():
    found = [calibration.measure(*draw_known(200, seed)) for seed in range(400)]
    assert 8 <= sum(one.p_value < 0.05 for one in found) <= 33  # 99 % range of 20
    assert 4 <= sum(one.p_uneven < 0.05 for one in found) <= 33  # bins of 20 rows: chi2 errs to the safe side


def test_what_a_sigmoid_cannot_mend_is_found_bin_by_bin():
    draw = np.random.default_rng(4)
    probability = draw.uniform(0.05, 0.95, 20_000)
    waves = logit(probability) + 0.8 * np.sign(np.sin(6 * np.pi * probability))
    y = (draw.random(20_000) < expit(waves)).astype(float)
    found = calibration.measure(y, probability)
    truth = expit(waves)
    missed = [np.mean((p - truth) ** 2) for p in (probability, found.correct(probability))]
    assert found.p_uneven < 1e-6 and missed[1] < missed[0] / 3
    assert max(found.offset_errors) < 0.1


@pytest.mark.parametrize("said", [0.0, 0.5, 1.0])
def test_few_or_certain_or_constant_probabilities_have_a_sigmoid_all_the_same(said):
    for y in (np.array([0.0]), np.array([1.0]), np.array([0.0, 1.0, 1.0])):
        found = calibration.measure(y, np.full(len(y), said))
        assert np.isfinite([found.intercept, found.slope, found.z, *found.offsets]).all()
        assert 0 <= found.p_value <= 1


def test_a_reliability_curve_tells_nearly_what_its_rows_told():
    y, probability = draw_known(3_000, 5, slope=0.7)
    rows = calibration.measure(y, probability)
    curve = calibration.measure_curve(calibration.reliability_curve(y, probability))
    assert (curve.n, curve.n_positive) == (rows.n, rows.n_positive)
    assert (curve.slope, curve.intercept) == (
        pytest.approx(rows.slope, abs=0.05),
        pytest.approx(rows.intercept, abs=0.05),
    )


def test_a_reliability_goes_through_json_unchanged():
    found = calibration.measure(*draw_known(50, 6))
    assert calibration.Reliability.from_json(json.loads(json.dumps(found.to_json()))) == found
