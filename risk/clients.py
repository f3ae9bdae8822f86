"""Who are the clients, and where do they stand?

A client is what the id columns name, described by its newest row in the table (the last to arrive);
without id columns, or with all of them empty, each row is a client of its own. Clients whose newest row
says that they left are left out, those without a label are always in. Whoever is most at risk ranks first:
by probability, or by expected loss (probability times value) where a value column is named; there, clients
without a value come last, by probability. Equals stand in the order of their rows.

DuckDB reads the table in frames, never more than once a question; what is held is ids on its side (it
spills) and some numbers a client on ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np

from risk import csvfile, dataset, engine, escapes, frames
from risk.dataset import Schema
from risk.errors import ArtifactError, ConfigError, DatasetError
from risk.predictions import Predictor, Said
from risk.reasons import Reason
from risk.table import Ledger

N_REASONS = 3
REASONED = 10_000
_FORMULA = "(^|[;|\t\r\n])[=+\\-@\t\r\uff1d\uff0b\uff0d\uff20]"  # see `escapes`


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


@dataclass(frozen=True)
class Standing:
    """Where clients stand: arrays of one value a client, in the order of their rows."""

    numbers: np.ndarray
    said: Said
    low: np.ndarray
    high: np.ndarray
    value: np.ndarray
    rank: np.ndarray

    @property
    def expected_loss(self) -> np.ndarray:
        return np.asarray(self.said.probability * self.value)


@contextmanager
def open_table(data: Path, ledger: Ledger, spill: Path, memory_limit: str | None) -> Iterator[Source]:
    """Open the compiled table."""
    schema = Schema.from_json(ledger.schema or {})
    cells = {name: f"c{position}" for position, name in enumerate(schema.columns)}
    with csvfile.open_regular(data) as handle, frames.connect(spill, memory_limit, len(cells)) as connection:
        scanned = frames.scan(handle, len(cells), ",", ", ignore_errors = true")
        committed = f"select * from {scanned} limit {ledger.rows}"
        yield Source(
            connection, f"select row_number() over () as row_no, * from ({committed})", cells, schema
        )


def refuse_table(schema: Schema, predictor: Predictor, value_column: str | None) -> None:
    """Refuse a table that lacks what the model or the order needs.

    Raises
    ------
    DatasetError, ConfigError
    """
    problem = dataset.explain_kinds(predictor.schema.kinds, schema.kinds)
    if problem:
        raise DatasetError(problem)
    if value_column is not None and value_column not in schema.columns:
        raise ConfigError(
            f"report.value_column: the table has no column {value_column!r}; it has "
            f"{', '.join(map(repr, schema.columns))}"
        )


def find_newest(source: Source, data: Path, n_rows: int) -> int:
    """Find the newest row of each client, in `newest` (row_no and keys); count the clients.

    Ids are kept as a spreadsheet may see them.
    """
    cells = [source.cells[name] for name in source.ids]
    if cells:
        listed = ", ".join(f"{cell} as {key}" for cell, key in zip(cells, source.keys, strict=True))
        nameless = " and ".join(f"{cell} is null" for cell in cells)
        found = (
            f"select max(row_no) as row_no, {listed} from ({source.rows}) "
            f"group by {', '.join(cells)}, case when {nameless} then row_no end"
        )
    else:
        found = f"select row_no, row_no::varchar as i0 from ({source.rows})"
    source.connection.execute(f"create temp table newest as {found}")
    ((n_clients, last),) = source.connection.execute("select count(*), max(row_no) from newest").fetchall()
    if (last or 0) != n_rows:
        raise ArtifactError(f"{data}: was changed by another hand; run ingestion.py --rebuild")
    for key in source.keys:
        _make_safe(source.connection, key)
    return int(n_clients)


def _make_safe(connection: duckdb.DuckDBPyConnection, key: str) -> None:
    """Write the ids that a spreadsheet would run as text; DuckDB finds those that may be meant."""
    import pandas as pd

    meant = f"regexp_matches({key}, {engine.literal(_FORMULA)})"
    found = connection.execute(f"select row_no, {key} from newest where {meant}").fetchall()
    if found:
        safe = [(row_no, escapes.for_spreadsheet(text)) for row_no, text in found]
        connection.register("safe", pd.DataFrame(safe, columns=["row_no", "text"]))
        connection.execute(f"update newest set {key} = text from safe where newest.row_no = safe.row_no")
        connection.unregister("safe")


def find_standing(source: Source, predictor: Predictor, value_column: str | None) -> Standing:
    """Let the model speak of every client of `newest` who has not left, and rank them."""
    label = source.cells[source.schema.target]
    left = f"coalesce({engine.is_word(label, source.schema.positive)}, false)"
    rows = f"select * from ({source.rows}) semi join newest using (row_no) where not {left}"
    value = frames.number_or_null(source.cells[value_column]) if value_column is not None else None
    numbers, values, parts = [np.empty(0, dtype=np.int64)], [np.empty(0)], list[Said]()
    for chunk in frames.read(source.connection, rows, source.cells, predictor.schema, value=value):
        numbers.append(chunk.numbers)
        values.append(chunk.values)
        parts.append(predictor.say(chunk.X))
    row_no, worth = np.concatenate(numbers), np.concatenate(values)
    order = np.argsort(row_no, kind="stable")
    said = Said.join(parts).take(order)
    rank = rank_clients(said.probability, worth[order])
    return Standing(row_no[order], said, *predictor.band(said.log_odds), worth[order], rank)


def rank_clients(probability: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Rank by expected loss, those without a value last, then by probability, then by place; from 1."""
    order = np.lexsort((-probability, -(probability * value)))  # NaN sorts last, equals stay in order
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(1, len(order) + 1)
    return rank


def find_reasons(source: Source, predictor: Predictor, standing: Standing) -> dict[int, list[Reason]]:
    """Say the reasons of the first 10,000 clients, by rank."""
    import pandas as pd

    found: dict[int, list[Reason]] = {}
    wanted = standing.numbers[standing.rank <= REASONED]
    source.connection.register("wanted", pd.DataFrame({"row_no": wanted}))
    rows = f"select * from ({source.rows}) semi join wanted using (row_no)"
    for chunk in frames.read(source.connection, rows, source.cells, predictor.schema):
        places = np.searchsorted(standing.numbers, chunk.numbers)
        said = predictor.reasons(chunk.X, standing.said.leaves[places], N_REASONS)
        found |= zip(standing.rank[places].tolist(), said, strict=True)
    source.connection.unregister("wanted")
    return found
