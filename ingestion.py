"""Compile the CSV files of the input folder into one table of unique rows."""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, chain, islice
from pathlib import Path
from typing import Any

import intake
from config import Config
from intake import Batch
from risk import files as files_
from risk import text
from risk.data import csv_check, inputs, row_index
from risk.data.ledger import (
    FileEntry,
    Ledger,
    grow,
    known_records,
    load_ledger,
    put_ledger,
    render_files,
    render_line,
    split_records,
)
from risk.data.row_index import Known
from risk.data.schema import Schema
from risk.digests import BLOCK, sha256
from risk.errors import DatasetError
from risk.files import TEMPORARY, put_text, sync_folder
from risk.runtime import logs, runner, state

LOG = logs.log("ingestion")
ROWS_AT_ONCE = 500_000
LINES_AT_ONCE = 100


@dataclass(frozen=True)
class Result:
    """What one ingestion did; counts are of this run, `rows_total` of the table.

    With `since`, of every file taken up after that batch: a tick tells of what one that died took up, too.
    """

    files: int
    files_refused: int
    rows_read: int
    rows_new: int
    rows_duplicate: int
    rows_rejected: int
    rows_unlabelled: int
    rows_total: int
    left: tuple[str, ...] = field(default=(), repr=False)
    source: str = field(default="", repr=False)
    batch: int = field(default=0, repr=False)
    entries: tuple[FileEntry, ...] = field(default=(), repr=False)

    def to_json(self) -> dict[str, int]:
        counts = vars(self).items()
        return {name: value for name, value in counts if isinstance(value, int) and name != "batch"}

    def history(self, _: Config) -> dict[str, Any] | None:
        """Say what `records` keeps of this run: nothing when there was no new file."""
        if not self.entries:
            return None
        before = self.rows_total - sum(entry.new for entry in self.entries)
        totals = list(accumulate((entry.new for entry in self.entries), initial=before))[1:]
        files = [
            {
                "key": [self.source, entry.batch, entry.name, entry.sha256],
                "source": self.source,
                "batch": entry.batch,
                "name": entry.name,
                "sha256": entry.sha256,
                "rows_read": entry.read,
                "rows_new": entry.new,
                "rows_duplicate": entry.duplicate,
                "rows_rejected": entry.rejected,
                "rows_unlabelled": entry.unlabelled,
                "refused": entry.refused,
                "rows_total": total,
            }
            for entry, total in zip(self.entries, totals, strict=True)
        ]
        return {"ingested_files": files}

    @property
    def exit_code(self) -> int:
        """Bad data only when every new file was refused."""
        return os.EX_DATAERR if self.files_refused and not self.files else os.EX_OK


# --- run: folder → engine → table --------------------------------------------------------------------


def run(
    config: Config,
    *,
    rebuild: bool = False,
    digests: Mapping[str, str] | None = None,
    since: int | None = None,
) -> Result:
    """Take up every file whose content is new.

    Parameters
    ----------
    rebuild : bool, default=False
        Compile the table anew from the folder, in order of first arrival.
    digests : mapping of str to str, optional
        sha256 by name of files known not to have changed since; they are not read again.
    since : int, optional
        Tell of every file taken up after this batch, not of this run alone.

    Raises
    ------
    DatasetError
        When no file can make a first table, or config.json names a column that the data lack.
    """
    listing = inputs.list_inputs(config.input_folder)
    source = os.path.relpath(config.input_folder, config.root)
    ledger = take_up_table(config, source)
    before = ledger
    if rebuild or ledger.rebuilding or ledger.row_key != config.row_key():
        ledger = Ledger(source, config.row_key())
    for name, reason in inputs.list_odd_inputs(config.input_folder).items():
        LOG.warning("%s: refused: %s; the other files go on", name, reason)
    if digests is None:
        digests = state.known_digests(config.input_digests, source, listing)
    batch = collect(config, ledger, before, listing, digests)
    ledger = take_up(config, ledger, before, batch) if batch.files else before
    write_texts(config, ledger)
    seen = {entry.name: entry.sha256 for entry in ledger.files if entry.name not in batch.left}
    state.keep_digests(config.input_digests, source, listing, seen)
    untold = sum(since is not None and entry.batch > since for entry in ledger.files)
    new = ledger.files[len(ledger.files) - max(len(batch.files), untold) :]
    taken = [entry for entry in new if entry.refused is None]
    return Result(
        files=len(taken),
        files_refused=len(new) - len(taken),
        rows_read=sum(entry.read for entry in taken),
        rows_new=sum(entry.new for entry in taken),
        rows_duplicate=sum(entry.duplicate for entry in taken),
        rows_rejected=sum(entry.rejected for entry in taken),
        rows_unlabelled=sum(entry.unlabelled for entry in taken),
        rows_total=ledger.rows,
        left=tuple(batch.left),
        source=source,
        batch=max((entry.batch for entry in ledger.files), default=0),
        entries=new,
    )


