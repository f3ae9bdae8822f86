"""What happens where there is no room, and where nothing may be written?

A workspace on a file system in memory, whose size is set from nothing to enough, in steps: each tick
must end with 74, naming path and free space, or end well; when there is room again, the next one must end
as one that was never disturbed. And folders that are mounted read-only, or belong to another: 77.
"""

import errno
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from faults import child, inject, mounts, world
from faults.inject import FREE, SCENARIOS, Golden
from faults.world import Torn

PAGE = 4096
LARGE = 64 * 1024 * 1024
NOBODY = 65_534
# Which part of the workspace is read-only, and how a tick then may end; None: all of it.
LOCKED = {
    None: 77, ".state": 77, ".state/outbox": 77, ".state/spill": 77, "ingesteddata": 77, "models": 77,
    "production_deployment": 77, "logs": 0, "sourcedata": 0, "testdata": 0,
}  # fmt: skip


@dataclass(frozen=True)
class Room:
    """So many pages are free when the tick begins."""

    scenario: str
    n_pages: int


@dataclass(frozen=True)
class Locked:
    """This part of the workspace is read-only; or all of it belongs to another user."""

    scenario: str
    part: str | None
    by_owner: bool = False


def find_need(name: str, golden: Golden, folder: Path) -> int:
    """Find with how many free pages a tick ends without a word."""
    low, high = 0, 1024
    while high - low > 1:
        middle = (low + high) // 2
        with mounts.tmpfs(folder / "memory", LARGE) as memory:
            ended = run_with(golden, memory, middle, name)
        low, high = (low, middle) if ended.code == 0 and not ended.said else (middle, high)
    return high


def run_with(golden: Golden, memory: Path, n_pages: int, name: str, sabotage=None) -> child.Ended:
    """Run a tick on a file system with so many free pages."""
    work = world.copy(golden.base, memory / world.NAME)
    used = LARGE - shutil.disk_usage(memory).free
    mounts.run("mount", "-o", f"remount,size={used + n_pages * PAGE}", memory)
    command = inject.command_of(golden.base, SCENARIOS[name].commands[0])
    return child.run(work, *command, prepare=sabotage)


def check_room(point: Room, golden: Golden, folder: Path, sabotage=None) -> str:
    """Let a tick run out of space; it must say so, with the place and what is free there, and heal."""
    with mounts.tmpfs(folder / "memory", LARGE) as memory:
        ended = run_with(golden, memory, point.n_pages, point.scenario, sabotage)
        inject.judge_end(ended, "ENOSPC")
        full = [line for line in ended.said.splitlines() if os.strerror(errno.ENOSPC) in line]
        if not ended.said or not all(world.is_named(line) and FREE in line for line in full):
            raise Torn(f"path and free space are not named: {ended.said}")
        world.see(memory / world.NAME, golden.releases)
        mounts.run("mount", "-o", f"remount,size={LARGE}", memory)
        inject.heal(SCENARIOS[point.scenario], golden, memory / world.NAME, sabotage)
    return f"exit {ended.code}"


def check_locked(point: Locked, golden: Golden, folder: Path) -> str:
    """Let a tick meet what it may not write; readers must go on, and the tick heal."""
    work = world.copy(golden.base, folder / world.NAME)
    for part in LOCKED:
        (work / (part or ".")).mkdir(exist_ok=True)
    expected = 77 if point.by_owner else LOCKED[point.part]
    command = inject.command_of(golden.base, SCENARIOS[point.scenario].commands[0])
    if point.by_owner:
        for path in (work, work.parent, work.parent.parent):  # to be passed through, not written
            path.chmod(0o755)
        ended = child.run(work, *command, prepare=become_nobody)
        looked = child.run(work, "deployment", "--list", prepare=become_nobody)
    else:
        place = work / (point.part or ".")
        with mounts.mounted(place, "--bind", "-o", "ro", place):
            ended = child.run(work, *command)
            looked = child.run(work, "deployment", "--list")
    if ended.code != expected or "Traceback" in ended.said:
        raise Torn(f"ended with {ended.code} instead of {expected}: {ended.said}")
    if expected and "check owner and mode" not in ended.said:
        raise Torn(f"does not say what to do: {ended.said}")
    if looked.code != 0 or "Traceback" in looked.said:
        raise Torn(f"a reader ended with {looked.code}: {looked.said}")
    world.see(work, golden.releases)
    inject.heal(SCENARIOS[point.scenario], golden, work)
    return f"exit {ended.code}"


def become_nobody() -> None:
    """Go on as a user who owns nothing here."""
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def check(point: Room | Locked, golden: Golden, folder: Path, sabotage=None) -> str:
    """Check one point; return how the tick ended."""
    if isinstance(point, Room):
        return check_room(point, golden, folder, sabotage)
    return check_locked(point, golden, folder)
