"""Levels of significance and confidence, and p-values adjusted for a family of tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

ALPHA = 0.05
LEVEL = 0.95


def benjamini_hochberg(p_values: Sequence[float]) -> np.ndarray:
    """Adjust the p-values of a family for the share of false findings among the findings.

    Parameters
    ----------
    p_values : sequence of float
        In any order; none may be NaN.

    Returns
    -------
    adjusted : ndarray of shape (n_tests,)
        In the same order; a finding at the level that the expected share is to stay under.

    References
    ----------
    .. [1] Y. Benjamini, Y. Hochberg, "Controlling the False Discovery Rate", Journal of the Royal
       Statistical Society B 57 (1995), pp. 289-300.

    Examples
    --------
    >>> benjamini_hochberg([0.01, 0.5]).tolist()
    [0.02, 0.5]
    """
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p)[::-1]
    scaled = p[order] * len(p) / np.arange(len(p), 0, -1)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, np.minimum.accumulate(scaled))
    return adjusted


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Adjust the p-values of a family for the chance of any false finding.

    Parameters
    ----------
    p_values : sequence of float
        In any order; none may be NaN.

    Returns
    -------
    adjusted : ndarray of shape (n_tests,)
        In the same order; a finding at the level that the chance is to stay under.

    References
    ----------
    .. [1] S. Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of
       Statistics 6 (1979), pp. 65-70.

    Examples
    --------
    >>> holm([0.04, 0.01]).tolist()
    [0.04, 0.02]
    """
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p)
    scaled = p[order] * np.arange(len(p), 0, -1)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(scaled))
    return adjusted
