"""Two samples: distances, p-values, families of them; held against scipy and against brute force."""

import itertools
import math

import distances
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from risk.metrics import significance, two_sample

ROWS = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60).map(np.array)
COUNTS = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 400)), min_size=1, max_size=12).filter(
    lambda pairs: sum(a for a, _ in pairs) > 0 < sum(b for _, b in pairs)
)
P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def counts_of(pairs):
    return tuple(np.array(side) for side in zip(*pairs, strict=True))


# --- population stability index ----------------------------------------------------------------------------


def test_psi_is_the_sum_over_the_bins_of_reference_quantiles():
    reference, current = np.arange(100.0), np.concatenate([np.arange(50.0), np.arange(50.0)])
    by_hand = 5 * (0.2 - 0.1) * math.log(0.2 / 0.1) + 5 * (0.005 - 0.1) * math.log(0.005 / 0.1)
    assert distances.population_stability_index(reference, current) == pytest.approx(by_hand, rel=1e-12)


def test_psi_of_two_normal_laws_is_the_square_of_their_distance():
    rng = np.random.default_rng(0)
    reference, current = rng.normal(size=400_000), rng.normal(0.3, 1, 400_000)
    assert distances.population_stability_index(reference, current, n_bins=100) == pytest.approx(
        0.09, rel=0.03
    )


@given(ROWS)
def test_psi_of_a_sample_with_itself_is_zero(rows):
    assert distances.population_stability_index(rows, rows) == 0.0


@given(ROWS, ROWS)
def test_psi_is_never_negative_and_the_order_of_rows_is_nothing_to_it(reference, current):
    psi = distances.population_stability_index(reference, current)
    assert psi >= 0
    assert psi == distances.population_stability_index(reference[::-1], current[::-1])


def test_missing_and_out_of_range_values_are_bins_of_their_own():
    reference = np.arange(100.0)
    for strange in (math.nan, -5.0, 500.0):
        current = np.where(reference < 30, strange, reference)
        gone = 3 * (0.005 - 0.1) * math.log(0.005 / 0.1)
        new = (0.3 - 0.005) * math.log(0.3 / 0.005)
        assert distances.population_stability_index(reference, current) == pytest.approx(
            gone + new, rel=1e-12
        )


@pytest.mark.parametrize(("m", "n"), [(1_000, 200), (1_000, 1_000), (5_000, 20_000)])
def test_five_percent_of_unmoved_samples_exceed_the_critical_psi(m, n):
    rng, exceeded, psi = np.random.default_rng(m + n), 0, []
    edges = np.linspace(0, 1, 11)
    for _ in range(1_000):
        reference, current = (np.histogram(rng.random(size), edges)[0] for size in (m, n))
        psi.append(two_sample.stability_of_counts(reference, current))
        noise, critical = two_sample.stability_noise(reference, current)
        exceeded += psi[-1] > critical
    assert exceeded <= 75  # 5 % of 1,000 and four standard errors
    assert exceeded >= 25
    assert np.mean(psi) == pytest.approx(noise, rel=0.15)


def test_the_noise_of_psi_is_that_of_chi_square():
    reference, current = np.array([500, 300, 200, 0]), np.array([50, 30, 19, 1])
    scale = 1 / 1_000 + 1 / 100
    expected = 3 * scale, stats.chi2.ppf(0.95, 3) * scale
    assert two_sample.stability_noise(reference, current) == pytest.approx(expected, rel=1e-9)


# --- Kolmogorov and Smirnov --------------------------------------------------------------------------------


@given(ROWS, ROWS)
def test_ks_is_the_largest_gap_between_the_shares_at_or_below_a_value(reference, current):
    ks, _ = distances.kolmogorov_smirnov(reference, current)
    gaps = [abs((reference <= x).mean() - (current <= x).mean()) for x in (*reference, *current)]
    assert ks == pytest.approx(max(gaps), abs=1e-12)


