"""Why this client?

Each column has an effect on the log-odds of a client's probability, against what is usual in that column
(`usual`: the median of a number, the mix of all categories of a text or of a number of two values).

Linear model: exact. base + sum of effects = log-odds of the shown probability, calibration included, and
`base` is the log-odds of a client who is usual in every column (tested to 1e-9).

Boosting: what the column changes, alone and in company, half and half. In company: the log-odds of the
client minus those with this column set to what is usual. Alone: the log-odds of a client who is usual in
everything but this column minus those of one who is usual in this, too. That is the Shapley value where
no more than two columns act together (tested), and near it elsewhere; either half by itself would miss
what two columns say together. Of a text its six most frequent categories are what is usual. base + sum of
effects need not reach the log-odds; the rest belongs to no single column.

What is said of a client (the contract of atrisk.csv, of diagnostics.json and of the API)::

    {"column": "tenure", "text": "tenure 2, usually 29", "effect": 0.93}

The strongest come first. Of a client at risk only what raises the risk is said, of any other only what
lowers it; nothing under 0.1 (odds that are a tenth higher); of cells that are twins only the strongest; none
for more than the columns that move together with it leave of it (`echoes`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from risk.model.decomposition import Anatomy
from risk.prediction import baselines
from risk.prediction.baselines import Usual, Value
from risk.prediction.redundancy import Echoes
from risk.prediction.wording import Words

if TYPE_CHECKING:
    import pandas as pd

    Write = Callable[[str], str]

BATCH_ROWS = 5_000
MOST_VALUES = 6  # of a column that boosting is asked about: each costs a prediction of every client
LEAST = 0.1  # log-odds: odds that are a tenth higher
NONE = -1
MOST_SAID = 100_000  # reasons that are kept in words


@dataclass(frozen=True)
class Effects:
    """What each column does to the log-odds of each client.

    Attributes
    ----------
    columns : list of str
    base : float
        Log-odds of a client who is usual in every column.
    values : ndarray of shape (n_samples, n_columns)
    log_odds : ndarray of shape (n_samples,)
        Of the probability that the model gives.
    """

    columns: list[str]
    base: float
    values: np.ndarray
    log_odds: np.ndarray


@dataclass(frozen=True)
class Reason:
    """One reason: the effect is in log-odds, above 0 when it raises the risk."""

    column: str
    text: str
    effect: float

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass(frozen=True)
class Explainer:
    """A fitted model with what is usual in each of its columns."""

    anatomy: Anatomy = field(repr=False)
    usual: Mapping[str, Usual]
    echoes: Echoes = field(default_factory=Echoes)
    words: Words = field(default_factory=Words)
    _said: dict[tuple[str, bool, Write], dict[Value, str]] = field(
        default_factory=dict, repr=False, compare=False
    )

    @classmethod
    def of_card(cls, anatomy: Anatomy, card: Mapping[str, Any], words: Words | None = None) -> Explainer:
        """Make the explainer of a model from its card; an earlier version kept no echoes."""
        usual = baselines.read_card(card)
        if not anatomy.is_linear:
            usual = {name: one.shortened(MOST_VALUES) for name, one in usual.items()}
        return cls(anatomy, usual, Echoes.from_json(card.get("echoes", {})), words or Words())

    def explain(self, X: pd.DataFrame) -> Effects:
        """Compute the effect of every column on every client."""
        return _explain_linear(self, X) if self.anatomy.is_linear else _explain_other(self, X)

    def say(self, column: str, values: Sequence[Value], *, raises: bool, write: Write = str) -> list[str]:
        """Put values of a column into words as reasons; in a large file they come again, so they are kept.

        Parameters
        ----------
        raises : bool
            Whether what raises the risk is asked for, or what lowers it.
        write : function of str to str
            What a text is to go through, such as the quoting of a CSV.
        """
        kept = self._said.setdefault((column, raises, write), {})
        said = {value: kept.get(value) for value in values}
        new = [value for value, text in said.items() if text is None]
        if new:
            contrasts = find_contrasts(self, column, new, raises=raises)
            usual, pairs = self.usual[column], zip(new, contrasts, strict=True)
            texts = {value: write(self.words.say(column, usual, value, other)) for value, other in pairs}
            said |= texts
            all_kept = list(self._said.values())
            if sum(map(len, all_kept)) + len(texts) > MOST_SAID:
                for one in all_kept:
                    one.clear()
            kept |= texts
        return [said[value] or "" for value in values]

    @cached_property
    def usual_client(self) -> np.ndarray:
        """What the classifier sees of a client who is usual in every column; shape (1, n_outputs)."""
        name, one = next(iter(self.usual.items()))
        return self._vary([(name, one.values[0])])

    @cached_property
    def variants(self) -> dict[str, np.ndarray]:
        """What the classifier sees of each column's usual values; shape (n_values, outputs of the column)."""
        pairs = [(name, value) for name, one in self.usual.items() for value in one.values]
        seen = self._vary(pairs)
        names = np.array([name for name, _ in pairs])
        return {name: seen[names == name][:, self.anatomy.outputs[name]] for name in self.usual}

    def _vary(self, pairs: Sequence[tuple[str, Value]]) -> np.ndarray:
        """Make what the classifier sees of usual clients who differ in one column each."""
        return np.asarray(self.anatomy.columns.transform(self._frame(pairs)))

    def _frame(self, pairs: Sequence[tuple[str, Value]]) -> pd.DataFrame:
        import pandas as pd

        cells = {name: [one.values[0]] * len(pairs) for name, one in self.usual.items()}
        for row, (name, value) in enumerate(pairs):
            cells[name][row] = value
        frame = {
            name: baselines.to_cells(cells[name], is_number=one.is_number) for name, one in self.usual.items()
        }
        return pd.DataFrame(frame)

    def alone(self, pairs: Sequence[tuple[str, Value]]) -> np.ndarray:
        """Compute the log-odds of clients who are usual in everything but one column each.

        Of a linear model up to a constant of the column.
        """
        if not self.anatomy.is_linear:
            return self.anatomy.log_odds_of(self._vary(pairs))
        return np.array([float(self.anatomy.terms[name]([value])[0]) for name, value in pairs])

    @cached_property
    def usual_terms(self) -> dict[str, dict[Value, float]]:
        """What `alone` says of each column's usual values."""
        pairs = [(name, value) for name, one in self.usual.items() for value in one.values]
        found: dict[str, dict[Value, float]] = {name: {} for name in self.usual}
        for (name, value), term in zip(pairs, self.alone(pairs).tolist(), strict=True):
            found[name][value] = term
        return found

    def mean_term(self, name: str) -> float:
        """Weigh what is said of a column's usual values by their shares."""
        return float(np.dot(self.usual[name].shares, list(self.usual_terms[name].values())))


