"""AUC, its variance, a test of a drop, and resampling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from risk.metrics import clustering

LEAST_SKEWNESS = 1e-3
CHUNK = 20_000  # rows resampled at once: they stay in the cache


@dataclass(frozen=True)
class Ranking:
    """AUC and what its noise is made of.

    The placement of a leaver is the share of stayers ranked below it, that of a stayer the share of
    leavers above it (ties half). AUC is the mean of either; `variances` and `third_moments` are central
    and unbiased for n >= 2, for leavers and stayers.
    """

    auc: float
    n_positive: int
    n_negative: int
    variances: tuple[float, float]
    third_moments: tuple[float, float]
    design: float = 1.0

    @property
    def counts(self) -> tuple[float, float]:
        """Leavers and stayers; where clients have several rows, as many as tell as much by themselves."""
        return self.n_positive / self.design, self.n_negative / self.design

    @property
    def variance(self) -> float:
        """Variance of the AUC by DeLong, of clients [2]_ where they have several rows.

        References
        ----------
        .. [2] N. A. Obuchowski, "Nonparametric Analysis of Clustered ROC Curve Data", Biometrics 53 (1997),
           pp. 567-578.
        """
        n_positive, n_negative = self.counts
        return self.variances[0] / n_positive + self.variances[1] / n_negative

    def to_json(self) -> dict[str, Any]:
        facts = asdict(self)
        if self.design == 1.0:
            del facts["design"]
        return facts

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Ranking:
        pairs = {name: tuple(raw[name]) for name in ("variances", "third_moments")}
        design = raw.get("design", 1.0)
        return cls(raw["auc"], raw["n_positive"], raw["n_negative"], design=design, **pairs)


def compute_placements(positive: np.ndarray, negative: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Place each leaver among the stayers and each stayer among the leavers, in n log n.

    Parameters
    ----------
    positive, negative : ndarray of shape (n_positive,) and (n_negative,)
        Probabilities of leaving of those who left and of those who stayed.

    Returns
    -------
    of_positive : ndarray of shape (n_positive,)
        The share of stayers ranked below each leaver, ties half.
    of_negative : ndarray of shape (n_negative,)
        The share of leavers ranked above each stayer, ties half.
    """
    above, below = np.sort(positive), np.sort(negative)
    of_positive = np.searchsorted(below, positive, "left") + np.searchsorted(below, positive, "right")
    of_negative = np.searchsorted(above, negative, "left") + np.searchsorted(above, negative, "right")
    return of_positive / (2 * len(below)), 1 - of_negative / (2 * len(above))


def compute_ranking(
    y_true: np.ndarray, probability: np.ndarray, clients: np.ndarray | None = None
) -> Ranking | None:
    """Measure how well probabilities rank labelled rows.

    Parameters
    ----------
    y_true : ndarray of shape (n_samples,)
        1 leaves, 0 stays.
    probability : ndarray of shape (n_samples,)
        Predicted probability of leaving.
    clients : ndarray of shape (n_samples,), optional
        Whose row it is; by default each row is a client of its own.

    Returns
    -------
    ranking : Ranking or None
        None unless there are both classes.

    References
    ----------
    .. [1] E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson, "Comparing the Areas under Two or More
       Correlated Receiver Operating Characteristic Curves", Biometrics 44 (1988), pp. 837-845.
    .. [2] X. Sun, W. Xu, "Fast Implementation of DeLong's Algorithm", IEEE Signal Processing Letters 21
       (2014), pp. 1389-1393.
    """
    positive, negative = np.sort(probability[y_true == 1]), np.sort(probability[y_true != 1])
    if not len(positive) or not len(negative):
        return None
    placed = compute_placements(positive, negative)
    moments = [_central_moments(values) for values in placed]
    return Ranking(
        auc=float(placed[0].mean()),
        n_positive=len(positive),
        n_negative=len(negative),
        variances=(moments[0][0], moments[1][0]),
        third_moments=(moments[0][1], moments[1][1]),
        design=1.0 if clients is None else clustering.design_effect(influence(y_true, probability), clients),
    )