@pytest.mark.parametrize(("m", "n", "gap"), [(300, 300, 0.1), (1_000, 100, 0.15), (200, 5_000, 0.12)])
def test_ks_is_that_of_scipy_and_its_p_value_near_the_exact_one_and_not_below_it(m, n, gap):
    rng = np.random.default_rng(0)
    reference, current = rng.random(m), rng.random(n) * (1 - gap) + gap
    statistic, exact = stats.ks_2samp(reference, current, method="exact")
    ks, p_value = distances.kolmogorov_smirnov(reference, current)
    assert ks == pytest.approx(statistic, abs=1e-12)
    assert exact <= p_value * 1.02
    assert p_value == pytest.approx(exact, rel=0.25)


@pytest.mark.parametrize(
    ("gap", "m", "n"), [(0.02, 20_000, 20_000), (0.1, 500, 400), (0.0, 5, 5), (1.0, 60, 90)]
)
def test_the_ks_p_value_is_that_of_the_limiting_law(gap, m, n):
    expected = stats.kstwobign.sf(gap * math.sqrt(m * n / (m + n)))
    assert two_sample.ks_p_value(gap, m, n) == pytest.approx(expected, rel=1e-9)


def test_ties_make_the_ks_p_value_larger_never_smaller():
    rng = np.random.default_rng(1)
    alarms = sum(
        distances.kolmogorov_smirnov(rng.poisson(1, 500).astype(float), rng.poisson(1, 100).astype(float))[1]
        <= 0.05
        for _ in range(1_000)
    )
    assert alarms <= 50


# --- counts by category ------------------------------------------------------------------------------------


def test_chi_square_is_that_of_scipy_where_every_bin_is_large():
    reference, current = np.array([320, 480, 200, 90]), np.array([40, 90, 25, 20])
    expected = stats.chi2_contingency([reference, current], correction=False)
    statistic, freedom, p_value = two_sample.chi_square(reference, current)
    assert (statistic, freedom) == (pytest.approx(expected.statistic, rel=1e-12), expected.dof)
    assert p_value == pytest.approx(expected.pvalue, rel=1e-10)


def test_small_bins_are_joined_until_both_samples_expect_five_rows():
    reference, current = np.array([100, 100, 4, 3, 3]), np.array([10, 10, 0, 1, 0])
    joined = stats.chi2_contingency([[100, 110], [10, 11]], correction=False)
    assert two_sample.chi_square(reference, current) == (
        pytest.approx(joined.statistic, abs=1e-12), 1, pytest.approx(joined.pvalue, rel=1e-10),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("reference", "current"),
    [([0, 0], [0, 0]), ([5, 5], [0, 0]), ([0, 0], [5, 5]), ([1000], [1000]), ([1, 1], [1, 1])],
)
def test_where_nothing_can_be_compared_the_p_value_is_one(reference, current):
    assert two_sample.chi_square(np.array(reference), np.array(current))[1:] == (0, 1.0)
    assert two_sample.categories_p_value(np.array(reference), np.array(current)) == 1.0


@given(COUNTS)
def test_the_order_of_large_categories_is_nothing_to_their_test(pairs):
    pairs = [(100 + 7 * i + a, 100 + 11 * i + b) for i, (a, b) in enumerate(pairs)]
    one, other = counts_of(pairs), counts_of(pairs[::-1])
    assert two_sample.categories_p_value(*one) == pytest.approx(
        two_sample.categories_p_value(*other), rel=1e-9
    )


@given(COUNTS)
def test_p_values_of_counts_lie_between_0_and_1(pairs):
    reference, current = counts_of(pairs)
    for p in (
        two_sample.chi_square(reference, current)[2],
        two_sample.categories_p_value(reference, current),
    ):
        assert 0 <= p <= 1


def test_the_chance_of_a_new_category_is_the_exact_one():
    reference, current = np.array([1_000, 0]), np.array([45, 5])
    alone = stats.hypergeom.sf(4, 1_050, 5, 50)
    assert two_sample.surge_p_value(reference, current) == pytest.approx(alone, rel=1e-9)


def test_one_row_of_one_new_category_is_no_surprise_where_many_are_rare():
    reference = np.array([950, *[1] * 50, 0])
    current = np.array([45, *[0] * 50, 1])
    assert two_sample.surge_p_value(reference, current) == 1.0
    assert two_sample.surge_p_value(np.array([1_000, 0]), np.array([49, 1])) == pytest.approx(50 / 1_050)


