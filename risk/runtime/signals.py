"""Termination by SIGTERM, as an exception."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


class Terminated(BaseException):
    """SIGTERM: leave as after an error, so that nothing half done stays."""


@contextmanager
def terminable() -> Iterator[None]:
    """Turn SIGTERM into an exception, so that temporary files go and the lock is released."""

    def leave(*_: object) -> None:
        raise Terminated

    try:
        before = signal.signal(signal.SIGTERM, leave)
    except ValueError:  # not the main thread: its owner decides
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
