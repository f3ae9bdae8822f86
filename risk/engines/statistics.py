"""Statistics of the columns of the compiled table, exact and in memory that does not grow with it.

DuckDB sorts and counts the distinct values of each number column (it spills); they pass here once, in order.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from risk.data import profiles as profiles_
from risk.data.ledger import Ledger
from risk.data.profiles import Counts, Profile
from risk.engines import frame_reader, table_reader
from risk.engines.base import Description, EngineSettings, StoredTable
from risk.engines.table_reader import Source, Taken
from risk.limits import Room

COLUMNS_AT_ONCE = 32
STATISTICS = ("mean", "median", "mode", "std", "min", "max")


class _Moments(NamedTuple):
    """How many values there were, their mean, and the sum of squares about it."""

    n: int
    mean: np.longdouble
    squares: np.longdouble

    def add(self, values: np.ndarray, counts: np.ndarray) -> _Moments:
        """Add values.

        Parameters
        ----------
        values, counts : ndarray of shape (n_distinct,)
            As long doubles, and how often each occurs.
        """
        n_here = int(counts.sum())
        here, n = (values * counts).sum() / n_here, self.n + n_here
        gap = here - self.mean
        squares = ((values - here) ** 2 * counts).sum() + gap**2 * self.n * n_here / n
        return _Moments(n, self.mean + gap * n_here / n, self.squares + squares)


def compute_statistics(
    parts: Iterable[tuple[np.ndarray, np.ndarray]], n: int
) -> dict[str, float | int | None]:
    """Describe one numeric column.

    Parameters
    ----------
    parts : iterable of (ndarray, ndarray)
        Distinct values in ascending order, and how often each occurs; missing ones are not among them.
    n : int
        How many values there are in all.

    Returns
    -------
    statistics : dict
        n, mean, median, mode (the smallest of the most frequent), std (ddof 1), min, max; None where
        it is not defined (no value; std of one value) or no finite double.

    References
    ----------
    .. [1] T. F. Chan, G. H. Golub, R. J. LeVeque, "Algorithms for Computing the Sample Variance", The
       American Statistician 37 (1983), pp. 242-247.
    """
    if not n:
        return {"n": 0, **dict.fromkeys(STATISTICS)}
    middle, most, mode, lowest, highest = list[float](), 0, math.nan, math.nan, math.nan
    moments = _Moments(0, np.longdouble(0), np.longdouble(0))
    with np.errstate(over="ignore", invalid="ignore"):
        for values, counts in parts:
            ends = moments.n + np.cumsum(counts)
            places = [place for place in ((n - 1) // 2, n // 2) if moments.n <= place < ends[-1]]
            middle += values[np.searchsorted(ends, places, "right")].tolist()
            if counts.max() > most:
                most, mode = int(counts.max()), float(values[counts.argmax()])
            lowest, highest = (lowest if moments.n else float(values[0])), float(values[-1])
            moments = moments.add(values.astype(np.longdouble), counts)
        std = float(np.sqrt(moments.squares / (n - 1))) if n > 1 else math.nan
        figures = float(moments.mean), (middle[0] + middle[1]) / 2, mode, std, lowest, highest
    named = zip(STATISTICS, figures, strict=True)
    return {"n": n, **{name: value if math.isfinite(value) else None for name, value in named}}


class DuckDBTable(StoredTable):
    """The compiled table, of which DuckDB counts the distinct values of each number column."""

    def __init__(self, room: Room, data: Path, ledger: Ledger, *, start: int = 0) -> None:
        self._room, self._data, self._ledger, self._start = room, data, ledger, start

    @classmethod
    def open(cls, settings: EngineSettings, data: Path, ledger: Ledger, *, start: int = 0) -> DuckDBTable:
        return cls(settings.room, data, ledger, start=start)

    def __exit__(self, *_: object) -> None:
        pass

    def describe(self, *, columns_at_once: int = COLUMNS_AT_ONCE) -> Description:
        """Describe the columns; the table is read once for every 32 of them."""
        statistics, filled = {}, dict[str, int]()
        with table_reader.open_table(self._data, self._ledger, self._room, start=self._start) as source:
            columns = [*source.cells]
            for start in range(0, len(columns), columns_at_once):
                names = columns[start : start + columns_at_once]
                filled |= _keep_cells(source, names)
                for name in source.schema.numbers:
                    if name in names:
                        statistics[name] = compute_statistics(_count_values(source, name), filled[name])
            n_rows = source.count() if self._start else self._ledger.rows
        missing = {
            name: {"count": n_rows - n, "percent": 100 * (n_rows - n) / n_rows if n_rows else 0.0}
            for name, n in filled.items()
        }
        return Description({name: statistics[name] for name in source.schema.numbers}, missing)

    def count_by(self, profiles: Mapping[str, Profile], taken: Taken) -> dict[str, Counts]:
        """Count the rows that were taken by the profile of each column."""
        return profiles_.count_columns(profiles, taken.X)


def _keep_cells(source: Source, names: Iterable[str]) -> dict[str, int]:
    """Put the numbers of some columns into `kept`; count the filled cells of each."""
    cells = {
        name: f"nullif({frame_reader.number_of(cell)}, 'nan'::double)"  # the word nan is a cast's NaN
        if name in source.schema.numbers
        else f"case when {cell} is not null then true end"
        for name, cell in source.cells.items()
        if name in names
    }
    listed = ", ".join(f"{sql} as {source.cells[name]}" for name, sql in cells.items())
    source.connection.execute(f"create or replace temp table kept as select {listed} from ({source.rows})")
    counts = ", ".join(f"count({source.cells[name]})" for name in cells)
    (row,) = source.connection.execute(f"select {counts} from kept").fetchall()
    return dict(zip(cells, row, strict=True))


def _count_values(source: Source, name: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Give the distinct values of a kept column in ascending order, and how often each occurs."""
    cell = source.cells[name]
    result = source.connection.execute(
        f"select {cell} + 0.0 as v, count(*) as n from kept where {cell} is not null group by v order by v"
    )
    while len(chunk := result.fetch_df_chunk(frame_reader.VECTORS)):
        yield chunk["v"].to_numpy(), chunk["n"].to_numpy()
