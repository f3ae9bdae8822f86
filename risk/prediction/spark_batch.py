"""What does the deployed model say of rows, said on the executors of a cluster?

The release is sent to them, and every byte of it is checked there before it is unpickled. Each part of the
input becomes a part file on shared storage; they are put together in order. The lines are those of `batches`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO

from risk.data import validation
from risk.data.csv_check import Checked
from risk.data.validation import Rejection
from risk.digests import sha256
from risk.engines import partitions
from risk.engines.partitions import Part
from risk.engines.spark_session import Cluster
from risk.errors import ArtifactError, DatasetError, ServiceError
from risk.files import render_json
from risk.model import registry
from risk.model.registry import Release
from risk.prediction.csv_output import render_header, render_lines
from risk.prediction.predictor import Predictor
from risk.prediction.wording import Words

CHUNK_ROWS = 10_000
PACKAGES = ("numpy", "pandas", "scikit-learn", "scipy", "threadpoolctl")


@dataclass(frozen=True)
class Sent:
    """What executors are sent: the deployed release, what columns are called, and how much is asked."""

    release: Release = field(repr=False)
    words: Mapping[str, Mapping[str, str]] = field(repr=False)
    n_reasons: int


@dataclass(frozen=True)
class Said:
    """What became of the rows of one part; the lines of rejected ones are counted from its start."""

    number: int
    n_rows: int
    n_leaving: int
    rejected: list[Rejection]


@dataclass
class Told:
    """What became of the rows of a file."""

    n_rows: int = 0
    n_leaving: int = 0
    rejected: list[Rejection] = field(default_factory=list)


def predict_files(
    cluster: Cluster,
    files: Sequence[Checked],
    sent: Sent,
    predictor: Predictor,
    folder: Path,
    open_output: Callable[[int], contextlib.AbstractContextManager[IO[str]]],
) -> list[Told]:
    """Write what the model says of each good row of checked files.

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
        reason = checked.refusal or validation.refuse_header(checked.header, predictor.schema.features)
        if reason:
            raise DatasetError(f"{checked.name}: {reason}")
    cut = partitions.cut(enumerate(files))
    first = number_rows(cluster, cut)
    broadcast, place = cluster.context.broadcast(sent), str(folder)
    digest = sha256(render_json(sent.release.manifest).encode())

    def say(packed: Iterator[list[Part]]) -> Iterator[Said]:
        return say_parts(chain_parts(packed), broadcast.value, digest, first, place)

    packed = partitions.pack(cut)
    rdd = cluster.context.parallelize(packed, max(len(packed), 1)).mapPartitions(say)
    found = {said.number: said for said in cluster.work(rdd.collect)}
    return [
        join(checked, [(part, found[part.number]) for part in cut if part.file_no == file_no],
             predictor, folder, open_output(file_no), sent.n_reasons)
        for file_no, checked in enumerate(files)
    ]  # fmt: skip


def chain_parts(packed: Iterable[list[Part]]) -> Iterator[Part]:
    """Give part after part."""
    for some in packed:
        yield from some


def number_rows(cluster: Cluster, cut: Sequence[Part]) -> dict[int, int]:
    """Say of every part which number its first row has in the file; only files of several parts are read."""
    several = [part for part in cut if part.start or part.stop < part.size]
    counts: dict[int, int] = {}
    if several:

        def count(packed: Iterator[list[Part]]) -> Iterator[tuple[int, int]]:
            return ((part.number, sum(1 for _ in partitions.read_rows(part))) for part in chain_parts(packed))

        packed = partitions.pack(several)
        counts = dict(
            cluster.work(cluster.context.parallelize(packed, len(packed)).mapPartitions(count).collect)
        )
    first: dict[int, int] = {}
    at = 1
    for part in cut:
        at = at if part.start else 1
        first[part.number] = at
        at += counts.get(part.number, 0)
    return first


def say_parts(
    found: Iterable[Part], sent: Sent, digest: str, first: Mapping[int, int], folder: str
) -> Iterator[Said]:
    """On an executor: check the release, let it speak of parts, and write a file for each.

    Raises
    ------
    ServiceError
        When the release is not the one that is deployed.
    """
    import sklearn.ensemble  # noqa: F401  (its thread pool must be there before it can be limited)
    from threadpoolctl import threadpool_limits

    release = sent.release
    try:
        registry.verify(release, digest)
        model = registry.unpickle(release, Path("release"))
    except ArtifactError as error:
        raise ServiceError(f"on {os.uname().nodename}: {error}") from error
    predictor = Predictor.from_release(release, model, Words(sent.words))
    with threadpool_limits(1):
        for part in found:
            yield say_part(part, predictor, sent.n_reasons, first[part.number], Path(folder))


def say_part(part: Part, predictor: Predictor, n_reasons: int, first: int, folder: Path) -> Said:
    """Write the lines of one part; whole or not at all, for another executor may do the same."""
    import numpy as np

    from risk.data.frames import to_frame

    schema, ids = predictor.schema, ids_of(part.header, predictor)
    wanted = (*schema.features, *ids)
    n_rows = n_leaving = 0
    rejected: list[Rejection] = []
    path = folder / f"{part.number:09d}"
    temporary = folder / f".{part.number:09d}-{os.uname().nodename}-{os.getpid()}"
    found = partitions.read_rows(part)
    with temporary.open("w", encoding="utf-8", newline="") as out:
        while chunk := list(islice(found, CHUNK_ROWS)):
            taken = validation.sort_rows(chunk, part.header, wanted, schema)
            rejected += taken.rejected
            if taken.good:
                numbers = np.array(taken.places, dtype=np.int64) + first
                texts = [np.array([row[name] or None for row in taken.good], dtype=object) for name in ids]
                X = to_frame(taken.good, schema)
                lines, n = render_lines(predictor, numbers, X, texts, n_reasons)
                out.write(lines)
                n_rows += len(numbers)
                n_leaving += n
            first += len(chunk)
    temporary.replace(path)
    return Said(part.number, n_rows, n_leaving, rejected)


def ids_of(header: Sequence[str], predictor: Predictor) -> list[str]:
    """Name the id columns that a file has."""
    return [name for name in predictor.schema.ids if name in header]


def join(
    checked: Checked,
    found: Sequence[tuple[Part, Said]],
    predictor: Predictor,
    folder: Path,
    output: contextlib.AbstractContextManager[IO[str]],
    n_reasons: int,
) -> Told:
    """Put the part files of one file together, in order."""
    told = Told()
    with output as out:
        out.write(render_header(ids_of(checked.header, predictor), n_reasons))
        for part, said in found:
            with (folder / f"{part.number:09d}").open(encoding="utf-8", newline="") as lines:
                shutil.copyfileobj(lines, out)
            before = partitions.count_lines(part) if said.rejected else 0
            told.rejected += [
                Rejection(one.line + before, one.column, one.value, one.reason) for one in said.rejected
            ]
            told.n_rows += said.n_rows
            told.n_leaving += said.n_leaving
    return told
