"""Reading of rows by DuckDB as frames of a model, a chunk at a time.

The rules of cells stand in SQL (`risk.engines.sql`). A file in which anything is odd is not for
this way: the exact reader names lines and reasons. No file is ever held; a frame has about 50,000 rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np

from risk.data.frames import frame_of
from risk.data.schema import BOOLEAN_WORDS, MISSING_WORDS, Schema
from risk.engines import duckdb_session
from risk.engines.duckdb_session import translate_errors
from risk.engines.sql import is_number, is_word
from risk.limits import Room

if TYPE_CHECKING:
    import pandas as pd

VECTORS = 24  # of 2,048 rows each
MEMORY_MB = 300  # beyond it DuckDB spills to disk


class OddError(ValueError):
    """Something in a file is not for this way of reading."""


@dataclass(frozen=True)
class Rows:
    """A chunk of rows: their numbers from 1, the frame of the model, and cells as text, None if missing."""

    numbers: np.ndarray
    X: pd.DataFrame
    texts: Mapping[str, np.ndarray]
    values: Mapping[str, np.ndarray]


@contextmanager
def connect(room: Room, n_columns: int) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a DuckDB of its own in memory, with a limit beyond which it spills to disk."""
    with (
        closing(duckdb_session.connect(room, n_columns, MEMORY_MB)) as connection,
        translate_errors("this table"),
    ):
        yield connection


def number_of(cell: str) -> str:
    """Give the SQL of what `schema.parse_number` makes of a good cell of a number column; NULL is missing."""
    words = " ".join(f"when '{word}' then {value}" for word, value in BOOLEAN_WORDS.items())
    return f"coalesce(try_cast({cell} as double), case lower({cell}) {words} end)"


def is_good_number(cell: str) -> str:
    """Give the SQL of whether a cell of a number column is a number, a word for one, or missing."""
    words = is_word(cell, (*MISSING_WORDS, *BOOLEAN_WORDS))
    return f"({cell} is null or {is_number(cell)} or {words})"


def number_or_null(cell: str) -> str:
    """Give the SQL of the number in any cell; NULL when it holds none."""
    return f"case when {is_number(cell)} then try_cast({cell} as double) end"


def read(
    connection: duckdb.DuckDBPyConnection,
    source: str,
    cells: Mapping[str, str],
    schema: Schema,
    *,
    texts: Sequence[str] = (),
    values: Mapping[str, str] | None = None,
    check: Sequence[str] = (),
) -> Iterator[Rows]:
    """Read frames of a relation with a column `row_no`.

    Parameters
    ----------
    cells : mapping of str to str
        The SQL of each column's cell.
    texts : sequence of str
        Columns that are also wanted as they stand.
    values : mapping of str to str, optional
        The SQL of further numbers by name; NULL is NaN.
    check : sequence of str
        Conditions in SQL that hold for every row.

    Raises
    ------
    OddError
        When a row does not fulfil a condition, or a line is no row.
    """
    named = values or {}
    query = f"select {_list_columns(cells, schema, texts, named, check)} from ({source})"
    try:
        result = connection.execute(query)
        with ThreadPoolExecutor(1) as reader:  # DuckDB reads on while a frame is used
            coming = reader.submit(result.fetch_df_chunk, VECTORS)
            while len(chunk := coming.result()):
                coming = reader.submit(result.fetch_df_chunk, VECTORS)
                yield _to_rows(chunk, schema, texts, [*named])
    except duckdb.InvalidInputException as error:
        raise OddError(str(error).splitlines()[0]) from error


def _list_columns(
    cells: Mapping[str, str],
    schema: Schema,
    texts: Sequence[str],
    values: Mapping[str, str],
    check: Sequence[str],
) -> str:
    """Give the SQL of what `_to_rows` takes apart: row number, check, values, features and texts."""
    wanted = ["row_no", " and ".join(check) or "true", *(f"({sql})::double" for sql in values.values())]
    wanted += [number_of(cells[n]) if schema.kinds[n] == "number" else cells[n] for n in schema.features]
    wanted += [cells[name] for name in texts]
    return ", ".join(f"{sql} as k{position}" for position, sql in enumerate(wanted))


def _to_rows(chunk: pd.DataFrame, schema: Schema, texts: Sequence[str], values: Sequence[str]) -> Rows:
    numbers, good, *columns = (chunk[name].to_numpy() for name in chunk.columns)
    if not good.all():
        raise OddError("a cell is not such as its column")
    asked = {name: columns.pop(0).astype("float64") for name in values}
    features, others = columns[: len(schema.features)], columns[len(schema.features) :]
    return Rows(
        numbers.astype(np.int64),
        _to_frame(features, schema),
        dict(zip(texts, others, strict=True)),
        asked,
    )


def _to_frame(features: Sequence[Any], schema: Schema) -> pd.DataFrame:
    return frame_of(dict(zip(schema.features, features, strict=True)), schema)


def nothing(schema: Schema, texts: Sequence[str], values: Iterable[str]) -> Rows:
    """Give a chunk without a row."""
    none = np.empty(0, dtype=object)
    return Rows(
        np.empty(0, dtype=np.int64),
        _to_frame([none] * len(schema.features), schema),
        dict.fromkeys(texts, none),
        dict.fromkeys(values, np.empty(0)),
    )
