"""Prediction of the rows of a file or of a folder of files, on this machine or on a cluster."""

from __future__ import annotations

import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from risk import files
from risk.data import csv_check, validation
from risk.data.frames import to_frame
from risk.data.inputs import list_inputs
from risk.engines import base as engines
from risk.errors import MissingArtifactError, UsageError
from risk.limits import Limits, Room
from risk.model.pipeline import one_thread
from risk.prediction import batch, spark_batch
from risk.prediction.spark_batch import ExecutorTask

if TYPE_CHECKING:
    from risk.data.csv_check import Checked
    from risk.data.validation import Rejection
    from risk.engines.base import EngineSettings
    from risk.engines.spark_session import Cluster
    from risk.model.registry import Release
    from risk.prediction.predictor import Predictor

STANDARD = "-"
MOST_LOGGED = 20


@dataclass(frozen=True)
class PredictedFile:
    """Counts of the rows of one file, and its bad rows."""

    name: str
    n_rows: int
    n_leaving: int
    rejected: list[Rejection]

    def describe_rejected(self) -> list[str]:
        """Give a line for each bad row, the first of many."""
        lines = []
        for row in self.rejected[:MOST_LOGGED]:
            reason = f"{row.column} {row.reason}" if row.column else row.reason
            lines.append(f"{self.name}: line {row.line:,}: {reason}")
        if len(self.rejected) > MOST_LOGGED:
            lines.append(f"{self.name}: and {len(self.rejected) - MOST_LOGGED:,} more bad rows")
        return lines


@dataclass(frozen=True)
class Request:
    """Which rows are to be predicted, and how.

    Attributes
    ----------
    path : str
        Of a CSV file, or "-" for standard input; with a cluster also of a folder of CSV files.
    output : str, optional
        The file, or new folder, to write; None is standard output.
    """

    path: str
    output: str | None
    n_reasons: int
    separator: str | None
    limits: Limits

    def check(self, source: Path, predictor: Predictor) -> Checked:
        return csv_check.check(source, predictor.schema.columns, self.separator, self.limits)


@dataclass(frozen=True)
class PredictionResult:
    """What became of the rows of a file; the predictions are in `output`, or went to standard output."""

    release: str
    n_rows: int
    n_leaving: int
    n_rejected: int
    output: str | None = None

    @classmethod
    def of(cls, release: str, files: Sequence[PredictedFile], output: str | None) -> PredictionResult:
        n_rows, n_leaving = sum(one.n_rows for one in files), sum(one.n_leaving for one in files)
        return cls(release, n_rows, n_leaving, sum(len(one.rejected) for one in files), output)

    @property
    def filled_stdout(self) -> bool:
        return self.output is None

    @property
    def exit_code(self) -> int:
        """Bad data when no row was good."""
        return os.EX_OK if self.n_rows else os.EX_DATAERR


def predict(
    request: Request,
    release: Release,
    predictor: Predictor,
    words: Mapping[str, Mapping[str, str]],
    engine: EngineSettings,
) -> list[PredictedFile]:
    """Predict on the executors of the engine's cluster, or on this machine where it has none.

    Raises
    ------
    UsageError
        When the output is the input.
    """
    given, output = request.path, request.output
    if output is not None and given != STANDARD and Path(output).resolve() == Path(given).resolve():
        raise UsageError(f"--output: {output} is the file that is read; name another one")
    cluster = engines.connect_cluster(engine, spark_batch.PACKAGES)
    if cluster is None:
        with one_thread():
            return [predict_file(request, predictor, engine.room)]
    task = ExecutorTask(release, words, request.n_reasons)
    return predict_on_cluster(request, predictor, task, cluster, engine.room.spill)


def predict_file(request: Request, predictor: Predictor, room: Room) -> PredictedFile:
    """Predict the rows of one file on this machine; of the workspace only the spill folder is used.

    Raises
    ------
    UsageError
        When the path is a folder.
    """
    if Path(request.path).is_dir():
        raise UsageError(f'{request.path}: is a folder; only with engine.name "spark" a folder is predicted')
    with open_scratch(room.spill) as scratch:
        checked = request.check(take_input(request.path, scratch), predictor)
        here = Room(scratch, room.memory_limit)
        with open_output(request.output, scratch) as out:
            done = batch.predict_file(checked, predictor, out, n_reasons=request.n_reasons, room=here)
    return PredictedFile(checked.name, done.n_rows, done.n_leaving, done.rejected)


