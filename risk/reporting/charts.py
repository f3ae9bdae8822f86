"""The picture of the trends: data in, a figure of matplotlib out; nothing here reads or saves."""

from __future__ import annotations

import datetime
import functools
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib import dates, font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator
from matplotlib.transforms import ScaledTranslation

WIDTH_IN = 6.68  # the text of an A4 page with margins: printed at this size, a 7-point letter has 7 points
SMALL, TINY = 7.5, 7.0
MOST_LETTERS = 22
BESIDE_PT = 2.8  # how far a mark stands off the panel, so that it covers no data
TITLE_PT = 8  # how far the title stands off the panel, so that no mark covers it
LEVELS = {"large: 0.25": (0.25, (0, (4, 2))), "moderate: 0.1": (0.1, (0, (1, 1.5)))}
# Where things stand, in inches: everything has its place, which is fast, and looks the same in each report.
LEFT_IN, TITLE_IN, GAP_IN, LEGEND_IN, TIMES_IN = 0.66, 0.32, 0.1, 0.27, 0.5
HANDLE_IN = 0.6  # of a legend: its line, and the room about it
FEW_POINTS = 40
PALE: dict[str, Any] = {"linewidth": 0.5, "alpha": 0.5}  # of many points, each
DAY_S = 86_400
GREY = "#666666"
RED = "#B00000"
# M. Okabe, K. Ito, "Color Universal Design" (2008): told apart by colour-blind readers; the yellow is
# left out, which is too light on paper.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
MARKERS = ("o", "s", "^", "D", "v", "P")
LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (1, 1)))
# panel: title, unit, height in inches
PANELS = {
    "clients": ("Clients at risk", "clients", 0.8),
    "scores": ("Score of releases (test data) and of new rows", "F1, AUC", 1.9),
    "rows": ("Rows in the table", "rows", 0.9),
    "new_rows": ("New rows in a run", "rows", 0.9),
    "missing": ("Missing cells", "percent", 1.15),
    "durations": ("Duration", "seconds", 1.05),
    "psi": ("Shift of columns since training", "PSI", 1.3),
}
NAMES = {
    "clients/at_risk": "at risk",
    "f1/release": "F1, release",
    "auc/release": "AUC, release",
    "f1/batch": "F1, new rows",
    "auc/batch": "AUC, new rows",
    "f1/estimate": "F1, estimated",
    "auc/estimate": "AUC, estimated",
    "rows/total": "unique rows",
    "rows/new": "new rows",
    "duration_s/ingestion": "ingestion",
    "duration_s/training": "training",
}
# A score looks the same in each report, also when another one is missing.
LOOKS = {"f1/release": 0, "auc/release": 1, "f1/batch": 2, "auc/batch": 3}
LOOKS |= {"f1/estimate": 4, "auc/estimate": 5}
LOOKS |= {"duration_s/ingestion": 0, "duration_s/training": 1}
MARKS = {"deployed": ("^", "deployed"), "rollback": ("<", "rolled back"), "alarm": ("X", "drift alarm")}
# From years to seconds: every label is understood without its neighbour.
LABELS = ["%Y", "%b", "%b %d", "%H:%M", "%H:%M", "%H:%M:%S"]
FIRST_LABELS = ["", "%Y", "%b %d", "%b %d", "%H:%M", "%H:%M"]
CORNERS = ["", "%Y", "%Y", "%Y", "%Y-%m-%d", "%Y-%m-%d"]


def draw_trends(trends: Mapping[str, Any]) -> Figure:
    """Draw the recorded history, one panel a subject over one time axis.

    Parameters
    ----------
    trends : mapping
        As `trends.build` makes it. Panels without a point are left out; without any point a line says so.
    """
    shown = [name for name in PANELS if _of_panel(trends, name)]
    height_in = sum(PANELS[name][2] for name in shown or ["clients"]) + LEGEND_IN + TIMES_IN
    figure = Figure(figsize=(WIDTH_IN, height_in))
    if not shown:
        figure.text(0.5, 0.5, "Nothing is recorded yet.", ha="center", fontsize=SMALL)
        return figure
    labels = {name: _labels(_of_panel(trends, name)) for name in shown}
    widest = max(_width_in(label) for names in labels.values() for label in [*names, *LEVELS])
    left, width = LEFT_IN / WIDTH_IN, 1 - (LEFT_IN + HANDLE_IN + widest) / WIDTH_IN
    top_in = height_in - LEGEND_IN
    first: Axes | None = None
    for name in shown:
        panel_in = PANELS[name][2]
        bottom, height = top_in - panel_in + GAP_IN, panel_in - TITLE_IN - GAP_IN
        place = (left, bottom / height_in, width, height / height_in)
        first = axes = figure.add_axes(place, sharex=first)
        _draw_panel(axes, figure, name, trends, labels[name])
        axes.yaxis.set_label_coords((0.17 - LEFT_IN) / (width * WIDTH_IN), 0.5)
        axes.tick_params(labelsize=TINY, labelbottom=name == shown[-1])
        top_in -= panel_in
    axes.xaxis.set_label_coords(0.5, -(TIMES_IN - 0.15) / height)
    _set_times(axes, trends)
    _add_mark_legend(figure, trends)
    return figure


