"""Reasons for a prediction: the columns that speak for it most, in words.

The contract of atrisk.csv, of diagnostics.json and of the API::

    {"column": "tenure", "text": "tenure 2, usually 29", "effect": 0.93}

The strongest come first. For a flagged client only what raises the risk is a reason, for any other only what
lowers it; nothing under 0.1 (odds that are a tenth higher); of cells that are twins only the strongest; none
for more than the columns that are correlated with it leave of it (`redundancy`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from risk.prediction import baselines
from risk.prediction.baselines import Value
from risk.prediction.effects import Effects, Explainer

if TYPE_CHECKING:
    import pandas as pd

    Write = Callable[[str], str]

MIN_EFFECT = 0.1  # log-odds: odds that are a tenth higher
NO_COLUMN = -1


@dataclass(frozen=True)
class Reason:
    """One reason: the effect is in log-odds, above 0 when it raises the risk."""

    column: str
    text: str
    effect: float

    def to_json(self) -> dict[str, Any]:
        """Give the reason as the contract has it."""
        return dict(vars(self))


def find_reasons(
    explainer: Explainer, X: pd.DataFrame, effects: Effects, raises: np.ndarray, n: int
) -> list[list[Reason]]:
    """Find the strongest reasons of each client, up to `n`.

    Parameters
    ----------
    X : DataFrame of shape (n_samples, n_features)
    effects : Effects
        Of these clients.
    raises : ndarray of bool, shape (n_samples,)
        Whether what raises the risk is asked for, or what lowers it.
    """
    chosen = choose_columns(explainer, X, effects, raises, n)
    texts = render_texts(explainer, X, chosen, raises)
    strengths = np.take_along_axis(effects.values, np.maximum(chosen, 0), axis=1) if n else chosen
    rows = zip(chosen.tolist(), texts.tolist(), strengths.tolist(), strict=True)
    return [
        [
            Reason(effects.columns[i], text, effect)
            for i, text, effect in zip(*row, strict=True)
            if i != NO_COLUMN
        ]
        for row in rows
    ]


# --- which columns ----------------------------------------------------------------------------------------


def choose_columns(
    explainer: Explainer, X: pd.DataFrame, effects: Effects, raises: np.ndarray, n: int
) -> np.ndarray:
    """Choose up to `n` columns for each client.

    Parameters
    ----------
    X : DataFrame of shape (n_samples, n_features)
        Numbers as float64 with NaN, text with NaN.
    effects : Effects
        Of these clients.
    raises : ndarray of bool, shape (n_samples,)
        Whether what raises the risk is asked for, or what lowers it.

    Returns
    -------
    chosen : ndarray of int, shape (n_samples, n)
        Positions of columns, -1 where there is no further reason.
    """
    signed = np.where(raises[:, None], effects.values, -effects.values)
    strength = explainer.redundancy.bound_effects(signed, effects.columns)
    return choose_strongest(strength, explainer.redundancy.mark_twins(X, effects.columns), n)


def choose_strongest(strength: np.ndarray, marks: np.ndarray, n: int) -> np.ndarray:
    """Choose the strongest columns of each client.

    Parameters
    ----------
    strength : ndarray of shape (n_samples, n_columns)
        What speaks for each column, in log-odds; under 0.1 it is not worth a word.
    marks : ndarray of int, shape (n_samples, n_columns)
        Of cells with the same mark, but for 0, one is chosen at most.

    Returns
    -------
    chosen : ndarray of int, shape (n_samples, n)
        Positions of columns, -1 where there is no further reason.
    """
    left = strength.copy()
    chosen = np.full((len(left), n), NO_COLUMN)
    if not left.size:
        return chosen
    rows = np.arange(len(left))
    for k in range(n):
        best = left.argmax(axis=1)
        chosen[:, k] = np.where(left[rows, best] >= MIN_EFFECT, best, NO_COLUMN)
        mark = marks[rows, best]
        left[(marks == mark[:, None]) & (mark > 0)[:, None]] = -np.inf
        left[rows, best] = -np.inf
    return chosen


# --- in words ---------------------------------------------------------------------------------------------


def render_texts(
    explainer: Explainer, X: pd.DataFrame, chosen: np.ndarray, raises: np.ndarray, write: Write = str
) -> np.ndarray:
    """Render the chosen columns of each client as texts.

    Parameters
    ----------
    X : DataFrame of shape (n_samples, n_features)
    chosen : ndarray of int, shape (n_samples, n)
        As `choose_columns` gives it.
    raises : ndarray of bool, shape (n_samples,)
    write : function of str to str
        What each text is to go through, such as the quoting of a CSV.

    Returns
    -------
    texts : ndarray of str, shape (n_samples, n)
        Empty where there is no further reason.
    """
    import pandas as pd

    texts = np.full(chosen.shape, "", dtype=object)
    for i, name in enumerate(explainer.baselines):
        for direction in (True, False):
            rows, slots = np.nonzero((chosen == i) & (raises == direction)[:, None])
            if len(rows):
                codes, distinct = pd.factorize(X[name].iloc[rows])  # each distinct cell is rendered once
                values = [*np.asarray(distinct, dtype=object).tolist(), None]
                rendered = _render_values(explainer, name, values, raises=direction, write=write)
                texts[rows, slots] = np.array(rendered, dtype=object)[codes]
    return texts


def _render_values(
    explainer: Explainer, column: str, values: Sequence[Value], *, raises: bool, write: Write
) -> list[str]:
    """Render values of a column, from the cache those that were rendered before."""
    cache = explainer.text_cache
    known = cache.setdefault((column, raises, write), {})
    texts = {value: known.get(value) for value in values}
    new = [value for value, text in texts.items() if text is None]
    if new:
        contrasts = find_contrasts(explainer, column, new, raises=raises)
        baseline, describe = explainer.baselines[column], explainer.words.describe_value
        rendered = {
            value: write(describe(column, baseline, value, other))
            for value, other in zip(new, contrasts, strict=True)
        }
        texts |= rendered
        if sum(map(len, cache.values())) + len(rendered) > explainer.max_texts:
            for one in cache.values():
                one.clear()
        known |= rendered
    return [texts[value] or "" for value in values]


def find_contrasts(
    explainer: Explainer, column: str, values: Sequence[Value], *, raises: bool
) -> list[Value]:
    """Find for each value the most frequent one that would push the other way; itself if there is none."""
    baseline, terms = explainer.baselines[column], dict(explainer.baseline_terms[column])
    if baseline.is_graded:
        return [baseline.values[0]] * len(values)
    new = [(column, value) for value in values if value not in terms]
    if new:
        terms |= zip((value for _, value in new), explainer.compute_alone(new).tolist(), strict=True)
    sign = 1 if raises else -1
    listed = [value for value in baseline.values if value != baselines.UNLISTED]
    return [
        next((other for other in listed if sign * terms[other] < sign * terms[value]), value)
        for value in values
    ]
