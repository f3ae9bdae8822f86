"""How is a table of any size read, checked, de-duplicated and counted on a cluster: in SQL, by Spark.

The same questions as `engine` asks, on the same rows: executors read with the exact reader (`parts`), so no
file is odd here, and lines and reasons of bad rows are known at once.
"""

from __future__ import annotations

import errno
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from risk.data import csv_check, csv_rows, profiles, validation
from risk.data.csv_check import Checked
from risk.data.ledger import Ledger
from risk.data.profiles import NumberCounts, NumberProfile, Profile, TextCounts, TextProfile
from risk.data.schema import BOOLEAN_WORDS, LARGEST, MISSING_WORDS, NUMBER_PATTERN, Schema, find_problem
from risk.data.validation import Rejection
from risk.engines import duckdb, partitions
from risk.engines.duckdb import ColumnCounts, Counts
from risk.engines.partitions import Part
from risk.engines.spark_session import Cluster
from risk.errors import ArtifactError
from risk.files import TEMPORARY, naming, remove_tree

AROUND_MEDIAN = (0.499, 0.501)
ACCURACY = 10_000  # of the quantiles that only bracket a median
MOST_UNSEEN = 100_000  # new categories of a column that are counted one by one
Statistics = dict[str, dict[str, float | int | None]]


class _Sums(NamedTuple):
    """A number column: its cells with a number, their mean, ends, and a bracket of their median."""

    n: int
    mean: float | None
    least: float
    most: float
    around: Sequence[float]


def literal(text: str) -> str:
    """Quote a text; Spark reads escapes in it, and before that puts a value for each ${name} in its SQL."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("$", "\\u0024") + "'"


def is_number(cell: str) -> str:
    """Say in SQL what `dataset.parse_number` calls a number."""
    looks = f"{cell} rlike {literal(f'^({NUMBER_PATTERN})' + chr(92) + 'z')}"
    fits = f"abs(try_cast({cell} as double)) <= {LARGEST}"
    return f"coalesce(case when {looks} then {fits} else false end, false)"


def number_of(cell: str) -> str:
    """Give the number of a checked cell; missing is null."""
    words = " ".join(f"when {literal(word)} then {value}D" for word, value in BOOLEAN_WORDS.items())
    return (
        f"case when {is_number(cell)} then try_cast({cell} as double) else case lower({cell}) {words} end end"
    )


def line_of(cells: Sequence[str]) -> str:
    """Write a row as DuckDB does: commas, quotes round the fewest cells, and round those with a #."""
    special = literal('[,"#\r\n]')
    written = (
        f"case when {cell} is null then '' when {cell} rlike {special} "
        f"then concat('\"', replace({cell}, '\"', '\"\"'), '\"') else {cell} end"
        for cell in cells
    )
    return f"concat_ws(',', {', '.join(written)})"


