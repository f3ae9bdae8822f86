"""What can go wrong, and which exit code says so: one tree, sysexits codes (`os.EX_*`)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class PipelineError(Exception):
    """Base of every failure we expect: its text says what, why and what to do.

    `details` are told below the text, a line each.
    """

    exit_code = os.EX_SOFTWARE

    def __init__(self, text: str, details: Iterable[str] = ()) -> None:
        super().__init__(text)
        self.text = text
        self.details = tuple(details)

    def __str__(self) -> str:
        return "\n  ".join((self.text, *self.details))


class UsageError(PipelineError):
    """The command line asks for something that cannot be."""

    exit_code = os.EX_USAGE


class ConfigError(PipelineError):
    """config.json or a `RISK_*` variable is wrong."""

    exit_code = os.EX_CONFIG


class DatasetError(PipelineError):
    """The data do not allow what was asked of them."""

    exit_code = os.EX_DATAERR


class ArtifactError(PipelineError):
    """An artifact is damaged, or does not belong to the others."""

    exit_code = os.EX_DATAERR


class MissingArtifactError(ArtifactError):
    """An artifact or an input is not there (yet)."""

    exit_code = os.EX_NOINPUT


class VersionError(ArtifactError):
    """The deployed model was fitted by another version of its library."""


class ServiceError(PipelineError):
    """Something outside (API, database, cluster) does not answer."""

    exit_code = os.EX_UNAVAILABLE


class StorageError(PipelineError):
    """Disk or network failed under us."""

    exit_code = os.EX_IOERR


class BusyError(PipelineError):
    """Another run holds the workspace."""

    exit_code = os.EX_TEMPFAIL


class AccessError(PipelineError):
    """The system does not let us read or write where we must."""

    exit_code = os.EX_NOPERM


def from_os_error(error: OSError) -> PipelineError:
    """Say what an error of the system means for us."""
    import errno

    path = error.filename2 or error.filename  # of a rename: what was to come to be
    where = f"{path}: " if path else ""
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return AccessError(f"{where}{error.strerror}; check owner and mode")
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageError(f"{where}{error.strerror}{describe_free_space(path)}; make room, then run again")
    check = "" if error.errno == errno.ESTALE else "check the disk, then "
    return StorageError(f"{where}{error.strerror or error}; {check}run again")


def describe_free_space(path: str | None) -> str:
    """Say how much is free where a path is, or was to be."""
    import shutil
    from pathlib import Path

    for folder in Path(path).parents if path else ():
        try:
            usage = shutil.disk_usage(folder)
        except OSError:
            continue
        return f" ({usage.free:,} of {usage.total:,} bytes are free there)"
    return ""
