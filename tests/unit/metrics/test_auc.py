"""AUC, what its noise is made of, and whether it fell; held against brute force and scikit-learn."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from risk.metrics import auc
from risk.metrics.auc import Ranking

PROBABILITIES = st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 1.0]), min_size=1, max_size=25).map(
    np.array
)


def kernel(positive, negative):
    """All pairs of a leaver and a stayer: 1 when the leaver is above, half when tied."""
    gap = positive[:, None] - negative[None, :]
    return (gap > 0) + (gap == 0) / 2


def draw(rng, n, share=0.3, distance=1.0):
    y = (rng.random(n) < share).astype(float)
    return y, rng.normal(distance * y, 1)


@given(PROBABILITIES, PROBABILITIES)
def test_placements_are_the_row_and_column_means_of_all_pairs(positive, negative):
    pairs = kernel(positive, negative)
    of_positive, of_negative = auc.compute_placements(positive, negative)
    assert of_positive == pytest.approx(pairs.mean(axis=1))
    assert of_negative == pytest.approx(pairs.mean(axis=0))


@pytest.mark.parametrize("ties", [False, True])
def test_auc_is_that_of_scikit_learn_and_its_variance_that_of_delong(ties):
    rng = np.random.default_rng(0)
    y, probability = draw(rng, 300)
    probability = probability.round(1) if ties else probability
    pairs = kernel(probability[y == 1], probability[y == 0])
    by_hand = sum(pairs.mean(axis=axis).var(ddof=1) / pairs.shape[1 - axis] for axis in (0, 1))
    found = auc.compute_ranking(y, probability)
    assert found.auc == pytest.approx(roc_auc_score(y, probability), abs=1e-12)
    assert found.variance == pytest.approx(by_hand, rel=1e-12)


def test_the_variance_is_the_one_that_repetition_shows():
    rng = np.random.default_rng(1)
    found = [auc.compute_ranking(*draw(rng, 150)) for _ in range(1_500)]
    assert np.mean([one.variance for one in found]) == pytest.approx(
        np.var([one.auc for one in found]), rel=0.1
    )


@pytest.mark.parametrize("y", [[], [1.0, 1.0], [0.0]])
def test_without_both_classes_there_is_nothing_to_rank(y):
    assert auc.compute_ranking(np.array(y), np.array(y)) is None


def test_a_ranking_comes_back_from_json_as_it_was_and_row_order_is_nothing_to_it():
    y, probability = draw(np.random.default_rng(2), 80)
    found = auc.compute_ranking(y, probability)
    assert Ranking.from_json(json.loads(json.dumps(found.to_json()))) == found
    assert auc.compute_ranking(y[::-1], probability[::-1]) == found
    assert found.counts == (y.sum(), 80 - y.sum())


# --- has it fallen? ----------------------------------------------------------------------------------------


def test_a_clear_drop_is_found_and_a_rise_is_none():
    rng = np.random.default_rng(3)
    before = auc.compute_ranking(*draw(rng, 1_000, distance=1.5))
    worse, better = (auc.compute_ranking(*draw(rng, 1_000, distance=d)) for d in (0.5, 2.5))
    assert auc.auc_drop_p_value(before, worse) < 1e-6
    assert auc.auc_drop_p_value(before, better) > 0.999


@pytest.mark.parametrize(("m", "n", "distance"), [(400, 60, 2.0), (60, 400, 2.0)])
def test_the_p_value_of_a_fall_is_that_of_its_parts_in_scipy(m, n, distance):
    """Pooled variances of the placements, Satterthwaite's t, then a Pearson III law of their skewness."""
    rng = np.random.default_rng(m + n)
    rows = [draw(rng, size, distance=distance) for size in (m, n)]
    placed = [auc.compute_placements(p[y == 1], p[y == 0]) for y, p in rows]
    variances, moments, freedom = [], [], []
    for before, now in zip(*placed, strict=True):
        k, j = len(before), len(now)
        share = (j - 1) / (k + j - 2)
        second = (1 - share) * before.var(ddof=1) + share * now.var(ddof=1)
        third = (1 - share) * stats.kstat(before, 3) + share * stats.kstat(now, 3)
        variances.append(second * (1 / k + 1 / j))
        moments.append(third * (1 / j**2 - 1 / k**2))
        freedom.append(k + j - 2)
    error = sum(variances) ** 0.5
    z = (placed[1][0].mean() - placed[0][0].mean()) / error
    of_both = error**4 / sum(v**2 / f for v, f in zip(variances, freedom, strict=True))
    normal = stats.norm.ppf(stats.t.cdf(z, of_both))
    expected = stats.pearson3.cdf(normal, sum(moments) / error**3)
    found = auc.auc_drop_p_value(*(auc.compute_ranking(*pair) for pair in rows))
    assert found == pytest.approx(expected, rel=1e-6)