def influence(y_true: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Compute what each row adds to the AUC beyond its mean.

    Parameters
    ----------
    y_true, probability : ndarray of shape (n_samples,)
        1 leaves, 0 stays, rows of both classes; predicted probability of leaving.

    Returns
    -------
    influence : ndarray of shape (n_samples,)
        The sum of squares is the variance by DeLong, but for the number of degrees of freedom.
    """
    left = y_true == 1
    placed = compute_placements(probability[left], probability[~left])
    return clustering.class_influence(y_true, *placed)


def _central_moments(values: np.ndarray) -> tuple[float, float]:
    """Compute variance and third moment without bias (0 for fewer than two and three values)."""
    n, centred = len(values), values - values.mean()
    second = float((centred**2).sum() / (n - 1)) if n > 1 else 0.0
    third = float(n * (centred**3).sum() / ((n - 1) * (n - 2))) if n > 2 else 0.0
    return second, third


def auc_drop_p_value(reference: Ranking, new: Ranking) -> float | None:
    """Test whether AUC is lower than it was, counting the noise of both; None below two of a class.

    1. Without a drop both have the same placements, so their variances are pooled, class by class: that
       of few rows alone is too small just when their AUC is high by luck.
    2. z is the difference over its standard error; t with Satterthwaite's degrees of freedom.
    3. Placements pile up near 1; where the sample sizes differ the difference is skewed. The law is a
       gamma law of the same skewness (Pearson III).

    References
    ----------
    .. [1] E. Brunner, U. Munzel, "The Nonparametric Behrens-Fisher Problem", Biometrical Journal 42
       (2000), pp. 17-25 (step 2).
    .. [2] P. Hall, "On the Removal of Skewness by Transformation", Journal of the Royal Statistical
       Society B 54 (1992), pp. 221-228 (why step 3).
    """
    from scipy.special import ndtri, stdtr

    if min(*reference.counts, *new.counts) < 2:
        return None
    parts, third, freedom = [], 0.0, []
    for i, (m, n) in enumerate(zip(reference.counts, new.counts, strict=True)):
        share = (n - 1) / (m + n - 2)
        parts.append(_mix(reference.variances[i], new.variances[i], share) * (1 / m + 1 / n))
        third += _mix(reference.third_moments[i], new.third_moments[i], share) * (1 / n**2 - 1 / m**2)
        freedom.append(m + n - 2)
    variance, difference = sum(parts), new.auc - reference.auc
    if not variance:
        return 0.0 if difference < 0 else 1.0
    z = difference / variance**0.5
    freedom_of_both = variance**2 / sum(part**2 / f for part, f in zip(parts, freedom, strict=True))
    return _skewed_cdf(float(ndtri(stdtr(freedom_of_both, z))), third / variance**1.5)


def _mix(reference: float, new: float, share: float) -> float:
    return (1 - share) * reference + share * new


def _skewed_cdf(z: float, skewness: float) -> float:
    """Compute the distribution function of a standardised gamma law with a given skewness."""
    from scipy.special import gammainc, gammaincc, ndtr

    if abs(skewness) < LEAST_SKEWNESS:
        return float(ndtr(z))
    shape = 4 / skewness**2
    at = max(0.0, shape + np.sign(skewness) * z * shape**0.5)
    return float(gammainc(shape, at) if skewness > 0 else gammaincc(shape, at))


def resample_auc(
    y_true: np.ndarray,
    probabilities: Sequence[np.ndarray],
    clients: np.ndarray | None = None,
    *,
    n_resamples: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Compute the AUC of each model on the same rows, drawn again within each class, or on clients [1]_.

    Parameters
    ----------
    y_true : ndarray of shape (n_samples,)
        1 leaves, 0 stays.
    probabilities : sequence of ndarray of shape (n_samples,)
        Predicted probabilities of leaving, an array for each model.
    clients : ndarray of shape (n_samples,), optional
        Whose row it is: whole clients are drawn again, those with a leaving row apart. By default each row
        is a client of its own.

    Returns
    -------
    auc : ndarray of shape (n_drawn, n_models)
        As many as asked for, less the draws of clients that lack a class.

    References
    ----------
    .. [1] A. C. Davison, D. V. Hinkley, "Bootstrap Methods and their Application", Cambridge 1997,
       section 3.8 (resampling of clusters).
    """
    if clients is not None:
        return _resample_clients(y_true, probabilities, clients, n_resamples, rng)
    return _resample_rows(y_true, probabilities, n_resamples, rng)


def _resample_rows(
    y_true: np.ndarray, probabilities: Sequence[np.ndarray], n_resamples: int, rng: np.random.Generator
) -> np.ndarray:
    codes = [np.unique(values, return_inverse=True)[1] for values in probabilities]
    left = y_true == 1
    n_positive, n_negative = int(left.sum()), int((~left).sum())
    step = max(1, CHUNK // len(y_true))
    auc = np.empty((n_resamples, len(codes)))
    for start in range(0, n_resamples, step):
        size = min(step, n_resamples - start)
        positive = rng.integers(0, n_positive, (size, n_positive))
        negative = rng.integers(0, n_negative, (size, n_negative))
        for j, code in enumerate(codes):
            drawn = code[left][positive], code[~left][negative]
            auc[start : start + size, j] = _auc_of_drawn(*drawn, n_codes=int(code.max()) + 1)
    return auc


def _resample_clients(
    y_true: np.ndarray,
    probabilities: Sequence[np.ndarray],
    clients: np.ndarray,
    n_resamples: int,
    rng: np.random.Generator,
) -> np.ndarray:
    code = np.unique(clients, return_inverse=True)[1]
    leaves = np.bincount(code, weights=y_true == 1) > 0
    step, drawn = max(1, CHUNK // len(y_true)), []
    for start in range(0, n_resamples, step):
        n_times = _draw_clients(leaves, min(step, n_resamples - start), rng)
        drawn.append(np.stack([_weighted_auc(y_true, p, n_times[:, code]) for p in probabilities], axis=1))
    auc = np.concatenate(drawn)
    return np.asarray(auc[~np.isnan(auc).any(axis=1)])


def _draw_clients(leaves: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Draw how often each client is taken, shape (size, n_clients); those who leave by themselves."""
    n_times = np.zeros((size, len(leaves)))
    for part in (np.flatnonzero(leaves), np.flatnonzero(~leaves)):
        if len(part):
            n_times[:, part] = rng.multinomial(len(part), np.full(len(part), 1 / len(part)), size=size)
    return n_times


def _weighted_auc(y_true: np.ndarray, probability: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Compute the AUC for each row of weights of shape (n_draws, n_samples); NaN without both classes."""
    order = np.argsort(probability, kind="stable")
    first = np.flatnonzero(np.diff(probability[order], prepend=-np.inf))
    left = (y_true == 1)[order]
    of_left, of_stayed = (
        np.add.reduceat(np.where(rows, weights[:, order], 0.0), first, axis=1) for rows in (left, ~left)
    )
    below = np.cumsum(of_stayed, axis=1) - of_stayed / 2
    n_pairs = of_left.sum(axis=1) * of_stayed.sum(axis=1)
    with np.errstate(invalid="ignore"):
        return np.asarray((of_left * below).sum(axis=1) / n_pairs)


def _auc_of_drawn(positive: np.ndarray, negative: np.ndarray, n_codes: int) -> np.ndarray:
    """Compute the AUC of each row of drawn codes: by counting the stayers at and below each code."""
    rows = np.arange(len(negative))[:, None]
    flat = np.bincount((negative + rows * n_codes).ravel(), minlength=len(negative) * n_codes)
    counts = flat.reshape(len(negative), n_codes)
    below = np.cumsum(counts, axis=1) - counts / 2
    shares: np.ndarray = below[rows, positive].mean(axis=1) / negative.shape[1]
    return shares
