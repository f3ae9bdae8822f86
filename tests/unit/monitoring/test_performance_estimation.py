"""Scores without labels: exact where they say so, and bands that hold."""

import json
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from risk.metrics import classification
from risk.metrics.reliability import Reliability, measure_reliability
from risk.model.card import make_reference
from risk.monitoring import estimate_audit, performance_estimation

RISKS = st.floats(0.01, 0.99)
ROWS = st.lists(st.tuples(RISKS, st.integers(0, 1)), min_size=2, max_size=9)
TIED = st.lists(st.tuples(st.sampled_from([0.1, 0.3, 0.5, 0.8]), st.integers(0, 1)), min_size=2, max_size=9)


def columns(rows):
    probability, y_pred = zip(*rows, strict=True)
    return np.array(probability, dtype=float), np.array(y_pred)


def every_outcome(probability):
    """Every vector of labels, and how probable each is."""
    y = np.array(list(product([0, 1], repeat=len(probability))))
    return y, np.where(y == 1, probability, 1 - probability).prod(axis=1)


def count_pairs(y, score):
    """Pairs of a leaver and a stayer, and those of them ranked rightly, one by one."""
    above = (score[:, None] > score) + (score[:, None] == score) / 2
    pairs = (y[:, None] == 1) & (y == 0)
    return pairs.sum(), (pairs * above).sum()


# --- expectations ------------------------------------------------------------------------------------------


@given(ROWS)
def test_expected_counts_are_the_mean_over_every_outcome(rows):
    probability, y_pred = columns(rows)
    outcomes, weight = every_outcome(probability)
    counts = np.array([classification.count_confusion(y, y_pred) for y in outcomes])
    assert performance_estimation.expect_counts(probability, y_pred) == pytest.approx(
        tuple(weight @ counts), abs=1e-9
    )


@given(ROWS)
def test_the_expected_f1_is_that_of_the_expected_counts_less_a_covariance_over_a_mean(rows):
    probability, y_pred = columns(rows)
    outcomes, weight = every_outcome(probability)
    counts = np.array([classification.count_confusion(y, y_pred) for y in outcomes])
    total = 2 * counts[:, 0] + counts[:, 1] + counts[:, 2]
    f1 = 2 * counts[:, 0] / np.maximum(total, 1)
    covariance = weight @ (f1 * total) - (weight @ f1) * (weight @ total)
    estimated = performance_estimation.expect_f1(probability, y_pred)
    assert estimated - covariance / (weight @ total) == pytest.approx(weight @ f1, abs=1e-9)


@given(TIED)
def test_expected_pairs_are_the_mean_over_every_outcome(rows):
    probability, _ = columns(rows)
    outcomes, weight = every_outcome(probability)
    pairs, right = np.array([count_pairs(y, probability) for y in outcomes]).T
    estimated = performance_estimation.expect_auc(probability, probability)
    assert estimated == pytest.approx((weight @ right) / (weight @ pairs), abs=1e-9)


@given(st.tuples(RISKS, RISKS))
def test_of_two_rows_the_auc_is_the_exact_mean_where_both_classes_are_there(pair):
    probability = np.array(pair)
    leave_first, leave_second = pair[0] * (1 - pair[1]), pair[1] * (1 - pair[0])
    larger = leave_first if pair[0] > pair[1] else leave_second
    exact = 0.5 if pair[0] == pair[1] else larger / (leave_first + leave_second)
    assert performance_estimation.expect_auc(probability, probability) == pytest.approx(exact, abs=1e-9)


@pytest.mark.parametrize("digits", [1, 2, 12], ids=["many ties", "some ties", "no tie"])
def test_the_auc_in_n_log_n_is_that_of_the_plain_double_sum(digits):
    draw = np.random.default_rng(digits)
    probability, score = draw.random(700), np.round(draw.random(700), digits)
    above = (score[:, None] > score) + (score[:, None] == score) / 2
    weight = probability[:, None] * (1 - probability)
    np.fill_diagonal(weight, 0)
    plain = (weight * above).sum() / weight.sum()
    assert performance_estimation.expect_auc(probability, score) == pytest.approx(plain, abs=1e-9)


