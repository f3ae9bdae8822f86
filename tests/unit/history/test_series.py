"""Series: what is too long is thinned, and no peak is lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moments import moment

from risk.history import series

POINTS = st.lists(st.tuples(st.integers(0, 10**6), st.floats(-1e9, 1e9)), max_size=400).map(
    lambda pairs: [{"at": moment(n), "value": v} for n, v in sorted(pairs)]
)
MOST = st.integers(series.LEAST_POINTS, 60)


@given(POINTS, MOST)
def test_thinning_keeps_the_ends_the_lowest_and_the_highest_and_repeats_nothing(points, most):
    thinned = series.thin(points, most)
    assert len(thinned) == min(len(points), len(thinned)) <= most
    rest = iter(points)
    assert all(any(point is other for other in rest) for point in thinned), "a part, in the same order"
    if points:
        assert thinned[0] is points[0] and thinned[-2:] == points[-2:]
        for extreme in (min, max):
            assert extreme(p["value"] for p in thinned) == extreme(p["value"] for p in points)


@given(POINTS, MOST)
def test_thinning_twice_changes_nothing(points, most):
    once = series.thin(points, most)
    assert series.thin(once, most) == once


@pytest.mark.parametrize("n", [200, 201])
def test_only_what_is_too_long_is_thinned(n):
    points = [{"at": moment(i), "value": float(i % 7)} for i in range(n)]
    assert (series.thin(points, 200) == points) == (n == 200)


def test_a_peak_of_each_stretch_of_time_stays_also_after_a_burst():
    """900 points of a day and then 100 of three years: the years are not lost for the day."""
    burst = [{"at": moment(i), "value": 0.0} for i in range(900)]
    calm = [{"at": moment(1440 * 11 * (i + 1)), "value": float(i % 2)} for i in range(100)]
    thinned = series.thin([*burst, *calm], 200)
    assert sum(point in calm for point in thinned) > 90 and sum(point in burst for point in thinned) < 10


def test_fewer_points_than_the_promise_needs_are_refused():
    with pytest.raises(ValueError, match="the least is 5"):
        series.thin([], 4)
