"""How have things moved? Rows of the history in, series of points out.

Standard library only, pure. A series that is too long is thinned so that no peak is lost: the first
and the last two stay, and of each stretch of time the lowest and the highest point.
"""

from __future__ import annotations

import datetime
import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

MOST_POINTS, MOST_COLUMNS = 200, 6
LEAST_POINTS = 5  # first, lowest, highest, last but one, last
LARGEST = 2**63  # of whole numbers: what SQL can hold
Tables = Mapping[str, Sequence[Mapping[str, Any]]]
Trends = dict[str, Any]
PANELS = {
    "clients/at_risk": "clients",
    "f1/release": "scores",
    "auc/release": "scores",
    "f1/batch": "scores",
    "auc/batch": "scores",
    "f1/estimate": "scores",
    "auc/estimate": "scores",
    "f1/estimate_error": "estimate_errors",  # told, not drawn
    "auc/estimate_error": "estimate_errors",
    "rows/total": "rows",
    "rows/new": "new_rows",
    "duration_s/ingestion": "durations",
    "duration_s/training": "durations",
}
RELEASED = ("deployed", "rollback")
COLUMN_PANELS = {"missing": ("missing_values", "percent"), "psi": ("column_drift", "psi")}


def build(
    tables: Tables,
    *,
    left_out: Mapping[str, int] | None = None,
    max_points: int = MOST_POINTS,
    max_columns: int | None = MOST_COLUMNS,
) -> Trends:
    """Make trends of rows of the history.

    Parameters
    ----------
    tables : mapping of str to rows
        Rows by table, as `records.History.trend_rows` gives them; a row without a usable value or time
        has no point.
    left_out : mapping of str to int, optional
        How many columns a table has of which no row is given.
    max_points : int, default=200
        Points of a series.
    max_columns : int or None, default=6
        Series of a panel that has one for each column: those that moved most. None keeps all, also
        those that were 0 throughout: what `merge` needs of rows that continue known trends.

    Returns
    -------
    trends : dict
        `series`: by key, each with its panel, name, `n` points before thinning, and points of `at`,
        `value` and, where known, `low`, `high`, `release`. `others`: columns left out, by panel.
        `marks`: deployments, rollbacks and alarms.

    Raises
    ------
    ValueError
        When `max_points` is less than 5.
    """
    found: dict[str, list[dict[str, Any]]] = {key: [] for key in PANELS}
    _add_releases(found, tables)
    _add_batches(found, tables.get("drift", ()))
    _add_estimates(found, tables.get("estimates", ()))
    _add_files(found, tables.get("ingested_files", ()))
    for row in tables.get("client_lists", ()):
        _add(found["clients/at_risk"], row, row.get("n_at_risk"))
    for row in tables.get("timings", ()):
        if f"duration_s/{row.get('stage')}" in found:
            _add(found[f"duration_s/{row['stage']}"], row, row.get("duration_s"))
    series = {key: _series(PANELS[key], key, points, max_points) for key, points in found.items() if points}
    others = {}
    for panel, (table, value) in COLUMN_PANELS.items():
        columns = _by_column(tables.get(table, ()), value)
        chosen = list(columns) if max_columns is None else _choose(columns, max_columns)
        others[panel] = len(columns) - len(chosen) + (left_out or {}).get(table, 0)
        for name in chosen:
            series[f"{panel}/{name}"] = _series(panel, name, columns[name], max_points)
    return {"series": series, "others": others, "marks": _marks(tables)}


def _is_number(value: Any) -> bool:
    if isinstance(value, int):
        return not isinstance(value, bool) and abs(value) < LARGEST
    return isinstance(value, float) and math.isfinite(value)


@functools.lru_cache(maxsize=65_536)  # the columns of one run share their moment
def _seconds(at: str) -> float:
    moment = datetime.datetime.fromisoformat(at)
    return (moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).timestamp()


def _has_time(row: Mapping[str, Any]) -> bool:
    try:
        _seconds(row.get("at"))
    except (TypeError, ValueError, OverflowError):
        return False
    return True


def _add(points: list[dict[str, Any]], row: Mapping[str, Any], value: Any, **band: Any) -> None:
    """Add a point if there is one, with what is known of its band and its release."""
    if _is_number(value) and _has_time(row):
        known = {name: given for name, given in band.items() if _is_number(given)}
        points.append({"at": row["at"], "value": value, **known, **_release_of(row)})


def _release_of(row: Mapping[str, Any]) -> dict[str, str]:
    release = row.get("release")
    return {"release": release} if isinstance(release, str) else {}


