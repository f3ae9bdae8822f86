"""Which rows of new files are good, and which engine reads them?

Few rows are read one by one, many by DuckDB or on a cluster; whichever it is, the same rows are good, and
what is wrong with the others is noted in the batch.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from config import Config
from risk.data import csv_check, csv_rows, validation
from risk.data.csv_check import Checked
from risk.data.schema import Schema, learn_kind, learn_labels
from risk.data.validation import Rejection
from risk.engines.memory import Shelf
from risk.errors import DatasetError
from risk.runtime import logs, runner

if TYPE_CHECKING:
    from risk.engines.duckdb import ColumnCounts, Engine
    from risk.engines.spark import SparkEngine

    Cells = Mapping[int, Mapping[str, ColumnCounts]]
    Words = Mapping[int, Mapping[str, int]]

LOG = logs.log("ingestion")
SMALL_BYTES = 256 * 1024  # of new files: read row by row in the time that DuckDB takes to load


@dataclass
class Batch:
    """Files taken up in one run; the engine knows each by its number."""

    number: int
    files: dict[int, Checked]
    learn_from: set[int] = field(default_factory=set)
    refused: dict[int, str] = field(default_factory=dict)
    rejected: dict[int, list[Rejection]] = field(default_factory=dict)
    batch_of: dict[int, int] = field(default_factory=dict)
    settled: set[int] = field(default_factory=set)
    changed: set[int] = field(default_factory=set)
    left: list[str] = field(default_factory=list)

    def good(self) -> dict[int, Checked]:
        """Give the files whose rows count."""
        done = {*self.refused, *self.settled}
        return {number: checked for number, checked in self.files.items() if number not in done}

    def refuse(self, number: int, reason: str) -> None:
        """Refuse a file whole."""
        self.refused[number] = reason
        LOG.warning("%s: refused: %s; the other files go on", self.files[number].name, reason)

    def leave(self, name: str) -> None:
        """Leave a file for the next run, as if it had not been there."""
        self.left.append(name)
        LOG.warning("%s: changed while it was read; left for the next run", name)


# --- compute: which files, which columns, which kinds ------------------------------------------------


def choose_columns(headers: Sequence[tuple[str, ...]], target: str) -> tuple[str, ...]:
    """Choose the columns of a first table: the header shared by most files that has the label."""
    votes: dict[frozenset[str], list[tuple[str, ...]]] = {}
    for header in headers:
        named = tuple(name for name in header if name)
        if target in named:
            votes.setdefault(frozenset(named), []).append(named)
    if not votes:
        shown = ", ".join(headers[0][:8])
        raise DatasetError(
            f"no file has the label column {target!r} (the first has: {shown}); "
            'correct "target_column" in config.json'
        )
    return max(votes.values(), key=len)[0]


def assign_roles(config: Config, columns: Sequence[str]) -> tuple[str, ...]:
    """Return the id columns that the data have; a column named in config.json must be there."""
    named = [*(() if config.missing_ids_allowed else config.id_columns), *config.ignore_columns]
    lacking = [name for name in named if name not in columns]
    if lacking:
        raise DatasetError(
            f"config.json names {', '.join(map(repr, lacking))}, which the data lack "
            f"(they have: {', '.join(columns[:12])}); correct id_columns or ignore_columns"
        )
    return tuple(name for name in config.id_columns if name in columns)


def find_features(config: Config, columns: Sequence[str]) -> list[str]:
    """Name the columns that are neither label nor id nor ignored."""
    others = {config.target_column, *assign_roles(config, columns), *config.ignore_columns}
    features = [name for name in columns if name not in others]
    if not features:
        raise DatasetError("no feature is left besides label, id and ignored columns; correct config.json")
    return features


def can_learn(engine: Engine | SparkEngine, batch: Batch) -> bool:
    """Say whether a file to learn from gave a row.

    Raises
    ------
    DatasetError
        When only other files can still give one: they must not shape the table.
    """
    if batch.learn_from & engine.count_rows().keys():
        return True
    if batch.good().keys() - batch.learn_from:
        raise DatasetError("the first files hold no row to learn from; mend them and run again")
    return False


def learn_schema(config: Config, batch: Batch, columns: Sequence[str], cells: Cells, words: Words) -> Schema:
    """Learn kinds and label words from what was counted in the files to learn from."""
    first = [found for position, found in cells.items() if position in batch.learn_from]
    kinds = {}
    for name in find_features(config, columns):
        kinds[name] = learn_kind(
            sum(found[name].filled for found in first),
            sum(found[name].missing_words for found in first),
            sum(found[name].numbers for found in first),
        )
    labels: Counter[str] = Counter()
    for position, counts in words.items():
        if position in batch.learn_from:
            labels.update(counts)
    positive, negative = learn_labels(labels, config.target_column, config.positive_label)
    ids, ignored = assign_roles(config, columns), tuple(config.ignore_columns)
    return Schema(tuple(columns), kinds, config.target_column, positive, negative, ids, ignored)


def find_odd(schema: Schema, cells: Cells, words: Words) -> set[int]:
    """Find the files that hold a cell which rejects its row."""
    odd = set()
    for number, columns in cells.items():
        counts = (columns[name] for name in schema.numbers)
        if any(found.numbers < found.filled - found.missing_words for found in counts):
            odd.add(number)
    known = {*schema.positive, *schema.negative}
    return odd | {number for number, found in words.items() if not known.issuperset(found)}


# --- files: which may be read at all ---------------------------------------------------------------------


def choose_first(config: Config, batch: Batch) -> tuple[str, ...]:
    """Choose the columns of a first table and the files to learn from: the first that hold a row.

    Files before them are settled: they give nothing. Empty when no file holds a row.
    """
    good = batch.good()
    for number in sorted({batch.batch_of[position] for position in good}):
        files = {position: good[position] for position in good if batch.batch_of[position] == number}
        columns = choose_columns([checked.header for checked in files.values()], config.target_column)
        assign_roles(config, columns)
        fitting = {position: c for position, c in files.items() if not find_lack(config, c, columns)}
        if any(map(validation.has_good_row, fitting.values())):
            batch.learn_from = set(fitting)
            return columns
        refuse_headers(config, batch, files, columns)
        for position in fitting:
            batch.settled.add(position)
            read_exact(config, batch, position, columns, None, None)
    return ()


def find_lack(config: Config, checked: Checked, columns: Sequence[str]) -> str | None:
    """Say which columns of the table a file lacks; the label and ignored ones may be missing."""
    optional = {config.target_column, *config.ignore_columns}
    return validation.refuse_header(checked.header, [name for name in columns if name not in optional])


def refuse_headers(
    config: Config, batch: Batch, files: Mapping[int, Checked], columns: Sequence[str]
) -> None:
    """Refuse the files that lack a column of the table, and name the columns that are too many."""
    for position, checked in files.items():
        lack = find_lack(config, checked, columns)
        extra = [name or "(no name)" for name in checked.header if name not in columns]
        if lack:
            batch.refuse(position, lack)
        elif extra:
            LOG.warning("%s: extra column ignored: %s", checked.name, ", ".join(map(repr, extra)))


# --- rows: into the engine that config.json names ----------------------------------------------------------


def open_engine(
    config: Config, batch: Batch, columns: Sequence[str], schema: Schema | None
) -> Engine | Shelf | SparkEngine:
    """Open the engine that config.json names; a cluster that cannot be had is an error, never another way.

    On one machine, few rows of a known table need no engine.
    """
    if config.engine == "spark":
        from risk.engines.spark import SparkEngine

        return SparkEngine(runner.connect_cluster(config), columns)
    size = sum(checked.size for checked in batch.good().values())
    if schema is not None and size <= SMALL_BYTES:
        return Shelf(columns)
    from risk.engines.duckdb import Engine

    return Engine(columns, config.spill_folder, config.memory_limit, reads=config.input_folder)


def read_whole(
    config: Config, engine: Engine | Shelf | SparkEngine, batch: Batch, schema: Schema | None
) -> Schema | None:
    """Bring the good rows of the good files into the engine; see `read_batch` and `read_on_cluster`."""
    if isinstance(engine, Shelf):
        read_few(config, engine, batch, schema)
        return schema
    from risk.engines.duckdb import Engine

    if isinstance(engine, Engine):
        return read_batch(config, engine, batch, schema)
    return read_on_cluster(config, engine, batch, schema)


def read_few(config: Config, shelf: Shelf, batch: Batch, schema: Schema | None) -> None:
    """Put the good rows of a small batch on the shelf, all read the exact way."""
    for position in sorted(batch.good()):
        read_exact(config, batch, position, shelf.columns, schema, shelf)
    leave_changed(shelf, batch)


def read_batch(config: Config, engine: Engine, batch: Batch, schema: Schema | None) -> Schema | None:
    """Bring the good rows of the good files into the engine, fast where nothing is odd.

    Returns
    -------
    schema : Schema or None
        The one given, else the one learned; None when nothing is left to learn from.
    """
    good = batch.good()
    odd = {position for position, checked in good.items() if checked.odd}
    groups: dict[tuple[tuple[str, ...], str], list[tuple[int, Checked]]] = {}
    for position, checked in good.items():
        if position not in odd:
            groups.setdefault((checked.header, checked.separator), []).append((position, checked))
    for group in groups.values():
        odd |= engine.read(group)
    odd |= engine.find_shapeless()
    engine.drop_files(odd)
    if schema is None:
        for position in sorted(odd & batch.learn_from):
            read_exact(config, batch, position, engine.columns, None, engine)
        leave_changed(engine, batch)
        if not can_learn(engine, batch):
            return None
    cells = engine.count_columns(schema.numbers if schema else find_features(config, engine.columns))
    words = engine.count_labels(config.target_column)
    if schema is None:
        schema = learn_schema(config, batch, engine.columns, cells, words)
    odd = (odd | find_odd(schema, cells, words)) & batch.good().keys()
    engine.drop_files(odd)
    for position in sorted(odd):
        read_exact(config, batch, position, engine.columns, schema, engine)
    leave_changed(engine, batch)
    return schema


def read_on_cluster(
    config: Config, engine: SparkEngine, batch: Batch, schema: Schema | None
) -> Schema | None:
    """Do the same where executors read, each row exactly: no file is odd there."""
    engine.read(sorted(batch.good().items()))
    for position, reason in engine.find_endless().items():
        batch.refuse(position, reason)
    engine.drop_files({*batch.refused})
    leave_changed(engine, batch)
    if schema is None:
        if not can_learn(engine, batch):
            batch.rejected |= engine.reject(None)
            return None
        cells = engine.count_columns(find_features(config, engine.columns))
        words = engine.count_labels(config.target_column)
        schema = learn_schema(config, batch, engine.columns, cells, words)
    rejected = engine.reject(schema)
    n_good = engine.count_rows()
    for position, found in sorted(rejected.items()):
        batch.rejected[position] = found
        warn_rejected(config, batch.files[position].name, found, n_good.get(position, 0))
    leave_changed(engine, batch)
    return schema


def read_exact(
    config: Config,
    batch: Batch,
    position: int,
    columns: Sequence[str],
    schema: Schema | None,
    engine: Engine | Shelf | None,
) -> None:
    """Read a file row by row: good rows go to the engine, the others are noted.

    A quote that is never closed refuses it whole; another file under its name leaves it for the next run.
    """
    checked, rejected, n_good = batch.files[position], list[Rejection](), 0
    try:
        for found in validation.sort_file(checked, columns, schema):
            if engine is not None:
                engine.add_rows(position, found.good)
            n_good += len(found.good)
            rejected += found.rejected
    except csv_check.ChangedError:
        batch.changed.add(position)
        return
    if rejected and csv_rows.ends_a_file(rejected[-1].reason):
        if engine is not None:
            engine.drop_files({position})
        batch.refuse(position, rejected[-1].reason)
        return
    batch.rejected[position] = rejected
    if rejected and (schema is not None or engine is None):
        warn_rejected(config, checked.name, rejected, n_good)


def warn_rejected(config: Config, name: str, rejected: Sequence[Rejection], n_good: int) -> None:
    """Say in one line how many rows of a file were set aside and why the first was."""
    first, n_rejected = rejected[0], len(rejected)
    why = f"{first.column} {first.reason}" if first.column else first.reason
    where = os.path.relpath(config.rejected_rows, config.root)
    LOG.warning(
        "%s: %s of %s rows rejected, first at line %s (%s); see %s",
        name, f"{n_rejected:,}", f"{n_rejected + n_good:,}", f"{first.line:,}", why, where,
    )  # fmt: skip


def leave_changed(engine: Engine | Shelf | SparkEngine, batch: Batch) -> None:
    """Leave the files that changed under our hands for the next run; nothing of them is taken."""
    changed = {position for position, checked in batch.files.items() if csv_check.has_changed(checked)}
    changed |= batch.changed & batch.files.keys()
    engine.drop_files(changed)
    for position in changed:
        batch.leave(batch.files.pop(position).name)
        batch.refused.pop(position, None)
