"""The history in SQL, which outlives every file: writing and reading it.

Times are UTC text, floats are doubles, what is not finite is NULL; see `tables`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from risk.errors import ServiceError
from risk.history import connections, migrations, outbox, pending, tables, trends
from risk.history.connections import dialect_of
from risk.history.outbox import Rows

CHUNK_ROWS = 1_000
MOST_POINTS = 10_000  # of a series that a person asks for
TREND_TABLES = {
    "ingested_files": ("at", "rows_new", "rows_total"),
    "timings": ("at", "stage", "duration_s"),
    "missing_values": ("at", "column_name", "percent"),
    "column_drift": ("at", "column_name", "psi"),
    "scores": ("at", "data", "model_sha256", "f1", "f1_low", "f1_high", "auc"),
    "releases": ("at", "release", "action", "score", "model_sha256"),
    "client_lists": ("at", "release", "n_at_risk"),
    "estimates": (
        *("at", "release", "f1", "f1_low", "f1_high", "auc", "auc_low", "auc_high"),
        *("n_labelled", "realised_f1", "realised_auc"),
    ),
    "drift": ("at", "release", "drift", "new_score", "new_low", "new_high", "auc", "auc_low", "auc_high"),
}


@contextmanager
def open(url: str) -> Iterator[History]:
    """Open the history in one transaction, and make or upgrade its tables where needed.

    Raises
    ------
    ServiceError
        When the database does not answer or refuses; the text holds no password.
    """
    with connections.connect(url) as connection:
        migrations.ensure(connection, connections.show(url))
        yield History(connection)


@contextmanager
def read(url: str) -> Iterator[History]:
    """Open the history as it is at one moment; nothing is written, nothing created.

    Raises
    ------
    ServiceError
        Also when there is no history of this version.
    """
    if connections.is_missing(url):
        raise ServiceError(
            f"{connections.show(url)}: there is no history yet; it begins with the first stage"
        )
    with connections.connect(url, reads=True) as connection:
        standing = migrations.look(connection)
        migrations.refuse_newer(standing, connections.show(url))
        if standing.steps:
            raise ServiceError(
                f"{connections.show(url)}: the history has schema version {standing.version}, this program's "
                f"is {tables.VERSION}; run dbsetup.py"
            )
        yield History(connection)


def read_trends(url: str, since: str | None = None) -> dict[str, Any]:
    """Read the trends of the history, from a day (YYYY-MM-DD) on, in more points than a report draws."""
    with read(url) as history:
        rows, left_out = history.trend_rows()
    built = trends.build(rows, left_out=left_out, max_points=MOST_POINTS)
    return trends.cut(built, since) if since else built


class History:
    """An open history; rows written through it stand or fall together."""

    def __init__(self, connection: sa.Connection) -> None:
        self.connection = connection

    def add(self, rows: Rows, at: str) -> None:
        """Write rows by table name; what is there already stays as it is."""
        for name, listed in rows.items():
            insert = dialect_of(self.connection).insert_new(migrations.METADATA.tables[name])
            values = tables.complete(name, listed, at)
            for start in range(0, len(values), CHUNK_ROWS):
                self.connection.execute(insert, values[start : start + CHUNK_ROWS])

    def latest_timings(self) -> dict[str, dict[str, Any] | None]:
        """Return the last recorded run of ingestion and training, and how many there were."""
        timings = migrations.METADATA.tables["timings"].c
        result: dict[str, dict[str, Any] | None] = {}
        for stage in pending.TIMED_STAGES:
            mine = timings.stage == stage
            asked = sa.select(timings.duration_s, timings.at).where(mine).order_by(timings.at.desc()).limit(1)
            row = self.connection.execute(asked).first()
            count = self.connection.scalar(sa.select(sa.func.count()).where(mine))
            result[stage] = row and {"duration_s": row.duration_s, "n_runs": count, "at": row.at}
        return result

    def trend_rows(self) -> tuple[dict[str, list[dict[str, Any]]], dict[str, int]]:
        """Return what trends are made of, oldest first, and how many columns were left out, by table.

        Of a table with a row for each column those are read that changed most: all of a wide one would
        take longer than a run has.
        """
        rows, left_out = {}, {}
        exact = dialect_of(self.connection).compare_exactly
        for name, columns in TREND_TABLES.items():
            table = migrations.METADATA.tables[name].c
            asked = sa.select(*(table[column] for column in columns)).order_by(table.at, table.id)
            if name == "timings":
                asked = asked.where(table.stage.in_(pending.TIMED_STAGES))
            if "column_name" in columns:
                ranges = self._ranges(table.column_name, table[columns[-1]])
                chosen = trends.choose_columns(ranges, trends.MOST_COLUMNS)
                left_out[name] = len(ranges) - len(chosen)
                asked = asked.where(exact(table.column_name).in_(chosen))
            rows[name] = [dict(row) for row in self.connection.execute(asked).mappings()]
        return rows, left_out

    def _ranges(self, name: sa.Column[str], value: sa.Column[float]) -> dict[str, tuple[float, float]]:
        """Give the lowest and the highest value of each column of the table."""
        exact = dialect_of(self.connection).compare_exactly(name).label("name")
        asked = sa.select(exact, sa.func.min(value), sa.func.max(value)).where(value.is_not(None))
        return {row[0]: (row[1], row[2]) for row in self.connection.execute(asked.group_by("name"))}

    def prune(self, before: str, *, at_once: int = tables.PRUNED_AT_ONCE) -> int:
        """Delete detail older than a moment; scores, verdicts and releases stay. Return how many rows.

        At most about `at_once` rows of a table go, the oldest, so that it fits the time of a run; the next
        call goes on.
        """
        n_rows = 0
        for name in outbox.DETAIL:
            table = migrations.METADATA.tables[name]
            at = table.c.at
            old = sa.select(at).where(at < before).order_by(at)
            last = self.connection.scalar(old.offset(at_once - 1).limit(1))
            gone = at < before if last is None else at <= last
            n_rows += self.connection.execute(sa.delete(table).where(gone)).rowcount
        return n_rows

    def tables(self) -> Iterator[tuple[str, list[str], Iterator[Sequence[Any]]]]:
        """Give every table: its name, its columns, its rows by key."""
        for table in migrations.METADATA.sorted_tables:
            rows = self.connection.execution_options(yield_per=CHUNK_ROWS).execute(
                sa.select(table).order_by(*table.primary_key.columns)
            )
            yield table.name, list(table.columns.keys()), iter(rows)
