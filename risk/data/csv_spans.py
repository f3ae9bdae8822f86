"""Cells that span lines which look like rows: a stray quote must not swallow rows.

A quote before one cell and another behind a later one make everything between them one cell, which every
reader of CSV takes without a word. Standard library only.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from typing import Any

SWALLOWED = "holds lines that look like rows of the table"
LONGEST = 16 * 1024 * 1024  # of a record over several lines; the exact reader refuses a longer one
MANY_QUOTES = 64  # bytes a quote: where there are more of them, other ways to look for some are faster
_QUOTE = b'"'
_OTHERS = bytes(sign for sign in range(256) if sign not in b'"\n')


def open_reader(text: Iterable[str], separator: str) -> Any:
    """Read CSV strictly; blanks before a quote are none of the cell, as those round any cell."""
    return csv.reader(text, delimiter=separator, strict=True, skipinitialspace=True)


def explain_swallowed(
    lines: Sequence[str], first_line: int, separator: str, n_columns: int, *, is_broken: bool = False
) -> str | None:
    """Say why a record over several lines is no row, or None.

    A cell of several lines is accepted unless one of the lines inside looks like a row: read by itself it
    has as many cells as the header. Where no line is inside, or none looks so, the first and the last are
    looked at without the quote: only where both have as many separators as a row, and no blanks behind
    them as prose has, they are two rows.

    Parameters
    ----------
    lines : sequence of str
        Of the record; the first is line `first_line` of the file.
    is_broken : bool
        Whether the record ends in a quote out of place: its last line may be a row, too.
    """
    if n_columns < 2:
        return None
    inside = lines[1:] if is_broken else lines[1:-1]
    ends = (lines[0], lines[-1])
    if any(_is_row(line, separator, n_columns) for line in inside) or (
        not is_broken and all(_is_like_a_row(line, separator, n_columns) for line in ends)
    ):
        last_line = first_line + len(lines) - 1
        return (
            f"a quote opened at line {first_line:,} closes at line {last_line:,}, and the cell between them "
            f"{SWALLOWED}; correct the quotes"
        )
    return None


def _is_row(line: str, separator: str, n_columns: int) -> bool:
    if line.count(separator) < n_columns - 1:
        return False
    try:
        return len(next(open_reader([line], separator), ())) == n_columns
    except csv.Error:
        return False


def _is_like_a_row(line: str, separator: str, n_columns: int) -> bool:
    return line.count(separator) == n_columns - 1 and f"{separator} " not in line


class SpanCheck:
    """The cells of a file that span lines, found while it goes by in blocks.

    Attributes
    ----------
    refusal : str or None
        Why the file is no table.
    is_unsure : bool
        True for a file with quotes that are not those of a plain table: the exact reader must look.
    """

    def __init__(self, separator: str, n_columns: int, header_line: int) -> None:
        self._separator, self._n_columns, self._header_line = separator, n_columns, header_line
        self.refusal: str | None = None
        self.is_unsure = False
        self._carry = b""
        self._record: list[bytes] = []  # of an open cell, all lines so far
        self._first_line = self._taken = 0

    def update(self, data: bytes, n_lines: int) -> None:
        """Take in the next bytes of the file, behind `n_lines` that had an end."""
        if self.refusal or self.is_unsure:
            return
        cut = data.rfind(b"\n") + 1
        if cut:
            if self._record or _QUOTE in data or _QUOTE in self._carry:
                self._take(self._carry + data[:cut], n_lines)
            self._carry = data[cut:]
        else:
            self._carry += data
            self.is_unsure = len(self._carry) > LONGEST

    def finish(self, n_lines: int) -> None:
        """Take in the last line, which has no end."""
        if self._carry and not self.refusal and not self.is_unsure:
            self._take(self._carry, n_lines)
        self.is_unsure |= bool(self._record)

    def _take(self, data: bytes, n_lines: int) -> None:
        """Take in whole lines: the record of each with an odd number of quotes is looked at."""
        if not self._record and not _may_have_odd_line(data):
            return
        end = counted = 0
        while not self.refusal and not self.is_unsure and end < len(data):
            start, quote = end, data.find(_QUOTE, end)
            begin = start if quote < 0 else data.rfind(b"\n", start, quote) + 1 or start
            end = len(data) if quote < 0 else data.find(b"\n", quote) + 1 or len(data)
            is_odd = quote >= 0 and data.count(_QUOTE, begin, end) % 2 == 1
            if self._record:
                self._add(data[start:end])
                if is_odd:
                    self._look()
            elif is_odd and self._opens(data[begin:end].decode("utf-8", "replace")):
                n_lines += data.count(b"\n", counted, begin)
                counted, self._first_line = begin, n_lines + 1
                self._add(data[begin:end])

    def _add(self, lines: bytes) -> None:
        self._record.append(lines)
        self._taken += len(lines)
        self.is_unsure |= self._taken > LONGEST

    def _opens(self, line: str) -> bool:
        """Say whether a line ends inside a quoted cell; a quote within a word opens none, as in 5" pipe."""
        before, _, behind = line.partition('"')
        if '"' not in behind and (not before or before.endswith(self._separator)):
            return True
        try:
            next(open_reader([line], self._separator))
        except csv.Error as error:
            self.is_unsure = "unexpected end" not in str(error)
            return not self.is_unsure
        self.is_unsure = f'"{self._separator}' in line or line.rstrip("\r\n").endswith('"')
        return False

    def _is_harmless(self, record: bytes) -> bool:
        """Say whether a record is a row with one quoted cell, and has too few separators for two rows."""
        before, _, behind = record.rpartition(_QUOTE)
        return (
            before.count(_QUOTE) == 1
            and behind[:1] in (self._separator.encode(), b"\n", b"\r")
            and record.count(self._separator.encode()) < 2 * (self._n_columns - 1)
            and self._first_line > self._header_line
        )

    def _look(self) -> None:
        """Look at a record whose quotes are even again."""
        record = b"".join(self._record)
        self._record, self._taken = [], 0
        if self._is_harmless(record):
            return
        lines = [line.decode("utf-8", "replace") for line in record.splitlines(keepends=True)]
        reader = open_reader(iter(lines), self._separator)
        try:
            next(reader)
        except csv.Error:
            self.is_unsure = True
            return
        self.is_unsure = reader.line_num != len(lines)
        if not self.is_unsure:
            is_header = self._first_line <= self._header_line
            n_columns = lines[0].count(self._separator) + 1 if is_header else self._n_columns
            self.refusal = explain_swallowed(lines, self._first_line, self._separator, n_columns)


def _may_have_odd_line(data: bytes) -> bool:
    """Say whether a line may have an odd number of quotes.

    Few quotes are gone through one by one. Of many only they and the line ends are left, then pairs go,
    until one quote is left of each such line.
    """
    if data.count(_QUOTE) * MANY_QUOTES < len(data):
        return True
    return _QUOTE in data.translate(None, _OTHERS).replace(b'""', b"")
