"""Comparison of two models on the same rows.

A bootstrap of the rows decides; the t test on DeLong's variance must agree, for with few rows of a class a
bootstrap alone is too sure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from risk.metrics import auc, clustering, significance

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
    """Clients that one of two models predicts right and the other wrong, with the exact McNemar test."""

    only_candidate_right: int
    only_deployed_right: int
    p_value: float


def compare_auc(
    y: np.ndarray,
    candidate: np.ndarray,
    deployed: np.ndarray,
    clients: np.ndarray | None = None,
    *,
    random_state: int = 0,
) -> PairedDifference:
    """Compare the AUC of two models on the same rows.

    1. Place each row by both models; AUC is linear in the placements, so their differences give the
       variance of the difference (DeLong), t with Satterthwaite's degrees of freedom.
    2. Resample the rows within each class, 2,000 times, and count how often the sign turns.
    3. The larger p-value of the two counts.

    With `clients` the variance is of sums over clients (Obuchowski), and whole clients are drawn again.

    Parameters
    ----------
    y, candidate, deployed : ndarray of shape (n_samples,)
        1 leaves, 0 stays, rows of both classes; probabilities of leaving.
    clients : ndarray of shape (n_samples,), optional
        Whose row it is; by default each is its own client.

    References
    ----------
    .. [1] E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson, "Comparing the Areas under Two or More
       Correlated Receiver Operating Characteristic Curves", Biometrics 44 (1988), pp. 837-845.
    .. [2] B. Efron, R. J. Tibshirani, "An Introduction to the Bootstrap", Chapman & Hall 1993, chapter 16.
    """
    placed = [auc.compute_placements(p[y == 1], p[y != 1]) for p in (candidate, deployed)]
    gaps = [placed[0][i] - placed[1][i] for i in (0, 1)]
    before, delta = float(placed[1][0].mean()), float(gaps[0].mean())
    low, high, p_worse, p_better = _apply_t(delta, *_variances(gaps, y, clients))
    if (n_resamples := min(N_RESAMPLES, MOST_DRAWS // len(y))) >= LEAST_RESAMPLES:
        rng, models = np.random.default_rng(random_state), [candidate, deployed]
        drawn = auc.resample_auc(y, models, clients, n_resamples=n_resamples, rng=rng)
        low, high, *turned = _summarise(drawn[:, 0] - drawn[:, 1])
        p_worse, p_better = max(p_worse, turned[0]), max(p_better, turned[1])
    return PairedDifference(before + delta, before, delta, low, high, p_worse, p_better)


def _variances(
    gaps: Sequence[np.ndarray], y: np.ndarray, clients: np.ndarray | None
) -> tuple[list[float], list[int]]:
    """Compute the variance of a mean difference in two independent parts, and how many each has.

    The parts are the rows of each class; of clients those with a leaving row, and those without.
    """
    if clients is None:
        return [float(gap.var(ddof=1)) / len(gap) for gap in gaps], [len(gap) for gap in gaps]
    influence = clustering.class_influence(y, *gaps)
    code = np.unique(clients, return_inverse=True)[1]
    sums = np.bincount(code, weights=influence)
    leaves = np.bincount(code, weights=y == 1) > 0
    parts = [part for part in (sums[leaves], sums[~leaves]) if len(part) > 1]
    return [float((part**2).sum()) * len(part) / (len(part) - 1) for part in parts], [*map(len, parts)]


def _apply_t(delta: float, parts: Sequence[float], sizes: Sequence[int]) -> tuple[float, float, float, float]:
    """Compute interval and one-sided p-values of a difference whose variance is the sum of two."""
    from scipy.special import stdtr, stdtrit

    variance = sum(parts)
    if not variance:  # every row moved by the same: nothing is left to chance
        return delta, delta, float(delta >= 0), float(delta <= 0)
    freedom = variance**2 / sum(part**2 / (n - 1) for part, n in zip(parts, sizes, strict=True))
    error = variance**0.5
    half, t = float(stdtrit(freedom, (1 + significance.LEVEL) / 2)) * error, delta / error
    return delta - half, delta + half, float(stdtr(freedom, t)), float(stdtr(freedom, -t))


def _summarise(deltas: np.ndarray) -> tuple[float, float, float, float]:
    """Compute the interval of resampled differences, and how often they are not below and not above 0."""
    low, high = np.quantile(deltas, [(1 - significance.LEVEL) / 2, (1 + significance.LEVEL) / 2])
    n = len(deltas) + 1
    return float(low), float(high), float((1 + (deltas >= 0).sum()) / n), float((1 + (deltas <= 0).sum()) / n)


def compare_f1(
    y: np.ndarray,
    candidate_pred: np.ndarray,
    deployed_pred: np.ndarray,
    clients: np.ndarray | None = None,
    *,
    random_state: int = 0,
) -> PairedDifference:
    """Compare the F1 of two models on the same rows by a paired bootstrap.

    Rows differ only by label and both predictions, so the counts of the eight kinds are multinomial. Where
    clients have several rows, whole clients are drawn again.

    Parameters
    ----------
    y, candidate_pred, deployed_pred : ndarray of shape (n_samples,)
        Labels and predictions: 1 leaves, 0 stays.
    clients : ndarray of shape (n_samples,), optional
        Whose row it is; by default each row is a client of its own.
    """
    kinds = (y == 1) * 4 + (candidate_pred == 1) * 2 + (deployed_pred == 1)
    counts, rng = np.bincount(kinds, minlength=8), np.random.default_rng(random_state)
    if clients is None:
        drawn = rng.multinomial(len(y), counts / len(y), size=N_RESAMPLES)
    else:
        drawn = _draw_clients(kinds, clients, rng)
    (candidate,), (deployed,) = (_f1_of_kinds(counts[None, :], bit) for bit in (2, 1))
    low, high, p_worse, p_better = _summarise(_f1_of_kinds(drawn, 2) - _f1_of_kinds(drawn, 1))
    difference = float(candidate - deployed)
    return PairedDifference(float(candidate), float(deployed), difference, low, high, p_worse, p_better)


def _draw_clients(kinds: np.ndarray, clients: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Count the kinds of the rows of clients drawn again, shape (n_resamples, 8).

    Clients with equal counts are one kind of client, so that many clients take no more draws than few.
    """
    code = np.unique(clients, return_inverse=True)[1]
    of_client = np.bincount(code * 8 + kinds, minlength=8 * (int(code.max()) + 1)).reshape(-1, 8)
    rows, n_clients = np.unique(of_client, axis=0, return_counts=True)
    times = rng.multinomial(len(of_client), n_clients / len(of_client), size=N_RESAMPLES)
    return np.asarray(times @ rows)


