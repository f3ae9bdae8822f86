"""Cross-validation inside the training rows, and the rule by which its scores are compared.

Every choice between models is made here, by the one rule of `Gain.better`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from risk.metrics import client_folds, significance

if TYPE_CHECKING:
    import pandas as pd

N_FOLDS = 5
N_REPEATS, SMALL_ROWS = 3, 5_000
SELECTION_ROWS = 50_000
ENOUGH = 30  # clients of a class from which on differences are more than chance
CHANCE_AUC = 0.5
CROSS_VALIDATED = "cross-validated"  # names scores of rows that were left out in turn
Metric = Callable[[np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class OutOfFold:
    """Predictions of rows by models that were not fitted on them.

    Attributes
    ----------
    y : ndarray of shape (n_samples,)
        1 leaves, 0 stays.
    fold : ndarray of shape (n_repeats, n_samples)
        The fold in which a row was left out, in each shuffle.
    log_odds : ndarray of shape (n_repeats, n_samples)
        Of leaving, predicted by the model fitted on the other folds.
    clients : ndarray of shape (n_samples,), optional
        Whose row it is; None where each row is a client of its own.
    """

    y: np.ndarray
    fold: np.ndarray
    log_odds: np.ndarray
    clients: np.ndarray | None = None

    @cached_property
    def probability(self) -> np.ndarray:
        """Of leaving, shape (n_repeats, n_samples)."""
        from scipy.special import expit

        return np.asarray(expit(self.log_odds))

    @property
    def n_folds(self) -> int:
        return int(self.fold.max()) + 1

    def parts(self) -> list[tuple[int, np.ndarray]]:
        """List every fold of every shuffle: which shuffle, and which rows were left out (a mask)."""
        return [(r, row == k) for r, row in enumerate(self.fold) for k in range(self.n_folds)]

    def scores(self, metric: Metric) -> np.ndarray:
        """Score each fold of each shuffle.

        Parameters
        ----------
        metric : function of (y, probability) to float
            Takes the labels of the rows that were left out and their predicted probabilities.

        Returns
        -------
        scores : ndarray of shape (n_repeats * n_folds,)
            In order of `parts`.
        """
        return np.array([metric(self.y[out], self.probability[r, out]) for r, out in self.parts()])

    def pooled(self) -> tuple[np.ndarray, np.ndarray]:
        """Give labels and probabilities of all shuffles in one row."""
        return np.tile(self.y, len(self.fold)), self.probability.ravel()


def row_digests(X: pd.DataFrame, y: np.ndarray | None = None) -> np.ndarray:
    """Digest each row's content, wherever it stands.

    Parameters
    ----------
    X : DataFrame of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,), optional
        Labels (0, 1) that belong to the content.

    Returns
    -------
    digests : ndarray of shape (n_samples,)
        64 bits each.
    """
    import pandas as pd

    rows = X if y is None else X.assign(**{"": y.astype(np.int64)})
    return np.asarray(pd.util.hash_pandas_object(rows, index=False).to_numpy())


def sample_by_digest(X: pd.DataFrame, y: np.ndarray, n: int) -> np.ndarray:
    """Sample rows by a digest of their content, whatever their order.

    Parameters
    ----------
    X : DataFrame of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,)
        1 leaves, 0 stays.
    n : int
        How many rows at most.

    Returns
    -------
    positions : ndarray
        Ascending.
    """
    if len(X) <= n:
        return np.arange(len(X))
    return np.sort(np.argsort(row_digests(X, y), kind="stable")[:n])


def sample_to_try(X: pd.DataFrame, y: np.ndarray, clients: np.ndarray | None = None) -> np.ndarray:
    """Sample the rows that choices are tried on: 50,000, more where one class is rare.

    Parameters
    ----------
    X : DataFrame of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,)
        1 leaves, 0 stays.
    clients : ndarray of shape (n_samples,), optional
        Whose row it is; by default each row is a client of its own.

    Returns
    -------
    positions : ndarray
        Ascending.
    """
    n = SELECTION_ROWS
    while True:
        rows = sample_by_digest(X, y, n)
        of_whom = None if clients is None else clients[rows]
        if len(rows) == len(y) or smaller_class(y[rows], of_whom) >= ENOUGH:
            return rows
        n *= 4


def smaller_class(y: np.ndarray, clients: np.ndarray | None = None) -> int:
    """Count the clients of the smaller class; one with rows of both counts in both.

    Parameters
    ----------
    y : ndarray of shape (n_samples,)
        1 leaves, 0 stays, none missing.
    clients : ndarray of shape (n_samples,), optional
        Whose row it is; by default each row is a client of its own.
    """
    if clients is None:
        return min(int(y.sum()), int((1 - y).sum()))
    return min(len(np.unique(clients[y == label])) for label in (0, 1))


def draw_folds(y: np.ndarray, clients: np.ndarray | None = None, *, random_state: int) -> np.ndarray:
    """Deal clients into folds, each with its share of both classes; small tables three times over.

    All rows of a client are in one fold: a model that has seen a client's other rows knows its answer.

    Parameters
    ----------
    y : ndarray of shape (n_samples,)
        1 leaves, 0 stays; with at least two clients of each class. Five folds need five, else there are as
        many as clients.
    clients : ndarray of shape (n_samples,), optional
        Whose row it is; by default each row is a client of its own.

    Returns
    -------
    fold : ndarray of shape (n_repeats, n_samples)
    """
    from sklearn.model_selection import RepeatedStratifiedKFold

    n_splits = min(N_FOLDS, smaller_class(y, clients))
    n_repeats = N_REPEATS if len(y) <= SMALL_ROWS else 1
    if clients is not None:
        seeds = [random_state + number for number in range(n_repeats)]
        return np.stack([client_folds.deal(y, clients, n_splits, seed) for seed in seeds])
    folds = RepeatedStratifiedKFold(n_splits=n_splits, n_repeats=n_repeats, random_state=random_state)
    fold = np.empty((n_repeats, len(y)), dtype=np.int64)
    for number, (_, out) in enumerate(folds.split(np.zeros(len(y)), y)):
        fold[number // n_splits, out] = number % n_splits
    return fold


def leave_out(
    estimator: Any, X: pd.DataFrame, y: np.ndarray, fold: np.ndarray, clients: np.ndarray | None = None
) -> OutOfFold:
    """Fit a model without each fold in turn and predict that fold.

    Parameters
    ----------
    estimator : Pipeline
        Unfitted; it is cloned for each fold.
    X : DataFrame of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,)
        1 leaves, 0 stays.
    fold : ndarray of shape (n_repeats, n_samples)
        As `draw_folds` makes it.
    clients : ndarray of shape (n_samples,), optional
        Whose row it is, as `draw_folds` was told.
    """
    from sklearn.base import clone

    log_odds = np.empty(fold.shape)
    left_out = OutOfFold(y, fold, log_odds, clients)
    for repeat, out in left_out.parts():
        model = clone(estimator).fit(X.iloc[~out], y[~out])
        log_odds[repeat, out] = model.decision_function(X.iloc[out])
    return left_out


def auc(y: np.ndarray, probability: np.ndarray) -> float:
    """Compute the area under the ROC curve of one fold.

    Parameters
    ----------
    y : ndarray of shape (n_samples,)
        1 leaves, 0 stays; both must be there.
    probability : ndarray of shape (n_samples,)
        Predicted probability of leaving.
    """
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(y, probability))


@dataclass(frozen=True)
class Gain:
    """By how much one model is better than a simpler one over the same folds, and how sure that is."""

    gain: float
    standard_error: float

    @property
    def better(self) -> bool:
        """More than noise: the one rule of every choice made by cross-validation."""
        return self.gain > self.standard_error

    def to_json(self) -> dict[str, float]:
        return {"gain": self.gain, "standard_error": self.standard_error}


def compare(scores: np.ndarray, simpler: np.ndarray, n_folds: int) -> Gain:
    """Compare paired scores of the same folds.

    Parameters
    ----------
    scores, simpler : ndarray of shape (n_repeats * n_folds,)
        Of the model and of the simpler one; higher is better.
    n_folds : int
        Folds of one shuffle.
    """
    differences = np.subtract(scores, simpler)
    return Gain(float(differences.mean()), standard_error(differences, n_folds))


def standard_error(values: np.ndarray, n_folds: int) -> float:
    """Compute the corrected standard error of a mean over folds [1]_.

    Folds share their training rows, so the plain one is too small and lets chance choose.

    Parameters
    ----------
    values : ndarray of shape (n_repeats * n_folds,)
        A score of each fold, or a difference of two.
    n_folds : int
        Folds of one shuffle: n_folds - 1 of them are fitted on while one is left out.

    References
    ----------
    .. [1] C. Nadeau, Y. Bengio, "Inference for the Generalization Error", Machine Learning 52 (2003),
       pp. 239-281.
    """
    left_out_to_fitted = 1 / (n_folds - 1)
    return float(values.std(ddof=1) * np.sqrt(1 / len(values) + left_out_to_fitted))


def summarise(values: np.ndarray, n_folds: int, level: float = significance.LEVEL) -> dict[str, float]:
    """Summarise scores between 0 and 1 over folds.

    Parameters
    ----------
    values : ndarray of shape (n_repeats * n_folds,)
    n_folds : int
        Folds of one shuffle.

    Returns
    -------
    summary : dict
        `mean`, `std` over folds, and the ends `low` and `high` of the interval of Student's t with the
        corrected standard error, cut at 0 and 1.
    """
    from scipy.special import stdtrit

    mean = float(values.mean())
    half = float(stdtrit(len(values) - 1, (1 + level) / 2)) * standard_error(values, n_folds)
    low, high = max(mean - half, 0.0), min(mean + half, 1.0)
    return {"mean": mean, "std": float(values.std(ddof=1)), "low": low, "high": high}
