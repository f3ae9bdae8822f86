"""Intervals of F1 and AUC, and tests of a drop of F1 that count the noise of both scores."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from labelled import draw
from scipy import stats

from risk.metrics import auc, uncertainty
from risk.metrics.auc import Ranking

CELLS = st.tuples(*[st.integers(0, 300)] * 4)


def draw_counts(rng, n, share, recall=0.7, false_share=0.2):
    n_positive = int(rng.binomial(n, share))
    n_tp, n_fp = int(rng.binomial(n_positive, recall)), int(rng.binomial(n - n_positive, false_share))
    return n_tp, n_fp, n_positive - n_tp, n - n_positive - n_fp


# --- intervals ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n_tp", "n_errors"), [(3, 4), (40, 25), (900, 300)])
def test_the_f1_interval_is_that_of_the_jeffreys_posterior(n_tp, n_errors):
    ends = stats.beta(n_tp + 0.5, n_errors + 0.5).ppf([0.025, 0.975])
    assert uncertainty.f1_interval(n_tp, n_errors) == pytest.approx(tuple(2 * ends / (1 + ends)), rel=1e-9)


def test_the_f1_interval_of_many_rows_is_that_of_the_bootstrap():
    """Resampled rows differ in nothing but their counts, which are multinomial."""
    counts = np.array([400, 150, 250, 3_200])
    drawn = np.random.default_rng(0).multinomial(counts.sum(), counts / counts.sum(), size=2_000).T
    f1 = 2 * drawn[0] / (2 * drawn[0] + drawn[1] + drawn[2])
    closed = uncertainty.f1_interval(400, 400)
    assert tuple(np.quantile(f1, [0.025, 0.975])) == pytest.approx(closed, abs=0.006)


@pytest.mark.parametrize(("n_tp", "n_errors"), [(1, 1), (30, 12), (700, 1100)])
def test_the_interval_holds_95_percent_of_its_posterior(n_tp, n_errors):
    low, high = uncertainty.f1_interval(n_tp, n_errors)
    jaccard = stats.beta(n_tp + 0.5, n_errors + 0.5).rvs(200_000, random_state=1)
    f1 = 2 * jaccard / (1 + jaccard)
    assert np.mean((low <= f1) & (f1 <= high)) == pytest.approx(0.95, abs=0.003)


def test_the_interval_reaches_0_without_a_hit_and_1_without_an_error():
    assert uncertainty.f1_interval(0, 5)[0] == 0.0
    assert uncertainty.f1_interval(5, 0)[1] == 1.0


@pytest.mark.parametrize("share", [0.1, 0.5])
@pytest.mark.parametrize("n", [50, 500])
def test_95_of_100_f1_intervals_hold_the_true_f1(n, share):
    rng = np.random.default_rng(n)
    truth = 2 * 0.7 * share / (0.7 * share + 0.2 * (1 - share) + share)
    held = 0
    for _ in range(1_000):
        n_tp, n_fp, n_fn, _ = draw_counts(rng, n, share)
        low, high = uncertainty.f1_interval(n_tp, n_fp + n_fn)
        held += low <= truth <= high
    assert 930 <= held <= 975


@pytest.mark.parametrize(("n_positive", "n_negative"), [(5, 45), (30, 30), (40, 400)])
@pytest.mark.parametrize("distance", [0.5, 1.5, 3.0])
def test_at_least_95_of_100_auc_intervals_hold_the_true_auc(n_positive, n_negative, distance):
    rng = np.random.default_rng(n_negative)
    truth = stats.norm.cdf(distance / math.sqrt(2))
    y = np.array([1.0] * n_positive + [0.0] * n_negative)
    held = 0
    for _ in range(600):
        low, high = uncertainty.auc_interval(auc.compute_ranking(y, rng.normal(distance * y, 1)))
        held += low <= truth <= high
    assert held >= 553  # 95 % of 600 less three standard errors


@pytest.mark.parametrize("n_positive", [1, 5, 50])
def test_a_perfect_auc_of_few_rows_is_no_certainty(n_positive):
    found = Ranking(1.0, n_positive, 50, (0.0, 0.0), (0.0, 0.0))
    low, high = uncertainty.auc_interval(found)
    assert high == 1.0 and 0 < low < 1
    assert low < {1: 0.5, 5: 0.87, 50: 0.99}[n_positive]
    mirrored = Ranking(0.0, n_positive, 50, (0.0, 0.0), (0.0, 0.0))
    assert uncertainty.auc_interval(mirrored) == pytest.approx((0.0, 1 - low))


def test_the_auc_interval_of_many_rows_is_that_of_the_bootstrap():
    y, probability = draw(np.random.default_rng(1), 3_000, 0.3, 1.0)
    closed = uncertainty.auc_interval(auc.compute_ranking(y, probability))
    drawn = auc.resample_auc(y, [probability], n_resamples=1_000, rng=np.random.default_rng(0))
    assert tuple(np.quantile(drawn, [0.025, 0.975])) == pytest.approx(closed, abs=0.004)


# --- has F1 fallen? ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reference", "new"),
    [
        ((50, 20, 20, 200), (5, 4, 3, 40)),
        ((500, 200, 200, 900), (30, 40, 30, 90)),
        ((9, 3, 2, 30), (9, 3, 2, 30)),
        ((9, 3, 2, 30), (0, 3, 2, 30)),
    ],
)
def test_the_p_value_of_a_drop_is_that_of_fisher_for_the_rows_that_count(reference, new):
    cells = [[counts[0], counts[1] + counts[2]] for counts in (new, reference)]
    expected = stats.fisher_exact(cells, alternative="less").pvalue
    assert uncertainty.f1_drop_p_value(reference, new) == pytest.approx(expected, rel=1e-9)


def test_the_same_counts_are_as_likely_up_as_down():
    same = (40, 20, 20, 100)
    tie = stats.hypergeom.pmf(40, 160, 80, 80)
    assert uncertainty.f1_drop_p_value(same, same) == pytest.approx(0.5 + tie / 2, rel=1e-9)
    assert uncertainty.f1_drop_at_share_p_value(same, same, 0.3) == pytest.approx(0.5, abs=0.01)


@given(CELLS, CELLS)
def test_a_drop_one_way_is_a_rise_the_other_and_the_tie_counts_for_both(one, other):
    p, q = uncertainty.f1_drop_p_value(one, other), uncertainty.f1_drop_p_value(other, one)
    assert 0 <= p <= 1 and 0 <= q <= 1
    n, m = sum(one[:3]), sum(other[:3])
    tie = stats.hypergeom.pmf(other[0], n + m, one[0] + other[0], m) if n and m else 1.0
    assert p + q == pytest.approx(1 + tie, rel=1e-9)


@pytest.mark.parametrize("n", [50, 10_000])
@pytest.mark.parametrize("share", [0.1, 0.5])
def test_no_more_than_five_percent_of_equal_models_are_said_to_have_fallen(n, share):
    rng = np.random.default_rng(n)
    alarms = sum(
        uncertainty.f1_drop_p_value(draw_counts(rng, 500, share), draw_counts(rng, n, share)) <= 0.05
        for _ in range(1_000)
    )
    assert 15 <= alarms <= 60  # an exact test: at most 50 are expected


def test_at_one_share_of_leavers_f1_does_not_fall_by_the_share_alone():
    rng = np.random.default_rng(2)
    reference, fewer = draw_counts(rng, 2_000, 0.3), draw_counts(rng, 2_000, 0.08)
    worse = draw_counts(rng, 2_000, 0.3, recall=0.4)
    assert uncertainty.f1_drop_p_value(reference, fewer) < 1e-6
    assert uncertainty.f1_drop_at_share_p_value(reference, fewer, 0.3) > 0.05
    assert uncertainty.f1_drop_at_share_p_value(reference, worse, 0.3) < 1e-6
    more_but_worse = draw_counts(rng, 2_000, 0.8, recall=0.5)
    assert uncertainty.f1_drop_p_value(reference, more_but_worse) > 0.5
    assert uncertainty.f1_drop_at_share_p_value(reference, more_but_worse, 0.3) < 1e-6


def test_the_test_at_one_share_is_that_of_drawn_posteriors():
    reference, new, share = (50, 60, 20, 300), (6, 12, 6, 50), 0.16
    rng = np.random.default_rng(3)
    drawn = []
    for n_tp, n_fp, n_fn, n_tn in (reference, new):
        called = rng.beta(n_tp + 0.5, n_fn + 0.5, 400_000) * share
        falsely = rng.beta(n_fp + 0.5, n_tn + 0.5, 400_000) * (1 - share)
        drawn.append(2 * called / (called + falsely + share))
    expected = (drawn[1] >= drawn[0]).mean()
    assert uncertainty.f1_drop_at_share_p_value(reference, new, share) == pytest.approx(expected, abs=0.004)
