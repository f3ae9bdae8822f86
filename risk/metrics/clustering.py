"""Rows of the same client: how much less they tell than as many clients would."""

from __future__ import annotations

import numpy as np


def only_if_repeated(keys: np.ndarray) -> np.ndarray | None:
    """Give back whose each row is, or None where no client has two rows.

    Parameters
    ----------
    keys : ndarray of shape (n_samples,)
        Equal for rows of the same client; empty where nothing names one.
    """
    return keys if len(np.unique(keys)) < len(keys) else None


def design_effect(influence: np.ndarray, clients: np.ndarray | None) -> float:
    """Compute by how much the variance of an estimate grows because rows of a client go together [1]_.

    Parameters
    ----------
    influence : ndarray of shape (n_samples,)
        What each row adds to the estimate beyond its mean; the sum of squares over rows is the variance of
        independent rows, that of the sums over clients the variance of independent clients.
    clients : ndarray of shape (n_samples,) or None
        Whose row it is; None where each row is a client of its own.

    Returns
    -------
    effect : float
        1 where each client has one row or none of its rows go together; never below 1, for rows that
        happen to balance each other promise nothing.

    References
    ----------
    .. [1] L. Kish, "Survey Sampling", Wiley 1965, section 5.4; the ratio is of "ultimate cluster"
       variances, as in J. N. K. Rao, A. J. Scott, "A simple method for the analysis of clustered binary
       data", Biometrics 48 (1992), pp. 577-585.
    """
    if clients is None or not len(influence):
        return 1.0
    code = np.unique(clients, return_inverse=True)[1]
    sums = np.bincount(code, weights=influence)
    by_rows = float((influence**2).sum()) * len(influence) / max(len(influence) - 1, 1)
    by_clients = float((sums**2).sum()) * len(sums) / max(len(sums) - 1, 1)
    return max(by_clients / by_rows, 1.0) if by_rows > 0 else len(influence) / len(sums)


def deflate(n: float, design: float) -> int:
    """Count how many independent clients tell as much as so many rows of this design effect."""
    return round(n / design)


def class_influence(y_true: np.ndarray, of_left: np.ndarray, of_stayed: np.ndarray) -> np.ndarray:
    """Compute what each row adds to a mean over leavers that is also one over stayers, such as AUC.

    Parameters
    ----------
    y_true : ndarray of shape (n_samples,)
        1 leaves, 0 stays, rows of both classes.
    of_left, of_stayed : ndarray of shape (n_positive,) and (n_negative,)
        Values of the rows of each class, in their order.

    Returns
    -------
    influence : ndarray of shape (n_samples,)
        Its sum over each class is 0.
    """
    influence = np.empty(len(y_true))
    for rows, values in ((y_true == 1, of_left), (y_true != 1, of_stayed)):
        influence[rows] = (values - values.mean()) / len(values)
    return influence


def ratio_influence(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Compute what each row adds to a ratio of two sums, up to a factor.

    Parameters
    ----------
    numerator, denominator : ndarray of shape (n_samples,)

    Returns
    -------
    influence : ndarray of shape (n_samples,)
        Its sum is 0.
    """
    total = float(denominator.sum())
    ratio = float(numerator.sum()) / total if total else 0.0
    return np.asarray(numerator - ratio * denominator, dtype="float64")


def count_clients(clients: np.ndarray | None, rows: np.ndarray) -> int:
    """Count the clients of some rows.

    Parameters
    ----------
    clients : ndarray of shape (n_samples,) or None
        Whose row it is; None where each row is a client of its own.
    rows : ndarray of bool, shape (n_samples,)
    """
    return int(rows.sum()) if clients is None else len(np.unique(clients[rows]))