def test_without_a_pair_or_a_leaver_there_is_no_expectation():
    nobody = np.zeros(3)
    assert (
        performance_estimation.expect_f1(nobody, nobody) is None
        and performance_estimation.expect_auc(nobody, nobody) is None
    )
    assert performance_estimation.expect_f1(nobody, np.array([1, 0, 0])) == 0
    assert performance_estimation.expect_auc(np.array([0.3]), np.array([0.3])) is None


# --- the band ----------------------------------------------------------------------------------------------

SURE = Reliability(
    n=10_000,
    n_positive=4_000,
    intercept=0.0,
    slope=1.0,
    covariance=((0.0, 0.0), (0.0, 0.0)),
    edges=(),
    offsets=(0.0,),
    offset_errors=(0.0,),
    p_uneven=1.0,
    z=0.0,
    p_value=1.0,
)


def say(x, slope=1.0):
    """What a model says that is overconfident by a slope, and whom it calls."""
    probability = expit(slope * (1.5 * x - 0.5))
    return probability, (probability > 0.4).astype(int)


def draw_rows(rng, n, *, move=0.0, signal=1.5):
    x = rng.normal(move, 1, n)
    return x, (rng.random(n) < expit(signal * x - 0.5)).astype(float)


def measure(rng, n, slope=1.0):
    x, y = draw_rows(rng, n)
    return measure_reliability(y, say(x, slope)[0])


@pytest.mark.parametrize("n", [4, 9])
def test_the_interval_of_few_rows_holds_what_enumeration_says(n):
    probability, y_pred = say(np.random.default_rng(n).normal(0, 1, n))
    found = performance_estimation.estimate_performance(probability, y_pred, SURE, n_resamples=20_000)
    outcomes, weight = every_outcome(probability)
    real = [classification.compute_score(y, y_pred, probability) for y in outcomes]
    for name in ("f1", "auc"):
        values = np.array([np.nan if getattr(s, name) is None else getattr(s, name) for s in real])
        some = ~np.isnan(values)
        low, high = getattr(found, f"{name}_low"), getattr(found, f"{name}_high")
        for inside, least in (
            ((values >= low) & (values <= high), 0.95),
            ((values > low) & (values < high), 0),
        ):
            share = weight[some & inside].sum() / weight[some].sum()
            assert share >= least - 0.01
        tails = [weight[some & side].sum() / weight[some].sum() for side in (values < low, values > high)]
        assert max(tails) <= 0.025 + 0.005


@pytest.mark.parametrize(
    ("n", "move", "slope"),
    [(60, 0.0, 1.0), (400, 0.0, 1.0), (400, 1.0, 1.0), (400, 1.0, 2.0)],
    ids=["few rows", "the same world", "columns moved", "columns moved, probabilities off"],
)
def test_the_interval_holds_the_realised_score_19_times_in_20(n, move, slope):
    rng, held, batches = np.random.default_rng(1), {"f1": 0, "auc": 0}, 200
    for number in range(batches):
        reliability = measure(rng, 500, slope)
        x, y = draw_rows(rng, n, move=move)
        probability, y_pred = say(x, slope)
        found = performance_estimation.estimate_performance(
            probability, y_pred, reliability, n_resamples=400, random_state=number
        )
        told = estimate_audit.audit_estimate(found, classification.compute_score(y, y_pred, probability))
        held["f1"] += told.f1_held
        held["auc"] += told.auc_held
    assert min(held.values()) >= 180  # 99.9 % of draws at 0.95 hold 180 or more


def test_few_known_outcomes_make_a_wider_interval_than_many():
    probability, y_pred = say(np.random.default_rng(8).normal(0, 1, 2_000))
    few, many = (measure(np.random.default_rng(9), n) for n in (100, 10_000))
    widths = [
        found.f1_high - found.f1_low
        for found in (
            performance_estimation.estimate_performance(probability, y_pred, known) for known in (few, many)
        )
    ]
    assert widths[0] > 1.5 * widths[1]


def test_probabilities_that_are_off_are_corrected_and_it_is_said():
    rng = np.random.default_rng(10)
    x, y = draw_rows(rng, 20_000)
    for slope, said in (
        (1.0, "calibrated, as far as 5,000 known outcomes show"),
        (2.5, "miscalibrated beyond chance on 5,000 known outcomes"),
    ):
        probability, y_pred = say(x, slope)
        found = performance_estimation.estimate_performance(probability, y_pred, measure(rng, 5_000, slope))
        real = classification.compute_score(y, y_pred, probability)
        assert found.f1 == pytest.approx(real.f1, abs=0.02) and said in found.sentence
        assert found.leaver_share == pytest.approx(y.mean(), abs=0.02)
    assert abs(performance_estimation.expect_f1(probability, y_pred) - real.f1) > 0.04


