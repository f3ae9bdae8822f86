"""The picture of the trends: every text whole, none over another, names as they are."""

import datetime
import io
import itertools
import random

import pytest
from matplotlib import rc_context, style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from risk.history import trends
from risk.reporting import charts

START = datetime.datetime(2026, 1, 1, 8, 0, 0, 123456)
ODD = ["$cost$ of_a", "_hidden", "very long " * 20, "Umsatz €", "客户名称", "x^2_{3}", "\\frac", "a\nb"]


def make_trends(n, *, names=("a", "b", "c"), step=datetime.timedelta(days=1)):
    draw = random.Random(n)
    rows = {
        name: []
        for name in (
            "scores",
            "releases",
            "drift",
            "timings",
            "ingested_files",
            "missing_values",
            "column_drift",
            "estimates",
        )
    }
    for number in range(n):
        at = (START + number * step).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        f1 = draw.gauss(0.6, 0.02)
        band = {"f1_low": f1 - 0.05, "f1_high": f1 + 0.05, "auc": f1 + 0.1}
        if number % max(1, n // 5) == 0:
            rows["scores"].append({"at": at, "data": "test", "model_sha256": str(number), "f1": f1, **band})
            rows["releases"].append(
                {"at": at, "release": str(number), "action": "deployed", "model_sha256": str(number)}
            )
        rows["drift"].append(
            {
                "at": at,
                "drift": number % 7 == 1,
                "new_score": f1,
                "new_low": f1 - 0.1,
                "new_high": f1 + 0.1,
                "auc": f1,
            }
        )
        auc = {"auc_low": f1 - 0.02, "auc_high": f1 + 0.2}
        rows["estimates"].append({"at": at, "f1": f1 + 0.01, **band, **auc})
        rows["ingested_files"].append({"at": at, "rows_new": 100, "rows_total": 100 * number})
        rows["timings"] += [
            {"at": at, "stage": s, "duration_s": draw.random()} for s in ("ingestion", "training")
        ]
        rows["missing_values"] += [{"at": at, "column_name": c, "percent": draw.random()} for c in names]
        rows["column_drift"] += [{"at": at, "column_name": c, "psi": draw.random() / 3} for c in names]
    return trends.build(rows)


def draw(found):
    with style.context("default"):
        figure = charts.draw_trends(found)
        FigureCanvasAgg(figure).draw()
    return figure


def boxes_of(figure):
    """Give the box of every text that is drawn, with its words; ticks beyond the axis are not."""
    renderer = figure.canvas.get_renderer()
    hidden = set()
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        low, high = sorted(axis.get_view_interval())
        for tick in axis.get_major_ticks():
            if not low <= tick.get_loc() <= high:
                hidden |= {tick.label1, tick.label2}
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    shown = [text for text in texts if text not in hidden]
    return [(text.get_text(), text.get_window_extent(renderer)) for text in shown]


@pytest.mark.parametrize("n", [1, 2, 30, 1000])
def test_all_panels_are_drawn_and_every_text_is_within_the_paper(n):
    figure = draw(make_trends(n))
    assert len(figure.axes) == 6
    for words, box in boxes_of(figure):
        assert box.x0 >= -1 and box.y0 >= -1, words
        assert box.x1 <= figure.bbox.x1 + 1 and box.y1 <= figure.bbox.y1 + 1, words


@pytest.mark.parametrize("n", [1, 2, 30, 1000])
def test_no_text_runs_into_another_and_each_is_large_enough_in_print(n):
    figure = draw(make_trends(n, names=[f"column {k}" for k in range(20)]))
    for (words, box), (others, other) in itertools.combinations(boxes_of(figure), 2):
        assert not box.shrunk(0.98, 0.9).overlaps(other.shrunk(0.98, 0.9)), (words, others)
    assert min(text.get_fontsize() for text in figure.findobj(Text) if text.get_text().strip()) >= 7
    assert figure.get_figwidth() * 25.4 <= 170, "else it is printed smaller"


def dots_of(axes, shapes):
    """Give where the dots of these shapes are on the paper."""
    lines = [line for line in axes.lines if line.get_marker() in shapes and line.get_linestyle() == "None"]
    return [dot for line in lines for dot in line.get_transform().transform(line.get_xydata())]


def test_marks_stand_off_the_panel_and_cover_neither_data_nor_words():
    figure = draw(make_trends(30))
    texts = [box for _, box in boxes_of(figure)]
    for axes in figure.axes:
        below, above = dots_of(axes, "^<"), dots_of(axes, "X")
        assert below and above
        assert all(y < axes.bbox.y0 for _, y in below) and all(y > axes.bbox.y1 for _, y in above)
        half = 4.5 / 2 / 72 * figure.dpi
        for x, y in [*below, *above]:
            assert not any(
                box.x0 - half < x < box.x1 + half and box.y0 - half < y < box.y1 + half for box in texts
            )


def test_deployments_rollbacks_and_alarms_differ_in_shape():
    kinds = ("deployed", "rollback")
    rows = {
        "releases": [
            {"at": f"2026-01-0{n}T00:00:00Z", "action": kind, "release": "r", "score": 0.5}
            for n, kind in enumerate(kinds, start=1)
        ],
        "drift": [{"at": "2026-01-03T00:00:00Z", "drift": True, "new_score": 0.4}],
    }
    (legend,) = draw(trends.build(rows)).legends
    assert [text.get_text() for text in legend.get_texts()] == ["deployed", "rolled back", "drift alarm"]
    assert len({handle.get_marker() for handle in legend.legend_handles}) == 3


SPANS = [0, 1, 10, 60, 150, 600, 3600, 5 * 3600, 86_400, 3 * 86_400, 10 * 86_400, 45 * 86_400]
SPANS += [200 * 86_400, 400 * 86_400, 1096 * 86_400, 3653 * 86_400]


@pytest.mark.parametrize("seconds", SPANS)
def test_labels_of_the_time_axis_do_not_run_into_each_other(seconds):
    end = START + datetime.timedelta(seconds=seconds)
    rows = [
        {"at": f"{moment.isoformat()}Z", "stage": "training", "duration_s": 1.0} for moment in (START, end)
    ]
    figure = draw(trends.build({"timings": rows}))
    renderer = figure.canvas.get_renderer()
    low, high = figure.axes[-1].get_xlim()
    ticks = [t for t in figure.axes[-1].xaxis.get_major_ticks() if low <= t.get_loc() <= high]
    labels = [tick.label1 for tick in ticks if tick.label1.get_text()]
    assert 2 <= len(labels) <= 8
    inside = sorted((t.get_window_extent(renderer) for t in labels), key=lambda box: box.x0)
    for first, second in itertools.pairwise(inside):
        assert first.x1 + 2 < second.x0


@pytest.mark.parametrize("n", [1, 2, 30])
def test_every_point_is_within_its_panel(n):
    figure = draw(make_trends(n))
    for axes in figure.axes:
        drawn = [line for line in axes.lines if not line.get_label().startswith("_")]
        for line in (line for line in drawn if ":" not in line.get_label()):
            for x, y in line.get_transform().transform(line.get_xydata()):
                assert axes.bbox.x0 <= x <= axes.bbox.x1 and axes.bbox.y0 <= y <= axes.bbox.y1


def test_a_single_point_is_a_dot():
    figure = draw(make_trends(1))
    for axes in figure.axes:
        shown = [line for line in axes.lines if not line.get_label().startswith("_")]
        dots = [line for line in shown if ":" not in line.get_label()]
        assert dots and all(line.get_marker() not in (None, "None") for line in dots)


def test_series_of_a_panel_differ_in_line_and_dot_and_not_only_in_colour():
    figure = draw(make_trends(9, names="abcdef"))
    for axes in figure.axes:
        lines = [line for line in axes.lines if not line.get_label().startswith("_")]
        looks = {(line.get_marker(), str(line._unscaled_dash_pattern)) for line in lines}
        assert len(looks) == len(lines)


def test_the_lines_of_moderate_and_large_shift_are_told_beside_the_panel():
    axes = draw(make_trends(9)).axes[-1]
    told = [text.get_text() for text in axes.get_legend().get_texts()]
    assert told[-2:] == ["large: 0.25", "moderate: 0.1"]
    assert axes.get_ylim()[1] > 0.25 and not [text for text in axes.texts if text.get_text()]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("$cost$ of_a", "$cost$ of_a"),
        ("_hidden", "_hidden"),
        ("x^2_{3}", "x^2_{3}"),
        ("\\frac{a}", "\\frac{a}"),
        ("Umsatz €", "Umsatz €"),
        ("a\nb", "a\\nb"),
        ("\u5ba2", "\\u5ba2"),
        ("n" * 22, "n" * 22),
        ("n" * 23, "n" * 21 + "…"),
    ],
)
def test_a_name_is_drawn_as_it_is(name, shown):
    """As wide as its letters side by side: a formula would be set otherwise, or fail."""
    figure = draw(make_trends(2, names=[name]))
    (panel,) = [axes for axes in figure.axes if axes.get_title(loc="left").startswith("Missing")]
    (told,) = panel.get_legend().get_texts()
    assert told.get_text().strip().replace(r"\$", "$") == shown
    _, is_formula = told._preprocess_math(told.get_text())
    assert not is_formula