def _labels(series: Mapping[str, Any]) -> list[str]:
    return [_label(NAMES.get(key, one["name"])) for key, one in series.items()]


def _width_in(label: str) -> float:
    """Measure a label of a legend."""
    font = _font()
    font.set_size(TINY, 72)
    font.set_text(label)
    return float(font.get_width_height()[0]) / 64 / 72


def _of_panel(trends: Mapping[str, Any], panel: str) -> dict[str, Any]:
    return {key: one for key, one in trends["series"].items() if one["panel"] == panel and one["points"]}


@functools.lru_cache(maxsize=65_536)
def _moment(at: str) -> float:
    """Give the time in days, as matplotlib counts it."""
    return float(dates.date2num(datetime.datetime.fromisoformat(at)))  # type: ignore[no-untyped-call]


def _draw_panel(
    axes: Axes, figure: Figure, panel: str, trends: Mapping[str, Any], labels: Sequence[str]
) -> None:
    series = _of_panel(trends, panel)
    title, unit, _ = PANELS[panel]
    last = _span(trends)[1]
    for number, (key, one) in enumerate(series.items()):
        look, until = LOOKS.get(key, number), last if key.endswith("/release") else None
        _draw_series(axes, one, labels[number], look, until)
    _limit(axes, panel, [point for one in series.values() for point in one["points"]])
    _draw_marks(axes, figure, trends["marks"])
    axes.set_ylabel(unit, fontsize=SMALL)
    whole = title + _thinned(series, trends["others"].get(panel, 0))
    axes.set_title(whole, fontsize=SMALL, loc="left", pad=TITLE_PT, y=1.0)
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.5)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=TINY, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, handlelength=2.6)


def _draw_series(axes: Axes, one: Mapping[str, Any], label: str, number: int, until: float | None) -> None:
    """Draw one series: a line, with dots while they can be told apart, else its middle; and its band.

    `until` is given for what holds until the next point, and until then after the last.
    """
    points = one["points"]
    times, values = [_moment(p["at"]) for p in points], [p["value"] for p in points]
    few = len(points) <= FEW_POINTS
    look: dict[str, Any] = {"linestyle": LINES[number % len(LINES)], "linewidth": 1.1}
    look["color"] = colour = COLOURS[number % len(COLOURS)]
    if until is not None:
        axes.plot([times[-1], until], [values[-1]] * 2, **look)
    elif not few:
        axes.plot(times, values, color=colour, **PALE)
        values = smooth(values)
    axes.plot(
        times,
        values,
        **look,
        label=label,
        marker=MARKERS[number % len(MARKERS)] if few else None,
        markersize=3.5,
        drawstyle="default" if until is None else "steps-post",
        clip_on=False,  # a dot on the axis is a whole dot
    )
    banded = [p for p in points if "low" in p and "high" in p]
    if not banded:
        return
    times = [_moment(p["at"]) for p in banded]
    low, high = [p["low"] for p in banded], [p["high"] for p in banded]
    if few:
        axes.vlines(times, low, high, color=colour, linewidth=0.8, alpha=0.7)
    else:
        axes.fill_between(times, low, high, color=colour, alpha=0.18, linewidth=0)


def smooth(values: Sequence[float]) -> list[float]:
    """Give the running mean over a tenth of a series; at its ends over less.

    Parameters
    ----------
    values : sequence of float
        In order of time, none missing.

    Returns
    -------
    smoothed : list of float
        As many; the first and the last are as they were.
    """
    reach = len(values) // 20
    reaches = [min(reach, i, len(values) - 1 - i) for i in range(len(values))]
    return [statistics.fmean(values[i - r : i + r + 1]) for i, r in enumerate(reaches)]


def _limit(axes: Axes, panel: str, points: Sequence[Mapping[str, Any]]) -> None:
    """Choose the range of values: whole where it begins at 0, close where the scores are."""
    counts = panel.endswith("rows") or panel == "clients"
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=counts))
    if panel == "scores":
        low = min(min(p["value"], p.get("low", 1.0)) for p in points)
        high = max(max(p["value"], p.get("high", 0.0)) for p in points)
        room = max(0.08 * (high - low), 0.02)
        axes.set_ylim(max(0.0, low - room), min(1.0, high + room) + 0.005)
        return
    top = max(p["value"] for p in points)
    if panel == "psi":
        for label, (level, line) in LEVELS.items():
            axes.axhline(level, color=GREY, linewidth=0.8, linestyle=line, label=label)
            top = max(top, level * 1.2)
    if counts:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _count(value)))
    axes.set_ylim(0, top * 1.12 if top > 0 else 1)


