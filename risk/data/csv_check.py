"""The check of a whole input file, and of a CSV as bytes: is it a table, and is it still the same file.

The check runs before any engine sees the file: engines accept NUL bytes, UTF-16, merge conflicts and web
pages without a word. Engines read files in which nothing is odd, the exact reader (`csv_rows`) the others.
A file is opened as itself, never by what a name may point to meanwhile: who reads it after the check makes
sure that it is the same. Standard library only.
"""

from __future__ import annotations

import codecs
import csv
import errno
import hashlib
import io
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from risk.data import inputs
from risk.data.csv_spans import MANY_QUOTES, SpanCheck, open_reader
from risk.limits import Limits

SEPARATORS = (",", ";", "\t", "|")
BLOCK = 256 * 1024  # stays in the cache of a core while it is looked at in several ways
CONFLICT_MARKS = (b"<<<<<<<", b"=======", b">>>>>>>")
DEFAULT = Limits()
BLANKS = " \t\r\n\f\v\u00a0"
_DATA = re.compile(  # numbers, with marks and signs, dates, and words that stand for values
    r"[-+$€£]?[0-9][0-9.,']*( ?[%€$£])?|[0-9]{1,4}[-/.][0-9]{1,2}[-/.][0-9]{1,4}.*"
    r"|true|false|yes|no|n/?a|null|nan",
    re.IGNORECASE,
)
DATA_SHARE = 0.25  # of the cells of a first line, from which on they are hardly names
_QUOTE_BY_SPACE = re.compile(rb'"(?: |(?<= "))')  # begins with the rarer sign: it is sought first


@dataclass(frozen=True)
class Checked:
    """What the whole-file check found.

    `refusal` is None when the file is a table; `odd` is true when only the exact reader may read it;
    `quoted` is false when no quote is in it, so that each of its lines is a row.
    `sha256` is empty for a file that was not read to its end: it goes beyond a limit, or cannot be
    opened. `stamp` is the file's own state when it was opened, empty when it could not be.
    """

    path: Path
    sha256: str
    size: int
    header: tuple[str, ...] = ()
    separator: str = ","
    refusal: str | None = None
    odd: bool = False
    stamp: tuple[int, ...] = ()
    limits: Limits = DEFAULT
    quoted: bool = True

    @property
    def name(self) -> str:
        return self.path.name


class ChangedError(OSError):
    """A file is another one than the one that was checked."""


def check(
    path: Path, wanted: Iterable[str], separator: str | None = None, limits: Limits = DEFAULT
) -> Checked:
    """Read a file once, as bytes, and say what it is.

    Parameters
    ----------
    path : Path
        Opened without following links; anything but a regular file is refused.
    wanted : iterable of str
        Column names that help to find the separator.
    separator : str, optional
        The configured separator; None finds the one that splits the header best.
    limits : Limits, optional
        What a file may not go beyond.
    """
    try:
        handle = open_regular(path)
    except OSError as error:
        if isinstance(error, PermissionError):
            raise
        return Checked(path, "", 0, refusal=f"cannot be opened ({error.strerror or error})")
    with handle:
        status = os.fstat(handle.fileno())
        if status.st_size > limits.file_bytes:
            refusal = limits.exceed("max_file_mb", f"has {status.st_size:,} bytes")
            checked = Checked(path, "", status.st_size, refusal=refusal)
        else:
            checked = inputs.find_checker(path)(handle, path, wanted, separator, limits)
        return replace(checked, stamp=_stamp(status))


def reopen(checked: Checked) -> io.BufferedReader:
    """Open a checked file again, and make sure that it is the same.

    Raises
    ------
    ChangedError
        When another file is there now, it was changed, or it is gone.
    """
    try:
        handle = open_regular(checked.path)
    except OSError as error:
        raise ChangedError(errno.ESTALE, "changed while it was read", str(checked.path)) from error
    if _stamp(os.fstat(handle.fileno())) != checked.stamp:
        handle.close()
        raise ChangedError(errno.ESTALE, "changed while it was read", str(checked.path))
    return handle


def has_changed(checked: Checked) -> bool:
    """Say whether a file is another one now than when its check began, or gone."""
    try:
        return _stamp(os.lstat(checked.path)) != checked.stamp
    except FileNotFoundError:
        return True


