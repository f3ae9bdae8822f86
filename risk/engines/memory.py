"""The engine in memory: few rows, read one by one in less time than another engine takes to load.

Standard library only; a property test holds it to what DuckDB gives.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from risk import files
from risk.data.schema import MISSING_WORDS, parse_number
from risk.data.schema_inference import ColumnCounts
from risk.data.table_writer import RowFacts
from risk.engines import loading
from risk.engines.base import Engine, EngineSettings
from risk.text import render_csv_row

if TYPE_CHECKING:
    from risk.data.input_batch import InputBatch
    from risk.data.schema import Schema

Cells = tuple[str, ...]


class MemoryEngine(Engine):
    """The rows of some files by number, as text; empty is missing."""

    def __init__(self, columns: Sequence[str]) -> None:
        self.columns = list(columns)
        self._rows: dict[int, list[Cells]] = {}

    @classmethod
    def open(cls, _: EngineSettings, columns: Sequence[str]) -> MemoryEngine:
        return cls(columns)

    def __exit__(self, *_: object) -> None:
        self._rows.clear()

    def load(self, batch: InputBatch, schema: Schema | None) -> Schema | None:
        """Load the good rows, all read one by one."""
        return loading.load_with_exact_rows(self, batch, {*batch.good}, schema)

    def add_rows(self, number: int, rows: Sequence[Mapping[str, str]]) -> None:
        """Add good rows of a file, by column name; empty is missing."""
        present = self._rows.setdefault(number, [])
        present += (tuple(row[name] for name in self.columns) for row in rows)

    def drop_files(self, numbers: set[int]) -> None:
        """Drop the rows of some files."""
        for number in numbers:
            self._rows.pop(number, None)

    def count_rows(self) -> dict[int, int]:
        """Count the rows of each file."""
        return {number: len(rows) for number, rows in self._rows.items() if rows}

    def count_columns(self, columns: Sequence[str]) -> dict[int, dict[str, ColumnCounts]]:
        """Count filled cells, words for missing and numbers, by file and column."""
        places = {name: self.columns.index(name) for name in columns}
        return {
            number: {name: _count_cells(row[place] for row in rows) for name, place in places.items()}
            for number, rows in self._rows.items()
            if rows
        }

    def count_labels(self, target: str) -> dict[int, dict[str, int]]:
        """Count each label in lower case, by file."""
        place = self.columns.index(target)
        labels = {
            number: dict(Counter(row[place].lower() for row in rows if row[place]))
            for number, rows in self._rows.items()
        }
        return {number: counts for number, counts in labels.items() if counts}

    def count_labelled(self, target: str) -> dict[int, tuple[int, int]]:
        """Count the rows of each file, and those of them without a label."""
        place = self.columns.index(target)
        return {
            number: (len(rows), sum(not row[place] for row in rows))
            for number, rows in self._rows.items()
            if rows
        }

    def deduplicate(self) -> None:
        """Drop every row that is equal to an earlier one."""
        seen = set[Cells]()
        for number in sorted(self._rows):
            fresh = list(dict.fromkeys(row for row in self._rows[number] if row not in seen))
            self._rows[number] = fresh
            seen.update(fresh)

    def write(self, path: Path) -> None:
        """Write the rows in order, as they stand in the table, without a header."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with files.naming(path), path.open("wb") as handle:
            handle.writelines(render_csv_row(row, quote_hash=True).encode() for _, row in self._in_order())

    def row_facts(self, target: str) -> RowFacts:
        """Name the file of each row of `write`, and whether it lacks a label."""
        place = self.columns.index(target)
        numbers = array("l", (number for number, _ in self._in_order()))
        return RowFacts(numbers, bytearray(not row[place] for _, row in self._in_order()))

    def _in_order(self) -> Iterator[tuple[int, Cells]]:
        return ((number, row) for number in sorted(self._rows) for row in self._rows[number])


def _count_cells(cells: Iterable[str]) -> ColumnCounts:
    n_filled = n_words = n_numbers = 0
    for cell in filter(None, cells):
        n_filled += 1
        if cell.lower() in MISSING_WORDS:
            n_words += 1
        else:
            n_numbers += parse_number(cell) is not None
    return ColumnCounts(n_filled, n_words, n_numbers)
