"""Which tables does the history have, and how does an older one become this one?

A step from one version to the next looks before it changes anything: MySQL has no transaction around
DDL, so a step that was cut off is simply taken again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from risk import timeouts
from risk.errors import ServiceError
from risk.history import tables
from risk.history.tables import BigInteger, Kind

LOCK_NAME, LOCK_NUMBER = "dynamic_risk_history", 7_241_966
TYPES = {int: sa.Integer, BigInteger: sa.BigInteger, float: sa.Double, bool: sa.Boolean}
MYSQL: dict[str, Any] = {
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_unicode_ci",
    "mysql_engine": "InnoDB",
}
METADATA = sa.MetaData()
SCHEMA_VERSION = sa.Table(
    "schema_version", METADATA, sa.Column("version", sa.Integer, primary_key=True, autoincrement=False)
)


def _table(name: str) -> sa.Table:
    listed = [sa.Column(column, _type(kind)) for column, kind in tables.TABLES[name].items()]
    return sa.Table(
        name,
        METADATA,
        sa.Column("id", sa.String(tables.DIGEST), primary_key=True),
        sa.Column("at", sa.String(tables.TIME), nullable=False, index=True),
        *listed,
    )


def _type(kind: Kind) -> Any:
    """Give the type of a column of a kind."""
    return TYPES[kind] if isinstance(kind, type) else sa.String(kind)


TICKS = _table("ticks")
INGESTED_FILES = _table("ingested_files")
SCORES = _table("scores")
TIMINGS = _table("timings")
MISSING_VALUES = _table("missing_values")
DRIFT = _table("drift")
COLUMN_DRIFT = _table("column_drift")
GATES = _table("gates")
ESTIMATES = _table("estimates")
CLIENT_LISTS = _table("client_lists")
RELEASES = _table("releases")
# What `keep_days` prunes; scores, verdicts and releases stay for ever.
DETAIL = (TICKS, INGESTED_FILES, TIMINGS, MISSING_VALUES, COLUMN_DRIFT)


@dataclass(frozen=True)
class Standing:
    """Which version a database has (None: no history there), and what brings it to this one."""

    version: int | None
    steps: tuple[str, ...]


NOTHING = Standing(None, ("create the tables",))


def look(connection: sa.Connection) -> Standing:
    """Say how a database stands; changes nothing."""
    inspector = sa.inspect(connection)
    version = None
    if inspector.has_table(SCHEMA_VERSION.name):
        version = connection.scalar(sa.select(sa.func.max(SCHEMA_VERSION.c.version)))
    if version is None:
        return NOTHING
    return Standing(version, tuple(told for number, (told, _) in STEPS.items() if number > version))


def ensure(connection: sa.Connection, shown: str) -> Standing:
    """Create or upgrade the tables; return how it stood before.

    Raises
    ------
    ServiceError
        When a newer program has been here.
    """
    before = look(connection)
    if before.version == tables.VERSION:
        return before
    refuse_newer(before, shown)
    if (
        connection.dialect.name == "mysql"
    ):  # said here: to every other run it would cost the import of a dialect
        for table in METADATA.tables.values():
            table.dialect_kwargs.update(MYSQL)
    with _alone(connection, shown):
        now = look(connection)  # another process may have been faster
        for number, (_, step) in STEPS.items():
            if now.version is not None and number > now.version:
                step(connection)
        METADATA.create_all(connection)
        if now.version != tables.VERSION:
            connection.execute(sa.insert(SCHEMA_VERSION), {"version": tables.VERSION})
    return before


def refuse_newer(standing: Standing, shown: str) -> None:
    """Refuse a history that a newer program has written.

    Raises
    ------
    ServiceError
    """
    if standing.version is not None and standing.version > tables.VERSION:
        raise ServiceError(
            f"{shown}: the history has schema version {standing.version}, this program knows "
            f"{tables.VERSION}; use the program that wrote it, or name another database_url"
        )


@contextmanager
def _alone(connection: sa.Connection, shown: str) -> Iterator[None]:
    """Let one process at a time change the tables."""
    dialect = connection.dialect.name
    if dialect == "postgresql":
        connection.execute(sa.text("select pg_advisory_xact_lock(:key)"), {"key": LOCK_NUMBER})
        yield
    elif dialect == "mysql":
        name = {"name": LOCK_NAME, "wait": timeouts.BUDGET_S}
        if not connection.scalar(sa.text("select get_lock(:name, :wait)"), name):
            raise ServiceError(f"{shown}: another process is changing the tables of the history")
        try:
            yield
            connection.exec_driver_sql("commit")  # DDL has ended the transaction anyway; show the rest too
        finally:
            connection.execute(sa.text("select release_lock(:name)"), name)
    else:  # SQLite: BEGIN IMMEDIATE has seen to it
        yield


def _add_column(connection: sa.Connection, column: sa.Column[Any]) -> None:
    known = {found["name"] for found in sa.inspect(connection).get_columns(column.table.name)}
    if column.name not in known:
        quote = connection.dialect.identifier_preparer.quote
        definition = sa.schema.CreateColumn(column).compile(dialect=connection.dialect)
        connection.execute(sa.text(f"alter table {quote(column.table.name)} add column {definition}"))


def _to_version_2(connection: sa.Connection) -> None:
    _add_column(connection, INGESTED_FILES.c.rows_total)
    _add_column(connection, RELEASES.c.model_sha256)
    COLUMN_DRIFT.create(connection, checkfirst=True)
    _fill_rows_total(connection)


def _fill_rows_total(connection: sa.Connection) -> None:
    """Count up, source by source, how many rows there were after each file."""
    files = INGESTED_FILES.c
    asked = sa.select(files.id, files.source, files.rows_new).order_by(files.at, files.batch, files.name)
    totals: dict[str | None, int] = {}
    filled = []
    for row in connection.execute(asked):
        totals[row.source] = totals.get(row.source, 0) + (row.rows_new or 0)
        filled.append({"which": row.id, "total": totals[row.source]})
    if filled:
        change = (
            sa.update(INGESTED_FILES)
            .where(files.id == sa.bindparam("which"))
            .values(rows_total=sa.bindparam("total"))
        )
        connection.execute(change, filled)


def _to_version_3(connection: sa.Connection) -> None:
    for table in (TICKS, DRIFT, COLUMN_DRIFT):
        for column in table.columns:
            _add_column(connection, column)
    for table in (GATES, ESTIMATES):
        table.create(connection, checkfirst=True)


def _to_version_4(connection: sa.Connection) -> None:
    CLIENT_LISTS.create(connection, checkfirst=True)


STEPS: dict[int, tuple[str, Callable[[sa.Connection], None]]] = {
    2: ("add rows_total to ingested_files, model_sha256 to releases, the table column_drift", _to_version_2),
    3: ("add the evidence to drift and column_drift, gate to ticks, tables gates, estimates", _to_version_3),
    4: ("add the table client_lists", _to_version_4),
}
