"""The tables of the history in SQLAlchemy's terms, and upgrades of earlier versions.

An upgrade looks before it changes anything: MySQL has no transaction around DDL, so one that was cut off
is simply taken again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from risk.errors import ServiceError
from risk.history import tables
from risk.history.connections import dialect_of
from risk.history.tables import BigInteger, Kind

TYPES = {int: sa.Integer, BigInteger: sa.BigInteger, float: sa.Double, bool: sa.Boolean}
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


for _name in tables.TABLES:
    _table(_name)


@dataclass(frozen=True)
class SchemaState:
    """Which version a database has (None: no history there), and what brings it to this one."""

    version: int | None
    steps: tuple[str, ...]


NOTHING = SchemaState(None, ("create the tables",))


def look(connection: sa.Connection) -> SchemaState:
    """Read the version of a database; changes nothing."""
    inspector = sa.inspect(connection)
    version = None
    if inspector.has_table(SCHEMA_VERSION.name):
        version = connection.scalar(sa.select(sa.func.max(SCHEMA_VERSION.c.version)))
    if version is None:
        return NOTHING
    return SchemaState(version, tuple(text for number, text in tables.CHANGES.items() if number > version))


def ensure(connection: sa.Connection, shown: str) -> SchemaState:
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
    dialect = dialect_of(connection)
    for table in METADATA.tables.values():
        table.dialect_kwargs.update(dialect.history_options)
    with dialect.exclusive(connection, shown):
        now = look(connection)  # another process may have been faster
        if now.version is not None and now.version < tables.VERSION:
            _add_columns(connection)
        if now.version == 1:
            _fill_rows_total(connection)
        METADATA.create_all(connection)
        if now.version != tables.VERSION:
            connection.execute(sa.insert(SCHEMA_VERSION), {"version": tables.VERSION})
    return before


def refuse_newer(state: SchemaState, shown: str) -> None:
    """Refuse a history that a newer program has written.

    Raises
    ------
    ServiceError
    """
    if state.version is not None and state.version > tables.VERSION:
        raise ServiceError(
            f"{shown}: the history has schema version {state.version}, this program knows "
            f"{tables.VERSION}; use the program that wrote it, or name another database_url"
        )


def _add_columns(connection: sa.Connection) -> None:
    """Add the columns that the tables of an earlier version lack."""
    inspector = sa.inspect(connection)
    quote = connection.dialect.identifier_preparer.quote
    for table in METADATA.sorted_tables:
        if not inspector.has_table(table.name):
            continue
        present = {column["name"] for column in inspector.get_columns(table.name)}
        for column in table.columns:
            if column.name not in present:
                definition = sa.schema.CreateColumn(column).compile(dialect=connection.dialect)
                connection.execute(sa.text(f"alter table {quote(table.name)} add column {definition}"))


def _fill_rows_total(connection: sa.Connection) -> None:
    """Count up, source by source, how many rows there were after each file: version 1 did not say."""
    table = METADATA.tables["ingested_files"]
    files = table.c
    asked = sa.select(files.id, files.source, files.rows_new).order_by(files.at, files.batch, files.name)
    totals: dict[str | None, int] = {}
    filled = []
    for row in connection.execute(asked):
        totals[row.source] = totals.get(row.source, 0) + (row.rows_new or 0)
        filled.append({"which": row.id, "total": totals[row.source]})
    if filled:
        change = sa.update(table).where(files.id == sa.bindparam("which"))
        connection.execute(change.values(rows_total=sa.bindparam("total")), filled)
