"""Which files of an input folder are meant for the pipeline, and whether any has changed.

Standard library only: an idle run ends in here.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from risk.errors import MissingArtifactError

if TYPE_CHECKING:
    pass


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
