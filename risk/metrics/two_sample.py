"""Tests and distances of two samples.

Every p-value here errs, where it errs, towards too large: samples may be small, tied or sparse.
"""

from __future__ import annotations

import math

import numpy as np

from risk.metrics import significance

N_BINS = 10
MIN_EXPECTED = 5.0
EMPTY_BIN = 0.5
ROUNDING = 1e-9


def stability_of_counts(reference: np.ndarray, current: np.ndarray) -> float:
    """Compute the population stability index of counts in the same bins [1]_.

    Parameters
    ----------
    reference, current : ndarray of shape (n_bins,)
        Rows in each bin, of both samples.

    Returns
    -------
    psi : float
        0 for equal distributions; has no upper bound. Unit: nats. An empty bin counts as half a row.

    References
    ----------
    .. [1] N. Siddiqi, "Credit Risk Scorecards", Wiley 2006.

    Examples
    --------
    >>> stability_of_counts(np.array([50, 50]), np.array([20, 20]))
    0.0
    """
    used = (reference > 0) | (current > 0)
    before = np.maximum(reference[used], EMPTY_BIN) / reference.sum()
    now = np.maximum(current[used], EMPTY_BIN) / current.sum()
    return float(np.sum((now - before) * np.log(now / before)))


def stability_noise(reference: np.ndarray, current: np.ndarray) -> tuple[float, float]:
    """Compute the PSI to expect of samples without any shift.

    Parameters
    ----------
    reference, current : ndarray of shape (n_bins,)
        Rows in each bin, of both samples.

    Returns
    -------
    mean, critical : float
        The mean, and the value that 5 % of such samples exceed.

    Notes
    -----
    PSI is then about (1/n + 1/m) times chi2 with B - 1 degrees of freedom, for B bins in use; with under
    ten rows a bin it is larger (at five, 9 % of samples exceed the value meant for 5 %).

    References
    ----------
    .. [1] B. Yurdakul, "Statistical Properties of Population Stability Index", dissertation, Western
       Michigan University, 2018.
    """
    from scipy.special import chdtri

    freedom = int(((reference > 0) | (current > 0)).sum()) - 1
    scale = 1 / reference.sum() + 1 / current.sum()
    return float(freedom * scale), float(chdtri(freedom, significance.ALPHA) * scale) if freedom else 0.0


def ks_p_value(ks: float, n_reference: int, n: int) -> float:
    """Compute the p-value of a gap from the limiting distribution; too large where values are tied.

    References
    ----------
    .. [1] W. Feller, "On the Kolmogorov-Smirnov Limit Theorems for Empirical Distributions", Annals of
       Mathematical Statistics 19 (1948), pp. 177-189.
    """
    from scipy.special import kolmogorov

    return float(kolmogorov(ks * math.sqrt(n_reference * n / (n_reference + n))))


def chi_square(reference: np.ndarray, current: np.ndarray) -> tuple[float, int, float]:
    """Compare counts in the same bins by Pearson's test of homogeneity.

    1. Order the bins by the sum of both rows, which says nothing about where they differ.
    2. Join neighbours until both samples expect at least five rows in each.
    3. Test what is left.

    Parameters
    ----------
    reference, current : ndarray of shape (n_bins,)
        Rows in each bin, of both samples.

    Returns
    -------
    statistic : float
    degrees_of_freedom : int
        0 when fewer than two bins are left; the p-value is 1 then.
    p_value : float

    References
    ----------
    .. [1] W. G. Cochran, "Some Methods for Strengthening the Common chi2 Tests", Biometrics 10 (1954),
       pp. 417-451.
    """
    from scipy.special import chdtrc

    table = _join_small(np.array([reference, current], dtype=float))
    freedom = table.shape[1] - 1
    if freedom < 1 or not table.sum(axis=1).all():
        return 0.0, 0, 1.0
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    statistic = float(((table - expected) ** 2 / expected).sum())
    return statistic, freedom, float(chdtrc(freedom, statistic))


def _least_total(table: np.ndarray) -> float:
    """Compute how many rows of both samples a bin needs for the smaller one to expect five."""
    return float(MIN_EXPECTED * table.sum() / max(1.0, table.sum(axis=1).min()))


def _join_small(table: np.ndarray) -> np.ndarray:
    table = table[:, np.argsort(-table.sum(axis=0), kind="stable")]
    starts, held, least = [0], 0.0, _least_total(table)
    for i, total in enumerate(table.sum(axis=0)):
        if held >= least:
            starts.append(i)
            held = 0.0
        held += total
    if held < least:
        starts.pop()
    return np.add.reduceat(table, starts, axis=1) if starts else table[:, :0]


def surge_p_value(reference: np.ndarray, current: np.ndarray) -> float | None:
    """Test whether a rare bin, or one that had no row before, holds too many rows now.

    For bins too small for `chi_square`; None when there is none. By Fisher's law each bin has a chance
    of holding this many of its rows in the current sample. The smallest of these chances is added up
    over the bins that could have reached it: a union bound that holds for any sizes.

    Parameters
    ----------
    reference, current : ndarray of shape (n_bins,)
        Rows in each bin, of both samples.

    References
    ----------
    .. [1] R. E. Tarone, "A Modified Bonferroni Method for Discrete Data", Biometrics 46 (1990),
       pp. 515-522.
    """
    from scipy.stats import hypergeom

    n, total = int(current.sum()), int(reference.sum() + current.sum())
    both = reference + current
    small = (both > 0) & (both < _least_total(np.array([reference, current], dtype=float)))
    if not small.any() or not 0 < n < total:
        return None
    k, both = current[small], both[small]
    chance = float(np.min(hypergeom.sf(k - 1, total, both, n)))
    best = hypergeom.pmf(np.minimum(both, n), total, both, n)
    reachable = int((best <= chance * (1 + ROUNDING)).sum())  # the bin itself among them, to the last digit
    return min(1.0, chance * max(1, reachable))


def categories_p_value(reference: np.ndarray, current: np.ndarray) -> float:
    """Test counts by category: chi2 for all, and exactly for those too rare for it.

    Parameters
    ----------
    reference, current : ndarray of shape (n_bins,)
        Rows in each bin, of both samples.

    Returns
    -------
    p_value : float
        Twice the smaller one where both tests apply.
    """
    p_value, p_surge = chi_square(reference, current)[2], surge_p_value(reference, current)
    return p_value if p_surge is None else min(1.0, 2 * min(p_value, p_surge))


def compare_shares(k_reference: int, n_reference: int, k: int, n: int) -> float:
    """Compare two shares exactly: twice the smaller tail of Fisher's law, at most 1.

    References
    ----------
    .. [1] A. Agresti, "Categorical Data Analysis", 3rd ed., Wiley 2013, section 3.5.
    """
    from scipy.stats import hypergeom

    total = k_reference + k
    if not n_reference or not n or total in (0, n_reference + n):
        return 1.0
    lower = share_drop_p_value(k_reference, n_reference, k, n)
    upper = hypergeom.sf(k - 1, n_reference + n, total, n)
    return float(min(1.0, 2 * min(lower, upper)))


def share_drop_p_value(k_reference: int, n_reference: int, k: int, n: int) -> float:
    """Test exactly whether a share is smaller than it was: the lower tail of Fisher's law.

    Its level holds for any sizes; with few rows it is well below what is asked for.

    References
    ----------
    .. [1] A. Agresti, "Categorical Data Analysis", 3rd ed., Wiley 2013, section 3.5.
    """
    from scipy.stats import hypergeom

    if not n_reference or not n:
        return 1.0
    return float(hypergeom.cdf(k, n_reference + n, k_reference + k, n))
