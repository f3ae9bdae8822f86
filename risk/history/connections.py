"""Connections to the database of the history.

An engine never outlives its use, waits for a bounded time, and its errors name no password. What differs
between databases stands in `dialects`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from risk.errors import ServiceError
from risk.history import dialects
from risk.history.dialects import Dialect


def make_url(url: str) -> sa.URL:
    """Read a URL and name the driver that this project uses for its kind of database."""
    parsed = sa.make_url(url)
    dialect = dialects.SCHEMES.get(parsed.drivername)
    return parsed if dialect is None else parsed.set(drivername=dialect.driver)


def dialect_of(connection: sa.Connection | sa.Engine) -> Dialect:
    """Look up what is particular to the database of a connection."""
    return dialects.DIALECTS[connection.dialect.name]


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
    dialect = dialects.DIALECTS[parsed.get_backend_name()]
    try:
        engine = sa.create_engine(
            parsed, connect_args=dialect.connect_arguments(), poolclass=sa.NullPool, hide_parameters=True
        )
    except ImportError as error:
        raise ServiceError(
            f"{show(url)}: its driver is not installed ({error}); run: pip install -r {dialect.requirements}"
        ) from error
    sa.event.listen(engine, "do_connect", _connect)
    dialect.prepare(engine, reads=reads)
    try:
        yield engine
    except (sa.exc.SQLAlchemyError, engine.dialect.loaded_dbapi.Error) as error:
        why = " ".join(str(getattr(error, "orig", None) or error).split())
        if parsed.password:
            why = why.replace(str(parsed.password), "***")
        raise ServiceError(f"{show(url)}: the database cannot be used ({why})") from error
    finally:
        engine.dispose()


def _connect(dialect: Any, _: object, arguments: Any, named: Any) -> Any:
    """Let the driver connect; what it stumbles over was no greeting of a database."""
    try:
        return dialect.connect(*arguments, **named)
    except dialect.loaded_dbapi.Error:
        raise
    except Exception as error:  # IndexError, ValueError, …: whatever the stranger sent
        raise dialect.loaded_dbapi.InterfaceError(f"what answers is no such database: {error}") from error


def is_missing(url: str) -> bool:
    """Check for a database that opening would create: looking must not create it."""
    parsed = make_url(url)
    return dialects.DIALECTS[parsed.get_backend_name()].is_missing(parsed.database)
