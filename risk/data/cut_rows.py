"""Rows cut off at the end of a file that was not complete, and given up when it is.

A file whose last line has no line end may still grow: its last row is ingested as it stands, and the ledger
keeps where that line begins and what it is. When a file of the same name brings the same complete lines and
goes on otherwise, the row was cut off, and is taken out of the table before the new rows are added.
Standard library only.
"""

from __future__ import annotations

import csv
import hashlib
import io
import logging
import os
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from risk import files, text
from risk.data import csv_check, csv_rows, csv_spans, validation
from risk.data.csv_check import Checked
from risk.data.ledger import FileEntry, Ledger, OpenEnd, grow, known_records, put_ledger
from risk.data.row_index import read_records

if TYPE_CHECKING:
    from risk.data.input_batch import InputBatch

LOG = logging.getLogger("risk.ingestion")
LONGEST = 1024 * 1024  # of a last line that is kept


def read_open_end(checked: Checked) -> OpenEnd | None:
    """Read the last line of a file, if it has no line end.

    Raises
    ------
    ChangedError
        When another file is there now.
    """
    with csv_check.reopen(checked) as handle:
        for length in (1, 4096, LONGEST):
            handle.seek(max(checked.size - length, 0))
            end = handle.read(length)
            tail = end[max(end.rfind(b"\n"), end.rfind(b"\r")) + 1 :]
            if not tail:
                return None
            if len(tail) < len(end):
                break
        else:
            return None
    try:
        return OpenEnd(checked.size - len(tail), tail.decode())
    except UnicodeDecodeError:  # of a format that is no text
        return None


def give_up(data: Path, ledger_path: Path, ledger: Ledger, batch: InputBatch) -> Ledger:
    """Take the rows out of the table that files of a batch have completed; return the ledger without them.

    Parameters
    ----------
    data, ledger_path : Path
        The table and its ledger, whose content is `ledger`.
    """
    for checked in batch.good.values():
        index = _find_entry(ledger, checked.name)
        if index is None or not _completes(checked, ledger.files[index]):
            continue
        cells = _read_cut_row(checked, ledger.files[index])
        row = _render(checked.header, cells, (ledger.schema or {})["columns"]) if cells else None
        if row is None or row not in known_records(data, ledger, [row]):
            continue
        position = sum(entry.new for entry in ledger.files[: index + 1]) - 1
        start = _find_row(data, ledger, position, row)
        if start is None or _is_given_by_another(ledger, index, checked.path.parent, row):
            continue
        LOG.warning("%s: was cut off in its last row when it was ingested; that row is dropped", checked.name)
        shorter = _without_row(ledger, index, row)
        ledger = _rewrite(data, ledger_path, ledger, shorter, cut=(start, start + len(row) + 1))
    return ledger


def settle(data: Path, ledger_path: Path, ledger: Ledger) -> Ledger:
    """End what a run that died over a shorter table had begun: it counts once it is there."""
    if ledger.next is None:
        return ledger
    is_there = data.exists() and data.stat().st_size == ledger.next.length
    ledger = ledger.next if is_there else replace(ledger, next=None)
    put_ledger(ledger_path, ledger)
    return ledger


def _find_entry(ledger: Ledger, name: str) -> int | None:
    """Find the last content of a file that was ingested, if it had an open end."""
    for index in reversed(range(len(ledger.files))):
        entry = ledger.files[index]
        if entry.name == name and entry.refused is None:
            return index if entry.open_end else None
    return None


def _completes(checked: Checked, entry: FileEntry) -> bool:
    """Say whether a file has all complete lines of its earlier content, and another last one."""
    if entry.open_end is None or checked.size <= entry.open_end.length:
        return False
    tail = entry.open_end.tail.encode()
    digest, left = hashlib.sha256(), entry.open_end.length
    with csv_check.reopen(checked) as handle:
        while left and (block := handle.read(min(left, csv_check.BLOCK))):
            digest.update(block)
            left -= len(block)
        rest = handle.read(len(tail) + 1)
    digest.update(tail)
    was_whole = rest.startswith(tail) and rest[len(tail) :] in (b"\n", b"\r")
    return digest.hexdigest() == entry.sha256 and not was_whole


