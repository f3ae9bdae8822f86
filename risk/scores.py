"""How good is a prediction, and how sure are we?"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

LEVEL = 0.95


@dataclass(frozen=True)
class Score:
    """Quality of one model on one set of labelled rows; None where it is not defined."""

    n: int
    n_positive: int
    f1: float | None
    f1_low: float | None
    f1_high: float | None
    auc: float | None
    average_precision: float | None
    floor_f1: float | None
    true_positive: int
    false_positive: int
    false_negative: int
    true_negative: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def f1_interval(n_tp: int, n_errors: int, level: float = LEVEL) -> tuple[float, float]:
    """Compute a credible interval of F1 in closed form.

    F1 = 2J / (1 + J) with J = TP / (TP + FP + FN), a share of `n_tp + n_errors` rows. J has the
    Jeffreys posterior Beta(TP + 1/2, FP + FN + 1/2), and F1 is monotone in it.

    Parameters
    ----------
    n_tp : int
        True positives.
    n_errors : int
        False positives and false negatives together.

    Returns
    -------
    low, high : float
        Between them F1 lies with probability `level`; wide when there are few rows.

    References
    ----------
    .. [1] C. Goutte, E. Gaussier, "A Probabilistic Interpretation of Precision, Recall and F-score",
       ECIR 2005, LNCS 3408, pp. 345-359.
    """
    from scipy.special import betaincinv

    tail = (1 - level) / 2
    jaccard = [betaincinv(n_tp + 0.5, n_errors + 0.5, q) for q in (tail, 1 - tail)]
    low, high = (float(2 * j / (1 + j)) for j in jaccard)
    return (0.0 if n_tp == 0 else low), (1.0 if n_errors == 0 else high)


def compute_score(y_true: np.ndarray, y_pred: np.ndarray, probability: np.ndarray) -> Score:
    """Score labelled rows.

    Parameters
    ----------
    y_true, y_pred : ndarray of shape (n_samples,)
        1 leaves, 0 stays.
    probability : ndarray of shape (n_samples,)
        Of leaving.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    truth, called = y_true == 1, y_pred == 1
    n_tp, n_fp = int((truth & called).sum()), int((~truth & called).sum())
    n_fn, n_tn = int((truth & ~called).sum()), int((~truth & ~called).sum())
    n, n_positive = len(truth), int(truth.sum())
    both = 0 < n_positive < n
    low, high = f1_interval(n_tp, n_fp + n_fn) if n_positive else (None, None)
    return Score(
        n=n,
        n_positive=n_positive,
        f1=2 * n_tp / (2 * n_tp + n_fp + n_fn) if n_positive else None,
        f1_low=low,
        f1_high=high,
        auc=float(roc_auc_score(truth, probability)) if both else None,
        average_precision=float(average_precision_score(truth, probability)) if both else None,
        floor_f1=2 * n_positive / (n + n_positive) if n_positive else None,
        true_positive=n_tp,
        false_positive=n_fp,
        false_negative=n_fn,
        true_negative=n_tn,
    )
