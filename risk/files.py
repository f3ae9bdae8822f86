"""Atomic writing of artifacts, and reading them back.

Every artifact is written by `put` (complete or absent), `append` (up to a committed length) or the
publishing of a release in `risk.model` (a set of files that belong together); `sweep` removes what dead
runs left. Standard library only: a run with nothing new imports this module.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from risk.errors import ArtifactError, MissingArtifactError

TEMPORARY = ".tmp-"
READER = "reader-"


# --- whole or absent -------------------------------------------------------------------------------


@contextlib.contextmanager
def put(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Write `path` whole or leave it as it was.

    Yields an open temporary sibling; its `.name` may be filled by a library that writes by path.
    On any error the old file stays and no litter remains.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f"{TEMPORARY}{os.getpid()}-{path.name}.part"
    encoding, newline = (None, None) if "b" in mode else ("utf-8", "")
    try:
        with naming(path), open(temporary, mode, encoding=encoding, newline=newline) as handle:  # noqa: PTH123
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, path)  # noqa: PTH105
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let an error of the system name the artifact instead of no path, or the temporary one."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and TEMPORARY in str(error.filename or TEMPORARY):
            error.filename = str(path)
        raise


def put_text(path: Path, text: str) -> None:
    """Write one text, completely or not at all."""
    with put(path) as handle:
        handle.write(text)


def put_json(path: Path, value: object, *, is_long: bool = False) -> None:
    """Write one JSON document; the same value always gives the same bytes."""
    put_text(path, render_json(value, is_long=is_long))


def render_json(value: object, *, is_long: bool = False) -> str:
    """Render strict JSON: no NaN, keys as given, one trailing newline.

    A long document has a line for each value and no indentation, which Python writes ten times as fast.
    """
    form: dict[str, Any] = {"separators": (",\n", ": ")} if is_long else {"indent": 2}
    return json.dumps(value, ensure_ascii=False, allow_nan=False, **form) + "\n"


def append(path: Path, chunks: Iterable[bytes], *, committed: int) -> int:
    """Write `chunks` after the first `committed` bytes and return the new length.

    What lies beyond `committed` (a run that died before its commit) is cut off first. The caller
    commits by putting the record that holds the returned length.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with naming(path), open(path, "ab") as handle:  # noqa: PTH123
        if handle.tell() < committed:
            raise ArtifactError(f"{path}: shorter than its record says; run ingestion.py --rebuild")
        handle.truncate(committed)
        for chunk in chunks:
            handle.write(chunk)
        handle.flush()
        os.fsync(handle.fileno())
        length = os.fstat(handle.fileno()).st_size
    sync_folder(path.parent)
    return length


def sweep(*folders: Path) -> None:
    """Remove what dead runs left; call it only while holding the lock."""
    for folder in folders:
        for leftover in folder.glob(f"{TEMPORARY}*"):
            if leftover.is_dir() and not leftover.is_symlink():
                remove_tree(leftover)
            else:
                leftover.unlink(missing_ok=True)


def name_reader() -> str:
    """Name the folder of a run that only reads: it holds no lock, so the name says which process owns it."""
    return f"{READER}{os.uname().nodename}-{os.getpid()}-"


def sweep_readers(folder: Path) -> None:
    """Remove what dead readers of this machine left; those of another machine may be alive."""
    begin = f"{READER}{os.uname().nodename}-"
    for leftover in folder.glob(f"{READER}*"):
        pid = leftover.name.removeprefix(begin).partition("-")[0]
        if leftover.name.startswith(begin) and not Path("/proc", pid).exists():
            remove_tree(leftover)


def remove_tree(folder: Path) -> None:
    """Remove a folder and all that is in it, if it is there."""
    import shutil  # brings the compressors, which no idle run needs

    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder)


def write_synced(path: Path, data: bytes, *, mode: int) -> None:
    """Write a file of a release that no reader can see yet."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with naming(path), open(descriptor, "wb") as handle:  # noqa: PTH123
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with naming(folder):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


# --- reading ---------------------------------------------------------------------------------------


def read_bytes(path: Path, remedy: str) -> bytes:
    """Read an artifact; `remedy` tells the reader of an error what creates it."""
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise MissingArtifactError(f"{path}: no such file; {remedy}") from error


def read_json(path: Path, remedy: str) -> dict[str, Any]:
    """Read a JSON artifact; a damaged one is an ArtifactError with the remedy."""
    try:
        value = json.loads(read_bytes(path, remedy))
    except ValueError as error:
        raise ArtifactError(f"{path}: is damaged ({error}); {remedy}") from error
    if not isinstance(value, dict):
        raise ArtifactError(f"{path}: is damaged (no JSON object); {remedy}")
    return value


def read_json_or_none(path: Path) -> dict[str, Any] | None:
    """Read a JSON artifact that may not be there yet."""
    return read_json(path, "remove it and run again") if path.exists() else None


# --- digests ---------------------------------------------------------------------------------------


# --- the lock --------------------------------------------------------------------------------------


# --- what is new -----------------------------------------------------------------------------------
