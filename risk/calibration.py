"""Do probabilities mean what they say: of those called 30 %, do 30 % leave?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from risk.folds import OutOfFold

N_BINS = 10
WEAK = 100.0  # almost no penalty; none at all has no end where the classes are apart
PRIOR_SD = 0.5  # of both parameters of a sigmoid, around the one that changes nothing
MIN_STEP = 1e-10
SUREST = 1e-6  # nothing is surer than one in a million


@dataclass(frozen=True)
class Reliability:
    """What rows with known outcome say of a model's probabilities.

    The log-odds of leaving are `intercept + slope * log-odds said`, known but for `covariance`. What such
    a sigmoid cannot mend differs from bin to bin (parted at `edges`) with the standard deviation
    `unevenness` of log-odds. `z` and `p_value` are of Spiegelhalter's test of the probabilities as said.
    """

    n: int
    n_positive: int
    intercept: float
    slope: float
    covariance: tuple[tuple[float, float], tuple[float, float]]
    unevenness: float
    edges: tuple[float, ...]
    z: float
    p_value: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Reliability:
        first, second = (tuple(row) for row in raw["covariance"])
        return cls(**{**raw, "covariance": (first, second), "edges": tuple(raw["edges"])})

    def correct(self, probability: np.ndarray) -> np.ndarray:
        """Turn probabilities as said into those that the known outcomes speak for."""
        from scipy.special import expit

        return np.asarray(expit(self.intercept + self.slope * to_log_odds(probability)))


def to_log_odds(probability: np.ndarray) -> np.ndarray:
    """Compute log-odds, finite where a probability is 0 or 1, too."""
    from scipy.special import logit

    return np.asarray(logit(np.clip(probability, SUREST, 1 - SUREST)))


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
    """Part probabilities into bins of about equal count; there may be fewer than asked for."""
    return np.unique(np.quantile(probability, np.linspace(0, 1, n_bins + 1))[1:-1])


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


# --- can probabilities be trusted? -------------------------------------------------------------------------


def measure(y: np.ndarray, probability: np.ndarray, n: np.ndarray | None = None) -> Reliability:
    """Hold probabilities against known outcomes.

    1. Test them as they are [1]_.
    2. Fit the sigmoid that mends them, with a normal prior around the one that changes nothing.
    3. Take what is left between bins, beyond chance, as their unevenness: method of moments [2]_.

    Parameters
    ----------
    y : ndarray of shape (n_samples,)
        1 leaves, 0 stays, of rows that the model was not fitted on; or shares of leavers of groups.
    probability : ndarray of shape (n_samples,)
        Of leaving, as the model said it.
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
    log_odds, edges = to_log_odds(probability), inner_edges(probability)
    (intercept, slope), covariance = _fit_posterior(y, log_odds, weight)
    z, p_value = spiegelhalter(y, probability, weight)
    found = Reliability(
        n=round(weight.sum()),
        n_positive=round((weight * y).sum()),
        intercept=intercept,
        slope=slope,
        covariance=covariance,
        unevenness=0.0,
        edges=tuple(map(float, edges)),
        z=z,
        p_value=p_value,
    )
    number = np.searchsorted(edges, probability, side="right")
    return replace(found, unevenness=_find_unevenness(y, found.correct(probability), weight, number))


def measure_curve(curve: Sequence[Mapping[str, float]]) -> Reliability:
    """Do it with a reliability curve, where the rows themselves are not at hand."""
    columns = ("share_left", "mean_predicted", "n")
    y, probability, n = (np.array([one[name] for one in curve], dtype="float64") for name in columns)
    return measure(y, probability, n)


def spiegelhalter(y: np.ndarray, probability: np.ndarray, n: np.ndarray) -> tuple[float, float]:
    """Compute Spiegelhalter's z, and the two-sided chance of such a one of honest probabilities."""
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
        said = design @ at
        fit = (n * (y * log_expit(said) + (1 - y) * log_expit(-said))).sum()
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


def _find_unevenness(y: np.ndarray, probability: np.ndarray, n: np.ndarray, number: np.ndarray) -> float:
    """Find the standard deviation of log-odds between bins that chance does not explain."""
    missed = np.bincount(number, n * (y - probability))
    weight = np.bincount(number, n * probability * (1 - probability))
    missed, weight = missed[weight > 0], weight[weight > 0]
    freedom = len(weight) - 2
    if freedom < 1:
        return 0.0
    excess = float((missed**2 / weight).sum()) - freedom
    return float(max(0.0, excess / (weight.sum() - (weight**2).sum() / weight.sum())) ** 0.5)