def test_a_new_category_in_a_far_larger_sample_is_no_surprise():
    reference, current = np.array([187, 90, 19, 4, 0]), np.array([1_218, 597, 146, 35, 4])
    all_now = stats.hypergeom.pmf(4, 2_300, 4, 2_000)
    assert two_sample.surge_p_value(reference, current) == pytest.approx(all_now, rel=1e-9)


def test_where_no_category_is_rare_there_is_no_surge_to_test():
    assert two_sample.surge_p_value(np.array([500, 500]), np.array([50, 50])) is None
    reference, current = np.array([500, 500]), np.array([60, 40])
    assert two_sample.categories_p_value(reference, current) == two_sample.chi_square(reference, current)[2]


@pytest.mark.parametrize("shares", [[0.7, 0.29, 0.01], [1 / 20] * 20, [0.5, *[0.01] * 50]])
@pytest.mark.parametrize(("m", "n"), [(1_000, 50), (300, 3_000)])
def test_categories_raise_no_more_false_alarms_than_they_may(shares, m, n):
    rng = np.random.default_rng(len(shares) + n)
    p_values = [
        two_sample.categories_p_value(rng.multinomial(m, shares), rng.multinomial(n, shares))
        for _ in range(1_000)
    ]
    assert sum(p <= 0.05 for p in p_values) <= 67
    assert sum(p <= 0.005 for p in p_values) <= 13


# --- shares ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "table", [(10, 100, 10, 50), (0, 1_000, 3, 50), (900, 1_000, 1, 2), (5, 50, 400, 900)]
)
def test_two_shares_are_compared_by_the_smaller_tail_of_fisher(table):
    k_reference, n_reference, k, n = table
    cells = [[k, n - k], [k_reference, n_reference - k_reference]]
    tails = [stats.fisher_exact(cells, alternative=side).pvalue for side in ("less", "greater")]
    assert two_sample.compare_shares(*table) == pytest.approx(min(1.0, 2 * min(tails)), rel=1e-9)


@pytest.mark.parametrize("table", [(0, 0, 3, 5), (3, 5, 0, 0), (0, 10, 0, 20), (10, 10, 20, 20)])
def test_shares_without_rows_or_without_a_difference_to_find_have_p_one(table):
    assert two_sample.compare_shares(*table) == 1.0


@pytest.mark.parametrize("table", [(10, 100, 3, 50), (0, 1_000, 3, 50), (900, 1_000, 1, 2), (5, 50, 40, 900)])
def test_a_smaller_share_is_tested_by_the_lower_tail_of_fisher(table):
    k_reference, n_reference, k, n = table
    cells = [[k, n - k], [k_reference, n_reference - k_reference]]
    expected = stats.fisher_exact(cells, alternative="less").pvalue
    assert two_sample.share_drop_p_value(*table) == pytest.approx(expected, rel=1e-9)
    assert two_sample.share_drop_p_value(0, 0, k, n) == two_sample.share_drop_p_value(1, 2, 0, 0) == 1.0


def test_shares_of_a_million_rows_are_compared_exactly_and_at_once():
    assert two_sample.compare_shares(100_000, 1_000_000, 101_500, 1_000_000) < 0.001
    assert two_sample.compare_shares(100_000, 1_000_000, 100_100, 1_000_000) > 0.5


# --- families ----------------------------------------------------------------------------------------------


@given(P_VALUES)
def test_benjamini_hochberg_is_that_of_scipy(p_values):
    assert significance.benjamini_hochberg(p_values) == pytest.approx(stats.false_discovery_control(p_values))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_is_the_closed_test_of_all_intersections(p_values):
    """An adjusted p-value is the largest Bonferroni one of all groups of hypotheses that hold it."""
    n = len(p_values)
    groups = [g for k in range(1, n + 1) for g in itertools.combinations(range(n), k)]
    bonferroni = {g: min(1.0, len(g) * min(p_values[i] for i in g)) for g in groups}
    expected = [max(p for g, p in bonferroni.items() if i in g) for i in range(n)]
    assert significance.holm(p_values) == pytest.approx(expected)


def test_a_family_of_none_stays_none():
    assert len(significance.benjamini_hochberg([])) == 0 and len(significance.holm([])) == 0
