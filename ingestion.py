"""Compile the CSV files of the input folder into one table of unique rows."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from config import Config
from risk.data import input_batch, inputs, table_writer
from risk.data.input_batch import InputBatch, InputFolder
from risk.data.ledger import FileEntry, Ledger
from risk.data.schema import Schema
from risk.engines import base as engines
from risk.engines import loading
from risk.runtime import logs, runner, state

LOG = logs.log("ingestion")


@dataclass(frozen=True)
class IngestionResult:
    """What one ingestion did; counts are of this run, `rows_total` of the table.

    With `since`, of every file ingested after that batch: a run also reports what a killed one ingested.
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
        """Give the rows for the history of this run; None when there was no new file."""
        if not self.entries:
            return None
        before = self.rows_total - sum(entry.new for entry in self.entries)
        totals = list(accumulate((entry.new for entry in self.entries), initial=before))[1:]
        pairs = zip(self.entries, totals, strict=True)
        return {"ingested_files": [self._history_row(entry, total) for entry, total in pairs]}

    def _history_row(self, entry: FileEntry, rows_total: int) -> dict[str, Any]:
        return {
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
            "rows_total": rows_total,
        }

    @property
    def exit_code(self) -> int:
        """Bad data only when every new file was refused."""
        return os.EX_DATAERR if self.files_refused and not self.files else os.EX_OK


def summarize(ledger: Ledger, batch: InputBatch, source: str, since: int | None) -> IngestionResult:
    """Sum up what the newest files of the ledger gave: those of the batch, or all ingested after `since`."""
    n_unreported = sum(since is not None and entry.batch > since for entry in ledger.files)
    entries = ledger.files[len(ledger.files) - max(len(batch.files), n_unreported) :]
    taken = [entry for entry in entries if entry.refused is None]
    return IngestionResult(
        files=len(taken),
        files_refused=len(entries) - len(taken),
        rows_read=sum(entry.read for entry in taken),
        rows_new=sum(entry.new for entry in taken),
        rows_duplicate=sum(entry.duplicate for entry in taken),
        rows_rejected=sum(entry.rejected for entry in taken),
        rows_unlabelled=sum(entry.unlabelled for entry in taken),
        rows_total=ledger.rows,
        left=tuple(batch.left),
        source=source,
        batch=max((entry.batch for entry in ledger.files), default=0),
        entries=entries,
    )


def run(
    config: Config,
    *,
    rebuild: bool = False,
    digests: Mapping[str, str] | None = None,
    since: int | None = None,
    small_bytes: int = engines.SMALL_BYTES,
) -> IngestionResult:
    """Take up every file whose content is new.

    Parameters
    ----------
    rebuild : bool, default=False
        Compile the table again from the folder, in order of first arrival.
    digests : mapping of str to str, optional
        sha256 by name of files known not to have changed since; they are not read again.
    since : int, optional
        Report every file ingested after this batch, not of this run alone.
    small_bytes : int
        Up to which size new files are read in memory.

    Raises
    ------
    DatasetError
        When no file can make a first table, or config.json names a column that the data lack.
    """
    listing = inputs.list_inputs(config.input_folder)
    source = os.path.relpath(config.input_folder, config.root)
    before = ledger = table_writer.open_table(config.table_files, source, config.row_key())
    if rebuild or ledger.rebuilding or ledger.row_key != config.row_key():
        ledger = Ledger(source, config.row_key())
    if digests is None:
        digests = state.load_digests(config.input_digests, source, listing)
    folder = InputFolder(config.input_folder, listing, digests, config.separator, config.limits)
    batch = check_files(config, folder, ledger, before)
    ledger = take_up(config, ledger, before, batch, small_bytes) if batch.files else before
    table_writer.write_ingested_files(config.table_files, ledger)
    taken_up = {entry.name: entry.sha256 for entry in ledger.files if entry.name not in batch.left}
    state.save_digests(config.input_digests, source, listing, taken_up)
    return summarize(ledger, batch, source, since)


def check_files(config: Config, folder: InputFolder, ledger: Ledger, before: Ledger) -> InputBatch:
    """Check the files that the ledger does not know, and warn of what is no file."""
    for name, reason in inputs.list_odd_inputs(folder.path).items():
        LOG.warning("%s: refused: %s; continuing with the other files", name, reason)
    batch = input_batch.collect(folder, config.roles, ledger, before)
    batch.rejected_rows = os.path.relpath(config.rejected_rows, config.root)
    return batch


def take_up(config: Config, ledger: Ledger, before: Ledger, batch: InputBatch, small_bytes: int) -> Ledger:
    """Load the files of a batch and write what is new in them at the end of the table."""
    schema = Schema.from_json(ledger.schema) if ledger.schema else None
    settings = config.engine_settings._replace(small_bytes=small_bytes)
    fresh = loading.load_fresh(settings, batch, schema, with_facts=ledger.length > 0)
    return table_writer.write_batch(config.table_files, ledger, before, batch, fresh)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rebuild", action="store_true", help="compile the table again from the folder, in order of arrival"
    )


def main(argv: list[str] | None = None) -> int:
    """Run from the shell."""
    return runner.main("ingestion", run, argv, description=__doc__, options=add_options)


if __name__ == "__main__":
    raise SystemExit(main())
