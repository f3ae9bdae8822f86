"""Which calls of Python change a folder, and how does one of them fail?

Every function of `os` that changes something, and every `open`, is replaced by one that counts, says
what it is about to do, and lets one call fail. Installed in a child that does nothing else.
"""

import builtins
import errno
import io
import os
import re
import signal
import time
from dataclasses import dataclass

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
ERRORS = {"ENOSPC": errno.ENOSPC, "EIO": errno.EIO, "EACCES": errno.EACCES}
# What can fail how. A file that is open already knows no permissions; only a write can be done by half.
NEEDS_SPACE = {"open", "write", "fsync", "mkdir", "replace", "rename", "symlink"}
NEEDS_PERMISSION = {"open", "mkdir", "rmdir", "unlink", "replace", "rename", "symlink", "utime"}
FAULTS = ("kill", "half", "ENOSPC", "EIO", "EACCES")
_CHANGING = re.compile(r"\.tmp-\d+-|\d{4}-\d\d-\d\dT[\d:.]+Z-\d+-")


@dataclass(frozen=True)
class Call:
    """One call that changes something: what it does, to which path below the root, and when."""

    name: str
    path: str
    at_s: float = 0.0

    @property
    def place(self) -> str:
        """Name the path as every run of the same tick does: without process numbers and times."""
        return _CHANGING.sub("*", self.path)

    def can(self, fault: str) -> bool:
        """Say whether the system could let this call fail so."""
        if fault == "half":
            return self.name == "write"
        if fault == "lost":  # the disk says yes and keeps half: only digests can find that
            return self.name == "write" and "production_deployment" in self.path
        names = {"ENOSPC": NEEDS_SPACE, "EACCES": NEEDS_PERMISSION}.get(fault)
        return names is None or self.name in names


class Watch:
    """Counts the calls that change something below `root`; number `at` of them meets `fault`.

    `tell` is the descriptor to which each call is told before it happens, and the fault before it
    strikes: what was told there is known outside, whatever becomes of this process.
    """

    def __init__(self, root, tell, fault=None, at=None, also=None):
        self.root, self.tell, self.fault, self.at, self.also = str(root), tell, fault, at, also
        self.count = 0

    def install(self):
        """Replace the functions of this process; there is no way back."""
        for name in ("mkdir", "rmdir", "unlink", "symlink", "utime", "truncate", "rename", "replace"):
            setattr(os, name, self._by_name(name, getattr(os, name)))
        os.remove = os.unlink
        for name in ("fsync", "ftruncate"):
            setattr(os, name, self._on_descriptor(name, getattr(os, name)))
        self._os_open, self._os_write = os.open, os.write
        os.open = self._open_descriptor
        self._open = builtins.open
        builtins.open = io.open = self._open_file

    def _by_name(self, name, real):
        def watched(*arguments, **options):
            # The path that changes: symlink(target, PATH), replace(from, PATH), the others have one.
            path = arguments[1 if name in ("symlink", "rename", "replace") else 0]
            place = self._place(path, options.get("dst_dir_fd", options.get("dir_fd")))
            if os.path.lexists(place) == (name == "mkdir") and name in ("mkdir", "unlink", "rmdir"):
                return real(*arguments, **options)  # is there already, or is not: changes nothing
            return self._meet(name, place, lambda: real(*arguments, **options))

        return watched

    def _on_descriptor(self, name, real):
        def watched(descriptor, *arguments):
            number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
            path = os.readlink(f"/proc/self/fd/{number}")
            return self._meet(name, path, lambda: real(descriptor, *arguments), named=False)

        return watched

    def _open_descriptor(self, path, flags, *arguments, **options):
        def act():
            return self._os_open(path, flags, *arguments, **options)

        if not flags & WRITES:
            return act()
        return self._meet("open", self._place(path, options.get("dir_fd")), act)

    def _open_file(self, file, mode="r", *arguments, **options):
        if not set(mode) & set("wax+"):
            return self._open(file, mode, *arguments, **options)
        path = os.readlink(f"/proc/self/fd/{file}") if isinstance(file, int) else self._place(file)
        if not self._is_ours(path):
            return self._open(file, mode, *arguments, **options)

        def act():
            raw = _Raw(file, mode.replace("b", "").replace("t", ""))
            raw.watch, raw.path = self, path
            if options.get("buffering") == 0:
                return raw
            buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
            if "b" in mode:
                return buffered
            return io.TextIOWrapper(
                buffered, encoding=options.get("encoding"), errors=options.get("errors"),
                newline=options.get("newline"),
            )  # fmt: skip

        return act() if isinstance(file, int) else self._meet("open", path, act)

    def _place(self, path, folder=None):
        path = os.fsdecode(path)
        base = os.readlink(f"/proc/self/fd/{folder}") if isinstance(folder, int) else os.getcwd()
        return os.path.normpath(os.path.join(base, path))

    def _is_ours(self, path):
        return path.startswith(f"{self.root}/")

    def _meet(self, name, path, act, data=None, named=True):
        """Do one call, or let it fail; `data` is what a write writes."""
        if not self._is_ours(path):
            return act()
        call = Call(name, os.path.relpath(path, self.root))
        self._say(f"{time.monotonic()} {call.name} {call.path}")
        if self.also is not None:
            self.also(self.count, call)
        self.count += 1
        if self.count - 1 != self.at:
            return act()
        self._say("FAULT")
        if data is not None and self.fault in ("half", "lost", "ENOSPC"):
            act(data[: len(data) // 2])
        if self.fault in ("kill", "half"):
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fault == "lost":
            return len(data)
        number = ERRORS[self.fault]
        raise OSError(number, os.strerror(number), path if named else None)

    def _say(self, line):
        self._os_write(self.tell, f"{line}\n".encode(errors="backslashreplace"))


class _Raw(io.FileIO):
    """A file whose writes are watched."""

    def write(self, data):
        data = bytes(data)
        return self.watch._meet("write", self.path, lambda part=data: self._all(part), data, named=False)

    def _all(self, data):
        return super().write(data)

    def truncate(self, size=None):
        return self.watch._meet("ftruncate", self.path, lambda: self._cut(size), named=False)

    def _cut(self, size):
        return super().truncate(size)


def parse(told: str) -> tuple[list[Call], bool]:
    """Read what a watch told: its calls, and whether the fault struck."""
    lines = told.splitlines()
    parts = [line.split(" ", 2) for line in lines if line != "FAULT"]
    return [Call(name, path, float(at_s)) for at_s, name, path in parts], "FAULT" in lines
