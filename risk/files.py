"""How does a file come to be whole or not at all: four verbs, the lock, digests, what is new.

Every artifact is written through `put` (whole or absent), `append` (grows by a committed length),
`publish` in `risk.model.registry` (a set of files that belong together) and `sweep` (leftovers of dead runs).
Standard library only: an idle tick ends in here.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from risk.errors import ArtifactError, BusyError, MissingArtifactError

if TYPE_CHECKING:
    import hashlib

BLOCK = 4 * 1024 * 1024
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
    """Let an error of the system name the artifact: on an open file it knows no path, else the temporary."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and TEMPORARY in str(error.filename or TEMPORARY):
            error.filename = str(path)
        raise


def put_text(path: Path, text: str) -> None:
    """Put one text."""
    with put(path) as handle:
        handle.write(text)


def put_json(path: Path, value: object, *, is_long: bool = False) -> None:
    """Put one JSON document, in a form that the same value always takes."""
    put_text(path, render_json(value, is_long=is_long))


def render_json(value: object, *, is_long: bool = False) -> str:
    """Render strict JSON: no NaN, keys as given, one trailing newline.

    A long document has a line for each value and no indentation, which Python writes ten times as fast.
    """
    form: dict[str, Any] = {"separators": (",\n", ": ")} if is_long else {"indent": 2}
    return json.dumps(value, ensure_ascii=False, allow_nan=False, **form) + "\n"


