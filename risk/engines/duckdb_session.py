"""DuckDB connections with limits, the scanning of open files, and DuckDB's errors in words of ours."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterable, Iterator
from typing import IO, Any

import duckdb

from risk.engines.sql import literal
from risk.errors import StorageError
from risk.files import TEMPORARY
from risk.limits import Room

MAX_LINE = 8 * 1024 * 1024
MB_PER_COLUMN = 1
DESCRIPTORS = "/proc/self/fd"


def connect(room: Room, n_columns: int, least_mb: int) -> duckdb.DuckDBPyConnection:
    """Open a DuckDB in memory that spills to disk beyond a limit.

    Parameters
    ----------
    n_columns : int
        Of the table that is worked on.
    least_mb : int
        The limit where config.json names none, raised for very many columns.
    """
    room.spill.mkdir(parents=True, exist_ok=True)
    settings: dict[str, Any] = {
        "temp_directory": str(room.spill / f"{TEMPORARY}duckdb"),
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "allow_community_extensions": "false",
        "memory_limit": room.memory_limit or f"{max(least_mb, MB_PER_COLUMN * n_columns)}MB",
    }
    return duckdb.connect(":memory:", config=settings)


def name_of(handle: IO[bytes]) -> str:
    """Name an open file to DuckDB, to which no name from outside is ever a path, a pattern or a URL."""
    return f"{DESCRIPTORS}/{handle.fileno()}"


def scan_csv(names: Iterable[str], n_columns: int, separator: str, *options: str) -> str:
    """Give the SQL that reads open files: every column as text, named c0, c1, …, NULL where missing."""
    columns = ", ".join(f"'c{position}': 'VARCHAR'" for position in range(n_columns))
    arguments = [
        f"[{', '.join(map(literal, names))}]",
        f"columns = {{{columns}}}",
        f"auto_detect = false, header = true, delim = {literal(separator)}",
        "quote = '\"', escape = '\"', nullstr = ''",
        f"compression = 'none', hive_partitioning = false, max_line_size = {MAX_LINE}",
        *options,
    ]
    return f"read_csv({', '.join(arguments)})"


@contextlib.contextmanager
def translate_errors(what: str) -> Iterator[None]:
    """Raise DuckDB's errors as ours: `what` is too large for its memory, or the system has refused.

    Raises
    ------
    StorageError
        When the memory limit is too small, or the disk fails in a way that DuckDB does not name.
    OSError
        As the system gave it to DuckDB.
    """
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        raise StorageError(
            f"the memory limit is too small for {what}; raise engine.memory_limit in config.json"
        ) from error
    except duckdb.IOException as error:
        raise _translate(error) from error


def _translate(error: duckdb.IOException) -> Exception:
    """Give the error of the system that DuckDB reports, so that it ends in the same words and exit code."""
    text = str(error).splitlines()[0]
    path = re.search('"(/[^"]*)"', text)
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO):
        if os.strerror(number) in text:
            return OSError(number, os.strerror(number), path and path[1])
    return StorageError(f"{text}; check the disk, then run again")
