"""The compiled table on a Spark cluster: what its columns hold, and how they compare to their profiles."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from risk.data import profiles as profiles_
from risk.data.ledger import Ledger
from risk.data.profiles import Counts, NumberCounts, NumberProfile, Profile, TextCounts, TextProfile
from risk.data.schema import Schema
from risk.engines import partitions, spark_session
from risk.engines.base import Description, EngineSettings, Statistics, StoredTable
from risk.engines.partitions import PART_BYTES
from risk.engines.spark import SparkViews
from risk.engines.spark_session import Cluster
from risk.engines.spark_sql import double, literal, number_of, slot_of
from risk.engines.sql import COLUMNS_AT_ONCE
from risk.errors import ArtifactError

if TYPE_CHECKING:
    from risk.engines.table_reader import Taken

AROUND_MEDIAN = (0.499, 0.501)
ACCURACY = 10_000  # of the quantiles that only bracket a median
MOST_UNSEEN = 100_000  # new categories of a column that are counted one by one


class _Sums(NamedTuple):
    """A number column: its cells with a number, their mean, ends, and a bracket of their median."""

    n: int
    mean: float | None
    least: float
    most: float
    around: Sequence[float]


class SparkTable(StoredTable):
    """Rows of the compiled table as the view `raw`."""

    def __init__(
        self,
        cluster: Cluster,
        data: Path,
        ledger: Ledger,
        *,
        start: int = 0,
        part_bytes: int = PART_BYTES,
        most_unseen: int = MOST_UNSEEN,
    ) -> None:
        self._schema = Schema.from_json(ledger.schema or {})
        self._data, self._ledger, self._start = data, ledger, start
        self._most_unseen = most_unseen
        self._cell_of = {name: f"c{position}" for position, name in enumerate(self._schema.columns)}
        self._views = SparkViews(cluster)
        one_line_each = ledger.lines == ledger.rows + 1
        parts = partitions.cut_table(
            data,
            ledger.length,
            self._schema.columns,
            one_line_each=one_line_each,
            start=start,
            part_bytes=part_bytes,
        )
        self._views.read_parts(parts, self._schema.columns, part_bytes)
        self._query("create or replace temp view raw as select * from arrived where problem is null")

    @classmethod
    def open(cls, settings: EngineSettings, data: Path, ledger: Ledger, *, start: int = 0) -> SparkTable:
        return cls(spark_session.connect_proven(settings), data, ledger, start=start)

    def __exit__(self, *_: object) -> None:
        self._views.forget()

    def _query(self, statement: str) -> list[Any]:
        return self._views.query(statement)

    def _count_rows(self, n_wanted: int | None) -> int:
        """Count all rows, and make sure that there are as many as there must be."""
        ((n_rows,),) = self._query("select count(*) from raw")
        if n_wanted is not None and n_wanted != n_rows:
            raise ArtifactError(
                f"{self._data}: was modified outside this pipeline; run ingestion.py --rebuild"
            )
        return int(n_rows)

    # --- what the columns hold ---------------------------------------------------------------------------

    def describe(self) -> Description:
        """Describe every number column, and count the missing cells of all."""
        n_rows, counts = self.count_missing()
        missing: dict[str, dict[str, float | int]] = {
            name: {"count": count, "percent": 100 * count / n_rows if n_rows else 0.0}
            for name, count in counts.items()
        }
        return Description(self.describe_numbers(), missing)

    def count_missing(self) -> tuple[int, dict[str, int]]:
        """Count all rows, and the missing cells of every column."""
        numbers, columns = set(self._schema.numbers), self._schema.columns
        filled: dict[str, int] = {}
        for start in range(0, len(columns), COLUMNS_AT_ONCE):
            names = columns[start : start + COLUMNS_AT_ONCE]
            cells = {name: self._cell_of[name] for name in names}
            values = (number_of(cell) if name in numbers else cell for name, cell in cells.items())
            (counts,) = self._query(f"select {', '.join(f'count({value})' for value in values)} from raw")
            filled |= zip(names, counts, strict=True)
        n_rows = self._count_rows(None if self._start else self._ledger.rows)
        return n_rows, {name: n_rows - count for name, count in filled.items()}

    def describe_numbers(self) -> Statistics:
        """Describe every number column as `statistics.compute_statistics` does."""
        statistics: Statistics = {}
        for start in range(0, len(self._schema.numbers), COLUMNS_AT_ONCE):
            names = self._schema.numbers[start : start + COLUMNS_AT_ONCE]
            sums = self._sum_up(names)
            spread = self._spread([of_column.mean for of_column in sums])
            for k, name in enumerate(names):
                statistics[name] = self._describe(f"d{k}", sums[k], *spread[k])
        return statistics

    def _sum_up(self, names: Sequence[str]) -> list[_Sums]:
        """Sum up number columns; the view `numbers` holds them from here on as d0, d1, …"""
        listed = ", ".join(f"{number_of(self._cell_of[name])} as d{k}" for k, name in enumerate(names))
        self._views.keep_query(f"select {listed} from raw", "numbers")
        bracket = f"approx_percentile({{d}}, array({', '.join(map(str, AROUND_MEDIAN))}), {ACCURACY})"
        sums = f"count({{d}}), avg({{d}}), min({{d}}), max({{d}}), {bracket}"
        listed = ", ".join(sums.format(d=f"d{k}") for k in range(len(names)))
        (row,) = self._query(f"select {listed} from numbers")
        return [_Sums(*row[5 * k : 5 * k + 5]) for k in range(len(names))]

    def _spread(self, means: Sequence[float | None]) -> list[tuple[float, float]]:
        """Give the mean and the sum of squares about given means, which takes the rounding out of them."""
        about = [f"(d{k} - ({double(mean or 0.0)}))" for k, mean in enumerate(means)]
        (row,) = self._query(f"select {', '.join(f'avg({d}), sum({d} * {d})' for d in about)} from numbers")
        return [(row[2 * k], row[2 * k + 1]) for k in range(len(means))]

    def _describe(self, d: str, sums: _Sums, off: float, squares: float) -> dict[str, float | int | None]:
        n, mean = sums.n, sums.mean
        if not n or mean is None:
            return {"n": 0, **dict.fromkeys(("mean", "median", "mode", "std", "min", "max"))}
        ((mode,),) = self._query(
            f"select {d} from numbers where {d} is not null group by {d} order by count(*) desc, {d} limit 1"
        )
        variance = max(squares - n * off * off, 0.0) / (n - 1) if n > 1 else None
        return {
            "n": n,
            "mean": mean + off,
            "median": sum(self._middle(d, sums)) / 2,
            "mode": mode,
            "std": None if variance is None else math.sqrt(variance),
            "min": sums.least,
            "max": sums.most,
        }

    def _middle(self, d: str, sums: _Sums) -> list[float]:
        """Find the two middle values, exactly; if the bracket does not hold them, among all values."""
        ranks, values = [(sums.n - 1) // 2, sums.n // 2], list[float]()
        for low, high in (sums.around, (sums.least, sums.most)):
            ((below,),) = self._query(f"select count_if({d} < {double(low)}) from numbers")
            between = f"{d} between {double(low)} and {double(high)}"
            rows = self._query(f"select {d}, count(*) from numbers where {between} group by {d} order by {d}")
            values, seen = [], below
            for value, count in rows:
                values += [value for rank in ranks if seen <= rank < seen + count]
                seen += count
            if len(values) == 2:
                break
        return values

    # --- how the rows lie in profiles ----------------------------------------------------------------------

    def count_by(self, profiles: Mapping[str, Profile], taken: Taken) -> dict[str, Counts]:
        """Count all rows by profiles, as `profiles.count_columns` does."""
        n_rows, counts = self._count_rows(taken.n_rows), dict[str, Counts]()
        numbers = {name: one for name, one in profiles.items() if isinstance(one, NumberProfile)}
        for start in range(0, len(numbers), COLUMNS_AT_ONCE):
            names = list(numbers)[start : start + COLUMNS_AT_ONCE]
            sums = self._sum_up(names)
            slots = self._count_slots([numbers[name].grid for name in names])
            for k, name in enumerate(names):
                middle = self._middle(f"d{k}", sums[k])[0] if sums[k].n else None
                at, between = tuple(slots[k][1::2]), tuple(slots[k][::2])
                counts[name] = NumberCounts(n_rows, n_rows - sums[k].n, at, between, middle)
        for name, one in profiles.items():
            if isinstance(one, TextProfile):
                counts[name] = self._count_texts(self._cell_of[name], one, n_rows)
        return counts

    def _count_slots(self, grids: Sequence[Sequence[float]]) -> list[list[int]]:
        """Count the numbers of the columns in `numbers` between and at the points of a grid for each."""
        structs = (
            f"struct({k} as k, case when d{k} is not null then {slot_of(f'd{k}', grid)} end as slot)"
            for k, grid in enumerate(grids)
        )
        slots = f"select inline(array({', '.join(structs)})) from numbers"
        counts = [[0] * (2 * len(grid) + 1) for grid in grids]
        for k, slot, n in self._query(f"select k, slot, count(*) from ({slots}) group by k, slot"):
            if slot is not None:
                counts[k][slot] = n
        return counts

    def _count_texts(self, cell: str, profile: TextProfile, n: int) -> TextCounts:
        if profile.categories is None:
            return self._count_buckets(cell, n)
        ((filled,),) = self._query(f"select count({cell}) from raw")
        known = ", ".join(map(literal, profile.categories))
        known_first = f"{cell} in ({known}) desc, " if known else ""
        most = len(profile.categories) + self._most_unseen
        largest = f"order by {known_first}count(*) desc, {cell} limit {most}"
        grouped = f"from raw where {cell} is not null group by {cell}"
        counts = dict(self._query(f"select {cell}, count(*) {grouped} {largest}"))
        return TextCounts(n, n - filled, counts, None, others=filled - sum(counts.values()))

    def _count_buckets(self, cell: str, n: int) -> TextCounts:
        bucket = f"select crc32(encode({cell}, 'UTF-8')) % {profiles_.N_BUCKETS} as bucket from raw"
        counts = dict(self._query(f"select bucket, count(*) from ({bucket}) group by bucket"))
        buckets = tuple(counts.get(k, 0) for k in range(profiles_.N_BUCKETS))
        return TextCounts(n, counts.get(None, 0), None, buckets)
