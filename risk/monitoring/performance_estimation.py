"""Performance estimation without labels (CBPE): F1 and AUC expected from calibrated probabilities.

Nothing here looks at a label, so nothing here can see that clients began to leave for other reasons: concept
drift stays invisible until labels come.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from risk.metrics import calibration, cross_validation, significance
from risk.metrics.reliability import Reliability, measure_curve

N_RESAMPLES = 2_000
N_GROUPS = 100
# Models of cross-validation err with the rows they are judged on: by as much less is known of the model
# itself. Measured on 500 releases: at 1.0 intervals of 2,000 rows covered 92 to 94 %, at 1.5 95 to 97 %.
CROSS_VALIDATION_FACTOR = 1.5
MIN_ROWS, MIN_PER_CLASS = 30, 5  # known outcomes, below which nobody knows what a probability is worth
BLIND = "an estimate from probabilities: it does not detect clients leaving for other reasons than before"
UNKNOWN = (
    f"no estimate: to check the calibration of its probabilities, {MIN_ROWS} rows with known outcome that "
    f"the model had not seen are needed, and {MIN_PER_CLASS} of each class"
)
NO_ROW = "no row is without a label"
Interval = tuple[float | None, float | None, float | None]  # estimate, low, high
NO_INTERVAL: Interval = (None, None, None)


@dataclass(frozen=True)
class PerformanceEstimate:
    """Quality of one model on rows without labels; None where it cannot be estimated.

    The realised score of such rows lies between low and high with probability 0.95, as long as clients
    leave for the same reasons as before.
    """

    n: int
    f1: float | None
    f1_low: float | None
    f1_high: float | None
    auc: float | None
    auc_low: float | None
    auc_high: float | None
    leaver_share: float | None
    sentence: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


# --- expectations: exact -----------------------------------------------------------------------------------


def expect_counts(probability: np.ndarray, y_pred: np.ndarray) -> tuple[float, float, float, float]:
    """Compute the expected confusion counts; exact.

    Parameters
    ----------
    probability : ndarray of shape (n_samples,)
        Calibrated probability that a row leaves.
    y_pred : ndarray of shape (n_samples,)
        1 is flagged as leaving, 0 is not.

    Returns
    -------
    n_tp, n_fp, n_fn, n_tn : float
        Expected true positives, false positives, false negatives, true negatives.

    References
    ----------
    .. [1] J. Białek, W. Kuberski, N. Perrakis, A. Bifet, "Estimating Model Performance Under Covariate
       Shift Without Labels", 2024, arXiv:2401.08348.
    """
    flagged = y_pred == 1
    n_tp, n_fn = float(probability[flagged].sum()), float(probability[~flagged].sum())
    return n_tp, float(flagged.sum()) - n_tp, n_fn, float((~flagged).sum()) - n_fn


def expect_f1(probability: np.ndarray, y_pred: np.ndarray) -> float | None:
    """Compute the F1 of the expected counts; None where no one can leave and no one is flagged.

    The expected F1 differs from it by the covariance of F1 with (flagged + leavers), divided by the mean
    of the latter: of the order 1/n, and covered by the interval, not by this number.

    Parameters
    ----------
    probability, y_pred : ndarray of shape (n_samples,)
        As for `expect_counts`.
    """
    n_tp, n_fp, n_fn, _ = expect_counts(probability, y_pred)
    total = 2 * n_tp + n_fp + n_fn
    return 2 * n_tp / total if total else None


def expect_auc(probability: np.ndarray, score: np.ndarray) -> float | None:
    """Compute the expected pairs ranked rightly (ties half) over the expected pairs, in n log n.

    A pair is of two different rows, one of whom leaves; both numbers are exact, the expected AUC differs
    from their ratio by the order 1/n. None where there can be no pair.

    Parameters
    ----------
    probability : ndarray of shape (n_samples,)
        That a row leaves.
    score : ndarray of shape (n_samples,)
        What ranks the rows.
    """
    where = np.unique(score, return_inverse=True)[1]
    leave, stay = (np.bincount(where, p) for p in (probability, 1 - probability))
    alone = np.bincount(where, probability * (1 - probability))
    n_pairs = leave.sum() * stay.sum() - alone.sum()
    if len(score) < 2 or n_pairs <= 0:
        return None
    below = np.cumsum(stay) - stay
    return float(((leave * below).sum() + (leave * stay - alone).sum() / 2) / n_pairs)


# --- the interval -------------------------------------------------------------------------------------------


def estimate_performance(
    probability: np.ndarray,
    y_pred: np.ndarray,
    reliability: Reliability | None,
    *,
    n_resamples: int = N_RESAMPLES,
    n_groups: int = N_GROUPS,
    random_state: int = 0,
) -> PerformanceEstimate:
    """Estimate F1 and AUC of rows without labels, with an interval for their realised values.

    1. Correct the probabilities by what rows with known outcome say of them.
    2. Take F1 of the expected counts, and the expected pairs ranked rightly over the expected pairs.
    3. Draw corrections that known outcomes allow, then labels; quantiles of their scores are the interval.

    Parameters
    ----------
    probability, y_pred : ndarray of shape (n_samples,)
        Predictions of the model: the probability of leaving, uncorrected; 1 is flagged, 0 is not.
    reliability : Reliability or None
        Of rows that the model had not seen, from `reliability.measure_reliability`; None when there are none.

    Returns
    -------
    estimate : Estimate
        Without numbers when too few rows with known outcome are behind `reliability`.
    """
    n = len(probability)
    if not n or not has_enough_outcomes(reliability) or reliability is None:
        return PerformanceEstimate(n, *NO_INTERVAL, *NO_INTERVAL, None, UNKNOWN if n else NO_ROW)
    corrected = reliability.correct(probability)
    f1, auc = expect_f1(corrected, y_pred), expect_auc(corrected, probability)
    groups = _group(probability, y_pred, n_groups)
    rng = np.random.default_rng(random_state)
    drawn_f1, drawn_auc = _score_draws(groups, *_draw(groups, reliability, n_resamples, rng))
    grouped = expect_auc(*_spread(groups, reliability))
    drawn_auc += 0.0 if auc is None or grouped is None else auc - grouped
    intervals = [_make_interval(f1, drawn_f1), _make_interval(auc, drawn_auc)]
    sentence = f"{_describe_scores(n, intervals)}; {_describe_calibration(reliability)}; {BLIND}"
    return PerformanceEstimate(n, *intervals[0], *intervals[1], float(corrected.mean()), sentence)


def has_enough_outcomes(reliability: Reliability | None) -> bool:
    """Tell whether enough rows with known outcome support a correction."""
    if reliability is None:
        return False
    smaller = min(reliability.n_positive, reliability.n - reliability.n_positive)
    return reliability.n >= MIN_ROWS and smaller >= MIN_PER_CLASS


def get_reliability(reference: Mapping[str, Any] | None, card: Mapping[str, Any]) -> Reliability | None:
    """Take what known outcomes say of a release's probabilities; None when nothing is known.

    Parameters
    ----------
    reference : mapping or None
        What `card.make_reference` made of rows that the model had not seen.
    card : mapping
        The model card: where the reference says too little, the calibration curve of cross-validation.
    """
    reference = reference or {}
    held_out = Reliability.from_json(reference["reliability"]) if reference.get("reliability") else None
    if held_out is not None and has_enough_outcomes(held_out):
        crossed = reference.get("rows") == cross_validation.CROSS_VALIDATED
        return held_out.widen(CROSS_VALIDATION_FACTOR) if crossed else held_out
    facts = card.get("calibration", {})
    curve = facts.get("curve_after" if facts.get("used") else "curve_before")
    return measure_curve(curve).widen(CROSS_VALIDATION_FACTOR) if curve else held_out


@dataclass(frozen=True)
class _Groups:
    """Rows in rising order of their log-odds, in groups of nearly equal ones; few rows are one each."""

    log_odds: np.ndarray
    n_flagged: np.ndarray
    n_others: np.ndarray


def _group(probability: np.ndarray, y_pred: np.ndarray, n_groups: int) -> _Groups:
    values, where = np.unique(probability, return_inverse=True)
    if len(values) > n_groups:
        where = np.searchsorted(calibration.inner_edges(probability, n_groups), probability, "right")
    n = np.bincount(where)
    used = n > 0
    flagged = np.bincount(where, y_pred == 1).astype(np.int64)[used]
    log_odds = np.bincount(where, calibration.to_log_odds(probability))[used] / n[used]
    return _Groups(log_odds, flagged, n[used] - flagged)


def _draw(
    groups: _Groups, reliability: Reliability, n_resamples: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw leavers among the flagged and among the others, shape (n_resamples, n_groups)."""
    from scipy.special import expit, logit

    means = reliability.intercept, reliability.slope
    at = rng.multivariate_normal(means, reliability.covariance, n_resamples)
    n_bins = len(reliability.offsets)
    uneven = rng.normal(reliability.offsets, reliability.offset_errors, (n_resamples, n_bins))
    bins = np.searchsorted(logit(reliability.edges), groups.log_odds, "right")
    p = expit(at[:, :1] + at[:, 1:] * groups.log_odds + uneven[:, bins])
    return rng.binomial(groups.n_flagged, p), rng.binomial(groups.n_others, p)


