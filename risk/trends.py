"""How have things moved? Rows of the history in, series of points out.

Standard library only, pure. A series that is too long is thinned so that no peak is lost: first and
last stay, and of each stretch of time the lowest and the highest point.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

MOST_POINTS, MOST_COLUMNS = 200, 6
NAME_WIDTH = 26
Tables = Mapping[str, Sequence[Mapping[str, Any]]]
Trends = dict[str, Any]
PANELS = {
    "f1/release": "scores",
    "auc/release": "scores",
    "f1/batch": "scores",
    "auc/batch": "scores",
    "rows/total": "rows",
    "rows/new": "new_rows",
    "duration_s/ingestion": "durations",
    "duration_s/training": "durations",
}
COLUMN_PANELS = {"missing": ("missing_values", "percent"), "psi": ("column_drift", "psi")}


def build(tables: Tables, *, max_points: int = MOST_POINTS, max_columns: int = MOST_COLUMNS) -> Trends:
    """Make trends of rows of the history.

    Parameters
    ----------
    tables : mapping of str to rows
        Rows by table, as `records.History.trend_rows` gives them; a row without a usable value has no
        point.
    max_points : int, default=200
        Points of a series.
    max_columns : int, default=6
        Series of a panel that has one for each column: those that moved most.

    Returns
    -------
    trends : dict
        `series`: by key, each with its panel, name, `n` points before thinning, and points of `at`,
        `value` and, where known, `low`, `high`, `release`. `others`: columns left out, by panel.
        `marks`: deployments, rollbacks and alarms.
    """
    found: dict[str, list[dict[str, Any]]] = {key: [] for key in PANELS}
    _add_releases(found, tables)
    _add_batches(found, tables.get("drift", ()))
    _add_files(found, tables.get("ingested_files", ()))
    for row in tables.get("timings", ()):
        if f"duration_s/{row.get('stage')}" in found:
            _add(found[f"duration_s/{row['stage']}"], row, row.get("duration_s"))
    series = {key: _series(PANELS[key], key, points, max_points) for key, points in found.items() if points}
    others = {}
    for panel, (table, value) in COLUMN_PANELS.items():
        columns = _by_column(tables.get(table, ()), value)
        chosen = _choose(columns, max_columns)
        others[panel] = len(columns) - len(chosen)
        for name in chosen:
            series[f"{panel}/{name}"] = _series(panel, name, columns[name], max_points)
    return {"series": series, "others": others, "marks": _marks(tables)}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _add(points: list[dict[str, Any]], row: Mapping[str, Any], value: Any, **more: Any) -> None:
    if _is_number(value) and isinstance(row.get("at"), str):
        known = {name: given for name, given in more.items() if given is not None}
        points.append({"at": row["at"], "value": value, **known})


def _add_releases(found: dict[str, list[dict[str, Any]]], tables: Tables) -> None:
    """Give each release its score on the test data: the latest of the same model before it was deployed."""
    scores: dict[str, list[Mapping[str, Any]]] = {}
    for row in tables.get("scores", ()):
        if row.get("data") == "test":
            scores.setdefault(str(row.get("model_sha256")), []).append(row)
    for row in tables.get("releases", ()):
        known = scores.get(str(row.get("model_sha256")), []) if row.get("model_sha256") else []
        score = max((s for s in known if s["at"] <= row["at"]), key=lambda s: str(s["at"]), default=None)
        band = {"low": score.get("f1_low"), "high": score.get("f1_high")} if score else {}
        f1 = score["f1"] if score else row.get("score")
        _add(found["f1/release"], row, f1, **band, release=row.get("release"))
        if score:
            _add(found["auc/release"], row, score.get("auc"), release=row.get("release"))


def _add_batches(found: dict[str, list[dict[str, Any]]], verdicts: Iterable[Mapping[str, Any]]) -> None:
    for row in verdicts:
        band = {"low": row.get("new_low"), "high": row.get("new_high")}
        _add(found["f1/batch"], row, row.get("new_score"), **band, release=row.get("release"))
        _add(found["auc/batch"], row, row.get("auc"), release=row.get("release"))


def _add_files(found: dict[str, list[dict[str, Any]]], files: Iterable[Mapping[str, Any]]) -> None:
    """Sum up the files of one run: rows they brought, rows there were after them."""
    new: dict[str, int] = {}
    total: dict[str, int] = {}
    for row in files:
        at = row.get("at")
        if isinstance(at, str):
            if _is_number(row.get("rows_new")):
                new[at] = new.get(at, 0) + row["rows_new"]
            if _is_number(row.get("rows_total")):
                total[at] = max(total.get(at, 0), row["rows_total"])
    found["rows/new"] = [{"at": at, "value": count} for at, count in sorted(new.items())]
    found["rows/total"] = [{"at": at, "value": count} for at, count in sorted(total.items())]


def _by_column(rows: Iterable[Mapping[str, Any]], value: str) -> dict[str, list[dict[str, Any]]]:
    columns: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        _add(columns.setdefault(str(row.get("column_name")), []), row, row.get(value))
    return {name: points for name, points in columns.items() if points}


def _choose(columns: Mapping[str, Sequence[Mapping[str, Any]]], n: int) -> list[str]:
    """Choose the columns that moved most; those that were 0 throughout only when all were."""

    def rank(name: str) -> tuple[float, float, str]:
        values = [point["value"] for point in columns[name]]
        return -(max(values) - min(values)), -values[-1], name

    moved = [name for name, points in columns.items() if any(point["value"] for point in points)]
    return sorted(moved or columns, key=rank)[:n]


def _marks(tables: Tables) -> list[dict[str, Any]]:
    marks = [
        {"at": row["at"], "kind": row["action"], "release": row.get("release")}
        for row in tables.get("releases", ())
        if row.get("action") in ("deployed", "rollback") and isinstance(row.get("at"), str)
    ]
    marks += [
        {"at": row["at"], "kind": "alarm", "release": row.get("release")}
        for row in tables.get("drift", ())
        if row.get("drift") and isinstance(row.get("at"), str)
    ]
    return sorted(marks, key=_mark_key)


def _mark_key(mark: Mapping[str, Any]) -> tuple[str, str, str]:
    return mark["at"], mark["kind"], str(mark["release"])


# --- thinning ----------------------------------------------------------------------------------------------


def _series(panel: str, name: str, points: Iterable[dict[str, Any]], max_points: int) -> dict[str, Any]:
    ordered = sorted(points, key=lambda point: (point["at"], point["value"]))
    return {"panel": panel, "name": name, "n": len(ordered), "points": thin(ordered, max_points)}


def thin(points: Sequence[dict[str, Any]], max_points: int = MOST_POINTS) -> list[dict[str, Any]]:
    """Keep at most so many points: first, last, and the lowest and highest of equal shares between."""
    if len(points) <= max_points:
        return list(points)
    n_buckets = max((max_points - 2) // 2, 1)
    inner = range(1, len(points) - 1)
    kept = {0, len(points) - 1}
    for number in range(n_buckets):
        bucket = inner[number * len(inner) // n_buckets : (number + 1) * len(inner) // n_buckets]
        kept.add(min(bucket, key=lambda i: points[i]["value"]))
        kept.add(max(bucket, key=lambda i: points[i]["value"]))
    return [points[i] for i in sorted(kept)]


def merge(old: Mapping[str, Any], new: Mapping[str, Any], *, max_points: int = MOST_POINTS) -> Trends:
    """Continue what was known with what came later; a point that is in both counts once."""
    series: dict[str, Any] = {}
    for key in [*old["series"], *(key for key in new["series"] if key not in old["series"])]:
        parts = [trends["series"][key] for trends in (old, new) if key in trends["series"]]
        points = {(p["at"], p["value"]): p for part in parts for p in part["points"]}
        n_seen = sum(part["n"] for part in parts) - sum(len(part["points"]) for part in parts) + len(points)
        joined = _series(parts[0]["panel"], parts[0]["name"], points.values(), max_points)
        series[key] = {**joined, "n": n_seen}
    marks = {_mark_key(mark): mark for mark in [*old["marks"], *new["marks"]]}
    others = {
        panel: max(old["others"].get(panel, 0), new["others"].get(panel, 0))
        for panel in {**old["others"], **new["others"]}
    }
    return {"series": series, "others": others, "marks": [marks[key] for key in sorted(marks)]}


def cut(trends: Mapping[str, Any], since: str) -> Trends:
    """Leave out what was before a day, YYYY-MM-DD."""
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


def render_text(trends: Mapping[str, Any], *, since: str | None = None) -> str:
    """Render trends for a terminal of 80 columns: the series, then what happened when."""
    if not trends["series"] and not trends["marks"]:
        return f"nothing is known{f' since {since}' if since else ''}\n"
    lines = [f"{'trend':{NAME_WIDTH}} {'n':>6} {'first':>9} {'previous':>9} {'last':>9} {'vs first':>9}"]
    for key, told in latest(trends).items():
        values = [point["value"] for point in trends["series"][key]["points"]]
        previous = _short(values[-2]) if len(values) > 1 else "-"
        change = "-" if told["change_first"] is None else _short(told["change_first"], signed=True)
        cells = f"{told['n']:>6,} {_short(values[0]):>9} {previous:>9} {_short(told['last']):>9} {change:>9}"
        lines.append(f"{_cut(key):{NAME_WIDTH}} {cells}")
    for panel, count in trends["others"].items():
        if count:
            lines.append(f"and {count:,} more columns of {panel!r}, which moved less")
    lines += ["", *_tell_events(trends)]
    return "\n".join(lines) + "\n"


def _tell_events(trends: Mapping[str, Any]) -> list[str]:
    """Give a line to each deployment, rollback, alarm and judged batch, in order of time."""
    words = {"deployed": "deployed", "rollback": "rolled back to", "alarm": "DRIFT of"}
    events = [(m["at"], f"{words[m['kind']]} {m['release'] or 'a release'}") for m in trends["marks"]]
    for key, word in (("f1/release", "release"), ("f1/batch", "new rows")):
        for point in trends["series"].get(key, {}).get("points", ()):
            band = f" ({point['low']:.3f}-{point['high']:.3f})" if "low" in point and "high" in point else ""
            events.append((point["at"], f"F1 {point['value']:.3f}{band} of {word}"))
    return [f"{at[:19].replace('T', ' ')}  {said}" for at, said in sorted(events)]


def _short(value: float, *, signed: bool = False) -> str:
    sign = "+" if signed else ""
    if isinstance(value, int) and abs(value) < 10_000_000:
        return f"{value:{sign},}"
    return f"{value:{sign}.4g}"


def _cut(name: str) -> str:
    shown = "".join(sign if sign.isprintable() else "?" for sign in name)
    return shown if len(shown) <= NAME_WIDTH else shown[: NAME_WIDTH - 1] + "…"
