"""The picture of the trends: what `trend_scale` chooses in, a figure of matplotlib out."""

from __future__ import annotations

import datetime
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib import dates, font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter
from matplotlib.transforms import ScaledTranslation

from risk.history.series import seconds
from risk.reporting import formats, trend_scale
from risk.reporting.trend_scale import DAY_S, EVENTS, MOST_DOTS, PANELS, Trace

WIDTH_IN = 6.68  # the text of an A4 page with margins: printed at this size, a 7-point letter has 7 points
SMALL, TINY = 7.5, 7.0
MOST_LETTERS = 22
BESIDE_PT = 2.8  # how far a mark stands off the panel, so that it covers no data
TITLE_PT = 8  # how far the title stands off the panel, so that no mark covers it
LEVEL_LINES = ((0, (4, 2)), (0, (1, 1.5)))
# Where things stand, in inches: everything has its place, which is fast, and looks the same in each report.
LEFT_IN, TITLE_IN, GAP_IN, LEGEND_IN, TIMES_IN = 0.66, 0.32, 0.1, 0.27, 0.5
HANDLE_IN = 0.6  # of a legend: its line, and the room about it
PALE: dict[str, Any] = {"linewidth": 0.5, "alpha": 0.5}  # of many points, each
GREY = "#666666"
RED = "#B00000"
# M. Okabe, K. Ito, "Color Universal Design" (2008): told apart by colour-blind readers; the yellow is
# left out, which is too light on paper.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
MARKERS = ("o", "s", "^", "D", "v", "P")
LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (1, 1)))
HEIGHTS_IN = {
    "clients": 0.8,
    "scores": 1.9,
    "rows": 0.9,
    "new_rows": 0.9,
    "missing": 1.15,
    "durations": 1.05,
    "psi": 1.3,
}
# A score looks the same in each report, also when another one is missing.
LOOKS = {"f1/release": 0, "auc/release": 1, "f1/batch": 2, "auc/batch": 3}
LOOKS |= {"f1/estimate": 4, "auc/estimate": 5}
LOOKS |= {"duration_s/ingestion": 0, "duration_s/training": 1}
SHAPES = {"deployed": "^", "rollback": "<", "alarm": "X"}
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
    traces = {name: _trace_panel(trends, name) for name in PANELS}
    shown = [name for name, some in traces.items() if some]
    height_in = sum(HEIGHTS_IN[name] for name in shown or ["clients"]) + LEGEND_IN + TIMES_IN
    figure = Figure(figsize=(WIDTH_IN, height_in))
    if not shown:
        figure.text(0.5, 0.5, "Nothing is recorded yet.", ha="center", fontsize=SMALL)
        return figure
    labels = [label for name in shown for label in _list_labels(name, traces[name])]
    left, width = LEFT_IN / WIDTH_IN, 1 - (LEFT_IN + HANDLE_IN + max(map(_width_in, labels))) / WIDTH_IN
    top_in = height_in - LEGEND_IN
    times = _list_times(trends)
    first: Axes | None = None
    for name in shown:
        panel_in = HEIGHTS_IN[name]
        bottom, height = top_in - panel_in + GAP_IN, panel_in - TITLE_IN - GAP_IN
        place = (left, bottom / height_in, width, height / height_in)
        first = axes = figure.add_axes(place, sharex=first)
        _draw_panel(axes, name, trends, traces[name], max(times))
        axes.yaxis.set_label_coords((0.17 - LEFT_IN) / (width * WIDTH_IN), 0.5)
        axes.tick_params(labelsize=TINY, labelbottom=name == shown[-1])
        top_in -= panel_in
    axes.xaxis.set_label_coords(0.5, -(TIMES_IN - 0.15) / height)
    _set_times(axes, times)
    _add_legend(figure, trends)
    return figure


def _trace_panel(trends: Mapping[str, Any], panel: str) -> dict[str, Trace]:
    return {key: trend_scale.make_trace(key, one) for key, one in _of_panel(trends, panel).items()}


