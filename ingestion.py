"""Compile the CSV files of the input folder into one table of unique rows."""

from __future__ import annotations

import argparse
import csv
import dataclasses
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import stage
from config import Config
from risk import artifacts, csvfile, dataset, rows, table
from risk.csvfile import Checked
from risk.dataset import Schema
from risk.errors import DatasetError
from risk.rows import Rejection
from risk.table import FileEntry, Ledger

if TYPE_CHECKING:
    from risk.engine import Engine

LOG = stage.log("ingestion")


@dataclass(frozen=True)
class Result:
    """What one ingestion did; counts are of this run, `rows_total` of the table."""

    files: int
    files_refused: int
    rows_read: int
    rows_new: int
    rows_duplicate: int
    rows_rejected: int
    rows_unlabelled: int
    rows_total: int
    source: str = field(default="", repr=False)
    entries: tuple[FileEntry, ...] = field(default=(), repr=False)

    def to_json(self) -> dict[str, int]:
        return {name: value for name, value in vars(self).items() if isinstance(value, int)}

    def history(self, _: Config) -> dict[str, Any] | None:
        """Say what `records` keeps of this run: nothing when there was no new file."""
        if not self.entries:
            return None
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
            }
            for entry in self.entries
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

    def good(self) -> dict[int, Checked]:
        return {number: checked for number, checked in self.files.items() if number not in self.refused}


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


def learn_schema(config: Config, engine: Engine, learn_from: set[int]) -> Schema:
    """Learn kinds and label words from the rows of the files `learn_from`."""
    columns = engine.columns
    ids = assign_roles(config, columns)
    features = [name for name in columns if name not in {config.target_column, *ids, *config.ignore_columns}]
    if not features:
        raise DatasetError("no feature is left besides label, id and ignored columns; correct config.json")
    counts = [found for number, found in engine.count_columns(features).items() if number in learn_from]
    kinds = {}
    for name in features:
        kinds[name] = dataset.learn_kind(
            sum(found[name].filled for found in counts),
            sum(found[name].missing_words for found in counts),
            sum(found[name].numbers for found in counts),
        )
    labels: dict[str, int] = {}
    for number, words in engine.count_labels(config.target_column).items():
        for word, count in words.items() if number in learn_from else ():
            labels[word] = labels.get(word, 0) + count
    positive, negative = dataset.learn_labels(labels, config.target_column, config.positive_label)
    return Schema(
        tuple(columns), kinds, config.target_column, positive, negative, ids, tuple(config.ignore_columns)
    )


def find_odd(engine: Engine, schema: Schema) -> set[int]:
    """Find the files that hold a cell which rejects its row."""
    odd = set()
    for number, columns in engine.count_columns(schema.numbers).items():
        if any(found.numbers < found.filled - found.missing_words for found in columns.values()):
            odd.add(number)
    known = {*schema.positive, *schema.negative}
    for number, words in engine.count_labels(schema.target).items():
        if not known.issuperset(words):
            odd.add(number)
    return odd


# --- run: folder → engine → table --------------------------------------------------------------------


