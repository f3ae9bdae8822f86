"""How is a database reached: SQLite, MySQL/MariaDB, PostgreSQL, each with its traps disarmed.

An engine never outlives its use, waits for a bounded time, and its errors name no password.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from risk import timeouts
from risk.errors import ServiceError

DRIVERS = {
    "sqlite": "sqlite",
    "mysql": "mysql+mysqlconnector",
    "mariadb": "mysql+mysqlconnector",
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
}
PACKAGES = {"mysql": "requirements-mysql.txt", "postgresql": "requirements-postgres.txt"}


def make_url(url: str) -> sa.URL:
    """Read a URL and name the driver that this project uses for its kind of database."""
    parsed = sa.make_url(url)
    return parsed.set(drivername=DRIVERS.get(parsed.get_backend_name(), parsed.drivername))


def show(url: str) -> str:
    """Name a database without its password and without options, which may hold secrets too."""
    return make_url(url).set(query={}).render_as_string(hide_password=True)


@contextmanager
def connect(url: str, *, reads: bool = False) -> Iterator[sa.Connection]:
    """Open one transaction; with `reads` one that sees a single moment and writes nothing.

    Raises
    ------
    ServiceError
        When the database does not answer, refuses, or is not what it should be.
    """
    with opened(url, reads=reads) as engine, engine.begin() as connection:
        yield connection


@contextmanager
def opened(url: str, *, reads: bool = False) -> Iterator[sa.Engine]:
    """Make an engine for the time of the block; what its driver raises ends as ServiceError."""
    parsed = make_url(url)
    try:
        engine = sa.create_engine(
            parsed, connect_args=_arguments(parsed), poolclass=sa.NullPool, hide_parameters=True
        )
    except ImportError as error:
        package = PACKAGES[parsed.get_backend_name()]
        raise ServiceError(
            f"{show(url)}: its driver is not installed ({error}); run: pip install -r {package}"
        ) from error
    _set_up(engine, reads=reads)
    try:
        yield engine
    except (sa.exc.SQLAlchemyError, engine.dialect.loaded_dbapi.Error) as error:
        why = " ".join(str(getattr(error, "orig", None) or error).split())
        if parsed.password:
            why = why.replace(str(parsed.password), "***")
        raise ServiceError(f"{show(url)}: the database cannot be used ({why})") from error
    finally:
        engine.dispose()


def _arguments(url: sa.URL) -> dict[str, Any]:
    if url.get_backend_name() == "sqlite":
        return {"timeout": timeouts.BUDGET_S}
    if url.get_backend_name() == "mysql":
        # Both: an old connector asks for a collation that MariaDB does not know.
        return {
            "connection_timeout": int(timeouts.BUDGET_S),
            "charset": "utf8mb4",
            "collation": "utf8mb4_unicode_ci",
        }
    return {"connect_timeout": int(timeouts.BUDGET_S)}


def _set_up(engine: sa.Engine, *, reads: bool) -> None:
    sa.event.listen(engine, "do_connect", _connect)
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _set_up_sqlite_reads if reads else _set_up_sqlite)
        # Python's own BEGIN comes late and not before DDL; IMMEDIATE waits for its turn at the start.
        begin = "begin" if reads else "begin immediate"
        sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
        return
    statements = {
        "mysql": (
            "set session sql_mode = concat(@@sql_mode, ',STRICT_ALL_TABLES')",
            f"set session innodb_lock_wait_timeout = {timeouts.BUDGET_S:.0f}",
            f"set session lock_wait_timeout = {timeouts.BUDGET_S:.0f}",
        ),
        "postgresql": (f"set lock_timeout = '{timeouts.BUDGET_S:.0f}s'",),
    }[engine.dialect.name]
    # Writers look again after waiting for a lock, and must see what the other has written.
    engine.update_execution_options(isolation_level="REPEATABLE READ" if reads else "READ COMMITTED")
    sa.event.listen(engine, "connect", lambda connection, _: _execute(connection, statements))


def _connect(dialect: Any, _: object, arguments: Any, named: Any) -> Any:
    """Let the driver connect; what it stumbles over was no greeting of a database."""
    try:
        return dialect.connect(*arguments, **named)
    except dialect.loaded_dbapi.Error:
        raise
    except Exception as error:  # IndexError, ValueError, …: whatever the stranger sent
        raise dialect.loaded_dbapi.InterfaceError(f"what answers is no such database: {error}") from error


def _set_up_sqlite(connection: Any, _: object) -> None:
    connection.isolation_level = None
    _execute(connection, ("pragma journal_mode = wal", "pragma synchronous = full"))


def _set_up_sqlite_reads(connection: Any, _: object) -> None:
    connection.isolation_level = None


def _execute(connection: Any, statements: tuple[str, ...]) -> None:
    cursor = connection.cursor()
    for statement in statements:
        cursor.execute(statement)
        if cursor.description:
            cursor.fetchall()
    cursor.close()
    connection.commit()


def is_missing_file(url: str) -> bool:
    """Say whether this is an SQLite database that is not there yet: looking must not make it."""
    parsed = make_url(url)
    return parsed.get_backend_name() == "sqlite" and not Path(parsed.database or "").is_file()