def test_columns_that_are_not_drawn_are_counted():
    figure = draw(make_trends(5, names=ODD))
    (panel,) = [axes for axes in figure.axes if axes.get_title(loc="left").startswith("Missing")]
    assert len(panel.get_legend().get_texts()) == 6
    assert "2 more columns changed less" in panel.get_title(loc="left")


def test_a_panel_without_points_is_left_out_and_nothing_at_all_is_said():
    one = trends.build({"timings": [{"at": "2026-01-01T00:00:00Z", "stage": "training", "duration_s": 1.0}]})
    assert len(draw(one).axes) == 1
    empty = draw(trends.build({}))
    assert not empty.axes and empty.texts[0].get_text() == "Nothing is recorded yet."


def test_thinned_series_say_so():
    found = make_trends(1000)
    figure = draw(found)
    said = figure.axes[0].get_title(loc="left")
    shown = max(len(one["points"]) for one in found["series"].values() if one["panel"] == "scores")
    assert f"{shown} of 1,000 points shown" in said and shown <= 200


def lines_of(axes, label):
    """Give the line of a series, and what else is drawn in its colour."""
    (named,) = [line for line in axes.lines if line.get_label() == label]
    return named, [o for o in axes.lines if o is not named and o.get_color() == named.get_color()]


def test_of_many_points_each_is_drawn_pale_and_their_mean_as_the_line():
    found = make_trends(1000)
    figure = draw(found)
    (panel,) = [axes for axes in figure.axes if axes.get_title(loc="left").startswith("Missing")]
    for name in "abc":
        line, (pale,) = lines_of(panel, name)
        values = [point["value"] for point in found["series"][f"missing/{name}"]["points"]]
        assert list(pale.get_ydata()) == values and pale.get_alpha() < 1
        assert max(values) - min(values) > 3 * (max(line.get_ydata()[20:-20]) - min(line.get_ydata()[20:-20]))
    told = [text.get_text() for text in figure.legends[0].get_texts()]
    assert told[-2:] == ["each point", "running mean"]


def test_the_score_of_a_release_is_drawn_until_the_next_and_of_the_last_until_now():
    rows = {
        "releases": [{"at": "2026-01-01T00:00:00Z", "action": "deployed", "release": "r", "score": 0.5}],
        "drift": [{"at": "2026-02-01T00:00:00Z", "drift": False, "new_score": 0.4}],
    }
    axes = draw(trends.build(rows)).axes[0]
    (batch, _), (release, (rest,)) = lines_of(axes, "F1, new rows"), lines_of(axes, "F1, release")
    assert list(rest.get_xdata()) == [release.get_xdata()[0], batch.get_xdata()[-1]]
    assert list(rest.get_ydata()) == [0.5, 0.5]


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo"])
def test_the_same_trends_give_the_same_bytes_wherever_they_are_drawn(zone):
    found, pictures = make_trends(30), []
    for settings in ({}, {"timezone": zone, "font.size": 20, "lines.linewidth": 9}):
        with rc_context(settings), style.context("default"):
            handle = io.BytesIO()
            charts.draw_trends(found).savefig(handle, format="png", metadata={"Software": None})
        pictures.append(handle.getvalue())
    assert pictures[0] == pictures[1]
