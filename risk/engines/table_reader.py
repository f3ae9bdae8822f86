"""Reading of the compiled table as frames, in memory that does not grow with it.

DuckDB reads the columns that are asked for, all rows or those after an offset, and spills what does not
fit; a frame at a time comes here. A sample is taken by a digest of each whole row: the same rows, whatever
is read beside them, and a smaller sample is part of a larger one.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

import duckdb
import numpy as np

from risk import files
from risk.data import csv_check
from risk.data.ledger import Ledger
from risk.data.schema import Schema
from risk.digests import BLOCK
from risk.engines import frame_reader
from risk.engines.duckdb_session import name_of, scan_csv
from risk.engines.sql import is_word, literal
from risk.errors import ArtifactError
from risk.limits import Room
from risk.text import render_csv_row

if TYPE_CHECKING:
    import pandas as pd

LABEL, DIGEST, CLIENT = "label", "digest", "client"
DIGEST_BITS = 53  # of a digest: as many as a double holds
SURE = 8.0  # standard deviations by which a first cut takes too many rows rather than too few
CELL_END = "\x1f"


@dataclass(frozen=True)
class Source:
    """The compiled table as DuckDB sees it: its rows in SQL, with their numbers from 1 as `row_no`."""

    connection: duckdb.DuckDBPyConnection
    rows: str
    cells: Mapping[str, str]
    schema: Schema

    @property
    def ids(self) -> list[str]:
        """The columns that name a client; none where rows do."""
        return [name for name in self.schema.ids if name in self.cells]

    @property
    def keys(self) -> list[str]:
        """What DuckDB calls the columns that name a client."""
        return [f"i{position}" for position in range(len(self.ids) or 1)]

    @property
    def label(self) -> str:
        """The label in SQL: 1 leaves, 0 stays, NULL unlabelled."""
        cell = self.cells[self.schema.target]
        negative = self.schema.negative
        stays = is_word(cell, negative) if negative else f"{cell} is not null"
        return f"case when {is_word(cell, self.schema.positive)} then 1 when {stays} then 0 end"

    @property
    def digest(self) -> str:
        """A digest of the whole row in SQL, the same in every version: below 2 to the power of 53."""
        return _digest_of(self.cells.values())

    @property
    def client(self) -> str | None:
        """A digest of the ids in SQL, that of `client_digest`; a row without an id is its own client.

        None where nothing names a client.
        """
        cells = [self.cells[name] for name in self.ids]
        if not cells:
            return None
        is_unnamed = f"coalesce({', '.join(cells)}) is null"
        return f"case when {is_unnamed} then -row_no else {_digest_of(cells)}::double end"

    @property
    def values(self) -> dict[str, str]:
        """What is read beside the cells of each row, by name: its label, and whose row it is."""
        return {LABEL: self.label} | ({CLIENT: self.client} if self.client else {})

    def count(self, condition: str = "true") -> int:
        """Count the rows that fulfil a condition."""
        ((n_rows,),) = self.connection.execute(
            f"select count(*) from ({self.rows}) where {condition}"
        ).fetchall()
        return int(n_rows)


def _digest_of(cells: Iterable[str]) -> str:
    """Give the SQL of a digest of cells, that of `client_digest`; missing ones are empty."""
    filled = ", ".join(f"coalesce({cell}, '')" for cell in cells)
    return f"(md5_number_lower(concat_ws({literal(CELL_END)}, {filled})) >> {64 - DIGEST_BITS})"


@dataclass(frozen=True)
class Taken:
    """Rows of the table in their order.

    Attributes
    ----------
    numbers : ndarray of int, shape (n_samples,)
        Their numbers in the table, from 1.
    X : DataFrame of shape (n_samples, n_features)
        Numbers as float64, missing NaN; text with NaN.
    y : ndarray of shape (n_samples,)
        1.0 leaves, 0.0 stays, NaN unlabelled.
    digests : ndarray of shape (n_samples,)
        Of the whole rows, where a sample was taken; else empty.
    clients : ndarray of int64, shape (n_samples,)
        Digests of the ids, `client_digest`; below 0, and each another, for rows without an id. Empty where
        no column names a client, or nobody asked.
    texts : mapping of str to ndarray of shape (n_samples,)
        Cells as they stand, None or NaN where missing.
    n_rows : int
        How many rows there were to choose from.
    """

    numbers: np.ndarray
    X: pd.DataFrame
    y: np.ndarray
    digests: np.ndarray
    texts: Mapping[str, np.ndarray] = field(default_factory=dict)
    n_rows: int = 0
    clients: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    @property
    def is_sample(self) -> bool:
        return len(self.numbers) < self.n_rows

    def take(self, rows: np.ndarray) -> Taken:
        """Give some of the rows.

        Parameters
        ----------
        rows : ndarray of int or bool
            Positions in ascending order, or a mask of shape (n_samples,).
        """
        return Taken(
            self.numbers[rows],
            self.X.iloc[rows].reset_index(drop=True),
            self.y[rows],
            self.digests[rows] if len(self.digests) else self.digests,
            {name: cells[rows] for name, cells in self.texts.items()},
            self.n_rows,
            self.clients[rows] if len(self.clients) else self.clients,
        )

    def join(self, more: Taken) -> Taken:
        """Put other rows of the same table among these, in their order; those without digests have 0."""
        import pandas as pd

        digests = more.digests if len(more.digests) else np.zeros(len(more.numbers))
        both = replace(
            self,
            numbers=np.concatenate([self.numbers, more.numbers]),
            X=pd.concat([self.X, more.X], ignore_index=True),
            y=np.concatenate([self.y, more.y]),
            digests=np.concatenate([self.digests, digests]),
            texts={name: np.concatenate([cells, more.texts[name]]) for name, cells in self.texts.items()},
            clients=np.concatenate([self.clients, more.clients]),
        )
        return both.take(np.argsort(both.numbers, kind="stable"))


@contextmanager
def open_table(data: Path, ledger: Ledger, room: Room, *, start: int = 0) -> Iterator[Source]:
    """Open the committed rows of the compiled table, or those after an offset at which a row begins."""
    schema = Schema.from_json(ledger.schema or {})
    cells = {name: f"c{position}" for position, name in enumerate(schema.columns)}
    with ExitStack() as opened:
        handle: IO[bytes] = opened.enter_context(csv_check.open_regular(data))
        if start:
            tail = opened.enter_context(_copy_tail(handle, schema, start, ledger.length, room.spill))
            handle = opened.enter_context(csv_check.open_regular(tail))
        connection = opened.enter_context(frame_reader.connect(room, len(cells)))
        scanned = scan_csv([name_of(handle)], len(cells), ",", "ignore_errors = true")
        whole = start or os.fstat(handle.fileno()).st_size == ledger.length
        committed = scanned if whole else f"(select * from {scanned} limit {ledger.rows})"
        rows = f"select row_number() over () as row_no, * from {committed}"
        yield Source(connection, rows, cells, schema)


@contextmanager
def _copy_tail(handle: IO[bytes], schema: Schema, start: int, stop: int, spill: Path) -> Iterator[Path]:
    """Copy the rows between two offsets into a table of their own: DuckDB reads files from their begin."""
    spill.mkdir(parents=True, exist_ok=True)
    path = spill / f"{files.TEMPORARY}{os.getpid()}-tail.csv"
    try:
        with files.naming(path), path.open("wb") as tail:
            tail.write(render_csv_row(schema.columns).encode())
            handle.seek(start)
            while start < stop and (block := handle.read(min(BLOCK, stop - start))):
                start += tail.write(block)
        yield path
    finally:
        path.unlink(missing_ok=True)


def read(
    data: Path,
    ledger: Ledger,
    schema: Schema,
    room: Room,
    *,
    start: int = 0,
    texts: Sequence[str] = (),
    labelled: bool = False,
    most: int | None = None,
) -> Taken:
    """Read rows of the table, or a sample of them; a sample comes with its digests.

    Parameters
    ----------
    schema : Schema
        Of the model: its features are read.
    start : int, default=0
        The offset in bytes from which on rows are read.
    texts : sequence of str
        Columns that are also wanted as they stand.
    labelled : bool, default=False
        Only rows with a label.
    most : int, optional
        Of more rows than this, those with the smallest digests.

    Raises
    ------
    ArtifactError
        When the table is not what the ledger says.
    """
    with open_table(data, ledger, room, start=start) as source:
        where = f"{source.cells[schema.target]} is not null" if labelled else "true"
        n_rows = source.count(where) if start else ledger.rows - labelled * ledger.rows_unlabelled
        if most is not None and most < n_rows:
            return _read_sample(source, schema, where, texts, most, n_rows)
        taken = _read(source, schema, where, texts)
    if len(taken.numbers) != n_rows:
        raise ArtifactError(f"{data}: was modified outside this pipeline; run ingestion.py --rebuild")
    return taken


def _read_sample(
    source: Source, schema: Schema, where: str, texts: Sequence[str], most: int, n_rows: int
) -> Taken:
    """Read the `most` of `n_rows` rows that have the smallest digests."""
    below = f"{where} and {source.digest} < {_cut(most, n_rows)}"
    taken = _read(source, schema, below, texts, digests=True)
    if len(taken.numbers) < most:  # by chance never; by a ledger that counts more rows than there are
        taken = _read(source, schema, where, texts, digests=True)
    smallest = np.lexsort((taken.numbers, taken.digests))[:most]
    return replace(taken.take(np.sort(smallest)), n_rows=n_rows)


def _cut(most: int, n_rows: int) -> int:
    """Give the digest below which surely `most` rows lie, and few more."""
    share = (most + SURE * math.sqrt(most) + SURE) / n_rows
    return int(min(share, 1.0) * (1 << DIGEST_BITS))


def _read(
    source: Source, schema: Schema, where: str, texts: Sequence[str], *, digests: bool = False
) -> Taken:
    import pandas as pd

    values = source.values | ({DIGEST: source.digest} if digests else {})
    rows = f"select * from ({source.rows}) where {where}"
    chunks = list(
        frame_reader.read(source.connection, rows, source.cells, schema, texts=texts, values=values)
    ) or [frame_reader.nothing(schema, texts, values)]
    numbers = np.concatenate([chunk.numbers for chunk in chunks])
    taken = Taken(
        numbers,
        pd.concat([chunk.X for chunk in chunks], ignore_index=True),
        np.concatenate([chunk.values[LABEL] for chunk in chunks]),
        np.concatenate([chunk.values[DIGEST] for chunk in chunks]) if digests else np.empty(0),
        {name: np.concatenate([chunk.texts[name] for chunk in chunks]) for name in texts},
        len(numbers),
        np.concatenate([_clients(chunk) for chunk in chunks]),
    )
    in_order = bool((np.diff(numbers) > 0).all())
    return taken if in_order else taken.take(np.argsort(numbers, kind="stable"))


def _clients(chunk: frame_reader.Rows) -> np.ndarray:
    return chunk.values.get(CLIENT, np.empty(0)).astype(np.int64)


def client_digest(ids: Sequence[str]) -> int | None:
    """Digest what names a client as `Source.client` does; None where no id is filled.

    Parameters
    ----------
    ids : sequence of str
        The cells of the id columns; empty is missing.
    """
    if not any(ids):
        return None
    digest = hashlib.md5(CELL_END.join(ids).encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest[8:], "little") >> (64 - DIGEST_BITS)


def read_chunks(
    data: Path, ledger: Ledger, schema: Schema, room: Room, *, labelled: bool = False
) -> Iterator[Taken]:
    """Read all rows, a frame of about 50,000 at a time."""
    with open_table(data, ledger, room) as source:
        where = f"{source.cells[schema.target]} is not null" if labelled else "true"
        rows = f"select * from ({source.rows}) where {where}"
        for chunk in frame_reader.read(source.connection, rows, source.cells, schema, values=source.values):
            n_rows, clients = len(chunk.numbers), _clients(chunk)
            yield Taken(chunk.numbers, chunk.X, chunk.values[LABEL], np.empty(0), {}, n_rows, clients)


def count_rows(data: Path, ledger: Ledger, room: Room, *, start: int) -> int:
    """Count the rows after an offset."""
    if start >= ledger.length:
        return 0
    with open_table(data, ledger, room, start=start) as source:
        return source.count()


def has_label(data: Path, ledger: Ledger, room: Room, *, start: int) -> bool:
    """Say whether any row after an offset has a label."""
    if start >= ledger.length:
        return False
    with open_table(data, ledger, room, start=start) as source:
        return source.count(f"{source.cells[source.schema.target]} is not null") > 0