def _f1_of_kinds(counts: np.ndarray, bit: int) -> np.ndarray:
    """Compute F1 of the model whose prediction is a bit of the kind; 0 without leavers and flagged rows."""
    kinds = np.arange(8)
    flagged, left = (kinds & bit) > 0, kinds >= 4
    n_tp = counts[:, flagged & left].sum(axis=1)
    total = counts[:, flagged].sum(axis=1) + counts[:, left].sum(axis=1)
    f1: np.ndarray = 2 * n_tp / np.maximum(total, 1)
    return f1


def compare_correctness(
    y: np.ndarray,
    candidate_pred: np.ndarray,
    deployed_pred: np.ndarray,
    clients: np.ndarray | None = None,
) -> DiscordantPairs:
    """Test whether one model is right more often than the other, by McNemar's exact test.

    Parameters
    ----------
    y, candidate_pred, deployed_pred : ndarray of shape (n_samples,)
        Labels and predictions: 1 leaves, 0 stays.
    clients : ndarray of shape (n_samples,), optional
        Whose row it is; a client counts once, for the model that is right in more of its rows. By default
        each row is a client of its own.

    References
    ----------
    .. [1] Q. McNemar, "Note on the Sampling Error of the Difference between Correlated Proportions or
       Percentages", Psychometrika 12 (1947), pp. 153-157.
    """
    from scipy.special import bdtr

    better = (candidate_pred == y).astype(np.int64) - (deployed_pred == y)
    if clients is not None:
        better = np.bincount(np.unique(clients, return_inverse=True)[1], weights=better)
    gained, lost = int((better > 0).sum()), int((better < 0).sum())
    if gained == lost:
        return DiscordantPairs(gained, lost, 1.0)
    return DiscordantPairs(gained, lost, float(min(1.0, 2 * bdtr(min(gained, lost), gained + lost, 0.5))))
