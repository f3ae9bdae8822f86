"""What does the deployed model say of a client, and how is it written?

For frames of any size: probability with its band, class, risk in words, and reasons. A linear model is
asked through the sum over its columns (`anatomy`), many times faster than through its pipeline and equal
to it to 1e-12; where that leaves a class open, the model itself decides.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from risk.data.schema import ROW, Schema
from risk.model import decomposition
from risk.prediction import intervals, reasons
from risk.prediction import reasons as reasons_
from risk.prediction.intervals import Bands
from risk.prediction.reasons import Effects, Explainer, Reason
from risk.prediction.wording import Words
from risk.text import escape_for_spreadsheet

if TYPE_CHECKING:
    import pandas as pd

    from risk.model.registry import Release

CLOSE, TOLERANCE, HALF = 1e-9, 1e-12, 0.5
DIGITS = 4
# What `anatomy` meets in a model that this project did not build.
_OTHER_BUILD = (AttributeError, IndexError, KeyError, TypeError, ValueError)
_SIGNS = "=+-@\t\r\uff1d\uff0b\uff0d\uff20"
_FORMULA = re.compile(f"(^|[\0;|\t\r\n])[{re.escape(_SIGNS)}]")  # see `escapes`
_CLASSES = np.array(["0", "1"], dtype=object)
_TEXTS = np.array([f"{k / 10**DIGITS:.{DIGITS}f}" for k in range(10**DIGITS + 1)], dtype=object)


@dataclass(frozen=True)
class Said:
    """What is said of each row of a frame: arrays of one value a row."""

    log_odds: np.ndarray
    probability: np.ndarray
    leaves: np.ndarray
    risk: np.ndarray

    @classmethod
    def join(cls, parts: Sequence[Said]) -> Said:
        """Join what was said of several frames; of none, nothing."""
        kinds = {"log_odds": float, "probability": float, "leaves": bool, "risk": object}
        nothing = {name: np.empty(0, dtype=kind) for name, kind in kinds.items()}
        return cls(
            **{
                n: np.concatenate([empty, *(getattr(one, n) for one in parts)])
                for n, empty in nothing.items()
            }
        )

    def take(self, order: np.ndarray) -> Said:
        """Give some rows, in an order."""
        return Said(**{name: values[order] for name, values in vars(self).items()})


@dataclass(frozen=True)
class Predictor:
    """A release that speaks: model, columns, bands, reasons.

    `explainer` is None for a model that this project did not build: it has probabilities and no reasons.
    """

    release: str
    model: Any = field(repr=False)
    schema: Schema = field(repr=False)
    explainer: Explainer | None = field(repr=False)
    bands: Bands | None = field(repr=False)

    @classmethod
    def of_release(cls, release: Release, model: Any, words: Words | None = None) -> Predictor:
        """Let a loaded release speak."""
        card = release.json("modelcard.json")
        schema = Schema.from_json(card["schema"])
        return cls(release.id, model, schema, make_explainer(model, card, words), intervals.read_card(card))

    @property
    def threshold(self) -> float:
        """From which probability on a client is called a leaver; a half where the model does not say."""
        return float(getattr(self.model, "threshold", HALF))

    def say(self, X: pd.DataFrame) -> Said:
        """Compute probability, class and risk of each row."""
        from scipy.special import expit, logit

        if self.explainer is not None:
            log_odds = self.explainer.anatomy.log_odds(X)
            probability = np.asarray(expit(log_odds))
        else:
            probability = self.model.predict_proba(X)[:, 1]
            log_odds = logit(probability)
        leaves = probability >= self.threshold
        near = CLOSE if self.explainer is not None else np.inf
        close = np.flatnonzero(np.abs(probability - self.threshold) < near)
        if len(close):
            leaves[close] = self.model.predict(X.iloc[close]) == 1
        return Said(log_odds, probability, leaves, intervals.say_risk(probability, leaves, self.threshold))

    def band(self, log_odds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Compute the band of each probability; NaN where the model has none."""
        if self.bands is None:
            return np.full(len(log_odds), np.nan), np.full(len(log_odds), np.nan)
        return self.bands.of(log_odds)

    def explain(self, X: pd.DataFrame) -> Effects | None:
        """Compute the effect of every column on each row."""
        return None if self.explainer is None else self.explainer.explain(X)

    def reasons(self, X: pd.DataFrame, leaves: np.ndarray, n: int) -> list[list[Reason]]:
        """Say up to `n` reasons for each row, the strongest first: what raises the risk of leavers."""
        if self.explainer is None:
            return [[] for _ in range(len(X))]
        return reasons_.say(self.explainer, X, self.explainer.explain(X), leaves, n)

    def reason_cells(self, X: pd.DataFrame, leaves: np.ndarray, n: int) -> np.ndarray:
        """Say the same as cells of a CSV, shape (n_rows, n); empty where there is no further reason."""
        if not n or self.explainer is None:
            return np.full((len(X), n), "", dtype=object)
        effects = self.explainer.explain(X)
        return reasons.choose_and_say(self.explainer, X, effects, leaves, n, write_cell).texts


