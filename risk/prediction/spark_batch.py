"""Predictions computed on the executors of a cluster.

The release is sent to them, and every byte of it is checked there before it is unpickled. Each part of the
input becomes a part file on shared storage; they are put together in order. The lines are those of `batch`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import IO

from risk.data.csv_check import Checked
from risk.data.validation import Rejection
from risk.digests import sha256
from risk.engines import partitions
from risk.engines.partitions import Part
from risk.engines.spark_session import Cluster
from risk.errors import ArtifactError, ServiceError
from risk.files import render_json
from risk.model import registry
from risk.model.registry import Release
from risk.prediction import csv_output
from risk.prediction.csv_output import FileSummary
from risk.prediction.predictor import Predictor
from risk.prediction.wording import Words

PACKAGES = ("numpy", "pandas", "scikit-learn", "scipy", "threadpoolctl")


@dataclass(frozen=True)
class ExecutorTask:
    """What executors are sent: the deployed release, the reader's names of columns, and how many reasons."""

    release: Release = field(repr=False)
    words: Mapping[str, Mapping[str, str]] = field(repr=False)
    n_reasons: int


@dataclass(frozen=True)
class PartSummary:
    """The counts of one part; the lines of rejected rows are counted from its start."""

    number: int
    summary: FileSummary


def predict_files(
    cluster: Cluster,
    files: Sequence[Checked],
    task: ExecutorTask,
    predictor: Predictor,
    folder: Path,
    open_output: Callable[[int], contextlib.AbstractContextManager[IO[str]]],
) -> list[FileSummary]:
    """Write a line of predictions for each good row of checked files.

    Parameters
    ----------
    folder : Path
        On shared storage, for the part files.
    open_output : callable
        Opens the output of a file, by its position.

    Raises
    ------
    DatasetError
        When a file is no table, or lacks a column that the model needs.
    """
    for checked in files:
        csv_output.check_header(checked, predictor)
    parts = partitions.cut(enumerate(files))
    summaries = predict_on_executors(cluster, parts, task, folder)
    joined = []
    for file_no, checked in enumerate(files):
        header = csv_output.render_header(csv_output.ids_of(checked.header, predictor), task.n_reasons)
        own = [(part, summaries[part.number]) for part in parts if part.file_no == file_no]
        with open_output(file_no) as out:
            out.write(header)
            joined.append(join_parts(own, folder, out))
    return joined


def predict_on_executors(
    cluster: Cluster, parts: Sequence[Part], task: ExecutorTask, folder: Path
) -> dict[int, FileSummary]:
    """Let executors write a file for each part; give their counts by the number of the part."""
    first = number_rows(cluster, parts)
    broadcast, place = cluster.context.broadcast(task), str(folder)
    digest = sha256(render_json(task.release.manifest).encode())

    def predict(packed: Iterator[list[Part]]) -> Iterator[PartSummary]:
        return predict_parts(chain.from_iterable(packed), broadcast.value, digest, first, place)

    packed = partitions.pack(parts)
    rdd = cluster.context.parallelize(packed, max(len(packed), 1)).mapPartitions(predict)
    return {one.number: one.summary for one in cluster.work(rdd.collect)}


def number_rows(cluster: Cluster, parts: Sequence[Part]) -> dict[int, int]:
    """Number the first row of every part in its file; only files of several parts are read."""
    several = [part for part in parts if part.start or part.stop < part.size]
    counts: dict[int, int] = {}
    if several:

        def count(packed: Iterator[list[Part]]) -> Iterator[tuple[int, int]]:
            return (
                (part.number, sum(1 for _ in partitions.read_rows(part)))
                for part in chain.from_iterable(packed)
            )

        packed = partitions.pack(several)
        rdd = cluster.context.parallelize(packed, len(packed)).mapPartitions(count)
        counts = dict(cluster.work(rdd.collect))
    first: dict[int, int] = {}
    at = 1
    for part in parts:
        at = at if part.start else 1
        first[part.number] = at
        at += counts.get(part.number, 0)
    return first


def predict_parts(
    parts: Iterable[Part], task: ExecutorTask, digest: str, first: Mapping[int, int], folder: str
) -> Iterator[PartSummary]:
    """On an executor: check and load the release, and write a file of predictions for each part.

    Raises
    ------
    ServiceError
        When the release is not the one that is deployed.
    """
    import sklearn.ensemble  # noqa: F401  (its thread pool must be there before it can be limited)
    from threadpoolctl import threadpool_limits

    release = task.release
    try:
        registry.verify(release, digest)
        model = registry.unpickle(release, Path("release"))
    except ArtifactError as error:
        raise ServiceError(f"on {os.uname().nodename}: {error}") from error
    predictor = Predictor.from_release(release, model, Words(task.words))
    with threadpool_limits(1):
        for part in parts:
            summary = predict_part(part, predictor, task.n_reasons, first[part.number], Path(folder))
            yield PartSummary(part.number, summary)


def predict_part(part: Part, predictor: Predictor, n_reasons: int, first: int, folder: Path) -> FileSummary:
    """Write the lines of one part; whole or not at all, for another executor may do the same."""
    temporary = folder / f".{part.number:09d}-{os.uname().nodename}-{os.getpid()}"
    chunks = csv_output.sort_chunks(partitions.read_rows(part), part.header, predictor, first=first)
    with temporary.open("w", encoding="utf-8", newline="") as out:
        summary = csv_output.write_predictions(chunks, predictor, out, n_reasons)
    temporary.replace(_path_of(part, folder))
    return summary


def _path_of(part: Part, folder: Path) -> Path:
    return folder / f"{part.number:09d}"


def join_parts(parts: Sequence[tuple[Part, FileSummary]], folder: Path, out: IO[str]) -> FileSummary:
    """Put the part files of one file together, in order."""
    total = FileSummary()
    for part, summary in parts:
        with _path_of(part, folder).open(encoding="utf-8", newline="") as lines:
            shutil.copyfileobj(lines, out)
        before = partitions.count_lines(part) if summary.rejected else 0
        total.rejected += [
            Rejection(one.line + before, one.column, one.value, one.reason) for one in summary.rejected
        ]
        total.n_rows += summary.n_rows
        total.n_leaving += summary.n_leaving
    return total