def _score_draws(groups: _Groups, n_tp: np.ndarray, n_fn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Score the draws: F1 where anybody leaves, AUC where anybody stays, too."""
    leave = n_tp + n_fn
    stay = groups.n_flagged + groups.n_others - leave
    n_leave, n_stay = leave.sum(axis=1), stay.sum(axis=1)
    some, both = n_leave > 0, (n_leave > 0) & (n_stay > 0)
    f1 = 2 * n_tp.sum(axis=1)[some] / (groups.n_flagged.sum() + n_leave[some])
    below = np.cumsum(stay, axis=1) - stay / 2
    right = (leave * below).sum(axis=1)[both]
    return f1, right / (n_leave * n_stay)[both]


def _spread(groups: _Groups, reliability: Reliability) -> tuple[np.ndarray, np.ndarray]:
    """Give every row the corrected probability of its group, and its group for a score."""
    from scipy.special import expit

    corrected = reliability.correct(expit(groups.log_odds))
    n = groups.n_flagged + groups.n_others
    return np.repeat(corrected, n), np.repeat(groups.log_odds, n)


def _make_interval(expected: float | None, drawn: np.ndarray) -> Interval:
    """Give the estimate and the quantiles of the draws around it."""
    if expected is None or not len(drawn):
        return NO_INTERVAL
    low, high = np.quantile(drawn, [(1 - significance.LEVEL) / 2, (1 + significance.LEVEL) / 2])
    return expected, max(0.0, min(expected, float(low))), min(1.0, max(expected, float(high)))


# --- what became of it -------------------------------------------------------------------------------------


# --- sentences ---------------------------------------------------------------------------------------------


def _describe_scores(n: int, intervals: Sequence[Interval]) -> str:
    parts = [
        f"{name} {expected:.2f} ({low:.2f} to {high:.2f})"
        for name, (expected, low, high) in zip(("F1", "AUC"), intervals, strict=True)
        if expected is not None
    ]
    return f"{' and '.join(parts) or 'no score'} estimated for {n:,} rows without a label"


def _describe_calibration(reliability: Reliability) -> str:
    known = f"{reliability.n:,} known outcomes"
    if min(reliability.p_value, reliability.p_uneven) > significance.ALPHA:
        return f"the model's probabilities are calibrated, as far as {known} show"
    return f"the model's probabilities are miscalibrated beyond chance on {known}, and corrected by them"
