"""Validation of the rows of CSV files by a schema, one by one, with physical line numbers.

For test data, for requests, and for the files of an ingestion in which something is odd. Standard library
only.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from risk.data import csv_check, csv_rows
from risk.data.csv_check import Checked
from risk.data.inputs import list_inputs
from risk.data.schema import (
    Problem,
    Schema,
    explain_cell,
    explain_other_words,
    find_problem,
    is_refused_for_words,
)
from risk.limits import Limits

CHUNK_ROWS = 10_000
_NO_LETTER = re.compile(r"[\W_]+")
LONGEST_SHOWN = 1_000  # characters of a bad value that are kept: what is set aside is held in memory


@dataclass(frozen=True)
class Rejection:
    """A row set aside; `line` is the physical line at which it begins."""

    line: int
    column: str
    value: str
    reason: str


@dataclass
class Sorted:
    """Good rows by column name, empty where missing, in order; and the rejected ones.

    `places` are those of the good rows among the rows given, from 0.
    """

    good: list[dict[str, str]] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)
    places: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class FileFacts:
    """What one file of a folder gave."""

    name: str
    n_good: int = 0
    n_rejected: int = 0
    refused: str | None = None


def reject(line: int, problem: Problem) -> Rejection:
    """Set aside the row that begins at a line; a very long value is cut."""
    value = problem.value
    shown = value if len(value) <= LONGEST_SHOWN else value[:LONGEST_SHOWN] + "…"
    return Rejection(line, problem.column, shown, problem.reason)


def sort_rows(
    rows: Iterable[csv_rows.Row], header: Sequence[str], columns: Sequence[str], schema: Schema | None
) -> Sorted:
    """Sort rows into good and rejected; without a schema only their shape is checked."""
    position = {name: index for index, name in enumerate(header) if name}
    result = Sorted()
    for place, row in enumerate(rows):
        if row.problem:
            result.rejected.append(Rejection(row.line, "", "", row.problem))
            continue
        cells = {name: row.cells[position[name]] if name in position else "" for name in columns}
        problem = find_problem(cells, schema) if schema else None
        if problem:
            result.rejected.append(reject(row.line, problem))
        else:
            result.good.append(cells)
            result.places.append(place)
    return result


def sort_file(
    checked: Checked, columns: Sequence[str], schema: Schema | None, *, chunk_rows: int = CHUNK_ROWS
) -> Iterator[Sorted]:
    """Sort the rows of a checked file, a chunk at a time; row by row from the first one with a bad row on."""
    n_read = 0
    if not checked.odd:
        plain = csv_check.reopen(checked), checked.header, checked.separator, chunk_rows
        for cells in csv_rows.read_plain(*plain):
            taken = _take_plain(cells, checked.header, columns, schema) if cells else None
            if taken is None:
                break
            n_read += len(taken.good)
            yield taken
        else:
            return
    rows = islice(csv_rows.read_rows(checked), n_read, None)
    while chunk := list(islice(rows, chunk_rows)):
        yield sort_rows(chunk, checked.header, columns, schema)


def _take_plain(
    plain: Sequence[Sequence[str]], header: Sequence[str], columns: Sequence[str], schema: Schema | None
) -> Sorted | None:
    """Take rows of the right shape, given as columns; None when a cell rejects one."""
    nothing = [""] * len(plain[0])
    known = {name: cells for name, cells in zip(header, plain, strict=True) if name}
    chosen = [known.get(name, nothing) for name in columns]
    if schema is not None:
        for name, cells in zip(columns, chosen, strict=True):
            if any(explain_cell(name, text, schema) for text in {*cells}):
                return None
    good = [dict(zip(columns, cells, strict=True)) for cells in zip(*chosen, strict=True)]
    return Sorted(good, places=list(range(len(good))))


def count_other_words(rejected: Iterable[Rejection], target: str) -> Counter[str]:
    """Count the labels, in lower case, that reject rows: other words than those that count."""
    return Counter(one.value.lower() for one in rejected if one.column == target)


def has_good_row(checked: Checked) -> bool:
    """Say whether a file holds a row of the right shape; reads no further than the first."""
    return any(not row.problem for row in csv_rows.read_rows(checked))


def refuse_header(header: Sequence[str], needed: Sequence[str]) -> str | None:
    """Say why a readable file is no part of a table, or None."""
    missing = [name for name in needed if name not in header]
    if not missing:
        return None
    if len(missing) == len(needed) and csv_check.looks_like_data(header):
        return csv_check.explain_headerless(header)
    shown = ", ".join(map(repr, missing[:5])) + (", …" if len(missing) > 5 else "")
    near = find_near_name(missing[0], [name for name in header if name not in needed])
    return (
        f"lacks the column{'s' if len(missing) > 1 else ''} {shown}{f' (but has {near!r})' if near else ''}"
    )


def find_near_name(wanted: str, names: Iterable[str]) -> str | None:
    """Find the name that is most like another one, whatever its case, blanks and marks."""
    plain = {_NO_LETTER.sub("", name.lower()): name for name in names if name}
    near = difflib.get_close_matches(_NO_LETTER.sub("", wanted.lower()), plain, n=1, cutoff=0.6)
    return plain[near[0]] if near else None


def read_folder(
    folder: Path,
    schema: Schema,
    separator: str | None,
    *,
    needed: Sequence[str],
    limits: Limits = csv_check.DEFAULT,
) -> tuple[list[dict[str, str]], list[FileFacts]]:
    """Read the good rows of every CSV file of a folder that has the columns `needed`.

    Raises
    ------
    MissingArtifactError
        When there is no such folder.
    """
    good: list[dict[str, str]] = []
    files = []
    for name in list_inputs(folder):
        checked = csv_check.check(folder / name, schema.columns, separator, limits)
        reason = checked.refusal or refuse_header(checked.header, needed)
        if reason:
            files.append(FileFacts(name, refused=reason))
            continue
        n_good, rejected = len(good), list[Rejection]()
        for part in sort_file(checked, schema.columns, schema):
            good += part.good
            rejected += part.rejected
        words = count_other_words(rejected, schema.target)
        n_labelled = sum(bool(row[schema.target]) for row in good[n_good:])
        if is_refused_for_words(words, n_labelled):
            del good[n_good:]
            files.append(FileFacts(name, refused=explain_other_words(words, n_labelled, schema)))
        else:
            files.append(FileFacts(name, len(good) - n_good, len(rejected)))
    return good, files
