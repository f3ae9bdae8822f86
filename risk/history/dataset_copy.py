"""A copy of the accepted rows in SQL.

One table for each input folder, with the columns of finaldata.csv under their own names as far as the
database can write them: numbers as doubles, everything else as the text it is. `dataset_copies` says up
to which committed bytes a copy goes; rows and that mark change in one transaction, so each row is there
once, wherever a run was killed. A table that was compiled again is copied again beside the old copy, and
takes its place when it is whole.
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from risk.data.frames import numbers_of, read_texts
from risk.data.ledger import Ledger, has_prefix
from risk.data.schema import Schema
from risk.errors import ServiceError
from risk.history.connections import dialect_of
from risk.history.dialects import Dialect

if TYPE_CHECKING:
    import pandas as pd

LONGEST_NAME = 60  # bytes; PostgreSQL cuts at 63, MySQL refuses beyond 64
POSITION = "row_id"  # row_number is a keyword of MySQL
STAGING = "__new"
METADATA = sa.MetaData()
COPIES = sa.Table(
    "dataset_copies",
    METADATA,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("source", sa.String(1000)),
    sa.Column("shape", sa.String(64)),
    sa.Column("done", sa.String(200)),
    sa.Column("n_done", sa.BigInteger),
    sa.Column("aim", sa.String(200)),
    sa.Column("n_rows", sa.BigInteger),
)


@dataclass(frozen=True)
class Copied:
    """How many rows were brought, whether the copy is whole now, and whether it was started again."""

    rows: int
    complete: bool
    rebuilt: bool


@dataclass(frozen=True)
class Mark:
    """How far a copy goes.

    `done` names the bytes whose rows, `n_done`, are all there; `aim` those that were being copied when
    `n_rows` were there. Both are marks of the ledger.
    """

    done: Mapping[str, Any]
    n_done: int
    aim: Mapping[str, Any]
    n_rows: int


def sync(
    engine: sa.Engine,
    path: Path,
    ledger: Ledger,
    *,
    deadline: Callable[[], bool],
    chunk_cells: int,
) -> Copied:
    """Bring the rows that SQL lacks.

    Parameters
    ----------
    path, ledger : Path, Ledger
        finaldata.csv and its record.
    deadline : callable
        Asked between chunks; once it returns true, the rest waits for the next call.
    chunk_cells : int
        About as many cells are brought in one transaction.

    Raises
    ------
    ServiceError
        When the table has more columns than this database allows, or another process copies too.
    """
    schema = Schema.from_json(ledger.schema or {})
    dialect = dialect_of(engine)
    refuse_wide(schema, dialect)
    name, shape = table_name(ledger.source), digest_shape(schema)
    COPIES.dialect_kwargs.update(dialect.table_options)
    target, mark = find_target(engine, name, shape, path, ledger)
    rebuilt = target != name
    copy = make_table(target, schema, dialect)
    if mark is None:
        mark = begin(engine, copy, target, shape, ledger)
    chunks = read_rows(path, schema, ledger, mark, chunk_cells)
    n_rows, complete = fill(engine, copy, mark, chunks, ledger, deadline)
    if complete and rebuilt:
        with engine.begin() as connection:
            take_place(connection, target, name)
    return Copied(n_rows, complete, rebuilt)


def find_target(
    engine: sa.Engine, name: str, shape: str, path: Path, ledger: Ledger
) -> tuple[str, Mark | None]:
    """Name the table to copy into, a staging one where the present one cannot be continued, and its mark."""
    with engine.begin() as connection:
        METADATA.create_all(connection)
        mark = usable(connection, name, shape, path, ledger)
        if mark is not None:
            return name, mark
        return name + STAGING, usable(connection, name + STAGING, shape, path, ledger)


# --- names -------------------------------------------------------------------------------------------------


def refuse_wide(schema: Schema, dialect: Dialect) -> None:
    """Refuse a table that the database cannot hold."""
    most = dialect.max_columns - 1
    if len(schema.columns) > most:
        raise ServiceError(
            f"store_datasets: {len(schema.columns):,} columns are more than {dialect.name} allows in a table "
            f"({most:,}); set it to false, or use another database"
        )


def table_name(source: str) -> str:
    """Name the table of an input folder: readable, and another for each folder."""
    plain = re.sub(r"[^a-z0-9_]+", "_", source.lower()).strip("_")[:30]
    same = plain == source
    return f"dataset_{plain}" if same else f"dataset_{plain}_{zlib.crc32(source.encode()):08x}"


def column_names(columns: Sequence[str]) -> list[str]:
    """Name the columns in SQL: as they are, but for what no database can write, and apart in any case."""
    used, names = {POSITION}, []
    for number, column in enumerate(columns, start=1):
        plain = "".join(sign if sign.isprintable() and ord(sign) <= 0xFFFF else "_" for sign in column)
        base = cut(plain.strip(), LONGEST_NAME) or f"column_{number}"
        name = base
        while name.casefold() in used:
            name = f"{cut(base, LONGEST_NAME - 8)}_{number}"
            number += len(columns)
        used.add(name.casefold())
        names.append(name)
    return names


def cut(text: str, n_bytes: int) -> str:
    """Cut a text to so many bytes, never within a letter."""
    return text.encode()[:n_bytes].decode(errors="ignore").strip()


def digest_shape(schema: Schema) -> str:
    """Digest what shapes the SQL table: another digest means another table."""
    shape = [list(schema.columns), schema.numbers]
    return hashlib.sha256(json.dumps(shape).encode()).hexdigest()


def make_table(name: str, schema: Schema, dialect: Dialect) -> sa.Table:
    """Describe the SQL table of a schema; its columns go by `c0`, `c1`, … in statements."""
    numbers, text = set(schema.numbers), dialect.text_type()
    columns = [
        sa.Column(shown, sa.Double if column in numbers else text, key=f"c{number}")
        for number, (shown, column) in enumerate(
            zip(column_names(schema.columns), schema.columns, strict=True)
        )
    ]
    position = sa.Column(POSITION, sa.BigInteger, primary_key=True, autoincrement=False, key=POSITION)
    return sa.Table(name, sa.MetaData(), position, *columns, **dialect.dataset_options)


# --- marks -------------------------------------------------------------------------------------------------


def read_mark(connection: sa.Connection, name: str) -> tuple[Mark, str] | None:
    """Read the mark of a copy and its shape, and hold both until the transaction ends."""
    asked = sa.select(COPIES).where(COPIES.c.name == name).with_for_update()
    row = connection.execute(asked).mappings().first()
    if row is None:
        return None
    done, aim = json.loads(row["done"]), json.loads(row["aim"])
    return Mark(done, int(row["n_done"]), aim, int(row["n_rows"])), str(row["shape"])


def usable(connection: sa.Connection, name: str, shape: str, path: Path, ledger: Ledger) -> Mark | None:
    """Read the mark of a copy that can be continued; None when it must be started again."""
    marked = read_mark(connection, name)
    if marked is None or marked[1] != shape or not sa.inspect(connection).has_table(name):
        return None
    mark = marked[0]
    fits = all(has_prefix(path, ledger, known) for known in (mark.done, mark.aim))
    return mark if fits else None


def write_mark(connection: sa.Connection, name: str, mark: Mark) -> None:
    values = {
        "done": json.dumps(mark.done),
        "n_done": mark.n_done,
        "aim": json.dumps(mark.aim),
        "n_rows": mark.n_rows,
    }
    connection.execute(sa.update(COPIES).where(COPIES.c.name == name).values(values))


def begin(engine: sa.Engine, copy: sa.Table, name: str, shape: str, ledger: Ledger) -> Mark:
    """Make an empty table for a new copy."""
    nothing = {"length": 0, "digest": hashlib.sha256(b"").hexdigest()}
    mark = Mark(nothing, 0, ledger.mark, 0)
    with engine.begin() as connection:
        connection.execute(sa.delete(COPIES).where(COPIES.c.name == name))
        copy.drop(connection, checkfirst=True)
        copy.create(connection)
        facts = {"name": name, "source": ledger.source, "shape": shape}
        connection.execute(sa.insert(COPIES).values(facts))
        write_mark(connection, name, mark)
    return mark


def take_place(connection: sa.Connection, staging: str, name: str) -> None:
    """Let a whole new copy take the place of the old one."""
    quote = connection.dialect.identifier_preparer.quote
    gone = f"{name}__old"
    connection.exec_driver_sql(f"drop table if exists {quote(gone)}")
    present = sa.inspect(connection).has_table(name)
    pairs = [(name, gone)] * present + [(staging, name)]
    dialect_of(connection).rename_tables(connection, pairs)
    connection.exec_driver_sql(f"drop table if exists {quote(gone)}")
    connection.execute(sa.delete(COPIES).where(COPIES.c.name == name))
    connection.execute(sa.update(COPIES).where(COPIES.c.name == staging).values(name=name))


# --- rows --------------------------------------------------------------------------------------------------


def fill(
    engine: sa.Engine,
    copy: sa.Table,
    mark: Mark,
    chunks: Iterable[Sequence[tuple[Any, ...]]],
    ledger: Ledger,
    deadline: Callable[[], bool],
) -> tuple[int, bool]:
    """Bring the rows after a mark, chunk by chunk; return how many, and whether none is left."""
    brought, name = 0, str(copy.name)
    for rows in chunks:
        if deadline():
            return brought, False
        with engine.begin() as connection:
            mark = claim(connection, name, mark)
            insert(connection, copy, rows, first=mark.n_rows + 1)
            mark = Mark(mark.done, mark.n_done, ledger.mark, mark.n_rows + len(rows))
            write_mark(connection, name, mark)
        brought += len(rows)
    with engine.begin() as connection:
        mark = claim(connection, name, mark)
        write_mark(connection, name, Mark(ledger.mark, mark.n_rows, ledger.mark, mark.n_rows))
    return brought, True


def claim(connection: sa.Connection, name: str, mark: Mark) -> Mark:
    """Hold the mark of a copy, and be sure that nobody has changed it since it was read.

    Raises
    ------
    ServiceError
        When another process copies the same rows.
    """
    marked = read_mark(connection, name)
    if marked is None or marked[0].n_rows != mark.n_rows:
        raise ServiceError(f"{name}: another process copies the same rows; the rest waits")
    return marked[0]


def read_rows(
    path: Path, schema: Schema, ledger: Ledger, mark: Mark, chunk_cells: int
) -> Iterator[list[tuple[Any, ...]]]:
    """Read the rows after a mark as SQL takes them; None is missing."""
    start, skip = int(mark.done["length"]), mark.n_rows - mark.n_done
    if start >= ledger.length:
        return
    chunk_rows = max(1, chunk_cells // len(schema.columns))
    for part in read_texts(path, schema, start=start, stop=ledger.length, chunk_rows=chunk_rows):
        fresh = part.iloc[skip:] if skip else part
        skip = max(0, skip - len(part))
        if len(fresh):
            yield list(zip(*(cells_of(fresh, name, schema) for name in schema.columns), strict=True))


def cells_of(part: pd.DataFrame, name: str, schema: Schema) -> list[Any]:
    """List the cells of a column as SQL takes them.

    Parameters
    ----------
    part : DataFrame of shape (n_rows, n_columns)
        Texts, missing ones as NA.

    Returns
    -------
    cells : list
        Doubles of a number column, else texts; None where missing.
    """
    cells = part[name]
    if schema.kinds.get(name) == "number":
        cells = numbers_of(cells)
    objects = cells.astype(object)
    return list(objects.where(cells.notna(), None))


def insert(connection: sa.Connection, copy: sa.Table, rows: Sequence[tuple[Any, ...]], *, first: int) -> None:
    """Write a chunk of rows in bulk; they are numbered from `first`."""
    numbered = [(number, *row) for number, row in enumerate(rows, start=first)]
    dialect_of(connection).insert_rows(connection, copy, numbered)
