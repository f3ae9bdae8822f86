"""SQL that the engines share: the rules of cells as expressions, and counts of a table of texts.

The rules stand once in Python (`risk.data.schema`, `risk.data.csv_check`); property tests hold these
expressions to them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from risk.data import csv_check, schema
from risk.data.schema_inference import ColumnCounts
from risk.engines.base import Engine

COLUMNS_AT_ONCE = 32  # planning a query takes time with the square of its columns


def literal(text: str) -> str:
    """Quote a text."""
    return "'" + text.replace("'", "''") + "'"


def trimmed(cell: str) -> str:
    """Give the SQL of `str.strip(BLANKS)`."""
    return f"trim({cell}, {literal(csv_check.BLANKS)})"


def has_outer_blank(cell: str) -> str:
    """Give the SQL of whether trimming would change a cell."""
    blanks = ", ".join(str(ord(sign)) for sign in csv_check.BLANKS)
    return f"(unicode({cell}) in ({blanks}) or unicode(right({cell}, 1)) in ({blanks}))"


def is_number(cell: str) -> str:
    """Give the SQL of whether `schema.parse_number` reads a cell as a number, words apart."""
    looks = f"regexp_full_match({cell}, {literal(schema.NUMBER_PATTERN)})"
    fits = f"coalesce(abs(try_cast({cell} as double)) <= {schema.LARGEST}, false)"
    # Dear to ask: most cells are settled by their first sign, or come back from a cast as they were.
    return (
        f"case when not ({cell} >= '+' and {cell} < ':') then false "
        f"when try_cast({cell} as uinteger)::varchar = {cell} then true else {looks} and {fits} end"
    )


def is_word(cell: str, words: Iterable[str]) -> str:
    """Give the SQL of whether a cell is one of some words, in any case."""
    return f"lower({cell}) in ({', '.join(map(literal, words))})"


CONDITIONS: dict[str, Callable[[str], str]] = {
    "filled": lambda cell: f"{cell} is not null",
    "number": is_number,
    "has_blank": has_outer_blank,
    "missing_word": lambda cell: is_word(cell, schema.MISSING_WORDS),
    "boolean": lambda cell: is_word(cell, schema.BOOLEAN_WORDS),
}


class SqlEngine(Engine):
    """An engine that holds a table `raw` of texts and is asked in SQL.

    `raw` has a column `file_no`, then the columns of the table as text, named c0, c1, … (identifiers know no
    case, column names do); NULL is missing. `conditions` gives what is counted of cells in the SQL of the
    engine.
    """

    conditions: ClassVar[Mapping[str, Callable[[str], str]]] = CONDITIONS

    def __init__(self, columns: Sequence[str]) -> None:
        self.columns = list(columns)
        self._cells = [f"c{position}" for position in range(len(self.columns))]
        self._cell_of = dict(zip(self.columns, self._cells, strict=True))

    @abstractmethod
    def _query(self, sql: str) -> list[Any]:
        """Give the rows of a query."""

    def _count_cells(
        self, columns: Sequence[str], names: Sequence[str], where: str = "true"
    ) -> dict[int, dict[str, tuple[int, ...]]]:
        """Count the cells that fulfil each named condition, by file and column."""
        result: dict[int, dict[str, tuple[int, ...]]] = {}
        for start in range(0, len(columns), COLUMNS_AT_ONCE):
            some = columns[start : start + COLUMNS_AT_ONCE]
            cells = [self._cell_of[column] for column in some]
            counts = (f"coalesce(count_if({self.conditions[n](cell)}), 0)" for cell in cells for n in names)
            sql = f"select file_no, {', '.join(counts)} from raw where {where} group by file_no"
            for number, *row in self._query(sql):
                of_file = result.setdefault(number, {})
                for i, column in enumerate(some):
                    of_file[column] = tuple(row[len(names) * i : len(names) * (i + 1)])
        return result

    def count_rows(self) -> dict[int, int]:
        """Count the rows of each file."""
        return dict(self._query("select file_no, count(*) from raw group by file_no"))

    def count_columns(self, columns: Sequence[str]) -> dict[int, dict[str, ColumnCounts]]:
        """Count filled cells, words for missing and numbers, by file and column."""
        names = ["filled", "missing_word", "boolean", "number"]
        return {
            number: {
                column: ColumnCounts(filled, words, booleans + numbers)
                for column, (filled, words, booleans, numbers) in of_file.items()
            }
            for number, of_file in self._count_cells(columns, names).items()
        }

    def count_labels(self, target: str) -> dict[int, dict[str, int]]:
        """Count each label in lower case, by file."""
        result: dict[int, dict[str, int]] = {}
        for number, word, count in self._count_words(target):
            words = result.setdefault(number, {})
            words[word.lower()] = words.get(word.lower(), 0) + count
        return result

    def _count_words(self, column: str) -> list[Any]:
        cell = self._cell_of[column]
        return self._query(f"select file_no, {cell}, count(*) from raw where {cell} is not null group by all")

    def count_labelled(self, target: str) -> dict[int, tuple[int, int]]:
        """Count the rows of each file, and those of them without a label."""
        sql = f"select file_no, count(*), count(*) - count({self._cell_of[target]}) from raw group by file_no"
        return {number: (count, missing) for number, count, missing in self._query(sql)}
