"""How do records reach an SQLite history that stands already, without SQLAlchemy?

Every script leaves a few rows there, and to load SQLAlchemy takes longer than most scripts take to work. What
is not there yet, of another version, or asked for by options of the URL, is left to `records`. Standard
library only; a test holds the two together.
"""

from __future__ import annotations

import os.path
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from risk import timeouts
from risk.errors import ServiceError
from risk.history import outbox, tables
from risk.history.outbox import Rows
from risk.history.tables import Kind

PREFIX = "sqlite:///"


def path_of(url: str) -> Path | None:
    """Give the file that a URL names and nothing else; None for every other URL."""
    name = url.removeprefix(PREFIX)
    odd = not url.startswith(PREFIX) or {*"?%"} & {*name} or name.startswith((":", "file:"))
    return None if odd or not name else Path(name)


def is_there(url: str) -> bool:
    """Say whether a URL names a file that is there, and may be looked at."""
    path = path_of(url)
    return path is not None and os.path.isfile(path)  # noqa: PTH113  (a Path's own raises where it may not look)


@contextmanager
def open(url: str) -> Iterator[History | None]:
    """Open the history in one transaction; None where only `records` can.

    Raises
    ------
    ServiceError
        When the file cannot be used, or another holds it for too long.
    """
    path = path_of(url)
    if path is not None and is_there(url):
        try:
            with closing(
                sqlite3.connect(path, timeout=timeouts.BUDGET_S, isolation_level=None)
            ) as connection:
                connection.execute("pragma journal_mode = wal")
                connection.execute("pragma synchronous = full")
                connection.execute("begin immediate")  # waits for its turn at the start
                if _version(connection) == tables.VERSION:
                    yield History(connection)
                    connection.execute("commit")  # closing alone rolls back
                    return
        except sqlite3.Error as error:
            raise ServiceError(f"{url}: the database cannot be used ({error})") from error
    yield None


def _version(connection: sqlite3.Connection) -> int | None:
    named = connection.execute("select 1 from sqlite_master where name = 'schema_version'").fetchone()
    return connection.execute("select max(version) from schema_version").fetchone()[0] if named else None


class History:
    """An open history; rows written through it stand or fall together. As `records.History`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def add(self, rows: Rows, at: str) -> None:
        """Write rows by table name; what is there already stays as it is."""
        for name, listed in rows.items():
            values = [_bind(name, row) for row in tables.complete(name, listed, at)]
            columns = ("id", "at", *tables.TABLES[name])
            what, places = ", ".join(columns), ", ".join("?" * len(columns))
            insert = f"insert into {name} ({what}) values ({places}) on conflict (id) do nothing"
            self.connection.executemany(insert, values)

    def prune(self, before: str) -> int:
        """Delete detail older than a moment, of much the oldest; return how many rows."""
        n_rows = 0
        for name in outbox.DETAIL:
            last = f"select at from {name} where at < :before order by at limit 1 offset :n"
            gone = f"delete from {name} where at < :before and at <= coalesce(({last}), :before)"
            named = {"before": before, "n": tables.PRUNED_AT_ONCE - 1}
            n_rows += self.connection.execute(gone, named).rowcount
        return n_rows


def _bind(name: str, row: Mapping[str, Any]) -> Sequence[Any]:
    kinds = tables.TABLES[name].items()
    return [row["id"], row["at"], *(_as(kind, row[column]) for column, kind in kinds)]


def _as(kind: Kind, value: Any) -> Any:
    """Make a value of a column's kind, which SQLite itself does not insist on; None is none."""
    if value is None:
        return None
    if kind is float:
        return float(value)
    if kind is bool and value not in (True, False):
        raise ValueError(f"{value!r} is neither true nor false")
    return value