def run(config: Config, *, rebuild: bool = False, digests: Mapping[str, str] | None = None) -> Result:
    """Take up every file whose content is new.

    Parameters
    ----------
    rebuild : bool, default=False
        Compile the table anew from the folder, in order of first arrival.
    digests : mapping of str to str, optional
        sha256 by name of files known not to have changed since; they are not read again.

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
    batch = collect(config, ledger, before, listing, digests or {})
    if batch.files:
        ledger = take_up(config, ledger, before, batch)
    write_texts(config, ledger)
    new = ledger.files[len(ledger.files) - len(batch.files) :]
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
        source=source,
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
    number = 1 + max(arrived.values(), default=0)
    known = {(entry.name, entry.sha256) for entry in ledger.files}
    names = {entry.name for entry in ledger.files}
    wanted = [config.target_column, *config.id_columns, *config.ignore_columns]
    wanted += before.schema["columns"] if before.schema else []
    batch = Batch(number, {})
    for name in sorted(listing, key=lambda name: (arrived.get(name, number), name)):
        if (name, digests.get(name, "")) in known:
            continue
        checked = csvfile.check(config.input_folder / name, wanted, config.separator)
        if (name, checked.sha256) in known:
            continue
        if name in names:
            LOG.warning("%s: changed since it was ingested; taking up what is new in it", name)
        position = len(batch.files)
        batch.files[position] = checked
        batch.batch_of[position] = number if name in names else arrived.get(name, number)
        if checked.refusal:
            batch.refused[position] = checked.refusal
    return batch


def take_up(config: Config, ledger: Ledger, before: Ledger, batch: Batch) -> Ledger:
    """Read the files of a batch, append what is new, and commit with the ledger."""
    from risk.engine import Engine

    schema = Schema.from_json(ledger.schema) if ledger.schema else None
    columns = find_columns(config, schema, batch)
    for position, reason in batch.refused.items():
        LOG.warning("%s: refused: %s; the other files go on", batch.files[position].name, reason)
    if not columns:
        return commit(config, ledger, batch, {})
    with Engine(columns, config.spill_folder, config.memory_limit) as engine:
        schema = read_batch(config, engine, batch, schema)
        n_read = engine.count_rows()
        engine.deduplicate()
        fresh = config.spill_folder / f"{artifacts.TEMPORARY}fresh.csv"
        engine.write(fresh, header=not ledger.length)
        facts = engine.row_facts(schema.target)
    if before.length and not ledger.length:
        artifacts.put_json(config.ledger, dataclasses.replace(before, rebuilding=True).to_json())
    ledger, facts = append(config, ledger, fresh, facts)
    fresh.unlink()
    ledger = dataclasses.replace(ledger, schema=schema.to_json())
    counts = {position: [n_read.get(position, 0), 0, 0] for position in batch.good()}
    for position, unlabelled in facts:
        counts[position][1] += 1
        counts[position][2] += unlabelled
    return commit(config, ledger, batch, counts)


def find_columns(config: Config, schema: Schema | None, batch: Batch) -> tuple[str, ...]:
    """Find the columns of the table and refuse the files that lack one; empty when none is left."""
    good = batch.good()
    if not good:
        return ()
    first = min(batch.batch_of[position] for position in good)
    batch.learn_from = {position for position in good if batch.batch_of[position] == first}
    if schema:
        columns, ids = schema.columns, schema.ids
    else:
        columns = choose_columns([good[p].header for p in sorted(batch.learn_from)], config.target_column)
        ids = assign_roles(config, columns)
    optional = {config.target_column, *config.ignore_columns} - set(ids)
    needed = [name for name in columns if name not in optional]
    for position, checked in good.items():
        reason = rows.refuse_header(checked.header, needed)
        if reason:
            batch.refused[position] = reason
            continue
        extra = [name or "(no name)" for name in checked.header if name not in columns]
        if extra:
            LOG.warning("%s: extra column ignored: %s", checked.name, ", ".join(map(repr, extra)))
    return columns if batch.good() else ()


def read_batch(config: Config, engine: Engine, batch: Batch, schema: Schema | None) -> Schema:
    """Bring the good rows of the good files into the engine, fast where nothing is odd."""
    good = batch.good()
    odd = {position for position, checked in good.items() if checked.odd}
    groups: dict[tuple[tuple[str, ...], str], list[tuple[int, Checked]]] = {}
    for position, checked in good.items():
        if position not in odd:
            groups.setdefault((checked.header, checked.separator), []).append((position, checked))
    for group in groups.values():
        odd |= engine.read(group)
    engine.drop_files(odd)
    if schema is None:
        for position in sorted(odd & batch.learn_from):
            engine.add_rows(position, rows.sort_file(good[position], engine.columns, None).good)
        schema = learn_schema(config, engine, batch.learn_from)
    odd |= find_odd(engine, schema)
    engine.drop_files(odd)
    for position in sorted(odd):
        found = rows.sort_file(good[position], engine.columns, schema)
        unclosed = [rejection for rejection in found.rejected if "never closed" in rejection.reason]
        if unclosed:
            batch.refused[position] = unclosed[0].reason
            LOG.warning("%s: refused: %s; the other files go on", good[position].name, unclosed[0].reason)
            continue
        engine.add_rows(position, found.good)
        batch.rejected[position] = found.rejected
        if found.rejected:
            warn_rejected(config, good[position].name, found)
    return schema


def warn_rejected(config: Config, name: str, found: rows.Sorted) -> None:
    """Say in one line how many rows of a file were set aside and why the first was."""
    first, n_rejected = found.rejected[0], len(found.rejected)
    n_rows = n_rejected + len(found.good)
    why = f"{first.column} {first.reason}" if first.column else first.reason
    where = os.path.relpath(config.rejected_rows, config.root)
    LOG.warning(
        "%s: %s of %s rows rejected, first at line %s (%s); see %s",
        name, f"{n_rejected:,}", f"{n_rows:,}", f"{first.line:,}", why, where,
    )  # fmt: skip


def append(
    config: Config, ledger: Ledger, fresh: Path, facts: list[tuple[int, bool]]
) -> tuple[Ledger, list[tuple[int, bool]]]:
    """Append the rows of `fresh` that the table does not hold; return their facts too."""
    if not ledger.length:
        with fresh.open("rb") as handle:
            blocks = iter(lambda: handle.read(artifacts.BLOCK), b"")
            return table.grow(config.final_data, ledger, blocks), facts
    with fresh.open("rb") as handle:
        blocks = iter(lambda: handle.read(artifacts.BLOCK), b"")
        records = [record for part in table.split_records(blocks) for record in part]
    known = table.known_records(config.final_data, ledger, records)
    kept = [(record, fact) for record, fact in zip(records, facts, strict=True) if record not in known]
    ledger = table.grow(config.final_data, ledger, (record + b"\n" for record, _ in kept))
    return ledger, [fact for _, fact in kept]


def commit(config: Config, ledger: Ledger, batch: Batch, counts: Mapping[int, Sequence[int]]) -> Ledger:
    """Note what every file gave and put the ledger: the commit of the ingestion."""
    entries = []
    rejections = io.StringIO()
    writer = csv.writer(rejections, lineterminator="\n")
    if not ledger.rejected_length:
        writer.writerow(["file", "line", "column", "value", "reason"])
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
            writer.writerow([checked.name, "", "", "", refused])
        for found in rejected:
            writer.writerow([checked.name, found.line, found.column, found.value, found.reason])
    rejected_length = artifacts.append(
        config.rejected_rows, [rejections.getvalue().encode()], committed=ledger.rejected_length
    )
    ledger = dataclasses.replace(
        ledger,
        files=(*ledger.files, *entries),
        rejected_length=rejected_length,
        rows=ledger.rows + sum(entry.new for entry in entries),
        rows_unlabelled=ledger.rows_unlabelled + sum(entry.unlabelled for entry in entries),
    )
    artifacts.put_json(config.ledger, ledger.to_json())
    return ledger


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
