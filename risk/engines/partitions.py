"""Parts of files, and the rows that stand in each, read by whoever holds the part.

A large file in which nothing is quoted is cut at line ends; any other is one part, however large it is.
The rows are those of the exact reader (`csv_rows`), so every part of a cluster reads alike; those of the
compiled table were checked once, and are read as they stand. Standard library only: this is what executors
import.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO

from risk.data import csv_check, csv_rows, inputs
from risk.data.csv_check import Checked
from risk.errors import ServiceError
from risk.limits import Limits

PART_BYTES = 32 * 1024 * 1024
CHUNK_ROWS = 10_000
NO_ROW = "is no row of the table"
PLACES = 2**36  # rows of one part: the place of a row is part number times this, plus its number in the part


@dataclass(frozen=True)
class Part:
    """The lines of a file that begin from byte `start` up to, not including, byte `stop`.

    A plain one has no quotes in it and nothing odd, as far as is known; a committed one is of the compiled
    table.
    `number` orders all parts. `size` and `mtime_ns` are those of the whole file when it was checked.
    """

    number: int
    file_no: int
    plain: bool
    path: str
    start: int
    stop: int
    size: int
    mtime_ns: int
    header: tuple[str, ...]
    separator: str
    limits: Limits
    committed: bool = False


# file number, place, line within the part, what is wrong with the row, cells as texts or None
Record = tuple[int | str | None, ...]


def cut(files: Iterable[tuple[int, Checked]], part_bytes: int = PART_BYTES) -> list[Part]:
    """Cut checked files into parts, in order."""
    parts: list[Part] = []
    for file_no, checked in files:
        whole = checked.odd or checked.quoted
        step = max(checked.size, 1) if whole else part_bytes
        for start in range(0, max(checked.size, 1), step):
            parts.append(
                Part(
                    number=len(parts),
                    file_no=file_no,
                    plain=not whole,
                    path=str(checked.path),
                    start=start,
                    stop=min(start + step, checked.size),
                    size=checked.size,
                    mtime_ns=checked.stamp[3],
                    header=checked.header,
                    separator=checked.separator,
                    limits=checked.limits,
                )
            )
    return parts


def cut_table(
    path: Path,
    length: int,
    header: Sequence[str],
    *,
    one_line_each: bool,
    start: int = 0,
    part_bytes: int = PART_BYTES,
) -> list[Part]:
    """Cut the first `length` bytes of the compiled table; one part where its cells may hold line ends.

    Only what lies after `start`, at which a row begins.
    """
    status = os.stat(path)  # noqa: PTH116
    step = part_bytes if one_line_each else max(length - start, 1)
    return [
        Part(
            number=number,
            file_no=0,
            plain=False,
            path=str(path),
            start=at,
            stop=min(at + step, length),
            size=status.st_size,
            mtime_ns=status.st_mtime_ns,
            header=tuple(header),
            separator=",",
            limits=csv_check.DEFAULT,
            committed=True,
        )
        for number, at in enumerate(range(start, max(length, 1), step))
    ]


def pack(parts: Sequence[Part], part_bytes: int = PART_BYTES) -> list[list[Part]]:
    """Put small parts together, in order: a task is worth its start only with some work."""
    packed: list[list[Part]] = []
    room = 0
    for part in parts:
        size = part.stop - part.start
        if not packed or size > room:
            packed.append([])
            room = part_bytes
        packed[-1].append(part)
        room -= size
    return packed


def read(packed: Iterable[Sequence[Part]], columns: Sequence[str]) -> Iterator[Record]:
    """Read the rows of parts; the columns of the table in its order, whatever the order of the file."""
    for parts in packed:
        for part in parts:
            yield from read_committed(part, columns) if part.committed else read_part(part, columns)


def read_part(part: Part, columns: Sequence[str]) -> Iterator[Record]:
    """Read the rows of one part; in blocks, and from the first block with something odd on row by row.

    Raises
    ------
    ServiceError
        When the file is not to be seen here, or is another one than was checked.
    """
    position = {name: index for index, name in enumerate(part.header) if name}
    places = [position.get(name) for name in columns]
    first, n_read = part.number * PLACES, 0
    if part.plain:
        for block in csv_rows.read_plain(open_lines(part), part.header, part.separator, CHUNK_ROWS):
            if block is None:
                break
            chosen = [[None] * len(block[0]) if place is None else block[place] for place in places]
            for cells in zip(*chosen, strict=True):
                yield (part.file_no, first + n_read, n_read + 2, None, *(cell or None for cell in cells))
                n_read += 1
        else:
            return
    nothing = (None,) * len(places)
    for number, row in enumerate(islice(read_rows(part), n_read, None), start=n_read):
        if row.problem:
            yield (part.file_no, first + number, row.line, row.problem, *nothing)
        else:
            exact = (None if place is None else row.cells[place] or None for place in places)
            yield (part.file_no, first + number, row.line, None, *exact)


def read_committed(part: Part, columns: Sequence[str]) -> Iterator[Record]:
    """Read the rows of one part of the compiled table, line by line; their own lines are not told.

    What is no row of it was written outside this pipeline: it has a problem, and reading ends with the last.

    Raises
    ------
    ServiceError
        As `read_part`.
    """
    places = [part.header.index(name) for name in columns]
    first, nothing = part.number * PLACES, (None,) * len(columns)
    with open_part(part) as handle:
        begin, end = (find_line(handle, offset) for offset in (part.start, part.stop))
        handle.seek(begin)
        csv.field_size_limit(max(end - begin, part.limits.cell_length))
        rows = filter(None, csv.reader(_decode(handle, end - begin), strict=True))
        try:
            for number, row in enumerate(islice(rows, 0 if part.start else 1, None)):
                if len(row) == len(part.header):
                    cells = (row[place] or None for place in places)
                    yield (part.file_no, first + number, 0, None, *cells)
                else:
                    yield (part.file_no, first + number, 0, NO_ROW, *nothing)
        except (csv.Error, UnicodeDecodeError):
            yield (part.file_no, first + PLACES - 1, 0, NO_ROW, *nothing)


def _decode(handle: IO[bytes], left: int) -> Iterator[str]:
    while left > 0 and (line := handle.readline(left)):
        left -= len(line)
        yield line.decode()


def read_rows(part: Part) -> Iterator[csv_rows.Row]:
    """Read the rows of one part exactly; lines are counted from 1 within the part, the header among them."""
    rows: Iterator[csv_rows.Row] = inputs.find_reader(Path(part.path))(
        open_lines(part), part.header, part.separator, part.limits
    )
    return rows


def open_lines(part: Part) -> IO[bytes]:
    """Open what stands in a part, with the header in front."""
    handle = open_part(part)
    if not part.start and part.stop == part.size:
        return handle
    with handle:
        return take_lines(handle, part)


def open_part(part: Part) -> IO[bytes]:
    """Open the file of a part, and make sure that it is the one that was checked."""
    import socket

    try:
        handle = csv_check.open_regular(Path(part.path))
    except OSError as error:
        raise ServiceError(
            f"{part.path}: cannot be opened on {socket.gethostname()} ({error.strerror}); every executor "
            "must see the workspace under the same path"
        ) from error
    status = os.fstat(handle.fileno())
    if (status.st_size, status.st_mtime_ns) != (part.size, part.mtime_ns):
        handle.close()
        raise ServiceError(
            f"{part.path}: is another file on {socket.gethostname()} than where the run began, or changed "
            "while it was read; run again"
        )
    return handle


def take_lines(handle: IO[bytes], part: Part) -> IO[bytes]:
    """Take the header and the lines of a part into memory."""
    header = handle.readline() if part.start else b""
    begin, end = (find_line(handle, offset) for offset in (part.start, part.stop))
    handle.seek(begin)
    return io.BytesIO(header + handle.read(max(end - begin, 0)))


def find_line(handle: IO[bytes], offset: int) -> int:
    """Find where the first line begins that does so at or after an offset."""
    if offset:
        handle.seek(offset - 1)
        handle.readline()
        return handle.tell()
    return 0


def count_lines(part: Part) -> int:
    """Count the physical lines of a file before a part; its own first line in the file is one more.

    From the second part of a file on, the header stands in front of the lines of the part and counts as one.
    """
    if not part.start:
        return 0
    with open_part(part) as handle:
        left, n_lines = find_line(handle, part.start), 0
        handle.seek(0)
        while left and (data := handle.read(min(left, csv_check.BLOCK))):
            left -= len(data)
            n_lines += data.count(b"\n")
    return n_lines - 1
