"""From which probability on a client is called: against every cut there is."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from risk.model import thresholds

# Few different values: ties are the rule.
SHARES = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.25, 0.5, 0.5 + 2**-53, 1.0]))
CLIENTS = st.lists(st.tuples(st.integers(0, 1), SHARES), min_size=1, max_size=12).filter(
    lambda rows: any(left for left, _ in rows)
)
COSTS = st.tuples(st.integers(1, 9), st.integers(1, 9)).map(lambda pair: (pair[0], pair[0] + pair[1]))


def split(rows):
    y, probability = zip(*rows, strict=True)
    return np.array(y), np.array(probability)


def every_way(probability):
    """Every set of clients that a threshold can call: those of the k highest different probabilities."""
    yield np.zeros(len(probability), dtype=bool)
    for value in sorted(set(probability), reverse=True):
        yield probability >= value


def exact_f1(y, called):
    return Fraction(2 * int((y * called).sum()), int(called.sum() + y.sum()))


def total_cost(y, called, call_cost, loss_cost):
    return int(np.where(called, call_cost, loss_cost * y).sum())


@given(CLIENTS)
def test_no_cut_has_a_larger_f1_and_of_equal_ones_none_has_fewer_calls(rows):
    y, probability = split(rows)
    called = probability >= thresholds.choose_by_f1(y, probability)
    best = max(exact_f1(y, way) for way in every_way(probability))
    assert exact_f1(y, called) == best
    assert called.sum() == min(w.sum() for w in every_way(probability) if exact_f1(y, w) == best)


@given(CLIENTS, COSTS)
def test_no_cut_costs_less(rows, costs):
    y, probability = split(rows)
    called = probability >= thresholds.choose_by_cost(y, probability, *costs)
    assert total_cost(y, called, *costs) == min(total_cost(y, w, *costs) for w in every_way(probability))


@given(CLIENTS, COSTS)
def test_of_cuts_of_equal_cost_the_nearest_to_the_ratio_of_the_costs_is_taken(rows, costs):
    y, probability = split(rows)
    chosen = thresholds.choose_by_cost(y, probability, *costs)
    cuts = thresholds.list_cuts(y, probability).threshold
    totals = [total_cost(y, probability >= cut, *costs) for cut in cuts]
    ratio = costs[0] / costs[1]
    nearest = min(abs(c - ratio) for c, total in zip(cuts, totals, strict=True) if total == min(totals))
    assert abs(chosen - ratio) == nearest


@given(CLIENTS)
def test_cuts_are_all_the_ways_there_are_each_once_and_falling(rows):
    y, probability = split(rows)
    cuts = thresholds.list_cuts(y, probability)
    ways = list(every_way(probability))
    assert (np.diff(cuts.threshold) < 0).all() and len(cuts.threshold) == len(ways)
    for cut, way, n, found in zip(cuts.threshold, ways, cuts.n_flagged, cuts.n_true_positive, strict=True):
        assert np.array_equal(probability >= cut, way)
        assert (n, found) == (way.sum(), y[way].sum())


def test_the_order_of_clients_does_not_matter():
    draw = np.random.default_rng(0)
    y, probability = draw.integers(0, 2, 300), np.round(draw.random(300), 2)
    shuffled = draw.permutation(300)
    for choose in (thresholds.choose_by_f1, lambda y, p: thresholds.choose_by_cost(y, p, 2, 7)):
        assert choose(y, probability) == choose(y[shuffled], probability[shuffled])


def test_a_threshold_lies_half_way_between_two_clients():
    y, probability = np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.6, 0.9])
    assert thresholds.choose_by_f1(y, probability) == pytest.approx(0.4)


def test_f1_is_that_of_scikit_learn():
    draw = np.random.default_rng(1)
    y, called = draw.integers(0, 2, 200), draw.random(200) < 0.4
    assert thresholds.f1_score(y, called) == pytest.approx(metrics.f1_score(y, called), abs=1e-15)
    assert thresholds.f1_score(np.zeros(3), np.zeros(3, dtype=bool)) == 0


def test_a_client_costs_a_call_or_when_nobody_called_his_loss():
    y, called = np.array([1, 1, 0, 0]), np.array([True, False, True, False])
    assert thresholds.cost_per_client(y, called, 3.0, 20.0) == (3 + 20 + 3 + 0) / 4