def _list_labels(panel: str, traces: Mapping[str, Trace]) -> list[str]:
    return [*(_label(trace.name) for trace in traces.values()), *PANELS[panel].levels]


def _list_times(trends: Mapping[str, Any]) -> list[float]:
    """List the moments of which something is known."""
    points = [seconds(p["at"]) for one in trends["series"].values() for p in one["points"]]
    return points + [moment for kind in EVENTS for moment in trend_scale.list_events(trends, kind)]


def _width_in(label: str) -> float:
    """Measure a label of a legend."""
    font = _font()
    font.set_size(TINY, 72)
    font.set_text(label)
    return float(font.get_width_height()[0]) / 64 / 72


def _of_panel(trends: Mapping[str, Any], panel: str) -> dict[str, Any]:
    return {key: one for key, one in trends["series"].items() if one["panel"] == panel and one["points"]}


def _draw_panel(
    axes: Axes, panel: str, trends: Mapping[str, Any], traces: Mapping[str, Trace], until: float
) -> None:
    for number, (key, trace) in enumerate(traces.items()):
        _draw_trace(axes, trace, LOOKS.get(key, number), until)
    for (label, level), line in zip(PANELS[panel].levels.items(), LEVEL_LINES, strict=False):
        axes.axhline(level, color=GREY, linewidth=0.8, linestyle=line, label=label)
    series = _of_panel(trends, panel)
    scale = trend_scale.make_scale(panel, [point for one in series.values() for point in one["points"]])
    axes.set_ylim(scale.low, scale.high)
    axes.yaxis.set_major_locator(FixedLocator(scale.ticks))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: formats.format_tick(value)))
    for kind in EVENTS:
        _draw_events(axes, kind, trend_scale.list_events(trends, kind))
    axes.set_ylabel(PANELS[panel].unit, fontsize=SMALL)
    title = PANELS[panel].title + _describe_omitted(series, trends["others"].get(panel, 0))
    axes.set_title(title, fontsize=SMALL, loc="left", pad=TITLE_PT, y=1.0)
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.5)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=TINY, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, handlelength=2.6)


def _draw_trace(axes: Axes, trace: Trace, number: int, until: float) -> None:
    """Draw one series; a step is drawn `until` the last moment that is known."""
    times, values = _columns(trace.line)
    look: dict[str, Any] = {"linestyle": LINES[number % len(LINES)], "linewidth": 1.1}
    look["color"] = colour = COLOURS[number % len(COLOURS)]
    if trace.is_step:
        axes.plot([times[-1], until / DAY_S], [values[-1]] * 2, **look)
    elif trace.line != trace.points:
        axes.plot(*_columns(trace.points), color=colour, **PALE)
    axes.plot(
        times,
        values,
        **look,
        label=_label(trace.name),
        marker=MARKERS[number % len(MARKERS)] if trace.has_dots else None,
        markersize=3.5,
        drawstyle="steps-post" if trace.is_step else "default",
        clip_on=False,  # a dot on the axis is a whole dot
    )
    if not trace.intervals:
        return
    times, low, high = _columns(trace.intervals)
    if trace.has_dots:
        axes.vlines(times, low, high, color=colour, linewidth=0.8, alpha=0.7)
    else:
        axes.fill_between(times, low, high, color=colour, alpha=0.18, linewidth=0)


def _columns(points: Sequence[tuple[float, ...]]) -> list[list[float]]:
    """Turn points into the columns that matplotlib takes; it counts time in days."""
    times, *others = map(list, zip(*points, strict=True))
    return [[time / DAY_S for time in times], *others]


