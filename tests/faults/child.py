"""How is a tick run in a second, killed, and run again: children forked from a process without threads.

Everything a tick imports is loaded once; each run is a fork of that process, with one thread, as a new
interpreter would be. A process that has started a thread is never forked.
"""

import datetime
import hashlib
import importlib
import os
import pickle
import signal
import sys
import tempfile
import time
import traceback
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from faults import world
from faults.calls import Call, Watch, parse
from workspaces import SCRIPTS

LONGEST_S = 300
TICK = ("fullprocess",)
PLANS: Path | None = None


@dataclass(frozen=True)
class Ended:
    """How a run ended: exit code (negative: the signal that killed it), what it printed and what it did."""

    code: int
    out: str
    said: str
    calls: list[Call] = field(repr=False)
    struck: bool


def preload(root: Path) -> None:
    """Import everything that a run in the workspace `root` imports; start no thread."""
    global PLANS
    PLANS = root.parent / "plans"
    PLANS.mkdir()
    names = root.parent / "modules"

    def note() -> None:
        names.write_text("\n".join(sys.modules))

    for command in (TICK, ("deployment", "--rollback")):  # the second is refused, and loads what it needs
        run(root, *command, then=note, shift_s=-world.TO_NOON_S)  # libraries are loaded under the real clock
        for name in names.read_text().split():
            if name not in sys.modules and name != "__main__":
                importlib.import_module(name)
    names.unlink()
    assert len(os.listdir("/proc/self/task")) == 1, "a library has started a thread: no fork is safe"


class Running:
    """A run that has begun; what it tells is kept in files, whatever becomes of it."""

    def __init__(self, root: Path, script: str, *arguments: str, **options) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="risk-faults-run-")
        self._files = [Path(self._folder.name) / name for name in ("told", "out", "said")]
        self.process = start(root, (script, *arguments), self._files, Options(**options))

    def wait(self) -> Ended:
        """Wait for its end."""
        code = os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])
        told, out, said = (path.read_text(errors="replace") for path in self._files)
        self._folder.cleanup()
        return Ended(code, out, said, *parse(told))


@dataclass(frozen=True)
class Options:
    """How a run is made.

    Parameters
    ----------
    fault, at : optional
        What call number `at` meets.
    shift_s : float
        How far the clock is ahead of what other runs have.
    prepare, then, also : callables, optional
        Called in the child: before, at its end, and at each call.
    """

    fault: str | None = None
    at: int | None = None
    shift_s: float = 0
    prepare: Callable[[], None] | None = None
    then: Callable[[], None] | None = None
    also: Callable[[int, Call], None] | None = None


def run(
    root: Path,
    script: str,
    *arguments: str,
    meanwhile: Callable[[int], None] | None = None,
    **options,
) -> Ended:
    """Run a script's main in a child and wait for its end; `meanwhile` is handed the pid of the child."""
    running = Running(root, script, *arguments, **options)
    if meanwhile is not None:
        meanwhile(running.process)
    return running.wait()


def start(root: Path, command: tuple[str, ...], files: list[Path], options: Options) -> int:
    """Fork the child that runs a script; return its pid."""
    sys.stdout.flush()
    process = os.fork()
    if process:
        return process
    try:
        signal.alarm(LONGEST_S)
        tell, out, said = (os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND) for path in files)
        os.dup2(out, 1)
        os.dup2(said, 2)
        be_patient()
        shift_clock(world.TO_NOON_S + options.shift_s)
        draw_nothing()
        world.count_as_large(root)
        if PLANS is not None:
            remember_plans(PLANS)
        if options.prepare is not None:
            options.prepare()
        Watch(root, tell, options.fault, options.at, options.also).install()
        script, *arguments = command
        code = SCRIPTS[script].main(["--config", f"{root}/config.json", "--json", *arguments])
        sys.stdout.flush()
        if options.then is not None:
            options.then()
        os._exit(code)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(99)  # never unwind into the copy of the parent


def stands_still(process: int) -> bool:
    """Say whether every thread of a process is stopped, or it has ended."""
    states = []
    for status in Path(f"/proc/{process}/task").glob("*/stat"):
        try:
            states.append(status.read_text().rpartition(")")[2].split()[0])
        except OSError:  # the thread has ended
            continue
    return set(states) <= set("TtZX")


def be_patient() -> None:
    """Give the database a minute: harnesses fill the machine, and some stop a child to copy its disk."""
    from risk.history import delivery

    delivery.deliver.__kwdefaults__["budget_s"] = 60.0


def shift_clock(shift_s: float) -> None:
    """Let the clock of this process be ahead, or behind."""
    if not shift_s:
        return
    real_time, real, ahead = time.time, datetime.datetime, datetime.timedelta(seconds=shift_s)

    class Kind(type):
        def __instancecheck__(cls, value):
            return isinstance(value, real)

    class Shifted(real, metaclass=Kind):
        @classmethod
        def now(cls, tz=None):
            return real.now(tz) + ahead

    time.time = lambda: real_time() + shift_s
    datetime.datetime = Shifted


class Nothing:
    """Stands where a figure would be."""

    def savefig(self, handle, **_) -> None:
        handle.write(PICTURE)


def draw_nothing(replace: Callable[..., None] = setattr) -> None:
    """Leave out the drawing, half of the time of a tick; the files and their writing are ours."""
    import pretty_confusion_matrix
    from risk.reporting import charts, pdf

    replace(pretty_confusion_matrix, "draw_confusion_matrix", lambda *_, **__: Nothing())
    replace(charts, "draw_trends", lambda *_, **__: Nothing())
    replace(pdf, "render_pdf", lambda handle, *_: handle.write(b"%PDF-1.4 %%EOF"))


def remember_plans(folder: Path) -> None:
    """Cross-validate once for each table: what follows from the same rows and the same words is kept."""
    from risk.model import plan

    real = plan.make_plan

    def make_plan(*arguments):
        kept = folder / hashlib.sha256(pickle.dumps(arguments)).hexdigest()
        if not kept.exists():
            beside = kept.with_suffix(f".{os.getpid()}")
            beside.write_bytes(pickle.dumps(real(*arguments)))
            beside.rename(kept)
        return pickle.loads(kept.read_bytes())

    plan.make_plan = make_plan


def make_picture() -> bytes:
    """Make a PNG of 1 x 1 grey points."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = (1).to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0])
    points = zlib.compress(b"\0\x80")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", points) + chunk(b"IEND", b"")


PICTURE = make_picture()
