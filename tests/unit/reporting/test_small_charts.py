"""Small charts: where things stand, what they say in words, and that data run no markup."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from risk.reporting import small_charts


def trends(values, marks=(), day="2026-01-{:02d}T08:00:00Z"):
    points = [{"at": day.format(k + 1), "value": value} for k, value in enumerate(values)]
    return {
        "series": {"k": {"points": points}},
        "marks": [{"at": at, "kind": "deployed"} for at in marks],
    }


def of_kind(chart, kind, look=None):
    return [one for one in chart.shapes if isinstance(one, kind) and look in (None, one.look)]


def test_a_trend_rises_to_the_right_and_says_its_last_value():
    chart = small_charts.draw_trend(trends([10, 20, 40]), "k", "Clients")
    (line,) = of_kind(chart, small_charts.Line, "line")
    xs, ys = zip(*line.points, strict=True)
    assert list(xs) == sorted(xs) and list(ys) == sorted(ys, reverse=True)
    (last,) = of_kind(chart, small_charts.Text, "strong")
    assert last.text == "40"
    assert chart.title == "Clients: 10 on 2026-01-01, 40 on 2026-01-03"


def test_nothing_recorded_is_no_chart():
    assert small_charts.draw_trend({"series": {}, "marks": []}, "k", "Clients") is None
    assert small_charts.draw_reliability([]) is None


def test_one_value_is_a_dot_in_the_middle_without_a_line():
    chart = small_charts.draw_trend(trends([7]), "k", "Clients")
    assert not of_kind(chart, small_charts.Line, "line") and len(of_kind(chart, small_charts.Dot)) == 1
    assert chart.title == "Clients: 7 on 2026-01-01"


@pytest.mark.parametrize(
    ("at", "n"), [("2026-01-01T08:00:00Z", 0), ("2026-01-02T08:00:00Z", 1), ("2027-01-01T00:00:00Z", 0)]
)
def test_a_new_model_is_marked_where_it_changed_the_line(at, n):
    assert (
        len(of_kind(small_charts.draw_trend(trends([1, 2, 3], [at]), "k", ""), small_charts.Line, "mark"))
        == n
    )


def test_honest_probabilities_lie_on_the_diagonal():
    curve = [{"mean_predicted": p, "share_left": p, "n": 10} for p in (0.1, 0.5, 0.9)]
    chart = small_charts.draw_reliability(curve)
    (start, end) = of_kind(chart, small_charts.Line, "mark")[0].points
    for dot in of_kind(chart, small_charts.Dot):
        across, up = dot.at[0] - start[0], dot.at[1] - start[1]
        assert across * (end[1] - start[1]) == pytest.approx(up * (end[0] - start[0]))
    assert "10% predicted, 10% left" in chart.title


def test_the_larger_bin_has_the_larger_dot():
    curve = [{"mean_predicted": 0.2, "share_left": 0.2, "n": n} for n in (10, 1000)]
    small, large = (dot.radius for dot in of_kind(small_charts.draw_reliability(curve), small_charts.Dot))
    assert small_charts.SMALLEST_DOT < small < large == small_charts.LARGEST_DOT


@given(st.lists(st.floats(min_value=0, max_value=1e12), min_size=1, max_size=28))
@example([5e-324])  # no power of ten lies below it
def test_every_dot_lies_on_the_chart(values):
    chart = small_charts.draw_trend(trends(values), "k", "x")
    for dot in of_kind(chart, small_charts.Dot):
        assert 0 <= dot.at[0] <= chart.width and 0 <= dot.at[1] <= chart.height


def test_svg_is_small_has_a_name_and_runs_no_markup():
    svg = small_charts.render_svg(small_charts.draw_trend(trends(range(1, 20)), "k", '<script>"&'))
    assert "<script>" not in svg and "&lt;script&gt;" in svg
    assert re.search(r'role="img" aria-label="[^"]+"', svg) and "style=" not in svg
    assert len(svg) < 4_000