def predict_on_cluster(
    request: Request, predictor: Predictor, task: ExecutorTask, cluster: Cluster, spill: Path
) -> list[PredictedFile]:
    """Predict a file into a file, or a folder of files into a new folder, on the executors of a cluster.

    Raises
    ------
    MissingArtifactError, UsageError
        When a folder holds no CSV file, or no new folder is named to predict it into.
    """
    folder = Path(request.path) if Path(request.path).is_dir() else None
    if folder is not None and request.output is None:
        raise UsageError(f"{folder}: is a folder; name a new folder with --output")
    with ExitStack() as opened:
        scratch = opened.enter_context(open_scratch(spill, shared=True))
        target = None
        if folder is None or request.output is None:
            sources = [take_input(request.path, scratch)]
        else:
            sources = [folder.resolve() / name for name in list_inputs(folder)]
            target = opened.enter_context(open_folder(Path(request.output)))
        if not sources:
            raise MissingArtifactError(f"{folder}: holds no CSV file")
        checked_files = [request.check(source, predictor) for source in sources]

        def open_target(position: int) -> AbstractContextManager[IO[str]]:
            if target is None:
                return open_output(request.output, scratch)
            return (target / checked_files[position].name).open("w", encoding="utf-8", newline="")

        done = spark_batch.predict_files(cluster, checked_files, task, predictor, scratch, open_target)
    return [
        PredictedFile(checked.name, one.n_rows, one.n_leaving, one.rejected)
        for checked, one in zip(checked_files, done, strict=True)
    ]


def predict_folder(
    folder: Path, predictor: Predictor, separator: str | None, limits: Limits
) -> dict[str, Any]:
    """Predict every good row of the files of a folder, labelled or not, on this machine.

    Returns
    -------
    facts : dict
        `release`, `n` rows, `n_leaving` of them, and `values`: the class of each.
    """
    schema = predictor.schema
    good, _ = validation.read_folder(folder, schema, separator, needed=schema.features, limits=limits)
    values: list[int] = []
    if good:
        with one_thread():
            values = [int(value) for value in predictor.model.predict(to_frame(good, schema))]
    return {"release": predictor.release, "n": len(values), "n_leaving": sum(values), "values": values}


# --- input and output of the command line --------------------------------------------------------------


def take_input(path: str, scratch: Path) -> Path:
    """Give a regular file; what comes through a pipe is put into one first."""
    source = Path(path).resolve()
    if path != STANDARD and not source.exists():
        raise MissingArtifactError(f"{path}: no such file; name one that is there")
    if path != STANDARD and source.is_file():
        return source
    copy = scratch / ("standard input" if path == STANDARD else source.name)
    with copy.open("wb") as handle:
        if path == STANDARD:
            shutil.copyfileobj(sys.stdin.buffer, handle)
        else:
            with source.open("rb") as piped:
                shutil.copyfileobj(piped, handle)
    return copy


@contextmanager
def open_output(output: str | None, scratch: Path) -> Iterator[Any]:
    """Open the file to write to; without one, all goes to standard output in the end."""
    if output is not None:
        with files.put(Path(output)) as handle:
            yield handle
        return
    written = scratch / "predictions.csv"
    with written.open("w", encoding="utf-8", newline="") as handle:
        yield handle
    try:
        with written.open("rb") as lines:
            sys.stdout.flush()
            shutil.copyfileobj(lines, sys.stdout.buffer)
            sys.stdout.buffer.flush()
    except BrokenPipeError:  # as when `head` has seen enough; Python must not meet it again at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def open_folder(target: Path) -> Iterator[Path]:
    """Make a folder whole or not at all.

    Raises
    ------
    UsageError
        When there is something of this name already.
    """
    if target.exists():
        raise UsageError(f"--output: {target} is there already; name a new folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f"{files.TEMPORARY}{target.name}-", dir=target.parent))
    try:
        yield staging
        staging.chmod(0o755)
        staging.rename(target)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    files.sync_folder(target.parent)


@contextmanager
def open_scratch(folder: Path, *, shared: bool = False) -> Iterator[Path]:
    """Make a folder for a run that only reads: where tables overflow, and if killed it is swept away.

    Whoever may read the workspace and not write it gets one of the system's own, unless others must see it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        made = tempfile.TemporaryDirectory(prefix=files.name_reader(), dir=folder)
    except OSError as error:
        if shared or error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        made = tempfile.TemporaryDirectory(prefix=files.name_reader())
    with made as name:
        yield Path(name)
