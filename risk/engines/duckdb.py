"""How is a table of any size read, checked and de-duplicated: in SQL, by DuckDB.

Everything is read as text; kinds are learned and checked by the rules of `dataset` said in SQL, never
by the reader's own casts (which take 2.5 for the whole number 3 without a word).
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from risk.data import csv_check, schema
from risk.data.csv_check import Checked
from risk.errors import StorageError
from risk.files import TEMPORARY

MAX_LINE = 8 * 1024 * 1024
MEMORY_MB, MB_PER_COLUMN = 600, 1  # beyond it tables spill to disk; ingestion never takes the machine
HASH_PARTS = 4
MAX_ROWS = 2**40
COLUMNS_AT_ONCE = 32  # planning a query takes time with the square of its columns
FILES_AT_ONCE = 200  # that are open at a time; a process may have some thousand
FACTS_AT_ONCE = 100_000
DESCRIPTORS = "/proc/self/fd"


@dataclass
class ColumnCounts:
    """How many cells of a column are filled, say missing in words, and are numbers."""

    filled: int = 0
    missing_words: int = 0
    numbers: int = 0


def literal(text: str) -> str:
    """Quote a text."""
    return "'" + text.replace("'", "''") + "'"


class Counts:
    """What both engines ask of a table `raw` of texts, in the SQL that both speak.

    `raw` has a column `file_no`, then the columns of the table as text, named c0, c1, … (identifiers know no
    case, column names do); NULL is missing. An engine says how it answers (`_ask`), and in `say` how it
    says of a cell what differs from the other.
    """

    say: Mapping[str, Callable[[str], str]]

    def __init__(self, columns: Sequence[str]) -> None:
        self.columns = list(columns)
        self._cells = [f"c{position}" for position in range(len(self.columns))]
        self._cell_of = dict(zip(self.columns, self._cells, strict=True))

    def _ask(self, sql: str) -> list[Any]:
        raise NotImplementedError

    def _count_cells(
        self, columns: Sequence[str], what: Sequence[str], here: str
    ) -> dict[int, dict[str, tuple[int, ...]]]:
        """Count the cells of some files that are `what`, by file and column."""
        result: dict[int, dict[str, tuple[int, ...]]] = {}
        for start in range(0, len(columns), COLUMNS_AT_ONCE):
            names = columns[start : start + COLUMNS_AT_ONCE]
            cells = [self._cell_of[name] for name in names]
            parts = (f"coalesce(count_if({self.say[w](cell)}), 0)" for cell in cells for w in what)
            sql = f"select file_no, {', '.join(parts)} from raw where {here} group by file_no"
            for number, *counts in self._ask(sql):
                of_file = result.setdefault(number, {})
                for i, name in enumerate(names):
                    of_file[name] = tuple(counts[len(what) * i : len(what) * (i + 1)])
        return result

    def count_rows(self) -> dict[int, int]:
        """Count the rows of each file."""
        return dict(self._ask("select file_no, count(*) from raw group by file_no"))

    def count_labels(self, target: str) -> dict[int, dict[str, int]]:
        """Count each filled label in lower case, by file."""
        result: dict[int, dict[str, int]] = {}
        for number, word, count in self._count_words(target):
            words = result.setdefault(number, {})
            words[word.lower()] = words.get(word.lower(), 0) + count
        return result

    def _count_words(self, column: str) -> list[Any]:
        cell = self._cell_of[column]
        return self._ask(f"select file_no, {cell}, count(*) from raw where {cell} is not null group by all")

    def count_labelled(self, target: str) -> dict[int, tuple[int, int]]:
        """Count the rows of each file, and those of them without a label."""
        sql = f"select file_no, count(*), count(*) - count({self._cell_of[target]}) from raw group by file_no"
        return {number: (count, missing) for number, count, missing in self._ask(sql)}


class Engine(Counts):
    """One DuckDB connection with its limits; `raw` is the table of what was read.

    `file_no` is the position in the list of files, `h` the hash of a row. DuckDB opens nothing but files of
    `reads` and `spill`, and those through handles of ours: no name from outside is ever a path, a pattern
    or a URL to it.
    """

    def __init__(
        self, columns: Sequence[str], spill: Path, memory_limit: str | None = None, *, reads: Path
    ) -> None:
        spill.mkdir(parents=True, exist_ok=True)
        settings: dict[str, Any] = {
            "temp_directory": str(spill / f"{TEMPORARY}duckdb"),
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "allow_community_extensions": "false",
        }
        settings["memory_limit"] = memory_limit or f"{max(MEMORY_MB, MB_PER_COLUMN * len(columns))}MB"
        super().__init__(columns)
        self.say = SAY
        self.connection = duckdb.connect(":memory:", config=settings)
        allowed = [f"{os.path.realpath(folder)}/" for folder in (spill, reads)]
        self._run(f"set allowed_directories = [{', '.join(map(literal, [f'{DESCRIPTORS}/', *allowed]))}]")
        self._run("set enable_external_access = false; set lock_configuration = true")
        self._counts: dict[int, dict[str, ColumnCounts]] = {}
        self._last_number = -1
        self._in_order = True
        listed = ", ".join(f"{cell} varchar" for cell in self._cells)
        self._hash = f"hash({', '.join(self._cells)})"
        self._run(f"create table raw (file_no integer, {listed}, h ubigint)")

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def _run(self, sql: str, values: Any = None) -> Any:
        with naming("these files"):
            return self.connection.execute(sql, values)

    def _ask(self, sql: str) -> list[Any]:
        answer: list[Any] = self._run(sql).fetchall()
        return answer

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
                    handle = opened.enter_context(csv_check.reopen(checked))
                    numbers[f"{DESCRIPTORS}/{handle.fileno()}"] = number
                except csv_check.ChangedError:
                    changed.add(number)
            kept = [(number, checked) for number, checked in files if number not in changed]
            return changed | (self._scan(kept, numbers) if kept else set())

    def _scan(self, files: Sequence[tuple[int, Checked]], numbers: dict[str, int]) -> set[int]:
        self._note_order([number for number, _ in files])
        header, separator = files[0][1].header, files[0][1].separator
        scanned = {f"c{position}": "VARCHAR" for position in range(len(header))}
        position_of = {name: f"c{position}" for position, name in enumerate(header)}
        values = [f"nullif({position_of[c]}, '')" if c in position_of else "null" for c in self.columns]
        cells = ", ".join(map("{} as {}".format, values, self._cells))
        arguments = ", ".join(
            [
                "[" + ", ".join(map(literal, numbers)) + "]",
                "columns = {" + ", ".join(f"{literal(c)}: 'VARCHAR'" for c in scanned) + "}",
                f"auto_detect = false, header = true, delim = {literal(separator)}",
                "compression = 'none', hive_partitioning = false",
                "quote = '\"', escape = '\"'",
                f"nullstr = '', filename = true, max_line_size = {MAX_LINE}",
            ]
        )
        try:
            self._run("begin")
            self._run(
                f"insert into raw select *, {self._hash} from "
                f"(select {self._number_of(numbers)}, {cells} from read_csv({arguments}))"
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
        found = self._count_cells(mixed, ["has_blank"], here) if mixed else {}
        blank = [name for name in mixed if any(of_file[name][0] for of_file in found.values())]
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
        """Find the files with a row that is empty or says nothing but the names of its columns."""
        pairs = zip(self._cells, self.columns, strict=True)
        said = " and ".join(f"({cell} is null or {cell} = {literal(name)})" for cell, name in pairs)
        return {
            number for (number,) in self._run(f"select distinct file_no from raw where {said}").fetchall()
        }

    def count_columns(self, columns: Sequence[str]) -> dict[int, dict[str, ColumnCounts]]:
        """Count filled cells, missing words and numbers, by file and column."""
        present = list(self.count_rows())
        new = [number for number in present if number not in self._counts]
        if new:
            self._count_numbers(self.columns, new)
        counts = {number: {name: self._counts[number][name] for name in columns} for number in present}
        mixed = {n for of_file in counts.values() for n, c in of_file.items() if c.numbers < c.filled}
        listed = [name for name in columns if name in mixed]
        for number, of_file in self._count_cells(listed, ["missing_word", "boolean"], "true").items():
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

    def row_facts(self, target: str) -> tuple[array[int], bytearray]:
        """Say of each row of `write` from which file it comes, and 1 where it has no label."""
        numbers, unlabelled = array("l"), bytearray()
        sql = f"select file_no, ({self._cell_of[target]} is null)::utinyint from raw {self._order()}"
        found = self._run(sql)
        while some := found.fetchmany(FACTS_AT_ONCE):
            here, missing = zip(*some, strict=True)
            numbers.extend(here)
            unlabelled.extend(missing)
        return numbers, unlabelled

    def _order(self) -> str:
        return "" if self._in_order else "order by file_no, rowid"


@contextlib.contextmanager
def naming(what: str) -> Iterator[None]:
    """Let DuckDB's errors say what is too large for its memory, and what the system has refused."""
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        raise StorageError(
            f"the memory limit is too small for {what}; raise engine.memory_limit in config.json"
        ) from error
    except duckdb.IOException as error:
        raise of_duckdb(error) from error