def take_up_table(config: Config, source: str) -> Ledger:
    """Open the table of this input folder; that of another folder is put aside until it is asked for.

    Data are moved only while their ledger is in place, so every step can be repeated after a crash.
    """
    config.output_folder.mkdir(parents=True, exist_ok=True)
    data = (config.final_data, config.rejected_rows)
    present = load_ledger(config.ledger)
    if present is not None and present.source != source:
        for path in (*data, config.ledger):
            if path.exists():
                path.replace(aside(path, present.source))
        LOG.warning("the table of %s is put aside, config.json says %s", present.source, source)
        present = None
    if present is None and aside(config.ledger, source).exists():
        aside(config.ledger, source).replace(config.ledger)
        present = load_ledger(config.ledger)
        LOG.warning("the table of %s is taken up again, as config.json says", source)
    if present is not None:
        for path in data:
            if aside(path, source).exists():
                aside(path, source).replace(path)
    sync_folder(config.output_folder)
    return present or Ledger(source, config.row_key())


def aside(path: Path, source: str) -> Path:
    """Name the place of a table that is put aside; never a name that looks like an input."""
    return path.with_name(f".aside-{sha256(source.encode())[:12]}-{path.name.lstrip('.')}")


def collect(
    config: Config,
    ledger: Ledger,
    before: Ledger,
    listing: Mapping[str, Sequence[int]],
    digests: Mapping[str, str],
) -> Batch:
    """Check every file whose content the ledger does not know, in order of first arrival."""
    arrived = {entry.name: entry.batch for entry in reversed(before.files)}
    number = 1 + max((entry.batch for entry in before.files), default=0)
    taken = {(entry.name, entry.sha256) for entry in ledger.files if entry.sha256}
    over = {(entry.name, entry.refused) for entry in ledger.files if not entry.sha256}
    names = {entry.name for entry in ledger.files}
    wanted = [config.target_column, *config.id_columns, *config.ignore_columns]
    wanted += before.schema["columns"] if before.schema else []
    batch = Batch(number, {})
    for name in sorted(listing, key=lambda name: (arrived.get(name, number), name)):
        if (name, digests.get(name, "")) in taken:
            continue
        try:
            checked = csv_check.check(config.input_folder / name, wanted, config.separator, config.limits)
        except PermissionError:
            LOG.warning("%s: may not be read; check its owner and mode; the other files go on", name)
            continue
        if (name, checked.sha256) in taken or (name, checked.refusal) in over:
            continue
        if csv_check.has_changed(checked):
            batch.leave(name)
            continue
        if name in names:
            LOG.warning("%s: changed since it was ingested; taking up what is new in it", name)
        position = len(batch.files)
        batch.files[position] = checked
        batch.batch_of[position] = number if name in names else arrived.get(name, number)
        if checked.refusal:
            batch.refuse(position, checked.refusal)
    return batch


def take_up(config: Config, ledger: Ledger, before: Ledger, batch: Batch) -> Ledger:
    """Read the files of a batch, append what is new, and commit with the ledger.

    Raises
    ------
    DatasetError
        When a table that holds rows would be compiled anew from files that give none.
    """
    schema = Schema.from_json(ledger.schema) if ledger.schema else None
    columns = schema.columns if schema else intake.choose_first(config, batch)
    intake.refuse_headers(config, batch, batch.good(), columns)
    fresh = config.spill_folder / f"{TEMPORARY}fresh.csv"
    n_read: dict[int, int] = {}
    fresh_rows: dict[int, tuple[int, int]] = {}
    facts: tuple[Sequence[int], Sequence[int]] = ((), ())
    if batch.good():
        with intake.open_engine(config, batch, columns, schema) as engine:
            schema = intake.read_whole(config, engine, batch, schema)
            n_read = engine.count_rows()
            engine.deduplicate()
            engine.write(fresh)
            fresh_rows = engine.count_labelled(config.target_column)
            facts = engine.row_facts(config.target_column) if ledger.length else facts
    if not batch.files:
        return before
    if before.length and not ledger.length:
        if not fresh_rows:
            raise DatasetError(
                f"no file of {ledger.source} gives a row to compile the table anew from; the old one stays"
            )
        put_ledger(config.ledger, dataclasses.replace(before, rebuilding=True))
    if schema and fresh_rows:
        ledger = dataclasses.replace(ledger, schema=schema.to_json())
        if ledger.length:
            ledger, fresh_rows = append(config, ledger, fresh, facts)
        else:
            ledger = begin(config, ledger, fresh)
    fresh.unlink(missing_ok=True)
    counts = {p: (n_read.get(p, 0), *fresh_rows.get(p, (0, 0))) for p in batch.good()}
    committed = commit(config, ledger, batch, counts)
    if before.length and not before.rebuilding and committed.length > before.length:
        row_index.keep(config.known_rows, committed)
    return committed


