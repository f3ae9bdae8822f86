"""Is this file a table at all, and what does each line of it say?

The whole-file check runs before any engine sees the file: engines accept NUL bytes, UTF-16, merge
conflicts and web pages without a word. The row reader is the exact, slow way that names physical
lines; the engine reads the files in which nothing is odd. Standard library only.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

SEPARATORS = (",", ";", "\t", "|")
BLOCK = 4 * 1024 * 1024
HEADER_LIMIT = 1024 * 1024
FIELD_LIMIT = 1024 * 1024
CONFLICT_MARKS = (b"<<<<<<<", b"=======", b">>>>>>>")
BLANKS = " \t\r\n\f\v\u00a0"


@dataclass(frozen=True)
class Checked:
    """What the whole-file check found.

    `refusal` is None when the file is a table; `odd` is true when only the exact reader may read it.
    """

    path: Path
    sha256: str
    size: int
    header: tuple[str, ...] = ()
    separator: str = ","
    refusal: str | None = None
    odd: bool = False

    @property
    def name(self) -> str:
        return self.path.name


def check(path: Path, wanted: Iterable[str], separator: str | None = None) -> Checked:
    """Read a file once, as bytes, and say what it is.

    Parameters
    ----------
    path : Path
        Opened without following links; anything but a regular file is refused.
    wanted : iterable of str
        Column names that help to find the separator.
    separator : str, optional
        The configured separator; None finds the one that splits the header best.
    """
    try:
        handle = open_regular(path)
    except OSError as error:
        if isinstance(error, PermissionError):
            raise
        return Checked(path, "", 0, refusal=f"cannot be opened ({error.strerror or error})")
    with handle:
        return check_open(handle, path, wanted, separator)


def check_open(
    handle: IO[bytes], path: Path, wanted: Iterable[str], separator: str | None = None
) -> Checked:
    """Read an open file once and say what it is; `path` only names it."""
    digest, decoder = hashlib.sha256(), codecs.getincrementaldecoder("utf-8")()
    head, last, refusal, odd, size, tail = b"", b"", None, False, 0, b""
    has_lf = has_cr = has_crlf = False
    while data := handle.read(BLOCK):
        size += len(data)
        digest.update(data)
        if len(head) < HEADER_LIMIT:
            head += data[: HEADER_LIMIT - len(head)]
        if refusal is None:
            refusal = _refuse_bytes(data, decoder, last)
        joined = tail + data
        tail = data[-1:]
        if b"\r" in joined:
            crlf = joined.count(b"\r\n")
            has_crlf |= crlf > 0
            has_cr |= joined.count(b"\r") - (joined.endswith(b"\r")) > crlf
            has_lf |= joined.count(b"\n") > crlf
        else:
            has_lf |= b"\n" in joined
        last = (last + data)[-16:]
    odd = (has_crlf and has_lf) or has_cr or _has_glob(path)
    if refusal is None and size:
        try:
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            refusal = "ends in the middle of a UTF-8 character"
    refusal = refusal or _refuse_head(head, size)
    sha = digest.hexdigest()
    if refusal:
        return Checked(path, sha, size, refusal=refusal)
    line = _first_record(head)
    found = separator or find_separator(line, wanted)
    header = tuple(cell.strip(BLANKS) for cell in next(csv.reader([line], delimiter=found), []))
    return Checked(path, sha, size, header, found, _refuse_header(header), odd)


def open_regular(path: Path) -> io.BufferedReader:
    """Open a regular file for reading; links, pipes and devices are an OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(0, "not a regular file")
    return open(descriptor, "rb")  # noqa: PTH123


def _has_glob(path: Path) -> bool:
    return any(sign in str(path) for sign in "*?[]{}'")


