"""How does a harness share its work between processes, and say what it found?"""

import json
import os
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from faults.world import Torn


@dataclass
class Report:
    """What a harness did: counts by name, and everything that went wrong."""

    name: str
    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    skipped: str | None = None

    def tell(self, duration_s: float) -> int:
        """Print the counts and what went wrong; return the exit code."""
        if self.skipped:
            print(f"{self.name}: skipped: {self.skipped}")
            return 0
        told = ", ".join(f"{count:,} {name}" for name, count in sorted(self.counts.items()))
        print(f"{self.name}: {told}; {len(self.wrong):,} wrong; {duration_s:.0f} s", flush=True)
        for wrong in self.wrong[:20]:
            print(f"  WRONG {wrong}")
        return 1 if self.wrong or not self.counts else 0


def share(
    points: Sequence, work: Callable[[object, Path], str], folder: Path, options, report: Report
) -> None:
    """Work points off in several processes, as far as the time allows; note how each ended.

    `work` is handed a point and a folder of its process; it returns a word that is counted, or raises
    Torn. What else it raises ends the harness.
    """
    deadline = time.monotonic() + 60 * options.minutes if options.minutes else None
    processes = []
    for number in range(options.jobs):
        own = folder / f"process-{number}"
        own.mkdir()
        processes.append(_start(points[number :: options.jobs], work, own, deadline))
    for process, told in processes:
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        assert code == 0, f"a process of the harness ended with {code}"
        for line in told.read_text().splitlines():
            word, wrong = json.loads(line)
            report.counts[word] += 1
            report.wrong += [wrong] if wrong else []


def _start(points, work, folder, deadline) -> tuple[int, Path]:
    told = folder / "told"
    sys.stdout.flush()
    process = os.fork()
    if process:
        return process, told
    try:
        with told.open("w") as handle:
            for point in points:
                if deadline and time.monotonic() > deadline:
                    break
                handle.write(json.dumps(_work(point, work, folder)) + "\n")
                handle.flush()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def _work(point, work, folder) -> tuple[str, str | None]:
    try:
        return work(point, folder), None
    except Torn as error:
        return "wrong", f"{point}: {error}"
