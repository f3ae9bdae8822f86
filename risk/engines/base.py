"""The protocol of engines, and the registry of those that answer it.

An engine reads the files of a batch, checks and de-duplicates their rows and counts what they hold. To add
one, write a module with its class and add a row to `ENGINES`. Standard library only.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from risk.limits import Room

if TYPE_CHECKING:
    from typing import Self

    from risk.data.input_batch import InputBatch
    from risk.data.ledger import Ledger
    from risk.data.profiles import Counts, Profile
    from risk.data.schema import Schema
    from risk.data.schema_inference import CellCounts, WordCounts
    from risk.data.table_writer import RowFacts
    from risk.engines.spark_session import Cluster
    from risk.engines.table_reader import Taken

Statistics = dict[str, dict[str, float | int | None]]  # by column and name of a statistic
Missing = dict[str, dict[str, float | int]]  # count and percent by column
SMALL_BYTES = 256 * 1024  # of new files: read row by row in the time that DuckDB takes to load


class EngineSettings(NamedTuple):
    """What config.json says of the engine, and the folders it works in.

    `log` takes what a cluster says; up to `small_bytes` of new files are read in memory.
    """

    name: str
    room: Room
    input_folder: Path
    master: str = ""
    conf: Mapping[str, str] = {}
    wait_s: float = 0.0
    log: Path = Path("spark.log")
    small_bytes: int = SMALL_BYTES

    def __repr__(self) -> str:
        return f"EngineSettings({self.name})"  # without the secrets of conf


class Engine(ABC):
    """The rows of a batch of files, each file known by its number; used as a context.

    `load` comes first. All counts are by file, and a file without a row is in none of them.
    """

    columns: list[str]

    @classmethod
    @abstractmethod
    def open(cls, settings: EngineSettings, columns: Sequence[str]) -> Self:
        """Open an engine for a table of these columns.

        Raises
        ------
        ServiceError
            When what the engine works on cannot be had; it is never another engine then.
        """

    def __enter__(self) -> Self:
        return self

    @abstractmethod
    def __exit__(self, *_: object) -> None:
        """Forget the rows."""

    @abstractmethod
    def load(self, batch: InputBatch, schema: Schema | None) -> Schema | None:
        """Load the good rows of the good files; what is wrong with the others is noted in the batch.

        Parameters
        ----------
        schema : Schema or None
            Of the table; None infers it from the files to learn from.

        Returns
        -------
        schema : Schema or None
            The one given, else the one inferred; None when no file to infer it from is left, and so no row
            of another counts.
        """

    @abstractmethod
    def drop_files(self, numbers: set[int]) -> None:
        """Drop the rows of some files."""

    @abstractmethod
    def count_rows(self) -> dict[int, int]:
        """Count the rows of each file."""

    @abstractmethod
    def count_columns(self, columns: Sequence[str]) -> CellCounts:
        """Count filled cells, words for missing and numbers (also true and false) of some columns."""

    @abstractmethod
    def count_labels(self, target: str) -> WordCounts:
        """Count each label in lower case."""

    @abstractmethod
    def count_labelled(self, target: str) -> dict[int, tuple[int, int]]:
        """Count the rows of each file, and those of them without a label."""

    @abstractmethod
    def deduplicate(self) -> None:
        """Drop every row that is equal to an earlier one, in order of files and of rows in them."""

    @abstractmethod
    def write(self, path: Path) -> None:
        """Write the rows in order, as they stand in the table, without a header."""

    @abstractmethod
    def row_facts(self, target: str) -> RowFacts:
        """Name the file of each row of `write`, and whether it lacks a label."""


class Description(NamedTuple):
    """What the columns of the compiled table hold.

    Attributes
    ----------
    statistics : dict
        What `statistics.compute_statistics` gives of each number column.
    missing : dict
        Count and percent of every column. Blank is missing everywhere, the words NA, null and nan in
        number columns only.
    """

    statistics: Statistics
    missing: Missing


class StoredTable(ABC):
    """The committed rows of the compiled table, or those after an offset; used as a context."""

    @classmethod
    @abstractmethod
    def open(cls, settings: EngineSettings, data: Path, ledger: Ledger, *, start: int = 0) -> Self:
        """Open the rows after `start`, an offset in bytes at which a row begins."""

    def __enter__(self) -> Self:
        return self

    @abstractmethod
    def __exit__(self, *_: object) -> None:
        """Forget the rows."""

    @abstractmethod
    def describe(self) -> Description:
        """Describe every number column, and count the missing cells of all.

        Raises
        ------
        ArtifactError
            When the table is not what the ledger says.
        """

    @abstractmethod
    def count_by(self, profiles: Mapping[str, Profile], taken: Taken) -> Mapping[str, Counts]:
        """Count the rows by the profile of each column, all rows or those of a sample.

        Parameters
        ----------
        taken : Taken
            The rows as they were read, or a sample of them; `n_rows` says how many there are.
        """


class EngineEntry(NamedTuple):
    """A row of the registry: classes and functions as `module:name`, imported when they are asked for.

    Attributes
    ----------
    engine, table : str
        An `Engine` and a `StoredTable`.
    connect : str
        Of an engine that works on a cluster: takes settings and the names of packages that every executor
        needs, and gives the connection. Empty for an engine that works on this machine.
    small_in_memory : bool
        True for an engine that takes longer to load than few rows take to be read; they are left to
        `IN_MEMORY` then.
    """

    engine: str
    table: str
    connect: str = ""
    small_in_memory: bool = False

    @property
    def has_cluster(self) -> bool:
        return bool(self.connect)


ENGINES = {
    "duckdb": EngineEntry(
        "risk.engines.duckdb:DuckDBEngine", "risk.engines.statistics:DuckDBTable", small_in_memory=True
    ),
    "spark": EngineEntry(
        "risk.engines.spark:SparkEngine",
        "risk.engines.spark_table:SparkTable",
        "risk.engines.spark_session:connect_proven",
    ),
}
IN_MEMORY = "risk.engines.memory:MemoryEngine"


def open_engine(settings: EngineSettings, columns: Sequence[str], *, n_bytes: int | None = None) -> Engine:
    """Open the engine that config.json names, or the one in memory for few rows of a known table.

    Parameters
    ----------
    n_bytes : int, optional
        Size of the files; None for a table that is not known yet.
    """
    entry = ENGINES[settings.name]
    is_small = entry.small_in_memory and n_bytes is not None and n_bytes <= settings.small_bytes
    engine: Engine = _import(IN_MEMORY if is_small else entry.engine).open(settings, columns)
    return engine


def open_table(settings: EngineSettings, data: Path, ledger: Ledger, *, start: int = 0) -> StoredTable:
    """Open the compiled table with the engine that config.json names."""
    table: StoredTable = _import(ENGINES[settings.name].table).open(settings, data, ledger, start=start)
    return table


def connect_cluster(settings: EngineSettings, packages: Sequence[str]) -> Cluster | None:
    """Connect to the cluster of the engine that config.json names; None where it works on this machine.

    Parameters
    ----------
    packages : sequence of str
        Of these every executor must have the version that is installed here.

    Raises
    ------
    ServiceError
        When the cluster cannot be had, or an executor is not fit for the work.
    """
    entry = ENGINES[settings.name]
    cluster: Cluster | None = _import(entry.connect)(settings, packages) if entry.has_cluster else None
    return cluster


def _import(name: str) -> Any:
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)
