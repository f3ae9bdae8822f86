"""Comparison of two models on the same rows.

A bootstrap of the rows decides; the t test on DeLong's variance must agree, for with few rows of a class a
bootstrap alone is too sure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from risk.metrics import auc, significance

N_RESAMPLES, LEAST_RESAMPLES = 2_000, 500
MOST_DRAWS = (
    50_000_000  # rows drawn by a bootstrap, about two seconds; beyond, DeLong's variance alone counts
)


@dataclass(frozen=True)
class PairedDifference:
    """By how much the candidate's score exceeds the deployed model's, on the same rows.

    `low` to `high` hold 95 % of the resampled differences; `p_worse` and `p_better` are one-sided.
    """

    candidate: float
    deployed: float
    delta: float
    low: float
    high: float
    p_worse: float
    p_better: float


@dataclass(frozen=True)
class DiscordantPairs:
    """Rows that one of two models predicts right and the other wrong, with the exact McNemar test."""

    only_candidate_right: int
    only_deployed_right: int
    p_value: float


def compare_auc(
    y: np.ndarray, candidate: np.ndarray, deployed: np.ndarray, *, random_state: int = 0
) -> PairedDifference:
    """Compare the AUC of two models on the same rows.

    1. Place each row by both models; AUC is linear in the placements, so their differences give the
       variance of the difference (DeLong), t with Satterthwaite's degrees of freedom.
    2. Resample the rows within each class, 2,000 times, and count how often the sign turns.
    3. The larger p-value of the two counts.

    Parameters
    ----------
    y : ndarray of shape (n_samples,)
        1 leaves, 0 stays; rows of both classes.
    candidate, deployed : ndarray of shape (n_samples,)
        Probabilities of leaving.

    References
    ----------
    .. [1] E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson, "Comparing the Areas under Two or More
       Correlated Receiver Operating Characteristic Curves", Biometrics 44 (1988), pp. 837-845.
    .. [2] B. Efron, R. J. Tibshirani, "An Introduction to the Bootstrap", Chapman & Hall 1993, chapter 16.
    """
    placed = [auc.compute_placements(p[y == 1], p[y != 1]) for p in (candidate, deployed)]
    gaps = [placed[0][i] - placed[1][i] for i in (0, 1)]
    before, delta = float(placed[1][0].mean()), float(gaps[0].mean())
    low, high, p_worse, p_better = _apply_t(delta, gaps)
    n_resamples = min(N_RESAMPLES, MOST_DRAWS // len(y))
    if n_resamples >= LEAST_RESAMPLES:
        rng = np.random.default_rng(random_state)
        drawn = auc.resample_auc(y, [candidate, deployed], n_resamples=n_resamples, rng=rng)
        low, high, *turned = _summarise(drawn[:, 0] - drawn[:, 1])
        p_worse, p_better = max(p_worse, turned[0]), max(p_better, turned[1])
    return PairedDifference(before + delta, before, delta, low, high, p_worse, p_better)


def _apply_t(delta: float, gaps: Sequence[np.ndarray]) -> tuple[float, float, float, float]:
    """Compute interval and one-sided p-values of a mean of differences in both classes."""
    from scipy.special import stdtr, stdtrit

    parts = [float(gap.var(ddof=1)) / len(gap) for gap in gaps]
    variance = sum(parts)
    if not variance:  # every row moved by the same: nothing is left to chance
        return delta, delta, float(delta >= 0), float(delta <= 0)
    freedom = variance**2 / sum(part**2 / (len(gap) - 1) for part, gap in zip(parts, gaps, strict=True))
    error = variance**0.5
    half, t = float(stdtrit(freedom, (1 + significance.LEVEL) / 2)) * error, delta / error
    return delta - half, delta + half, float(stdtr(freedom, t)), float(stdtr(freedom, -t))


def _summarise(deltas: np.ndarray) -> tuple[float, float, float, float]:
    """Compute the interval of resampled differences, and how often they are not below and not above 0."""
    low, high = np.quantile(deltas, [(1 - significance.LEVEL) / 2, (1 + significance.LEVEL) / 2])
    n = len(deltas) + 1
    return float(low), float(high), float((1 + (deltas >= 0).sum()) / n), float((1 + (deltas <= 0).sum()) / n)


def compare_f1(
    y: np.ndarray, candidate_pred: np.ndarray, deployed_pred: np.ndarray, *, random_state: int = 0
) -> PairedDifference:
    """Compare the F1 of two models on the same rows by a paired bootstrap.

    Rows differ only by label and both predictions, so the counts of the eight kinds are multinomial.

    Parameters
    ----------
    y, candidate_pred, deployed_pred : ndarray of shape (n_samples,)
        Labels and predictions: 1 leaves, 0 stays.
    """
    kinds = (y == 1) * 4 + (candidate_pred == 1) * 2 + (deployed_pred == 1)
    counts = np.bincount(kinds, minlength=8)
    drawn = np.random.default_rng(random_state).multinomial(len(y), counts / len(y), size=N_RESAMPLES)
    (candidate,), (deployed,) = (_f1_of_kinds(counts[None, :], bit) for bit in (2, 1))
    low, high, p_worse, p_better = _summarise(_f1_of_kinds(drawn, 2) - _f1_of_kinds(drawn, 1))
    difference = float(candidate - deployed)
    return PairedDifference(float(candidate), float(deployed), difference, low, high, p_worse, p_better)


def _f1_of_kinds(counts: np.ndarray, bit: int) -> np.ndarray:
    """Compute F1 of the model whose prediction is a bit of the kind; 0 without leavers and flagged rows."""
    kinds = np.arange(8)
    flagged, left = (kinds & bit) > 0, kinds >= 4
    n_tp = counts[:, flagged & left].sum(axis=1)
    total = counts[:, flagged].sum(axis=1) + counts[:, left].sum(axis=1)
    f1: np.ndarray = 2 * n_tp / np.maximum(total, 1)
    return f1


def compare_correctness(
    y: np.ndarray, candidate_pred: np.ndarray, deployed_pred: np.ndarray
) -> DiscordantPairs:
    """Test whether one model is right more often than the other, by McNemar's exact test.

    Parameters
    ----------
    y, candidate_pred, deployed_pred : ndarray of shape (n_samples,)
        Labels and predictions: 1 leaves, 0 stays.

    References
    ----------
    .. [1] Q. McNemar, "Note on the Sampling Error of the PairedDifference between Correlated Proportions or
       Percentages", Psychometrika 12 (1947), pp. 153-157.
    """
    from scipy.special import bdtr

    right, also_right = candidate_pred == y, deployed_pred == y
    gained, lost = int((right & ~also_right).sum()), int((~right & also_right).sum())
    if gained == lost:
        return DiscordantPairs(gained, lost, 1.0)
    return DiscordantPairs(gained, lost, float(min(1.0, 2 * bdtr(min(gained, lost), gained + lost, 0.5))))
