"""Does a reader ever see two releases mixed, while they are swapped as fast as the disk allows?

One process publishes and rolls back without a pause. Others read: through the library, which verifies
every digest, and as a shell would, through one open folder. Each file says of which release it is.
"""

import itertools
import json
import os
import random
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from risk.errors import ArtifactError
from risk.model import publishing, registry

KEEP = 3
READS_AT_ONCE = 200


@dataclass(frozen=True)
class Aim:
    """How much is enough."""

    flips: int
    reads: int


def make_files(tag: str) -> dict[str, bytes]:
    """Make the files of a release, each full of its tag."""
    return {name: f"{tag} {name}\n".encode() * 200 for name in registry.NAMES}


def publish_for_ever(folder: Path, told: Path, seed: int) -> None:
    """Publish new releases, and go back now and then."""
    draw = random.Random(seed)
    with told.open("w", buffering=1) as handle:
        for number in range(10**9):
            if draw.random() < 0.3:
                publishing.switch(folder, draw.choice(registry.list_names(folder)))
            else:
                publishing.publish(folder, make_files(f"r{number}"), {"number": number}, keep=KEEP)
            handle.write(f"{registry.current(folder)}\n")


def read_verified(folder: Path) -> set[bytes]:
    """Read as the pipeline does; give the tags seen."""
    return {data.split()[0] for data in registry.load(folder).files.values()}


def read_through_one_folder(folder: Path) -> set[bytes]:
    """Read as a shell does that has entered the release; again when it was pruned meanwhile."""
    while True:
        handle = os.open(folder / registry.DATA, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return {read_at(handle, name).split()[0] for name in registry.NAMES}
        except FileNotFoundError:
            continue
        finally:
            os.close(handle)


def read_at(folder: int, name: str) -> bytes:
    with open(os.open(name, os.O_RDONLY, dir_fd=folder), "rb") as file:
        return file.read()


def read_for_ever(folder: Path, told: Path, read: Callable[[Path], set[bytes]]) -> None:
    """Read and count, and say what was wrong."""
    with told.open("w", buffering=1) as handle:
        while True:
            found: Counter[str] = Counter()
            for _ in range(READS_AT_ONCE):
                found[classify(read, folder)] += 1
            handle.write(json.dumps(found) + "\n")


def classify(read: Callable[[Path], set[bytes]], folder: Path) -> str:
    """Read once; say how it went."""
    try:
        tags = read(folder)
    except (ArtifactError, OSError, IndexError) as error:
        return f"wrong: refused: {type(error).__name__}"
    return "reads" if len(tags) == 1 else "wrong: mixed"


def run(folder: Path, aim: Aim, seed: int, sabotage, report) -> None:
    """Let one publish and others read until there were enough of both."""
    deployed = folder / "deployed"
    if sabotage is not None:
        sabotage()
    publishing.publish(deployed, make_files("first"), {"number": -1}, keep=KEEP)
    told = [folder / f"told-{number}" for number in range(3)]
    workers = [
        start(publish_for_ever, deployed, told[0], seed),
        start(read_for_ever, deployed, told[1], read_verified),
        start(read_for_ever, deployed, told[2], read_through_one_folder),
    ]
    try:
        counts: Counter[str] = Counter()
        while counts["flips"] < aim.flips or counts["reads"] < aim.reads:
            time.sleep(0.2)
            assert not [w for w in workers if os.waitpid(w, os.WNOHANG)[0]], "a process has ended"
            counts = count(told)
            if sabotage is not None and counts["wrong: mixed"]:
                break
    finally:
        for worker in workers:
            os.kill(worker, signal.SIGKILL)
    report.counts.update(count(told))
    report.wrong += [f"{name}: {n:,} times" for name, n in report.counts.items() if name.startswith("wrong")]


def count(told: list[Path]) -> Counter[str]:
    """Add up what was told so far; a line that is being written waits."""
    counts: Counter[str] = Counter()
    published, *read = [path.read_text().split("\n")[:-1] if path.exists() else [] for path in told]
    flips = sum(a != b for a, b in itertools.pairwise(published))
    counts["flips"] += flips
    for lines in read:
        for line in lines:
            counts.update(json.loads(line))
    return counts


def start(work: Callable, *arguments: object) -> int:
    """Fork a process that works until it is killed."""
    process = os.fork()
    if process:
        return process
    try:
        work(*arguments)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)
