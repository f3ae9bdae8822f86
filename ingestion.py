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
from typing import TYPE_CHECKING, Any, TypeVar

import stage
from config import Config
from risk import artifacts, csvfile, dataset, escapes, known, rows, table, ticks
from risk.csvfile import Checked
from risk.dataset import Schema
from risk.errors import DatasetError
from risk.known import Known
from risk.rows import Rejection
from risk.shelf import Shelf
from risk.table import FileEntry, Ledger

if TYPE_CHECKING:
    from risk.engine import ColumnCounts, Engine
    from risk.spark import SparkEngine

    Cells = Mapping[int, Mapping[str, ColumnCounts]]
    Words = Mapping[int, Mapping[str, int]]

LOG = stage.log("ingestion")
ROWS_AT_ONCE = 500_000
SMALL_BYTES = 256 * 1024  # of new files: read row by row in the time that DuckDB takes to load
T = TypeVar("T")


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


def learn_schema(config: Config, columns: Sequence[str], cells: Cells, words: Words) -> Schema:
    """Learn kinds and label words from what was counted in the files to learn from."""
    kinds = {}
    for name in find_features(config, columns):
        kinds[name] = dataset.learn_kind(
            sum(found[name].filled for found in cells.values()),
            sum(found[name].missing_words for found in cells.values()),
            sum(found[name].numbers for found in cells.values()),
        )
    labels: Counter[str] = Counter()
    for counts in words.values():
        labels.update(counts)
    positive, negative = dataset.learn_labels(labels, config.target_column, config.positive_label)
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
    listing = artifacts.list_inputs(config.input_folder)
    source = os.path.relpath(config.input_folder, config.root)
    ledger = take_up_table(config, source)
    before = ledger
    if rebuild or ledger.rebuilding or ledger.row_key != config.row_key():
        ledger = Ledger(source, config.row_key())
    for name, reason in artifacts.list_odd_inputs(config.input_folder).items():
        LOG.warning("%s: refused: %s; the other files go on", name, reason)
    if digests is None:
        digests = ticks.known_digests(config.input_digests, source, listing)
    batch = collect(config, ledger, before, listing, digests)
    ledger = take_up(config, ledger, before, batch) if batch.files else before
    write_texts(config, ledger)
    seen = {entry.name: entry.sha256 for entry in ledger.files if entry.name not in batch.left}
    ticks.keep_digests(config.input_digests, source, listing, seen)
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
    present = table.load(config.ledger)
    if present is not None and present.source != source:
        for path in (*data, config.ledger):
            if path.exists():
                path.replace(aside(path, present.source))
        LOG.warning("the table of %s is put aside, config.json says %s", present.source, source)
        present = None
    if present is None and aside(config.ledger, source).exists():
        aside(config.ledger, source).replace(config.ledger)
        present = table.load(config.ledger)
        LOG.warning("the table of %s is taken up again, as config.json says", source)
    if present is not None:
        for path in data:
            if aside(path, source).exists():
                aside(path, source).replace(path)
    artifacts.sync_folder(config.output_folder)
    return present or Ledger(source, config.row_key())


def aside(path: Path, source: str) -> Path:
    """Name the place of a table that is put aside; never a name that looks like an input."""
    return path.with_name(f".aside-{artifacts.sha256(source.encode())[:12]}-{path.name.lstrip('.')}")


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
            checked = csvfile.check(config.input_folder / name, wanted, config.separator, config.limits)
        except PermissionError:
            LOG.warning("%s: may not be read; check its owner and mode; the other files go on", name)
            continue
        if (name, checked.sha256) in taken or (name, checked.refusal) in over:
            continue
        if csvfile.has_changed(checked):
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
    columns = schema.columns if schema else choose_first(config, batch)
    refuse_headers(config, batch, batch.good(), columns)
    fresh = config.spill_folder / f"{artifacts.TEMPORARY}fresh.csv"
    n_read: dict[int, int] = {}
    fresh_rows: dict[int, tuple[int, int]] = {}
    facts: tuple[Sequence[int], Sequence[int]] = ((), ())
    if batch.good():
        with open_engine(config, batch, columns, schema) as engine:
            schema = read_whole(config, engine, batch, schema)
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
        table.put(config.ledger, dataclasses.replace(before, rebuilding=True))
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
        known.keep(config.known_rows, committed)
    return committed


def read_few(config: Config, shelf: Shelf, batch: Batch, schema: Schema | None) -> None:
    """Put the good rows of a small batch on the shelf, all read the exact way."""
    for position in sorted(batch.good()):
        read_exact(config, batch, position, shelf.columns, schema, shelf)
    leave_changed(shelf, batch)


def open_engine(
    config: Config, batch: Batch, columns: Sequence[str], schema: Schema | None
) -> Engine | Shelf | SparkEngine:
    """Open the engine that config.json names; a cluster that cannot be had is an error, never another way.

    On one machine, few rows of a known table need no engine.
    """
    if config.engine == "spark":
        from risk.spark import SparkEngine

        cluster = stage.connect_cluster(config)
        cluster.prove(config.spill_folder)
        return SparkEngine(cluster, columns)
    size = sum(checked.size for checked in batch.good().values())
    if schema is not None and size <= SMALL_BYTES:
        return Shelf(columns)
    from risk.engine import Engine

    return Engine(columns, config.spill_folder, config.memory_limit, reads=config.input_folder)