def _draw_events(axes: Axes, kind: str, moments: Sequence[float]) -> None:
    """Mark deployments and rollbacks below, alarms above: by place and shape, not by colour alone."""
    if not moments:
        return
    times = [moment / DAY_S for moment in moments]
    alarm, few = kind == "alarm", len(times) <= MOST_DOTS
    colour = RED if alarm else "black"
    across = axes.get_xaxis_transform()
    beside = (BESIDE_PT if alarm else -BESIDE_PT) / 72
    if few:
        dashes = (0, (2, 2)) if alarm else "-"
        look: dict[str, Any] = {"linewidth": 0.5, "linestyle": dashes, "alpha": 0.45, "zorder": 0.5}
        axes.vlines(times, 0, 1, transform=across, color=colour, **look)
    axes.plot(
        times,
        [float(alarm)] * len(times),
        **_marker(kind, 4.5 if few else 3),
        transform=across + ScaledTranslation(0, beside, axes.figure.dpi_scale_trans),
        clip_on=False,
        zorder=3,
    )


def _marker(kind: str, size: float) -> dict[str, Any]:
    colour, face = (RED, "white") if kind == "alarm" else ("black", "black")
    look = {"linestyle": "none", "marker": SHAPES[kind], "markersize": size}
    return {**look, "color": colour, "markerfacecolor": face}


def _label(name: str) -> str:
    """Cut a name to what fits, and let `$` be a sign and not the start of a formula."""
    known = _glyphs()
    signs = (sign if ord(sign) in known and sign.isprintable() else ascii(sign)[1:-1] for sign in name)
    printable = "".join(signs)
    plain = formats.shorten(printable, MOST_LETTERS).replace("$", r"\$")
    return f" {plain}" if plain.startswith("_") else plain  # a legend leaves out names with _ in front


@functools.cache
def _glyphs() -> frozenset[int]:
    """Give the signs that the font has; another would be drawn as a box, with a warning."""
    return frozenset(_font().get_charmap())


@functools.cache
def _font() -> FT2Font:
    return font_manager.get_font(font_manager.findfont("DejaVu Sans"))


def _describe_omitted(series: Mapping[str, Any], others: int) -> str:
    """Describe what is not drawn."""
    parts = []
    most = max(series.values(), key=lambda one: one["n"] - len(one["points"]))
    if most["n"] > len(most["points"]):
        parts.append(f"{len(most['points']):,} of {most['n']:,} points shown, peaks kept")
    if others:
        parts.append(f"{others:,} more columns changed less")
    return f" ({'; '.join(parts)})" if parts else ""


def _set_times(axes: Axes, times: Sequence[float]) -> None:
    axes.set_xlim(*(moment / DAY_S for moment in trend_scale.add_margin(times)))
    # Not the time zone of a matplotlibrc: matplotlib's styles leave that one as it is.
    make: Callable[..., Any] = dates.AutoDateLocator
    locator = make(tz=datetime.UTC, minticks=3, maxticks=7)  # with 6, some spans make it warn
    concise: Callable[..., Any] = dates.ConciseDateFormatter
    shown = concise(locator, datetime.UTC, formats=LABELS, zero_formats=FIRST_LABELS, offset_formats=CORNERS)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(shown)
    axes.xaxis.get_offset_text().set_fontsize(TINY)
    axes.set_xlabel("time, UTC", fontsize=SMALL)


def _add_legend(figure: Figure, trends: Mapping[str, Any]) -> None:
    """Describe above all panels what marks and lines mean."""
    kinds = {mark["kind"] for mark in trends["marks"]}
    make: Callable[..., Line2D] = Line2D
    handles = [make([], [], label=word, **_marker(k, 4.5)) for k, word in EVENTS.items() if k in kinds]
    changing = (one for key, one in trends["series"].items() if not key.endswith("/release"))
    if any(len(one["points"]) > MOST_DOTS for one in changing):
        handles += [make([], [], color=GREY, label="each point", **PALE)]
        handles += [make([], [], color=GREY, label="running mean", linewidth=1.1)]
    if handles:
        figure.legend(handles=handles, loc="upper left", ncols=len(handles), fontsize=TINY, frameon=False)
