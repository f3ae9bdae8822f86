"""Inference of a table's columns, kinds and label words from its first files.

Pure: what the cells hold was counted by an engine (`risk.engines`); the decisions are made here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from risk.data import csv_check
from risk.data.label_words import Label
from risk.data.schema import Schema, learn_kind, learn_labels
from risk.data.validation import find_near_name
from risk.errors import DatasetError


class Roles(NamedTuple):
    """What config.json says the columns are for.

    `missing_ids_allowed` is true where `ids` is the default, which the data may lack.
    """

    target: str
    ids: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    positive_label: Label = None
    missing_ids_allowed: bool = False
    negative_label: Label = None

    @property
    def optional(self) -> set[str]:
        """The columns that a file may lack once the table has them."""
        return {self.target, *self.ignored}


class ColumnCounts(NamedTuple):
    """How many cells of a column are filled, are words for missing, and are numbers."""

    filled: int = 0
    missing_words: int = 0
    numbers: int = 0

    @property
    def has_bad_number(self) -> bool:
        """True where a cell of a number column rejects its row."""
        return self.numbers < self.filled - self.missing_words


CellCounts = Mapping[int, Mapping[str, ColumnCounts]]  # by file number and column
WordCounts = Mapping[int, Mapping[str, int]]  # by file number and label in lower case


def choose_columns(headers: Sequence[tuple[str, ...]], target: str) -> tuple[str, ...]:
    """Choose the columns of a first table: the header shared by most files that has the label.

    Raises
    ------
    DatasetError
        When no header has the label.
    """
    votes: dict[frozenset[str], list[tuple[str, ...]]] = {}
    for header in headers:
        named = tuple(name for name in header if name)
        if target in named:
            votes.setdefault(frozenset(named), []).append(named)
    if not votes:
        raise DatasetError(f"no file has the label column {target!r}{_explain_no_label(headers, target)}")
    return max(votes.values(), key=len)[0]


def _explain_no_label(headers: Sequence[tuple[str, ...]], target: str) -> str:
    """Say why no header may have the label column: the likeliest cause first, and all columns there are."""
    names = list(dict.fromkeys(name for header in headers for name in header if name))
    remedy = 'correct "target_column" in config.json'
    if near := find_near_name(target, names):
        return f"; did you mean {near!r}? The columns are {csv_check.show_names(names)}; {remedy}"
    if all(map(csv_check.looks_like_data, headers)):
        return f": the first file {csv_check.explain_headerless(headers[0])}"
    if len(names) == 1 and any(separator in names[0] for separator in csv_check.SEPARATORS):
        remedy = 'correct "separator" in config.json'
    return f"; the columns are {csv_check.show_names(names)}; {remedy}"


def find_ids(roles: Roles, columns: Sequence[str]) -> tuple[str, ...]:
    """Find the id columns that the data have.

    Raises
    ------
    DatasetError
        When the data lack a column that config.json names.
    """
    named = [*(() if roles.missing_ids_allowed else roles.ids), *roles.ignored]
    lacking = [name for name in named if name not in columns]
    if lacking:
        near = find_near_name(lacking[0], columns)
        raise DatasetError(
            f"config.json names {', '.join(map(repr, lacking))}, which the data do not have"
            f"{f'; did you mean {near!r}? ' if near else ' '}"
            f"(columns: {csv_check.show_names(columns)}); correct id_columns or "
            "ignore_columns"
        )
    return tuple(name for name in roles.ids if name in columns)


def find_features(roles: Roles, columns: Sequence[str]) -> list[str]:
    """Find the columns that are neither label nor id nor ignored.

    Raises
    ------
    DatasetError
        When none is left.
    """
    others = {roles.target, *find_ids(roles, columns), *roles.ignored}
    features = [name for name in columns if name not in others]
    if not features:
        raise DatasetError("no feature is left besides label, id and ignored columns; correct config.json")
    return features


def infer_schema(
    roles: Roles,
    columns: Sequence[str],
    cells: Iterable[Mapping[str, ColumnCounts]],
    words: Iterable[Mapping[str, int]],
) -> Schema:
    """Infer the kinds of the features and the label words.

    Parameters
    ----------
    cells : iterable of mapping of str to ColumnCounts
        For each file to learn from, the counts of every feature.
    words : iterable of mapping of str to int
        For each file to learn from, how often each label occurs, in lower case.
    """
    files = list(cells)
    kinds = {}
    for name in find_features(roles, columns):
        counts = [of_file[name] for of_file in files]
        kinds[name] = learn_kind(
            sum(count.filled for count in counts),
            sum(count.missing_words for count in counts),
            sum(count.numbers for count in counts),
        )
    labels: Counter[str] = Counter()
    for of_file in words:
        labels.update(of_file)
    positive, negative = learn_labels(labels, roles.target, roles.positive_label, roles.negative_label)
    ids = find_ids(roles, columns)
    return Schema(tuple(columns), kinds, roles.target, positive, negative, ids, tuple(roles.ignored))


def find_files_with_bad_cells(schema: Schema, cells: CellCounts, words: WordCounts) -> set[int]:
    """Find the files that hold a cell which rejects its row."""
    numbers = {
        number
        for number, columns in cells.items()
        if any(columns[name].has_bad_number for name in schema.numbers)
    }
    return numbers | {number for number, counts in words.items() if not schema.knows(counts)}
