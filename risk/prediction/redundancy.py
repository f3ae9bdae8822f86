"""Columns that carry the same information, found in the training rows and kept in the model card.

*Twins* are cells of different columns that stand in exactly the same rows: "no internet service" in six
columns is one fact, and one reason. *Correlated* columns share out one effect among them, often with
opposite signs (a long tenure lowers the risk, the high total charges that go with it raise it): each counts
for no more than all of them together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

MIN_ROWS = 10  # fewer may agree by chance
SAMPLE_ROWS = 50_000
MIN_CORRELATION = 0.8  # of ranks
FEW_VALUES = 2
Cell = tuple[str, float | str | None]


@dataclass(frozen=True)
class Redundancy:
    """Groups of twin cells (column and value, None is missing), and groups of correlated columns."""

    twins: Sequence[Sequence[Cell]] = ()
    correlated: Sequence[Sequence[str]] = ()

    def to_json(self) -> dict[str, Any]:
        """Give what the model card keeps."""
        return {
            "twins": [[list(cell) for cell in group] for group in self.twins],
            "together": [list(group) for group in self.correlated],
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Redundancy:
        """Read what a model card keeps; of an earlier version nothing."""
        twins = [[(column, value) for column, value in group] for group in raw.get("twins", ())]
        return cls(twins, raw.get("together", ()))

    def mark_twins(self, X: pd.DataFrame, columns: Sequence[str]) -> np.ndarray:
        """Number the group of twins that each cell belongs to.

        Parameters
        ----------
        X : DataFrame of shape (n_samples, n_features)
        columns : sequence of str
            The columns of the result.

        Returns
        -------
        marks : ndarray of int, shape (n_samples, n_columns)
            0 where a cell has no twin.
        """
        marks = np.zeros((len(X), len(columns)), dtype=np.int32)
        for number, group in enumerate(self.twins, start=1):
            for name, value in group:
                same = X[name].isna() if value is None else X[name] == value
                marks[same.to_numpy(dtype=bool, na_value=False), columns.index(name)] = number
        return marks

    def bound_effects(self, effects: np.ndarray, columns: Sequence[str]) -> np.ndarray:
        """Let each of the correlated columns count for no more than all of them.

        Parameters
        ----------
        effects : ndarray of shape (n_samples, n_columns)
        columns : sequence of str
            Names of the columns of `effects`.

        Returns
        -------
        bounded : ndarray of shape (n_samples, n_columns)
        """
        bounded = effects.copy()
        for group in self.correlated:
            places = [columns.index(name) for name in group]
            total = effects[:, places].sum(axis=1, keepdims=True)
            bounded[:, places] = np.minimum(effects[:, places], total)
        return bounded


def find_redundancy(X: pd.DataFrame) -> Redundancy:
    """Find what is redundant in training rows; of a large table in 50,000 of them, evenly apart.

    Parameters
    ----------
    X : DataFrame of shape (n_samples, n_features)
    """
    X = X.iloc[:: -(-len(X) // SAMPLE_ROWS) or 1]
    return Redundancy(find_twins(X), find_correlated(X))


def find_twins(X: pd.DataFrame) -> list[list[Cell]]:
    """Find the cells of different columns that stand in exactly the same rows, ten of them or more.

    Parameters
    ----------
    X : DataFrame of shape (n_samples, n_features)

    Returns
    -------
    groups : list of list of (column, value)
    """
    weights = np.random.default_rng(0).random(len(X))  # rows are told apart by the sum of their weights
    groups: dict[tuple[int, float], list[Cell]] = {}
    for name in X.columns:
        for value, n_rows, total in _count_cells(X[name], weights):
            if MIN_ROWS <= n_rows < len(X):
                groups.setdefault((n_rows, total), []).append((name, value))
    return [group for group in groups.values() if len({name for name, _ in group}) > 1]


def _count_cells(cells: pd.Series[Any], weights: np.ndarray) -> Iterator[tuple[Any, int, float]]:
    """Count rows and sum their weights for each category, and for missing; of a number for that alone."""
    import pandas as pd

    codes, distinct = pd.factorize(cells)
    values = np.asarray(distinct, dtype=object).tolist()
    if cells.dtype.kind == "f" and len(values) > FEW_VALUES:
        codes, values = np.where(codes < 0, -1, 1), []
    codes = np.where(codes < 0, len(values), codes)
    n_rows = np.bincount(codes, minlength=len(values) + 1)
    totals = np.bincount(codes, weights, minlength=len(values) + 1)
    return zip([*values, None], n_rows.tolist(), totals.tolist(), strict=False)


def find_correlated(X: pd.DataFrame) -> list[list[str]]:
    """Find the number columns that are linked by a rank correlation of 0.8 or more, either way.

    Parameters
    ----------
    X : DataFrame of shape (n_samples, n_features)

    Returns
    -------
    groups : list of list of str
        Names of columns; a column that is linked with one of a group belongs to it.
    """
    numbers = [name for name in X.columns if X[name].dtype.kind == "f" and X[name].nunique() > 1]
    if len(numbers) < 2:
        return []
    ranks = X[numbers].rank()
    linked = np.abs(np.corrcoef(ranks.fillna(ranks.mean()), rowvar=False)) >= MIN_CORRELATION
    for _ in numbers:  # whoever is linked with a linked one is, too
        linked = (linked.astype(int) @ linked.astype(int)) > 0
    groups = {tuple(np.flatnonzero(row).tolist()) for row in linked}
    return [[numbers[i] for i in group] for group in sorted(groups) if len(group) > 1]