def _count(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            unit = 1e3 if letter == "k" else size
            return f"{value / unit:g}{letter}"
    return f"{value:,.0f}" if value == int(value) else f"{value:g}"


def _draw_marks(axes: Axes, figure: Figure, marks: Sequence[Mapping[str, Any]]) -> None:
    """Mark deployments and rollbacks below, alarms above: by place and shape, not by colour alone."""
    across = axes.get_xaxis_transform()
    for kind, (shape, _) in MARKS.items():
        times = [_moment(mark["at"]) for mark in marks if mark["kind"] == kind]
        if not times:
            continue
        alarm = kind == "alarm"
        colour = RED if alarm else "black"
        offset = ScaledTranslation(0, (BESIDE_PT if alarm else -BESIDE_PT) / 72, figure.dpi_scale_trans)
        if len(times) <= FEW_POINTS:
            style = (0, (2, 2)) if alarm else "-"
            axes.vlines(
                times,
                0,
                1,
                transform=across,
                color=colour,
                linewidth=0.5,
                linestyle=style,
                alpha=0.45,
                zorder=0.5,
            )
        axes.plot(
            times,
            [float(alarm)] * len(times),
            linestyle="none",
            marker=shape,
            markersize=4.5 if len(times) <= FEW_POINTS else 3,
            color=colour,
            markerfacecolor="white" if alarm else colour,
            transform=across + offset,
            clip_on=False,
            zorder=3,
        )


def _label(name: str) -> str:
    """Cut a name to what fits, and let `$` be a sign and not the start of a formula."""
    known = _glyphs()
    signs = (sign if ord(sign) in known and sign.isprintable() else ascii(sign)[1:-1] for sign in name)
    printable = "".join(signs)
    cut = printable if len(printable) <= MOST_LETTERS else printable[: MOST_LETTERS - 1] + "…"
    plain = cut.replace("$", r"\$")
    return f" {plain}" if plain.startswith("_") else plain  # a legend leaves out names with _ in front


@functools.cache
def _glyphs() -> frozenset[int]:
    """Give the signs that the font has; another would be drawn as a box, with a warning."""
    return frozenset(_font().get_charmap())


@functools.cache
def _font() -> FT2Font:
    return font_manager.get_font(font_manager.findfont("DejaVu Sans"))


def _thinned(series: Mapping[str, Any], others: int) -> str:
    """Say what is not drawn."""
    parts = []
    most = max(series.values(), key=lambda one: one["n"] - len(one["points"]))
    if most["n"] > len(most["points"]):
        parts.append(f"{len(most['points']):,} of {most['n']:,} points shown, peaks kept")
    if others:
        parts.append(f"{others:,} more columns changed less")
    return f" ({'; '.join(parts)})" if parts else ""


def _span(trends: Mapping[str, Any]) -> tuple[float, float]:
    """Give the first and the last moment of which something is known."""
    moments = [_moment(p["at"]) for one in trends["series"].values() for p in one["points"]]
    moments += [_moment(mark["at"]) for mark in trends["marks"]]
    return min(moments), max(moments)


def _set_times(axes: Axes, trends: Mapping[str, Any]) -> None:
    """Fit the time axis; a single moment stands in the middle of its day."""
    first, last = _span(trends)
    room = max((last - first) * 0.03, 30 / DAY_S) if first < last else 0.5
    axes.set_xlim(first - room, last + room)
    # Not the time zone of a matplotlibrc: matplotlib's styles leave that one as it is.
    make: Callable[..., Any] = dates.AutoDateLocator
    locator = make(tz=datetime.UTC, minticks=3, maxticks=7)  # with 6, some spans make it warn
    concise: Callable[..., Any] = dates.ConciseDateFormatter
    shown = concise(locator, datetime.UTC, formats=LABELS, zero_formats=FIRST_LABELS, offset_formats=CORNERS)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(shown)
    axes.xaxis.get_offset_text().set_fontsize(TINY)
    axes.set_xlabel("time, UTC", fontsize=SMALL)


def _add_mark_legend(figure: Figure, trends: Mapping[str, Any]) -> None:
    """Say above all panels what marks and lines mean."""
    kinds = {mark["kind"] for mark in trends["marks"]}
    make: Callable[..., Line2D] = Line2D
    handles = [
        make(
            [],
            [],
            linestyle="none",
            marker=shape,
            markersize=4.5,
            label=word,
            color=RED if kind == "alarm" else "black",
            markerfacecolor="white" if kind == "alarm" else "black",
        )
        for kind, (shape, word) in MARKS.items()
        if kind in kinds
    ]
    changing = (one for key, one in trends["series"].items() if not key.endswith("/release"))
    if any(len(one["points"]) > FEW_POINTS for one in changing):
        handles += [make([], [], color=GREY, label="each point", **PALE)]
        handles += [make([], [], color=GREY, label="running mean", linewidth=1.1)]
    if handles:
        figure.legend(handles=handles, loc="upper left", ncols=len(handles), fontsize=TINY, frameon=False)
