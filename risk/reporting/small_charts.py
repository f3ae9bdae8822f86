"""Small charts: data in, shapes out; drawn as SVG here and on paper by `pdf_layout`.

One geometry for paper and screen, on the scale of `trend_scale`. Shapes carry a look (`line`, `dot`, `grid`,
`mark`, `pale`, `label`), never a colour: the page gives each its colour, by day and by night.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any, Literal

from risk.reporting import formats, trend_scale
from risk.reporting.trend_scale import Trace

WIDTH, HEIGHT = 480.0, 150.0
SQUARE = 240.0
LEFT, RIGHT, TOP, BOTTOM = 44.0, 40.0, 12.0, 22.0
LETTER = 10.0
LABEL_DIGITS = 3
SMALLEST_DOT, LARGEST_DOT = 2.0, 5.0
Look = Literal["line", "dot", "grid", "mark", "pale", "label", "strong"]
Anchor = Literal["start", "middle", "end"]
Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """A line through points, y downwards."""

    points: Sequence[Point]
    look: Look


@dataclass(frozen=True)
class Dot:
    """A filled circle."""

    at: Point
    radius: float
    look: Look = "dot"


@dataclass(frozen=True)
class Text:
    """A text with its base line at a point."""

    at: Point
    text: str
    anchor: Anchor = "start"
    look: Look = "label"


@dataclass(frozen=True)
class SmallChart:
    """A small chart; `title` says it in words, for those who do not see it."""

    width: float
    height: float
    title: str
    shapes: Sequence[Line | Dot | Text] = field(repr=False)


@dataclass(frozen=True)
class _Plot:
    """Where values stand on a chart."""

    width: float
    height: float
    x: tuple[float, float]
    y: tuple[float, float]

    def at(self, x: float, y: float) -> Point:
        across = (x - self.x[0]) / (self.x[1] - self.x[0])
        up = (y - self.y[0]) / (self.y[1] - self.y[0])
        room_x, room_y = self.width - LEFT - RIGHT, self.height - TOP - BOTTOM
        return LEFT + across * room_x, self.height - BOTTOM - up * room_y


# --- charts ------------------------------------------------------------------------------------------------


def draw_trend(trends: Mapping[str, Any], key: str, name: str) -> SmallChart | None:
    """Draw one series of trends.json over time, with the moments a new model came.

    Parameters
    ----------
    key, name : str
        Which series, and what it is called; None when nothing is recorded of it yet.
    """
    series = trends["series"].get(key, {})
    points = series.get("points", ())
    if not points:
        return None
    trace, panel = trend_scale.make_trace(key, series), series.get("panel", "")
    scale = trend_scale.make_scale(panel, points)
    plot = _Plot(WIDTH, HEIGHT, trend_scale.add_margin([x for x, _ in trace.points]), (scale.low, scale.high))
    shapes: list[Line | Dot | Text] = [
        *_grid(plot, scale.ticks, formats.format_tick),
        *_draw_levels(plot, panel),
        *_draw_releases(plot, trends, trace),
        *_draw_trace(plot, trace),
    ]
    days = [point["at"][:10] for point in (points[0], points[-1])]
    (first, _), (last, y) = (plot.at(*point) for point in (trace.points[0], trace.points[-1]))
    if days[0] != days[1]:
        shapes.append(Text((first, HEIGHT - 6), days[0]))
    shapes.append(Text((last, HEIGHT - 6), days[1], "end" if len(points) > 1 else "middle"))
    ends = [formats.format_figure(points[n]["value"], LABEL_DIGITS) for n in (0, -1)]
    shapes.append(Text((last + 6, y + LETTER / 3), ends[-1], look="strong"))
    described = [f"{value} on {day}" for value, day in zip(ends, days, strict=True)]
    return SmallChart(WIDTH, HEIGHT, f"{name}: {', '.join(described[: len(points)])}", shapes)


def _draw_levels(plot: _Plot, panel: str) -> list[Line | Dot | Text]:
    shapes: list[Line | Dot | Text] = []
    levels = trend_scale.PANELS[panel].levels if panel in trend_scale.PANELS else {}
    for label, level in levels.items():
        start, end = plot.at(plot.x[0], level), plot.at(plot.x[1], level)
        shapes += [Line([start, end], "mark"), Text((end[0], end[1] - 2), label, "end")]
    return shapes


def _draw_releases(plot: _Plot, trends: Mapping[str, Any], trace: Trace) -> list[Line]:
    """Draw a line at each deployment that may have changed the series."""
    moments = trend_scale.list_deployments(trends, trace)
    return [Line([plot.at(x, plot.y[0]), plot.at(x, plot.y[1])], "mark") for x in moments]


def _draw_trace(plot: _Plot, trace: Trace) -> list[Line | Dot | Text]:
    """Draw the line with its dots, and pale what is about it: intervals, or the points of a running mean."""
    shapes: list[Line | Dot | Text] = []
    if trace.has_dots:
        shapes += [Line([plot.at(x, low), plot.at(x, high)], "pale") for x, low, high in trace.intervals]
    elif trace.intervals:
        for end in (1, 2):
            shapes.append(Line([plot.at(one[0], one[end]) for one in trace.intervals], "pale"))
    if trace.line != trace.points:
        shapes.append(Line([plot.at(*point) for point in trace.points], "pale"))
    corners = [
        (x, y)
        for before, (x, value) in zip(trace.line, trace.line[1:], strict=False)
        for y in ((before[1], value) if trace.is_step else (value,))
    ]
    if corners:
        shapes.append(Line([plot.at(*point) for point in (trace.line[0], *corners)], "line"))
    dots = trace.points if trace.has_dots else trace.points[-1:]
    return [*shapes, *(Dot(plot.at(*point), 2.5) for point in dots)]


def draw_reliability(curve: Sequence[Mapping[str, float]]) -> SmallChart | None:
    """Draw the share that left against the predicted probability; calibrated ones lie on the diagonal."""
    if not curve:
        return None
    plot = _Plot(SQUARE, SQUARE, (0.0, 1.0), (0.0, 1.0))
    ticks = (0.0, 0.5, 1.0)
    shapes: list[Line | Dot | Text] = [
        *_grid(plot, ticks, "{:.0%}".format),
        *(Text((plot.at(x, 0)[0], SQUARE - 8), f"{x:.0%}", "middle") for x in ticks),
        Line([plot.at(0, 0), plot.at(1, 1)], "mark"),
    ]
    most = max(one["n"] for one in curve)
    placed = [plot.at(one["mean_predicted"], one["share_left"]) for one in curve]
    shapes.append(Line(placed, "line"))
    for at, one in zip(placed, curve, strict=True):
        size = math.sqrt(one["n"] / most)
        shapes.append(Dot(at, SMALLEST_DOT + (LARGEST_DOT - SMALLEST_DOT) * size))
    pairs = "; ".join(f"{one['mean_predicted']:.0%} predicted, {one['share_left']:.0%} left" for one in curve)
    return SmallChart(SQUARE, SQUARE, f"Calibration curve: {pairs}", shapes)


def _grid(plot: _Plot, levels: Sequence[float], how: Callable[[float], str]) -> list[Line | Dot | Text]:
    shapes: list[Line | Dot | Text] = []
    for level in levels:
        start, end = plot.at(plot.x[0], level), plot.at(plot.x[1], level)
        shapes += [Line([start, end], "grid"), Text((start[0] - 5, start[1] + 3), how(level), "end")]
    return shapes


# --- SVG ---------------------------------------------------------------------------------------------------


def render_svg(sketch: SmallChart) -> str:
    """Render a chart as inline SVG; colours come from classes, `k-` and the look."""
    title = escape(sketch.title)
    shapes = "".join(_render_shape(shape) for shape in sketch.shapes)
    square = ' class="square"' if sketch.width == sketch.height else ""
    return (
        f'<svg{square} viewBox="0 0 {sketch.width:g} {sketch.height:g}" role="img" aria-label="{title}">'
        f"<title>{title}</title>{shapes}</svg>"
    )


def _render_shape(shape: Line | Dot | Text) -> str:
    look = f'class="k-{shape.look}"'
    if isinstance(shape, Line):
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in shape.points)
        return f'<polyline {look} points="{points}"/>'
    x, y = shape.at
    if isinstance(shape, Dot):
        return f'<circle {look} cx="{x:.1f}" cy="{y:.1f}" r="{shape.radius:.1f}"/>'
    return f'<text {look} x="{x:.1f}" y="{y:.1f}" text-anchor="{shape.anchor}">{escape(shape.text)}</text>'
