"""Input folders: which files are meant for the pipeline, in which format, and whether any has changed.

To add a format, write a module with its two functions and add a row to `FORMATS`. Standard library only: an
idle run ends in here.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from risk.errors import MissingArtifactError


class InputFormat(NamedTuple):
    """A row of the registry: functions as `module:name`, imported when a file of the format is read.

    Attributes
    ----------
    check : str
        Takes an open file, its path, the columns that help to find the separator, the separator and the
        limits; gives what `csv_check.Checked` holds. A format that no engine reads itself is `odd`.
    read : str
        Takes an open file, its header, the separator and the limits; gives rows as `csv_rows.Row`.
    """

    check: str
    read: str


FORMATS = {".csv": InputFormat("risk.data.csv_check:check_open", "risk.data.csv_rows:read_open_rows")}
SUFFIXES = tuple(FORMATS)


def find_checker(path: Path) -> Callable[..., Any]:
    """Find the function that checks a file, by its suffix; CSV where a name has another one, or none."""
    return _import(_find_format(path).check)


def find_reader(path: Path) -> Callable[..., Any]:
    """Find the function that reads the rows of a file."""
    return _import(_find_format(path).read)


def _find_format(path: Path) -> InputFormat:
    return FORMATS.get(path.suffix.lower(), FORMATS[".csv"])


def _import(name: str) -> Callable[..., Any]:
    from importlib import import_module

    module, _, function = name.partition(":")
    imported: Callable[..., Any] = getattr(import_module(module), function)
    return imported


def is_input_name(name: str) -> bool:
    """Report whether a file of this name is meant for us; uploads in progress are not."""
    return name.lower().endswith(SUFFIXES) and name[0] not in ".~" and (name.isascii() or _is_text(name))


def _is_text(name: str) -> bool:
    try:
        return bool(name.encode())
    except UnicodeEncodeError:
        return False


def list_odd_inputs(folder: Path) -> dict[str, str]:
    """Give the reason why what is named like an input, and is none, is left alone."""
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
    """List the regular input files of a folder with what changes when they do.

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
    """Report whether a folder holds the files of a listing as they were, and no other that is meant for us.

    The quick look of a run at very many files; false as soon as one differs.
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