def _refuse_bytes(data: bytes, decoder: codecs.IncrementalDecoder, last: bytes) -> str | None:
    if not last and data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "is UTF-16, not UTF-8; save it as CSV UTF-8"
    if b"\0" in data:
        return "holds NUL bytes; it is no text file, or UTF-16 (save it as CSV UTF-8)"
    try:
        decoder.decode(data)
    except UnicodeDecodeError:
        return "is not UTF-8 (latin-1 or a Windows code page?); save it as CSV UTF-8"
    for mark in CONFLICT_MARKS:
        if b"\n" + mark in last + data or (not last and data.startswith(mark)):
            return "holds merge-conflict markers; resolve the conflict first"
    return None


def _refuse_head(head: bytes, size: int) -> str | None:
    text = head.removeprefix(codecs.BOM_UTF8).strip()
    if not text:
        return "is empty" if size == 0 else "holds nothing but blanks"
    if text.startswith(b"<"):
        return "starts with '<': an HTML or XML page, not a CSV file"
    if size >= HEADER_LIMIT and b"\n" not in head and b"\r" not in head:
        return "has a first line of over 1 MiB"
    return None


def _first_record(head: bytes) -> str:
    text = head.decode("utf-8", "ignore").removeprefix("\ufeff").lstrip("\r\n")
    lines = io.StringIO(text, newline=None)
    record = ""
    for line in lines:
        record += line
        if record.count('"') % 2 == 0 and record.strip():
            break
    return record.rstrip("\n")


def find_separator(line: str, wanted: Iterable[str]) -> str:
    """Choose the separator whose split of the header holds most wanted names, then most columns."""
    names = set(wanted)

    def fitness(separator: str) -> tuple[int, int]:
        cells = [cell.strip(BLANKS) for cell in next(csv.reader([line], delimiter=separator), [])]
        return len(names & set(cells)), len(cells)

    return max(SEPARATORS, key=fitness)


def _refuse_header(header: tuple[str, ...]) -> str | None:
    filled = [name for name in header if name]
    for name in filled:
        if filled.count(name) > 1:
            return f"has the column {name!r} twice"
    return None if filled else "has a first line without column names"


@dataclass(frozen=True)
class Row:
    """One row as it stands in a file; `problem` is set when it is none."""

    line: int
    cells: tuple[str, ...]
    problem: str | None = None


def read_rows(path: Path, header: tuple[str, ...], separator: str) -> Iterator[Row]:
    """Read the rows below the header with their physical line numbers, outer blanks trimmed."""
    with open_regular(path) as binary:
        yield from read_open_rows(binary, header, separator)


def read_open_rows(binary: IO[bytes], header: tuple[str, ...], separator: str) -> Iterator[Row]:
    """Read the rows of an open file from where it stands; closes it."""
    csv.field_size_limit(FIELD_LIMIT)
    with io.TextIOWrapper(binary, encoding="utf-8-sig", newline="") as text:
        yield from parse_rows(text, header, separator)


def parse_rows(text: Iterable[str], header: tuple[str, ...], separator: str) -> Iterator[Row]:
    """Read rows from lines of text; the first record that is not blank is the header."""
    reader = csv.reader(text, delimiter=separator, strict=True)
    seen_header = False
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Row(line, (), _explain(str(error), line))
            if "unexpected end" in str(error):
                return
            continue
        trimmed = tuple(cell.strip(BLANKS) for cell in cells)
        if len(trimmed) <= 1 and not any(trimmed):
            continue
        if not seen_header:
            seen_header = True
        elif len(trimmed) != len(header):
            yield Row(line, trimmed, f"has {len(trimmed)} cells where the header has {len(header)}")
        elif trimmed == header:
            yield Row(line, trimmed, "repeats the header")
        else:
            yield Row(line, trimmed)


def _explain(message: str, line: int) -> str:
    if "unexpected end" in message:
        return f"a quote opened near line {line} is never closed"
    if "expected after" in message:
        return "has a quote inside an unquoted or after a quoted cell"
    if "field limit" in message:
        return f"has a cell of over {FIELD_LIMIT} characters"
    return message