def test_what_a_sigmoid_cannot_mend_is_corrected_bin_by_bin():
    rng = np.random.default_rng(11)

    def draw(n):
        x = rng.uniform(-1, 1, n)
        return x, (rng.random(n) < np.where(x < 0, 0.9, 0.1)).astype(float)

    def smooth(x):
        return expit(-3 * x), (x < 0.1).astype(int)

    x, y = draw(4_000)
    known = measure_reliability(y, smooth(x)[0])
    x, y = draw(4_000)
    probability, y_pred = smooth(x)
    found = performance_estimation.estimate_performance(probability, y_pred, known)
    real = classification.compute_score(y, y_pred, probability)
    assert found.f1 == pytest.approx(real.f1, abs=0.02) and found.auc == pytest.approx(real.auc, abs=0.02)
    assert abs(performance_estimation.expect_f1(probability, y_pred) - real.f1) > 0.05
    assert known.p_uneven < 1e-6 and "miscalibrated beyond chance" in found.sentence


def test_the_error_of_that_correction_makes_the_interval_wider():
    probability, y_pred = say(np.random.default_rng(11).normal(0, 1, 1_000))
    known = replace(SURE, edges=tuple(np.linspace(0.1, 0.9, 9)), offsets=(0.0,) * 10)
    sure, unsure = (
        performance_estimation.estimate_performance(
            probability, y_pred, replace(known, offset_errors=(error,) * 10)
        )
        for error in (0.0, 0.5)
    )
    assert unsure.auc_high - unsure.auc_low > 1.2 * (sure.auc_high - sure.auc_low)
    assert unsure.f1 == sure.f1


def test_concept_drift_is_not_seen_and_the_sentence_says_so():
    rng = np.random.default_rng(12)
    x, y = draw_rows(rng, 2_000, signal=-1.5)
    probability, y_pred = say(x)
    found = performance_estimation.estimate_performance(probability, y_pred, measure(rng, 2_000))
    told = estimate_audit.audit_estimate(found, classification.compute_score(y, y_pred, probability))
    assert found.auc > 0.7 and told.auc < 0.3
    assert told.auc_held is False and told.f1_held is False
    assert "not detect clients leaving for other reasons" in found.sentence


@pytest.mark.parametrize(
    ("n", "n_positive", "given"),
    [(30, 5, True), (29, 5, False), (30, 4, False), (30, 26, False), (30, 25, True)],
)
def test_an_estimate_needs_30_known_outcomes_and_5_of_a_class(n, n_positive, given):
    probability, y_pred = say(np.random.default_rng(13).normal(0, 1, 50))
    found = performance_estimation.estimate_performance(
        probability, y_pred, replace(SURE, n=n, n_positive=n_positive)
    )
    assert (found.f1 is not None, found.auc is not None) == (given, given)
    assert ("no estimate" in found.sentence) is not given


def test_without_known_outcomes_or_rows_there_is_no_number():
    probability, y_pred = say(np.zeros(5))
    assert performance_estimation.estimate_performance(probability, y_pred, None).f1 is None
    nothing = performance_estimation.estimate_performance(probability[:0], y_pred[:0], SURE)
    assert (nothing.n, nothing.f1, nothing.leaver_share) == (0, None, None)


@given(ROWS)
def test_an_estimate_lies_in_its_interval_is_json_and_the_same_each_time(rows):
    probability, y_pred = columns(rows)
    found = performance_estimation.estimate_performance(probability, y_pred, SURE, n_resamples=50)
    assert found == performance_estimation.estimate_performance(probability, y_pred, SURE, n_resamples=50)
    json.dumps(found.to_json(), allow_nan=False)
    for name in ("f1", "auc"):
        low, at, high = (getattr(found, f"{name}{end}") for end in ("_low", "", "_high"))
        assert at is None or 0 <= low <= at <= high <= 1


