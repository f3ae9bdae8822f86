"""The history as far as it is known: what the database has, and the records that wait for it.

Standard library only, pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from risk.history import trends
from risk.history.outbox import Rows

TIMED_STAGES = ("ingestion", "training")


class KnownHistory(NamedTuple):
    """Timings of the last real runs and trends, known up to the moment `until`."""

    timings: Mapping[str, Any]
    trends: Mapping[str, Any]
    until: str | None

    @classmethod
    def from_database(
        cls, timings: Mapping[str, Any], rows: Rows, left_out: Mapping[str, int]
    ) -> KnownHistory:
        """Build what the database says; `rows` and `left_out` are those of `History.trend_rows`."""
        return cls(timings, trends.build(rows, left_out=left_out), find_last_moment(rows))

    @classmethod
    def from_artifacts(
        cls, diagnostics: Mapping[str, Any], known_trends: Mapping[str, Any] | None
    ) -> KnownHistory:
        """Take up what the last diagnostics knew, for a database that does not answer."""
        until = diagnostics.get("history", {}).get("until")
        return cls(diagnostics.get("timings", {}), known_trends or trends.build({}), until)

    def add(self, rows: Rows) -> KnownHistory:
        """Add rows that wait for the database, by table, in order of time."""
        timings = add_timings(self.timings, rows.get("timings", []))
        if not rows:
            return self._replace(timings=timings)
        merged = trends.merge(self.trends, trends.build(rows, max_columns=None))
        until = max(filter(None, [self.until, find_last_moment(rows)]), default=None)
        return KnownHistory(timings, merged, until)


def select_rows(
    waiting: Sequence[tuple[Rows, str]], after: str | None = None
) -> dict[str, list[dict[str, Any]]]:
    """Select the waiting rows, by table, that came after a moment; all of them without one."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for tables, at in waiting:
        for name, listed in tables.items() if after is None or at > after else ():
            rows.setdefault(name, []).extend({"at": at, **row} for row in listed)
    return rows


def find_last_moment(rows: Rows) -> str | None:
    """Find the latest moment of some rows."""
    return max((row["at"] for listed in rows.values() for row in listed), default=None)


def add_timings(
    known: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> dict[str, dict[str, Any] | None]:
    """Add the timings of further runs to those of the last ones."""
    timings: dict[str, dict[str, Any] | None] = {}
    for name in TIMED_STAGES:
        timings[name] = known.get(name)
        runs = [row for row in rows if row["stage"] == name]
        if runs:
            n_runs = len(runs) + (known[name]["n_runs"] if known.get(name) else 0)
            timings[name] = {"duration_s": runs[-1]["duration_s"], "n_runs": n_runs, "at": runs[-1]["at"]}
    return timings
