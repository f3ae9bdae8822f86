"""The rules of cells and rows as expressions of Spark's SQL.

Those that Spark shares with DuckDB are in `risk.engines.sql`; property tests hold both to the rules in
Python.
"""

from __future__ import annotations

from collections.abc import Sequence

from risk.data.schema import BOOLEAN_WORDS, LARGEST, NUMBER_PATTERN


def literal(text: str) -> str:
    """Quote a text; Spark reads escapes in it, and before that puts a value for each ${name} in its SQL."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("$", "\\u0024") + "'"


def double(value: float) -> str:
    """Write a double; as text it reads back equal."""
    return f"{value!r}D"


def is_number(cell: str) -> str:
    """Give the SQL of whether `schema.parse_number` reads a cell as a number, words apart."""
    looks = f"{cell} rlike {literal(f'^({NUMBER_PATTERN})' + chr(92) + 'z')}"
    fits = f"abs(try_cast({cell} as double)) <= {LARGEST}"
    return f"coalesce(case when {looks} then {fits} else false end, false)"


def number_of(cell: str) -> str:
    """Give the SQL of the number in a checked cell; missing is null."""
    words = " ".join(f"when {literal(word)} then {value}D" for word, value in BOOLEAN_WORDS.items())
    return (
        f"case when {is_number(cell)} then try_cast({cell} as double) else case lower({cell}) {words} end end"
    )


def line_of(cells: Sequence[str]) -> str:
    """Give the SQL of a row as `text.render_csv_row` renders it for the table."""
    special = literal('[,"#\r\n]')
    rendered = (
        f"case when {cell} is null then '' when {cell} rlike {special} "
        f"then concat('\"', replace({cell}, '\"', '\"\"'), '\"') else {cell} end"
        for cell in cells
    )
    return f"concat_ws(',', {', '.join(rendered)})"


def slot_of(number: str, grid: Sequence[float], first: int = 0) -> str:
    """Give the SQL of a place among ascending numbers: 2 k + 1 at the k-th from 0, 2 k before it."""
    if not grid:
        return str(2 * first)
    k = len(grid) // 2
    value, place = double(grid[k]), first + k
    lower, upper = slot_of(number, grid[:k], first), slot_of(number, grid[k + 1 :], place + 1)
    at = f"when {number} = {value} then {2 * place + 1}"
    return f"case when {number} < {value} then {lower} {at} else {upper} end"
