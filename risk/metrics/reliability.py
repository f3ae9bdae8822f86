"""Reliability of predicted probabilities: what known outcomes show of them, and the correction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from risk.metrics import calibration

PRIOR_SD = 0.5  # of both parameters of a sigmoid, around the one that changes nothing
MIN_STEP, MOST_STEPS = 1e-10, 25


@dataclass(frozen=True)
class Reliability:
    """How a model's probabilities relate to known outcomes.

    The log-odds of leaving are `intercept + slope * predicted log-odds`, known but for `covariance`. What
    such a sigmoid cannot correct is added by bin (divided at `edges`): `offsets`, known to `offset_errors`,
    and `p_uneven` is the chance that bins differ so much without reason. `z` and `p_value` are those of
    Spiegelhalter's test of the probabilities as predicted.
    """

    n: int
    n_positive: int
    intercept: float
    slope: float
    covariance: tuple[tuple[float, float], tuple[float, float]]
    edges: tuple[float, ...]
    offsets: tuple[float, ...]
    offset_errors: tuple[float, ...]
    p_uneven: float
    z: float
    p_value: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Reliability:
        first, second = (tuple(row) for row in raw["covariance"])
        listed = {name: tuple(raw[name]) for name in ("edges", "offsets", "offset_errors")}
        return cls(**{**raw, "covariance": (first, second), **listed})

    def widen(self, factor: float) -> Reliability:
        """Know everything less precisely: `factor` times the variance."""
        (aa, ab), (_, bb) = self.covariance
        wider = ((factor * aa, factor * ab), (factor * ab, factor * bb))
        errors = tuple(factor**0.5 * error for error in self.offset_errors)
        return replace(self, covariance=wider, offset_errors=errors)

    def correct(self, probability: np.ndarray) -> np.ndarray:
        """Correct predicted probabilities by the known outcomes.

        Parameters
        ----------
        probability : ndarray of shape (n_samples,)
            Of leaving, as predicted.

        Returns
        -------
        corrected : ndarray of shape (n_samples,)
            The most probable ones; how surely they are known is in `covariance` and `offset_errors`.
        """
        from scipy.special import expit

        offsets = np.array(self.offsets)[np.searchsorted(self.edges, probability, "right")]
        return np.asarray(expit(self.intercept + self.slope * calibration.to_log_odds(probability) + offsets))


def measure_reliability(y: np.ndarray, probability: np.ndarray, n: np.ndarray | None = None) -> Reliability:
    """Compare probabilities with known outcomes.

    Steps: test them as they are [1]_; fit the sigmoid that corrects them, its prior around the identity;
    take what is left between bins beyond chance (method of moments [2]_) as the prior of each offset.

    Parameters
    ----------
    y, probability : ndarray of shape (n_samples,)
        1 leaves, 0 stays, or shares of groups, of rows not fitted on; the predicted probability.
    n : ndarray of shape (n_samples,), optional
        Rows in each group; 1 each when not given.

    References
    ----------
    .. [1] D. J. Spiegelhalter, "Probabilistic prediction in patient management and clinical trials",
       Statistics in Medicine 5 (1986), pp. 421-433.
    .. [2] R. DerSimonian, N. Laird, "Meta-analysis in clinical trials", Controlled Clinical Trials 7
       (1986), pp. 177-188.
    """
    weight = np.ones(len(y)) if n is None else np.asarray(n, dtype="float64")
    log_odds, edges = calibration.to_log_odds(probability), calibration.inner_edges(probability)
    (intercept, slope), covariance = _fit_posterior(y, log_odds, weight)
    number = np.searchsorted(edges, probability, side="right")
    bins = _Bins(intercept + slope * log_odds, y, weight, number, len(edges) + 1)
    offsets, errors, p_uneven = _fit_offsets(bins)
    z, p_value = spiegelhalter(y, probability, weight)
    return Reliability(
        n=round(weight.sum()),
        n_positive=round((weight * y).sum()),
        intercept=intercept,
        slope=slope,
        covariance=covariance,
        edges=tuple(map(float, edges)),
        offsets=tuple(map(float, offsets)),
        offset_errors=tuple(map(float, errors)),
        p_uneven=p_uneven,
        z=z,
        p_value=p_value,
    )


def measure_curve(curve: Sequence[Mapping[str, float]]) -> Reliability:
    """Measure reliability from a reliability curve, where the rows themselves are not at hand.

    Parameters
    ----------
    curve : sequence of mappings
        The bins of `calibration.reliability_curve`: `share_left`, `mean_predicted`, `n`. Each counts as `n`
        rows of the mean probability.
    """
    columns = ("share_left", "mean_predicted", "n")
    y, probability, n = (np.array([one[name] for one in curve], dtype="float64") for name in columns)
    return measure_reliability(y, probability, n)


def spiegelhalter(y: np.ndarray, probability: np.ndarray, n: np.ndarray) -> tuple[float, float]:
    """Test whether probabilities are calibrated, by Spiegelhalter's z [1]_.

    Parameters
    ----------
    y : ndarray of shape (n_samples,)
        1 leaves, 0 stays; or shares of leavers of groups.
    probability : ndarray of shape (n_samples,)
        Predicted probability of leaving.
    n : ndarray of shape (n_samples,)
        Rows in each group.

    Returns
    -------
    z : float
        Standard normal for calibrated probabilities; 0 where nothing can be tested.
    p_value : float
        Two-sided.

    References
    ----------
    .. [1] D. J. Spiegelhalter, "Probabilistic prediction in patient management and clinical trials",
       Statistics in Medicine 5 (1986), pp. 421-433.
    """
    from scipy.special import ndtr

    bent = 1 - 2 * probability
    variance = float((n * bent**2 * probability * (1 - probability)).sum())
    if not variance:
        return 0.0, 1.0
    z = float((n * (y - probability) * bent).sum()) / variance**0.5
    return z, float(2 * ndtr(-abs(z)))


def _fit_posterior(
    y: np.ndarray, log_odds: np.ndarray, n: np.ndarray
) -> tuple[tuple[float, float], tuple[tuple[float, float], tuple[float, float]]]:
    """Find the most probable sigmoid by Newton's method, and the covariance of its law near by."""
    from scipy.special import expit, log_expit

    design = np.column_stack([np.ones(len(y)), log_odds])
    prior = np.array([0.0, 1.0])

    def loss(at: np.ndarray) -> float:
        predicted = design @ at
        fit = (n * (y * log_expit(predicted) + (1 - y) * log_expit(-predicted))).sum()
        return float(((at - prior) ** 2).sum() / (2 * PRIOR_SD**2) - fit)

    at = prior
    while True:
        p = expit(design @ at)
        curved = (design * (n * p * (1 - p))[:, None]).T @ design + np.eye(2) / PRIOR_SD**2
        slope = (at - prior) / PRIOR_SD**2 - design.T @ (n * (y - p))
        step = np.linalg.solve(curved, slope)
        while loss(at - step) > loss(at) and np.abs(step).max() > MIN_STEP:
            step = step / 2
        if np.abs(step).max() <= MIN_STEP:
            break
        at = at - step
    (aa, ab), (_, bb) = np.linalg.inv(curved)
    return (float(at[0]), float(at[1])), ((float(aa), float(ab)), (float(ab), float(bb)))


