"""What is deployed, and what does it say about a client?

A release is read once and again only when another is deployed, while requests are answered.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar

import numpy as np

from risk import dataset, direct, releases
from risk.anatomy import Anatomy
from risk.dataset import Schema
from risk.direct import Columns
from risk.errors import ArtifactError
from risk.releases import Release

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

T = TypeVar("T")
CLOSE = 1e-9  # so near to the threshold the last digit of a sum could decide: the model itself does
_PREDICTING = threading.Lock()  # limits on threads hold for the whole process


@dataclass(frozen=True)
class Served:
    """A release as this process serves it; `parts` are those of a linear model."""

    release: Release
    model: Any = field(repr=False)
    schema: Schema = field(repr=False)
    parts: Anatomy | None = field(repr=False)
    threads: ThreadpoolController = field(repr=False)

    def say(self, columns: Columns) -> tuple[np.ndarray, np.ndarray]:
        """Say of each row the class (1 leaves, 0 stays) and the probability of leaving.

        Parameters
        ----------
        columns : mapping of str to sequence
            Every feature: numbers with NaN, texts with None where a cell is missing.
        """
        if not len(columns[self.schema.features[0]]):
            return np.empty(0, dtype=int), np.empty(0)
        if self.parts is None:
            return self._ask_pipeline(columns)
        probability = direct.probabilities(self.parts, columns)
        classes = (probability >= self.parts.threshold).astype(int)
        close = np.flatnonzero(np.abs(probability - self.parts.threshold) < CLOSE)
        if len(close):
            few = {name: [cells[i] for i in close] for name, cells in columns.items()}
            classes[close] = self._ask_pipeline(few)[0]
        return classes, probability

    def _ask_pipeline(self, columns: Columns) -> tuple[np.ndarray, np.ndarray]:
        frame = dataset.frame_of(columns, self.schema)
        with _PREDICTING, self.threads.limit(limits=1):
            probability = self.model.predict_proba(frame)[:, 1]
            return self._classes(frame, probability), probability

    def _classes(self, frame: Any, probability: np.ndarray) -> np.ndarray:
        """Cut at the threshold, as the model would; any other model is asked a second time."""
        threshold = getattr(self.model, "threshold", None)
        if not isinstance(threshold, float):
            return np.asarray(self.model.predict(frame)).astype(int)
        return (probability >= threshold).astype(int)


class Deployed:
    """The deployed release: read once, and again only when it changes; safe between threads."""

    def __init__(self, folder: Path, key: str | None) -> None:
        self._folder = folder
        self._key = key
        self._loading = threading.Lock()
        self._release: Release | None = None
        self._served: Served | None = None

    def release(self) -> Release:
        """Give the release deployed now, verified; its model may be of another scikit-learn.

        Raises
        ------
        ArtifactError
            When nothing is deployed, or it is damaged.
        """
        release = self._release
        if self._is_current(release):
            return release
        self._release = read_steadily(self._folder, lambda: releases.load(self._folder, self._key))
        return self._release

    def get(self) -> Served:
        """Give the release deployed now, ready to be asked.

        Raises
        ------
        ArtifactError
            When nothing is deployed, or it is damaged, or of another scikit-learn.
        """
        served = self._served
        if served is not None and self._is_current(served.release):
            return served
        with self._loading:
            served = self._served
            if served is None or not self._is_current(served.release):
                served = self._served = self._load()
            return served

    def _load(self) -> Served:
        from threadpoolctl import ThreadpoolController

        release, model = read_steadily(self._folder, lambda: releases.load_deployed(self._folder, self._key))
        card = release.json("modelcard.json")
        schema = Schema.from_json(card["schema"])
        return Served(release, model, schema, direct.take_apart(model, schema, card), ThreadpoolController())

    def _is_current(self, release: Release | None) -> TypeGuard[Release]:
        name = releases.current(self._folder)
        return release is not None and name is not None and release.id == releases.release_id(name)


def current_id(folder: Path) -> str:
    """Name the release that is deployed, `none` where there is none that could be served."""
    try:
        return releases.release_id(releases.current(folder) or "") or "none"
    except ArtifactError:
        return "none"


def read_steadily(folder: Path, read: Callable[[], T]) -> T:
    """Read what is deployed; again, when it was swapped and swept away meanwhile."""
    while True:
        name = releases.current(folder)
        try:
            return read()
        except ArtifactError:
            if releases.current(folder) == name:
                raise
