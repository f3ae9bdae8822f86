"""Measure this tree against another checkout of the project, alternately, in one run.

    python benchmarks/side_by_side.py OTHER_TREE [--repeats 7] [--only idle|first|small|rate|slow]

Whole processes of both trees work on workspaces of their own with the same made-up clients, by the same
interpreter. Ratios are other tree / this tree: above 1 this tree is faster (for rates: this / other).
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
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import serving  # noqa: E402

CLIENTS, N_SLOW = (1, 8, 64), 40
KEYS = {
    "input_folder_path": "sourcedata",
    "output_folder_path": "ingesteddata",
    "test_data_path": "testdata",
    "output_model_path": "models",
    "prod_deployment_path": "production_deployment",
}


def make_workspace(folder: Path) -> Path:
    """Copy the shipped data into a new workspace; return its config.json."""
    folder.mkdir(parents=True)
    for name in ("sourcedata", "testdata"):
        shutil.copytree(ROOT / name, folder / name)
    config = folder / "config.json"
    config.write_text(json.dumps(KEYS))
    return config


def time_script(tree: Path, script: str, config: Path) -> float:
    """Run a script as a process of its own; seconds."""
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, tree / script, "--config", config, "-q"], check=True, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - started


def show(what: str, this: list[float], other: list[float], unit: str, *, rate: bool = False) -> None:
    """Print the medians of both trees and their ratio."""
    ours, theirs = statistics.median(this), statistics.median(other)
    ratio = ours / theirs if rate else theirs / ours
    print(
        f"{what:<44} this {ours:>9.3f} {unit:<4} other {theirs:>9.3f} {unit:<4} ratio {ratio:.2f}", flush=True
    )


def compare(what: str, repeats: int, this: Callable[[int], float], other: Callable[[int], float]) -> None:
    """Time both alternately, after one run each that does not count."""
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(repeats + 1):
        for measured, one in zip(times, (this, other), strict=True):
            measured.append(one(number))
    show(what, times[0][1:], times[1][1:], "s")


def measure_idle(folder: Path, trees: tuple[Path, Path], repeats: int) -> None:
    configs = [make_workspace(folder / f"idle{number}") for number in range(2)]
    for tree, config in zip(trees, configs, strict=True):
        time_script(tree, "fullprocess.py", config)
    this, other = (
        lambda _, tree=tree, config=config: time_script(tree, "fullprocess.py", config)
        for tree, config in zip(trees, configs, strict=True)
    )
    compare("idle run", 3 * repeats, this, other)


def measure_first(folder: Path, trees: tuple[Path, Path], repeats: int) -> None:
    def first(tree: Path) -> Callable[[int], float]:
        return lambda number: time_script(
            tree, "fullprocess.py", make_workspace(folder / f"first-{tree.name}-{number}")
        )

    compare("first run on the shipped data", max(3, repeats // 2), *map(first, trees))


def measure_small(folder: Path, trees: tuple[Path, Path], repeats: int) -> None:
    """Ingest a file of ten new rows, with a history that is there already."""

    def small(tree: Path) -> Callable[[int], float]:
        config = make_workspace(folder / f"small-{tree.name}")
        time_script(tree, "ingestion.py", config)
        header, *lines = (ROOT / "sourcedata" / "dataset3.csv").read_text().splitlines()[:11]

        def once(number: int) -> float:
            rows = [f"new{number}-{line}" for line in lines]
            (config.parent / "sourcedata" / f"new{number}.csv").write_text("\n".join([header, *rows, ""]))
            return time_script(tree, "ingestion.py", config)

        return once

    compare("ingestion of ten new rows, a process", repeats, *map(small, trees))


def make_server(tree: Path, config: Path) -> serving.Server:
    """Serve a workspace by one worker of a tree on a free port."""
    port = serving.free_port()
    mine = config.with_name(f"config{port}.json")
    mine.write_text(json.dumps({**KEYS, "api": {"port": port, "workers": 1}}))
    return serving.Server([sys.executable, tree / "app.py", "--config", mine], port, "/ready")


def ask_of(config: Path) -> bytes:
    """Write a request for one row of the shipped data."""
    header, row = (config.parent / "testdata" / "testdata.csv").read_text().splitlines()[:2]
    cells = dict(zip(header.split(","), row.split(","), strict=True))
    cells.pop("exited")
    body = {name: cell if name == "corporation" else float(cell) for name, cell in cells.items()}
    return serving.write_request("POST", "/prediction", json.dumps([body]).encode())


def measure_rate(folder: Path, trees: tuple[Path, Path], repeats: int) -> None:
    """Requests of one row per second, at 1, 8 and 64 clients."""
    rates: dict[tuple[int, int], list[float]] = {}
    late: dict[tuple[int, int], list[float]] = {}
    config = make_workspace(folder / "rate")
    time_script(trees[1], "fullprocess.py", config)
    for _ in range(repeats):
        for side, tree in enumerate(trees):
            server = make_server(tree, config)
            with server.run():
                serving.measure(server.port, ask_of(config), 1, 1.0)
                for n_clients in CLIENTS:
                    one = serving.measure(server.port, ask_of(config), n_clients, 2.0)
                    rates.setdefault((side, n_clients), []).append(one["rate"])
                    late.setdefault((side, n_clients), []).append(one["p99_ms"])
    for n_clients in CLIENTS:
        show(
            f"1-row requests, {n_clients} clients", rates[0, n_clients], rates[1, n_clients], "/s", rate=True
        )
        show(f"  their p99, {n_clients} clients", late[0, n_clients], late[1, n_clients], "ms")


def measure_slow(folder: Path, trees: tuple[Path, Path], repeats: int) -> None:
    """p99 of four healthy clients beside forty that send a byte a second, or nothing."""
    config = make_workspace(folder / "slow")
    time_script(trees[1], "fullprocess.py", config)
    late: tuple[list[float], list[float]] = ([], [])
    for _ in range(max(3, repeats // 2)):
        for measured, tree in zip(late, trees, strict=True):
            server = make_server(tree, config)
            with server.run():
                beside = serving.measure_beside_slow(server.port, ask_of(config), N_SLOW, 6.0)
                measured.append(beside["p99_ms"])
    show(f"p99 beside {N_SLOW} slow clients", *late, "ms")


MEASURES = {
    "idle": measure_idle,
    "first": measure_first,
    "small": measure_small,
    "rate": measure_rate,
    "slow": measure_slow,
}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("other", type=Path, help="another checkout of this project")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--only", choices=MEASURES)
    arguments = parser.parse_args(argv)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # cron has none: modules are compiled once, not each time
    with tempfile.TemporaryDirectory(prefix="risk-sides-") as scratch:
        for name, measure in MEASURES.items():
            if arguments.only in (None, name):
                measure(Path(scratch), (ROOT, arguments.other.resolve()), arguments.repeats)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
