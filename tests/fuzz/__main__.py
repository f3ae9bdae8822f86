"""Throw broken files, rows, models and days at the pipeline: python tests/fuzz csvs --n 100000."""

import argparse
import importlib
import logging
import os
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
os.environ.setdefault("OMP_NUM_THREADS", "1")  # what is forked cannot wait for threads
sys.path[:0] = [str(HERE.parent.parent), str(HERE.parent / "support"), str(HERE)]
FULL = {"csvs": 100_000, "clients": 1_000_000, "models": 20_000, "days": 1_000}


def main():
    parser = argparse.ArgumentParser(prog="tests/fuzz", description=__doc__)
    parser.add_argument("what", choices=[*FULL, "all"])
    parser.add_argument("--n", type=int, help="how many (default: the full form)")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    logging.getLogger("risk").addHandler(logging.NullHandler())
    logging.getLogger("risk").propagate = False
    for what in FULL if arguments.what == "all" else [arguments.what]:
        started = time.monotonic()
        counts = importlib.import_module(what).run(arguments.n or FULL[what], arguments.seed)
        told = ", ".join(f"{count:,} {name}" for name, count in counts.items())
        print(f"fuzz {what}: {told}; 0 failed, {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
