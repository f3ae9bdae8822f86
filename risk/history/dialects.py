"""The databases a history can live in, and all that differs between them.

`DIALECTS` is the registry. Reading names, schemes and checks takes the standard library only; a method that
talks to a database imports SQLAlchemy or the driver itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import SplitResult

from risk import timeouts
from risk.errors import ServiceError

if TYPE_CHECKING:
    import sqlalchemy as sa

LOCK_NAME, LOCK_NUMBER = "dynamic_risk_history", 7_241_966


class Dialect:
    """One kind of database: what the others inherit is what most databases do alike.

    Attributes
    ----------
    name : str
        As SQLAlchemy calls it.
    driver : str
        SQLAlchemy's name of database and driver.
    schemes : tuple of str
        How a URL of this database may begin, the short name first.
    requirements : str
        The file that lists its driver; empty where Python brings it.
    example : str
        A URL for people to write theirs like.
    max_columns : int
        How many columns a table may have.
    table_options, history_options, dataset_options : mapping
        Options of SQLAlchemy for a new table: any, one of the history, a copy of the dataset.
    place : str
        What its URLs name, in words.
    set_up : tuple of str
        Statements that each new connection begins with.
    """

    name: str
    driver: str
    schemes: tuple[str, ...]
    requirements: str
    example: str
    max_columns: int
    table_options: ClassVar[Mapping[str, Any]] = {}
    history_options: ClassVar[Mapping[str, Any]] = {}
    dataset_options: ClassVar[Mapping[str, Any]] = {}
    place = "the database"
    set_up: tuple[str, ...] = ()

    def names_database(self, parts: SplitResult) -> bool:
        """Check that a URL names a database."""
        return bool(parts.path.strip("/"))

    def resolve(self, url: str, root: Path) -> str:
        """Take a relative path in a URL from the folder of config.json."""
        return url

    def is_missing(self, database: str | None) -> bool:
        """Check for a database that opening would create: looking must not create it."""
        return False

    def connect_arguments(self) -> dict[str, Any]:
        """List what the driver is told when it connects."""
        return {"connect_timeout": int(timeouts.BUDGET_S)}

    def prepare(self, engine: sa.Engine, *, reads: bool) -> None:
        """Set up the connections of an engine; with `reads` they see one moment."""
        import sqlalchemy as sa

        # Writers look again after waiting for a lock, and must see what the other has written.
        engine.update_execution_options(isolation_level="REPEATABLE READ" if reads else "READ COMMITTED")
        sa.event.listen(engine, "connect", lambda connection, _: execute(connection, self.set_up))

    def text_type(self) -> Any:
        """Choose a column type for texts of any length."""
        import sqlalchemy as sa

        return sa.Text()

    def compare_exactly(self, column: sa.Column[str]) -> sa.ColumnElement[str]:
        """Let letters differ in case and accents."""
        return column

    def insert_new(self, table: sa.Table) -> sa.Insert:
        """Insert rows whose `id` is not there yet."""
        raise NotImplementedError

    def insert_rows(self, connection: sa.Connection, table: sa.Table, rows: Sequence[Sequence[Any]]) -> None:
        """Insert many rows, with a value for every column."""
        import sqlalchemy as sa

        keys = table.columns.keys()
        connection.execute(sa.insert(table), [dict(zip(keys, row, strict=True)) for row in rows])

    @contextmanager
    def exclusive(self, connection: sa.Connection, shown: str) -> Iterator[None]:
        """Let one process at a time change the tables."""
        yield

    def rename_tables(self, connection: sa.Connection, pairs: Sequence[tuple[str, str]]) -> None:
        """Rename tables, in this order."""
        quote = connection.dialect.identifier_preparer.quote
        for old, new in pairs:
            connection.exec_driver_sql(f"alter table {quote(old)} rename to {quote(new)}")


class SQLite(Dialect):
    """A file beside config.json; needs nothing."""

    name = "sqlite"
    driver = "sqlite"
    schemes = ("sqlite",)
    requirements = ""
    example = "sqlite:///records.db"
    max_columns = 2_000
    place = "the file"

    def names_database(self, parts: SplitResult) -> bool:
        return super().names_database(parts) and not parts.netloc and ":memory:" not in parts.path

    def resolve(self, url: str, root: Path) -> str:
        prefix = "sqlite:///"
        if url.startswith(prefix) and not url.startswith(prefix + "/"):
            return f"{prefix}{root / url.removeprefix(prefix)}"
        return url

    def is_missing(self, database: str | None) -> bool:
        return not Path(database or "").is_file()

    def connect_arguments(self) -> dict[str, Any]:
        return {"timeout": timeouts.BUDGET_S}

    def prepare(self, engine: sa.Engine, *, reads: bool) -> None:
        import sqlalchemy as sa

        def connect(connection: Any, _: object) -> None:
            connection.isolation_level = None
            if not reads:
                execute(connection, ("pragma journal_mode = wal", "pragma synchronous = full"))

        # Python's own BEGIN comes late and not before DDL; IMMEDIATE waits for its turn at the start,
        # so that one process at a time changes the tables, too.
        begin = "begin" if reads else "begin immediate"
        sa.event.listen(engine, "connect", connect)
        sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))

    def insert_new(self, table: sa.Table) -> sa.Insert:
        from sqlalchemy.dialects import sqlite

        return sqlite.insert(table).on_conflict_do_nothing(index_elements=["id"])


class MySQL(Dialect):
    """MySQL and MariaDB."""

    name = "mysql"
    driver = "mysql+mysqlconnector"
    schemes = ("mysql", "mysql+mysqlconnector", "mariadb", "mariadb+mysqlconnector")
    requirements = "requirements-mysql.txt"
    example = "mysql://user@host/name"
    max_columns = 1_017
    table_options: ClassVar[Mapping[str, Any]] = {"mysql_charset": "utf8mb4", "mysql_engine": "InnoDB"}
    history_options: ClassVar[Mapping[str, Any]] = {**table_options, "mysql_collate": "utf8mb4_unicode_ci"}
    dataset_options: ClassVar[Mapping[str, Any]] = {**table_options, "mysql_row_format": "DYNAMIC"}
    set_up = (
        "set session sql_mode = concat(@@sql_mode, ',STRICT_ALL_TABLES')",
        f"set session innodb_lock_wait_timeout = {timeouts.BUDGET_S:.0f}",
        f"set session lock_wait_timeout = {timeouts.BUDGET_S:.0f}",
    )

    def connect_arguments(self) -> dict[str, Any]:
        # Both: an old connector asks for a collation that MariaDB does not know.
        return {
            "connection_timeout": int(timeouts.BUDGET_S),
            "charset": "utf8mb4",
            "collation": "utf8mb4_unicode_ci",
        }

    def text_type(self) -> Any:
        from sqlalchemy.dialects import mysql

        return mysql.MEDIUMTEXT()

    def compare_exactly(self, column: sa.Column[str]) -> sa.ColumnElement[str]:
        import sqlalchemy as sa

        return sa.collate(column, "utf8mb4_bin")

    def insert_new(self, table: sa.Table) -> sa.Insert:
        from sqlalchemy.dialects import mysql

        # INSERT IGNORE would hide more than repeats.
        return mysql.insert(table).on_duplicate_key_update(id=table.c.id)

    @contextmanager
    def exclusive(self, connection: sa.Connection, shown: str) -> Iterator[None]:
        import sqlalchemy as sa

        lock = {"name": LOCK_NAME, "wait": timeouts.BUDGET_S}
        if not connection.scalar(sa.text("select get_lock(:name, :wait)"), lock):
            raise ServiceError(f"{shown}: another process is changing the tables of the history")
        try:
            yield
            connection.exec_driver_sql("commit")  # DDL has ended the transaction anyway; show the rest too
        finally:
            connection.execute(sa.text("select release_lock(:name)"), lock)

    def rename_tables(self, connection: sa.Connection, pairs: Sequence[tuple[str, str]]) -> None:
        # No transaction around DDL, but one statement for all.
        quote = connection.dialect.identifier_preparer.quote
        renamed = ", ".join(f"{quote(old)} to {quote(new)}" for old, new in pairs)
        connection.exec_driver_sql(f"rename table {renamed}")


class PostgreSQL(Dialect):
    """PostgreSQL."""

    name = "postgresql"
    driver = "postgresql+psycopg"
    schemes = ("postgresql", "postgresql+psycopg")
    requirements = "requirements-postgres.txt"
    example = "postgresql://user@host/name"
    max_columns = 1_600
    set_up = (f"set lock_timeout = '{timeouts.BUDGET_S:.0f}s'",)

    def insert_new(self, table: sa.Table) -> sa.Insert:
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table).on_conflict_do_nothing(index_elements=["id"])

    def insert_rows(self, connection: sa.Connection, table: sa.Table, rows: Sequence[Sequence[Any]]) -> None:
        from psycopg import sql

        names = sql.SQL(", ").join(sql.Identifier(column.name) for column in table.columns)
        statement = sql.SQL("copy {} ({}) from stdin").format(sql.Identifier(str(table.name)), names)
        cursor: Any = connection.connection.cursor()
        with cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(row)
        cursor.close()

    @contextmanager
    def exclusive(self, connection: sa.Connection, shown: str) -> Iterator[None]:
        import sqlalchemy as sa

        connection.execute(sa.text("select pg_advisory_xact_lock(:key)"), {"key": LOCK_NUMBER})
        yield


def execute(connection: Any, statements: Sequence[str]) -> None:
    """Run statements on a connection of a driver."""
    cursor = connection.cursor()
    for statement in statements:
        cursor.execute(statement)
        if cursor.description:
            cursor.fetchall()
    cursor.close()
    connection.commit()


DIALECTS: dict[str, Dialect] = {dialect.name: dialect for dialect in (SQLite(), MySQL(), PostgreSQL())}
SCHEMES: dict[str, Dialect] = {scheme: dialect for dialect in DIALECTS.values() for scheme in dialect.schemes}
EXAMPLES = ", ".join(dialect.example for dialect in DIALECTS.values())