def _explain_linear(explainer: Explainer, X: pd.DataFrame) -> Effects:
    anatomy, means = explainer.anatomy, [explainer.mean_term(name) for name in explainer.usual]
    terms = [anatomy.terms[name](X[name].array) for name in explainer.usual]
    effects = np.column_stack(terms) - means
    base = float(anatomy.base + sum(means))
    return Effects(list(explainer.usual), base, effects, base + effects.sum(axis=1))


def _explain_other(explainer: Explainer, X: pd.DataFrame) -> Effects:
    Z = np.asarray(explainer.anatomy.columns.transform(X))
    log_odds = explainer.anatomy.log_odds_of(Z)
    company = _in_company(explainer, Z, log_odds)
    base, alone = _alone(explainer, Z)
    return Effects(list(explainer.usual), base, (company + alone) / 2, log_odds)


def _in_company(explainer: Explainer, Z: np.ndarray, log_odds: np.ndarray) -> np.ndarray:
    """Compute what each column changes for each client: what is lost when it takes its usual values."""
    found = np.zeros((len(Z), len(explainer.usual)))
    swaps = [
        (i, places, variant, share, np.flatnonzero((Z[:, places] != variant).any(axis=1)))
        for i, (name, one) in enumerate(explainer.usual.items())
        for places in [explainer.anatomy.outputs[name]]
        for variant, share in zip(explainer.variants[name], one.shares, strict=True)
    ]
    changed = (_put(Z[rows], places, variant) for _, places, variant, _, rows in swaps)
    for (i, _, _, share, rows), swapped in zip(swaps, _score(explainer.anatomy, changed), strict=True):
        found[rows, i] += share * (log_odds[rows] - swapped)
    return found


def _alone(explainer: Explainer, Z: np.ndarray) -> tuple[float, np.ndarray]:
    """Compute the log-odds of the usual client, and what each client's cells would change there."""
    anatomy, start = explainer.anatomy, explainer.usual_client
    places = [anatomy.outputs[name] for name in explainer.usual]
    cells = [np.unique(Z[:, here], axis=0, return_inverse=True) for here in places]
    rows = (
        _put(np.repeat(start, len(distinct), axis=0), here, distinct)
        for here, (distinct, _) in zip(places, cells, strict=True)
    )
    scored = zip(_score(anatomy, rows), cells, explainer.usual, strict=True)
    effects = [found[which.ravel()] - explainer.mean_term(name) for found, (_, which), name in scored]
    most_usual = float(anatomy.log_odds_of(start)[0])
    base = most_usual + sum(explainer.mean_term(name) - most_usual for name in explainer.usual)
    return base, np.column_stack(effects)


