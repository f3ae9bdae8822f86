"""The Spark engine: reading, checking and de-duplicating rows of any number on a cluster, in SQL.

Executors read with the exact reader (`partitions`), so no file is odd here, and lines and reasons of bad rows
are known at once.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from risk.data import csv_check, csv_rows, validation
from risk.data.csv_check import Checked
from risk.data.schema import BOOLEAN_WORDS, MISSING_WORDS, find_problem
from risk.data.table_writer import RowFacts
from risk.data.validation import Rejection
from risk.engines import loading, partitions, spark_session, sql
from risk.engines.base import EngineSettings
from risk.engines.partitions import PART_BYTES, Part
from risk.engines.spark_session import Cluster
from risk.engines.spark_sql import is_number, line_of, literal
from risk.engines.sql import SqlEngine
from risk.files import TEMPORARY, naming, remove_tree

if TYPE_CHECKING:
    from risk.data.input_batch import InputBatch
    from risk.data.schema import Schema


class SparkViews:
    """Views of rows on a cluster, and the frames that executors keep for them."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._frames: list[Any] = []

    def query(self, statement: str) -> list[Any]:
        """Give the rows of a query."""
        return self.cluster.ask(statement)

    def keep_query(self, statement: str, name: str) -> None:
        """Keep the rows of a query as a view."""
        self.keep(self.cluster.work(lambda: self.cluster.session.sql(statement)), name)

    def keep(self, frame: Any, name: str) -> None:
        """Keep a frame as a view on the disks of the executors; what is lost with one is made again."""
        from pyspark import StorageLevel

        self._frames.append(frame.persist(StorageLevel.DISK_ONLY))
        frame.createOrReplaceTempView(name)

    def read_parts(self, parts: list[Part], columns: Sequence[str], part_bytes: int = PART_BYTES) -> None:
        """Read parts of files as the view `arrived`: rows with their places and what is wrong with them.

        Places grow in the order of files and of rows in them.
        """
        from pyspark.sql.types import IntegerType, LongType, StringType, StructField, StructType

        packed, names = partitions.pack(parts, part_bytes), list(columns)
        types = {"file_no": IntegerType(), "place": LongType(), "line": LongType(), "problem": StringType()}
        types |= {f"c{position}": StringType() for position in range(len(names))}
        fields = StructType([StructField(name, kind) for name, kind in types.items()])

        def read(some: Iterator[list[Part]]) -> Iterator[partitions.Record]:
            return partitions.read(some, names)

        def make() -> Any:
            rows = self.cluster.context.parallelize(packed, max(len(packed), 1)).mapPartitions(read)
            return self.cluster.session.createDataFrame(rows, fields, verifySchema=False)

        self.keep(self.cluster.work(make), "arrived")

    def forget(self) -> None:
        """Let executors forget what they keep."""
        self.cluster.forget(self._frames)