def begin(config: Config, ledger: Ledger, fresh: Path) -> Ledger:
    """Begin a table with the rows of `fresh`."""
    header = render_line((ledger.schema or {})["columns"])
    with fresh.open("rb") as handle:
        blocks = iter(lambda: handle.read(csv_check.BLOCK), b"")
        return grow(config.final_data, ledger, chain([header], blocks))


def append(
    config: Config, ledger: Ledger, fresh: Path, facts: tuple[Sequence[int], Sequence[int]]
) -> tuple[Ledger, dict[int, tuple[int, int]]]:
    """Append the rows of `fresh` that the table does not hold; count them and the unlabelled by file.

    The table is read once, or not at all where `known` has the digests of its rows; for many fresh rows
    these are made first, so that not all of them are held.
    """
    rows_known = row_index.load(config.known_rows)
    if rows_known is None or not rows_known.fits(ledger):
        rows_known = None
        if len(facts[0]) > ROWS_AT_ONCE:
            known_records(config.final_data, ledger, ())
            row_index.keep(config.known_rows, ledger, least_bytes=0)
            rows_known = row_index.load(config.known_rows)
    n_new, n_unlabelled = Counter[int](), Counter[int]()
    each = zip(*facts, strict=True)
    parts = read_fresh(fresh)
    first = next(parts, [])
    held = find_held(config, ledger, rows_known, first)

    def kept(records: list[bytes], held: set[bytes]) -> Iterator[bytes]:
        for record, (position, unlabelled) in zip(records, each, strict=False):
            if record not in held:
                n_new[position] += 1
                n_unlabelled[position] += unlabelled
                yield record + b"\n"

    others = ((records, find_held(config, ledger, rows_known, records)) for records in parts)
    lines = chain(kept(first, held), chain.from_iterable(kept(*part) for part in others))
    chunks = iter(lambda: b"".join(islice(lines, LINES_AT_ONCE)), b"")
    ledger = grow(config.final_data, ledger, chunks)
    return ledger, {position: (count, n_unlabelled[position]) for position, count in n_new.items()}


def read_fresh(fresh: Path) -> Iterator[list[bytes]]:
    """Read the fresh rows, many at a time."""
    with fresh.open("rb") as handle:
        blocks = iter(lambda: handle.read(BLOCK), b"")
        records = chain.from_iterable(split_records(blocks))
        while part := list(islice(records, ROWS_AT_ONCE)):
            yield part


def find_held(config: Config, ledger: Ledger, rows_known: Known | None, records: list[bytes]) -> set[bytes]:
    """Give those of some rows that the table holds."""
    if rows_known is not None:
        return rows_known.find(records)
    return known_records(config.final_data, ledger, records)


def commit(config: Config, ledger: Ledger, batch: Batch, counts: Mapping[int, Sequence[int]]) -> Ledger:
    """Note what every file gave and put the ledger: the commit of the ingestion."""
    entries = []
    path, lines = config.rejected_rows, list[bytes]()
    committed = ledger.rejected_length
    if committed and not (path.exists() and path.stat().st_size >= committed):
        LOG.warning("%s: was removed or cut by another hand; begun anew", path.name)
        committed = 0
    if not committed:
        lines.append(render_rejection("file", "line", "column", "value", "reason"))
    for position, checked in batch.files.items():
        n_good, new, unlabelled = counts.get(position, (0, 0, 0))
        rejected = batch.rejected.get(position, [])
        refused = batch.refused.get(position)
        entries.append(
            FileEntry(
                name=checked.name,
                batch=batch.batch_of[position],
                sha256=checked.sha256,
                read=n_good + len(rejected),
                new=new,
                duplicate=n_good - new,
                rejected=len(rejected),
                unlabelled=unlabelled,
                refused=refused,
            )
        )
        if refused:
            lines.append(render_rejection(checked.name, "", "", "", refused))
        for found in rejected:
            cells = (checked.name, found.line, found.column, found.value, found.reason)
            lines.append(render_rejection(*cells))
    rejected_length = files_.append(path, lines, committed=committed)
    ledger = dataclasses.replace(
        ledger,
        files=(*ledger.files, *entries),
        rejected_length=rejected_length,
        rows=ledger.rows + sum(entry.new for entry in entries),
        rows_unlabelled=ledger.rows_unlabelled + sum(entry.unlabelled for entry in entries),
    )
    put_ledger(config.ledger, ledger)
    return ledger


def render_rejection(*cells: object) -> bytes:
    """Render a line of rejectedrows.csv, which people open in a spreadsheet."""
    return render_line(map(text.escape_for_spreadsheet, cells))


def write_texts(config: Config, ledger: Ledger) -> None:
    """Write ingestedfiles.txt from the ledger, unless it says so already."""
    text = render_files(ledger.files)
    path = config.ingested_files
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        put_text(path, text)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rebuild", action="store_true", help="compile the table again from the folder, in order of arrival"
    )


def main(argv: list[str] | None = None) -> int:
    """Run from the shell."""
    return runner.main("ingestion", run, argv, description=__doc__, options=add_options)


if __name__ == "__main__":
    raise SystemExit(main())
