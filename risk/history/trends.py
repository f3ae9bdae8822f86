"""Trends: rows of the history in, series of points by panel out, continued by later rows.

Standard library only, pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from risk.history import series
from risk.history.series import MOST_POINTS, Point

MOST_COLUMNS = 6
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
    "f1/estimate_error": "estimate_errors",  # in text, not drawn
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
        Rows by table, as `store.History.trend_rows` reads them; without value or time they have no point.
    left_out : mapping of str to int, optional
        How many columns a table has of which no row is given.
    max_points : int, default=200
        Points of a series after thinning, at least 5.
    max_columns : int or None, default=6
        Series of a panel that has one for each column: those that changed most; None keeps all.

    Returns
    -------
    trends : dict
        `series` by key: panel, name, `n` points before thinning, and points of `at`, `value` and, where
        known, `low`, `high`, `release`. `others`: columns left out, by panel. `marks`: events.

    Raises
    ------
    ValueError
        When `max_points` is less than 5.
    """
    points = {key: (PANELS[key], key, some) for key, some in _collect(tables).items() if some}
    others = {}
    for panel, (table, value) in COLUMN_PANELS.items():
        columns = _by_column(tables.get(table, ()), value)
        chosen = list(columns) if max_columns is None else _choose(columns, max_columns)
        others[panel] = len(columns) - len(chosen) + (left_out or {}).get(table, 0)
        points |= {f"{panel}/{name}": (panel, name, columns[name]) for name in chosen}
    made = {key: series.make_series(*one, max_points) for key, one in points.items()}
    return {"series": made, "others": others, "marks": _marks(tables)}


def _collect(tables: Tables) -> dict[str, list[Point]]:
    """Collect the points of each series that is not of a column."""
    points: dict[str, list[Point]] = {key: [] for key in PANELS}
    _add_releases(points, tables)
    _add_batches(points, tables.get("drift", ()))
    _add_estimates(points, tables.get("estimates", ()))
    _add_files(points, tables.get("ingested_files", ()))
    for row in tables.get("client_lists", ()):
        _add(points["clients/at_risk"], row, row.get("n_at_risk"))
    for row in tables.get("timings", ()):
        if f"duration_s/{row.get('stage')}" in points:
            _add(points[f"duration_s/{row['stage']}"], row, row.get("duration_s"))
    return points


def _is_number(value: Any) -> bool:
    if isinstance(value, int):
        return not isinstance(value, bool) and abs(value) < LARGEST
    return isinstance(value, float) and math.isfinite(value)


def _add(points: list[Point], row: Mapping[str, Any], value: Any, **interval: Any) -> None:
    """Add a point if there is one, with what is known of its interval and its release."""
    if _is_number(value) and series.has_time(row):
        known = {name: given for name, given in interval.items() if _is_number(given)}
        points.append({"at": row["at"], "value": value, **known, **_release_of(row)})


def _release_of(row: Mapping[str, Any]) -> dict[str, str]:
    release = row.get("release")
    return {"release": release} if isinstance(release, str) else {}


def _add_releases(points: dict[str, list[Point]], tables: Tables) -> None:
    """Give each release its score on the test data: the latest of the same model before it was deployed."""
    scores: dict[str, list[Mapping[str, Any]]] = {}
    for row in tables.get("scores", ()):
        model = row.get("model_sha256")
        if row.get("data") == "test" and isinstance(model, str) and series.has_time(row):
            scores.setdefault(model, []).append(row)
    for row in tables.get("releases", ()):
        if row.get("action") not in RELEASED or not series.has_time(row):
            continue
        known = [s for s in scores.get(str(row.get("model_sha256")), ()) if s["at"] <= row["at"]]
        score = max(known, key=lambda s: str(s["at"]), default={})
        if _is_number(score.get("f1")):
            _add(points["f1/release"], row, score["f1"], low=score.get("f1_low"), high=score.get("f1_high"))
        else:
            _add(points["f1/release"], row, row.get("score"))
        _add(points["auc/release"], row, score.get("auc"))


def _add_batches(points: dict[str, list[Point]], verdicts: Iterable[Mapping[str, Any]]) -> None:
    for row in verdicts:
        _add(points["f1/batch"], row, row.get("new_score"), low=row.get("new_low"), high=row.get("new_high"))
        _add(points["auc/batch"], row, row.get("auc"), low=row.get("auc_low"), high=row.get("auc_high"))


def _add_estimates(points: dict[str, list[Point]], rows: Iterable[Mapping[str, Any]]) -> None:
    """Give estimates, and where labels came later, by how much the realised score was higher.

    The interval of an error is that of its estimate, which held when the error lies in it.
    """
    for row in rows:
        for name in ("f1", "auc"):
            ends: list[Any] = [row.get(f"{name}{end}") for end in ("", "_low", "_high")]
            if row.get("n_labelled") is None:
                _add(points[f"{name}/estimate"], row, ends[0], low=ends[1], high=ends[2])
                continue
            realised: Any = row.get(f"realised_{name}")
            if _is_number(realised) and all(map(_is_number, ends)):
                error, low, high = (float(value) - float(ends[0]) for value in (realised, *ends[1:]))
                if all(map(_is_number, (error, low, high))):
                    _add(points[f"{name}/estimate_error"], row, error, low=low, high=high)


