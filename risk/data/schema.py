"""The schema of a table: roles, kinds, labels, and the checks of every cell.

The rules stand here once; engines have them as SQL for tables of any size, and property tests hold the two
together. No library is needed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from risk.errors import DatasetError

if TYPE_CHECKING:
    pass

ROW = "row"  # the column that names a client of a table without id columns
NUMBER_SHARE = 0.98
LARGEST = 1e100  # beyond it the squares of a scaler leave the doubles
NUMBER_PATTERN = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"
MISSING_WORDS = ("na", "n/a", "null", "nan")
BOOLEAN_WORDS = {"true": 1.0, "false": 0.0}
POSITIVE_WORDS = ("1", "1.0", "yes", "true")
NEGATIVE_WORDS = ("0", "0.0", "no", "false")
_NUMBER = re.compile(NUMBER_PATTERN)


@dataclass(frozen=True)
class Schema:
    """The columns of a table, what each is for, and how its cells are read.

    `kinds` holds "number" or "text" for each feature; ids, ignored columns and the label have none.
    """

    columns: tuple[str, ...]
    kinds: Mapping[str, str]
    target: str
    positive: tuple[str, ...]
    negative: tuple[str, ...]
    ids: tuple[str, ...]
    ignored: tuple[str, ...]

    @property
    def features(self) -> list[str]:
        return list(self.kinds)

    @property
    def numbers(self) -> list[str]:
        return [name for name, kind in self.kinds.items() if kind == "number"]

    @property
    def texts(self) -> list[str]:
        return [name for name, kind in self.kinds.items() if kind == "text"]

    @property
    def needed(self) -> list[str]:
        """Columns that a file must have; the label may be missing (its rows are unlabelled)."""
        return [name for name in self.columns if name != self.target and name not in self.ignored]

    def to_json(self) -> dict[str, Any]:
        return {
            "columns": list(self.columns),
            "kinds": dict(self.kinds),
            "target": self.target,
            "positive": list(self.positive),
            "negative": list(self.negative),
            "ids": list(self.ids),
            "ignored": list(self.ignored),
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Schema:
        lists = ("columns", "positive", "negative", "ids", "ignored")
        return cls(kinds=raw["kinds"], target=raw["target"], **{name: tuple(raw[name]) for name in lists})


def parse_number(text: str) -> float | None:
    """Read the cell of a number column: NaN when missing, None when it is none of up to 1e100."""
    if _NUMBER.fullmatch(text):
        value = float(text)
        return value if abs(value) <= LARGEST else None
    word = text.lower()
    return math.nan if not word or word in MISSING_WORDS else BOOLEAN_WORDS.get(word)


def parse_label(text: str, schema: Schema) -> int | None:
    """Read a label: 1 leaves, 0 stays, None when it is neither."""
    word = text.lower()
    if word in schema.positive:
        return 1
    return 0 if word in schema.negative else None


@dataclass(frozen=True)
class Problem:
    """Why a row is rejected."""

    column: str
    value: str
    reason: str


def find_problem(row: Mapping[str, str], schema: Schema) -> Problem | None:
    """Check one row; the first bad cell in column order is the one named."""
    for column in schema.columns:
        text = row.get(column, "")
        if reason := explain_cell(column, text, schema):
            return Problem(column, text, reason)
    return None


def explain_cell(column: str, text: str, schema: Schema) -> str | None:
    """Say why a cell rejects its row, or None."""
    if schema.kinds.get(column) == "number":
        if parse_number(text) is None:
            too_large = _NUMBER.fullmatch(text) is not None and math.isfinite(float(text))
            return "is too large" if too_large else "is not a number"
    elif column == schema.target and text and parse_label(text, schema) is None:
        return f"is neither {schema.positive[0]!r} nor {schema.negative[0]!r}"
    return None


def learn_kind(n_filled: int, n_missing_words: int, n_numbers: int) -> str:
    """Decide a column's kind: number when at least 98 % of its filled cells are."""
    filled = n_filled - n_missing_words
    return "number" if filled > 0 and n_numbers >= NUMBER_SHARE * filled else "text"


def explain_mismatch(model: Schema, table: Schema, *, labelled: bool = False) -> str | None:
    """Explain why a model fitted under one schema cannot read the rows of another, or None.

    With `labelled` the labels must mean the same, too.
    """
    if labelled and model.target != table.target:
        return "the label column of the table is not that of the deployed model"
    if labelled and model.positive != table.positive:
        return "the label words of the table are not those of the deployed model"
    for column, kind in model.kinds.items():
        if table.kinds.get(column) != kind:
            return f"the deployed model needs the {kind} column {column!r}, which the table does not have"
    return None


def learn_labels(counts: Mapping[str, int], target: str, positive: str | None) -> tuple[tuple[str, ...], ...]:
    """Find the words for leaving and staying.

    Parameters
    ----------
    counts : mapping of str to int
        How often each filled label occurs in the first table.
    positive : str or None
        The configured `positive_label`; None infers 0/1, yes/no and true/false in any case.

    Raises
    ------
    DatasetError
        When the labels are other words and none was named.
    """
    total: dict[str, int] = {}
    for word, count in counts.items():
        total[word.lower()] = total.get(word.lower(), 0) + count
    wanted = positive.lower() if positive is not None else None
    if wanted is None or wanted in POSITIVE_WORDS:
        known = sum(count for word, count in total.items() if word in POSITIVE_WORDS + NEGATIVE_WORDS)
        if total and known < 0.5 * sum(total.values()):
            shown = ", ".join(repr(word) for word in sorted(total, key=lambda w: -total[w])[:5])
            raise DatasetError(
                f"the label column {target!r} holds {shown}; name the word for leaving: "
                f'"positive_label" in config.json'
            )
        return POSITIVE_WORDS, NEGATIVE_WORDS
    if wanted in NEGATIVE_WORDS:
        return NEGATIVE_WORDS, POSITIVE_WORDS
    others = sorted((word for word in total if word != wanted), key=lambda word: (-total[word], word))
    if wanted not in total or not others:
        shown = ", ".join(repr(word) for word in list(total)[:5]) or "nothing"
        raise DatasetError(
            f"the label column {target!r} must hold {positive!r} and one other word, it holds {shown}; "
            f'correct "positive_label" in config.json'
        )
    return (wanted,), (others[0],)