class SparkEngine(SqlEngine):
    """Rows on a cluster; the view `raw` holds the good ones, `arrived` all that were read."""

    conditions: ClassVar[Mapping[str, Callable[[str], str]]] = {**sql.CONDITIONS, "number": is_number}

    def __init__(self, cluster: Cluster, columns: Sequence[str], *, part_bytes: int = PART_BYTES) -> None:
        super().__init__(columns)
        self._views = SparkViews(cluster)
        self._part_bytes = part_bytes
        self._files: dict[int, Checked] = {}
        self._parts: list[Part] = []
        self._dropped: set[int] = set()
        self._bad = "problem is not null"

    @classmethod
    def open(cls, settings: EngineSettings, columns: Sequence[str]) -> SparkEngine:
        return cls(spark_session.connect_proven(settings), columns)

    def __exit__(self, *_: object) -> None:
        self._views.forget()

    def _query(self, statement: str) -> list[Any]:
        return self._views.query(statement)

    def load(self, batch: InputBatch, schema: Schema | None) -> Schema | None:
        """Load the good rows where executors read, each exactly."""
        self.read(sorted(batch.good.items()))
        for number, reason in self.find_endless().items():
            batch.refuse(number, reason)
        self.drop_files({*batch.refused})
        loading.leave_changed(self, batch)
        first = batch.learn_from if schema is None else set[int]()
        if schema is None:
            if not loading.can_learn(self, batch):
                batch.rejected |= self.reject(None)
                return None
            schema = loading.learn_schema(batch, self.columns, *loading.count_cells(self, batch, None))
        rejected = self.reject(schema)
        counts = self.count_labelled(schema.target)
        for number, of_file in sorted(rejected.items(), key=lambda one: (one[0] not in first, one[0])):
            if first and first <= batch.refused.keys():
                break
            n_good, n_unlabelled = counts.get(number, (0, 0))
            if loading.refuses_words(batch, number, of_file, n_good - n_unlabelled, schema):
                self.drop_files({number})
                continue
            batch.reject(number, of_file)
            batch.warn_rejected(number, n_good)
        if first and first <= batch.refused.keys():
            return None
        loading.leave_changed(self, batch)
        return schema

    def read(self, files: Sequence[tuple[int, Checked]]) -> None:
        """Read files, each row with its place and with what is wrong with its shape."""
        self._files = dict(files)
        self._parts = partitions.cut(files, self._part_bytes)
        self._views.read_parts(self._parts, self.columns, self._part_bytes)
        self._show()

    def _show(self) -> None:
        """Let `raw` be the good rows of the files that count."""
        self._query(f"create or replace temp view raw as select * from {self._good()}")

    def _good(self) -> str:
        return f"arrived where not ({self._bad}){self._not_dropped()}"

    def _not_dropped(self) -> str:
        dropped = ", ".join(map(str, sorted(self._dropped)))
        return f" and file_no not in ({dropped})" if dropped else ""

    def drop_files(self, numbers: set[int]) -> None:
        """Drop the rows of some files."""
        if numbers - self._dropped:
            self._dropped |= numbers
            self._show()

    def find_endless(self) -> dict[int, str]:
        """Find the files with a row behind which nothing can be known, with the reason."""
        like = " or ".join(f"problem like {literal(f'%{words}%')}" for words in csv_rows.ENDS_A_FILE)
        return dict(self._query(f"select file_no, max(problem) from arrived where {like} group by file_no"))

    def reject(self, schema: Schema | None) -> dict[int, list[Rejection]]:
        """Set the bad rows aside, by file in their order; without a schema those of no good shape."""
        if schema is not None:
            self._bad = " or ".join([self._bad, *self._find_bad(schema)])
        rows = self._query(f"select * from arrived where ({self._bad}){self._not_dropped()} order by place")
        self._show()
        rejected: dict[int, list[Rejection]] = {}
        lines: dict[int, int] = {}
        for file_no, place, line, problem, *cells in rows:
            number = place // partitions.PLACES
            if number not in lines:
                lines[number] = partitions.count_lines(self._parts[number])
            at = line + lines[number]
            rejected.setdefault(file_no, []).append(self._explain(at, problem, cells, schema))
        return rejected

    def _explain(
        self, line: int, reason: str | None, cells: Sequence[str | None], schema: Schema | None
    ) -> Rejection:
        if reason is not None or schema is None:
            return Rejection(line, "", "", reason or "")
        row: Mapping[str, str] = {n: cell or "" for n, cell in zip(self.columns, cells, strict=True)}
        problem = find_problem(row, schema)
        if problem is None:
            raise ValueError("SQL and Python do not agree on what a good row is")
        return validation.reject(line, problem)

    def _find_bad(self, schema: Schema) -> Iterator[str]:
        """Give the SQL of which rows have a cell that rejects them, a condition a column."""
        words = (*MISSING_WORDS, *BOOLEAN_WORDS)
        for name in schema.numbers:
            cell = self._cell_of[name]
            yield f"({cell} is not null and not ({is_number(cell)} or {sql.is_word(cell, words)}))"
        labels = {word for _, word, _ in self._count_words(schema.target) if schema.knows([word.lower()])}
        cell = self._cell_of[schema.target]
        listed = ", ".join(map(literal, sorted(labels)))
        yield f"({cell} is not null and {cell} not in ({listed}))" if labels else f"{cell} is not null"

    def deduplicate(self) -> None:
        """Drop every row that is equal to an earlier one: rows are compared whole."""
        listed = ", ".join(self._cells)
        first = "min_by(file_no, place) as file_no, min(place) as place"
        self._views.keep_query(f"select {first}, {listed} from {self._good()} group by {listed}", "fresh")
        self._query("create or replace temp view raw as select * from fresh")

    def write(self, path: Path) -> None:
        """Write the rows in order, as they stand in the table, without a header.

        Executors write part files into shared storage; they are put together here.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = path.with_name(f"{TEMPORARY}parts-{path.name}")
        remove_tree(folder)
        statement = f"select {line_of(self._cells)} as value from raw order by place"
        target, cluster = folder.absolute().as_uri(), self._views.cluster
        cluster.work(lambda: cluster.session.sql(statement).write.option("compression", "none").text(target))
        with naming(path), path.open("wb") as out:
            for part in sorted(folder.glob("part-*")):
                with part.open("rb") as handle:
                    shutil.copyfileobj(handle, out, csv_check.BLOCK)
        remove_tree(folder)
        for checked in self._files.values():
            if csv_check.has_changed(checked):
                raise csv_check.ChangedError(errno.ESTALE, "changed while it was read", str(checked.path))

    def row_facts(self, target: str) -> RowFacts:
        """Name the file of each row of `write`, and whether it lacks a label."""
        rows = self._query(f"select file_no, {self._cell_of[target]} is null from raw order by place")
        return RowFacts([number for number, _ in rows], [int(unlabelled) for _, unlabelled in rows])
