"""Clients of the compiled table, ranked by their risk.

A client is what the id columns name, described by its newest row in the table (the last to arrive);
without id columns, or with all of them empty, each row is a client of its own. Clients whose newest row
says that they left are left out, those without a label are always in. Whoever is most at risk ranks first:
by probability, or by expected loss (probability times value) where a value column is named; there, clients
without a value come last, by probability. Equals stand in the order of their rows.

DuckDB reads the table in frames, once for each question, and holds the prediction of each client (it spills):
here there is never more than a frame.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import duckdb
import numpy as np

from risk.data.schema import Schema, explain_mismatch
from risk.engines import frame_reader
from risk.engines.frame_reader import Rows
from risk.engines.sql import is_word, literal
from risk.engines.table_reader import Source
from risk.errors import ArtifactError, ConfigError, DatasetError
from risk.prediction.csv_output import DIGITS
from risk.prediction.predictor import Predictor
from risk.prediction.reasons import Reason
from risk.text import escape_for_spreadsheet

N_REASONS, LOSS_DIGITS = 3, 2
MAX_EXPLAINED = 10_000
_FORMULA = "(^|[;|\t\r\n])[=+\\-@\t\r\uff1d\uff0b\uff0d\uff20]"  # see `risk.text`


def check_table(schema: Schema, predictor: Predictor, value_column: str | None) -> None:
    """Check that a table has what the model or the order needs.

    Raises
    ------
    DatasetError, ConfigError
    """
    problem = explain_mismatch(predictor.schema, schema)
    if problem:
        raise DatasetError(problem)
    if value_column is not None and value_column not in schema.columns:
        raise ConfigError(
            f"report.value_column: the table has no column {value_column!r}; it has "
            f"{', '.join(map(repr, schema.columns))}"
        )


def select_newest(source: Source, data: Path, n_rows: int) -> int:
    """Select the newest row of each client into `newest` (row_no and keys); count the clients.

    Ids are kept as a spreadsheet may see them.
    """
    cells = [source.cells[name] for name in source.ids]
    if cells:
        listed = ", ".join(f"{cell} as {key}" for cell, key in zip(cells, source.keys, strict=True))
        nameless = " and ".join(f"{cell} is null" for cell in cells)
        select = (
            f"select max(row_no) as row_no, {listed} from ({source.rows}) "
            f"group by {', '.join(cells)}, case when {nameless} then row_no end"
        )
    else:
        select = f"select row_no, row_no::varchar as i0 from ({source.rows})"
    source.connection.execute(f"create temp table newest as {select}")
    ((n_clients, last),) = source.connection.execute("select count(*), max(row_no) from newest").fetchall()
    if (last or 0) != n_rows:
        raise ArtifactError(f"{data}: was modified outside this pipeline; run ingestion.py --rebuild")
    for key in source.keys:
        _make_safe(source.connection, key)
    return int(n_clients)


def _make_safe(connection: duckdb.DuckDBPyConnection, key: str) -> None:
    """Write the ids that a spreadsheet would run as text; DuckDB finds the suspects."""
    import pandas as pd

    suspect = f"regexp_matches({key}, {literal(_FORMULA)})"
    rows = connection.execute(f"select row_no, {key} from newest where {suspect}").fetchall()
    if rows:
        safe = [(row_no, escape_for_spreadsheet(text)) for row_no, text in rows]
        connection.register("safe", pd.DataFrame(safe, columns=["row_no", "text"]))
        connection.execute(f"update newest set {key} = text from safe where newest.row_no = safe.row_no")
        connection.unregister("safe")


def rank_clients(source: Source, predictor: Predictor, value_column: str | None) -> None:
    """Predict every client of `newest` who has not left, and rank them in `standing`.

    By expected loss, those without a value last, then by probability, then by row; from 1. What is shown is
    rounded, `exact` and `loss` are not.
    """
    label = source.cells[source.schema.target]
    left = f"coalesce({is_word(label, source.schema.positive)}, false)"
    rows = f"select * from ({source.rows}) semi join newest using (row_no) where not {left}"
    worth = frame_reader.number_or_null(source.cells[value_column]) if value_column is not None else "null"
    source.connection.execute(
        "create table predicted (row_no bigint, leaves boolean, risk varchar, probability double, "
        "probability_low double, probability_high double, expected_loss double, exact double, loss double)"
    )
    with closing(source.connection.cursor()) as writer:  # what is read would end with another question
        chunks = frame_reader.read(
            source.connection, rows, source.cells, predictor.schema, values={"worth": worth}
        )
        for chunk in chunks:
            _store_predictions(writer, predictor, chunk)
    source.connection.execute(
        "create table standing as select row_number() over () as rank, * from "
        "(select * from predicted order by loss desc nulls last, exact desc, row_no)"
    )
    source.connection.execute("drop table predicted")


def _store_predictions(writer: duckdb.DuckDBPyConnection, predictor: Predictor, chunk: Rows) -> None:
    import pandas as pd

    predictions = predictor.predict(chunk.X)
    low, high = predictor.compute_intervals(predictions.log_odds)
    loss = predictions.probability * chunk.values["worth"]
    frame = pd.DataFrame(
        {
            "row_no": chunk.numbers,
            "leaves": predictions.flagged,
            "risk": predictions.risk,
            "probability": np.round(predictions.probability, DIGITS),
            "probability_low": np.round(low, DIGITS),
            "probability_high": np.round(high, DIGITS),
            "expected_loss": np.round(loss, LOSS_DIGITS),
            "exact": predictions.probability,
            "loss": loss,
        }
    )
    filled = ", ".join(
        f"nullif({name}, 'nan'::double) as {name}"
        for name in ("probability_low", "probability_high", "expected_loss", "loss")
    )
    writer.register("part", frame)
    writer.execute(f"insert into predicted select * replace ({filled}) from part")
    writer.unregister("part")


def find_reasons(source: Source, predictor: Predictor, n_clients: int) -> dict[int, list[Reason]]:
    """Find the reasons of the first `n_clients` clients, by rank."""
    reasons: dict[int, list[Reason]] = {}
    wanted = f"select row_no, rank, leaves from standing where rank <= {n_clients}"
    standing = {n: (rank, leaves) for n, rank, leaves in source.connection.execute(wanted).fetchall()}
    rows = f"select * from ({source.rows}) semi join ({wanted}) using (row_no)"
    for chunk in frame_reader.read(source.connection, rows, source.cells, predictor.schema):
        ranks, leaves = zip(*(standing[n] for n in chunk.numbers.tolist()), strict=True)
        flagged = np.array(leaves, dtype=bool)
        reasons |= zip(ranks, predictor.find_reasons(chunk.X, flagged, N_REASONS), strict=True)
    return reasons
