"""The lock of a workspace: flock, so it dies with its owner and is never stale.

Standard library only.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from risk import files
from risk.errors import BusyError


@contextlib.contextmanager
def lock(path: Path, *, wait_s: float) -> Iterator[bool]:
    """Hold the workspace; flock, so it dies with its owner and is never stale.

    Yields whether the last holder died with it: what it wrote there about itself is still there.

    Raises
    ------
    BusyError
        When another run still holds it after `wait_s` seconds; names the holder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without a buffer: one that could not be written would be written again when the file is closed.
    with open(path, "ab+", buffering=0) as handle:  # noqa: PTH123
        with files.naming(path):
            died = _hold(handle, time.monotonic() + wait_s)
        try:
            yield died
        finally:
            with files.naming(path):
                handle.truncate(0)


def _hold(handle: IO[bytes], deadline: float) -> bool:
    """Take the lock, and write down whose it is; say whether the run before has died."""
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError as error:
            if time.monotonic() >= deadline:
                handle.seek(0)
                holder = handle.read(200).decode(errors="replace").strip() or "unknown"
                raise BusyError(f"another run holds the workspace ({holder}); try again later") from error
            time.sleep(0.05)
    handle.seek(0)
    died = bool(handle.read(200).strip())
    handle.truncate(0)
    handle.write(f"pid {os.getpid()} since {time.strftime('%Y-%m-%d %H:%M:%S%z')}\n".encode())
    return died
