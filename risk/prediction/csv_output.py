"""Predictions as lines of CSV.

A line for each row: `row` (its number among the rows of the file, from 1), the id columns that the file has,
under their own names, `probability` (four decimals), `class` (1 leaves, 0 stays), `risk` (high, medium, low:
see `intervals`), `reason_1`, `reason_2`, … (see `reasons`). Every cell is safe for a spreadsheet.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import IO, TYPE_CHECKING, NamedTuple

import numpy as np

from risk import text
from risk.data import validation
from risk.data.csv_check import Checked
from risk.data.csv_rows import Row
from risk.data.frames import to_frame
from risk.data.schema import ROW
from risk.data.validation import Rejection
from risk.errors import DatasetError
from risk.prediction import reasons
from risk.prediction.predictor import Predictor

if TYPE_CHECKING:
    import pandas as pd

CHUNK_ROWS = 10_000
DIGITS = 4
_SIGNS = "=+-@\t\r\uff1d\uff0b\uff0d\uff20"
_FORMULA = re.compile(f"(^|[\0;|\t\r\n])[{re.escape(_SIGNS)}]")  # see `risk.text`
_CLASSES = np.array(["0", "1"], dtype=object)
_TEXTS = np.array([f"{k / 10**DIGITS:.{DIGITS}f}" for k in range(10**DIGITS + 1)], dtype=object)


@dataclass
class FileSummary:
    """Counts of the rows of a file that was predicted, and its bad rows."""

    n_rows: int = 0
    n_leaving: int = 0
    rejected: list[Rejection] = field(default_factory=list)


class Chunk(NamedTuple):
    """Some rows of a file: their numbers in it, the frame of the model, id columns as texts, bad rows."""

    numbers: np.ndarray
    X: pd.DataFrame
    texts: Mapping[str, np.ndarray]
    rejected: list[Rejection]


def ids_of(header: Sequence[str], predictor: Predictor) -> list[str]:
    """Name the id columns that a file has."""
    return [name for name in predictor.schema.ids if name in header]


def check_header(checked: Checked, predictor: Predictor) -> None:
    """Check that a file is a table with the columns that the model needs.

    Raises
    ------
    DatasetError
    """
    reason = checked.refusal or validation.refuse_header(checked.header, predictor.schema.features)
    if reason:
        raise DatasetError(f"{checked.name}: {reason}")


def sort_chunks(
    rows: Iterator[Row], header: Sequence[str], predictor: Predictor, *, first: int = 1
) -> Iterator[Chunk]:
    """Sort rows into good and bad ones, 10,000 at a time; the first row has the number `first`."""
    schema, ids = predictor.schema, ids_of(header, predictor)
    while part := list(islice(rows, CHUNK_ROWS)):
        taken = validation.sort_rows(part, header, (*schema.features, *ids), schema)
        texts = {name: np.array([row[name] or None for row in taken.good], dtype=object) for name in ids}
        numbers = np.array(taken.places, dtype=np.int64) + first
        yield Chunk(numbers, to_frame(taken.good, schema), texts, taken.rejected)
        first += len(part)


def write_predictions(
    chunks: Iterator[Chunk], predictor: Predictor, out: IO[str], n_reasons: int
) -> FileSummary:
    """Write a line for each row of the chunks, with at most `n_reasons` reasons."""
    summary = FileSummary()
    for chunk in chunks:
        summary.rejected += chunk.rejected
        if len(chunk.numbers):
            lines, n_leaving = render_lines(predictor, chunk, n_reasons)
            out.write(lines)
            summary.n_rows += len(chunk.numbers)
            summary.n_leaving += n_leaving
    return summary


def render_header(ids: Sequence[str], n_reasons: int) -> str:
    """Render the header of a file of predictions."""
    names = [ROW, *ids, "probability", "class", "risk", *(f"reason_{k + 1}" for k in range(n_reasons))]
    return ",".join(map(quote_cell, names)) + "\n"


def render_lines(predictor: Predictor, chunk: Chunk, n_reasons: int) -> tuple[str, int]:
    """Predict some rows and render a line for each.

    Returns
    -------
    lines : str
    n_leaving : int
        How many of the rows are predicted to leave.
    """
    predictions = predictor.predict(chunk.X)
    ids = [chunk.texts[name] for name in ids_of([*chunk.texts], predictor)]
    columns = [list(map(str, chunk.numbers.tolist())), *map(quote_cells, ids)]
    cells = render_probabilities(predictions.probability), _CLASSES[predictions.classes], predictions.risk
    reason_cells = render_reasons(predictor, chunk.X, predictions.flagged, n_reasons)
    columns += [column.tolist() for column in (*cells, *reason_cells.T)]
    lines = "\n".join(map(",".join, zip(*columns, strict=True)))
    return lines + "\n", int(predictions.flagged.sum())


def render_probabilities(probability: np.ndarray) -> np.ndarray:
    """Render probabilities with four decimals.

    Parameters
    ----------
    probability : ndarray of shape (n_samples,)
        NaN becomes an empty text.

    Returns
    -------
    texts : ndarray of str, shape (n_samples,)
    """
    known = ~np.isnan(probability)
    texts = np.full(len(probability), "", dtype=object)
    texts[known] = _TEXTS[np.rint(probability[known] * 10**DIGITS).astype(int)]
    return texts


def render_reasons(predictor: Predictor, X: pd.DataFrame, flagged: np.ndarray, n: int) -> np.ndarray:
    """Render up to `n` reasons for each row, quoted.

    Parameters
    ----------
    X : DataFrame of shape (n_samples, n_features)
        Numbers as float64 with NaN, text with NaN.
    flagged : ndarray of bool, shape (n_samples,)
        Predicted to leave: the reasons are what raises the risk, of all others what lowers it.

    Returns
    -------
    cells : ndarray of str, shape (n_samples, n)
        Empty where there is no further reason, and of a model whose effects are not known.
    """
    explainer = predictor.explainer
    if not n or explainer is None:
        return np.full((len(X), n), "", dtype=object)
    chosen = reasons.choose_columns(explainer, X, explainer.compute_effects(X), flagged, n)
    return reasons.render_texts(explainer, X, chosen, flagged, quote_cell)


def quote_cells(cells: np.ndarray) -> list[str]:
    """Quote cells for CSV, safe for a spreadsheet.

    Parameters
    ----------
    cells : ndarray of object, shape (n_samples,)
        Texts; None is empty.
    """
    texts = ["" if cell is None else cell for cell in cells.tolist()]
    joined = "\0".join(texts)  # one search instead of one a cell: mostly there is nothing to escape
    if any(sign in joined for sign in _SIGNS) and _FORMULA.search(joined):
        texts = list(map(text.escape_for_spreadsheet, texts))
    if any(sign in joined for sign in ',"\n\r'):
        texts = list(map(text.quote_cell, texts))
    return texts


def quote_cell(cell: str) -> str:
    """Quote one cell for CSV, safe for a spreadsheet."""
    return text.quote_cell(text.escape_for_spreadsheet(cell))
