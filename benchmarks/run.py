"""Measure the pipeline side by side with the plain way, in one run: ratios, not promises.

    python benchmarks/run.py [--rows 5000000] [--only ingest|train|idle]

Every pair runs alternately in this one process tree, as real processes; the median of the runs is
taken. Memory is the largest sum of resident pages of a process and its children, looked at every 20 ms.
Tables are synthetic (make_data.py) and are removed afterwards.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import make_data  # noqa: E402

PAGE = os.sysconf("SC_PAGE_SIZE")
POLL_S = 0.02
PLAIN_INGEST = """
import glob, sys
import pandas as pd
frames = [pd.read_csv(path) for path in sorted(glob.glob(sys.argv[1] + "/*.csv"))]
pd.concat(frames).drop_duplicates().to_csv(sys.argv[2], index=False)
"""
TRAIN = """
import json, statistics, sys, time
sys.path.insert(0, sys.argv[1])
from threadpoolctl import threadpool_limits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
import config, scoring
from risk.data.ledger import load_ready_ledger
from risk.data.schema import Schema
from risk.engines import table_reader
from risk.model.pipeline import Recipe, make_model
settings = config.load_config(sys.argv[2])
ledger = load_ready_ledger(settings.ledger)
schema = Schema.from_json(ledger.schema)
taken = table_reader.read(settings.final_data, ledger, schema, settings.room)
X, y = taken.X, taken.y
test, truth, _ = scoring.read_test_data(settings, schema)
y, median = y.astype("int64"), X.median()
share = float(y.mean())
def plain(**weights):
    return LogisticRegression(solver="liblinear", random_state=0, **weights).fit(raw, y)
def weighted():
    return plain(class_weight="balanced")
def ours():
    recipe = Recipe("logistic_regression", tuple(schema.numbers), tuple(schema.texts))
    return make_model(recipe, threshold=share).fit(X, y)
def predict(name, model):
    if name == "plain":
        return model.predict_proba(test.fillna(median))[:, 1] > share
    return model.predict(test.fillna(median) if name == "weighted" else test)
raw, took = X.fillna(median), {"plain": [], "weighted": [], "ours": []}
with threadpool_limits(1):
    for _ in range(3):
        for name, fit in (("plain", plain), ("weighted", weighted), ("ours", ours)):
            started = time.perf_counter()
            model = fit()
            took[name].append(time.perf_counter() - started)
            took["f1_" + name] = f1_score(truth, predict(name, model))
print(json.dumps({n: statistics.median(t) if isinstance(t, list) else t for n, t in took.items()}))
"""
HEAVY = "import pandas, sklearn.linear_model, matplotlib.figure, flask"


@dataclass(frozen=True)
class Run:
    """One process: wall time, largest memory of its tree, what it printed."""

    duration_s: float
    peak_bytes: int
    said: str


def run(*command: object) -> Run:
    """Run a process and watch the memory of its tree."""
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as out:  # a pipe that nobody reads meanwhile would fill up
        process = subprocess.Popen([str(part) for part in command], stdout=out)
        peak = 0
        while process.poll() is None:
            peak = max(peak, sum(map(resident, tree(process.pid))))
            time.sleep(POLL_S)
        duration_s = time.perf_counter() - started
        out.seek(0)
        said = out.read()
    if process.returncode:
        raise SystemExit(f"{command} ended with {process.returncode}")
    return Run(duration_s, peak, said)


def tree(pid: int) -> list[int]:
    """List a process and those below it."""
    found = [pid]
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            for child in path.read_text().split():
                found += tree(int(child))
        except OSError:
            continue
    return found


def resident(pid: int) -> int:
    """Read the resident bytes of a process that may be gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
    except OSError:
        return 0


