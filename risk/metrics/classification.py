"""Metrics of a classifier on labelled rows.

`METRICS` is the registry: a name, as it stands in metrics.json, and the function that computes it. A metric
whose name is also a column of the table `scores` (`risk.history.tables`) is recorded there, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from risk.metrics import auc, clustering, uncertainty
from risk.metrics.auc import Ranking


@dataclass(frozen=True)
class LabelledPredictions:
    """Labelled rows with what a model predicts of them: what metrics are computed from.

    Attributes
    ----------
    y_true, y_pred : ndarray of shape (n_samples,)
        1 leaves, 0 stays.
    probability : ndarray of shape (n_samples,)
        Predicted probability of leaving.
    clients : ndarray of shape (n_samples,), optional
        Whose row it is; None where each row is a client of its own.
    """

    y_true: np.ndarray
    y_pred: np.ndarray
    probability: np.ndarray
    clients: np.ndarray | None = None

    @cached_property
    def confusion(self) -> tuple[int, int, int, int]:
        """True positives, false positives, false negatives, true negatives."""
        return count_confusion(self.y_true, self.y_pred)

    @cached_property
    def ranking(self) -> Ranking | None:
        """AUC and its noise; None unless there are both classes."""
        return auc.compute_ranking(self.y_true, self.probability, self.clients)

    @cached_property
    def f1_design(self) -> float:
        """Design effect of F1: of the share TP / (TP + FP + FN) that it is a function of."""
        truth, flagged = self.y_true == 1, self.y_pred == 1
        influence = clustering.ratio_influence(
            (truth & flagged).astype(float), (truth | flagged).astype(float)
        )
        return clustering.design_effect(influence, self.clients)

    @cached_property
    def share_design(self) -> float:
        """Design effect of the share of leavers."""
        truth = (self.y_true == 1).astype(float)
        return clustering.design_effect(clustering.ratio_influence(truth, np.ones(len(truth))), self.clients)

    @property
    def n_positive(self) -> int:
        return self.confusion[0] + self.confusion[2]


@dataclass(frozen=True)
class Score:
    """Quality of one model on one set of labelled rows: a value by metric, None where it is not defined."""

    values: Mapping[str, float | None]

    @property
    def n(self) -> int:
        return int(self.values["n"] or 0)

    @property
    def n_positive(self) -> int:
        return int(self.values["n_positive"] or 0)

    @property
    def f1(self) -> float | None:
        return self.values["f1"]

    @property
    def f1_low(self) -> float | None:
        return self.values["f1_low"]

    @property
    def f1_high(self) -> float | None:
        return self.values["f1_high"]

    @property
    def auc(self) -> float | None:
        return self.values["auc"]

    @property
    def auc_low(self) -> float | None:
        return self.values["auc_low"]

    @property
    def auc_high(self) -> float | None:
        return self.values["auc_high"]

    def to_json(self) -> dict[str, Any]:
        return dict(self.values)


# --- the registry ------------------------------------------------------------------------------------------


def f1(rows: LabelledPredictions) -> float | None:
    """Compute F1 of the positive class; None where nobody left."""
    n_tp, n_fp, n_fn, _ = rows.confusion
    return 2 * n_tp / (2 * n_tp + n_fp + n_fn) if rows.n_positive else None


def baseline_f1(rows: LabelledPredictions) -> float | None:
    """Compute the F1 of a model that predicts everyone to leave; None where nobody left."""
    n = sum(rows.confusion)
    return 2 * rows.n_positive / (n + rows.n_positive) if rows.n_positive else None


def average_precision(rows: LabelledPredictions) -> float | None:
    """Compute the area under the precision-recall curve by its steps; None unless there are both classes."""
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(rows.y_true == 1, rows.probability)) if rows.ranking else None


def _f1_end(rows: LabelledPredictions, end: int) -> float | None:
    n_tp, n_fp, n_fn, _ = (n / rows.f1_design for n in rows.confusion)
    return uncertainty.f1_interval(n_tp, n_fp + n_fn)[end] if rows.n_positive else None


def _auc_end(rows: LabelledPredictions, end: int) -> float | None:
    return uncertainty.auc_interval(rows.ranking)[end] if rows.ranking else None


METRICS: dict[str, Callable[[LabelledPredictions], float | None]] = {
    "n": lambda rows: sum(rows.confusion),
    "n_positive": lambda rows: rows.n_positive,
    "f1": f1,
    "f1_low": lambda rows: _f1_end(rows, 0),
    "f1_high": lambda rows: _f1_end(rows, 1),
    "auc": lambda rows: rows.ranking.auc if rows.ranking else None,
    "average_precision": average_precision,
    "floor_f1": baseline_f1,
    "true_positive": lambda rows: rows.confusion[0],
    "false_positive": lambda rows: rows.confusion[1],
    "false_negative": lambda rows: rows.confusion[2],
    "true_negative": lambda rows: rows.confusion[3],
    "auc_low": lambda rows: _auc_end(rows, 0),
    "auc_high": lambda rows: _auc_end(rows, 1),
}


def compute_score(
    y_true: np.ndarray, y_pred: np.ndarray, probability: np.ndarray, clients: np.ndarray | None = None
) -> Score:
    """Compute every metric of `METRICS` on labelled rows.

    Parameters
    ----------
    y_true, y_pred : ndarray of shape (n_samples,)
        1 leaves, 0 stays.
    probability : ndarray of shape (n_samples,)
        Predicted probability of leaving.
    clients : ndarray of shape (n_samples,), optional
        Whose row it is; by default each row is a client of its own.

    Returns
    -------
    score : Score
        Where clients have several rows with `n_clients`, and the design effects of F1 and of the share of
        leavers: by how much fewer independent clients would tell as much.
    """
    return score_predictions(LabelledPredictions(y_true, y_pred, probability, clients))


def score_predictions(rows: LabelledPredictions) -> Score:
    """Compute every metric of `METRICS`, from rows that are prepared once."""
    values = {name: metric(rows) for name, metric in METRICS.items()}
    if rows.clients is not None:
        n_clients = len(np.unique(rows.clients))
        values |= {"n_clients": n_clients, "f1_design": rows.f1_design, "share_design": rows.share_design}
    return Score(values)


def count_confusion(y_true: np.ndarray, y_pred: np.ndarray) -> tuple[int, int, int, int]:
    """Count the cells of the confusion matrix.

    Parameters
    ----------
    y_true, y_pred : ndarray of shape (n_samples,)
        1 leaves, 0 stays.

    Returns
    -------
    counts : tuple of int
        True positives, false positives, false negatives, true negatives.
    """
    truth, flagged = y_true == 1, y_pred == 1
    n_tp, n_flagged, n_positive = int((truth & flagged).sum()), int(flagged.sum()), int(truth.sum())
    return n_tp, n_flagged - n_tp, n_positive - n_tp, len(truth) - n_flagged - n_positive + n_tp
