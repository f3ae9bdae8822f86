"""What is deployed, and what does it say about a client?

A release is read once and again only when another is deployed, while requests are answered.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeGuard, TypeVar

import numpy as np

from risk import files
from risk.data import frames
from risk.data.schema import Schema
from risk.errors import ArtifactError
from risk.model import registry
from risk.model.registry import Release
from risk.prediction import fast_path, trees
from risk.prediction.fast_path import Columns, Direct

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

T = TypeVar("T")
CLOSE = 1e-9  # so near to the threshold the last digit of a sum could decide: the model itself does
# Few rows are answered one after the other: threads that compute at once only take the interpreter from each
# other, and all of them wait longer. Many rows have no turn, or few would wait for them.
_TURN = threading.Lock()
_PREDICTING = threading.Lock()  # limits on threads hold for the whole process


@dataclass(frozen=True)
class Served:
    """A release as this process serves it; `direct` asks its model without a frame, if it can."""

    release: Release
    model: Any = field(repr=False)
    schema: Schema = field(repr=False)
    direct: Direct | None = field(repr=False)
    threads: ThreadpoolController = field(repr=False)

    def say(self, columns: Columns) -> tuple[np.ndarray, np.ndarray]:
        """Say of each row the class (1 leaves, 0 stays) and the probability of leaving.

        Parameters
        ----------
        columns : mapping of str to sequence
            Every feature: numbers with NaN, texts with None where a cell is missing.
        """
        n_rows = len(columns[self.schema.features[0]])
        if not n_rows:
            return np.empty(0, dtype=int), np.empty(0)
        if self.direct is None:
            return self._ask_pipeline(columns)
        with self._turn(self.direct, n_rows):
            probability = self.direct.probabilities(columns)
        classes = (probability >= self.direct.threshold).astype(int)
        close = np.flatnonzero(np.abs(probability - self.direct.threshold) < CLOSE)
        if len(close):
            few = {name: [cells[i] for i in close] for name, cells in columns.items()}
            classes[close] = self._ask_pipeline(few)[0]
        return classes, probability

    def _turn(self, direct: Direct, n_rows: int) -> contextlib.AbstractContextManager[object]:
        if direct.asks_classifier(n_rows):
            return self._one_thread()
        return _TURN if n_rows <= trees.FEW else contextlib.nullcontext()

    @contextlib.contextmanager
    def _one_thread(self) -> Iterator[None]:
        with _PREDICTING, self.threads.limit(limits=1):
            yield

    def _ask_pipeline(self, columns: Columns) -> tuple[np.ndarray, np.ndarray]:
        frame = frames.frame_of(columns, self.schema)
        with self._one_thread():
            probability = self.model.predict_proba(frame)[:, 1]
            return self._classes(frame, probability), probability

    def _classes(self, frame: Any, probability: np.ndarray) -> np.ndarray:
        """Cut at the threshold, as the model would; any other model is asked a second time."""
        threshold = getattr(self.model, "threshold", None)
        if not isinstance(threshold, float):
            return np.asarray(self.model.predict(frame)).astype(int)
        return (probability >= threshold).astype(int)


@dataclass(frozen=True)
class Found(Generic[T]):
    """What was made of a release, and by which link it was found.

    `damage` says what is wrong with the deployed release where this is an earlier one in its place;
    `seen` are the facts of the deployed files then, by which it is noticed that they were mended.
    """

    made: T
    link: str | None
    damage: str | None
    seen: list[Any]


class Deployed:
    """The deployed release: read once, and again only when it changes; safe between threads.

    In place of a damaged one the newest good one before it is served, and `tell` is told so.
    """

    def __init__(self, folder: Path, key: str | None, tell: Callable[[str], None] = lambda _: None) -> None:
        self._folder = folder
        self._key = key
        self._tell = tell
        self._loading = threading.Lock()
        self._release: Found[Release] | None = None
        self._served: Found[Served] | None = None

    def release(self) -> Release:
        """Give the release deployed now, verified; its model may be of another scikit-learn.

        Raises
        ------
        ArtifactError
            When nothing is deployed, or it is damaged and there is no good one before it.
        """
        found = self._release
        if not self._is_current(found):
            found = self._release = self._find(lambda release: release)
        return found.made

    def get(self) -> Served:
        """Give the release deployed now, ready to be asked.

        Raises
        ------
        ArtifactError
            As `release`; and when it is of another scikit-learn.
        """
        found = self._served
        if self._is_current(found):
            return found.made
        with self._loading:
            found = self._served
            if not self._is_current(found):
                found = self._served = self._find(self._prepare)
                if found.damage is not None:
                    self._tell(f"{found.damage}; release {found.made.release.id} is served in its place")
            return found.made

    @property
    def damage(self) -> str | None:
        """Say what is wrong with the deployed release, if another one is served in its place."""
        return self._served.damage if self._served else None

    def _find(self, use: Callable[[Release], T]) -> Found[T]:
        folder, key = self._folder, self._key
        link, seen = registry.current(folder), registry.facts(folder)
        made, damage = read_steadily(folder, lambda: registry.load_good(folder, key, use))
        return Found(made, link, damage, seen)

    def _prepare(self, release: Release) -> Served:
        from threadpoolctl import ThreadpoolController

        model = registry.unpickle(release, self._folder)
        card = release.json("modelcard.json")
        schema = Schema.from_json(card["schema"])
        return Served(
            release, model, schema, fast_path.take_apart(model, schema, card), ThreadpoolController()
        )

    def _is_current(self, found: Found[T] | None) -> TypeGuard[Found[T]]:
        if found is None or found.link is None or found.link != registry.current(self._folder):
            return False
        return found.damage is None or found.seen == registry.facts(self._folder)


class Facts:
    """A JSON artifact that is read again only when it changes."""

    def __init__(self, path: Path, remedy: str) -> None:
        self._path = path
        self._remedy = remedy
        self._known: tuple[tuple[int, ...], dict[str, Any]] | None = None

    def read(self) -> dict[str, Any]:
        """Read what the artifact says now.

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
