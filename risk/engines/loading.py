"""Loading of a batch of files into an engine: the steps that engines share."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Protocol

from risk.data import csv_check, csv_rows, validation
from risk.data.schema import advise_on_words, explain_other_words, is_refused_for_words
from risk.data.schema_inference import (
    CellCounts,
    WordCounts,
    choose_columns,
    find_features,
    find_files_with_bad_cells,
    find_ids,
    infer_schema,
)
from risk.data.table_writer import FreshRows, RowFacts
from risk.engines import base
from risk.errors import DatasetError
from risk.files import TEMPORARY

if TYPE_CHECKING:
    from risk.data.input_batch import InputBatch
    from risk.data.schema import Schema
    from risk.engines.base import Engine, EngineSettings

LOG = logging.getLogger("risk.ingestion")


class RowSink(Protocol):
    """What takes rows that were read one by one."""

    def add_rows(self, number: int, rows: Sequence[Mapping[str, str]]) -> None:
        """Add good rows of a file, by column name; empty is missing."""

    def drop_files(self, numbers: set[int]) -> None:
        """Drop the rows of some files."""


class RowEngine(RowSink, Protocol):
    """An engine that takes such rows."""

    @property
    def columns(self) -> list[str]: ...

    def count_rows(self) -> dict[int, int]: ...

    def count_columns(self, columns: Sequence[str]) -> CellCounts: ...

    def count_labels(self, target: str) -> WordCounts: ...


def load_fresh(
    settings: EngineSettings, batch: InputBatch, schema: Schema | None, *, with_facts: bool
) -> FreshRows:
    """Load the files of a batch, and write their unique good rows to the spill folder.

    Parameters
    ----------
    schema : Schema or None
        Of the table; None for a first one.
    with_facts : bool
        Whether the file of each row is wanted, too.

    Raises
    ------
    DatasetError
        When no file can make a first table, or config.json names a column that the data lack.
    """
    columns = schema.columns if schema else choose_first(batch)
    batch.refuse_headers(batch.good, columns)
    n_refused = len(batch.refused)
    path = settings.room.spill / f"{TEMPORARY}fresh.csv"
    if not batch.good:
        return FreshRows(path, schema)
    with base.open_engine(settings, columns, n_bytes=batch.size if schema else None) as engine:
        schema = engine.load(batch, schema)
        if schema is None and batch.good and len(batch.refused) > n_refused:
            engine.drop_files({*batch.files})
            return load_fresh(settings, batch, None, with_facts=with_facts)  # from the files behind
        n_read = engine.count_rows()
        engine.deduplicate()
        engine.write(path)
        target = batch.roles.target
        facts = engine.row_facts(target) if with_facts else RowFacts()
        return FreshRows(path, schema, n_read, engine.count_labelled(target), facts)


def choose_first(batch: InputBatch) -> tuple[str, ...]:
    """Choose the columns of a first table and the files to learn from: the first that hold a row.

    Files before them are settled: they give nothing. Empty when no file holds a row.
    """
    good = batch.good
    for arrival in sorted({batch.batch_of[number] for number in good}):
        files = {number: good[number] for number in good if batch.batch_of[number] == arrival}
        columns = choose_columns([checked.header for checked in files.values()], batch.roles.target)
        find_ids(batch.roles, columns)
        fitting = {number: c for number, c in files.items() if not batch.explain_lack(c, columns)}
        if any(map(validation.has_good_row, fitting.values())):
            batch.learn_from = set(fitting)
            return columns
        batch.refuse_headers(files, columns)
        for number in fitting:
            batch.settled.add(number)
            read_exact(batch, number, columns, None, None)
    return ()


def load_with_exact_rows(
    engine: RowEngine, batch: InputBatch, odd: set[int], schema: Schema | None
) -> Schema | None:
    """Complete a load: files in which anything is odd are read row by row.

    Parameters
    ----------
    engine : RowEngine
        Holds the rows of all other good files.
    odd : set of int
        Files whose lines are not known to be rows.

    Returns
    -------
    schema : Schema or None
        As `Engine.load`.
    """
    if schema is None:
        for number in sorted(odd & batch.learn_from):
            read_exact(batch, number, engine.columns, None, engine)
        leave_changed(engine, batch)
        if not can_learn(engine, batch):
            return None
    cells, words = count_cells(engine, batch, schema)
    first = batch.learn_from if schema is None else set[int]()
    schema = schema or learn_schema(batch, engine.columns, cells, words)
    odd = (odd | find_files_with_bad_cells(schema, cells, words)) & batch.good.keys()
    engine.drop_files(odd)
    for number in sorted(odd & first):
        read_exact(batch, number, engine.columns, schema, engine)
    if first and first <= batch.refused.keys():
        return None
    for number in sorted(odd - first):
        read_exact(batch, number, engine.columns, schema, engine)
    leave_changed(engine, batch)
    return schema


def count_cells(
    engine: RowEngine | Engine, batch: InputBatch, schema: Schema | None
) -> tuple[CellCounts, WordCounts]:
    """Count the cells of all columns that are numbers, or may be, and the labels."""
    names = schema.numbers if schema else find_features(batch.roles, engine.columns)
    return engine.count_columns(names), engine.count_labels(batch.roles.target)


def learn_schema(batch: InputBatch, columns: Sequence[str], cells: CellCounts, words: WordCounts) -> Schema:
    """Infer the schema from what was counted in the files to learn from."""
    first = [counts for number, counts in cells.items() if number in batch.learn_from]
    labels = [counts for number, counts in words.items() if number in batch.learn_from]
    return infer_schema(batch.roles, columns, first, labels)


def can_learn(engine: RowEngine | Engine, batch: InputBatch) -> bool:
    """Say whether a file to learn from gave a row.

    Raises
    ------
    DatasetError
        When only other files can still give one: they must not shape the table, unless all of the first are
        refused.
    """
    if batch.learn_from & engine.count_rows().keys():
        return True
    if batch.good.keys() - batch.learn_from and not batch.learn_from <= batch.refused.keys():
        raise DatasetError(
            "the first files hold no valid row to infer the columns from; correct them and run again"
        )
    return False


def read_exact(
    batch: InputBatch, number: int, columns: Sequence[str], schema: Schema | None, sink: RowSink | None
) -> None:
    """Read a file row by row: good rows go to the sink, the others are noted in the batch.

    A quote that is never closed refuses the file whole; another file under its name leaves it for the next
    run.
    """
    rejected, n_good, n_labelled = list[validation.Rejection](), 0, 0
    try:
        for part in validation.sort_file(batch.files[number], columns, schema):
            if sink is not None:
                sink.add_rows(number, part.good)
            n_good += len(part.good)
            n_labelled += sum(map(bool, map(itemgetter(batch.roles.target), part.good)))
            rejected += part.rejected
    except csv_check.ChangedError:
        batch.changed.add(number)
        return
    if rejected and csv_rows.ends_a_file(rejected[-1].reason):
        if sink is not None:
            sink.drop_files({number})
        batch.refuse(number, rejected[-1].reason)
        return
    if sink is not None and refuses_words(batch, number, rejected, n_labelled, schema):
        sink.drop_files({number})
        return
    batch.reject(number, rejected)
    if schema is not None or sink is None:
        batch.warn_rejected(number, n_good)


def refuses_words(
    batch: InputBatch,
    number: int,
    rejected: Sequence[validation.Rejection],
    n_labelled: int,
    schema: Schema | None,
) -> bool:
    """Refuse a file in which too many labels are other words than those that count; warn of few.

    Parameters
    ----------
    rejected : sequence of Rejection
        The rows of the file that are set aside.
    n_labelled : int
        Its good rows that have a label.
    """
    words = validation.count_other_words(rejected, batch.roles.target)
    if schema is None or not words:
        return False
    reason = explain_other_words(words, n_labelled, schema)
    if is_refused_for_words(words, n_labelled):
        batch.refuse(number, f"{reason}; {advise_on_words(words, schema)}")
        return True
    LOG.warning("%s: %s; these rows are rejected", batch.files[number].name, reason)
    return False


def leave_changed(engine: RowSink | Engine, batch: InputBatch) -> None:
    """Leave the files that changed since they were checked for the next run; none of their rows counts."""
    engine.drop_files(batch.leave_changed())
