"""What known outcomes show of probabilities, and the correction by them."""

import json

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit, log_expit, logit

from risk.metrics import calibration, reliability


def draw_known(n, seed, *, slope=1.0, intercept=0.0):
    """Outcomes, and probabilities of which the log-odds are off by a slope and an intercept."""
    draw = np.random.default_rng(seed)
    truth = draw.normal(-0.5, 1.5, n)
    return (draw.random(n) < expit(truth)).astype(float), expit((truth - intercept) / slope)


def test_the_sigmoid_that_mends_probabilities_is_the_most_probable_one():
    y, probability = draw_known(300, 1, slope=0.6, intercept=0.4)

    def loss(at):
        said = at[0] + at[1] * logit(probability)
        prior = (at[0] ** 2 + (at[1] - 1) ** 2) / (2 * reliability.PRIOR_SD**2)
        return prior - np.sum(y * log_expit(said) + (1 - y) * log_expit(-said))

    found = reliability.measure_reliability(y, probability)
    best = minimize(loss, [0.0, 1.0], method="BFGS", options={"gtol": 1e-8})
    assert [found.intercept, found.slope] == pytest.approx(best.x, abs=1e-5)
    assert np.array(found.covariance) == pytest.approx(best.hess_inv, rel=0.05, abs=1e-3)


def test_many_known_outcomes_find_how_probabilities_are_off():
    y, probability = draw_known(50_000, 2, slope=0.6, intercept=0.4)
    found = reliability.measure_reliability(y, probability)
    assert (found.slope, found.intercept) == (pytest.approx(0.6, abs=0.03), pytest.approx(0.4, abs=0.05))
    assert found.p_value < 1e-6 and np.abs(found.offsets).max() < 0.1
    assert found.correct(probability) == pytest.approx(expit(0.6 * logit(probability) + 0.4), abs=0.01)


def test_the_z_of_spiegelhalter_is_the_brier_loss_less_its_mean_over_its_spread():
    y, probability = draw_known(200, 3)
    p = probability
    mean, variance = np.sum(p * (1 - p)), np.sum((1 - 2 * p) ** 2 * p * (1 - p))
    z = (np.sum((y - p) ** 2) - mean) / np.sqrt(variance)
    assert reliability.measure_reliability(y, probability).z == pytest.approx(z)


def test_honest_probabilities_are_suspected_as_often_as_alpha_says():
    found = [reliability.measure_reliability(*draw_known(200, seed)) for seed in range(400)]
    assert 8 <= sum(one.p_value < 0.05 for one in found) <= 33  # 99 % range of 20
    assert 4 <= sum(one.p_uneven < 0.05 for one in found) <= 33  # bins of 20 rows: chi2 errs to the safe side


def test_what_a_sigmoid_cannot_mend_is_found_bin_by_bin():
    draw = np.random.default_rng(4)
    probability = draw.uniform(0.05, 0.95, 20_000)
    waves = logit(probability) + 0.8 * np.sign(np.sin(6 * np.pi * probability))
    y = (draw.random(20_000) < expit(waves)).astype(float)
    found = reliability.measure_reliability(y, probability)
    truth = expit(waves)
    missed = [np.mean((p - truth) ** 2) for p in (probability, found.correct(probability))]
    assert found.p_uneven < 1e-6 and missed[1] < missed[0] / 3
    assert max(found.offset_errors) < 0.1


@pytest.mark.parametrize("said", [0.0, 0.5, 1.0])
def test_few_or_certain_or_constant_probabilities_have_a_sigmoid_all_the_same(said):
    for y in (np.array([0.0]), np.array([1.0]), np.array([0.0, 1.0, 1.0])):
        found = reliability.measure_reliability(y, np.full(len(y), said))
        assert np.isfinite([found.intercept, found.slope, found.z, *found.offsets]).all()
        assert 0 <= found.p_value <= 1


def test_a_reliability_curve_tells_nearly_what_its_rows_told():
    y, probability = draw_known(3_000, 5, slope=0.7)
    rows = reliability.measure_reliability(y, probability)
    curve = reliability.measure_curve(calibration.reliability_curve(y, probability))
    assert (curve.n, curve.n_positive) == (rows.n, rows.n_positive)
    assert (curve.slope, curve.intercept) == (
        pytest.approx(rows.slope, abs=0.05),
        pytest.approx(rows.intercept, abs=0.05),
    )


def test_a_reliability_goes_through_json_unchanged():
    found = reliability.measure_reliability(*draw_known(50, 6))
    assert reliability.Reliability.from_json(json.loads(json.dumps(found.to_json()))) == found