def _add_files(points: dict[str, list[Point]], files: Iterable[Mapping[str, Any]]) -> None:
    """Sum up the files of one run: rows they brought, rows there were after them."""
    new: dict[str, int] = {}
    total: dict[str, int] = {}
    for row in files:
        if series.has_time(row):
            at = row["at"]
            if _is_number(row.get("rows_new")):
                new[at] = new.get(at, 0) + row["rows_new"]
            if _is_number(row.get("rows_total")):
                total[at] = max(total.get(at, 0), row["rows_total"])
    points["rows/new"] = [{"at": at, "value": count} for at, count in sorted(new.items())]
    points["rows/total"] = [{"at": at, "value": count} for at, count in sorted(total.items())]


def _by_column(rows: Iterable[Mapping[str, Any]], value: str) -> dict[str, list[Point]]:
    columns: dict[str, list[Point]] = {}
    for row in rows:
        name = row.get("column_name")
        if isinstance(name, str):
            _add(columns.setdefault(name, []), row, row.get(value))
    return {name: points for name, points in columns.items() if points}


def choose_columns(ranges: Mapping[str, tuple[float, float]], n: int) -> list[str]:
    """Choose the columns that changed most; those that were 0 throughout only when all were.

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

    not_zero = [name for name, values in ranges.items() if any(values)]
    return sorted(not_zero or ranges, key=rank)[:n]


def _choose(columns: Mapping[str, Sequence[Mapping[str, Any]]], n: int) -> list[str]:
    values = {name: [point["value"] for point in points] for name, points in columns.items()}
    return choose_columns({name: (min(listed), max(listed)) for name, listed in values.items()}, n)


def _marks(tables: Tables) -> list[dict[str, Any]]:
    marks = [
        {"at": row["at"], "kind": row["action"], "release": _release_of(row).get("release")}
        for row in tables.get("releases", ())
        if row.get("action") in RELEASED and series.has_time(row)
    ]
    marks += [
        {"at": row["at"], "kind": "alarm", "release": _release_of(row).get("release")}
        for row in tables.get("drift", ())
        if row.get("drift") in (True, 1) and series.has_time(row)
    ]
    return sorted(marks, key=_mark_order)


def _mark_order(mark: Mapping[str, Any]) -> tuple[str, str, str]:
    return mark["at"], mark["kind"], str(mark["release"])


def merge(
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    *,
    max_points: int = MOST_POINTS,
    max_columns: int = MOST_COLUMNS,
) -> Trends:
    """Continue what was known with what came later; a point that is in both counts once.

    Build `new` with `max_columns=None`: which columns changed most is chosen again from both.
    """
    both = (old["series"], new["series"])
    keys = {key for part in both for key in part}
    joined = {key: series.join([part[key] for part in both if key in part], max_points) for key in keys}
    result = {key: joined[key] for key in PANELS if key in joined}
    others = {}
    for panel in COLUMN_PANELS:
        columns = {one["name"]: one["points"] for one in joined.values() if one["panel"] == panel}
        chosen = _choose(columns, max_columns)
        counts = [
            sum(one["panel"] == panel for one in part["series"].values()) + part["others"].get(panel, 0)
            for part in (old, new)
        ]
        others[panel] = max(len(columns), *counts) - len(chosen)
        result |= {f"{panel}/{name}": joined[f"{panel}/{name}"] for name in chosen}
    marks = {_mark_order(mark): mark for mark in [*old["marks"], *new["marks"]]}
    return {"series": result, "others": others, "marks": [marks[key] for key in sorted(marks)]}


def cut(trends: Mapping[str, Any], since: str) -> Trends:
    """Leave out what was before a day, YYYY-MM-DD; of a thinned series `n` is then the most there were."""
    result = {}
    for key, one in trends["series"].items():
        points = [point for point in one["points"] if point["at"] >= since]
        if points:
            n_dropped = len(one["points"]) - len(points)
            result[key] = {**one, "n": one["n"] - n_dropped, "points": points}
    marks = [mark for mark in trends["marks"] if mark["at"] >= since]
    return {"series": result, "others": dict(trends["others"]), "marks": marks}


def latest(trends: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Give the last value of each series and its change against the one before and the first."""
    result = {}
    for key, one in trends["series"].items():
        values = [point["value"] for point in one["points"]]
        result[key] = {
            "last": values[-1],
            "at": one["points"][-1]["at"],
            "n": one["n"],
            "change_previous": values[-1] - values[-2] if len(values) > 1 else None,
            "change_first": values[-1] - values[0] if len(values) > 1 else None,
        }
    return result


def count_held(trends: Mapping[str, Any]) -> str | None:
    """Describe how often intervals of estimates have held since labels came; None before any did."""
    parts = []
    for name, key in (("F1", "f1/estimate_error"), ("AUC", "auc/estimate_error")):
        points = trends["series"].get(key, {}).get("points", ())
        if points:
            n_held = sum(point["low"] <= point["value"] <= point["high"] for point in points)
            error = sum(point["value"] for point in points) / len(points)
            parts.append(f"{name} in {n_held:,} of {len(points):,} (mean error {error:+.3f})")
    return f"Once labels came, the interval of an estimate held for {', for '.join(parts)}" if parts else None
