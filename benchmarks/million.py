"""What do all statistics cost on a million rows then and a million rows now, in a process of their own?

    python benchmarks/million.py [--rows 1000000] [--seed 1]

Prints JSON: seconds of compute (CPU and wall) and the peak memory of this process in MB.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import pandas as pd
import scipy.special
import scipy.stats
import sklearn.metrics  # noqa: F401

from risk.data import profiles
from risk.model import card
from risk.monitoring import column_drift, evidence

NAMES = ("activity", "revenue", "visits", "tenure")


def draw(rng: np.random.Generator, n: int) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Draw four columns, labels and the probabilities of a model that knows them."""
    table = np.empty((n, len(NAMES)))
    table[:, 0], table[:, 1] = rng.normal(size=n), np.exp(rng.normal(size=n))
    table[:, 2], table[:, 3] = rng.poisson(2, n), rng.random(n)
    probability = scipy.special.expit(table[:, 0] - 0.5 * table[:, 2])
    return pd.DataFrame(table, columns=list(NAMES)), (rng.random(n) < probability).astype(float), probability


def peak_mb() -> float:
    """Read the largest memory this process had; not that of who started it, as getrusage may say."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args(argv)
    n, rng = arguments.rows, np.random.default_rng(arguments.seed)
    X, y, probability = draw(rng, n)
    X_new, y_new, probability_new = draw(rng, n)
    called, called_new = (p >= 0.4 for p in (probability, probability_new))
    before_mb, wall, cpu = peak_mb(), time.perf_counter(), time.process_time()
    known = profiles.make_profiles(X, NAMES, ())
    kept = card.make_reference(y, called, probability)
    evidence.compute_evidence(
        y_new,
        called_new,
        probability_new,
        recorded_score=kept["f1"],
        release_reference=kept,
        shifts=column_drift.compare_columns(known, profiles.count_columns(known, X_new)),
    )
    took = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
    print(json.dumps({"rows": n, **took, "before_mb": before_mb, "peak_mb": peak_mb()}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