def test_many_rows_in_groups_have_the_interval_of_their_rows():
    rows = say(np.random.default_rng(14).normal(0, 1, 1_500))
    grouped = performance_estimation.estimate_performance(*rows, SURE)
    single = performance_estimation.estimate_performance(*rows, SURE, n_groups=2_000)
    for name in ("f1_low", "f1_high", "auc_low", "auc_high"):
        assert getattr(grouped, name) == pytest.approx(getattr(single, name), abs=0.006)
    assert (grouped.f1, grouped.auc) == (single.f1, single.auc)


# --- what became of it -------------------------------------------------------------------------------------


def test_an_audit_says_the_error_and_whether_the_interval_held():
    guess = performance_estimation.PerformanceEstimate(4, 0.6, 0.5, 0.8, 0.7, 0.6, 0.8, 0.5, "")
    y = np.array([1, 0, 1, 0])
    real = classification.compute_score(y, np.array([1, 1, 1, 0]), np.array([0.9, 0.8, 0.7, 0.1]))
    told = estimate_audit.audit_estimate(guess, real)
    assert (told.n, told.f1, told.f1_error, told.f1_held) == (4, 0.8, pytest.approx(0.2), True)
    assert (told.auc, told.auc_error, told.auc_held) == (0.75, pytest.approx(0.05), True)
    assert estimate_audit.audit_estimate(replace(guess, f1_high=0.79), real).f1_held is False
    assert "F1 0.80, estimated 0.60, in the interval 0.50 to 0.80" in told.sentence


def test_an_audit_compares_only_what_both_sides_know():
    guess = performance_estimation.PerformanceEstimate(2, None, None, None, 0.7, 0.6, 0.8, 0.5, "")
    stayed = classification.compute_score(np.zeros(2), np.zeros(2), np.array([0.1, 0.2]))
    told = estimate_audit.audit_estimate(guess, stayed)
    assert (told.f1_error, told.auc_error, told.auc_held) == (None, None, None)
    assert "nothing can be compared" in told.sentence
    with pytest.raises(ValueError, match="the estimate is of 2 rows, the score of 3"):
        estimate_audit.audit_estimate(guess, classification.Score({**stayed.values, "n": 3}))


# --- where the known outcomes come from --------------------------------------------------------------------


def make_kept(n):
    x, y = draw_rows(np.random.default_rng(15), n)
    probability, y_pred = say(x)
    return json.loads(json.dumps(make_reference(y, y_pred, probability)))


CURVE = [{"mean_predicted": p, "share_left": p, "n": 200} for p in (0.1, 0.3, 0.6, 0.9)]


def test_the_reference_of_a_release_tells_what_its_probabilities_are_worth():
    assert (
        performance_estimation.get_reliability(make_kept(200), {"calibration": {"curve_before": CURVE}}).n
        == 200
    )


def test_of_cross_validated_rows_less_is_known_than_of_rows_that_no_model_had_seen():
    kept = make_kept(200)
    plain, crossed = (
        performance_estimation.get_reliability(kept | more, {}) for more in ({}, {"rows": "cross-validated"})
    )
    assert crossed == plain.widen(1.5) and crossed.slope == plain.slope
    probability, y_pred = say(np.random.default_rng(16).normal(0, 1, 5_000))
    wide = [
        found.auc_high - found.auc_low
        for found in (
            performance_estimation.estimate_performance(probability, y_pred, known)
            for known in (plain, crossed)
        )
    ]
    assert wide[1] > 1.1 * wide[0]


@pytest.mark.parametrize(("used", "n"), [(True, 80), (False, 800)])
def test_where_it_says_too_little_cross_validation_tells(used, n):
    after = [{**one, "n": 20} for one in CURVE]
    card = {"calibration": {"used": used, "curve_before": CURVE, "curve_after": after}}
    for kept in (None, make_kept(20), make_kept(0)):
        found = performance_estimation.get_reliability(kept, card)
        assert found.n == n and performance_estimation.has_enough_outcomes(found)


def test_where_nothing_tells_there_is_no_reliability_or_too_little_of_it():
    for card in ({}, {"calibration": {"used": False, "reason": "too few rows to calibrate"}}):
        assert performance_estimation.get_reliability(None, card) is None
        assert not performance_estimation.has_enough_outcomes(
            performance_estimation.get_reliability(make_kept(20), card)
        )