def _add_releases(found: dict[str, list[dict[str, Any]]], tables: Tables) -> None:
    """Give each release its score on the test data: the latest of the same model before it was deployed."""
    scores: dict[str, list[Mapping[str, Any]]] = {}
    for row in tables.get("scores", ()):
        model = row.get("model_sha256")
        if row.get("data") == "test" and isinstance(model, str) and _has_time(row):
            scores.setdefault(model, []).append(row)
    for row in tables.get("releases", ()):
        if row.get("action") not in RELEASED or not _has_time(row):
            continue
        known = [s for s in scores.get(str(row.get("model_sha256")), ()) if s["at"] <= row["at"]]
        score = max(known, key=lambda s: str(s["at"]), default={})
        if _is_number(score.get("f1")):
            _add(found["f1/release"], row, score["f1"], low=score.get("f1_low"), high=score.get("f1_high"))
        else:
            _add(found["f1/release"], row, row.get("score"))
        _add(found["auc/release"], row, score.get("auc"))


def _add_batches(found: dict[str, list[dict[str, Any]]], verdicts: Iterable[Mapping[str, Any]]) -> None:
    for row in verdicts:
        _add(found["f1/batch"], row, row.get("new_score"), low=row.get("new_low"), high=row.get("new_high"))
        _add(found["auc/batch"], row, row.get("auc"), low=row.get("auc_low"), high=row.get("auc_high"))


def _add_estimates(found: dict[str, list[dict[str, Any]]], rows: Iterable[Mapping[str, Any]]) -> None:
    """Give estimates, and where labels came later, by how much the realised score was higher.

    The band of an error is that of its estimate: the band held when the error lies in it.
    """
    for row in rows:
        for name in ("f1", "auc"):
            band: list[Any] = [row.get(f"{name}{end}") for end in ("", "_low", "_high")]
            if row.get("n_labelled") is None:
                _add(found[f"{name}/estimate"], row, band[0], low=band[1], high=band[2])
                continue
            realised: Any = row.get(f"realised_{name}")
            if _is_number(realised) and all(map(_is_number, band)):
                error, low, high = (float(value) - float(band[0]) for value in (realised, *band[1:]))
                if all(map(_is_number, (error, low, high))):
                    _add(found[f"{name}/estimate_error"], row, error, low=low, high=high)


def _add_files(found: dict[str, list[dict[str, Any]]], files: Iterable[Mapping[str, Any]]) -> None:
    """Sum up the files of one run: rows they brought, rows there were after them."""
    new: dict[str, int] = {}
    total: dict[str, int] = {}
    for row in files:
        if _has_time(row):
            at = row["at"]
            if _is_number(row.get("rows_new")):
                new[at] = new.get(at, 0) + row["rows_new"]
            if _is_number(row.get("rows_total")):
                total[at] = max(total.get(at, 0), row["rows_total"])
    found["rows/new"] = [{"at": at, "value": count} for at, count in sorted(new.items())]
    found["rows/total"] = [{"at": at, "value": count} for at, count in sorted(total.items())]


def _by_column(rows: Iterable[Mapping[str, Any]], value: str) -> dict[str, list[dict[str, Any]]]:
    columns: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        name = row.get("column_name")
        if isinstance(name, str):
            _add(columns.setdefault(name, []), row, row.get(value))
    return {name: points for name, points in columns.items() if points}


def choose_columns(ranges: Mapping[str, tuple[float, float]], n: int) -> list[str]:
    """Choose the columns that moved most; those that were 0 throughout only when all were.

    Parameters
    ----------
    ranges : mapping of str to (float, float)
        The lowest and the highest value of each column.
    n : int
        How many at most.
    """

    def rank(name: str) -> tuple[float, float, str]:
        low, high = ranges[name]
        return low - high, -high, name

    moved = [name for name, values in ranges.items() if any(values)]
    return sorted(moved or ranges, key=rank)[:n]


def _choose(columns: Mapping[str, Sequence[Mapping[str, Any]]], n: int) -> list[str]:
    values = {name: [point["value"] for point in points] for name, points in columns.items()}
    return choose_columns({name: (min(found), max(found)) for name, found in values.items()}, n)


def _marks(tables: Tables) -> list[dict[str, Any]]:
    marks = [
        {"at": row["at"], "kind": row["action"], "release": _release_of(row).get("release")}
        for row in tables.get("releases", ())
        if row.get("action") in RELEASED and _has_time(row)
    ]
    marks += [
        {"at": row["at"], "kind": "alarm", "release": _release_of(row).get("release")}
        for row in tables.get("drift", ())
        if row.get("drift") in (True, 1) and _has_time(row)
    ]
    return sorted(marks, key=_mark_key)


def _mark_key(mark: Mapping[str, Any]) -> tuple[str, str, str]:
    return mark["at"], mark["kind"], str(mark["release"])


