"""Predictions as lines of CSV.

A line for each row: `row` (its number among the rows of the file, from 1), the id columns that the file has,
under their own names, `probability` (four decimals), `class` (1 leaves, 0 stays), `risk` (high, medium, low:
see `intervals`), `reason_1`, `reason_2`, … (see `reasons`). Every cell is safe for a spreadsheet.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from risk import text
from risk.data.schema import ROW
from risk.prediction import reasons
from risk.prediction.predictor import Predictor

if TYPE_CHECKING:
    import pandas as pd

DIGITS = 4
_SIGNS = "=+-@\t\r\uff1d\uff0b\uff0d\uff20"
_FORMULA = re.compile(f"(^|[\0;|\t\r\n])[{re.escape(_SIGNS)}]")  # see `escapes`
_CLASSES = np.array(["0", "1"], dtype=object)
_TEXTS = np.array([f"{k / 10**DIGITS:.{DIGITS}f}" for k in range(10**DIGITS + 1)], dtype=object)


def render_header(ids: Sequence[str], n_reasons: int) -> str:
    """Render the header of a file of predictions."""
    names = [ROW, *ids, "probability", "class", "risk", *(f"reason_{k + 1}" for k in range(n_reasons))]
    return ",".join(map(quote_cell, names)) + "\n"


def render_lines(
    predictor: Predictor, numbers: np.ndarray, X: pd.DataFrame, ids: Sequence[np.ndarray], n_reasons: int
) -> tuple[str, int]:
    """Predict some rows and render a line for each.

    Parameters
    ----------
    numbers : ndarray of int, shape (n_samples,)
        Of the rows in their file, from 1.
    X : DataFrame of shape (n_samples, n_features)
    ids : sequence of ndarray
        Cells of the id columns as texts, None where missing.
    n_reasons : int
        How many reasons a line has at most.

    Returns
    -------
    lines : str
    n_flagged : int
        How many of the rows are predicted to leave.
    """
    predictions = predictor.predict(X)
    columns = [list(map(str, numbers.tolist())), *map(quote_cells, ids)]
    cells = render_probabilities(predictions.probability), _CLASSES[predictions.classes], predictions.risk
    reason_cells = render_reasons(predictor, X, predictions.flagged, n_reasons)
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

    Returns
    -------
    cells : ndarray of str, shape (n_samples, n)
        Empty where there is no further reason.
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
