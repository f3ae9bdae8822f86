"""What does a model say, asked without a frame?

Its pipeline spends milliseconds on a frame before it looks at a client. The log-odds of a linear model are
a sum over the columns (`anatomy`). Of any other, what its pipeline makes of the columns is made here by the
same numbers, and the classifier is asked. Equal to the pipeline to 1e-12; each release is tried once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from risk.data.frames import frame_of
from risk.data.schema import Schema
from risk.model import decomposition
from risk.model.decomposition import Anatomy, TextTerm
from risk.prediction import trees
from risk.prediction.trees import Trees

TOLERANCE = 1e-12
UNHEARD_OF = "\u2400 a category that no table holds"
# What is met in a model that this project did not build.
_OTHER_BUILD = (AttributeError, IndexError, KeyError, TypeError, ValueError)
Columns = Mapping[str, Any]


@dataclass(frozen=True)
class Numbers:
    """What the pipeline makes of some number columns: filled, flagged where missing, scaled."""

    names: list[str]
    fitted: Any = field(repr=False)

    def see(self, columns: Columns) -> np.ndarray:
        """Make the outputs of each row."""
        values = np.column_stack([np.asarray(columns[name], dtype="float64") for name in self.names])
        for step in self.fitted[:-2]:
            values = step.func(values, **(step.kw_args or {}))
        imputer, scaler = self.fitted[-2], self.fitted[-1]
        missing = np.isnan(values)
        filled = np.where(missing, imputer.statistics_, values)
        outputs = np.hstack([filled, missing[:, imputer.indicator_.features_]])
        return np.asarray((outputs - scaler.mean_) / scaler.scale_)


@dataclass(frozen=True)
class Texts:
    """What the pipeline makes of some text columns: for each category what its encoder said once."""

    names: list[str]
    outputs: Sequence[Mapping[str | None, np.ndarray]] = field(repr=False)

    def see(self, columns: Columns) -> np.ndarray:
        """Make the outputs of each row."""
        parts = [
            np.array([known.get(cell, known[UNHEARD_OF]) for cell in columns[name]])
            for name, known in zip(self.names, self.outputs, strict=True)
        ]
        return np.hstack(parts)


@dataclass(frozen=True)
class Direct:
    """A model without its pipeline; a linear one needs no parts, one without boosted trees no `trees`."""

    anatomy: Anatomy
    parts: list[Numbers | Texts]
    trees: Trees | None = None

    @property
    def threshold(self) -> float:
        return self.anatomy.threshold

    def asks_classifier(self, n_rows: int) -> bool:
        """Say whether so many rows are answered by scikit-learn's classifier, which may start threads."""
        return not self.anatomy.is_linear and (self.trees is None or n_rows > trees.FEW)

    def probabilities(self, columns: Columns) -> np.ndarray:
        """Compute the probability of leaving; missing cells are NaN in numbers and None in texts."""
        from scipy.special import expit

        return np.asarray(expit(self.log_odds(columns)))

    def log_odds(self, columns: Columns) -> np.ndarray:
        """Compute the log-odds of the same."""
        if not self.anatomy.is_linear:
            Z = np.hstack([part.see(columns) for part in self.parts])
            if self.trees is None or len(Z) > trees.FEW:
                return self.anatomy.log_odds_of(Z)
            return np.asarray(self.anatomy.slope * self.trees.log_odds(Z) + self.anatomy.intercept)
        terms = (
            _look_up(term, columns[name]) if isinstance(term, TextTerm) else term(columns[name])
            for name, term in self.anatomy.terms.items()
        )
        return np.asarray(self.anatomy.base + sum(terms))


def _look_up(term: TextTerm, cells: Sequence[str | None]) -> np.ndarray:
    """Look each cell up; of few rows that is faster than to sort them into categories first."""
    weights, other, missing = term.weights, term.other, term.missing
    return np.array([missing if cell is None else weights.get(cell, other) for cell in cells])


def take_apart(model: Any, schema: Schema, card: Mapping[str, Any]) -> Direct | None:
    """Take a model apart, if its parts say what it says; None for one that others built."""
    try:
        found = decomposition.take_apart(model)
        direct = (
            Direct(found, [])
            if found.is_linear
            else Direct(found, _take_parts(found), trees.take_trees(found.classifier))
        )
        columns = make_probe(schema, card)
        said = [direct.probabilities(columns), _say_in_pieces(direct, columns)]
    except _OTHER_BUILD:
        return None
    meant = model.predict_proba(frame_of(columns, schema))[:, 1]
    return direct if np.allclose(said, meant, rtol=0, atol=TOLERANCE) else None


def _say_in_pieces(direct: Direct, columns: Mapping[str, Sequence[Any]]) -> np.ndarray:
    """Ask of a few rows at a time, which go another way than many."""
    n = len(next(iter(columns.values())))
    pieces = (
        {name: cells[i : i + trees.FEW] for name, cells in columns.items()} for i in range(0, n, trees.FEW)
    )
    return np.concatenate([direct.probabilities(piece) for piece in pieces])


def _take_parts(found: Anatomy) -> list[Numbers | Texts]:
    """Take the parts in the order of their outputs."""
    parts: dict[int, Numbers | Texts] = {}
    for part, fitted, names in found.columns.transformers_:
        if part == "remainder" or not len(names):
            continue
        start = found.columns.output_indices_[part].start
        if hasattr(fitted, "categories_"):
            places = [[place - start for place in found.outputs[name]] for name in names]
            outputs = [_ask_encoder(fitted, list(names), i)[:, places[i]] for i in range(len(names))]
            known = [dict(zip(_list_cells(fitted, i), made, strict=True)) for i, made in enumerate(outputs)]
            parts[start] = Texts(list(names), known)
        else:
            parts[start] = Numbers(list(names), fitted)
    return [parts[start] for start in sorted(parts)]


def _list_cells(encoder: Any, i: int) -> list[str | None]:
    """List every category of a text column, none, and one that was never heard of."""
    known = [None if cell != cell else cell for cell in encoder.categories_[i].tolist()]
    return [*dict.fromkeys([*known, None, UNHEARD_OF])]


def _ask_encoder(encoder: Any, names: Sequence[str], i: int) -> np.ndarray:
    """Ask an encoder what it makes of each of these cells in its i-th column, of nothing in the others."""
    import pandas as pd

    cells = _list_cells(encoder, i)
    frame = {name: pd.Series([None] * len(cells), dtype="str") for name in names}
    frame[names[i]] = pd.Series(cells, dtype="str")
    return np.asarray(encoder.transform(pd.DataFrame(frame)))


def make_probe(schema: Schema, card: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Make rows that between them hold every decile, every listed category, missing and unheard-of cells."""
    cells: dict[str, list[Any]] = {}
    for name, facts in card["features"].items():
        if schema.kinds[name] == "number":
            cells[name] = [*facts.get("deciles", []), float("nan"), 0.0, -1.5, 1e6]
        else:
            cells[name] = [*facts["categories"], None, UNHEARD_OF]
    n = max(map(len, cells.values()))
    return {name: [values[i % len(values)] for i in range(n)] for name, values in cells.items()}
