"""Where is a model clearly worse than elsewhere?

Rows that the model was not fitted on are cut into slices: the categories of a text, the fifths of a number,
missing cells. Two questions are asked of each slice with enough rows, both against what the model's own
probabilities promise there, and against how far it keeps such promises in all other rows:

ranking
    Are leavers and stayers told apart less well? AUC is lower inside any slice of a column that the model
    leans on, and should be: the probabilities in a slice say how well it can be told apart.
probability
    Do more or fewer leave?

Clearly worse is what is both significant among all questions (Holm: the chance of naming any slice of a
model that is the same everywhere stays under alpha) and large: by 0.05 of AUC, by 5 of 100 clients, both
in itself and against the other rows. The
surest comes first; the next is sought in the rows that are left, so that one weakness is not named again
by every column that goes with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from risk.metrics import auc, significance

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
    found, promised : float
        AUC, or the share that left; and what the probabilities of these rows promise.
    p_value : float
        Among all questions asked (Holm).
    """

    column: str
    slice: str
    kind: str
    n: int
    n_positive: int
    found: float
    promised: float
    p_value: float
    text: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class _Cut:
    column: str
    name: str
    rows: np.ndarray


@dataclass(frozen=True)
class _Kept:
    """How a promise was kept in some rows: what was found, what was promised, and the noise of that."""

    found: float
    promised: float
    variance: float

    @property
    def gap(self) -> float:
        return self.found - self.promised


def find_slices(
    X: pd.DataFrame, y: np.ndarray, probability: np.ndarray, *, alpha: float = significance.ALPHA
) -> list[Slice]:
    """Find the slices in which a model is clearly worse, the surest first, ten at most.

    Parameters
    ----------
    X : DataFrame of shape (n_samples, n_features)
        Numbers as float64, the rest as text.
    y : ndarray of shape (n_samples,)
        1 leaves, 0 stays.
    probability : ndarray of shape (n_samples,)
        Of leaving, said by a model that was not fitted on the row.
    """
    cuts = [one for name in X.columns for one in cut(X[name])]
    left, found, n_asked = np.ones(len(y), dtype=bool), list[Slice](), 0
    while len(found) < MOST_FOUND:
        answers = list(_ask(cuts, left, y, probability))
        n_asked = n_asked or len(answers)
        best = min(answers, key=lambda answer: answer[0], default=None)
        if best is None or (p_value := best[0] * max(n_asked - len(found), 1)) >= alpha:
            break
        found.append(_tell(best[1], best[2], y, probability, p_value))
        left &= ~best[1].rows
    return found


def cut(cells: pd.Series[Any]) -> list[_Cut]:
    """Cut the rows of a column into slices."""
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


# --- two questions -----------------------------------------------------------------------------------------


def _ask(
    cuts: list[_Cut], left: np.ndarray, y: np.ndarray, probability: np.ndarray
) -> Iterator[tuple[float, _Cut, str]]:
    """Ask both questions of each slice; give p-values, 1 where a difference is not large."""
    from scipy.special import ndtr

    for one in cuts:
        here, others = one.rows & left, ~one.rows & left
        for kind, look in ((RANKING, keep_ranking), (PROBABILITY, keep_probability)):
            kept, elsewhere = (look(y[rows], probability[rows]) for rows in (here, others))
            if kept is None or elsewhere is None:
                continue
            difference = kept.gap - elsewhere.gap
            z = difference / (kept.variance + elsewhere.variance) ** 0.5
            p_value = float(ndtr(z) if kind == RANKING else 2 * ndtr(-abs(z)))
            sign = -1 if kind == RANKING or difference < 0 else 1
            large = min(sign * difference, sign * kept.gap) >= MATERIAL
            yield p_value if large else 1.0, one, kind


def keep_ranking(y: np.ndarray, probability: np.ndarray) -> _Kept | None:
    """Compare AUC with what probabilities promise; None for too few rows.

    The promise is the AUC of labels drawn by them. Its own noise goes with that of the AUC, so the
    variance by DeLong is too large rather than too small.
    """
    ranked = auc.rank(y, probability)
    if ranked is None or min(ranked.counts) < MIN_OF_A_CLASS or not ranked.variance:
        return None
    return _Kept(ranked.auc, promise_auc(probability), ranked.variance)


def promise_auc(probability: np.ndarray) -> float:
    """Compute the AUC that is expected when each row leaves with its probability."""
    leaves, stays = np.sort(probability), 1 - np.sort(probability)
    _, first, n = np.unique(leaves, return_index=True, return_counts=True)
    below = np.concatenate([[0.0], np.cumsum(stays)])
    half = (below[first] + below[first + n]) / 2
    own = float(np.dot(leaves, stays))  # nobody is compared with himself
    above = float(np.dot(np.add.reduceat(leaves, first), half)) - own / 2
    return above / (float(leaves.sum() * stays.sum()) - own)


def keep_probability(y: np.ndarray, probability: np.ndarray) -> _Kept | None:
    """Compare the share that left with the share promised; None for too few rows."""
    n, expected = len(y), float(probability.sum())
    if n < MIN_ROWS or min(expected, n - expected) < MIN_EXPECTED:
        return None
    variance = float((probability * (1 - probability)).sum()) / n**2
    return _Kept(float(y.mean()), expected / n, variance)


def _tell(one: _Cut, kind: str, y: np.ndarray, probability: np.ndarray, p_value: float) -> Slice:
    n, n_positive = int(one.rows.sum()), int(y[one.rows].sum())
    look = keep_ranking if kind == RANKING else keep_probability
    kept = look(y[one.rows], probability[one.rows])
    if kept is None:
        raise ValueError("a slice that was asked has rows enough")
    if kind == RANKING:
        said = f"leavers are told from stayers less well: AUC {kept.found:.2f}, promised {kept.promised:.2f}"
    else:
        said = f"{100 * kept.found:.0f} of 100 left, {100 * kept.promised:.0f} were expected to"
    text = f"{one.column} {one.name} ({n:,} rows): {said}"
    return Slice(one.column, one.name, kind, n, n_positive, kept.found, kept.promised, p_value, text)
