"""What happened before: a history in SQL that outlives every file.

Times are UTC text, floats are doubles, what is not finite is NULL; see `entries`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from risk.errors import ServiceError
from risk.history import connections, migrations, tables, trends

CHUNK_ROWS = 1_000
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
TIMED = ("ingestion", "training")
Rows = Mapping[str, Sequence[Mapping[str, Any]]]


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
    if connections.is_missing_file(url):
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


class History:
    """An open history; rows written through it stand or fall together."""

    def __init__(self, connection: sa.Connection) -> None:
        self.connection = connection

    def add(self, rows: Rows, at: str) -> None:
        """Write rows by table name; what is there already stays as it is."""
        for name, listed in rows.items():
            table = migrations.METADATA.tables[name]
            values = tables.complete(name, listed, at)
            for start in range(0, len(values), CHUNK_ROWS):
                self.connection.execute(self._insert(table), values[start : start + CHUNK_ROWS])

    def _insert(self, table: sa.Table) -> sa.Insert:
        dialect = self.connection.dialect.name  # to import all of them takes longer than a small record
        if dialect == "mysql":  # INSERT IGNORE would hide more than repeats
            from sqlalchemy.dialects import mysql

            return mysql.insert(table).on_duplicate_key_update(id=table.c.id)
        if dialect == "postgresql":
            from sqlalchemy.dialects import postgresql

            return postgresql.insert(table).on_conflict_do_nothing(index_elements=["id"])
        from sqlalchemy.dialects import sqlite

        return sqlite.insert(table).on_conflict_do_nothing(index_elements=["id"])

    def latest_timings(self) -> dict[str, dict[str, Any] | None]:
        """Return the last recorded run of ingestion and training, and how many there were."""
        timings = migrations.TIMINGS.c
        result: dict[str, dict[str, Any] | None] = {}
        for stage in TIMED:
            mine = timings.stage == stage
            asked = sa.select(timings.duration_s, timings.at).where(mine).order_by(timings.at.desc()).limit(1)
            row = self.connection.execute(asked).first()
            count = self.connection.scalar(sa.select(sa.func.count()).where(mine))
            result[stage] = row and {"duration_s": row.duration_s, "n_runs": count, "at": row.at}
        return result

    def trend_rows(self) -> tuple[dict[str, list[dict[str, Any]]], dict[str, int]]:
        """Return what trends are made of, oldest first, and how many columns were left out, by table.

        Of a table with a row for each column those are read that moved most: all of a wide one would
        take longer than a tick has.
        """
        found, left_out = {}, {}
        for name, columns in TREND_TABLES.items():
            table = migrations.METADATA.tables[name].c
            asked = sa.select(*(table[column] for column in columns)).order_by(table.at, table.id)
            if name == "timings":
                asked = asked.where(table.stage.in_(TIMED))
            if "column_name" in columns:
                ranges = self._ranges(table.column_name, table[columns[-1]])
                chosen = trends.choose_columns(ranges, trends.MOST_COLUMNS)
                left_out[name] = len(ranges) - len(chosen)
                asked = asked.where(self._exact(table.column_name).in_(chosen))
            found[name] = [dict(row) for row in self.connection.execute(asked).mappings()]
        return found, left_out

    def _ranges(self, name: sa.Column[str], value: sa.Column[float]) -> dict[str, tuple[float, float]]:
        """Give the lowest and the highest value of each column of the table."""
        exact = self._exact(name).label("name")
        asked = sa.select(exact, sa.func.min(value), sa.func.max(value)).where(value.is_not(None))
        return {row[0]: (row[1], row[2]) for row in self.connection.execute(asked.group_by("name"))}

    def _exact(self, name: sa.Column[str]) -> sa.ColumnElement[str]:
        """Let letters differ in case and accents, which the collation of MySQL passes over."""
        return sa.collate(name, "utf8mb4_bin") if self.connection.dialect.name == "mysql" else name

    def prune(self, before: str) -> int:
        """Delete detail older than a moment; scores, verdicts and releases stay. Return how many rows.

        Of much that is too old the oldest goes, so that it fits the time of a tick; the next call goes on.
        """
        n_rows = 0
        for table in migrations.DETAIL:
            at = table.c.at
            old = sa.select(at).where(at < before).order_by(at)
            last = self.connection.scalar(old.offset(tables.PRUNED_AT_ONCE - 1).limit(1))
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
