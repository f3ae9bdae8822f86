"""Which columns say the same of the same clients?

Two kinds of echo, found in the training rows and kept in the model card. *Twins* are cells of different
columns that stand in exactly the same rows: "no internet service" in six columns is one fact, and is
said once. Columns that move *together* share out one effect among them, often with opposite signs (a long
tenure lowers the risk, the high total charges that go with it raise it): each counts for no more than all
of them together.
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
TOGETHER = 0.8  # rank correlation
FEW_VALUES = 2
Cell = tuple[str, float | str | None]


@dataclass(frozen=True)
class Echoes:
    """Groups of twin cells (column and value, None is missing), and groups of columns."""

    twins: Sequence[Sequence[Cell]] = ()
    together: Sequence[Sequence[str]] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "twins": [[list(cell) for cell in group] for group in self.twins],
            "together": [list(group) for group in self.together],
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Echoes:
        twins = [[(column, value) for column, value in group] for group in raw.get("twins", ())]
        return cls(twins, raw.get("together", ()))

    def mark(self, X: pd.DataFrame, columns: Sequence[str]) -> np.ndarray:
        """Number the group of twins that each cell belongs to, 0 where to none; same shape as the rows."""
        marks = np.zeros((len(X), len(columns)), dtype=np.int32)
        for number, group in enumerate(self.twins, start=1):
            for name, value in group:
                same = X[name].isna() if value is None else X[name] == value
                marks[same.to_numpy(dtype=bool, na_value=False), columns.index(name)] = number
        return marks

    def bound(self, effects: np.ndarray, columns: Sequence[str]) -> np.ndarray:
        """Let each of the columns that move together count for no more than all of them."""
        bounded = effects.copy()
        for group in self.together:
            places = [columns.index(name) for name in group]
            total = effects[:, places].sum(axis=1, keepdims=True)
            bounded[:, places] = np.minimum(effects[:, places], total)
        return bounded


def find(X: pd.DataFrame) -> Echoes:
    """Find the echoes in training rows; of a large table in 50,000 of them, evenly apart."""
    X = X.iloc[:: -(-len(X) // SAMPLE_ROWS) or 1]
    return Echoes(find_twins(X), find_together(X))


def find_twins(X: pd.DataFrame) -> list[list[Cell]]:
    """Find the cells of different columns that stand in exactly the same rows, ten of them or more."""
    draw = np.random.default_rng(0).random(len(X))  # rows are told apart by the sum of their numbers
    groups: dict[tuple[int, float], list[Cell]] = {}
    for name in X.columns:
        for value, n, total in _count_cells(X[name], draw):
            if MIN_ROWS <= n < len(X):
                groups.setdefault((n, total), []).append((name, value))
    return [group for group in groups.values() if len({name for name, _ in group}) > 1]


def _count_cells(cells: pd.Series[Any], draw: np.ndarray) -> Iterator[tuple[Any, int, float]]:
    """Count rows and sum their numbers for each category, and for missing; of a number for that alone."""
    import pandas as pd

    codes, distinct = pd.factorize(cells)
    values = np.asarray(distinct, dtype=object).tolist()
    if cells.dtype.kind == "f" and len(values) > FEW_VALUES:
        codes, values = np.where(codes < 0, -1, 1), []
    codes = np.where(codes < 0, len(values), codes)
    n = np.bincount(codes, minlength=len(values) + 1)
    totals = np.bincount(codes, draw, minlength=len(values) + 1)
    return zip([*values, None], n.tolist(), totals.tolist(), strict=False)


def find_together(X: pd.DataFrame) -> list[list[str]]:
    """Find the numbers that move together: linked by a rank correlation of 0.8 or more, either way."""
    numbers = [name for name in X.columns if X[name].dtype.kind == "f" and X[name].nunique() > 1]
    if len(numbers) < 2:
        return []
    ranks = X[numbers].rank()
    linked = np.abs(np.corrcoef(ranks.fillna(ranks.mean()), rowvar=False)) >= TOGETHER
    for _ in numbers:  # whoever is linked with a linked one is, too
        linked = (linked.astype(int) @ linked.astype(int)) > 0
    groups = {tuple(np.flatnonzero(row).tolist()) for row in linked}
    return [[numbers[i] for i in group] for group in sorted(groups) if len(group) > 1]
