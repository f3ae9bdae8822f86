"""Do probabilities mean what they say: of those called 30 %, do 30 % leave?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from risk.folds import OutOfFold

N_BINS = 10
WEAK = 100.0  # almost no penalty; none at all has no end where the classes are apart


def brier_loss(y: np.ndarray, probability: np.ndarray) -> float:
    """Compute the mean squared difference of outcome and probability [1]_; lower is better.

    References
    ----------
    .. [1] G. W. Brier, "Verification of forecasts expressed in terms of probability", Monthly Weather
       Review 78 (1950), pp. 1-3.
    """
    return float(np.mean((probability - y) ** 2))


def reliability_curve(
    y: np.ndarray, probability: np.ndarray, n_bins: int = N_BINS
) -> list[dict[str, float | int]]:
    """Compare promised with found shares of leavers in bins of about equal count.

    Parameters
    ----------
    y : ndarray of shape (n_samples,)
        1 leaves, 0 stays.
    probability : ndarray of shape (n_samples,)
        Of leaving; equal ones are never parted, so there may be fewer bins than asked for.

    Returns
    -------
    bins : list of dict
        `mean_predicted`, `share_left` and `n` of each bin, from the lowest probability to the highest.
    """
    inner = np.unique(np.quantile(probability, np.linspace(0, 1, n_bins + 1))[1:-1])
    number = np.searchsorted(inner, probability, side="right")
    rows = [number == k for k in range(len(inner) + 1)]
    return [
        {
            "mean_predicted": float(probability[in_bin].mean()),
            "share_left": float(y[in_bin].mean()),
            "n": int(in_bin.sum()),
        }
        for in_bin in rows
        if in_bin.any()
    ]


def calibrate(found: OutOfFold) -> OutOfFold:
    """Put a sigmoid on each fold's log-odds that was fitted on the other folds of the shuffle [1]_.

    A model's own sigmoid never sees the rows it is judged on here either.

    References
    ----------
    .. [1] J. Platt, "Probabilistic outputs for support vector machines", Advances in Large Margin
       Classifiers (1999), pp. 61-74.
    """
    log_odds = np.empty_like(found.log_odds)
    for repeat, out in found.parts():
        slope, intercept = fit_sigmoid(found.y[~out], found.log_odds[repeat, ~out])
        log_odds[repeat, out] = slope * found.log_odds[repeat, out] + intercept
    return replace(found, log_odds=log_odds)


def fit_sigmoid(y: np.ndarray, log_odds: np.ndarray) -> tuple[float, float]:
    """Fit slope and intercept that turn one column of log-odds into honest ones."""
    from sklearn.linear_model import LogisticRegression

    settings: dict[str, Any] = {"C": WEAK, "solver": "newton-cholesky"}
    fitted = LogisticRegression(**settings).fit(log_odds[:, None], y)
    return float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
