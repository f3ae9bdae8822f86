"""What is deployed, and what does it say about a client?

A release is read once and again only when another is deployed, while requests are answered.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar

from risk import dataset, releases
from risk.dataset import Schema
from risk.errors import ArtifactError
from risk.releases import Release

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

T = TypeVar("T")


@dataclass(frozen=True)
class Served:
    """A release as this process serves it."""

    release: Release
    model: Any
    schema: Schema
    threads: ThreadpoolController


class Deployed:
    """The deployed release: read once, and again only when it changes; safe between threads."""

    def __init__(self, folder: Path, key: str | None) -> None:
        self._folder = folder
        self._key = key
        self._loading = threading.Lock()
        self._served: Served | None = None

    def get(self) -> Served:
        """Give the release deployed now.

        Raises
        ------
        ArtifactError
            When nothing is deployed, or it is damaged, or of another scikit-learn.
        """
        served = self._served
        if self._is_current(served):
            return served
        with self._loading:
            served = self._served
            if not self._is_current(served):
                served = self._served = self._load()
            return served

    def _load(self) -> Served:
        from threadpoolctl import ThreadpoolController

        release, model = read_steadily(self._folder, lambda: releases.load_deployed(self._folder, self._key))
        schema = Schema.from_json(release.json("modelcard.json")["schema"])
        return Served(release, model, schema, ThreadpoolController())

    def _is_current(self, served: Served | None) -> TypeGuard[Served]:
        name = releases.current(self._folder)
        return served is not None and name is not None and served.release.id == releases.release_id(name)


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


_PREDICTING = threading.Lock()  # limits on threads hold for the whole process


def compute_predictions(served: Served, texts: list[Mapping[str, str]]) -> list[dict[str, Any]]:
    """Predict class and probability of checked rows, in their order."""
    if not texts:
        return []
    frame = dataset.to_frame(texts, served.schema)
    with _PREDICTING, served.threads.limit(limits=1):
        classes = served.model.predict(frame).tolist()
        risk = served.model.predict_proba(frame)[:, 1].tolist()
    return [{"class": int(c), "probability": p} for c, p in zip(classes, risk, strict=True)]
