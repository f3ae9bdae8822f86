"""Log-odds of a fitted model computed from columns, without its pipeline.

scikit-learn's pipeline spends milliseconds on a frame before it looks at a client. A linear model is a sum
over the columns (`decomposition`). For boosted trees the columns are encoded here with the fitted numbers of
the pipeline; a few rows are then answered by treelite, many by scikit-learn's classifier, to the same bit
(docs/decisions/0035). Each release is probed when it is loaded: unless the fast path agrees with the
pipeline to 1e-12 on rows with every decile, every category, missing and unknown cells, it is not used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from risk.data.frames import frame_of
from risk.data.schema import Schema
from risk.model import decomposition
from risk.model.decomposition import Decomposition

TOLERANCE = 1e-12
FEW_ROWS = 64  # from about 100 rows on scikit-learn's own loop over the trees is faster than treelite
UNKNOWN_CATEGORY = "\u2400 a category that no table holds"
# What is met in a model that this project did not build.
OTHER_BUILD = (AttributeError, IndexError, KeyError, TypeError, ValueError)
Columns = Any  # a frame, or a mapping of str to lists: numbers with NaN, texts with None where missing


@dataclass(frozen=True)
class NumberEncoder:
    """What the pipeline makes of some number columns: filled, flagged where missing, scaled.

    Attributes
    ----------
    steps : tuple of fitted transformers
        Applied first (the log scale).
    imputer, scaler : fitted SimpleImputer and StandardScaler
    """

    names: list[str]
    steps: tuple[Any, ...] = field(repr=False)
    imputer: Any = field(repr=False)
    scaler: Any = field(repr=False)

    def encode(self, columns: Columns) -> np.ndarray:
        """Compute the outputs of each row, shape (n_rows, n_outputs)."""
        values = np.column_stack([np.asarray(columns[name], dtype="float64") for name in self.names])
        for step in self.steps:
            values = step.func(values, **(step.kw_args or {}))
        missing = np.isnan(values)
        filled = np.where(missing, self.imputer.statistics_, values)
        outputs = np.hstack([filled, missing[:, self.imputer.indicator_.features_]])
        return np.asarray((outputs - self.scaler.mean_) / self.scaler.scale_)


@dataclass(frozen=True)
class TextEncoder:
    """What the pipeline makes of a text column: the outputs of each category.

    Attributes
    ----------
    places : dict of str to int
        The row of each category in `outputs`; None is missing, `UNKNOWN_CATEGORY` any that is not listed.
    outputs : ndarray of shape (n_categories, n_outputs)
    """

    name: str
    places: Mapping[str | None, int] = field(repr=False)
    outputs: np.ndarray = field(repr=False)

    def encode(self, columns: Columns) -> np.ndarray:
        """Compute the outputs of each row, shape (n_rows, n_outputs)."""
        cells, unknown = columns[self.name], self.places[UNKNOWN_CATEGORY]
        if isinstance(cells, list):  # of few rows that is faster than to sort them into categories first
            return np.asarray(self.outputs[[self.places.get(cell, unknown) for cell in cells]])
        import pandas as pd

        codes, distinct = pd.factorize(cells)
        known = [self.places.get(value, unknown) for value in distinct]
        rows = np.array([*known, self.places[None]])[codes]  # a missing cell has the code -1
        return np.asarray(self.outputs[rows])


@dataclass(frozen=True)
class Forest:
    """Boosted trees in treelite, which answers a few rows in a tenth of scikit-learn's time.

    Attributes
    ----------
    base : float
        Log-odds before the first tree.
    trees : treelite.Model
    """

    base: float
    trees: Any = field(repr=False)

    def log_odds(self, Z: np.ndarray) -> np.ndarray:
        """Compute the log-odds of encoded rows.

        Leaves are added in scikit-learn's order, so that the last bit is the same, too.

        Parameters
        ----------
        Z : ndarray of shape (n_rows, n_outputs)
            NaN is missing.

        Returns
        -------
        log_odds : ndarray of shape (n_rows,)
        """
        from treelite import gtil

        leaves = gtil.predict_per_tree(self.trees, Z, nthread=1).reshape(len(Z), -1)
        start = np.full((len(Z), 1), self.base)
        return np.asarray(np.cumsum(np.hstack([start, leaves]), axis=1)[:, -1])


@dataclass(frozen=True)
class FastPath:
    """The parts of a model that are asked without its pipeline.

    Attributes
    ----------
    encoders : list of NumberEncoder and TextEncoder
        In the order of the pipeline's outputs; a linear model needs none.
    forest : Forest, optional
        None for a linear model, and for trees that treelite does not know.
    """

    decomposed: Decomposition
    encoders: Sequence[NumberEncoder | TextEncoder] = ()
    forest: Forest | None = None

    def uses_classifier(self, n_rows: int) -> bool:
        """Whether so many rows are answered by scikit-learn's classifier, which may start threads."""
        return not self.decomposed.is_linear and (self.forest is None or n_rows > FEW_ROWS)

    def log_odds(self, columns: Columns) -> np.ndarray:
        """Compute the log-odds of leaving, calibration included.

        Parameters
        ----------
        columns : DataFrame, or mapping of str to list
            Every feature: numbers with NaN, texts with None where a cell is missing.

        Returns
        -------
        log_odds : ndarray of shape (n_rows,)
        """
        if self.decomposed.is_linear:
            return self.decomposed.log_odds(columns)
        Z = np.hstack([encoder.encode(columns) for encoder in self.encoders])
        if self.forest is None or len(Z) > FEW_ROWS:
            return self.decomposed.log_odds_of(Z)
        return np.asarray(self.decomposed.slope * self.forest.log_odds(Z) + self.decomposed.intercept)


