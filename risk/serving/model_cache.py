"""The deployed release and the last artifacts, as the server keeps them in memory.

A release is read once and again only when another is deployed, while requests are answered.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeGuard, TypeVar

from risk import files
from risk.data.schema import Schema
from risk.errors import ArtifactError
from risk.model import registry
from risk.model.registry import Release
from risk.prediction import fast_path
from risk.prediction.fast_path import Columns
from risk.prediction.predictor import Predictions, Predictor

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

T = TypeVar("T")
# Few rows are predicted one after the other: threads that compute at once only take the interpreter from each
# other, and all of them wait longer. Many rows have no turn, or few would wait for them.
_TURN = threading.Lock()
_PREDICTING = threading.Lock()  # limits on threads hold for the whole process


@dataclass(frozen=True)
class ServedModel:
    """A release as this process serves it."""

    release: Release
    predictor: Predictor

    @property
    def schema(self) -> Schema:
        """The columns that the model was trained with."""
        return self.predictor.schema

    def predict(self, columns: Columns) -> Predictions:
        """Predict as `Predictor.predict`; requests of few rows take turns."""
        n_rows = len(columns[self.schema.features[0]])
        with _TURN if n_rows <= fast_path.FEW_ROWS else contextlib.nullcontext():
            return self.predictor.predict(columns)


@contextlib.contextmanager
def one_thread(threads: ThreadpoolController) -> Iterator[None]:
    """Limit the thread pools of scikit-learn to one thread, for one request at a time."""
    with _PREDICTING, threads.limit(limits=1):
        yield


@dataclass(frozen=True)
class CacheEntry(Generic[T]):
    """What was loaded of a release, and the link that named it.

    `damage` describes what is wrong with the deployed release where this is an earlier one in its place;
    `file_facts` are those of the deployed files then: they show when the release was repaired.
    """

    value: T
    link: str | None
    damage: str | None
    file_facts: list[Any]


class DeployedModel:
    """The deployed release: read once, and again only when it changes; safe between threads.

    In place of a damaged one the newest good one before it is served, and `notify` is called with the reason.
    """

    def __init__(self, folder: Path, key: str | None, notify: Callable[[str], None] = lambda _: None) -> None:
        self._folder = folder
        self._key = key
        self._notify = notify
        self._loading = threading.Lock()
        self._release: CacheEntry[Release] | None = None
        self._served: CacheEntry[ServedModel] | None = None

    def release(self) -> Release:
        """Give the release deployed now, verified; its model may be of another scikit-learn.

        Raises
        ------
        ArtifactError
            When nothing is deployed, or it is damaged and there is no good one before it.
        """
        entry = self._release
        if not self._is_current(entry):
            entry = self._release = self._load(lambda release: release)
        return entry.value

    def get(self) -> ServedModel:
        """Give the release deployed now, ready to predict.

        Raises
        ------
        ArtifactError
            As `release`; and when it is of another scikit-learn.
        """
        entry = self._served
        if self._is_current(entry):
            return entry.value
        with self._loading:
            entry = self._served
            if not self._is_current(entry):
                entry = self._served = self._load(self._prepare)
                if entry.damage is not None:
                    self._notify(f"{entry.damage}; release {entry.value.release.id} is served in its place")
            return entry.value

    @property
    def damage(self) -> str | None:
        """Describe what is wrong with the deployed release, if another one is served in its place."""
        return self._served.damage if self._served else None

    def _load(self, use: Callable[[Release], T]) -> CacheEntry[T]:
        folder, key = self._folder, self._key
        link, file_facts = registry.current(folder), registry.list_file_facts(folder)
        value, damage = read_steadily(folder, lambda: registry.load_good(folder, key, use))
        return CacheEntry(value, link, damage, file_facts)

    def _prepare(self, release: Release) -> ServedModel:
        from threadpoolctl import ThreadpoolController

        predictor = Predictor.from_release(release, registry.unpickle(release, self._folder))
        return ServedModel(
            release, replace(predictor, limit_threads=partial(one_thread, ThreadpoolController()))
        )

    def _is_current(self, entry: CacheEntry[T] | None) -> TypeGuard[CacheEntry[T]]:
        if entry is None or entry.link is None or entry.link != registry.current(self._folder):
            return False
        return entry.damage is None or entry.file_facts == registry.list_file_facts(self._folder)


class CachedJSON:
    """A JSON artifact that is read again only when it changes."""

    def __init__(self, path: Path, remedy: str) -> None:
        self._path = path
        self._remedy = remedy
        self._known: tuple[tuple[int, ...], dict[str, Any]] | None = None

    def read(self) -> dict[str, Any]:
        """Read the artifact as it is now.

        Raises
        ------
        ArtifactError
            When it is not there yet, or damaged.
        """
        known, stamp = self._known, self._stamp()
        if known is None or known[0] != stamp:
            known = self._known = stamp, files.read_json(self._path, self._remedy)
        return known[1]

    def _stamp(self) -> tuple[int, ...]:
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return ()
        return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def current_id(folder: Path) -> str:
    """Name the release that is deployed, `none` where there is none that could be served."""
    try:
        return registry.release_id(registry.current(folder) or "") or "none"
    except ArtifactError:
        return "none"


def read_steadily(folder: Path, read: Callable[[], T]) -> T:
    """Read what is deployed; again, when it was swapped and swept away meanwhile."""
    while True:
        name = registry.current(folder)
        try:
            return read()
        except ArtifactError:
            if registry.current(folder) == name:
                raise
