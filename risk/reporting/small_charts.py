"""Small charts: data in, shapes out; drawn as SVG here and on paper by `pdf_layout`.

One geometry for paper and screen. Shapes carry a look (`line`, `dot`, `grid`, `mark`, `label`), never a
colour: the page gives each its colour, by day and by night.
"""

from __future__ import annotations

import datetime
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any, Literal

WIDTH, HEIGHT = 480.0, 150.0
SQUARE = 240.0
LEFT, RIGHT, TOP, BOTTOM = 44.0, 40.0, 12.0, 22.0
LETTER = 10.0
MOST_DOTS = 40
SMALLEST_DOT, LARGEST_DOT = 2.0, 5.0
Look = Literal["line", "dot", "grid", "mark", "label", "strong"]
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
    """Draw one series of trends.json over time, from 0 up, with the moments a new model came.

    Parameters
    ----------
    key, name : str
        Which series, and what it is called; None when nothing is recorded of it yet.
    """
    points = trends["series"].get(key, {}).get("points", ())
    if not points:
        return None
    times, values = [_seconds(point["at"]) for point in points], [float(point["value"]) for point in points]
    first, last = min(times), max(times)
    span = (first, last) if first < last else (first - 1, last + 1)
    top = round_up(max(values))
    plot = _Plot(WIDTH, HEIGHT, span, (0.0, top))
    marks = [_seconds(mark["at"]) for mark in trends["marks"] if mark["kind"] == "deployed"]
    shapes: list[Line | Dot | Text] = [
        *_grid(plot, (0.0, top / 2, top), format_value),
        *(Line([plot.at(x, 0), plot.at(x, top)], "mark") for x in marks if first < x <= last),
    ]
    placed = [plot.at(x, y) for x, y in zip(times, values, strict=True)]
    shapes += [Line(placed, "line")] if len(placed) > 1 else []
    shapes += [Dot(at, 2.5) for at in (placed if len(placed) <= MOST_DOTS else placed[-1:])]
    x, y = placed[-1]
    shapes.append(Text((x + 6, y + LETTER / 3), format_value(values[-1]), look="strong"))
    days = [point["at"][:10] for point in (points[0], points[-1])]
    if days[0] != days[1]:
        shapes.append(Text((plot.at(span[0], 0)[0], HEIGHT - 6), days[0]))
    shapes.append(Text((x, HEIGHT - 6), days[1], "end" if len(placed) > 1 else "middle"))
    ends = [
        f"{format_value(value)} on {day}" for value, day in zip((values[0], values[-1]), days, strict=True)
    ]
    return SmallChart(WIDTH, HEIGHT, f"{name}: {', '.join(ends[: len(points)])}", shapes)


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


def format_value(value: float) -> str:
    """Write a value: whole ones whole, others with three digits that matter."""
    return f"{value:,.0f}" if value == round(value) or abs(value) >= 1000 else f"{value:.3g}"


def round_up(value: float) -> float:
    """Give the next larger round number whose half is round, too."""
    if value < sys.float_info.min:
        return 1.0
    unit = 10.0 ** math.floor(math.log10(value))
    return next(step * unit for step in (1.0, 2.0, 4.0, 6.0, 8.0, 10.0) if step * unit >= value)


def _seconds(at: str) -> float:
    moment = datetime.datetime.fromisoformat(at)
    return (moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).timestamp()


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
