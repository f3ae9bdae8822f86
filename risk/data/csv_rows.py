"""The rows of a checked CSV file, read the exact way, with their physical line numbers.

Standard library only.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from itertools import islice
from typing import IO, NamedTuple

from risk.data import csv_check, csv_spans, inputs
from risk.limits import Limits

ROW_LIMIT = csv_spans.LONGEST  # characters of one row, over however many lines: it is held in memory


NEVER_CLOSED = "is never closed"
ENDLESS = "without an end"
ENDS_A_FILE = (NEVER_CLOSED, ENDLESS, csv_spans.SWALLOWED)  # of what follows nothing can be known


class Row(NamedTuple):
    """One row as it stands in a file; `problem` is set when it is none."""

    line: int
    cells: tuple[str, ...]
    problem: str | None = None


def read_rows(checked: csv_check.Checked) -> Iterator[Row]:
    """Read the rows of a checked file with their physical line numbers, outer blanks trimmed."""
    with csv_check.reopen(checked) as binary:
        read = inputs.find_reader(checked.path)
        yield from read(binary, checked.header, checked.separator, checked.limits)


def read_open_rows(
    binary: IO[bytes], header: tuple[str, ...], separator: str, limits: Limits = csv_check.DEFAULT
) -> Iterator[Row]:
    """Read the rows of an open file from where it stands; closes it."""
    csv.field_size_limit(limits.cell_length)
    with io.TextIOWrapper(binary, encoding="utf-8-sig", newline="") as text:
        yield from parse_rows(text, header, separator)


def read_plain(
    binary: IO[bytes], header: tuple[str, ...], separator: str, n_rows: int
) -> Iterator[list[list[str]] | None]:
    """Read the columns of blocks of rows, trimmed, as long as nothing is odd; closes the file.

    Many times faster than row by row. Each line below the first is then a row as wide as the header, with
    a filled cell, and not the header again. A block of which that is not true is None, and the last.
    """
    with io.TextIOWrapper(binary, encoding="utf-8-sig", newline="") as text:
        next(text, None)
        while lines := list(islice(text, n_rows)):
            columns = _read_block(lines, header, separator)
            yield columns
            if columns is None:
                return


def _read_block(lines: list[str], header: tuple[str, ...], separator: str) -> list[list[str]] | None:
    try:
        rows = list(csv_spans.open_reader(lines, separator))
        columns = [[cell.strip(csv_check.BLANKS) for cell in cells] for cells in zip(*rows, strict=True)]
    except (csv.Error, ValueError):
        return None
    if len(rows) != len(lines) or len(columns) != len(header) or header[0] in columns[0]:
        return None
    return columns if all(map(any, zip(*columns, strict=True))) else None


class _EndlessError(Exception):
    """A row holds more than a row may."""


class _Bounded:
    """The lines of a text, and those of them that the present row has taken."""

    def __init__(self, text: IO[str]) -> None:
        self._text = text
        self._taken = 0
        self.record: list[str] = []

    def __iter__(self) -> _Bounded:
        return self

    def __next__(self) -> str:
        line = self._text.readline(ROW_LIMIT + 1)
        if not line:
            raise StopIteration
        self._taken += len(line)
        if self._taken > ROW_LIMIT:
            raise _EndlessError
        self.record.append(line)
        return line

    def begin_row(self) -> None:
        """Forget the lines of the last row."""
        self._taken = 0
        self.record.clear()


def parse_rows(text: IO[str], header: tuple[str, ...], separator: str) -> Iterator[Row]:
    """Read rows from a text; the first record that is not blank is the header."""
    lines = _Bounded(text)
    reader = csv_spans.open_reader(lines, separator)
    seen_header = False
    while True:
        line = reader.line_num + 1
        lines.begin_row()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except _EndlessError:
            yield Row(line, (), f"a row begun at line {line} is {ENDLESS} for {ROW_LIMIT:,} characters")
            return
        except csv.Error as error:
            reason = _explain(str(error), line)
            if not ends_a_file(reason):
                reason = _explain_swallowed(lines, line, header, separator, broken=True) or reason
            yield Row(line, (), reason)
            if ends_a_file(reason):
                return
            continue
        trimmed = tuple(cell.strip(csv_check.BLANKS) for cell in cells)
        if csv_check.is_blank(trimmed) or not seen_header:
            seen_header |= not csv_check.is_blank(trimmed)
            continue
        if len(lines.record) > 1 and (swallowed := _explain_swallowed(lines, line, header, separator)):
            yield Row(line, (), swallowed)
            return
        if not any(trimmed[len(header) :]):
            trimmed = trimmed[: len(header)]
        if not any(trimmed):
            yield Row(line, trimmed, "has no filled cell")
        elif len(trimmed) != len(header):
            yield Row(line, trimmed, f"has {len(trimmed)} cells where the header has {len(header)}")
        elif trimmed == header:
            yield Row(line, trimmed, "repeats the header")
        else:
            yield Row(line, trimmed)


def _explain_swallowed(
    lines: _Bounded, line: int, header: tuple[str, ...], separator: str, *, broken: bool = False
) -> str | None:
    return csv_spans.explain_swallowed(lines.record, line, separator, len(header), is_broken=broken)


def ends_a_file(reason: str) -> bool:
    """Say whether the reason of a bad row means that nothing can be known of what follows."""
    return any(words in reason for words in ENDS_A_FILE)


def _explain(message: str, line: int) -> str:
    if "unexpected end" in message:
        return f"a quote opened near line {line} {NEVER_CLOSED}"
    if "expected after" in message:
        return "has a quote inside an unquoted or after a quoted cell"
    if "field limit" in message:
        return f"has a cell of over {csv.field_size_limit()} characters"
    return message
