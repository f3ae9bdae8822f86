"""Predictions of the deployed model: probability, class, risk level and reasons.

The API, files, the list of clients at risk and executors of a cluster all ask here. The model is asked by
its fast path, equal to its pipeline to 1e-12; where that leaves a class open, the model itself decides. A
model that this project did not build is asked through its pipeline and has no reasons.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from risk.data.frames import frame_of
from risk.data.schema import Schema
from risk.prediction import fast_path, intervals, reasons
from risk.prediction.effects import Explainer
from risk.prediction.fast_path import Columns, FastPath
from risk.prediction.intervals import ProbabilityIntervals
from risk.prediction.reasons import Reason
from risk.prediction.wording import Words

if TYPE_CHECKING:
    import pandas as pd

    from risk.model.registry import Release

CLOSE = 1e-9  # so near to the threshold the last digit of a sum could decide: the model itself does
DEFAULT_THRESHOLD = 0.5


@dataclass(frozen=True)
class Predictions:
    """Predictions of some rows.

    Attributes
    ----------
    log_odds, probability : ndarray of float, shape (n_rows,)
    flagged : ndarray of bool, shape (n_rows,)
        Predicted to leave.
    threshold : float
        From this probability on a client is flagged.
    """

    log_odds: np.ndarray
    probability: np.ndarray
    flagged: np.ndarray
    threshold: float

    @cached_property
    def classes(self) -> np.ndarray:
        """1 for a client who is predicted to leave, 0 for one who stays."""
        return self.flagged.astype(int)

    @cached_property
    def risk(self) -> np.ndarray:
        """The risk level of each row, in words."""
        return intervals.assign_risk(self.probability, self.flagged, self.threshold)


@dataclass(frozen=True)
class Predictor:
    """A release that is ready to be asked.

    Attributes
    ----------
    release : str
        The id of the release.
    fast_path, explainer : optional
        None for a model of another build.
    intervals : ProbabilityIntervals, optional
        None where training rows were too few for a calibration curve.
    limit_threads : callable
        Gives the context in which scikit-learn is asked.
    """

    release: str
    model: Any = field(repr=False)
    schema: Schema = field(repr=False)
    fast_path: FastPath | None = field(repr=False)
    explainer: Explainer | None = field(repr=False)
    intervals: ProbabilityIntervals | None = field(repr=False)
    limit_threads: Callable[[], AbstractContextManager[object]] = field(default=nullcontext, repr=False)

    @classmethod
    def from_release(cls, release: Release, model: Any, words: Words | None = None) -> Predictor:
        """Make the predictor of a loaded release, with the reader's names of columns."""
        return cls.from_card(release.id, model, release.json("modelcard.json"), words)

    @classmethod
    def from_card(
        cls, release: str, model: Any, card: Mapping[str, Any], words: Words | None = None
    ) -> Predictor:
        """Make the predictor of a model and its card."""
        schema = Schema.from_json(card["schema"])
        fast = fast_path.load_fast_path(model, schema, card)
        explainer = make_explainer(fast, card, words)
        return cls(release, model, schema, fast, explainer, intervals.make_intervals(card))

    @property
    def threshold(self) -> float:
        """From which probability on a client is flagged; a half where the model has no threshold."""
        return float(getattr(self.model, "threshold", DEFAULT_THRESHOLD))

    def predict(self, columns: Columns) -> Predictions:
        """Predict whether clients leave.

        Parameters
        ----------
        columns : DataFrame, or mapping of str to list
            Every feature: numbers with NaN, texts with None where a cell is missing.

        Returns
        -------
        predictions : Predictions
        """
        from scipy.special import expit

        n_rows = len(columns[self.schema.features[0]])
        if not n_rows:
            return Predictions(np.empty(0), np.empty(0), np.empty(0, dtype=bool), self.threshold)
        if self.fast_path is None:
            return self._predict_with_model(columns)
        with self.limit_threads() if self.fast_path.uses_classifier(n_rows) else nullcontext():
            log_odds = self.fast_path.log_odds(columns)
        probability = np.asarray(expit(log_odds))
        flagged = probability >= self.threshold
        close = np.flatnonzero(np.abs(probability - self.threshold) < CLOSE)
        if len(close):
            flagged[close] = self._predict_with_model(_take_rows(columns, close)).flagged
        return Predictions(log_odds, probability, flagged, self.threshold)

    def _predict_with_model(self, columns: Columns) -> Predictions:
        """Ask the pipeline; a model without a threshold of its own is asked for the class, too."""
        from scipy.special import logit

        X = columns if hasattr(columns, "iloc") else frame_of(columns, self.schema)
        with self.limit_threads():
            probability = self.model.predict_proba(X)[:, 1]
            if isinstance(getattr(self.model, "threshold", None), float):
                flagged = probability >= self.threshold
            else:
                flagged = np.asarray(self.model.predict(X)) == 1
        return Predictions(logit(probability), probability, flagged, self.threshold)

    def compute_intervals(self, log_odds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Compute the ends of the interval of each probability.

        Parameters
        ----------
        log_odds : ndarray of shape (n_samples,)

        Returns
        -------
        low, high : ndarray of shape (n_samples,)
            NaN where the model has no intervals.
        """
        if self.intervals is None:
            return np.full(len(log_odds), np.nan), np.full(len(log_odds), np.nan)
        return self.intervals.compute(log_odds)

    def find_reasons(self, X: pd.DataFrame, flagged: np.ndarray, n: int) -> list[list[Reason]]:
        """Find up to `n` reasons for each row, the strongest first.

        Parameters
        ----------
        X : DataFrame of shape (n_samples, n_features)
        flagged : ndarray of bool, shape (n_samples,)
            For these rows what raises the risk is looked for, for the others what lowers it.

        Returns
        -------
        reasons : list of list of Reason
            Empty lists for a model of another build.
        """
        if self.explainer is None:
            return [[] for _ in range(len(X))]
        return reasons.find_reasons(self.explainer, X, self.explainer.compute_effects(X), flagged, n)


def make_explainer(
    fast: FastPath | None, card: Mapping[str, Any], words: Words | None = None
) -> Explainer | None:
    """Make the explainer of a model that has a fast path; None for one of another build."""
    try:
        return None if fast is None else Explainer.from_card(fast.decomposed, card, words)
    except fast_path.OTHER_BUILD:
        return None


def _take_rows(columns: Columns, rows: np.ndarray) -> Columns:
    if hasattr(columns, "iloc"):
        return columns.iloc[rows]
    return {name: [cells[row] for row in rows] for name, cells in columns.items()}