def make_explainer(model: Any, card: Mapping[str, Any], words: Words | None = None) -> Explainer | None:
    """Make the explainer of a model, if its parts say what it says; None for one of another build."""
    from scipy.special import expit

    try:
        explainer = Explainer.of_card(decomposition.take_apart(model), card, words)
        probe = explainer.usual_clients()
        said = expit(explainer.anatomy.log_odds(probe))
    except _OTHER_BUILD:
        return None
    same = np.allclose(said, model.predict_proba(probe)[:, 1], rtol=0, atol=TOLERANCE)
    return explainer if same else None


def write_probability(probability: np.ndarray) -> np.ndarray:
    """Write probabilities with four decimals; NaN as nothing."""
    known = ~np.isnan(probability)
    texts = np.full(len(probability), "", dtype=object)
    texts[known] = _TEXTS[np.rint(probability[known] * 10**DIGITS).astype(int)]
    return texts


def write_header(ids: Sequence[str], n_reasons: int) -> str:
    """Write the header of a file of predictions."""
    names = [ROW, *ids, "probability", "class", "risk", *(f"reason_{k + 1}" for k in range(n_reasons))]
    return ",".join(map(write_cell, names)) + "\n"


def write_lines(
    predictor: Predictor, numbers: np.ndarray, X: pd.DataFrame, ids: Sequence[np.ndarray], n_reasons: int
) -> tuple[str, int]:
    """Write what the model says of some rows, a line each; say of how many it is that they leave.

    Parameters
    ----------
    numbers : ndarray of int
        Of the rows in their file, from 1.
    ids : sequence of ndarray
        Cells of the id columns as texts, None where missing.
    """
    said = predictor.say(X)
    columns = [list(map(str, numbers.tolist())), *map(write_cells, ids)]
    about = write_probability(said.probability), _CLASSES[said.leaves.astype(int)], said.risk
    columns += [column.tolist() for column in (*about, *predictor.reason_cells(X, said.leaves, n_reasons).T)]
    lines = "\n".join(map(",".join, zip(*columns, strict=True)))
    return lines + "\n", int(said.leaves.sum())


def write_cells(cells: np.ndarray) -> list[str]:
    """Write cells for CSV, safe for a spreadsheet; None is empty."""
    texts = ["" if cell is None else cell for cell in cells.tolist()]
    joined = "\0".join(texts)  # one search instead of one a cell: mostly nothing is found
    if any(sign in joined for sign in _SIGNS) and _FORMULA.search(joined):
        texts = list(map(escape_for_spreadsheet, texts))
    if any(sign in joined for sign in ',"\n\r'):
        texts = list(map(_quote, texts))
    return texts


def write_cell(text: str) -> str:
    """Write one cell for CSV, safe for a spreadsheet."""
    return _quote(escape_for_spreadsheet(text))


def _quote(text: str) -> str:
    if "," in text or '"' in text or "\n" in text or "\r" in text:
        return '"' + text.replace('"', '""') + '"'
    return text
