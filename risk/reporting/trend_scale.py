"""What a chart of a trend shows: lines, intervals, dots, ticks and events, the same on every chart.

`charts` draws it as a picture, `small_charts` as shapes for paper and screen. Times are seconds since 1970.
"""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from risk.history.series import Point, seconds

MOST_DOTS = 40  # of a series, or of events of one kind: more cannot be told apart
DAY_S = 86_400
LEAST_MARGIN_S = 30
MOST_STEPS = 5  # between the ticks of scores
PSI_LEVELS = {"large: 0.25": 0.25, "moderate: 0.1": 0.1}
EVENTS = {"deployed": "deployed", "rollback": "rolled back", "alarm": "drift alarm"}
Trends = Mapping[str, Any]


class Panel(NamedTuple):
    """What series of one kind share: unit, whether values are counts, whether 0 is left out, levels."""

    title: str
    unit: str
    counts: bool = False
    close: bool = False
    levels: Mapping[str, float] = {}


PANELS = {
    "clients": Panel("Clients at risk", "clients", counts=True),
    "scores": Panel("Score of releases (test data) and of new rows", "F1, AUC", close=True),
    "rows": Panel("Rows in the table", "rows", counts=True),
    "new_rows": Panel("New rows in a run", "rows", counts=True),
    "missing": Panel("Missing cells", "percent"),
    "durations": Panel("Duration", "seconds"),
    "psi": Panel("Shift of columns since training", "PSI", levels=PSI_LEVELS),
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


@dataclass(frozen=True)
class Trace:
    """One series as it is drawn.

    `line` goes through the points. When they are too many for `has_dots`, it is their running mean, and
    `intervals`, each of (time, low, high), are averaged alike. Where `is_step`, a value holds until the next.
    """

    name: str
    points: Sequence[tuple[float, float]]
    line: Sequence[tuple[float, float]]
    intervals: Sequence[tuple[float, float, float]]
    has_dots: bool
    is_step: bool


class Scale(NamedTuple):
    """The range of values of a chart, and where it has ticks."""

    low: float
    high: float
    ticks: tuple[float, ...]


def make_trace(key: str, series: Mapping[str, Any]) -> Trace:
    """Make what is drawn of one series of trends.json."""
    points = [(seconds(point["at"]), float(point["value"])) for point in series["points"]]
    intervals = [
        (seconds(point["at"]), point["low"], point["high"])
        for point in series["points"]
        if "low" in point and "high" in point
    ]
    has_dots, is_step = len(points) <= MOST_DOTS, key.endswith("/release")
    line = points if has_dots or is_step else smooth_columns(points)
    intervals = intervals if has_dots else smooth_columns(intervals)
    return Trace(NAMES.get(key, series.get("name", key)), points, line, intervals, has_dots, is_step)


def smooth_columns(points: Sequence[tuple[float, ...]]) -> list[Any]:
    """Average all but the times."""
    times, *columns = zip(*points, strict=True) if points else [()]
    return list(zip(times, *map(smooth, columns), strict=True))


def smooth(values: Sequence[float]) -> list[float]:
    """Compute the running mean over a tenth of a series; at its ends over less.

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


def add_margin(times: Sequence[float]) -> tuple[float, float]:
    """Give the range of a time axis; a single moment stands in the middle of its day."""
    first, last = min(times), max(times)
    margin = max((last - first) * 0.03, LEAST_MARGIN_S) if first < last else DAY_S / 2
    return first - margin, last + margin


def list_events(trends: Trends, kind: str) -> list[float]:
    """List the moments of the events of one kind."""
    return [seconds(mark["at"]) for mark in trends["marks"] if mark["kind"] == kind]


def list_deployments(trends: Trends, trace: Trace) -> list[float]:
    """List the deployments that may have changed a series; none when they are too many to be told apart."""
    first, last = trace.points[0][0], trace.points[-1][0]
    moments = [moment for moment in list_events(trends, "deployed") if first < moment <= last]
    return moments if len(moments) <= MOST_DOTS else []


def make_scale(panel: str, points: Sequence[Point]) -> Scale:
    """Choose range and ticks of the values: from 0 up, or close to where the scores are.

    Parameters
    ----------
    panel : str
        One of `PANELS`; the values of another may be below 0.
    points : sequence of dict
        Of all series of the chart, at least one, each with `value` and perhaps `low` and `high`.
    """
    kind = PANELS.get(panel, Panel("", ""))
    ends = [point[end] for point in points for end in ("value", "low", "high") if end in point]
    lowest, highest = min(ends), max(ends)
    if kind.close:
        margin = max(0.08 * (highest - lowest), 0.02)
        low, high = max(0.0, lowest - margin), min(1.0, highest + margin) + 0.005
        return Scale(low, high, round_ticks(low, high))
    if lowest < 0:
        top = round_up(max(-lowest, highest))
        return Scale(-top, top, (-top, 0.0, top))
    top = round_up(max([highest, *(1.2 * level for level in kind.levels.values())]))
    ticks = (0.0, top / 2, top)
    return Scale(
        0.0, max(top, 1.08 * highest), tuple(tick for tick in ticks if not kind.counts or tick == int(tick))
    )


def round_up(value: float) -> float:
    """Give the next larger round number whose half is round, too."""
    if value < sys.float_info.min:
        return 1.0
    unit = 10.0 ** math.floor(math.log10(value))
    return next(step * unit for step in (1.0, 2.0, 4.0, 6.0, 8.0, 10.0) if step * unit >= value)


def round_ticks(low: float, high: float) -> tuple[float, ...]:
    """Choose few round numbers between two values."""
    unit = 10.0 ** math.floor(math.log10(high - low))
    step = next(s * unit for s in (0.2, 0.5, 1.0, 2.0, 5.0) if (high - low) / (s * unit) <= MOST_STEPS)
    return tuple(step * n for n in range(math.ceil(low / step), math.floor(high / step) + 1))