def append(path: Path, chunks: Iterable[bytes], *, committed: int) -> int:
    """Write `chunks` behind the first `committed` bytes and return the new length.

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
    """Remove what dead runs left; only called while the lock is held."""
    for folder in folders:
        for leftover in folder.glob(f"{TEMPORARY}*"):
            if leftover.is_dir() and not leftover.is_symlink():
                remove_tree(leftover)
            else:
                leftover.unlink(missing_ok=True)


def name_reader() -> str:
    """Begin the name of a folder of a run that only reads: it holds no lock, so the name says who lives."""
    return f"{READER}{os.uname().nodename}-{os.getpid()}-"


def sweep_readers(folder: Path) -> None:
    """Remove what dead readers of this machine left; those of another one may live."""
    begin = f"{READER}{os.uname().nodename}-"
    for leftover in folder.glob(f"{READER}*"):
        pid = leftover.name.removeprefix(begin).partition("-")[0]
        if leftover.name.startswith(begin) and not Path("/proc", pid).exists():
            remove_tree(leftover)


def remove_tree(folder: Path) -> None:
    """Remove a folder and all that is in it, if it is there."""
    import shutil  # brings the compressors, which no idle tick needs

    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder)


def write_synced(path: Path, data: bytes, *, mode: int) -> None:
    """Write a file of a release that nobody can see yet."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with naming(path), open(descriptor, "wb") as handle:  # noqa: PTH123
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` last through a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with naming(folder):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


# --- reading ---------------------------------------------------------------------------------------


def read_bytes(path: Path, remedy: str) -> bytes:
    """Read an artifact; `remedy` names the script that makes it."""
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise MissingArtifactError(f"{path}: no such file; {remedy}") from error


def read_json(path: Path, remedy: str) -> dict[str, Any]:
    """Read a JSON artifact of ours; damage is an ArtifactError with the remedy."""
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


def new_sha256(data: bytes = b"") -> hashlib._Hash:
    """Begin a digest; imported here, because an idle tick digests nothing."""
    import hashlib

    return hashlib.sha256(data)


def sha256(data: bytes) -> str:
    """Digest bytes that are in memory."""
    return new_sha256(data).hexdigest()


class TableDigest:
    """Digest of a growing table: sha256 over the sha256 of its 4 MiB blocks.

    Only the last, unfilled block is read again when rows are appended; `blocks` are the hex digests
    of the full ones.
    """

    def __init__(self, blocks: Iterable[str] = ()) -> None:
        self.blocks = list(blocks)
        self.length = len(self.blocks) * BLOCK
        self._last = new_sha256()

    def update(self, data: bytes) -> None:
        """Take in the next bytes of the table."""
        view = memoryview(data)
        while view:
            room = BLOCK - self.length % BLOCK
            part, view = view[:room], view[room:]
            self._last.update(part)
            self.length += len(part)
            if self.length % BLOCK == 0:
                self.blocks.append(self._last.hexdigest())
                self._last = new_sha256()

    def hexdigest(self) -> str:
        """Digest what was taken in so far."""
        parts = [*self.blocks, *([self._last.hexdigest()] if self.length % BLOCK else [])]
        return sha256("\n".join(parts).encode())


def prefix_digest(path: Path, length: int, blocks: list[str]) -> str | None:
    """Digest the first `length` bytes, trusting `blocks`; None when the file is shorter."""
    digest = TableDigest(blocks[: length // BLOCK])
    try:
        with path.open("rb") as handle:
            handle.seek(digest.length)
            while digest.length < length:
                data = handle.read(min(BLOCK, length - digest.length))
                if not data:
                    return None
                digest.update(data)
    except FileNotFoundError:
        return None
    return digest.hexdigest()


# --- the lock --------------------------------------------------------------------------------------


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
        with naming(path):
            died = _hold(handle, time.monotonic() + wait_s)
        try:
            yield died
        finally:
            with naming(path):
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


# --- what is new -----------------------------------------------------------------------------------


def is_input_name(name: str) -> bool:
    """Say whether a file of this name is meant for us; uploads in progress are not."""
    return name[-4:].lower() == ".csv" and name[0] not in ".~" and (name.isascii() or _is_text(name))


def _is_text(name: str) -> bool:
    try:
        return bool(name.encode())
    except UnicodeEncodeError:
        return False


def list_odd_inputs(folder: Path) -> dict[str, str]:
    """Say of what is named like an input, and is not one, why it is left alone."""
    reasons = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name.encode(errors="backslashreplace").decode()
            if not is_input_name(name):
                continue
            if entry.is_symlink():
                reasons[name] = "is a link; put the file itself here"
            elif entry.is_dir():
                reasons[name] = "is a folder; put its files here"
            elif not entry.is_file():
                reasons[name] = "is a pipe, a socket or a device"
            elif not _is_text(entry.name):
                reasons[name] = "has a name that is not UTF-8; rename it"
    return dict(sorted(reasons.items()))


def list_inputs(folder: Path) -> dict[str, list[int]]:
    """List the regular CSV files of a folder with what changes when they do.

    Returns
    -------
    listing : dict of str to [size, mtime_ns, ctime_ns, inode]
        Sorted by name; links, folders, pipes and devices are not followed and not listed.
    """
    listing = {}
    with _scan(folder) as entries:
        for entry in entries:
            if is_input_name(entry.name) and entry.is_file(follow_symlinks=False):
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:  # gone since it was listed
                    continue
                facts = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
                listing[entry.name] = facts
    return dict(sorted(listing.items()))


def is_as_listed(folder: Path, listing: Mapping[str, Sequence[Any]]) -> bool:
    """Say whether a folder holds what a listing of `list_inputs` says, and nothing else that is meant for us.

    The quick look of a tick at very many files; false as soon as one differs.
    """
    n_seen = 0
    with _scan(folder) as entries:
        for entry in entries:
            known = listing.get(entry.name)
            if known is None:
                if is_input_name(entry.name) and entry.is_file(follow_symlinks=False):
                    return False
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                return False
            if (
                status.st_ctime_ns != known[2]
                or status.st_mtime_ns != known[1]
                or status.st_size != known[0]
                or status.st_ino != known[3]
            ):
                return False
            n_seen += 1
    return n_seen == len(listing)


@contextlib.contextmanager
def _scan(folder: Path) -> Iterator[Iterator[os.DirEntry[str]]]:
    """Scan an open folder: its entries are looked up by name alone, which of many files is half the work."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError as error:
        raise MissingArtifactError(f"{folder}: no such folder; create it or correct config.json") from error
    except NotADirectoryError as error:
        raise MissingArtifactError(f"{folder}: is not a folder; correct config.json") from error
    try:
        with os.scandir(descriptor) as entries:
            yield entries
    finally:
        os.close(descriptor)