@dataclass(frozen=True)
class _Bins:
    """Rows in bins: corrected log-odds, outcomes, counts, and the number of the bin of each."""

    log_odds: np.ndarray
    y: np.ndarray
    n: np.ndarray
    number: np.ndarray
    n_bins: int

    def count(self, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Count by bin the leavers that were not expected, and the information about their log-odds."""
        from scipy.special import expit

        p = expit(self.log_odds + offsets[self.number])
        parts = (self.n * (self.y - p), self.n * p * (1 - p))
        missed, weight = (np.bincount(self.number, part, self.n_bins) for part in parts)
        return missed, weight


def _find_unevenness(bins: _Bins) -> tuple[float, float]:
    """Find the variance of log-odds between bins, beyond chance, and its p-value by chi2."""
    from scipy.special import chdtrc

    missed, weight = bins.count(np.zeros(bins.n_bins))
    missed, weight = missed[weight > 0], weight[weight > 0]
    freedom = len(weight) - 2
    if freedom < 1:
        return 0.0, 1.0
    statistic = float((missed**2 / weight).sum())
    excess = max(0.0, statistic - freedom) / (weight.sum() - (weight**2).sum() / weight.sum())
    return float(excess), float(chdtrc(freedom, statistic))


def _fit_offsets(bins: _Bins) -> tuple[np.ndarray, np.ndarray, float]:
    """Find by how much the log-odds of each bin are off, drawn towards 0 by their variance, and its error.

    The third is the p-value of their unevenness.
    """
    variance, p_uneven = _find_unevenness(bins)
    offsets = np.zeros(bins.n_bins)
    if not variance:
        return offsets, offsets, p_uneven
    for _ in range(MOST_STEPS):
        missed, weight = bins.count(offsets)
        weight = weight + 1 / variance
        offsets = offsets + np.clip((missed - offsets / variance) / weight, -1, 1)
    return offsets, weight**-0.5, p_uneven
