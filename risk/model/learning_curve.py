"""The learning curve of a model: whether more rows would still make it better.

By cross-validation: models of growing parts of the same rows, all evaluated on the same rows, which none
of them was fitted on. It is computed where a model is fitted on a sample, and says whether the
sample is large enough.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from risk.metrics import cross_validation

if TYPE_CHECKING:
    import pandas as pd

    from risk.model.training_rows import LabelledRows

N_POINTS, STEP = 4, 4  # each point has four times as many rows as the one before
MOST_EVALUATED = 20_000  # rows of a fold that models are evaluated on
LEAST_GAIN = 0.001  # of AUC; less is not worth the time


def compute_curve(estimator: Any, data: LabelledRows, *, random_state: int) -> dict[str, Any]:
    """Compute the learning curve of a model over the rows of smallest digest.

    Parameters
    ----------
    estimator : unfitted estimator of scikit-learn
    data : LabelledRows
        A sample. Those of its rows, or clients, whose digests are below a bound are a smaller sample of the
        same kind.

    Returns
    -------
    curve : dict
        `points`: rows of each part, mean AUC and its standard error; `gain` of the last step (four times as
        many rows) in AUC, `standard_error` of it, and `levelled`: whether it is below 0.001 or noise.
    """
    y, clients = data.y, data.clients
    rank = np.empty(len(y), dtype=np.int64)
    rank[np.argsort(data.digests if clients is None else clients, kind="stable")] = np.arange(len(y))
    fold = cross_validation.draw_folds(y, clients, random_state=random_state)[0]
    n_folds = int(fold.max()) + 1
    sizes = [len(y) // STEP**k for k in reversed(range(N_POINTS))]
    enough = cross_validation.ENOUGH * n_folds
    sizes = [
        n for n in sizes if cross_validation.smaller_class(y[rank < n], data.clients_of(rank < n)) >= enough
    ] or sizes[-1:]
    auc = _score_parts(estimator, data.X, y, fold, rank, sizes)
    points = [
        {
            "n_rows": n,
            "auc": float(scores.mean()),
            "standard_error": cross_validation.standard_error(scores, n_folds),
        }
        for n, scores in zip(sizes, auc, strict=True)
    ]
    if len(sizes) < 2:
        return {"points": points, "gain": None, "standard_error": None, "levelled": False}
    last = cross_validation.compare(auc[-1], auc[-2], n_folds)
    return {"points": points, **last.to_json(), "levelled": last.gain < LEAST_GAIN or not last.better}


def _score_parts(
    estimator: Any,
    X: pd.DataFrame,
    y: np.ndarray,
    fold: np.ndarray,
    rank: np.ndarray,
    sizes: list[int],
) -> np.ndarray:
    """Compute the AUC of models fitted on parts of the sample, of shape (n_sizes, n_folds)."""
    from sklearn.base import clone

    auc = np.empty((len(sizes), int(fold.max()) + 1))
    for k in range(auc.shape[1]):
        left_out = np.flatnonzero(fold == k)
        evaluated = np.sort(left_out[np.argsort(rank[left_out])[:MOST_EVALUATED]])
        for i, n in enumerate(sizes):
            rows = np.flatnonzero((fold != k) & (rank < n))
            model = clone(estimator).fit(X.iloc[rows], y[rows])
            auc[i, k] = cross_validation.auc(y[evaluated], model.decision_function(X.iloc[evaluated]))
    return auc


def describe_curve(curve: dict[str, Any], n_fitted: int, n_labelled: int) -> str:
    """Describe in a sentence how large a sample is, and whether it is large enough."""
    sample = f"fitted on a sample of {n_fitted:,} of {n_labelled:,} labelled rows, by digest"
    if curve["gain"] is None:
        return f"{sample}; it is too small for a learning curve"
    before = curve["points"][-2]["n_rows"]
    change = f"{curve['gain']:+.4f} (standard error {curve['standard_error']:.4f})"
    result = f"{sample}; from {before:,} rows to all of them AUC changed by {change}"
    return result if curve["levelled"] else f"{result}: more rows may help, raise max_training_rows"
