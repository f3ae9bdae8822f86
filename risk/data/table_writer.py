"""Writing of the compiled table: rows of a batch after those it has, and the ledger that commits them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

from risk import files, text
from risk.data import csv_check, cut_rows, row_index
from risk.data.input_batch import InputBatch
from risk.data.ledger import (
    FileEntry,
    Ledger,
    grow,
    known_records,
    load_ledger,
    put_ledger,
    render_files,
    split_records,
)
from risk.data.row_index import IndexFiles, RowIndex
from risk.data.schema import Schema
from risk.digests import BLOCK, sha256
from risk.errors import DatasetError

LOG = logging.getLogger("risk.ingestion")
ROWS_AT_ONCE = 500_000
LINES_AT_ONCE = 100


class TableFiles(NamedTuple):
    """Where the compiled table is, its ledger, and what is written from it."""

    data: Path
    ledger: Path
    rejected_rows: Path
    ingested_files: Path
    row_index: IndexFiles


class RowFacts(NamedTuple):
    """Of each row in order: the number of its file, and 1 where it has no label."""

    numbers: Sequence[int] = ()
    unlabelled: Sequence[int] = ()


class FreshRows(NamedTuple):
    """The unique good rows of a batch.

    Attributes
    ----------
    path : Path
        The rows as they stand in the table, without a header.
    schema : Schema or None
        None where no file holds a row to infer one from.
    n_read : mapping of int to int
        Good rows by file, before equal ones were dropped.
    n_fresh : mapping of int to (int, int)
        Unique rows by file, and those of them without a label.
    facts : RowFacts
        Empty where they were not asked for.
    """

    path: Path
    schema: Schema | None = None
    n_read: Mapping[int, int] = {}
    n_fresh: Mapping[int, tuple[int, int]] = {}
    facts: RowFacts = RowFacts()


def open_table(table: TableFiles, source: str, row_key: str) -> Ledger:
    """Open the table of an input folder; that of another folder is set aside until it is needed.

    Data are renamed only while their ledger is in place, so every step can be repeated after a crash.
    """
    table.data.parent.mkdir(parents=True, exist_ok=True)
    data = (table.data, table.rejected_rows)
    present = load_ledger(table.ledger)
    if present is not None and present.source != source:
        for path in (*data, table.ledger):
            if path.exists():
                path.replace(name_aside(path, present.source))
        LOG.warning(
            "the table of %s is set aside: config.json names the folder %s now", present.source, source
        )
        present = None
    if present is None and name_aside(table.ledger, source).exists():
        name_aside(table.ledger, source).replace(table.ledger)
        present = load_ledger(table.ledger)
        LOG.warning("the table of %s is used again: config.json names this folder", source)
    if present is not None:
        for path in data:
            if name_aside(path, source).exists():
                name_aside(path, source).replace(path)
    files.sync_folder(table.data.parent)
    if present is not None:
        return cut_rows.settle(table.data, table.ledger, present)
    return Ledger(source, row_key)


def name_aside(path: Path, source: str) -> Path:
    """Name the place of a table that is set aside; never a name that looks like an input."""
    return path.with_name(f".aside-{sha256(source.encode())[:12]}-{path.name.lstrip('.')}")


def write_batch(
    table: TableFiles, ledger: Ledger, before: Ledger, batch: InputBatch, fresh: FreshRows
) -> Ledger:
    """Write what is new in a batch behind the table, and commit it; nothing where no file is left.

    Parameters
    ----------
    ledger : Ledger
        Of the table to continue; empty where it is compiled again.
    before : Ledger
        Of the table as it is.

    Raises
    ------
    DatasetError
        When a table that holds rows would be compiled again from files that give none.
    """
    if not batch.files:
        return before
    if before.length and not ledger.length:
        _begin_rebuild(table, before, fresh)
    n_fresh = fresh.n_fresh
    if fresh.schema and n_fresh:
        ledger = replace(ledger, schema=fresh.schema.to_json())
        if ledger.length:
            ledger = cut_rows.give_up(table.data, table.ledger, ledger, batch)
            ledger, n_fresh = append_rows(table, ledger, fresh)
        else:
            ledger = begin_table(table, ledger, fresh.path)
    fresh.path.unlink(missing_ok=True)
    counts = {number: (fresh.n_read.get(number, 0), *n_fresh.get(number, (0, 0))) for number in batch.good}
    committed = commit(table, ledger, batch, counts)
    if before.length and not before.rebuilding and committed.length > before.length:
        row_index.update(table.row_index, committed)
    return committed


def _begin_rebuild(table: TableFiles, before: Ledger, fresh: FreshRows) -> None:
    if not fresh.n_fresh:
        raise DatasetError(
            f"no file of {before.source} has a valid row to rebuild the table from; the old table stays"
        )
    put_ledger(table.ledger, replace(before, rebuilding=True))


def begin_table(table: TableFiles, ledger: Ledger, fresh: Path) -> Ledger:
    """Begin a table with the rows of `fresh`."""
    header = text.render_csv_row((ledger.schema or {})["columns"]).encode()
    with fresh.open("rb") as handle:
        blocks = iter(lambda: handle.read(csv_check.BLOCK), b"")
        return grow(table.data, ledger, chain([header], blocks))


def append_rows(
    table: TableFiles, ledger: Ledger, fresh: FreshRows
) -> tuple[Ledger, dict[int, tuple[int, int]]]:
    """Append the fresh rows that the table does not hold; count them and the unlabelled by file.

    The table is read once, or not at all where the row index has the digests of its rows; for many fresh
    rows these are made first, so that not all of them are held.
    """
    index = _load_index(table, ledger, is_wanted=len(fresh.facts.numbers) > ROWS_AT_ONCE)
    n_new, n_unlabelled = Counter[int](), Counter[int]()
    facts = zip(*fresh.facts, strict=True)

    def drop_held(records: list[bytes], held: set[bytes]) -> Iterator[bytes]:
        for record, (number, unlabelled) in zip(records, facts, strict=False):
            if record not in held:
                n_new[number] += 1
                n_unlabelled[number] += unlabelled
                yield record + b"\n"

    parts = _read_fresh(fresh.path)
    first = next(parts, [])
    held = _find_held(table, ledger, index, first)  # before the table grows
    others = ((records, _find_held(table, ledger, index, records)) for records in parts)
    lines = chain(drop_held(first, held), chain.from_iterable(drop_held(*part) for part in others))
    chunks = iter(lambda: b"".join(islice(lines, LINES_AT_ONCE)), b"")
    ledger = grow(table.data, ledger, chunks)
    return ledger, {number: (count, n_unlabelled[number]) for number, count in n_new.items()}


def _load_index(table: TableFiles, ledger: Ledger, *, is_wanted: bool) -> RowIndex | None:
    """Load the row index of the table as it is; make one if it is wanted and there is none."""
    index = row_index.load(table.row_index)
    if index is not None and index.fits(ledger):
        return index
    if not is_wanted:
        return None
    known_records(table.data, ledger, ())
    row_index.update(table.row_index, ledger, least_bytes=0)
    return row_index.load(table.row_index)


def _read_fresh(fresh: Path) -> Iterator[list[bytes]]:
    with fresh.open("rb") as handle:
        blocks = iter(lambda: handle.read(BLOCK), b"")
        records = chain.from_iterable(split_records(blocks))
        while part := list(islice(records, ROWS_AT_ONCE)):
            yield part


def _find_held(table: TableFiles, ledger: Ledger, index: RowIndex | None, records: list[bytes]) -> set[bytes]:
    """Find those of some rows that the table holds."""
    return index.find(records) if index is not None else known_records(table.data, ledger, records)


def commit(
    table: TableFiles, ledger: Ledger, batch: InputBatch, counts: Mapping[int, Sequence[int]]
) -> Ledger:
    """Write the rejected rows and put the ledger: the commit of an ingestion.

    Parameters
    ----------
    counts : mapping of int to (int, int, int)
        Good rows of each file, the new ones among them, and those of the new without a label.
    """
    entries = [_make_entry(batch, number, *counts.get(number, (0, 0, 0))) for number in batch.files]
    rejected_length = _write_rejections(table.rejected_rows, batch, ledger.rejected_length)
    ledger = replace(
        ledger,
        files=(*ledger.files, *entries),
        rejected_length=rejected_length,
        rows=ledger.rows + sum(entry.new for entry in entries),
        rows_unlabelled=ledger.rows_unlabelled + sum(entry.unlabelled for entry in entries),
    )
    put_ledger(table.ledger, ledger)
    return ledger


def _make_entry(batch: InputBatch, number: int, n_good: int, n_new: int, n_unlabelled: int) -> FileEntry:
    n_rejected = len(batch.rejected.get(number, ()))
    return FileEntry(
        name=batch.files[number].name,
        batch=batch.batch_of[number],
        sha256=batch.files[number].sha256,
        read=n_good + n_rejected,
        new=n_new,
        duplicate=n_good - n_new,
        rejected=n_rejected,
        unlabelled=n_unlabelled,
        refused=batch.refused.get(number),
        open_end=batch.open_ends.get(number) if n_new else None,
    )


def _write_rejections(path: Path, batch: InputBatch, committed: int) -> int:
    """Write the rejected rows of a batch after the first `committed` bytes; give the new length."""
    if committed and not (path.exists() and path.stat().st_size >= committed):
        LOG.warning("%s: was removed or truncated outside this pipeline; starting a new one", path.name)
        committed = 0
    header = [] if committed else [render_rejection("file", "line", "column", "value", "reason")]
    return files.append(path, [*header, *_render_rejections(batch)], committed=committed)


def _render_rejections(batch: InputBatch) -> Iterable[bytes]:
    for number, checked in batch.files.items():
        if reason := batch.refused.get(number):
            yield render_rejection(checked.name, "", "", "", reason)
        for one in batch.rejected.get(number, ()):
            yield render_rejection(checked.name, one.line, one.column, one.value, one.reason)


def render_rejection(*cells: object) -> bytes:
    """Render a line of rejectedrows.csv, which people open in a spreadsheet."""
    return text.render_csv_row([*map(text.escape_for_spreadsheet, cells)]).encode()


def write_ingested_files(table: TableFiles, ledger: Ledger) -> None:
    """Write ingestedfiles.txt from the ledger, unless it stands there already."""
    rendered = render_files(ledger.files)
    path = table.ingested_files
    if not path.exists() or path.read_text(encoding="utf-8") != rendered:
        files.put_text(path, rendered)
