"""The picture of the trends: every text whole, none over another, names as they are."""

import datetime
import io
import itertools
import random

import pytest
from matplotlib import style
from matplotlib.backends.backend_agg import FigureCanvasAgg

from risk import charts, trends

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
    texts = figure.findobj(lambda artist: hasattr(artist, "get_text") and artist.get_visible())
    shown = [text for text in texts if text not in hidden and text.get_text().strip()]
    return [(text.get_text(), text.get_window_extent(renderer)) for text in shown]


@pytest.mark.parametrize("n", [1, 2, 30, 1000])
def test_all_panels_are_drawn_and_every_text_is_within_the_paper(n):
    figure = draw(make_trends(n))
    assert len(figure.axes) == 6
    for words, box in boxes_of(figure):
        assert box.x0 >= -1 and box.y0 >= -1, words
        assert box.x1 <= figure.bbox.x1 + 1 and box.y1 <= figure.bbox.y1 + 1, words


@pytest.mark.parametrize(
    "step",
    [
        datetime.timedelta(0),
        datetime.timedelta(seconds=5),
        datetime.timedelta(days=1),
        datetime.timedelta(days=400),
    ],
    ids=["at once", "minutes", "days", "years"],
)
@pytest.mark.parametrize("n", [2, 9])
def test_labels_of_the_time_axis_do_not_run_into_each_other(n, step):
    figure = draw(make_trends(n, step=step))
    renderer = figure.canvas.get_renderer()
    labels = [t for t in figure.axes[-1].get_xticklabels() if t.get_text()]
    inside = [t.get_window_extent(renderer) for t in labels]
    assert len(labels) >= 1
    for first, second in itertools.pairwise(sorted(inside, key=lambda box: box.x0)):
        assert first.x1 < second.x0


def test_names_are_drawn_as_they_are_and_stand_in_the_legend():
    figure = draw(make_trends(5, names=ODD))
    (panel,) = [axes for axes in figure.axes if axes.get_title(loc="left").startswith("Missing")]
    told = [text.get_text() for text in panel.get_legend().get_texts()]
    assert len(told) == 6 and all(len(text) <= charts.MOST_LETTERS + 2 for text in told)
    assert "2 more columns moved less" in panel.get_title(loc="left")


def test_a_panel_without_points_is_left_out_and_nothing_at_all_is_said():
    one = trends.build({"timings": [{"at": "2026-01-01T00:00:00Z", "stage": "training", "duration_s": 1.0}]})
    assert len(draw(one).axes) == 1
    empty = draw(trends.build({}))
    assert not empty.axes and empty.texts[0].get_text() == "Nothing is recorded yet."


def test_thinned_series_say_so():
    figure = draw(make_trends(1000))
    assert "200 of 1,000 points shown" in figure.axes[0].get_title(loc="left")


def test_the_same_trends_give_the_same_bytes():
    found, pictures = make_trends(30), []
    for _ in range(2):
        with style.context("default"):
            handle = io.BytesIO()
            charts.draw_trends(found).savefig(handle, format="png", metadata={"Software": None})
        pictures.append(handle.getvalue())
    assert pictures[0] == pictures[1]
