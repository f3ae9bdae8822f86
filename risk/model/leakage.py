"""Leakage: a column that knows the label, because it was written after the event or is the label itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from risk.metrics import cross_validation

if TYPE_CHECKING:
    import pandas as pd

LEAK_AUC = 0.99
LEAK_ROWS_OF_CLASS = 30
LEAK_BINS, FEW_VALUES = 50, 20
PURE_ROWS, PURE_SAMPLE, PURE_CHANCE = 50, 20, 1e-9

Has = Callable[["pd.Series[Any]"], np.ndarray]


def find_leak(column: pd.Series[Any], y: np.ndarray, rows: np.ndarray) -> str | None:
    """Find a column that alone tells leavers from stayers, or a group of rows that left to the last one.

    Nobody's behaviour says so much. A group in which nobody left is innocent (new contracts).

    Parameters
    ----------
    column : Series of shape (n_samples,)
        Numbers as float64 or text, missing NaN.
    y : ndarray of shape (n_samples,)
        1 leaves, 0 stays.
    rows : ndarray of int
        Positions of the sample that is searched; a group that is found is checked on all rows.

    Returns
    -------
    leak : str or None
        A sentence for people; None, too, where a class has fewer than 30 rows in the sample.
    """
    labels = y[rows]
    if cross_validation.smaller_class(labels) < LEAK_ROWS_OF_CLASS:
        return None
    auc = held_out_auc(group_values(column.iloc[rows]), labels)
    if auc >= LEAK_AUC:
        return f"column {column.name!r} alone tells who leaves (AUC {auc:.3f} on held-out rows)"
    pure = find_pure(column, y, rows)
    if pure is None:
        return None
    return f"all {pure[1]:,} rows with {pure[0]} in column {column.name!r} left"


def group_values(column: pd.Series[Any]) -> np.ndarray:
    """Put the rows of a column into groups by value.

    Words and numbers of at most 20 distinct values: a group for each value and one for missing cells,
    numbered in the order in which they first come. Other numbers: about 50 bins of equal counts, numbered
    from the least up, a bin of its own for a value that is several quantiles; missing cells come last.

    Parameters
    ----------
    column : Series of shape (n_samples,)
        Numbers as float64 or text, missing NaN.

    Returns
    -------
    group : ndarray of int, shape (n_samples,)
        The number of each row's group, from 0; a number may be nobody's.
    """
    import pandas as pd

    if not is_number(column) or column.nunique() <= FEW_VALUES:
        return np.asarray(pd.factorize(column, use_na_sentinel=False)[0])
    values = column.to_numpy()
    edges, n = np.unique(np.nanquantile(values, np.linspace(0, 1, LEAK_BINS + 1)), return_counts=True)
    # A value so frequent that it is several quantiles is a bin of its own.
    edges = np.union1d(edges[1:], np.nextafter(edges[n > 1], np.inf))
    group = np.searchsorted(edges, values, side="right")
    return np.where(np.isnan(values), len(edges) + 1, group)


def held_out_auc(group: np.ndarray, y: np.ndarray) -> float:
    """Compute the AUC of the share of leavers by group, learnt on one half of each class, on the other.

    Parameters
    ----------
    group : ndarray of int, shape (n_samples,)
        The group of each row, from 0.
    y : ndarray of shape (n_samples,)
        1 leaves, 0 stays; at least two rows of each. The rows of a class are dealt to the halves in turn.

    Returns
    -------
    auc : float
        The lesser of both ways round. A group that one half does not know counts as average.
    """
    place = np.empty(len(y), dtype=np.int64)
    for label in (0, 1):
        place[y == label] = np.arange(int((y == label).sum()))
    # One row for each half, one column for each group: who left and who stayed.
    n_left, n_stayed = (
        np.array(
            [np.bincount(group[(place % 2 == half) & (y == k)], minlength=group.max() + 1) for half in (0, 1)]
        )
        for k in (1, 0)
    )
    share = (n_left + y.mean()) / (n_left + n_stayed + 1)
    return min(auc_of_groups(share[1 - half], n_left[half], n_stayed[half]) for half in (0, 1))


def auc_of_groups(score: np.ndarray, n_left: np.ndarray, n_stayed: np.ndarray) -> float:
    """Compute the share of pairs, a leaver and one who stayed, that scores of groups order right.

    An equal score counts half [1]_.

    Parameters
    ----------
    score, n_left, n_stayed : ndarray of shape (n_groups,)
        The score of a group, and how many of its rows left and stayed; of both there is one at least.

    Returns
    -------
    auc : float
        0.5 for scores that tell nothing.

    References
    ----------
    .. [1] D. Bamber, "The area above the ordinal dominance graph and the area below the receiver operating
       characteristic graph", Journal of Mathematical Psychology 12 (1975), pp. 387-415.
    """
    _, rank = np.unique(score, return_inverse=True)
    left, stayed = np.bincount(rank, weights=n_left), np.bincount(rank, weights=n_stayed)
    below = np.cumsum(stayed) - stayed / 2
    return float((left * below).sum() / (left.sum() * stayed.sum()))


def find_pure(column: pd.Series[Any], y: np.ndarray, rows: np.ndarray) -> tuple[str, int] | None:
    """Find what all rows have in common that left to the last one, too many for chance, and count them.

    Parameters
    ----------
    column, y, rows : Series, ndarray, ndarray
        See `find_leak`.

    Returns
    -------
    pure : (str, int) or None
        Words for what they have in common ("no value", a value), and the count, at least 50 of all rows.
        Were they drawn at random, the chance that all left would be under 1e-9.
    """
    sample = column.iloc[rows]
    needed = max(PURE_ROWS * len(rows) / len(y), PURE_SAMPLE)
    for said, has in list_groups(sample, y[rows], needed / 2):
        seen = y[rows][has(sample)]
        if len(seen) >= needed / 2 and seen.all():
            left = y[has(column)]
            if len(left) >= PURE_ROWS and left.all() and y.mean() ** len(left) < PURE_CHANCE:
                return said, len(left)
    return None


def list_groups(sample: pd.Series[Any], y: np.ndarray, n_least: float) -> Iterator[tuple[str, Has]]:
    """List what rows may have in common: no value, any value, a word or one of a number's few values.

    Parameters
    ----------
    sample : Series of shape (n_sampled,)
        Numbers as float64 or text, missing NaN; of a number with more than 20 values none is listed.
    y : ndarray of shape (n_sampled,)
        1 leaves, 0 stays.
    n_least : float
        Of the values only those that at least so many rows have, all of them leavers.

    Yields
    ------
    name : str
        In words.
    has : function of Series to ndarray of bool
        Marks the rows of a column that have it.
    """
    import pandas as pd

    yield "no value", lambda column: column.isna().to_numpy()
    yield "a value", lambda column: column.notna().to_numpy()
    group, values = pd.factorize(sample)
    if is_number(sample) and len(values) > FEW_VALUES:
        return
    known = group >= 0
    n = np.bincount(group[known], minlength=len(values))
    n_left = np.bincount(group[known], weights=y[known], minlength=len(values))
    for value in values[(n == n_left) & (n >= n_least)]:
        yield shown(value), partial(_is_value, value)


def _is_value(value: object, column: pd.Series[Any]) -> np.ndarray:
    return np.asarray((column == value).to_numpy(dtype=bool))


def shown(value: Any) -> str:
    """Write a word or a number as a person would."""
    return repr(value) if isinstance(value, str) else f"{value:g}"


def is_number(column: pd.Series[Any]) -> bool:
    """Say whether a column holds numbers.

    Parameters
    ----------
    column : Series
        Numbers are float64, everything else is text.
    """
    return column.dtype.kind == "f"
