"""Slices of the rows in which a model is clearly worse than elsewhere.

Rows that the model was not fitted on are cut into slices: the categories of a text, the fifths of a number,
missing cells. In each slice with enough rows two observed values are compared with what the model's own
probabilities predict there, and that difference with the same difference in all other rows:

ranking
    AUC. It is lower inside any slice of a column that the model leans on, and should be: the probabilities
    in a slice predict how well its leavers can be separated.
probability
    The share that left.

A slice is clearly worse where the difference is both significant among all comparisons (Holm: the chance of
naming any slice of a model that is the same everywhere stays under alpha) and large: by 0.05 of AUC, by 5
of 100 clients, both in itself and against the other rows. The most significant comes first; the next is
sought in the rows that are left, so that one weakness is not named again by every correlated column.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from risk.metrics import auc, clustering, significance

if TYPE_CHECKING:
    import pandas as pd

N_BINS = 5
MIN_ROWS, MIN_OF_A_CLASS, MIN_EXPECTED = 100, 30, 10
MATERIAL = 0.05
MOST_CATEGORIES, MOST_FOUND = 40, 10
RANKING, PROBABILITY = "ranking", "probability"


@dataclass(frozen=True)
class Slice:
    """A slice in which the model is clearly worse.

    Attributes
    ----------
    kind : str
        "ranking" or "probability".
    observed, predicted : float
        AUC, or the share that left; and what the probabilities of these rows predict.
    p_value : float
        Adjusted for all comparisons (Holm).
    """

    column: str
    slice: str
    kind: str
    n: int
    n_positive: int
    observed: float
    predicted: float
    p_value: float
    text: str

    def to_json(self) -> dict[str, Any]:
        """Name the fields as the model card does."""
        names = {"observed": "found", "predicted": "promised"}
        return {names.get(name, name): value for name, value in asdict(self).items()}


@dataclass(frozen=True)
class _Cut:
    column: str
    name: str
    rows: np.ndarray


class _Rows(NamedTuple):
    """Labels, predicted probabilities, and whose row it is; None where each is a client of its own."""

    y: np.ndarray
    probability: np.ndarray
    clients: np.ndarray | None

    def take(self, rows: np.ndarray) -> _Rows:
        return _Rows(
            self.y[rows], self.probability[rows], None if self.clients is None else self.clients[rows]
        )


@dataclass(frozen=True)
class _Comparison:
    """What was observed in some rows, what was predicted there, and the variance of that."""

    observed: float
    predicted: float
    variance: float

    @property
    def gap(self) -> float:
        return self.observed - self.predicted


def find_slices(
    X: pd.DataFrame,
    y: np.ndarray,
    probability: np.ndarray,
    clients: np.ndarray | None = None,
    *,
    alpha: float = significance.ALPHA,
) -> list[Slice]:
    """Find the slices in which a model is clearly worse, the surest first, ten at most.

    Parameters
    ----------
    X : DataFrame of shape (n_samples, n_features)
        Numbers as float64, the rest as text.
    y : ndarray of shape (n_samples,)
        1 leaves, 0 stays.
    probability : ndarray of shape (n_samples,)
        Of leaving, predicted by a model that was not fitted on the row.
    clients : ndarray of shape (n_samples,), optional
        Whose row it is; by default each row is a client of its own. Clients are counted, not rows.

    Returns
    -------
    slices : list of Slice
    """
    cuts = [one for name in X.columns for one in cut(X[name])]
    rows = _Rows(y, probability, clients)
    left, worse, n_tests = np.ones(len(y), dtype=bool), list[Slice](), 0
    while len(worse) < MOST_FOUND:
        tests = list(_test(cuts, left, rows))
        n_tests = n_tests or len(tests)
        best = min(tests, key=lambda test: test[0], default=None)
        if best is None or (p_value := best[0] * max(n_tests - len(worse), 1)) >= alpha:
            break
        worse.append(_describe(best[1], best[2], rows.take(best[1].rows), p_value))
        left &= ~best[1].rows
    return worse


def cut(cells: pd.Series[Any]) -> list[_Cut]:
    """Cut the rows of a column into slices.

    Parameters
    ----------
    cells : Series of shape (n_samples,)
        Numbers as float64, the rest as text; missing cells are a slice of their own.
    """
    named = _cut_numbers(cells) if cells.dtype.kind == "f" else _cut_texts(cells)
    everything = [*named, ("missing", cells.isna().to_numpy())]
    return [_Cut(str(cells.name), name, rows) for name, rows in everything if rows.any()]


def _cut_numbers(cells: pd.Series[Any]) -> list[tuple[str, np.ndarray]]:
    values = cells.to_numpy()
    distinct = np.unique(values[~np.isnan(values)])
    if len(distinct) <= N_BINS:
        return [(f"{value:g}", values == value) for value in distinct]
    tenths = np.linspace(0, 1, N_BINS + 1)[1:-1]
    edges = np.unique(np.nanquantile(values, tenths, method="inverted_cdf"))
    bin_of = np.searchsorted(edges, values, side="left")
    bins = [(bin_of == k) & ~np.isnan(values) for k in range(len(edges) + 1)]
    return [(_name_bin(values[rows]), rows) for rows in bins if rows.any()]


def _name_bin(values: np.ndarray) -> str:
    low, high = values.min(), values.max()
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _cut_texts(cells: pd.Series[Any]) -> list[tuple[str, np.ndarray]]:
    counts = cells.value_counts()
    listed = [str(name) for name, n in counts.items() if n >= MIN_ROWS][:MOST_CATEGORIES]
    slices = [(name, (cells == name).to_numpy(dtype=bool, na_value=False)) for name in listed]
    return [*slices, ("any other", (cells.notna() & ~cells.isin(listed)).to_numpy())]


# --- two comparisons ---------------------------------------------------------------------------------------


def _test(cuts: list[_Cut], left: np.ndarray, rows: _Rows) -> Iterator[tuple[float, _Cut, str]]:
    """Make both comparisons in each slice; yield p-values, 1 where a difference is not large."""
    from scipy.special import ndtr

    for one in cuts:
        here, others = one.rows & left, ~one.rows & left
        for kind, compare in COMPARISONS.items():
            inside, elsewhere = (compare(*rows.take(part)) for part in (here, others))
            if inside is None or elsewhere is None:
                continue
            difference = inside.gap - elsewhere.gap
            z = difference / (inside.variance + elsewhere.variance) ** 0.5
            p_value = float(ndtr(z) if kind == RANKING else 2 * ndtr(-abs(z)))
            sign = -1 if kind == RANKING or difference < 0 else 1
            large = min(sign * difference, sign * inside.gap) >= MATERIAL
            yield p_value if large else 1.0, one, kind


def compare_ranking(
    y: np.ndarray, probability: np.ndarray, clients: np.ndarray | None = None
) -> _Comparison | None:
    """Compare AUC with what probabilities predict: the AUC of labels drawn by them.

    The noise of that prediction goes with that of the AUC, so the variance by DeLong is too large rather
    than too small.

    Parameters
    ----------
    y : ndarray of shape (n_samples,)
        1 leaves, 0 stays.
    probability : ndarray of shape (n_samples,)
        Predicted probability of leaving.
    clients : ndarray of shape (n_samples,), optional
        Whose row it is; by default each row is a client of its own.

    Returns
    -------
    comparison : _Comparison or None
        None for too few clients.
    """
    ranked = auc.compute_ranking(y, probability, clients)
    if ranked is None or min(ranked.counts) < MIN_OF_A_CLASS or not ranked.variance:
        return None
    return _Comparison(ranked.auc, expected_auc(probability), ranked.variance)


def expected_auc(probability: np.ndarray) -> float:
    """Compute the AUC that is expected when each row leaves with its probability.

    Parameters
    ----------
    probability : ndarray of shape (n_samples,)
        Predicted probability of leaving; neither all 0 nor all 1.

    Returns
    -------
    auc : float
        The ratio of the expected numbers of pairs: those ranked rightly (ties half) to all.

    Examples
    --------
    >>> round(expected_auc(np.full(50, 0.3)), 12)
    0.5
    """
    leaves, stays = np.sort(probability), 1 - np.sort(probability)
    _, first, n = np.unique(leaves, return_index=True, return_counts=True)
    below = np.concatenate([[0.0], np.cumsum(stays)])
    half = (below[first] + below[first + n]) / 2
    own = float(np.dot(leaves, stays))  # no row is compared with itself
    above = float(np.dot(np.add.reduceat(leaves, first), half)) - own / 2
    return above / (float(leaves.sum() * stays.sum()) - own)


def compare_share(
    y: np.ndarray, probability: np.ndarray, clients: np.ndarray | None = None
) -> _Comparison | None:
    """Compare the share that left with the share predicted.

    Parameters
    ----------
    y : ndarray of shape (n_samples,)
        1 leaves, 0 stays.
    probability : ndarray of shape (n_samples,)
        Predicted probability of leaving.
    clients : ndarray of shape (n_samples,), optional
        Whose row it is; by default each row is a client of its own.

    Returns
    -------
    comparison : _Comparison or None
        None for too few clients.
    """
    n, expected = len(y), float(probability.sum())
    effect = clustering.design_effect(y - probability, clients)
    if n < MIN_ROWS * effect or min(expected, n - expected) < MIN_EXPECTED * effect:
        return None
    variance = effect * float((probability * (1 - probability)).sum()) / n**2
    return _Comparison(float(y.mean()), expected / n, variance)


COMPARISONS = {RANKING: compare_ranking, PROBABILITY: compare_share}


def _describe(one: _Cut, kind: str, rows: _Rows, p_value: float) -> Slice:
    n, n_positive = len(rows.y), int(rows.y.sum())
    inside = COMPARISONS[kind](*rows)
    if inside is None:
        raise ValueError("a slice that was tested has enough rows")
    observed, predicted = inside.observed, inside.predicted
    if kind == RANKING:  # these words are part of the model card, by whose bytes a release is named
        difference = f"leavers are told from stayers less well: AUC {observed:.2f}, promised {predicted:.2f}"
    else:
        difference = f"{100 * observed:.0f} of 100 left, {100 * predicted:.0f} were expected to"
    text = f"{one.column} {one.name} ({n:,} rows): {difference}"
    return Slice(one.column, one.name, kind, n, n_positive, observed, predicted, p_value, text)
