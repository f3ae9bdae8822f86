"""The DuckDB engine: reading, checking and de-duplicating rows in SQL, spilling what memory cannot hold.

Everything is read as text; kinds are learned and checked by the rules of `risk.data.schema` in SQL, never
by the reader's own casts (which take 2.5 for the whole number 3 without a word).
"""

from __future__ import annotations

import contextlib
import os
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from risk.data import csv_check
from risk.data.csv_check import Checked
from risk.data.schema_inference import ColumnCounts
from risk.data.table_writer import RowFacts
from risk.engines import loading
from risk.engines.base import EngineSettings
from risk.engines.duckdb_session import DESCRIPTORS, connect, name_of, scan_csv, translate_errors
from risk.engines.sql import SqlEngine, has_outer_blank, literal, trimmed
from risk.limits import Room

if TYPE_CHECKING:
    from risk.data.input_batch import InputBatch
    from risk.data.schema import Schema

MEMORY_MB = 600  # beyond it tables spill to disk; ingestion never takes the machine
HASH_PARTS = 4
MAX_ROWS = 2**40
FILES_AT_ONCE = 200  # that are open at a time; a process may have some thousand
FACTS_AT_ONCE = 100_000


class DuckDBEngine(SqlEngine):
    """One DuckDB connection with its limits; `raw` is the table of what was read.

    `file_no` is the number of a file, `h` the hash of a row. DuckDB opens nothing but files of `reads` and
    of the spill folder, and those through handles of ours.
    """

    def __init__(self, columns: Sequence[str], room: Room, *, reads: Path) -> None:
        super().__init__(columns)
        self.connection = connect(room, len(columns), MEMORY_MB)
        allowed = [f"{os.path.realpath(folder)}/" for folder in (room.spill, reads)]
        self._run(f"set allowed_directories = [{', '.join(map(literal, [f'{DESCRIPTORS}/', *allowed]))}]")
        self._run("set enable_external_access = false; set lock_configuration = true")
        self._counts: dict[int, dict[str, ColumnCounts]] = {}
        self._last_number = -1
        self._in_order = True
        listed = ", ".join(f"{cell} varchar" for cell in self._cells)
        self._hash = f"hash({', '.join(self._cells)})"
        self._run(f"create table raw (file_no integer, {listed}, h ubigint)")

    @classmethod
    def open(cls, settings: EngineSettings, columns: Sequence[str]) -> DuckDBEngine:
        return cls(columns, settings.room, reads=settings.input_folder)

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def _run(self, sql: str, values: Any = None) -> Any:
        with translate_errors("these files"):
            return self.connection.execute(sql, values)

    def _query(self, sql: str) -> list[Any]:
        answer: list[Any] = self._run(sql).fetchall()
        return answer

    def load(self, batch: InputBatch, schema: Schema | None) -> Schema | None:
        """Load the good rows, fast where nothing in a file is odd."""
        good = batch.good
        odd = {number for number, checked in good.items() if checked.odd}
        groups: dict[tuple[tuple[str, ...], str], list[tuple[int, Checked]]] = {}
        for number, checked in good.items():
            if number not in odd:
                groups.setdefault((checked.header, checked.separator), []).append((number, checked))
        for group in groups.values():
            odd |= self.read(group)
        odd |= self.find_shapeless()
        self.drop_files(odd)
        return loading.load_with_exact_rows(self, batch, odd, schema)

    def read(self, files: Sequence[tuple[int, Checked]]) -> set[int]:
        """Read files of one header and separator in one scan.

        Returns
        -------
        odd : set of int
            Numbers of files with a line that is no row, or that changed since they were checked: their
            rows are not to be used.
        """
        if len(files) > FILES_AT_ONCE:
            return self.read(files[:FILES_AT_ONCE]) | self.read(files[FILES_AT_ONCE:])
        changed, numbers = set(), dict[str, int]()
        with contextlib.ExitStack() as opened:
            for number, checked in files:
                try:
                    numbers[name_of(opened.enter_context(csv_check.reopen(checked)))] = number
                except csv_check.ChangedError:
                    changed.add(number)
            same = [(number, checked) for number, checked in files if number not in changed]
            return changed | (self._scan(same, numbers) if same else set())

    def _scan(self, files: Sequence[tuple[int, Checked]], numbers: dict[str, int]) -> set[int]:
        self._note_order([number for number, _ in files])
        header = files[0][1].header
        cell_of = {name: f"nullif(c{position}, '')" for position, name in enumerate(header)}
        pairs = zip(self.columns, self._cells, strict=True)
        cells = ", ".join(f"{cell_of.get(name, 'null')} as {cell}" for name, cell in pairs)
        source = scan_csv(numbers, len(header), files[0][1].separator, "filename = true")
        try:
            self._run("begin")
            self._run(
                f"insert into raw select *, {self._hash} from "
                f"(select {self._number_of(numbers)}, {cells} from {source})"
            )
            self._run("commit")
        except duckdb.InvalidInputException:
            # Not asked to go on and list what is wrong: with the cells of one row its time grows squared.
            self._run("rollback")
            return set(numbers.values()) if len(files) == 1 else set().union(*(self.read([f]) for f in files))
        self._trim(list(numbers.values()))
        return set()

    def _note_order(self, numbers: Sequence[int]) -> None:
        self._in_order &= numbers[0] >= self._last_number and list(numbers) == sorted(numbers)
        self._last_number = max(self._last_number, *numbers)

    def _number_of(self, numbers: dict[str, int]) -> str:
        """Turn the file name of a row into its number; an enum makes the look-up a small integer."""
        if len(numbers) == 1:
            return str(next(iter(numbers.values())))
        listed = ", ".join(map(literal, numbers))
        self._run(f"drop type if exists source_file; create type source_file as enum ({listed})")
        array = "[" + ", ".join(map(str, numbers.values())) + "]"
        return f"{array}[enum_code(filename::source_file) + 1]"

    def _trim(self, numbers: Sequence[int]) -> None:
        """Trim the cells that have outer blanks.

        Looking for them first is cheaper than trimming all, and a column of numbers has none.
        """
        here = f"file_no in ({', '.join(map(str, numbers))})"
        mixed = self._count_numbers(self.columns, numbers)
        counts = self._count_cells(mixed, ["has_blank"], here) if mixed else {}
        blank = [name for name in mixed if any(of_file[name][0] for of_file in counts.values())]
        for name in blank:
            cell = self._cell_of[name]
            trimmed_cell = f"nullif({trimmed(cell)}, '')"
            self._run(f"update raw set {cell} = {trimmed_cell} where {here} and {has_outer_blank(cell)}")
        if blank:
            self._run(f"update raw set h = {self._hash} where {here}")
            self._count_numbers(blank, numbers)

    def _count_numbers(self, columns: Sequence[str], numbers: Sequence[int]) -> list[str]:
        """Count filled cells and numbers, by file and column; return the columns with other cells."""
        here = f"file_no in ({', '.join(map(str, numbers))})"
        mixed = set()
        for number, of_file in self._count_cells(columns, ["filled", "number"], here).items():
            for name, (n_filled, n_numbers) in of_file.items():
                self._counts.setdefault(number, {})[name] = ColumnCounts(n_filled, 0, n_numbers)
                if n_numbers < n_filled:
                    mixed.add(name)
        return [name for name in columns if name in mixed]

    def add_rows(self, number: int, rows: Sequence[Mapping[str, str]]) -> None:
        """Add the rows that the exact reader took from a file."""
        self._counts.pop(number, None)
        self._note_order([number])
        lists = [[row[name] or None for row in rows] for name in self.columns]
        cells = ", ".join(f"unnest(?::varchar[]) as {cell}" for cell in self._cells)
        self._run(f"insert into raw select {number}, *, {self._hash} from (select {cells})", lists)

    def drop_files(self, numbers: set[int]) -> None:
        """Forget the rows of files that the exact reader reads instead."""
        for number in numbers:
            self._counts.pop(number, None)
        if numbers:
            self._run(f"delete from raw where file_no in ({', '.join(map(str, numbers))})")

    def find_shapeless(self) -> set[int]:
        """Find the files with a row that is empty, or that holds nothing but the names of its columns."""
        pairs = zip(self._cells, self.columns, strict=True)
        shapeless = " and ".join(f"({cell} is null or {cell} = {literal(name)})" for cell, name in pairs)
        return {number for (number,) in self._query(f"select distinct file_no from raw where {shapeless}")}

    def count_columns(self, columns: Sequence[str]) -> dict[int, dict[str, ColumnCounts]]:
        """Count filled cells, missing words and numbers, by file and column."""
        present = list(self.count_rows())
        new = [number for number in present if number not in self._counts]
        if new:
            self._count_numbers(self.columns, new)
        counts = {number: {name: self._counts[number][name] for name in columns} for number in present}
        mixed = {n for of_file in counts.values() for n, c in of_file.items() if c.numbers < c.filled}
        listed = [name for name in columns if name in mixed]
        for number, of_file in self._count_cells(listed, ["missing_word", "boolean"]).items():
            for name, (n_words, n_booleans) in of_file.items():
                known = counts[number][name]
                counts[number][name] = ColumnCounts(known.filled, n_words, known.numbers + n_booleans)
        return counts

    def deduplicate(self) -> None:
        """Keep the first arrival of every row, in order.

        The hash only narrows, equality decides: exact. Hashes are counted in parts, for memory.
        """
        self._run("create or replace temp table suspects (h ubigint)")
        for part in range(HASH_PARTS):
            here = f"where h % {HASH_PARTS} = {part}"
            self._run(f"insert into suspects select h from raw {here} group by h having count(*) > 1")
        arrival = f"file_no::bigint * {MAX_ROWS} + raw.rowid"
        self._run(
            f"delete from raw where h in (select h from suspects) and {arrival} not in "
            f"(select min({arrival}) from raw semi join suspects using (h) "
            f"group by h, {', '.join(self._cells)})"
        )

    def write(self, path: Path) -> None:
        """Write the rows as CSV in the one dialect of the table: commas, LF, least quoting, no header."""
        listed = ", ".join(self._cells)
        self._run(
            f"copy (select {listed} from raw {self._order()}) to {literal(str(path))} "
            "(format csv, header false, use_tmp_file false)"
        )

    def row_facts(self, target: str) -> RowFacts:
        """Name the file of each row of `write`, and whether it lacks a label."""
        numbers, unlabelled = array("l"), bytearray()
        sql = f"select file_no, ({self._cell_of[target]} is null)::utinyint from raw {self._order()}"
        result = self._run(sql)
        while rows := result.fetchmany(FACTS_AT_ONCE):
            here, missing = zip(*rows, strict=True)
            numbers.extend(here)
            unlabelled.extend(missing)
        return RowFacts(numbers, unlabelled)

    def _order(self) -> str:
        return "" if self._in_order else "order by file_no, rowid"
