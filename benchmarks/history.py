"""Measure what a long history costs: idle ticks, the trend report, GET /diagnostics.

    python benchmarks/history.py [--ticks 1000] [--columns 20]

Two workspaces with the shipped data, one with its own short history, one with so many ticks more; what
is compared runs alternately. Times of drawing are past imports, in one process of their own.
"""

from __future__ import annotations

import argparse
import datetime
import json
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from risk.history import store  # noqa: E402

STAGES = ("ingestion", "training", "scoring", "deployment", "diagnostics", "reporting")
INSIDE = """
import json, sys, time
sys.path.insert(0, sys.argv[1])
from config import load_config
import app, diagnostics, reporting
from risk.runtime import deliveries
config = load_config(sys.argv[2])
diagnostics.run(config)
reporting.run(config)
found = {}
started = time.perf_counter()
deliveries.read_history(config, "diagnostics")
found["read"] = time.perf_counter() - started
started = time.perf_counter()
reporting.run(config)
found["report"] = time.perf_counter() - started
client = app.create_app(config).test_client()
times = []
for _ in range(50):
    started = time.perf_counter()
    assert client.get("/diagnostics").status_code == 200
    times.append(time.perf_counter() - started)
found["diagnostics"] = sorted(times)[25]
print(json.dumps(found))
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ticks", type=int, default=1000)
    parser.add_argument("--columns", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=15)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="risk-history-") as scratch:
        short, long = (make_workspace(Path(scratch) / name) for name in ("short", "long"))
        fill(long, arguments.ticks, arguments.columns)
        idle: dict[Path, list[float]] = {short: [], long: []}
        for _ in range(arguments.repeats):
            for workspace, times in idle.items():
                started = time.perf_counter()
                subprocess.run(
                    [sys.executable, ROOT / "fullprocess.py", "--config", workspace / "config.json"],
                    check=True,
                )
                times.append(time.perf_counter() - started)
        few, many = (statistics.median(times) for times in idle.values())
        print(f"history of {arguments.ticks:,} ticks, {arguments.columns} columns each")
        few, many = 1000 * few, 1000 * many
        print(f"idle tick: {few:.0f} ms with a short history, {many:.0f} ms, ratio {many / few:.2f}")
        for name, workspace in (("short", short), ("long", long)):
            found = json.loads(
                subprocess.check_output([sys.executable, "-c", INSIDE, ROOT, workspace / "config.json"])
            )
            print(
                f"{name}: trends read in {1000 * found['read']:.0f} ms, report {found['report']:.2f} s, "
                f"GET /diagnostics {1000 * found['diagnostics']:.1f} ms"
            )
    return 0


def make_workspace(root: Path) -> Path:
    """Copy the shipped data and let one tick go by."""
    for name in ("sourcedata", "testdata"):
        shutil.copytree(ROOT / name, root / name)
    shutil.copy(ROOT / "config.json", root)
    subprocess.run([sys.executable, ROOT / "fullprocess.py", "--config", root / "config.json"], check=True)
    return root


def fill(root: Path, n_ticks: int, n_columns: int) -> None:
    """Write the rows that so many working ticks would have written."""
    draw = random.Random(0)
    start = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=n_ticks)
    with store.open(f"sqlite:///{root / 'records.db'}") as history:
        for number in range(n_ticks):
            at = (start + datetime.timedelta(days=number)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            names = [f"column_{n}" for n in range(n_columns)]
            score = draw.gauss(0.6, 0.02)
            model = f"{number // 20:064d}"
            rows = {
                "ticks": [{"key": [number], "rows_new": 100, "files_new": 1, "drift": number % 20 == 0}],
                "ingested_files": [{"key": [number], "rows_new": 100, "rows_total": 100 * number}],
                "timings": [
                    {"stage": stage, "duration_s": draw.random(), "n_rows": 100}
                    for stage in STAGES
                ],
                "missing_values": [
                    {"key": [number, n], "column_name": n, "percent": draw.random()} for n in names
                ],
                "column_drift": [{"key": [number, n], "column_name": n, "psi": draw.random()} for n in names],
                "drift": [
                    {"key": [number], "drift": number % 20 == 0, "new_score": score, "new_low": score - 0.02,
                     "new_high": score + 0.02, "auc": score + 0.1, "n": 100}
                ],
            }  # fmt: skip
            if number % 20 == 0:
                rows["scores"] = [{"data": "test", "model_sha256": model, "f1": score, "auc": score + 0.1}]
                rows["releases"] = [{"release": model[-12:], "action": "deployed", "model_sha256": model}]
            history.add(rows, at)


if __name__ == "__main__":
    raise SystemExit(main())
