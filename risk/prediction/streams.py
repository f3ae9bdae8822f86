"""Where do rows come from and go to on a command line: a file, a pipe, a standard stream?"""

from __future__ import annotations

import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from risk import files
from risk.errors import MissingArtifactError, UsageError

STANDARD = "-"


def take_input(path: str, scratch: Path) -> Path:
    """Give a regular file; what comes through a pipe is put into one first."""
    source = Path(path).resolve()
    if path != STANDARD and not source.exists():
        raise MissingArtifactError(f"{path}: no such file; name one that is there")
    if path != STANDARD and source.is_file():
        return source
    kept = scratch / ("standard input" if path == STANDARD else source.name)
    with kept.open("wb") as handle:
        if path == STANDARD:
            shutil.copyfileobj(sys.stdin.buffer, handle)
        else:
            with source.open("rb") as piped:
                shutil.copyfileobj(piped, handle)
    return kept


@contextmanager
def open_output(output: str | None, scratch: Path) -> Iterator[Any]:
    """Open the file to write to; without one, what was written goes to standard output in the end."""
    if output is not None:
        with files.put(Path(output)) as handle:
            yield handle
        return
    kept = scratch / "predictions.csv"
    with kept.open("w", encoding="utf-8", newline="") as handle:
        yield handle
    try:
        with kept.open("rb") as written:
            sys.stdout.flush()
            shutil.copyfileobj(written, sys.stdout.buffer)
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
def scratch(folder: Path, *, shared: bool = False) -> Iterator[Path]:
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