def _read_cut_row(checked: Checked, entry: FileEntry) -> Sequence[str] | None:
    """Read the last row of the earlier content; None where that was no row."""
    end = entry.open_end or OpenEnd(0, "")
    if '"' not in end.tail:
        source = io.BytesIO((_render_line(checked) + end.tail).encode())
    else:  # the row may begin lines before
        with csv_check.reopen(checked) as handle:
            source = io.BytesIO(handle.read(end.length) + end.tail.encode())
    rows = csv_rows.read_open_rows(source, checked.header, checked.separator, checked.limits)
    last = deque(rows, maxlen=1)
    return last[0].cells if last and last[0].problem is None else None


def _render_line(checked: Checked) -> str:
    line = io.StringIO()
    csv.writer(line, delimiter=checked.separator).writerow(checked.header)
    return line.getvalue()


def _render(header: Sequence[str], cells: Sequence[str], columns: Sequence[str]) -> bytes:
    """Render a row as it stands in the table, without a line end."""
    row = dict(zip(header, cells, strict=True))
    return text.render_csv_row([row.get(name, "") for name in columns], quote_hash=True)[:-1].encode()


def _find_row(data: Path, ledger: Ledger, position: int, row: bytes) -> int | None:
    """Find the offset of a row by its number in the table; None where another one stands there."""
    offset = len(text.render_csv_row((ledger.schema or {})["columns"]).encode())
    for records in read_records(data, ledger, 0):
        if position < len(records):
            found = records[position]
            return offset + sum(len(record) + 1 for record in records[:position]) if found == row else None
        position -= len(records)
        offset += sum(len(record) + 1 for record in records)
    return None


def _is_given_by_another(ledger: Ledger, index: int, folder: Path, row: bytes) -> bool:
    """Say whether a file that was ingested later has the same row, so that it was a duplicate there."""
    columns = (ledger.schema or {})["columns"]
    for entry in ledger.files[index + 1 :]:
        if entry.refused is not None or not entry.duplicate or entry.name == ledger.files[index].name:
            continue
        checked = csv_check.check(folder / entry.name, columns)
        if checked.sha256 == entry.sha256 and not checked.refusal:
            for part in validation.sort_file(checked, columns, None):
                rows = ([good[name] for name in columns] for good in part.good)
                if any(_render(columns, cells, columns) == row for cells in rows):
                    return True
    return False


def _without_row(ledger: Ledger, index: int, row: bytes) -> Ledger:
    """Give the counts of a ledger without the cut row of a file."""
    schema = ledger.schema or {}
    cells = next(csv_spans.open_reader([*row.decode().splitlines(keepends=True)], ","))
    unlabelled = int(not cells[schema["columns"].index(schema["target"])])
    entry = ledger.files[index]
    shorter = entry._replace(
        read=entry.read - 1, new=entry.new - 1, unlabelled=entry.unlabelled - unlabelled, open_end=None
    )
    return replace(
        ledger,
        rows=ledger.rows - 1,
        rows_unlabelled=ledger.rows_unlabelled - unlabelled,
        files=(*ledger.files[:index], shorter, *ledger.files[index + 1 :]),
    )


def _rewrite(data: Path, ledger_path: Path, ledger: Ledger, shorter: Ledger, cut: tuple[int, int]) -> Ledger:
    """Write the table without some bytes, and commit it; killed anywhere, `settle` ends it.

    1. Write the shorter table beside the table.
    2. Put a ledger that still counts, and names the one to follow.
    3. Rename the shorter table.
    4. Put the ledger that follows.
    """
    beside = data.with_name(f"{files.TEMPORARY}shorter-{data.name}")
    empty = replace(shorter, length=0, digest="", blocks=(), lines=0)
    shorter = grow(beside, empty, _read_but(data, ledger.length, cut))
    put_ledger(ledger_path, replace(ledger, next=shorter))
    with files.naming(data):
        os.replace(beside, data)  # noqa: PTH105
    files.sync_folder(data.parent)
    put_ledger(ledger_path, shorter)
    return shorter


def _read_but(data: Path, length: int, cut: tuple[int, int]) -> Iterator[bytes]:
    with data.open("rb") as handle:
        for begin, end in ((0, cut[0]), (cut[1], length)):
            handle.seek(begin)
            while begin < end and (block := handle.read(min(end - begin, csv_check.BLOCK))):
                begin += len(block)
                yield block