def median(runs: list[Run]) -> Run:
    """Take the run of median duration, with the median memory."""
    ordered = sorted(runs, key=lambda one: one.duration_s)
    middle = ordered[len(ordered) // 2]
    return Run(middle.duration_s, int(statistics.median(one.peak_bytes for one in runs)), middle.said)


def workspace(folder: Path, source: str, **extra: object) -> Path:
    """Write a config.json and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    keys = {
        "input_folder_path": source,
        "output_folder_path": "ingesteddata",
        "test_data_path": "../test",
        "output_model_path": "models",
        "prod_deployment_path": "production_deployment",
        **extra,
    }
    (folder / "config.json").write_text(json.dumps(keys))
    return folder / "config.json"


def show(what: str, plain: float, ours: float, unit: str, wanted: str) -> None:
    """Print one pair and its ratio."""
    print(
        f"{what:<44}{plain:>9.2f}{ours:>9.2f} {unit:<3}{plain / ours:>8.1f} x   wanted {wanted}", flush=True
    )


def measure_ingest(folder: Path, n_rows: int, n_files: int, repeats: int) -> None:
    """Compare ingestion with read_csv, concat, drop_duplicates, to_csv."""
    data = folder / "in"
    make_data.make_table(data, n_rows=n_rows, n_files=n_files, duplicate_share=0.1, seed=1, drift=False)
    plain, ours = [], []
    for _ in range(repeats):
        plain.append(run(sys.executable, "-c", PLAIN_INGEST, data, folder / "plain.csv"))
        shutil.rmtree(folder / "ws", ignore_errors=True)
        config = workspace(folder / "ws", "../in")
        ours.append(run(sys.executable, ROOT / "ingestion.py", "--config", config, "--json"))
    result = json.loads(ours[-1].said)
    n_lines = sum(chunk.count(b"\n") for chunk in read_blocks(folder / "plain.csv")) - 1
    size = f"{n_rows:,} rows, {n_files} files"
    show(f"ingest {size}: time", median(plain).duration_s, median(ours).duration_s, "s", "3.5 x")
    show(f"ingest {size}: memory", median(plain).peak_bytes / 1e6, median(ours).peak_bytes / 1e6, "MB", "2 x")
    print(f"  unique rows: {n_lines:,} by number (plain), {result['rows_total']:,} by text (ours)")

    new = folder / "new"
    make_data.make_table(new, n_rows=10_000, n_files=1, duplicate_share=0.1, seed=2, drift=False)
    added = []
    for number in range(repeats):
        for path in new.glob("*.csv"):
            shutil.copy(path, data / f"more{number}.csv")
        if number:
            with (data / f"more{number}.csv").open("a") as handle:
                handle.write(f"another client {number},1,2,3,0\n")
        added.append(
            run(sys.executable, ROOT / "ingestion.py", "--config", folder / "ws/config.json", "--json")
        )
    again = run(sys.executable, "-c", PLAIN_INGEST, data, folder / "plain.csv")
    show(f"10,000 new rows onto {n_rows:,}: time", again.duration_s, median(added).duration_s, "s", "15 x")


def read_blocks(path: Path) -> Iterator[bytes]:
    """Read a file in blocks."""
    with path.open("rb") as handle:
        yield from iter(lambda: handle.read(1 << 22), b"")


def measure_training(folder: Path, n_rows: int) -> None:
    """Compare fitting with liblinear on raw features filled by their median, on one thread.

    The same model means no class weights and the same cut of the probability; the weighted one beside it
    is another model and needs fewer steps.
    """
    make_data.make_table(folder / "train", n_rows=n_rows, n_files=1, duplicate_share=0.0, seed=3, drift=False)
    make_data.make_table(folder / "test", n_rows=100_000, n_files=1, duplicate_share=0.0, seed=4, drift=False)
    config = workspace(folder / "fit", "../train")
    run(sys.executable, ROOT / "ingestion.py", "--config", config)
    found = json.loads(run(sys.executable, "-c", TRAIN, ROOT, config).said)
    show(f"fit {n_rows:,} rows, liblinear: time", found["plain"], found["ours"], "s", "4 x")
    show(f"fit {n_rows:,} rows, weighted: time", found["weighted"], found["ours"], "s", "-")
    f1 = ", ".join(f"{found[f'f1_{name}']:.4f} ({name})" for name in ("plain", "weighted", "ours"))
    print(f"  F1 on 100,000 test rows: {f1}")
    whole = run(sys.executable, ROOT / "training.py", "--config", config, "--json")
    print(f"  training.py with auto: {whole.duration_s:.1f} s (wanted under 30 s), {whole.said.strip()}")


def measure_idle(folder: Path, repeats: int) -> None:
    """Compare an idle tick with a process that only imports what the stages need."""
    make_data.make_sample(folder / "idle")
    config = workspace(folder / "idle", "sourcedata", test_data_path="testdata")
    run(sys.executable, ROOT / "fullprocess.py", "--config", config)
    heavy, ours = [], []
    for _ in range(repeats):
        heavy.append(run_quick(sys.executable, "-c", HEAVY))
        ours.append(run_quick(sys.executable, ROOT / "fullprocess.py", "--config", config))
    bare_ms, ours_ms = (1000 * statistics.median(times) for times in (heavy, ours))
    show("idle tick against bare imports: time", bare_ms, ours_ms, "ms", "20 x, under 60 ms")


def run_quick(*command: object) -> float:
    """Time a process without looking at its memory."""
    started = time.perf_counter()
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def cpu_seconds() -> tuple[float, float]:
    """Read how long the cores of the machine have worked, and how long for this process tree."""
    user, nice, system, _, _, *rest = map(int, Path("/proc/stat").read_text().splitlines()[0].split()[1:])
    return (user + nice + system + sum(rest[:3])) / os.sysconf("SC_CLK_TCK"), sum(os.times()[:4])


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=5_000_000, help="rows to ingest; training takes a fifth")
    parser.add_argument("--files", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=("ingest", "train", "idle"))
    arguments = parser.parse_args(argv)
    print(f"{'':<44}{'plain':>9}{'ours':>9}")
    started, (all_before, own_before) = time.perf_counter(), cpu_seconds()
    with tempfile.TemporaryDirectory(prefix="risk-benchmark-") as scratch:
        folder = Path(scratch)
        if arguments.only in (None, "idle"):
            measure_idle(folder, 3 * arguments.repeats)
        if arguments.only in (None, "ingest"):
            measure_ingest(folder, arguments.rows, arguments.files, arguments.repeats)
        if arguments.only in (None, "train"):
            measure_training(folder, arguments.rows // 5)
    all_after, own_after = cpu_seconds()
    other = (all_after - all_before - own_after + own_before) / (time.perf_counter() - started)
    print(f"meanwhile other work kept {max(other, 0):.2f} of {os.cpu_count()} cores busy (a free machine: 0)")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
