"""Effects of columns on the log-odds of a client's probability, against the baseline of each column.

Linear model: exact. base + sum of effects = log-odds of the shown probability, calibration included, and
`base` is the log-odds of a client with the baseline in every column (tested to 1e-9).

Boosting: what the column changes, alone and in company, half and half. In company: the log-odds of the
client minus those with this column set to its baseline. Alone: the log-odds of a client with the baseline in
every column but this one minus those with the baseline in this, too. That is the Shapley value [1]_ where no
more than two columns act together (tested), and near it elsewhere; either half by itself would miss what
two columns do together. Of a text its six most frequent categories are the baseline. base + sum of effects
need not reach the log-odds; the rest belongs to no single column.

References
----------
.. [1] L. S. Shapley, "A Value for n-Person Games", Contributions to the Theory of Games II (1953),
   pp. 307-317.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from risk.model.decomposition import Decomposition
from risk.prediction import baselines
from risk.prediction.baselines import Baseline, Value
from risk.prediction.redundancy import Redundancy
from risk.prediction.wording import Words

if TYPE_CHECKING:
    import pandas as pd

BATCH_ROWS = 5_000
MAX_VALUES = 6  # of a column that boosting is asked about: each costs a prediction of every client
MAX_TEXTS = 100_000
TextCache = dict[tuple[str, bool, Callable[[str], str]], dict[Value, str]]


@dataclass(frozen=True)
class Effects:
    """What each column does to the log-odds of each client.

    Attributes
    ----------
    columns : list of str
    base : float
        Log-odds of a client with the baseline in every column.
    values : ndarray of shape (n_samples, n_columns)
    log_odds : ndarray of shape (n_samples,)
        Of the probability that the model gives.
    """

    columns: list[str]
    base: float
    values: np.ndarray
    log_odds: np.ndarray


@dataclass(frozen=True)
class Explainer:
    """A fitted model with the baseline of each of its columns.

    Attributes
    ----------
    text_cache : dict
        Texts of reasons that were written already: in a large file the same cells come again.
    max_texts : int, default=100,000
        How many of them are kept.
    """

    decomposed: Decomposition = field(repr=False)
    baselines: Mapping[str, Baseline]
    redundancy: Redundancy = field(default_factory=Redundancy)
    words: Words = field(default_factory=Words)
    max_texts: int = MAX_TEXTS
    text_cache: TextCache = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_card(
        cls, decomposed: Decomposition, card: Mapping[str, Any], words: Words | None = None
    ) -> Explainer:
        """Make the explainer of a model from its card; an earlier version kept no redundancy."""
        known = baselines.make_baselines(card)
        if not decomposed.is_linear:
            known = {name: baseline.top(MAX_VALUES) for name, baseline in known.items()}
        return cls(decomposed, known, Redundancy.from_json(card.get("echoes", {})), words or Words())

    def compute_effects(self, X: pd.DataFrame, *, batch_rows: int = BATCH_ROWS) -> Effects:
        """Compute the effect of every column on every client.

        Parameters
        ----------
        X : DataFrame of shape (n_samples, n_features)
        batch_rows : int, default=5,000
            From how many rows on boosting is asked; fewer are gathered first.
        """
        if self.decomposed.is_linear:
            return _compute_linear(self, X)
        return _compute_boosted(self, X, batch_rows)

    def compute_alone(self, pairs: Sequence[tuple[str, Value]]) -> np.ndarray:
        """Compute the log-odds of clients with the baseline in every column but one each.

        Parameters
        ----------
        pairs : sequence of (column, value)

        Returns
        -------
        log_odds : ndarray of shape (n_pairs,)
            Of a linear model up to a constant of the column.
        """
        if not self.decomposed.is_linear:
            return self.decomposed.log_odds_of(self._encode(pairs))
        return np.array([float(self.decomposed.terms[name]([value])[0]) for name, value in pairs])

    @cached_property
    def baseline_client(self) -> np.ndarray:
        """A client with the baseline in every column, encoded; shape (1, n_outputs)."""
        name, baseline = next(iter(self.baselines.items()))
        return self._encode([(name, baseline.values[0])])

    @cached_property
    def variants(self) -> dict[str, np.ndarray]:
        """The baseline values of each column, encoded; shape (n_values, outputs of the column)."""
        encoded = self._encode(self._pairs)
        names = np.array([name for name, _ in self._pairs])
        return {name: encoded[names == name][:, self.decomposed.outputs[name]] for name in self.baselines}

    @cached_property
    def baseline_terms(self) -> dict[str, dict[Value, float]]:
        """What `compute_alone` gives for the baseline values of each column."""
        terms: dict[str, dict[Value, float]] = {name: {} for name in self.baselines}
        for (name, value), term in zip(self._pairs, self.compute_alone(self._pairs).tolist(), strict=True):
            terms[name][value] = term
        return terms

    def mean_term(self, name: str) -> float:
        """Average the terms of a column's baseline values by their shares."""
        return float(np.dot(self.baselines[name].shares, list(self.baseline_terms[name].values())))

    @cached_property
    def _pairs(self) -> list[tuple[str, Value]]:
        return [(name, value) for name, baseline in self.baselines.items() for value in baseline.values]

    def _encode(self, pairs: Sequence[tuple[str, Value]]) -> np.ndarray:
        """Encode clients with the baseline in every column but one each."""
        import pandas as pd

        cells = {name: [baseline.values[0]] * len(pairs) for name, baseline in self.baselines.items()}
        for row, (name, value) in enumerate(pairs):
            cells[name][row] = value
        frame = {
            name: baselines.make_column(cells[name], is_number=baseline.is_number)
            for name, baseline in self.baselines.items()
        }
        return np.asarray(self.decomposed.columns.transform(pd.DataFrame(frame)))


