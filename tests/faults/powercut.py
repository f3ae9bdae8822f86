"""What is on the disk when the power fails at any moment?

A tick runs on an ext4 image, mounted so that nothing reaches it unless it is asked for. Before each call
that writes, and at random moments between, the image is copied: that is the disk after a power cut.
Each copy is mounted, its journal replayed; a reader must see one whole release, and the next tick must
end as one that was never disturbed.
"""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from faults import child, inject, mounts, world
from faults.calls import Call
from faults.inject import SCENARIOS, Golden
from faults.world import Torn

PLACE = "production_deployment"


@dataclass(frozen=True)
class Cut:
    """A copy of the disk; `call` tells before which call it was taken, None: at any moment."""

    scenario: str
    image: str
    call: int | None


@dataclass(frozen=True)
class Power:
    """Where and when to copy the disk: before which calls (None: each), at how many moments beside."""

    folder: Path
    calls: set[int] | None
    n_moments: int
    draw: random.Random


def take_cuts(name: str, golden: Golden, power: Power, sabotage=None) -> tuple[list[Cut], int]:
    """Run a scenario on an image, and copy it on the way.

    Returns
    -------
    cuts : list of Cut
    committed : int
        Whoever cuts the power before this call, or later, must find the new release.
    """
    image = power.folder / f"{name}.img"
    mounts.make_image(image)

    def copy(number: int, call: Call) -> None:
        if power.calls is None or number in power.calls:
            copy_image(image, power.folder / f"{name}-{number}.img")

    with mounts.mounted(power.folder / f"{name}-disk", "-o", mounts.HARSH, image) as disk:
        work = world.copy(golden.base, disk / world.NAME)
        subprocess.run(["sync", "-f", disk], check=True)
        command = inject.command_of(golden.base, SCENARIOS[name].commands[0])
        moments = copy_at_moments(name, golden, image, power)
        ended = child.run(work, *command, also=copy, prepare=sabotage, meanwhile=moments)
        assert ended.code == 0, ended.said
        copy_image(image, power.folder / f"{name}-{len(ended.calls)}.img")
    numbers = {path: path.stem.partition("-")[2] for path in power.folder.glob(f"{name}-*.img")}
    cuts = [Cut(name, str(path), int(n) if n.isdigit() else None) for path, n in sorted(numbers.items())]
    return cuts, find_commit(ended.calls)


def copy_image(image: Path, target: Path) -> None:
    """Copy an image as it is on the disk now."""
    subprocess.run(["cp", "--sparse=always", image, target], check=True)


def find_commit(calls: list[Call]) -> int:
    """Find the first call behind the fsync that makes the last flip outlive a power cut."""
    told = [(call.name, call.path) for call in calls]
    if ("replace", f"{PLACE}/..data") not in told:
        return len(calls) + 1
    flip = len(told) - 1 - told[::-1].index(("replace", f"{PLACE}/..data"))
    return 1 + told.index(("fsync", PLACE), flip)


def copy_at_moments(name: str, golden: Golden, image: Path, power: Power) -> Callable[[int], None]:
    """Give what happens beside the child: it is stopped now and then, the image copied, and it goes on."""
    pause_s = (golden.calls[-1].at_s - golden.calls[0].at_s) / (power.n_moments + 1)

    def meanwhile(process: int) -> None:
        for number in range(power.n_moments):
            time.sleep(power.draw.uniform(0, 2 * pause_s))
            os.kill(process, signal.SIGSTOP)
            while not child.stands_still(process):
                time.sleep(0.001)
            copy_image(image, power.folder / f"{name}-moment{number}.img")
            os.kill(process, signal.SIGCONT)

    return meanwhile


def check(cut: Cut, golden: Golden, committed: int, folder: Path) -> str:
    """Mount the disk after a power cut; look, and let the next tick heal it.

    Raises
    ------
    Torn
        With what went wrong.
    """
    with mounts.mounted(folder / "disk", "-o", mounts.HARSH, cut.image) as disk:
        work = disk / world.NAME
        seen = world.see(work, golden.releases)
        if cut.call is not None and cut.call >= committed and seen != len(golden.releases) - 1:
            raise Torn("the new release was there before the power cut, and is gone")
        inject.heal(SCENARIOS[cut.scenario], golden, work)
    Path(cut.image).unlink()
    return "with the new release" if golden.releases[seen] is golden.releases[-1] else "with the old one"
