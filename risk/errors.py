"""Expected errors and their exit codes: one tree, with the codes of sysexits (`os.EX_*`)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


EXIT_CODES = {
    os.EX_OK: "done, or nothing to do",
    os.EX_USAGE: "the command line is wrong",
    os.EX_DATAERR: "bad data, or a damaged artifact",
    os.EX_NOINPUT: "an input is missing",
    os.EX_UNAVAILABLE: "a service is missing",
    os.EX_SOFTWARE: "internal error",
    os.EX_IOERR: "disk or network failed",
    os.EX_TEMPFAIL: "another run holds the workspace",
    os.EX_NOPERM: "a file may not be read or written",
    os.EX_CONFIG: "config.json is wrong",
    130: "it was interrupted",
    143: "it was terminated",
}


class PipelineError(Exception):
    """Base of every expected failure: its text says what is wrong, why, and what to do.

    `details` are printed below the text, one per line.
    """

    exit_code = os.EX_SOFTWARE

    def __init__(self, text: str, details: Iterable[str] = ()) -> None:
        super().__init__(text)
        self.text = text
        self.details = tuple(details)

    def __str__(self) -> str:
        return "\n  ".join((self.text, *self.details))


class UsageError(PipelineError):
    """The command line is wrong."""

    exit_code = os.EX_USAGE


class ConfigError(PipelineError):
    """config.json or a `RISK_*` variable is wrong."""

    exit_code = os.EX_CONFIG


class DatasetError(PipelineError):
    """The data do not allow what was asked for."""

    exit_code = os.EX_DATAERR


class ArtifactError(PipelineError):
    """An artifact is damaged, or does not belong to the others."""

    exit_code = os.EX_DATAERR


class MissingArtifactError(ArtifactError):
    """An artifact or an input is missing, or not there yet."""

    exit_code = os.EX_NOINPUT


class VersionError(ArtifactError):
    """The deployed model was fitted by another version of its library."""


class ServiceError(PipelineError):
    """Something outside (API, database, cluster) does not answer."""

    exit_code = os.EX_UNAVAILABLE


class StorageError(PipelineError):
    """Disk or network failed."""

    exit_code = os.EX_IOERR


class BusyError(PipelineError):
    """Another run holds the workspace."""

    exit_code = os.EX_TEMPFAIL


class AccessError(PipelineError):
    """A file may not be read or written."""

    exit_code = os.EX_NOPERM


def from_os_error(error: OSError) -> PipelineError:
    """Convert an error of the operating system to one of ours, with what to do."""
    import errno

    path = error.filename2 or error.filename  # for a rename, the new name
    where = f"{path}: " if path else ""
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return AccessError(f"{where}{error.strerror}; check owner and mode")
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageError(
            f"{where}{error.strerror}{describe_free_space(path)}; free disk space, then run again"
        )
    check = "" if error.errno == errno.ESTALE else "check the disk, then "
    return StorageError(f"{where}{error.strerror or error}; {check}run again")


def describe_free_space(path: str | None) -> str:
    """Describe the free space where a path is, or would be; empty if it cannot be determined."""
    import shutil
    from pathlib import Path

    for folder in Path(path).parents if path else ():
        try:
            usage = shutil.disk_usage(folder)
        except OSError:
            continue
        return f" ({usage.free:,} of {usage.total:,} bytes are free there)"
    return ""
