"""How are a few rows de-duplicated and written, without an engine?

What `engine` does of rows that the exact reader took, for batches so small that loading DuckDB would take
longer than the work. Standard library only; a property test holds the two together.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from risk import files

QUOTED = set(',"\r\n#')  # what DuckDB quotes: rows of the table have one spelling
SELDOM = QUOTED - {","}
Cells = tuple[str, ...]


def render_row(cells: Cells) -> bytes:
    """Render a row as DuckDB writes it."""
    line = ",".join(cells)
    if line.count(",") == len(cells) - 1 and SELDOM.isdisjoint(line):
        return f"{line}\n".encode()
    return (
        ",".join('"' + c.replace('"', '""') + '"' if QUOTED & set(c) else c for c in cells) + "\n"
    ).encode()


class Shelf:
    """The rows of some files by number, as text; empty is missing."""

    def __init__(self, columns: Sequence[str]) -> None:
        self.columns = list(columns)
        self._rows: dict[int, list[Cells]] = {}

    def __enter__(self) -> Shelf:
        return self

    def __exit__(self, *_: object) -> None:
        self._rows.clear()

    def add_rows(self, number: int, rows: Sequence[Mapping[str, str]]) -> None:
        """Add the rows that the exact reader took from a file."""
        kept = self._rows.setdefault(number, [])
        kept += (tuple(row[name] for name in self.columns) for row in rows)

    def drop_files(self, numbers: set[int]) -> None:
        """Forget the rows of some files."""
        for number in numbers:
            self._rows.pop(number, None)

    def count_rows(self) -> dict[int, int]:
        """Count the rows of each file."""
        return {number: len(rows) for number, rows in self._rows.items() if rows}

    def deduplicate(self) -> None:
        """Keep the first arrival of every row, in order."""
        seen = set[Cells]()
        for number in sorted(self._rows):
            kept = list(dict.fromkeys(row for row in self._rows[number] if row not in seen))
            self._rows[number] = kept
            seen.update(kept)

    def write(self, path: Path) -> None:
        """Write the rows in the one dialect of the table, no header."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with files.naming(path), path.open("wb") as handle:
            handle.writelines(render_row(row) for _, row in self._in_order())

    def count_labelled(self, target: str) -> dict[int, tuple[int, int]]:
        """Count the rows of each file, and those of them without a label."""
        place, n_rows, n_unlabelled = self.columns.index(target), Counter[int](), Counter[int]()
        for number, row in self._in_order():
            n_rows[number] += 1
            n_unlabelled[number] += not row[place]
        return {number: (count, n_unlabelled[number]) for number, count in n_rows.items()}

    def row_facts(self, target: str) -> tuple[array[int], bytearray]:
        """Say of each row of `write` from which file it comes, and 1 where it has no label."""
        place = self.columns.index(target)
        numbers = array("l", (number for number, _ in self._in_order()))
        return numbers, bytearray(not row[place] for _, row in self._in_order())

    def _in_order(self) -> Iterator[tuple[int, Cells]]:
        return ((number, row) for number in sorted(self._rows) for row in self._rows[number])