def _put(rows: np.ndarray, places: list[int], cells: np.ndarray) -> np.ndarray:
    rows[:, places] = cells
    return rows


def _score(anatomy: Anatomy, pieces: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Compute the log-odds of the rows of each piece, many small pieces in one call."""
    held: list[np.ndarray] = []
    for piece in chain(pieces, [None]):
        held += [] if piece is None else [piece]
        if held and (piece is None or sum(map(len, held)) >= BATCH_ROWS):
            ends, rows = np.cumsum([len(one) for one in held])[:-1], np.concatenate(held)
            yield from np.split(anatomy.log_odds_of(rows) if len(rows) else np.empty(0), ends)
            held = []


# --- which reasons -----------------------------------------------------------------------------------------


def choose(strength: np.ndarray, marks: np.ndarray, n: int) -> np.ndarray:
    """Choose the strongest reasons of each client.

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
    chosen = np.full((len(left), n), NONE)
    if not left.size:
        return chosen
    rows = np.arange(len(left))
    for k in range(n):
        best = left.argmax(axis=1)
        chosen[:, k] = np.where(left[rows, best] >= LEAST, best, NONE)
        mark = marks[rows, best]
        left[(marks == mark[:, None]) & (mark > 0)[:, None]] = -np.inf
        left[rows, best] = -np.inf
    return chosen


# --- and in words ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Chosen:
    """The reasons of some clients, each array of shape (n_samples, n).

    Attributes
    ----------
    columns : ndarray of int
        Positions among the columns, -1 where there is no further reason.
    texts : ndarray of str
        Empty where there is none.
    effects : ndarray of float
    """

    columns: np.ndarray
    texts: np.ndarray
    effects: np.ndarray


def choose_and_say(
    explainer: Explainer,
    X: pd.DataFrame,
    effects: Effects,
    raises: np.ndarray,
    n: int,
    write: Write = str,
) -> Chosen:
    """Choose up to `n` reasons of each client and put them into words.

    Parameters
    ----------
    raises : ndarray of bool, shape (n_samples,)
        Whether what raises the risk is asked for, or what lowers it.
    write : function of str to str
        What each text is to go through.
    """
    import pandas as pd

    asked = np.where(raises[:, None], effects.values, -effects.values)
    strength = explainer.echoes.bound(asked, effects.columns)
    chosen = choose(strength, explainer.echoes.mark(X, effects.columns), n)
    texts = np.full(chosen.shape, "", dtype=object)
    for i, name in enumerate(effects.columns):
        for direction in (True, False):
            rows, slots = np.nonzero((chosen == i) & (raises == direction)[:, None])
            if len(rows):
                codes, distinct = pd.factorize(X[name].iloc[rows])  # of equal cells one is thought about
                values = [*np.asarray(distinct, dtype=object).tolist(), None]
                said = explainer.say(name, values, raises=direction, write=write)
                texts[rows, slots] = np.array(said, dtype=object)[codes]
    found = np.take_along_axis(effects.values, np.maximum(chosen, 0), axis=1) if n else np.empty(chosen.shape)
    return Chosen(chosen, texts, found)


def say(
    explainer: Explainer, X: pd.DataFrame, effects: Effects, raises: np.ndarray, n: int
) -> list[list[Reason]]:
    """Say the strongest reasons of each client, up to `n`; see `choose_and_say`."""
    found = choose_and_say(explainer, X, effects, raises, n)
    rows = zip(found.columns.tolist(), found.texts.tolist(), found.effects.tolist(), strict=True)
    return [
        [Reason(effects.columns[i], text, its) for i, text, its in zip(*row, strict=True) if i != NONE]
        for row in rows
    ]


def find_contrasts(
    explainer: Explainer, column: str, values: Sequence[Value], *, raises: bool
) -> list[Value]:
    """Find for each value the most frequent one that would push the other way; itself if there is none."""
    usual, known = explainer.usual[column], dict(explainer.usual_terms[column])
    if usual.is_graded:
        return [usual.values[0]] * len(values)
    new = [(column, value) for value in values if value not in known]
    if new:
        known |= zip((value for _, value in new), explainer.alone(new).tolist(), strict=True)
    sign = 1 if raises else -1
    listed = [value for value in usual.values if value != baselines.UNLISTED]
    return [
        next((other for other in listed if sign * known[other] < sign * known[value]), value)
        for value in values
    ]