class SparkEngine(Counts):
    """A table on a cluster; the view `raw` holds its good rows, `arrived` all that was read.

    Every row has a `place`: places grow in the order of files and of rows in them. Of a compiled table
    `wanted` says which it is, and how many rows it must have.
    """

    def __init__(
        self, cluster: Cluster, columns: Sequence[str], *, wanted: tuple[Path, int] | None = None
    ) -> None:
        super().__init__(columns)
        self.say = {**duckdb.SAY, "number": is_number}
        self._cluster = cluster
        self._files: dict[int, Checked] = {}
        self._parts: list[Part] = []
        self._kept: list[Any] = []
        self._dropped: set[int] = set()
        self._bad = "problem is not null"
        self._wanted = wanted

    def __enter__(self) -> SparkEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self._cluster.forget(self._kept)

    def _ask(self, sql: str) -> list[Any]:
        return self._cluster.ask(sql)

    def read(self, files: Sequence[tuple[int, Checked]]) -> None:
        """Read files, each row with its place and with what is wrong with its shape."""
        self._files = dict(files)
        self.read_parts(partitions.cut(files))

    def read_parts(self, found: list[Part]) -> None:
        """Read parts of files."""
        from pyspark.sql.types import IntegerType, LongType, StringType, StructField, StructType

        self._parts = found
        packed, columns = partitions.pack(self._parts), self.columns
        fields = [
            StructField("file_no", IntegerType()),
            StructField("place", LongType()),
            StructField("line", LongType()),
            StructField("problem", StringType()),
            *(StructField(cell, StringType()) for cell in self._cells),
        ]

        def read(found: Iterator[list[Part]]) -> Iterator[partitions.Record]:
            return partitions.read(found, columns)

        def make() -> Any:
            rows = self._cluster.context.parallelize(packed, max(len(packed), 1)).mapPartitions(read)
            return self._cluster.session.createDataFrame(rows, StructType(fields), verifySchema=False)

        self._keep(self._cluster.work(make), "arrived")
        self._show()

    def _select(self, sql: str) -> Any:
        return self._cluster.work(lambda: self._cluster.session.sql(sql))

    def _keep(self, frame: Any, name: str) -> None:
        """Keep a frame on the disks of the executors; what is lost with one is made anew."""
        from pyspark import StorageLevel

        self._kept.append(frame.persist(StorageLevel.DISK_ONLY))
        frame.createOrReplaceTempView(name)

    def _show(self) -> None:
        """Let `raw` be the good rows of the files that count."""
        self._cluster.ask(f"create or replace temp view raw as select * from {self._good()}")

    def _good(self) -> str:
        return f"arrived where not ({self._bad}){self._left()}"

    def _left(self) -> str:
        dropped = ", ".join(map(str, sorted(self._dropped)))
        return f" and file_no not in ({dropped})" if dropped else ""

    def drop_files(self, numbers: set[int]) -> None:
        """Forget the rows of files."""
        if numbers - self._dropped:
            self._dropped |= numbers
            self._show()

    def find_endless(self) -> dict[int, str]:
        """Find the files with a quote that is never closed or a row without an end, and say so."""
        like = " or ".join(
            f"problem like {literal(f'%{w}%')}" for w in (csv_rows.NEVER_CLOSED, csv_rows.ENDLESS)
        )
        found = self._ask(f"select file_no, max(problem) from arrived where {like} group by file_no")
        return dict(found)

    def count_columns(self, columns: Sequence[str]) -> dict[int, dict[str, ColumnCounts]]:
        """Count filled cells, missing words and numbers, by file and column."""
        what = ["filled", "missing_word", "boolean", "number"]
        return {
            number: {
                name: ColumnCounts(n, words, booleans + numbers)
                for name, (n, words, booleans, numbers) in of_file.items()
            }
            for number, of_file in self._count_cells(columns, what, "true").items()
        }

    def reject(self, schema: Schema | None) -> dict[int, list[Rejection]]:
        """Set the bad rows aside, by file in their order; without a schema those of no good shape."""
        if schema is not None:
            self._bad = " or ".join([self._bad, *self._find_bad(schema)])
        found = self._ask(f"select * from arrived where ({self._bad}){self._left()} order by place")
        self._show()
        rejected: dict[int, list[Rejection]] = {}
        lines: dict[int, int] = {}
        for file_no, place, line, problem, *cells in found:
            number = place // partitions.PLACES
            if number not in lines:
                lines[number] = partitions.count_lines(self._parts[number])
            at = line + lines[number]
            rejected.setdefault(file_no, []).append(self._explain(at, problem, cells, schema))
        return rejected

    def _explain(
        self, line: int, problem: str | None, cells: Sequence[str | None], schema: Schema | None
    ) -> Rejection:
        if problem is not None or schema is None:
            return Rejection(line, "", "", problem or "")
        row = {name: cell or "" for name, cell in zip(self.columns, cells, strict=True)}
        found = find_problem(row, schema)
        if found is None:
            raise ValueError("SQL and Python do not agree on what a good row is")
        shown = (
            found.value
            if len(found.value) <= validation.LONGEST_SHOWN
            else found.value[: validation.LONGEST_SHOWN] + "…"
        )
        return Rejection(line, found.column, shown, found.reason)

    def _find_bad(self, schema: Schema) -> Iterator[str]:
        """Say in SQL which rows have a cell that rejects them."""
        words = (*MISSING_WORDS, *BOOLEAN_WORDS)
        for name in schema.numbers:
            cell = self._cell_of[name]
            yield f"({cell} is not null and not ({is_number(cell)} or {duckdb.is_word(cell, words)}))"
        known = {*schema.positive, *schema.negative}
        found = {word for _, word, _ in self._count_words(schema.target) if word.lower() in known}
        cell = self._cell_of[schema.target]
        listed = ", ".join(map(literal, sorted(found)))
        yield f"({cell} is not null and {cell} not in ({listed}))" if found else f"{cell} is not null"

    def deduplicate(self) -> None:
        """Keep the first arrival of every row: rows are compared whole."""
        listed = ", ".join(self._cells)
        first = "min_by(file_no, place) as file_no, min(place) as place"
        sql = f"select {first}, {listed} from {self._good()} group by {listed}"
        self._keep(self._select(sql), "kept")
        self._cluster.ask("create or replace temp view raw as select * from kept")

    def write(self, path: Path) -> None:
        """Write the rows as CSV in the one dialect of the table, without a header.

        Executors write part files into shared storage; they are put together here, in order.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = path.with_name(f"{TEMPORARY}parts-{path.name}")
        remove_tree(folder)
        sql = f"select {line_of(self._cells)} as value from raw order by place"
        target = folder.absolute().as_uri()
        self._cluster.work(
            lambda: self._cluster.session.sql(sql).write.option("compression", "none").text(target)
        )
        with naming(path), path.open("wb") as out:
            for part in sorted(folder.glob("part-*")):
                with part.open("rb") as handle:
                    shutil.copyfileobj(handle, out, csv_check.BLOCK)
        remove_tree(folder)
        for checked in self._files.values():
            if csv_check.has_changed(checked):
                raise csv_check.ChangedError(errno.ESTALE, "changed while it was read", str(checked.path))

    def row_facts(self, target: str) -> tuple[list[int], list[int]]:
        """Say of each row of `write` from which file it comes, and 1 where it has no label."""
        found = self._ask(f"select file_no, {self._cell_of[target]} is null from raw order by place")
        return [number for number, _ in found], [int(unlabelled) for _, unlabelled in found]

    # --- what the columns hold ---------------------------------------------------------------------------

    def count_missing(self, schema: Schema) -> tuple[int, dict[str, int]]:
        """Count all rows, and the missing cells of every column."""
        numbers = set(schema.numbers)
        counts: dict[str, int] = {}
        for start in range(0, len(self.columns), duckdb.COLUMNS_AT_ONCE):
            names = self.columns[start : start + duckdb.COLUMNS_AT_ONCE]
            cells = (self._cell_of[name] for name in names)
            filled = (number_of(c) if name in numbers else c for name, c in zip(names, cells, strict=True))
            (found,) = self._ask(f"select {', '.join(f'count({said})' for said in filled)} from raw")
            counts |= zip(names, found, strict=True)
        n_rows = self._count_all()
        return n_rows, {name: n_rows - count for name, count in counts.items()}

    def _count_all(self) -> int:
        """Count all rows, and make sure that a compiled table has as many as it must.

        Raises
        ------
        ArtifactError
            When it has not: it is not what the ledger says.
        """
        n_rows = sum(self.count_rows().values())
        if self._wanted is not None and self._wanted[1] != n_rows:
            raise ArtifactError(f"{self._wanted[0]}: was changed by another hand; run ingestion.py --rebuild")
        return n_rows

    def describe(self, schema: Schema) -> tuple[Statistics, dict[str, dict[str, float | int]]]:
        """Describe the columns as `contents.describe_columns` does."""
        n_rows, counts = self.count_missing(schema)
        missing: dict[str, dict[str, float | int]] = {
            name: {"count": count, "percent": 100 * count / n_rows if n_rows else 0.0}
            for name, count in counts.items()
        }
        return self.describe_numbers(schema), missing

    def describe_numbers(self, schema: Schema) -> Statistics:
        """Describe every number column as `contents.compute_statistics` does."""
        found: Statistics = {}
        for start in range(0, len(schema.numbers), duckdb.COLUMNS_AT_ONCE):
            names = schema.numbers[start : start + duckdb.COLUMNS_AT_ONCE]
            summed = self._sum_up(names)
            spread = self._spread([of_column.mean for of_column in summed])
            for k, name in enumerate(names):
                found[name] = self._describe(f"d{k}", summed[k], *spread[k])
        return found

    def _sum_up(self, names: Sequence[str]) -> list[_Sums]:
        """Sum up number columns; the view `numbers` holds them from here on as d0, d1, …"""
        listed = ", ".join(f"{number_of(self._cell_of[name])} as d{k}" for k, name in enumerate(names))
        self._keep(self._select(f"select {listed} from raw"), "numbers")
        bracket = f"approx_percentile({{d}}, array({', '.join(map(str, AROUND_MEDIAN))}), {ACCURACY})"
        ask = f"count({{d}}), avg({{d}}), min({{d}}), max({{d}}), {bracket}"
        asked = ", ".join(ask.format(d=f"d{k}") for k in range(len(names)))
        (found,) = self._ask(f"select {asked} from numbers")
        return [_Sums(*found[5 * k : 5 * k + 5]) for k in range(len(names))]

    def _spread(self, means: Sequence[float | None]) -> list[tuple[float, float]]:
        """Give the mean and the sum of squares about given means, which takes the rounding out of them."""
        about = [f"(d{k} - ({double(mean or 0.0)}))" for k, mean in enumerate(means)]
        (found,) = self._ask(f"select {', '.join(f'avg({d}), sum({d} * {d})' for d in about)} from numbers")
        return [(found[2 * k], found[2 * k + 1]) for k in range(len(means))]

    def _describe(self, d: str, summed: _Sums, off: float, squares: float) -> dict[str, float | int | None]:
        n, mean = summed.n, summed.mean
        if not n or mean is None:
            return {"n": 0, **dict.fromkeys(("mean", "median", "mode", "std", "min", "max"))}
        ((mode,),) = self._ask(
            f"select {d} from numbers where {d} is not null group by {d} order by count(*) desc, {d} limit 1"
        )
        variance = max(squares - n * off * off, 0.0) / (n - 1) if n > 1 else None
        return {
            "n": n,
            "mean": mean + off,
            "median": sum(self._middle(d, summed)) / 2,
            "mode": mode,
            "std": None if variance is None else math.sqrt(variance),
            "min": summed.least,
            "max": summed.most,
        }

    def _middle(self, d: str, summed: _Sums) -> list[float]:
        """Find the two middle values, exactly; if the bracket does not hold them, among all values."""
        n, values = summed.n, list[float]()
        for low, high in (summed.around, (summed.least, summed.most)):
            ((below,),) = self._ask(f"select count_if({d} < {double(low)}) from numbers")
            between = f"{d} between {double(low)} and {double(high)}"
            found = self._ask(f"select {d}, count(*) from numbers where {between} group by {d} order by {d}")
            wanted, values, seen = [(n - 1) // 2, n // 2], [], below
            for value, count in found:
                values += [value for rank in wanted if seen <= rank < seen + count]
                seen += count
            if len(values) == 2:
                break
        return values

    # --- how the rows lie in profiles ----------------------------------------------------------------------

    def count_by(self, profiles: Mapping[str, Profile]) -> dict[str, NumberCounts | TextCounts]:
        """Count the rows of columns by their profiles as `profiles.count_columns` does."""
        n_rows, found = self._count_all(), dict[str, NumberCounts | TextCounts]()
        numbers = {name: one for name, one in profiles.items() if isinstance(one, NumberProfile)}
        for start in range(0, len(numbers), duckdb.COLUMNS_AT_ONCE):
            names = list(numbers)[start : start + duckdb.COLUMNS_AT_ONCE]
            summed = self._sum_up(names)
            slots = self._count_slots([numbers[name].grid for name in names])
            for k, name in enumerate(names):
                middle = self._middle(f"d{k}", summed[k])[0] if summed[k].n else None
                at, between = tuple(slots[k][1::2]), tuple(slots[k][::2])
                found[name] = NumberCounts(n_rows, n_rows - summed[k].n, at, between, middle)
        for name, one in profiles.items():
            if isinstance(one, TextProfile):
                found[name] = self._count_texts(self._cell_of[name], one, n_rows)
        return found

    def _count_slots(self, grids: Sequence[Sequence[float]]) -> list[list[int]]:
        """Count the numbers of the columns in `numbers` between and at the points of a grid for each."""
        told = (
            f"struct({k} as k, case when d{k} is not null then {slot_of(f'd{k}', grid)} end as slot)"
            for k, grid in enumerate(grids)
        )
        places = f"select inline(array({', '.join(told)})) from numbers"
        counts = [[0] * (2 * len(grid) + 1) for grid in grids]
        for k, slot, n in self._ask(f"select k, slot, count(*) from ({places}) group by k, slot"):
            if slot is not None:
                counts[k][slot] = n
        return counts

    def _count_texts(self, cell: str, profile: TextProfile, n: int) -> TextCounts:
        if profile.categories is None:
            bucket = f"select crc32(encode({cell}, 'UTF-8')) % {profiles.N_BUCKETS} as bucket from raw"
            found = dict(self._ask(f"select bucket, count(*) from ({bucket}) group by bucket"))
            return TextCounts(
                n, found.get(None, 0), None, tuple(found.get(k, 0) for k in range(profiles.N_BUCKETS))
            )
        ((filled,),) = self._ask(f"select count({cell}) from raw")
        known = ", ".join(map(literal, profile.categories))
        known_first = f"{cell} in ({known}) desc, " if known else ""
        largest = f"order by {known_first}count(*) desc, {cell} limit {len(profile.categories) + MOST_UNSEEN}"
        grouped = f"from raw where {cell} is not null group by {cell}"
        counts = dict(self._ask(f"select {cell}, count(*) {grouped} {largest}"))
        return TextCounts(n, n - filled, counts, None, others=filled - sum(counts.values()))


def double(value: float) -> str:
    """Write a double for SQL; as text it reads back equal."""
    return f"{value!r}D"


def slot_of(number: str, grid: Sequence[float], first: int = 0) -> str:
    """Say in SQL where a number lies among ascending ones: 2 k + 1 at the k-th, 2 k before it, from 0."""
    if not grid:
        return str(2 * first)
    k = len(grid) // 2
    value, place = double(grid[k]), first + k
    lower, upper = slot_of(number, grid[:k], first), slot_of(number, grid[k + 1 :], place + 1)
    at = f"when {number} = {value} then {2 * place + 1}"
    return f"case when {number} < {value} then {lower} {at} else {upper} end"


@contextmanager
def open_table(
    cluster: Cluster, data: Path, ledger: Ledger, *, start: int = 0, n_rows: int | None = None
) -> Iterator[SparkEngine]:
    """Open the committed rows of the compiled table, or those behind an offset at which a row begins.

    Of the latter the caller may know how many there are: `n_rows`.
    """
    schema = Schema.from_json(ledger.schema or {})
    one_line_each = ledger.lines == ledger.rows + 1
    n_rows = n_rows if start else ledger.rows
    wanted = None if n_rows is None else (data, n_rows)
    with SparkEngine(cluster, schema.columns, wanted=wanted) as engine:
        engine.read_parts(
            partitions.cut_table(
                data, ledger.length, schema.columns, one_line_each=one_line_each, start=start
            )
        )
        yield engine