def test_with_many_rows_it_is_the_plain_z_test():
    rng = np.random.default_rng(4)
    before, now = (auc.compute_ranking(*draw(rng, 50_000)) for _ in range(2))
    z = (now.auc - before.auc) / (before.variance + now.variance) ** 0.5
    assert auc.auc_drop_p_value(before, now) == pytest.approx(stats.norm.cdf(z), abs=0.002)


@pytest.mark.parametrize(
    ("m", "n", "share", "distance"),
    [(500, 50, 0.5, 1.0), (100, 1_000, 0.1, 1.5), (2_000, 50, 0.2, 2.3), (200, 200, 0.1, 2.3)],
)
def test_no_more_than_five_percent_of_equal_models_are_said_to_have_fallen(m, n, share, distance):
    rng = np.random.default_rng(m + n)
    p_values = []
    while len(p_values) < 1_000:
        pair = [auc.compute_ranking(*draw(rng, size, share, distance)) for size in (m, n)]
        if all(one and min(one.counts) >= 5 for one in pair):
            p_values.append(auc.auc_drop_p_value(*pair))
    assert sum(p <= 0.05 for p in p_values) <= 67
    assert 0.4 < np.mean(p_values) < 0.6


def test_the_share_of_leavers_alone_is_no_fall():
    rng = np.random.default_rng(5)
    before = auc.compute_ranking(*draw(rng, 20_000, share=0.5))
    assert auc.auc_drop_p_value(before, auc.compute_ranking(*draw(rng, 20_000, share=0.05))) > 0.05


def test_few_rows_of_a_class_cannot_be_tested():
    rng = np.random.default_rng(6)
    whole = auc.compute_ranking(*draw(rng, 100))
    single = auc.compute_ranking(np.array([1.0, 0.0, 0.0]), np.array([0.2, 0.1, 0.3]))
    assert auc.auc_drop_p_value(whole, single) is None
    assert auc.auc_drop_p_value(single, whole) is None


@pytest.mark.parametrize(("after", "p_value"), [([0.9, 0.8, 0.1, 0.2], 1.0), ([0.5, 0.5, 0.5, 0.5], 0.0)])
def test_perfect_rankings_have_no_noise(after, p_value):
    y = np.array([1.0, 1.0, 0.0, 0.0])
    perfect, now = auc.compute_ranking(y, y), auc.compute_ranking(y, np.array(after))
    assert auc.auc_drop_p_value(perfect, now) == p_value


# --- resampling --------------------------------------------------------------------------------------------


def test_resampled_auc_scatters_as_delong_says_for_both_models_and_their_difference():
    rng = np.random.default_rng(7)
    y, one = draw(rng, 600)
    other = one + rng.normal(0, 0.5, len(y))
    drawn = auc.resample_auc(y, [one, other.round(1)], n_resamples=2_000, rng=rng)
    pairs = [kernel(p[y == 1], p[y == 0]) for p in (one, other.round(1))]
    for values, pair in (
        (drawn[:, 0], pairs[0]),
        (drawn[:, 1], pairs[1]),
        (-np.diff(drawn)[:, 0], pairs[0] - pairs[1]),
    ):
        variance = sum(pair.mean(axis=a).var(ddof=1) / pair.shape[1 - a] for a in (0, 1))
        assert values.mean() == pytest.approx(pair.mean(), abs=4 * (variance / 2_000) ** 0.5)
        assert values.std() == pytest.approx(variance**0.5, rel=0.08)


def test_resampling_in_one_go_or_in_many_is_the_same_as_drawing_by_hand(monkeypatch):
    y, probability = draw(np.random.default_rng(8), 40)
    whole = auc.resample_auc(y, [probability], n_resamples=3, rng=np.random.default_rng(1))
    rng = np.random.default_rng(1)
    n_positive = int(y.sum())
    left, stayed = (
        rng.integers(0, n_positive, (3, n_positive)),
        rng.integers(0, 40 - n_positive, (3, 40 - n_positive)),
    )
    by_hand = [kernel(probability[y == 1][left[i]], probability[y == 0][stayed[i]]).mean() for i in range(3)]
    assert whole[:, 0] == pytest.approx(by_hand)