def of_duckdb(error: duckdb.IOException) -> Exception:
    """Give the error of the system that DuckDB tells of, so that it ends in the same words and exit code."""
    text = str(error).splitlines()[0]
    path = re.search('"(/[^"]*)"', text)
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO):
        if os.strerror(number) in text:
            return OSError(number, os.strerror(number), path and path[1])
    return StorageError(f"{text}; check the disk, then run again")


def trimmed(cell: str) -> str:
    """Say in SQL what `str.strip(BLANKS)` does."""
    return f"trim({cell}, {literal(csv_check.BLANKS)})"


def has_outer_blank(cell: str) -> str:
    """Say in SQL that trimming would change a cell."""
    blanks = ", ".join(str(ord(sign)) for sign in csv_check.BLANKS)
    return f"(unicode({cell}) in ({blanks}) or unicode(right({cell}, 1)) in ({blanks}))"


def is_number(cell: str) -> str:
    """Say in SQL what `dataset.parse_number` calls a number."""
    looks = f"regexp_full_match({cell}, {literal(schema.NUMBER_PATTERN)})"
    fits = f"coalesce(abs(try_cast({cell} as double)) <= {schema.LARGEST}, false)"
    # Dear to ask: most cells are settled by their first sign, or come back from a cast as they were.
    return (
        f"case when not ({cell} >= '+' and {cell} < ':') then false "
        f"when try_cast({cell} as uinteger)::varchar = {cell} then true else {looks} and {fits} end"
    )


def is_word(cell: str, words: Iterable[str]) -> str:
    """Say in SQL that a cell is one of some words, in any case."""
    return f"lower({cell}) in ({', '.join(map(literal, words))})"


SAY: dict[str, Callable[[str], str]] = {
    "filled": lambda cell: f"{cell} is not null",
    "number": is_number,
    "has_blank": has_outer_blank,
    "missing_word": lambda cell: is_word(cell, schema.MISSING_WORDS),
    "boolean": lambda cell: is_word(cell, schema.BOOLEAN_WORDS),
}
