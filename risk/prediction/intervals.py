"""What does a probability promise: how sure is it, and is it high?

The band of a probability is where the share of leavers lies, with 95 % probability, among held-out rows
that were given such a probability. The reliability curve of the model card says it for ten bins of training
rows that the model was not fitted on: each bin has the Jeffreys interval of its share. Between bins the
distance from the promised to the found log-odds is interpolated, so that a probability keeps its own
place; where it lies beside the band, the band is stretched to it. The band tells of clients with such a
probability together; what one client does stays open. Where training rows were too few for a curve there
is no band.

The risk in words goes by the threshold of the model: below it low; above it medium, from half way between
the threshold and certainty on high. Medium and high are the clients the model calls leavers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from risk.metrics import significance

LEAST = 1e-6  # a promised probability nearer to 0 or 1 counts as this
HIGH, MEDIUM, LOW = "high", "medium", "low"
LEVELS = (HIGH, MEDIUM, LOW)


@dataclass(frozen=True)
class Bands:
    """The reliability curve of a model, in log-odds.

    Attributes
    ----------
    promised : ndarray of shape (n_bins,)
        Log-odds of the mean probability of each bin, ascending.
    low, high : ndarray of shape (n_bins,)
        How far the ends of the interval lie from it.
    """

    promised: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def of(self, log_odds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Compute the lower and upper end of the band of each probability, given by its log-odds."""
        from scipy.special import expit

        low = np.minimum(np.interp(log_odds, self.promised, self.low), 0)
        high = np.maximum(np.interp(log_odds, self.promised, self.high), 0)
        return np.asarray(expit(log_odds + low)), np.asarray(expit(log_odds + high))


def read_card(card: Mapping[str, Any]) -> Bands | None:
    """Read the bands of a model from its card; None where it has no reliability curve.

    References
    ----------
    .. [1] L. D. Brown, T. T. Cai, A. DasGupta, "Interval Estimation for a Binomial Proportion",
       Statistical Science 16 (2001), pp. 101-133.
    """
    from scipy.special import betaincinv, logit

    facts = card.get("calibration", {})
    curve = facts.get("curve_after" if facts.get("used") else "curve_before")
    if not curve:
        return None
    n = np.array([one["n"] for one in curve], dtype=float)
    left = n * [one["share_left"] for one in curve]
    promised = logit(np.clip([one["mean_predicted"] for one in curve], LEAST, 1 - LEAST))
    tails = (1 - significance.LEVEL) / 2, (1 + significance.LEVEL) / 2
    low, high = (logit(betaincinv(left + 0.5, n - left + 0.5, tail)) - promised for tail in tails)
    return Bands(promised, low, high)


def say_risk(probability: np.ndarray, leaves: np.ndarray, threshold: float) -> np.ndarray:
    """Say low, medium or high; `leaves` marks those the model calls leavers."""
    high = leaves & (probability >= (1 + threshold) / 2)
    risk: np.ndarray = np.array([LOW, MEDIUM, HIGH], dtype=object)[leaves.astype(int) + high]
    return risk