def _stamp(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def check_open(
    handle: IO[bytes],
    path: Path,
    wanted: Iterable[str],
    separator: str | None = None,
    limits: Limits = DEFAULT,
) -> Checked:
    """Read an open file once and say what it is; `path` only names it.

    A file that goes beyond a limit is read no further.
    """
    digest, decoder = hashlib.sha256(), codecs.getincrementaldecoder("utf-8")()
    head, last, refusal, size = handle.read(limits.header_bytes), b"", None, 0
    chosen = _choose_header(head, wanted, separator, limits)
    over = _exceed_header(head, chosen[2], limits)
    lines, data, rest = _Lines(limits), head[:BLOCK], head[BLOCK:]
    separator, line, header = chosen
    spans = SpanCheck(separator, len(header or ()), line)
    while data and not over:
        size += len(data)
        digest.update(data)
        spans.update(data, lines.n_lf)
        lines.update(data)
        if refusal is None:
            refusal = _refuse_bytes(data, decoder, last)
        last = (last + data[-16:])[-16:]
        over = _exceed_size(size, lines, limits)
        data, rest = (rest[:BLOCK], rest[BLOCK:]) if rest else (handle.read(BLOCK), b"")
    if over:
        return Checked(path, "", size, refusal=over, limits=limits)
    sha = digest.hexdigest()
    if refusal := refusal or _refuse_end(decoder) or _refuse_head(head, size):
        return Checked(path, sha, size, refusal=refusal, limits=limits)
    spans.finish(lines.n_lf)
    odd = lines.odd or line != 1 or (lines.has_quote_by_tab and separator != "\t") or spans.is_unsure
    refusal, quoted = _refuse_header(header) or (None if lines.has_cr else spans.refusal), lines.has_quote
    return Checked(path, sha, size, header or (), separator, refusal, odd, limits=limits, quoted=quoted)


def _exceed_header(head: bytes, header: tuple[str, ...] | None, limits: Limits) -> str | None:
    if len(head) == limits.header_bytes and b"\n" not in head and b"\r" not in head:
        return limits.exceed("max_header_kb", "has a longer first line")
    if header is not None and len(header) > limits.max_columns:
        return limits.exceed("max_columns", f"has {len(header):,} columns")
    return None


def _exceed_size(size: int, lines: _Lines, limits: Limits) -> str | None:
    if size > limits.file_bytes:
        return limits.exceed("max_file_mb", f"has over {limits.file_bytes:,} bytes")
    if lines.n_lines > limits.max_rows + 1:
        return limits.exceed("max_rows", "has more lines")
    return None


class _Lines:
    """What the line ends of a file are, and whether an engine may be trusted with them."""

    def __init__(self, limits: Limits) -> None:
        self._longest = limits.cell_length
        self.n_lf = self._n_cr = 0
        self.has_lf = self.has_crlf = self.has_cr = self.has_long = False
        self.has_quote = self.has_quote_by_space = self.has_quote_by_tab = False
        self._carry = self._last = b""
        self._open = 0

    @property
    def odd(self) -> bool:
        ends = (self.has_crlf and self.has_lf) or self.has_cr
        return ends or self.has_long or self.has_quote_by_space

    @property
    def n_lines(self) -> int:
        return max(self.n_lf, self._n_cr)

    def update(self, data: bytes) -> None:
        """Take in the next bytes of the file."""
        self.n_lf += data.count(b"\n")
        self._measure(data)
        self._seek_quotes(self._last + data[:1])
        self._seek_quotes(data)
        self._last = data[-1:]
        if self._carry or b"\r" in data:
            data, self._carry = self._carry + data, b""
            if data.endswith(b"\r"):
                data, self._carry = data[:-1], b"\r"
            n_crlf, n_cr = data.count(b"\r\n"), data.count(b"\r")
            self._n_cr += n_cr
            self.has_crlf |= n_crlf > 0
            self.has_cr |= n_cr > n_crlf
            self.has_lf |= data.count(b"\n") > n_crlf
        else:
            self.has_lf |= b"\n" in data

    def _seek_quotes(self, data: bytes) -> None:
        """Blanks round a quoted cell are read in one way here and in another there."""
        if b'"' in data:
            self.has_quote = True
            if data.count(b'"') * MANY_QUOTES < len(data):
                self.has_quote_by_space |= _QUOTE_BY_SPACE.search(data) is not None
            else:
                self.has_quote_by_space |= b'" ' in data or b' "' in data
            if b"\t" in data:
                self.has_quote_by_tab |= b'\t"' in data or b'"\t' in data

    def _measure(self, data: bytes) -> None:
        start = -self._open
        while len(data) - start > self._longest and not self.has_long:
            line_end = data.rfind(b"\n", max(start, 0), start + self._longest)
            self.has_long = line_end < 0
            start = line_end + 1
        last = data.rfind(b"\n")
        self._open = len(data) - last - 1 if last >= 0 else self._open + len(data)


def open_regular(path: Path, *, dir_fd: int | None = None) -> io.BufferedReader:
    """Open a regular file for reading; links, pipes and devices are an OSError."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags, dir_fd=dir_fd)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return open(descriptor, "rb")  # noqa: PTH123


def is_encodable(text: str) -> bool:
    """Say whether a file can hold a text; half of a surrogate pair, which JSON can write, it cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _refuse_bytes(data: bytes, decoder: codecs.IncrementalDecoder, last: bytes) -> str | None:
    if not last and data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "is UTF-16, not UTF-8; save it as CSV UTF-8"
    if b"\0" in data:
        return "holds NUL bytes; it is no text file, or UTF-16 (save it as CSV UTF-8)"
    try:
        decoder.decode(data)
    except UnicodeDecodeError:
        return "is not UTF-8 (latin-1 or a Windows code page?); save it as CSV UTF-8"
    for mark in CONFLICT_MARKS:  # one sign is found ten times faster than seven
        if (mark[:1] in data or mark[:1] in last) and b"\n" + mark in (last or b"\n") + data:
            return "holds merge-conflict markers; resolve the conflict first"
    return None


def _refuse_end(decoder: codecs.IncrementalDecoder) -> str | None:
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return "ends in the middle of a UTF-8 character"
    return None


def _refuse_head(head: bytes, size: int) -> str | None:
    text = head.removeprefix(codecs.BOM_UTF8).strip()
    if not text:
        return "is empty" if size == 0 else "holds nothing but blanks"
    if text.startswith(b"<"):
        return "starts with '<': an HTML or XML page, not a CSV file"
    return None


def _choose_header(
    head: bytes, wanted: Iterable[str], separator: str | None, limits: Limits
) -> tuple[str, int, tuple[str, ...] | None]:
    """Choose the separator whose split of the header holds most wanted names, then most columns.

    Returns
    -------
    separator, line, header
        The physical line at which the header ends; None for a header that is no CSV.
    """
    text, names = head.decode("utf-8", "ignore").removeprefix("\ufeff"), set(wanted)
    headers = [_read_header(text, choice, limits) for choice in ([separator] if separator else SEPARATORS)]

    def fitness(choice: tuple[str, int, tuple[str, ...] | None]) -> tuple[int, int]:
        header = choice[2] or ()
        return len(names & set(header)), len(header)

    return max(headers, key=fitness)


def _read_header(text: str, separator: str, limits: Limits) -> tuple[str, int, tuple[str, ...] | None]:
    csv.field_size_limit(limits.cell_length)
    reader = open_reader(io.StringIO(text, newline=""), separator)
    try:
        for cells in reader:
            trimmed = tuple(cell.strip(BLANKS) for cell in cells)
            if not is_blank(trimmed):
                return separator, reader.line_num, trimmed
    except csv.Error:
        pass
    return separator, 0, None


def is_blank(cells: tuple[str, ...]) -> bool:
    return len(cells) <= 1 and not any(cells)


def looks_like_data(cells: Iterable[str]) -> bool:
    """Say whether a first line looks like a row rather than like names of columns."""
    filled = [cell for cell in cells if cell]
    n_data = sum(_DATA.fullmatch(cell) is not None for cell in filled)
    return n_data > 0 and n_data >= DATA_SHARE * len(filled)


def explain_headerless(header: Iterable[str]) -> str:
    """Say that a file has no header."""
    return (
        f"has a first line that looks like data, not like names of columns ({show_names(header)}); "
        "put a line with the names above it"
    )


def show_names(names: Iterable[str], most: int = 100) -> str:
    """Show all names of columns, unless they are very many."""
    filled = [name for name in names if name]
    shown = ", ".join(map(repr, filled[:most]))
    return f"{shown} and {len(filled) - most:,} more" if len(filled) > most else shown


def _refuse_header(header: tuple[str, ...] | None) -> str | None:
    if header is None:
        return "has a header with a quote out of place or never closed"
    filled = Counter(name for name in header if name)
    for name, n in filled.items():
        if n > 1:
            is_headerless = _DATA.fullmatch(name) and looks_like_data(header)
            return explain_headerless(header) if is_headerless else f"has the column {name!r} twice"
    return None if filled else "has a first line without column names"
