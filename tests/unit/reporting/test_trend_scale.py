"""What charts of a trend show: range, ticks, means, steps and intervals."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk.reporting import trend_scale


def make_points(values, **interval):
    return [
        {"at": f"2026-01-{k:02d}T00:00:00Z", "value": v, **interval} for k, v in enumerate(values, start=1)
    ]


def test_the_mean_of_a_series_ends_where_the_series_ends_and_leaves_a_straight_line_as_it_is():
    straight = [float(n) for n in range(200)]
    assert trend_scale.smooth(straight) == straight
    values = [float(n * 7919 % 101) for n in range(200)]
    smooth = trend_scale.smooth(values)
    assert (len(smooth), smooth[0], smooth[-1]) == (200, values[0], values[-1])
    assert smooth[100] == sum(values[90:111]) / 21


@pytest.mark.parametrize(
    ("panel", "values", "ticks"),
    [
        ("clients", [1], (0, 1)),
        ("clients", [3, 7], (0, 4, 8)),
        ("new_rows", [0], (0, 1)),
        ("durations", [0.03], (0, 0.02, 0.04)),
        ("missing", [0.0], (0, 0.5, 1)),
        ("psi", [0.05], (0, 0.2, 0.4)),
        ("psi", [0.9], (0, 0.5, 1)),
        ("estimate_errors", [-0.03, 0.01], (-0.04, 0, 0.04)),
        ("scores", [0.5, 0.62], (0.5, 0.55, 0.6)),
    ],
)
def test_ticks_are_round_and_counts_have_whole_ones(panel, values, ticks):
    scale = trend_scale.make_scale(panel, make_points(values))
    assert scale.ticks == pytest.approx(ticks)
    assert scale.low <= min(*values, *ticks) and scale.high >= max(*values, *ticks)


@pytest.mark.parametrize("values", [[0.5], [0.999], [0.0, 1.0], [0.50001, 0.50002]])
def test_scores_have_two_ticks_or_more_in_their_range(values):
    scale = trend_scale.make_scale("scores", make_points(values))
    assert 2 <= len(scale.ticks) <= 6
    assert all(scale.low <= tick <= scale.high for tick in scale.ticks)


def test_an_interval_is_within_the_range():
    scale = trend_scale.make_scale("scores", make_points([0.5], low=0.3, high=0.8))
    assert scale.low < 0.3 and scale.high > 0.8


@pytest.mark.parametrize("panel", [*trend_scale.PANELS, "another"])
def test_the_highest_point_does_not_touch_the_edge(panel):
    highest = 0.5 if panel == "scores" else 100
    assert trend_scale.make_scale(panel, make_points([highest])).high > 1.01 * highest


@given(st.floats(min_value=1e-9, max_value=1e15))
def test_a_round_top_is_not_below_and_not_far_above(value):
    assert value <= trend_scale.round_up(value) <= 2.001 * value


def test_the_score_of_a_release_is_a_step_and_has_no_mean():
    series = {"points": [{"at": f"2026-01-01T00:{k:02d}:00Z", "value": k % 7} for k in range(60)]}
    release, batch = (trend_scale.make_trace(key, series) for key in ("f1/release", "f1/batch"))
    assert release.is_step and release.line == release.points
    assert not batch.is_step and batch.line != batch.points and not batch.has_dots


def test_intervals_of_many_points_are_averaged_with_them():
    points = [{"at": f"2026-01-01T00:{k:02d}:00Z", "value": v, "low": v - 1, "high": v + 1}
              for k, v in enumerate([0.0, 1.0] * 30)]  # fmt: skip
    trace = trend_scale.make_trace("f1/batch", {"points": points})
    for (_, mean), (_, low, high) in zip(trace.line, trace.intervals, strict=True):
        assert (low, high) == (pytest.approx(mean - 1), pytest.approx(mean + 1))


def test_a_single_moment_stands_in_the_middle_of_its_day():
    first, last = trend_scale.add_margin([1000.0])
    assert (last - first, (first + last) / 2) == (86_400, 1000.0)
