"""What are the decisions worth? Seeded simulations in which the truth is known.

    python benchmarks/decisions.py [--seed 1] [--only PART] [--write]

The parts: stable, changed, cell, unlabelled, gate, million; and, only when asked for, panel.

Shares are in per cent, with the exact 99 % range of the true share. Every repetition has random numbers
of its own that follow from the seed, whatever the number of processes. Exit code 1 when an aim is missed.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import pairs  # noqa: E402
import panels  # noqa: E402
import run as plain  # noqa: E402
import streams  # noqa: E402
import unlabelled  # noqa: E402
from tables import Aim, Run, Table  # noqa: E402

PAGE = ROOT / "docs" / "decisions.md"
BEGIN, END = "<!-- benchmarks/decisions.py: begin -->", "<!-- benchmarks/decisions.py: end -->"
MOST_SECONDS, MOST_MB = 2.5, 400
FACTS = {"cpu_s": "CPU", "wall_s": "wall", "peak_mb": "peak memory", "before_mb": "before, with all rows"}


def tabulate_million(run: Run, seed: int, n: int = 1_000_000) -> list[Table]:
    """Let a process of its own look at a million rows and a million."""
    command = [sys.executable, str(ROOT / "benchmarks/million.py"), "--rows", str(n), "--seed", str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    rows = tuple(
        (f"{found[name]:.2f} s" if name.endswith("_s") else f"{found[name]:.0f} MB") for name in FACTS
    )
    aims = (
        Aim(f"under {MOST_SECONDS} s of compute", f"{found['cpu_s']:.2f}", found["cpu_s"] < MOST_SECONDS),
        Aim(f"under {MOST_MB} MB", f"{found['peak_mb']:.0f}", found["peak_mb"] < MOST_MB),
    )
    title = f"{n:,} rows against {n:,}, 4 columns, all statistics, in a process of its own"
    return [Table(title, tuple(FACTS.values()), (rows,), aims)]


PARTS: dict[str, tuple[Callable[..., list[Table]], ...]] = {
    "million": (tabulate_million,),
    "stable": (streams.tabulate_stable,),
    "changed": (streams.tabulate_changed,),
    "cell": (streams.tabulate_cell,),
    "unlabelled": (unlabelled.tabulate,),
    "gate": (pairs.tabulate_equals, pairs.tabulate_unequals),
}
# Takes an hour: not on the page, only on demand.
ALONE: dict[str, tuple[Callable[..., list[Table]], ...]] = {"panel": (panels.tabulate, panels.tabulate_gate)}


@contextmanager
def run_in_processes(n_processes: int | None = None) -> Iterator[Run]:
    """Count what a function of the number of the repetition finds, on every core."""
    context = multiprocessing.get_context("spawn")
    os.environ["OMP_NUM_THREADS"] = "1"  # one thread a process, before it loads numpy
    with ProcessPoolExecutor(n_processes, mp_context=context) as pool:

        def run(find: Callable[[int], Counter[Any]], n: int) -> Counter[Any]:
            return add(pool.map(find, range(n), chunksize=5))

        yield run


def add(found: Iterable[Counter[Any]]) -> Counter[Any]:
    total: Counter[Any] = Counter()
    for counter in found:
        total.update(counter)
    return total


def summarise(tables: Sequence[Table], seed: int, took: str) -> str:
    """Say in one line how many aims are reached."""
    aims = [aim for table in tables for aim in table.aims]
    return f"{sum(aim.reached for aim in aims)} of {len(aims)} targets met, seed {seed}, {took}"


def render_block(tables: Sequence[Table], summary: str) -> str:
    """Render what stands on the page between the markers."""
    return "\n\n".join([BEGIN, f"{summary}.", *(table.to_markdown() for table in tables), END])


def replace_block(text: str, block: str) -> str:
    """Put a block in the place of the one between the markers."""
    return re.sub(f"{re.escape(BEGIN)}.*{re.escape(END)}", lambda _: block, text, flags=re.DOTALL)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=[*PARTS, *ALONE])
    parser.add_argument("--write", action="store_true", help="write the tables into docs/decisions.md")
    arguments = parser.parse_args(argv)
    if arguments.write and arguments.only:
        parser.error("--write needs all parts")
    tables: list[Table] = []
    started, (all_before, own_before) = time.perf_counter(), plain.cpu_seconds()
    with run_in_processes() as run:
        everything = PARTS | ALONE
        for tabulate in (
            f for part in ([arguments.only] if arguments.only else PARTS) for f in everything[part]
        ):
            made = tabulate(run, arguments.seed)
            tables += made
            print(*(table.to_text() for table in made), sep="\n\n", end="\n\n", flush=True)
    wall, (all_after, own_after) = time.perf_counter() - started, plain.cpu_seconds()
    own = own_after - own_before
    other = max(0.0, (all_after - all_before - own) / wall)
    took = f"{wall:.0f} s ({own:.0f} s of CPU; other work kept {other:.1f} of {os.cpu_count()} cores busy)"
    summary = summarise(tables, arguments.seed, took)
    print(summary)
    if arguments.write:
        text = replace_block(PAGE.read_text(encoding="utf-8"), render_block(tables, summary))
        PAGE.write_text(text, encoding="utf-8")
    return int(not all(aim.reached for table in tables for aim in table.aims))


if __name__ == "__main__":
    raise SystemExit(main())
