"""Series of points over time: made, thinned so that no peak is lost, and joined.

A point is a mapping with `at` (ISO 8601), `value` and, where known, `low`, `high` and `release`. Standard
library only, pure.
"""

from __future__ import annotations

import datetime
import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

MOST_POINTS = 200
LEAST_POINTS = 5  # first, lowest, highest, last but one, last
Point = dict[str, Any]


@functools.lru_cache(maxsize=65_536)  # the columns of one run share their moment
def seconds(at: str) -> float:
    """Read a moment as seconds since 1970; without an offset it is UTC."""
    moment = datetime.datetime.fromisoformat(at)
    return (moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).timestamp()


def has_time(row: Mapping[str, Any]) -> bool:
    """Check that a row has a moment that can be read."""
    try:
        seconds(row.get("at"))
    except (TypeError, ValueError, OverflowError):
        return False
    return True


def make_series(panel: str, name: str, points: Iterable[Point], max_points: int) -> dict[str, Any]:
    """Make a series in order of time; of a point that comes twice, what says more stays."""
    unique: dict[tuple[str, float], dict[str, Any]] = {}
    for point in points:
        key = (point["at"], point["value"])
        unique[key] = max(unique.get(key, point), point, key=lambda p: (len(p), str(sorted(p.items()))))
    ordered = [unique[key] for key in sorted(unique)]
    return {"panel": panel, "name": name, "n": len(ordered), "points": thin(ordered, max_points)}


def thin(points: Sequence[Point], max_points: int = MOST_POINTS) -> list[dict[str, Any]]:
    """Thin a series in order of time to at most so many points.

    The first and the last two stay (a change against the point before is that of the whole series),
    and of equal stretches of the time between them the lowest and the highest.

    Raises
    ------
    ValueError
        When that cannot be done with `max_points`: there must be 5.
    """
    if max_points < LEAST_POINTS:
        raise ValueError(f"max_points is {max_points}, the least is {LEAST_POINTS}")
    if len(points) <= max_points:
        return list(points)
    inner = range(1, len(points) - 2)
    n_buckets = (max_points - 3) // 2
    times = [seconds(points[i]["at"]) for i in inner]
    span = times[-1] - times[0] or 1.0
    buckets: dict[int, list[int]] = {}
    for i, time in zip(inner, times, strict=True):
        buckets.setdefault(min(int(n_buckets * (time - times[0]) / span), n_buckets - 1), []).append(i)
    chosen = {0, len(points) - 2, len(points) - 1}
    for bucket in buckets.values():
        chosen |= {choose(bucket, key=lambda i: points[i]["value"]) for choose in (min, max)}
    return [points[i] for i in sorted(chosen)]


def join(parts: Sequence[Mapping[str, Any]], max_points: int) -> dict[str, Any]:
    """Join the parts of one series, and count what thinning has hidden in each, once."""
    points = [point for part in parts for point in part["points"]]
    one = make_series(parts[0]["panel"], parts[0]["name"], points, max_points)
    seen = len({(point["at"], point["value"]) for point in points})
    hidden = [_hidden(part, points) for part in parts]
    ends = sorted((part["points"][0]["at"], part["points"][-1]["at"]) for part in parts)
    apart = len(parts) > 1 and ends[0][1] < ends[1][0]
    return {**one, "n": seen + (sum(hidden) if apart else max(hidden))}


def _hidden(part: Mapping[str, Any], points: Iterable[Mapping[str, Any]]) -> int:
    """Count the points that thinning took from a part and the other part does not show either."""
    n_hidden = int(part["n"]) - len(part["points"])
    if not n_hidden:
        return 0
    own = {(point["at"], point["value"]) for point in part["points"]}
    first, last = part["points"][0]["at"], part["points"][-1]["at"]
    back = {(p["at"], p["value"]) for p in points if first <= p["at"] <= last} - own
    return max(n_hidden - len(back), 0)
