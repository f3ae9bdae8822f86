"""The schema of a table: roles, kinds, labels, and the checks of every cell.

The rules stand here once; engines have them as SQL for tables of any size, and property tests hold the two
together. No library is needed.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from risk.data.label_words import REST, Label, name_words
from risk.errors import DatasetError

ROW = "row"  # the column that names a client of a table without id columns
NUMBER_SHARE = 0.98
OTHER_WORDS_SHARE = 0.01  # of the labelled rows of a file, up to which rows with other labels are rejected
LONGEST_WORD = 40  # signs of a label that are shown
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

    `kinds` holds "number" or "text" for each feature; ids, ignored columns and the label have none. Without
    a `negative` word every label that is not positive is negative.
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

    def knows(self, words: Iterable[str]) -> bool:
        """Say whether all of some labels, in lower case, mean leaving or staying."""
        return not self.negative or {*self.positive, *self.negative}.issuperset(words)

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
    return 0 if not schema.negative or word in schema.negative else None


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


def learn_labels(
    counts: Mapping[str, int], target: str, positive: Label = None, negative: Label = None
) -> tuple[tuple[str, ...], ...]:
    """Find the words for leaving and staying.

    A named word counts whatever it looks like; the most frequent other one is that of a side without a name.

    Parameters
    ----------
    counts : mapping of str to int
        How often each filled label occurs in the first table.
    positive, negative : str or sequence of str, optional
        The configured `positive_label` and `negative_label`. Without them 0/1, yes/no, true/false and t/f
        are recognised in any case. A negative label `REST` is any word that is not positive.

    Returns
    -------
    positive, negative : tuple of str
        In lower case; no negative word means any that is not positive.

    Raises
    ------
    DatasetError
        When the labels are other words, and while they are of one class and the other has no word.
    """
    total = _lower(counts)
    named = name_words(positive)
    if negative == REST:
        return named, ()
    stays = name_words(negative)
    if named and stays:
        _check_named(total, target, {"positive_label": named, "negative_label": stays})
        return named, stays
    if not named and not stays:
        return _infer_labels(total, target)
    if usual := _find_usual(total, named, stays):
        return usual
    if named:
        return named, _find_other(total, target, named, "positive_label")
    return _find_other(total, target, stays, "negative_label"), stays


def _lower(counts: Mapping[str, int]) -> Counter[str]:
    total = Counter[str]()
    for word, count in counts.items():
        total[word.lower()] += count
    return total


def show_counts(counts: Mapping[str, int], most: int = 8) -> str:
    """Show words with how often each occurs, the most frequent first."""
    ordered = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    shown = ", ".join(f"{word[:LONGEST_WORD]!r} {count:,}" for word, count in ordered[:most])
    return f"{shown}, and {len(ordered) - most:,} more words" if len(ordered) > most else shown or "nothing"


def _find_usual(
    total: Mapping[str, int], named: tuple[str, ...], stays: tuple[str, ...]
) -> tuple[tuple[str, ...], ...] | None:
    """Find which usual words are on which side, where a column holds no others, and not one side alone."""
    is_usual = {*total} <= {*POSITIVE_WORDS, *NEGATIVE_WORDS}
    if is_usual and not (total and {*total} <= {*named, *stays}):
        for usual in ((POSITIVE_WORDS, NEGATIVE_WORDS), (NEGATIVE_WORDS, POSITIVE_WORDS)):
            if {*named} <= {*usual[0]} and {*stays} <= {*usual[1]}:
                return usual
    return None


def _infer_labels(total: Mapping[str, int], target: str) -> tuple[tuple[str, ...], ...]:
    if total and {*total} <= {"t", "f"}:
        return ("t",), ("f",)
    known = sum(count for word, count in total.items() if word in POSITIVE_WORDS + NEGATIVE_WORDS)
    if total and known < 0.5 * sum(total.values()):
        raise DatasetError(
            f"the label column {target!r} holds {show_counts(total)}; name the word for leaving: "
            f'"positive_label" in config.json'
        )
    return POSITIVE_WORDS, NEGATIVE_WORDS


def _find_other(total: Mapping[str, int], target: str, named: tuple[str, ...], key: str) -> tuple[str, ...]:
    """Find the word of the class that is not named: the most frequent other one."""
    others = {word: count for word, count in total.items() if word not in named}
    n_named = sum(total.values()) - sum(others.values())
    if not others:
        done, awaited = ("leave", "stay") if key == "positive_label" else ("stay", "leave")
        rows = f"all {n_named:,} rows {done}" if n_named else "no row has a label yet"
        raise DatasetError(
            f"{rows}; waiting for rows that {awaited} ({target!r} holds {show_counts(total)}; every file is "
            "read again when a new one comes)"
        )
    first = min(others, key=lambda word: (-others[word], word))
    if not n_named and not {*others} <= {*name_words(first)}:
        _check_named(total, target, {key: named})
    return name_words(first)


def _check_named(total: Mapping[str, int], target: str, named: Mapping[str, tuple[str, ...]]) -> None:
    """Make sure that a label column holds a word that config.json names."""
    words = [word for of_key in named.values() for word in of_key]
    if total and not {*total} & {*words}:
        near = difflib.get_close_matches(words[0], total, n=1)
        other = "" if len(named) > 1 else " and one other word"
        raise DatasetError(
            f"the label column {target!r} must hold {' or '.join(map(repr, words))}{other}, it holds "
            f"{show_counts(total)}{f'; did you mean {near[0]!r}?' if near else ''}; correct "
            f"{' or '.join(f'{chr(34)}{key}{chr(34)}' for key in named)} in config.json"
        )


def is_refused_for_words(counts: Mapping[str, int], n_known: int) -> bool:
    """Say whether so many labels of a file are other words that config.json must say what they mean.

    Parameters
    ----------
    counts : mapping of str to int
        How often each other word occurs.
    n_known : int
        Rows whose label is known.
    """
    n_rows = sum(counts.values())
    return n_rows > OTHER_WORDS_SHARE * (n_rows + n_known)


def explain_other_words(counts: Mapping[str, int], n_known: int, schema: Schema) -> str:
    """Say how many labels of a file are other words than the two that count, and which."""
    n_rows = sum(counts.values())
    return (
        f"{n_rows:,} of {n_rows + n_known:,} labelled rows are neither {schema.positive[0]!r} nor "
        f"{schema.negative[0]!r} in {schema.target!r}: {show_counts(counts)}"
    )


def advise_on_words(counts: Mapping[str, int], schema: Schema) -> str:
    """Give the lines of config.json that say what other words mean."""
    words = [word[:LONGEST_WORD] for word in sorted(counts, key=lambda word: (-counts[word], word))[:5]]
    leaves, stays = (
        json.dumps([own[0], *words], ensure_ascii=False) for own in (schema.positive, schema.negative)
    )
    return (
        f'say in config.json what they mean: "positive_label": {leaves} if they leave; "negative_label": '
        f'{stays}, or with a positive_label "rest", if they stay; an empty cell is no label'
    )
