"""File systems of our own: a disk whose power fails, a small one, one that may not be written.

They are mounted in a namespace of this process and its children: nobody else sees them, and they go
with the last of us, however it dies.
"""

import contextlib
import ctypes
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

CLONE_NEWNS = 0x00020000
# The harshest that ext4 knows: nothing is written unless it is asked for, in no order.
HARSH = "loop,data=writeback,noauto_da_alloc,commit=300,noatime"


def enter() -> str | None:
    """Enter a mount namespace of our own; say why that is not possible, or None."""
    if os.geteuid() != 0:
        return "mounting needs root"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS):
        return f"no mount namespace of our own: {os.strerror(ctypes.get_errno())}"
    return try_out("mount", "--make-rprivate", "/")


def why_no_loop(folder: Path) -> str | None:
    """Say why an image cannot be mounted here, or None."""
    image, place = folder / "try.img", folder / "try"
    make_image(image)
    place.mkdir()
    reason = try_out("mount", "-o", HARSH, image, place)
    if reason is None:
        run("umount", place)
    return reason


def make_image(path: Path, megabytes: int = 32) -> None:
    """Make an ext4 file system in a sparse file."""
    with path.open("wb") as handle:
        handle.truncate(megabytes * 1024 * 1024)
    run("mkfs.ext4", "-q", "-b", "4096", "-J", "size=4", "-E", "lazy_itable_init=0,lazy_journal_init=0", path)


@contextlib.contextmanager
def mounted(place: Path, *arguments: object) -> Iterator[Path]:
    """Mount something on a folder for the time of the block."""
    place.mkdir(exist_ok=True)
    run("mount", *arguments, place)
    try:
        yield place
    finally:
        run("umount", place)


def tmpfs(place: Path, n_bytes: int) -> contextlib.AbstractContextManager[Path]:
    """Mount a file system in memory of so many bytes."""
    return mounted(place, "-t", "tmpfs", "-o", f"size={n_bytes},nr_inodes=4k", "none")


def run(*command: object) -> None:
    """Run a command that must succeed."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(map(str, command))}: {done.stderr}"


def try_out(*command: object) -> str | None:
    """Run a command; say why it failed, or None."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else f"{command[0]}: {done.stderr.strip()}"
