"""Calibration of predicted probabilities: log-odds, bins, Brier loss, and the sigmoid that calibrates."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from risk.metrics.cross_validation import OutOfFold

N_BINS = 10
WEAK = 100.0  # almost no penalty; none at all has no end where the classes are apart
SUREST = 1e-6  # nothing is surer than one in a million


def to_log_odds(probability: np.ndarray) -> np.ndarray:
    """Compute log-odds.

    Parameters
    ----------
    probability : ndarray
        Between 0 and 1; held at one in a million from either end, so that log-odds are finite.

    Returns
    -------
    log_odds : ndarray of the same shape
        Natural logarithm of p / (1 - p).
    """
    from scipy.special import logit

    return np.asarray(logit(np.clip(probability, SUREST, 1 - SUREST)))


def brier_loss(y: np.ndarray, probability: np.ndarray) -> float:
    """Compute the mean squared difference of outcome and probability [1]_; lower is better.

    Parameters
    ----------
    y : ndarray of shape (n_samples,)
        1 leaves, 0 stays.
    probability : ndarray of shape (n_samples,)
        Predicted probability of leaving.

    References
    ----------
    .. [1] G. W. Brier, "Verification of forecasts expressed in terms of probability", Monthly Weather
       Review 78 (1950), pp. 1-3.

    Examples
    --------
    >>> brier_loss(np.array([1, 0]), np.array([0.5, 0.0]))
    0.125
    """
    return float(np.mean((probability - y) ** 2))


def reliability_curve(
    y: np.ndarray, probability: np.ndarray, n_bins: int = N_BINS
) -> list[dict[str, float | int]]:
    """Compare predicted with observed shares of leavers in bins of about equal count.

    Parameters
    ----------
    y : ndarray of shape (n_samples,)
        1 leaves, 0 stays.
    probability : ndarray of shape (n_samples,)
        Predicted probability of leaving; equal ones stay together, so there may be fewer bins than asked for.

    Returns
    -------
    bins : list of dict
        `mean_predicted`, `share_left` and `n` of each bin, from the lowest probability to the highest.
    """
    inner = inner_edges(probability, n_bins)
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


def inner_edges(probability: np.ndarray, n_bins: int = N_BINS) -> np.ndarray:
    """Divide probabilities into bins of about equal count.

    Parameters
    ----------
    probability : ndarray of shape (n_samples,)

    Returns
    -------
    edges : ndarray
        At most `n_bins` - 1, ascending; fewer where values are tied.
    """
    return np.unique(np.quantile(probability, np.linspace(0, 1, n_bins + 1))[1:-1])


def calibrate(left_out: OutOfFold) -> OutOfFold:
    """Calibrate each fold's log-odds by a sigmoid fitted on the other folds of the shuffle [1]_.

    As with a model's own sigmoid, no row takes part in the fit that is evaluated on it.

    References
    ----------
    .. [1] J. Platt, "Probabilistic outputs for support vector machines", Advances in Large Margin
       Classifiers (1999), pp. 61-74.
    """
    log_odds = np.empty_like(left_out.log_odds)
    for repeat, out in left_out.parts():
        slope, intercept = fit_sigmoid(left_out.y[~out], left_out.log_odds[repeat, ~out])
        log_odds[repeat, out] = slope * left_out.log_odds[repeat, out] + intercept
    return replace(left_out, log_odds=log_odds)


def fit_sigmoid(y: np.ndarray, log_odds: np.ndarray) -> tuple[float, float]:
    """Fit the sigmoid that calibrates log-odds.

    Parameters
    ----------
    y : ndarray of shape (n_samples,)
        1 leaves, 0 stays.
    log_odds : ndarray of shape (n_samples,)
        Predicted log-odds of leaving.

    Returns
    -------
    slope, intercept : float
        Calibrated log-odds are `slope * log_odds + intercept`.
    """
    from sklearn.linear_model import LogisticRegression

    settings: dict[str, Any] = {"C": WEAK, "solver": "newton-cholesky"}
    fitted = LogisticRegression(**settings).fit(log_odds[:, None], y)
    return float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
