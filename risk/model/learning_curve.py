"""The learning curve of a model: whether more rows would still make it better.

By cross-validation: models of growing parts of the same rows, all asked about the same
rows that none of them was fitted on. It is drawn where a model is fitted on a sample, and says whether the
sample is large enough.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from risk.metrics import cross_validation

if TYPE_CHECKING:
    import pandas as pd

N_POINTS, STEP = 4, 4  # each point has four times as many rows as the one before
ASKED = 20_000  # rows of a fold that models are asked about
WORTH = 0.001  # of AUC: what is less, nobody would wait for


def compute_curve(
    estimator: Any, X: pd.DataFrame, y: np.ndarray, digests: np.ndarray, *, random_state: int
) -> dict[str, Any]:
    """Draw the learning curve of a model over the rows of smallest digest.

    Parameters
    ----------
    estimator : unfitted estimator of scikit-learn
    X, y : DataFrame of shape (n_samples, n_features), ndarray of shape (n_samples,)
        The sample: 1 leaves, 0 stays.
    digests : ndarray of shape (n_samples,)
        By which the sample was taken: those below a bound are a smaller sample of the same kind.

    Returns
    -------
    curve : dict
        `points`: rows of each part, mean AUC and its standard error; `gain` of the last step (four times as
        many rows) in AUC, `standard_error` of it, and `levelled`: whether it is below 0.001 or noise.
    """
    place = np.empty(len(y), dtype=np.int64)
    place[np.argsort(digests, kind="stable")] = np.arange(len(y))
    fold = cross_validation.draw_folds(y, random_state=random_state)[0]
    n_folds = int(fold.max()) + 1
    sizes = [len(y) // STEP**k for k in reversed(range(N_POINTS))]
    sizes = [
        n for n in sizes if cross_validation.smaller_class(y[place < n]) >= cross_validation.ENOUGH * n_folds
    ] or sizes[-1:]
    auc = _score_parts(estimator, X, y, fold, place, sizes)
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
    return {"points": points, **last.to_json(), "levelled": last.gain < WORTH or not last.better}


def _score_parts(
    estimator: Any, X: pd.DataFrame, y: np.ndarray, fold: np.ndarray, place: np.ndarray, sizes: list[int]
) -> np.ndarray:
    """Compute the AUC of models fitted on parts of the sample, of shape (n_sizes, n_folds)."""
    from sklearn.base import clone

    auc = np.empty((len(sizes), int(fold.max()) + 1))
    for k in range(auc.shape[1]):
        out = np.flatnonzero(fold == k)
        asked = np.sort(out[np.argsort(place[out])[:ASKED]])
        for i, n in enumerate(sizes):
            rows = np.flatnonzero((fold != k) & (place < n))
            model = clone(estimator).fit(X.iloc[rows], y[rows])
            auc[i, k] = cross_validation.auc(y[asked], model.decision_function(X.iloc[asked]))
    return auc


def describe_curve(curve: dict[str, Any], n_fitted: int, n_labelled: int) -> str:
    """Say in a sentence how large a sample is, and whether it is large enough."""
    said = f"fitted on a sample of {n_fitted:,} of {n_labelled:,} labelled rows, by digest"
    if curve["gain"] is None:
        return f"{said}; it is too small for a learning curve"
    before = curve["points"][-2]["n_rows"]
    moved = f"{curve['gain']:+.4f} (standard error {curve['standard_error']:.4f})"
    said = f"{said}; from {before:,} rows to all of them AUC went {moved}"
    return said if curve["levelled"] else f"{said}: more rows may help, raise max_training_rows"
