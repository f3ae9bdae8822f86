"""Decomposition of a fitted model into what each column of the table adds.

A linear model adds up one term for each column of the table, whatever the pipeline made of that column:
a number with its missing flag and log scale, a text with its one-hot columns. Here the terms are taken
out of the fitted parts, so that log-odds are a sum over columns without building what the pipeline builds.
Of any other estimator only the outputs that belong to a column are known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class NumberTerm:
    """What a number column adds to the log-odds of a linear model.

    `steps` come first (the log scale); a missing cell counts as `fill`. `flag` is mean, spread and weight
    of the missing flag, for a column with missing cells in training.
    """

    steps: tuple[Callable[[np.ndarray], np.ndarray], ...]
    fill: float
    mean: float
    spread: float
    weight: float
    flag: tuple[float, float, float] | None

    def __call__(self, values: Any) -> np.ndarray:
        """Give the term of each value; NaN is missing."""
        values = np.asarray(values, dtype="float64")
        for step in self.steps:
            values = step(values)
        missing = np.isnan(values)
        term = self.weight * ((np.where(missing, self.fill, values) - self.mean) / self.spread)
        if self.flag is not None:
            mean, spread, weight = self.flag
            term = term + weight * ((missing - mean) / spread)
        return np.asarray(term)


@dataclass(frozen=True)
class TextTerm:
    """What a text column adds to the log-odds of a linear model: a weight for each category.

    A category that is not listed counts as `other`, a missing cell as `missing`.
    """

    weights: Mapping[str, float]
    other: float
    missing: float

    def __call__(self, values: Any) -> np.ndarray:
        """Give the term of each cell of a column, or of a list; None is missing, in a column NaN, too."""
        if isinstance(values, list):  # of few rows that is faster than to sort them into categories first
            weights, other, missing = self.weights, self.other, self.missing
            return np.array([missing if cell is None else weights.get(cell, other) for cell in values])
        import pandas as pd

        codes, distinct = pd.factorize(values)
        known = [self.weights.get(value, self.other) for value in distinct]
        return np.array([*known, self.missing])[codes]  # the code of a missing cell is -1


Term = NumberTerm | TextTerm


@dataclass(frozen=True)
class Decomposition:
    """The parts of a fitted model.

    Attributes
    ----------
    threshold : float
        A client is predicted to leave from this probability on.
    slope, intercept : float
        Of the calibration, on log-odds; 1 and 0 without one.
    columns, classifier : fitted estimators of scikit-learn
        What makes columns of numbers, and what is fitted on them.
    outputs : dict of str to list of int
        The positions that each column of the table takes among those columns.
    """

    threshold: float
    slope: float
    intercept: float
    columns: Any = field(repr=False)
    classifier: Any = field(repr=False)
    outputs: Mapping[str, list[int]] = field(repr=False)

    @property
    def is_linear(self) -> bool:
        return hasattr(self.classifier, "coef_")

    @cached_property
    def base(self) -> float:
        """Log-odds of a linear model before any column is looked at."""
        return float(self.slope * self.classifier.intercept_[0] + self.intercept)

    @cached_property
    def terms(self) -> dict[str, Term]:
        """What each column adds to the log-odds of a linear model, calibration included."""
        return {
            name: term
            for part, fitted, names in _parts(self.columns)
            for name, term in _terms_of(fitted, names, self._weights(part))
        }

    def _weights(self, part: str) -> np.ndarray:
        return np.asarray(self.slope * self.classifier.coef_[0][self.columns.output_indices_[part]])

    def log_odds(self, X: pd.DataFrame | Mapping[str, Any]) -> np.ndarray:
        """Compute the log-odds of the probability that the model gives each client.

        Parameters
        ----------
        X : DataFrame; for a linear model also a mapping of str to list
            Every feature: numbers with NaN, texts with None where a cell is missing.

        Returns
        -------
        log_odds : ndarray of shape (n_rows,)
        """
        if self.is_linear:
            return np.asarray(self.base + sum(term(X[name]) for name, term in self.terms.items()))
        return self.log_odds_of(self.columns.transform(X))

    def log_odds_of(self, Z: np.ndarray) -> np.ndarray:
        """Compute the log-odds of the probability from what `columns` made of the clients.

        Parameters
        ----------
        Z : ndarray of shape (n_rows, n_outputs)
            The output of `columns.transform`.

        Returns
        -------
        log_odds : ndarray of shape (n_rows,)
            Calibration included.
        """
        return np.asarray(self.slope * self.classifier.decision_function(Z) + self.intercept)


def decompose(model: Any) -> Decomposition:
    """Split a fitted model of `pipeline.make_model` into its parts."""
    inner, slope, intercept = model.estimator_, 1.0, 0.0
    if hasattr(inner, "calibrated_classifiers_"):
        (calibrated,) = inner.calibrated_classifiers_
        (sigmoid,) = calibrated.calibrators
        inner, slope, intercept = calibrated.estimator, -float(sigmoid.a_), -float(sigmoid.b_)
    columns, classifier = inner[0], inner[-1]
    outputs: dict[str, list[int]] = {}
    for part, fitted, names in _parts(columns):
        start = columns.output_indices_[part].start
        for name, places in zip(names, _places(fitted, len(names)), strict=True):
            outputs[name] = [start + place for place in places]
    return Decomposition(model.threshold, slope, intercept, columns, classifier, outputs)


def _parts(columns: Any) -> list[tuple[str, Any, list[str]]]:
    """List the parts that saw a column: name, what was fitted, which columns."""
    return [
        (part, fitted, list(names))
        for part, fitted, names in columns.transformers_
        if len(names) and part != "remainder"
    ]


def _places(fitted: Any, n_columns: int) -> list[list[int]]:
    """List which outputs of a part belong to each of its columns."""
    if hasattr(fitted, "categories_"):
        ends = np.cumsum([len(_categories(fitted, i)) for i in range(n_columns)])
        starts = [0, *ends[:-1]]
        return [list(range(start, end)) for start, end in zip(starts, ends, strict=True)]
    flags = fitted[-2].indicator_.features_.tolist()
    return [[i, *([n_columns + flags.index(i)] if i in flags else [])] for i in range(n_columns)]


def _categories(encoder: Any, i: int) -> list[tuple[str | None, ...]]:
    """List the categories behind each output of a text column; the rare ones share the last."""
    rare = encoder.infrequent_categories_[i]
    shared = tuple(map(_named, () if rare is None else rare))
    known = set(shared)
    categories: list[tuple[str | None, ...]] = [
        (name,) for name in map(_named, encoder.categories_[i]) if name not in known
    ]
    return [*categories, shared] if shared else categories


def _named(category: Any) -> str | None:
    """Name a category; a missing cell is None, for NaN equals nothing."""
    return None if category is None or category != category else str(category)


def _terms_of(fitted: Any, names: list[str], weights: np.ndarray) -> list[tuple[str, Term]]:
    """Give the term of each column of a part; `weights` are those of the part's outputs."""
    places = _places(fitted, len(names))
    if hasattr(fitted, "categories_"):
        return [(name, _text_term(fitted, i, weights[places[i]])) for i, name in enumerate(names)]
    return [(name, _number_term(fitted, i, places[i], weights)) for i, name in enumerate(names)]


def _text_term(encoder: Any, i: int, weights: np.ndarray) -> TextTerm:
    known: dict[str | None, float] = {}
    for names, weight in zip(_categories(encoder, i), weights.tolist(), strict=True):
        known |= dict.fromkeys(names, weight)
    other = float(weights[-1]) if encoder.infrequent_categories_[i] is not None else 0.0
    missing = known.pop(None, other)
    return TextTerm({name: weight for name, weight in known.items() if name is not None}, other, missing)


def _number_term(fitted: Any, i: int, places: list[int], weights: np.ndarray) -> NumberTerm:
    imputer, scaler = fitted[-2], fitted[-1]
    number, *flag = [(float(scaler.mean_[p]), float(scaler.scale_[p]), float(weights[p])) for p in places]
    steps = tuple(_step_of(step) for step in fitted[:-2])
    return NumberTerm(steps, float(imputer.statistics_[i]), *number, flag[0] if flag else None)


def _step_of(transformer: Any) -> Callable[[np.ndarray], np.ndarray]:
    settings = transformer.kw_args or {}
    return lambda values: np.asarray(transformer.func(values, **settings))