def load_fast_path(model: Any, schema: Schema, card: Mapping[str, Any]) -> FastPath | None:
    """Make the fast path of a model and compare it with its pipeline.

    Parameters
    ----------
    model : fitted estimator
    card : mapping
        Its model card, for the rows to compare on.

    Returns
    -------
    fast_path : FastPath or None
        None for a model of another build, or one whose pipeline gives other probabilities.
    """
    from scipy.special import expit

    try:
        fast_path = _take_parts(decomposition.decompose(model))
        columns = make_probe(schema, card)
        frame = frame_of(columns, schema)
        computed = [fast_path.log_odds(columns), _in_chunks(fast_path, columns), fast_path.log_odds(frame)]
    except OTHER_BUILD:
        return None
    expected = model.predict_proba(frame)[:, 1]
    return fast_path if np.allclose(expit(computed), expected, rtol=0, atol=TOLERANCE) else None


def _in_chunks(fast_path: FastPath, columns: Mapping[str, Sequence[Any]]) -> np.ndarray:
    """Compute the log-odds of a few rows at a time, which go another way than many."""
    n_rows = len(next(iter(columns.values())))
    chunks = (
        {name: cells[start : start + FEW_ROWS] for name, cells in columns.items()}
        for start in range(0, n_rows, FEW_ROWS)
    )
    return np.concatenate([fast_path.log_odds(chunk) for chunk in chunks])


def _take_parts(decomposed: Decomposition) -> FastPath:
    if decomposed.is_linear:
        return FastPath(decomposed)
    return FastPath(decomposed, take_encoders(decomposed), make_forest(decomposed.classifier))


def take_encoders(decomposed: Decomposition) -> list[NumberEncoder | TextEncoder]:
    """Take the encoders of the columns, in the order of their outputs."""
    encoders: dict[int, list[NumberEncoder] | list[TextEncoder]] = {}
    for part, fitted, names in decomposed.columns.transformers_:
        if part == "remainder" or not len(names):
            continue
        start = decomposed.columns.output_indices_[part].start
        if hasattr(fitted, "categories_"):
            encoders[start] = [_make_text_encoder(decomposed, fitted, list(names), name) for name in names]
        else:
            steps = [step for _, step in fitted.steps]
            encoders[start] = [NumberEncoder(list(names), tuple(steps[:-2]), steps[-2], steps[-1])]
    return [encoder for start in sorted(encoders) for encoder in encoders[start]]


def _make_text_encoder(decomposed: Decomposition, encoder: Any, names: list[str], name: str) -> TextEncoder:
    """Encode each category of a column once, missing in the columns beside it."""
    import pandas as pd

    position = names.index(name)
    categories = [None if cell != cell else cell for cell in encoder.categories_[position].tolist()]
    cells = [*dict.fromkeys([*categories, None, UNKNOWN_CATEGORY])]
    frame = {other: pd.Series([None] * len(cells), dtype="str") for other in names}
    frame[name] = pd.Series(cells, dtype="str")
    encoded = np.asarray(encoder.transform(pd.DataFrame(frame)))
    first = min(decomposed.outputs[other][0] for other in names)
    outputs = encoded[:, [place - first for place in decomposed.outputs[name]]]
    return TextEncoder(name, {cell: row for row, cell in enumerate(cells)}, outputs)


def make_forest(classifier: Any) -> Forest | None:
    """Convert a fitted HistGradientBoostingClassifier; None where treelite does not know it.

    Trees that split on sets of categories are left to scikit-learn, as is a layout of nodes that a later
    scikit-learn may bring.
    """
    try:
        import treelite.sklearn
    except ImportError:  # as on an executor of a cluster; scikit-learn gives the same bits
        return None
    if classifier.is_categorical_ is not None and np.any(classifier.is_categorical_):
        return None
    try:
        trees = treelite.sklearn.import_model(classifier)
    except (*OTHER_BUILD, AssertionError, RuntimeError, treelite.TreeliteError):
        return None
    return Forest(float(trees.get_header_accessor().get_field("base_scores")[0]), trees)


def make_probe(schema: Schema, card: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Make rows that between them hold every decile, every listed category, missing and unknown cells."""
    cells: dict[str, list[Any]] = {}
    for name, facts in card["features"].items():
        if schema.kinds[name] == "number":
            cells[name] = [*facts.get("deciles", []), float("nan"), 0.0, -1.5, 1e6]
        else:
            cells[name] = [*facts["categories"], None, UNKNOWN_CATEGORY]
    n_rows = max(map(len, cells.values()))
    return {name: [values[i % len(values)] for i in range(n_rows)] for name, values in cells.items()}