# --- thinning ----------------------------------------------------------------------------------------------


def _series(panel: str, name: str, points: Iterable[dict[str, Any]], max_points: int) -> dict[str, Any]:
    """Make a series in order of time; of a point that comes twice, what says more stays."""
    unique: dict[tuple[str, float], dict[str, Any]] = {}
    for point in points:
        key = (point["at"], point["value"])
        unique[key] = max(unique.get(key, point), point, key=lambda p: (len(p), str(sorted(p.items()))))
    ordered = [unique[key] for key in sorted(unique)]
    return {"panel": panel, "name": name, "n": len(ordered), "points": thin(ordered, max_points)}


def thin(points: Sequence[dict[str, Any]], max_points: int = MOST_POINTS) -> list[dict[str, Any]]:
    """Keep at most so many points of a series in order of time.

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
    times = [_seconds(points[i]["at"]) for i in inner]
    span = times[-1] - times[0] or 1.0
    buckets: dict[int, list[int]] = {}
    for i, time in zip(inner, times, strict=True):
        buckets.setdefault(min(int(n_buckets * (time - times[0]) / span), n_buckets - 1), []).append(i)
    kept = {0, len(points) - 2, len(points) - 1}
    for bucket in buckets.values():
        kept |= {chosen(bucket, key=lambda i: points[i]["value"]) for chosen in (min, max)}
    return [points[i] for i in sorted(kept)]


def merge(
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    *,
    max_points: int = MOST_POINTS,
    max_columns: int = MOST_COLUMNS,
) -> Trends:
    """Continue what was known with what came later; a point that is in both counts once.

    Build `new` with `max_columns=None`: which columns moved most is chosen again of both.
    """
    both = (old["series"], new["series"])
    keys = {key for series in both for key in series}
    joined = {key: _join([series[key] for series in both if key in series], max_points) for key in keys}
    kept = {key: joined[key] for key in PANELS if key in joined}
    others = {}
    for panel in COLUMN_PANELS:
        columns = {one["name"]: one["points"] for one in joined.values() if one["panel"] == panel}
        chosen = _choose(columns, max_columns)
        counts = [
            sum(one["panel"] == panel for one in part["series"].values()) + part["others"].get(panel, 0)
            for part in (old, new)
        ]
        others[panel] = max(len(columns), *counts) - len(chosen)
        kept |= {f"{panel}/{name}": joined[f"{panel}/{name}"] for name in chosen}
    marks = {_mark_key(mark): mark for mark in [*old["marks"], *new["marks"]]}
    return {"series": kept, "others": others, "marks": [marks[key] for key in sorted(marks)]}


def _join(parts: Sequence[Mapping[str, Any]], max_points: int) -> dict[str, Any]:
    """Join the parts of one series, and count what thinning has hidden in each, once."""
    points = [point for part in parts for point in part["points"]]
    one = _series(parts[0]["panel"], parts[0]["name"], points, max_points)
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


def cut(trends: Mapping[str, Any], since: str) -> Trends:
    """Leave out what was before a day, YYYY-MM-DD; of a thinned series `n` is then the most there were."""
    series = {}
    for key, one in trends["series"].items():
        points = [point for point in one["points"] if point["at"] >= since]
        if points:
            n_dropped = len(one["points"]) - len(points)
            series[key] = {**one, "n": one["n"] - n_dropped, "points": points}
    marks = [mark for mark in trends["marks"] if mark["at"] >= since]
    return {"series": series, "others": dict(trends["others"]), "marks": marks}


# --- telling -----------------------------------------------------------------------------------------------


def latest(trends: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Tell the last value of each series and its change against the one before and the first."""
    told = {}
    for key, one in trends["series"].items():
        values = [point["value"] for point in one["points"]]
        told[key] = {
            "last": values[-1],
            "at": one["points"][-1]["at"],
            "n": one["n"],
            "change_previous": values[-1] - values[-2] if len(values) > 1 else None,
            "change_first": values[-1] - values[0] if len(values) > 1 else None,
        }
    return told


def count_held(trends: Mapping[str, Any]) -> str | None:
    """Say how often the bands of estimates have held since labels came; None before any did."""
    told = []
    for name, key in (("F1", "f1/estimate_error"), ("AUC", "auc/estimate_error")):
        points = trends["series"].get(key, {}).get("points", ())
        if points:
            n_held = sum(point["low"] <= point["value"] <= point["high"] for point in points)
            error = sum(point["value"] for point in points) / len(points)
            told.append(f"{name} in {n_held:,} of {len(points):,} (mean error {error:+.3f})")
    return f"Once labels came, the band of an estimate held for {', for '.join(told)}" if told else None