def _compute_linear(explainer: Explainer, X: pd.DataFrame) -> Effects:
    decomposed, means = explainer.decomposed, [explainer.mean_term(name) for name in explainer.baselines]
    terms = [decomposed.terms[name](X[name].array) for name in explainer.baselines]
    effects = np.column_stack(terms) - means
    base = float(decomposed.base + sum(means))
    return Effects(list(explainer.baselines), base, effects, base + effects.sum(axis=1))


def _compute_boosted(explainer: Explainer, X: pd.DataFrame, batch_rows: int) -> Effects:
    Z = np.asarray(explainer.decomposed.columns.transform(X))
    log_odds = explainer.decomposed.log_odds_of(Z)
    in_company = _compute_in_company(explainer, Z, log_odds, batch_rows)
    base, alone = _compute_alone(explainer, Z, batch_rows)
    return Effects(list(explainer.baselines), base, (in_company + alone) / 2, log_odds)


def _compute_in_company(
    explainer: Explainer, Z: np.ndarray, log_odds: np.ndarray, batch_rows: int
) -> np.ndarray:
    """Compute what each column changes for each client: what is lost when it takes its baseline."""
    effects = np.zeros((len(Z), len(explainer.baselines)))
    swaps = [
        (i, places, variant, share, np.flatnonzero((Z[:, places] != variant).any(axis=1)))
        for i, (name, baseline) in enumerate(explainer.baselines.items())
        for places in [explainer.decomposed.outputs[name]]
        for variant, share in zip(explainer.variants[name], baseline.shares, strict=True)
    ]
    changed = (_put(Z[rows], places, variant) for _, places, variant, _, rows in swaps)
    scored = _score(explainer.decomposed, changed, batch_rows)
    for (i, _, _, share, rows), swapped in zip(swaps, scored, strict=True):
        effects[rows, i] += share * (log_odds[rows] - swapped)
    return effects


def _compute_alone(explainer: Explainer, Z: np.ndarray, batch_rows: int) -> tuple[float, np.ndarray]:
    """Compute the log-odds of the baseline client, and what each client's cells would change there."""
    decomposed, start = explainer.decomposed, explainer.baseline_client
    places = [decomposed.outputs[name] for name in explainer.baselines]
    cells = [np.unique(Z[:, here], axis=0, return_inverse=True) for here in places]
    rows = (
        _put(np.repeat(start, len(distinct), axis=0), here, distinct)
        for here, (distinct, _) in zip(places, cells, strict=True)
    )
    scored = zip(_score(decomposed, rows, batch_rows), cells, explainer.baselines, strict=True)
    effects = [terms[which.ravel()] - explainer.mean_term(name) for terms, (_, which), name in scored]
    first = float(decomposed.log_odds_of(start)[0])
    base = first + sum(explainer.mean_term(name) - first for name in explainer.baselines)
    return base, np.column_stack(effects)


def _put(rows: np.ndarray, places: list[int], cells: np.ndarray) -> np.ndarray:
    rows[:, places] = cells
    return rows


def _score(decomposed: Decomposition, pieces: Iterator[np.ndarray], batch_rows: int) -> Iterator[np.ndarray]:
    """Compute the log-odds of the rows of each piece, many small pieces in one call."""
    held: list[np.ndarray] = []
    for piece in chain(pieces, [None]):
        held += [] if piece is None else [piece]
        if held and (piece is None or sum(map(len, held)) >= batch_rows):
            ends, rows = np.cumsum([len(one) for one in held])[:-1], np.concatenate(held)
            yield from np.split(decomposed.log_odds_of(rows) if len(rows) else np.empty(0), ends)
            held = []
