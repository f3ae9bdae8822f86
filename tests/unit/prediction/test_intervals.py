"""How sure a probability is, and whether it is high."""

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import beta

from risk.metrics import calibration
from risk.prediction import intervals


def make_card(curve, used=False):
    after = {"curve_after": curve, "curve_before": [{"mean_predicted": 0.9, "share_left": 0.9, "n": 9}]}
    return {"calibration": {"used": used, **(after if used else {"curve_before": curve})}}


def test_in_the_middle_of_a_bin_the_interval_is_that_of_jeffreys_of_its_share():
    curve = [
        {"mean_predicted": 0.2, "share_left": 0.25, "n": 80},
        {"mean_predicted": 0.6, "share_left": 0.5, "n": 40},
    ]
    for used in (False, True):
        low, high = intervals.make_intervals(make_card(curve, used)).compute(logit(np.array([0.2, 0.6])))
        for i, (left, stayed) in enumerate([(20, 60), (20, 20)]):
            interval = beta(left + 0.5, stayed + 0.5).ppf([0.025, 0.975])
            assert [low[i], high[i]] == pytest.approx(interval)


def test_an_interval_is_widened_to_hold_its_probability():
    curve = [
        {"mean_predicted": 0.2, "share_left": 0.5, "n": 1000},
        {"mean_predicted": 0.8, "share_left": 0.5, "n": 1000},
    ]
    low, high = intervals.make_intervals(make_card(curve)).compute(logit(np.array([0.2, 0.8])))
    assert low[0] == pytest.approx(0.2) and high[0] == pytest.approx(0.5, abs=0.04)
    assert high[1] == pytest.approx(0.8) and low[1] == pytest.approx(0.5, abs=0.04)


def test_between_and_beyond_bins_a_probability_keeps_its_own_place():
    curve = [{"mean_predicted": m, "share_left": m, "n": 100} for m in (0.2, 0.4)]
    log_odds = np.linspace(-8, 8, 200)
    low, high = intervals.make_intervals(make_card(curve)).compute(log_odds)
    probability = expit(log_odds)
    assert (low < probability).all() and (probability < high).all()
    assert (np.diff(low) > 0).all() and (np.diff(high) > 0).all() and low[0] > 0 and high[-1] < 1


def test_nobody_left_in_a_bin_and_a_certain_promise_still_give_an_interval():
    curve = [
        {"mean_predicted": 0.0, "share_left": 0.0, "n": 50},
        {"mean_predicted": 1.0, "share_left": 1.0, "n": 50},
    ]
    low, high = intervals.make_intervals(make_card(curve)).compute(np.array([-30.0, 0.0, 30.0]))
    assert np.isfinite([low, high]).all() and (low <= high).all()


@pytest.mark.parametrize(
    "facts", [{}, {"calibration": {"used": False, "reason": "too few rows to calibrate"}}]
)
def test_without_a_curve_there_is_no_interval(facts):
    assert intervals.make_intervals(facts) is None


def test_the_interval_holds_the_true_share_as_often_as_it_says():
    """A model that predicts too little: the true share of such clients lies in it 95 % of the time."""
    draw, held = np.random.default_rng(0), []
    for _ in range(200):
        log_odds = draw.normal(-1, 1.5, 2000)
        y = (draw.random(2000) < expit(log_odds + 0.7)).astype(np.int64)
        curve = calibration.reliability_curve(y, expit(log_odds))
        middle = logit([one["mean_predicted"] for one in curve])
        low, high = intervals.make_intervals(make_card(curve)).compute(middle)
        truth = expit(middle + 0.7)
        held.append(np.mean((low <= truth) & (truth <= high)))
    assert 0.92 < np.mean(held) < 0.98


@pytest.mark.parametrize(
    ("probability", "threshold", "risk"),
    [
        (0.2, 0.3, "low"),
        (0.3, 0.3, "medium"),
        (0.649, 0.3, "medium"),
        (0.65, 0.3, "high"),
        (0.99, 0.995, "low"),
        (0.9, 0.1, "high"),
    ],
)
def test_the_risk_in_words_goes_by_the_threshold(probability, threshold, risk):
    one = np.array([probability])
    assert intervals.assign_risk(one, one >= threshold, threshold).tolist() == [risk]