def read_whole(
    config: Config, engine: Engine | Shelf | SparkEngine, batch: Batch, schema: Schema | None
) -> Schema | None:
    """Bring the good rows of the good files into the engine; see `read_batch` and `read_on_cluster`."""
    if isinstance(engine, Shelf):
        read_few(config, engine, batch, schema)
        return schema
    from risk.engine import Engine

    if isinstance(engine, Engine):
        return read_batch(config, engine, batch, schema)
    return read_on_cluster(config, engine, batch, schema)


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
        if any(map(rows.has_good_row, fitting.values())):
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
    return rows.refuse_header(checked.header, [name for name in columns if name not in optional])


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
        if not batch.learn_from & engine.count_rows().keys():
            if batch.good().keys() - batch.learn_from:
                raise DatasetError("the first files hold no row to learn from; mend them and run again")
            return None
    cells = engine.count_columns(schema.numbers if schema else find_features(config, engine.columns))
    words = engine.count_labels(config.target_column)
    if schema is None:
        first = batch.learn_from
        schema = learn_schema(config, engine.columns, of_files(cells, first), of_files(words, first))
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
        present = engine.count_rows().keys()
        if not batch.learn_from & present:
            if batch.good().keys() - batch.learn_from:
                raise DatasetError("the first files hold no row to learn from; mend them and run again")
            batch.rejected |= engine.reject(None)
            return None
        cells = engine.count_columns(find_features(config, engine.columns))
        words, first = engine.count_labels(config.target_column), batch.learn_from
        schema = learn_schema(config, engine.columns, of_files(cells, first), of_files(words, first))
    rejected = engine.reject(schema)
    n_good = engine.count_rows()
    for position, found in sorted(rejected.items()):
        batch.rejected[position] = found
        warn_rejected(config, batch.files[position].name, found, n_good.get(position, 0))
    leave_changed(engine, batch)
    return schema


def of_files(facts: Mapping[int, T], numbers: set[int]) -> dict[int, T]:
    """Take the facts of some files."""
    return {number: fact for number, fact in facts.items() if number in numbers}


def leave_changed(engine: Engine | Shelf | SparkEngine, batch: Batch) -> None:
    """Leave the files that changed under our hands for the next run; nothing of them is taken."""
    changed = {position for position, checked in batch.files.items() if csvfile.has_changed(checked)}
    changed |= batch.changed & batch.files.keys()
    engine.drop_files(changed)
    for position in changed:
        batch.leave(batch.files.pop(position).name)
        batch.refused.pop(position, None)


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
        for found in rows.sort_file(checked, columns, schema):
            if engine is not None:
                engine.add_rows(position, found.good)
            n_good += len(found.good)
            rejected += found.rejected
    except csvfile.ChangedError:
        batch.changed.add(position)
        return
    if rejected and csvfile.ends_a_file(rejected[-1].reason):
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


def begin(config: Config, ledger: Ledger, fresh: Path) -> Ledger:
    """Begin a table with the rows of `fresh`."""
    header = table.render_line((ledger.schema or {})["columns"])
    with fresh.open("rb") as handle:
        blocks = iter(lambda: handle.read(csvfile.BLOCK), b"")
        return table.grow(config.final_data, ledger, chain([header], blocks))


def append(
    config: Config, ledger: Ledger, fresh: Path, facts: tuple[Sequence[int], Sequence[int]]
) -> tuple[Ledger, dict[int, tuple[int, int]]]:
    """Append the rows of `fresh` that the table does not hold; count them and the unlabelled by file.

    The table is read once, or not at all where `known` has the digests of its rows; for many fresh rows
    these are made first, so that not all of them are held.
    """
    rows_known = known.load(config.known_rows)
    if rows_known is None or not rows_known.fits(ledger):
        rows_known = None
        if len(facts[0]) > ROWS_AT_ONCE:
            table.known_records(config.final_data, ledger, ())
            known.keep(config.known_rows, ledger, least_bytes=0)
            rows_known = known.load(config.known_rows)
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
    chunks = chain(kept(first, held), chain.from_iterable(kept(*part) for part in others))
    ledger = table.grow(config.final_data, ledger, chunks)
    return ledger, {position: (count, n_unlabelled[position]) for position, count in n_new.items()}


def read_fresh(fresh: Path) -> Iterator[list[bytes]]:
    """Read the fresh rows, many at a time."""
    with fresh.open("rb") as handle:
        blocks = iter(lambda: handle.read(artifacts.BLOCK), b"")
        records = chain.from_iterable(table.split_records(blocks))
        while part := list(islice(records, ROWS_AT_ONCE)):
            yield part


def find_held(config: Config, ledger: Ledger, rows_known: Known | None, records: list[bytes]) -> set[bytes]:
    """Give those of some rows that the table holds."""
    if rows_known is not None:
        return rows_known.find(records)
    return table.known_records(config.final_data, ledger, records)


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
    rejected_length = artifacts.append(path, lines, committed=committed)
    ledger = dataclasses.replace(
        ledger,
        files=(*ledger.files, *entries),
        rejected_length=rejected_length,
        rows=ledger.rows + sum(entry.new for entry in entries),
        rows_unlabelled=ledger.rows_unlabelled + sum(entry.unlabelled for entry in entries),
    )
    table.put(config.ledger, ledger)
    return ledger


def render_rejection(*cells: object) -> bytes:
    """Render a line of rejectedrows.csv, which people open in a spreadsheet."""
    return table.render_line(map(escapes.for_spreadsheet, cells))


def write_texts(config: Config, ledger: Ledger) -> None:
    """Write ingestedfiles.txt from the ledger, unless it says so already."""
    text = table.render_files(ledger.files)
    path = config.ingested_files
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        artifacts.put_text(path, text)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rebuild", action="store_true", help="compile the table anew from the folder, in order of arrival"
    )


def main(argv: list[str] | None = None) -> int:
    """Run from the shell."""
    return stage.main("ingestion", run, argv, description=__doc__, options=add_options)


if __name__ == "__main__":
    raise SystemExit(main())
