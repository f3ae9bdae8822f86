"""Probability intervals and risk levels: how sure a probability is, and whether it is high.

The interval of a probability is where the share of leavers lies, with 95 % probability, among held-out rows
that were given such a probability. The calibration curve of the model card has it for ten bins of training
rows that the model was not fitted on: each bin has the Jeffreys interval of its share. Between bins the
distance from the predicted to the observed log-odds is interpolated, so that a probability keeps its own
place; where it lies outside the interval, the interval is widened to hold it. The interval describes the
clients with such a probability together; what one client does stays open. Where training rows were too few
for a curve there is no interval.

The risk level goes by the threshold of the model: below it low; above it medium, from half way between the
threshold and certainty on high. Medium and high are the clients the model flags.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from risk.metrics import significance

MIN_PROBABILITY = 1e-6  # a mean probability nearer to 0 or 1 counts as this
HIGH, MEDIUM, LOW = "high", "medium", "low"
LEVELS = (HIGH, MEDIUM, LOW)


@dataclass(frozen=True)
class ProbabilityIntervals:
    """The calibration curve of a model, in log-odds.

    Attributes
    ----------
    predicted : ndarray of shape (n_bins,)
        Log-odds of the mean probability of each bin, ascending.
    low, high : ndarray of shape (n_bins,)
        How far the ends of the interval lie from it.
    """

    predicted: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def compute(self, log_odds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Compute the interval of each probability.

        Parameters
        ----------
        log_odds : ndarray of shape (n_samples,)
            Of the probabilities.

        Returns
        -------
        low, high : ndarray of shape (n_samples,)
            Probabilities, with the given one between them.
        """
        from scipy.special import expit

        low = np.minimum(np.interp(log_odds, self.predicted, self.low), 0)
        high = np.maximum(np.interp(log_odds, self.predicted, self.high), 0)
        return np.asarray(expit(log_odds + low)), np.asarray(expit(log_odds + high))


def make_intervals(card: Mapping[str, Any]) -> ProbabilityIntervals | None:
    """Make the intervals of a model from its card; None where it has no calibration curve.

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
    n_left = n * [one["share_left"] for one in curve]
    means = [one["mean_predicted"] for one in curve]
    predicted = logit(np.clip(means, MIN_PROBABILITY, 1 - MIN_PROBABILITY))
    tails = (1 - significance.LEVEL) / 2, (1 + significance.LEVEL) / 2
    low, high = (logit(betaincinv(n_left + 0.5, n - n_left + 0.5, tail)) - predicted for tail in tails)
    return ProbabilityIntervals(predicted, low, high)


def assign_risk(probability: np.ndarray, flagged: np.ndarray, threshold: float) -> np.ndarray:
    """Assign a risk level to each client.

    Parameters
    ----------
    probability : ndarray of shape (n_samples,)
    flagged : ndarray of bool, shape (n_samples,)
        The clients that are predicted to leave.
    threshold : float
        Of the model.

    Returns
    -------
    risk : ndarray of str, shape (n_samples,)
        low, medium or high.
    """
    high = flagged & (probability >= (1 + threshold) / 2)
    risk: np.ndarray = np.array([LOW, MEDIUM, HIGH], dtype=object)[flagged.astype(int) + high]
    return risk
