"""How do time and memory grow with the rows: each hot path beside plain pandas, in one run.

    python benchmarks/scale.py --rows 100000 1000000 10000000 --files 10 [--out scale.json]
    python benchmarks/scale.py --idle 10 1000 10000
    python benchmarks/scale.py --split 1 100 10000
    python benchmarks/scale.py --tick 50000000 --files 50 --memory-limit 1GB
    python benchmarks/scale.py --spark 5000000
    python benchmarks/scale.py --draw scale.json docs/pictures/scale.png

Every way is a process of its own; its CPU seconds and the largest resident memory of its process tree are
taken beside the wall time: on a busy machine walls say little, ratios of CPU more. Plain ways run as far as
`--plain-up-to` rows. Tables are synthetic, 24 bytes a row, one row in ten twice, and are removed afterwards.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import run as pairs  # noqa: E402

INGEST, APPEND, STATISTICS = "ingest", "add 10,000 rows", "statistics"
COUNTS = "count for drift"
TRAIN, PREDICT, LIST, FIRST_TICK = "train", "predict a CSV", "list of clients", "first tick"
NEXT_TICK = "tick with 10,000 more"
HEADER = "corporation,lastmonth_activity,lastyear_activity,number_of_employees,exited\n"
OURS_STATISTICS = """
import sys
sys.path.insert(0, sys.argv[1])
import config
from risk.data import ledger
from risk.engines.statistics import DuckDBTable
settings = config.load_config(sys.argv[2])
table = settings.room, settings.final_data, ledger.load_ready_ledger(settings.ledger)
DuckDBTable(*table).describe()
"""
BOTH_STATISTICS = """
import json, sys
sys.path.insert(0, sys.argv[1])
import config
from risk.data.ledger import load_ready_ledger
from risk.engines import base
settings = config.load_config(sys.argv[2])
ledger = load_ready_ledger(settings.ledger)
with base.open_table(settings.engine_settings, settings.final_data, ledger) as table:
    print(json.dumps(table.describe()))
"""
BOTH_COUNTS = """
import json, sys
sys.path.insert(0, sys.argv[1])
import config
from risk.data import profiles
from risk.data.ledger import load_ready_ledger
from risk.data.schema import Schema
from risk.engines import base, table_reader
settings = config.load_config(sys.argv[2])
ledger = load_ready_ledger(settings.ledger)
schema = Schema.from_json(ledger.schema)
def read(most):
    return table_reader.read(settings.final_data, ledger, schema, settings.room, most=most)
known = profiles.make_profiles(read(100_000).X, schema.numbers, schema.texts)
most = settings.max_training_rows if base.ENGINES[settings.engine].has_cluster else None
with base.open_table(settings.engine_settings, settings.final_data, ledger) as table:
    now = table.count_by(known, read(most))
print(json.dumps({name: vars(one) for name, one in now.items()}))
"""
PLAIN_STATISTICS = """
import sys
import pandas as pd
data = pd.read_csv(sys.argv[1])
numbers = data.select_dtypes("number")
print(numbers.mean(), numbers.median(), numbers.mode(), numbers.std(), data.isna().mean())
"""
PLAIN_TRAIN = """
import pickle, sys
import pandas as pd
from sklearn.linear_model import LogisticRegression
data = pd.read_csv(sys.argv[1])
X = data.drop(columns=["corporation", "exited"])
model = LogisticRegression(solver="liblinear").fit(X.fillna(X.median()), data["exited"])
pickle.dump(model, open(sys.argv[2], "wb"))
"""
PLAIN_PREDICT = """
import pickle, sys
import pandas as pd
data = pd.read_csv(sys.argv[1])
X = data.drop(columns=["corporation", "exited"])
model = pickle.load(open(sys.argv[2], "rb"))
data["probability"] = model.predict_proba(X.fillna(X.median()))[:, 1]
data.to_csv(sys.argv[3], index=False)
"""


def make_table(folder: Path, n_rows: int, n_files: int, *, seed: int = 0) -> None:
    """Write a table whose rows follow from their numbers; one in ten is one of the seven before it."""
    import duckdb

    folder.mkdir(parents=True)
    size = -(-n_rows // n_files)
    draw = ", ".join(f"(hash(i * 4 + {k + seed * 1_000_003}) % 1000000) / 1e6 as u{k}" for k in range(4))
    leaves = "z < 1 / (1 + exp(1.2 - 3 * (u1 - 0.5) + 4 * (u0 - 0.5) - 1.5 * (u2 - 0.5)))"
    for number in range(n_files):
        first, last = number * size, min(n_rows, (number + 1) * size)
        path = folder / f"part{number:05d}.csv"
        duckdb.sql(
            f"copy (select 'c{seed}' || i as corporation, "
            "case when u0 >= 0.01 then (u0 * 900)::int end as lastmonth_activity, "
            "(u1 * 9000)::int as lastyear_activity, (1 + u2 * u2 * 500)::int as number_of_employees, "
            f"({leaves.replace('z', 'u3')})::int as exited from (select i, {draw} from "
            f"(select case when i % 10 = 9 then i - 1 - (hash(i) % 7)::bigint else i end as i "
            f"from range({first}, {last}) t(i)))) to '{path}' (header)"
        )


def measure(*command: object) -> dict[str, float]:
    """Run a process: wall and CPU seconds, peak of its tree in MB."""
    before = os.times()
    done = pairs.run(*command)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return {"wall_s": done.duration_s, "cpu_s": cpu, "peak_mb": done.peak_bytes / 1e6}


def measure_rows(folder: Path, n_rows: int, n_files: int, plain: bool, limit: str | None) -> Iterator[Any]:
    """Measure each path on a table of so many rows."""
    make_table(folder / "in", n_rows, n_files)
    if not (folder.parent / "test").exists():
        make_table(folder.parent / "test", 20_000, 1, seed=1)
    extra: dict[str, Any] = {"engine": {"memory_limit": limit}, "model": {"estimator": "logistic_regression"}}
    config = pairs.workspace(folder / "ws", "../in", test_data_path="../../test", **extra)
    ours = [sys.executable, ROOT / "ingestion.py", "--config", config, "-q"]

    def script(name: str, *more: object) -> dict[str, float]:
        return measure(sys.executable, ROOT / f"{name}.py", "--config", config, "-q", *more)

    def tell(path: str, found: dict[str, float], way: str = "ours") -> dict[str, Any]:
        return {"path": path, "way": way, "rows": n_rows, "files": n_files, **found}

    flat = folder / "plain.csv"
    if plain:
        yield tell(INGEST, measure(sys.executable, "-c", pairs.PLAIN_INGEST, folder / "in", flat), "plain")
    yield tell(INGEST, measure(*ours))
    added = []
    for number in range(4):  # the first also makes the digests that later ones look rows up in
        rows = (f"n{number}_{i},{i % 900},{i % 9000},{i % 500},{i % 2}\n" for i in range(10_000))
        (folder / "in" / f"more{number}.csv").write_text(HEADER + "".join(rows))
        added.append(measure(*ours))
    yield tell(f"{APPEND} (first)", added[0])
    yield tell(APPEND, {key: statistics.median(one[key] for one in added[1:]) for key in added[0]})
    table = folder / "ws/ingesteddata/finaldata.csv"
    yield tell(STATISTICS, measure(sys.executable, "-c", OURS_STATISTICS, ROOT, config))
    yield tell(TRAIN, script("training"))
    script("scoring")
    script("deployment")
    yield tell(
        PREDICT, script("diagnostics", "--predict", table, "--reasons", 0, "--output", folder / "o.csv")
    )
    if plain:
        model = folder / "plain.pkl"
        yield tell(STATISTICS, measure(sys.executable, "-c", PLAIN_STATISTICS, flat), "plain")
        yield tell(TRAIN, measure(sys.executable, "-c", PLAIN_TRAIN, flat, model), "plain")
        yield tell(
            PREDICT, measure(sys.executable, "-c", PLAIN_PREDICT, flat, model, folder / "o.csv"), "plain"
        )
    yield tell(LIST, script("diagnostics"))


def measure_idle(folder: Path, n_files: int, repeats: int = 7) -> dict[str, Any]:
    """Measure an idle tick with so many input files; the first takes them up."""
    make_table(folder / "in", 10 * n_files, n_files)
    make_table(folder / "test", 2000, 1, seed=1)
    config = pairs.workspace(folder, "in", test_data_path="test")
    command = [sys.executable, ROOT / "fullprocess.py", "--config", config]
    measure(*command)
    runs = [pairs.run_quick(*command) for _ in range(repeats)]
    bare = [pairs.run_quick(sys.executable, "-c", "pass") for _ in range(repeats)]
    told = {"wall_s": statistics.median(runs), "bare_s": statistics.median(bare), "least_s": min(runs)}
    return {"path": "idle tick", "way": "ours", "files": n_files, **told}


def measure_tick(folder: Path, n_rows: int, n_files: int, limit: str | None) -> Iterator[dict[str, Any]]:
    """Measure the whole first tick on so many rows, then one with a file of 10,000 more."""
    make_table(folder / "in", n_rows, n_files)
    make_table(folder / "test", 20_000, 1, seed=1)
    config = pairs.workspace(folder / "ws", "../in", engine={"memory_limit": limit})
    make_table(folder / "more", 10_000, 1, seed=2)
    command = [sys.executable, ROOT / "fullprocess.py", "--config", config]
    about = {"way": "ours", "rows": n_rows, "files": n_files}
    yield {"path": FIRST_TICK, **about, **measure(*command)}
    (folder / "more/part00000.csv").replace(folder / "in/more.csv")
    yield {"path": NEXT_TICK, **about, **measure(*command)}


def measure_files(folder: Path, n_files: int, n_rows: int = 1_000_000) -> Iterator[dict[str, Any]]:
    """Measure ingestion of the same rows in so many files."""
    make_table(folder / "in", n_rows, n_files)
    config = pairs.workspace(folder / "ws", "../in")
    about = {"path": INGEST, "files": n_files, "rows": n_rows}
    plain = [sys.executable, "-c", pairs.PLAIN_INGEST, folder / "in", folder / "plain.csv"]
    yield {"way": "plain", **about, **measure(*plain)}
    yield {"way": "ours", **about, **measure(sys.executable, ROOT / "ingestion.py", "--config", config, "-q")}


def measure_spark(folder: Path, n_rows: int, n_files: int) -> Iterator[dict[str, Any]]:
    """Let DuckDB and Spark on this machine take up the same files, describe and count them; compare.

    Raises
    ------
    SystemExit
        When a byte of the table differs, a count, or a statistic by more than 1e-9 of itself.
    """
    make_table(folder / "in", n_rows, n_files)
    conf = {"spark.driver.bindAddress": "127.0.0.1", "spark.ui.enabled": False, "spark.driver.memory": "3g"}
    conf |= {"spark.sql.shuffle.partitions": 8, "spark.default.parallelism": 8}  # of 200 tasks most are empty
    engines = {"ours": {"name": "duckdb"}, "spark": {"name": "spark", "master": "local[2]", "conf": conf}}
    tables, told = [], dict[str, list[Any]]()
    for way, engine in engines.items():
        config = pairs.workspace(folder / way, "../in", test_data_path="../test", engine=engine)
        quiet = [sys.executable, ROOT / "ingestion.py", "--config", config, "-q"]
        yield {"path": INGEST, "way": way, "rows": n_rows, "files": n_files, **measure(*quiet)}
        with (folder / way / "ingesteddata/finaldata.csv").open("rb") as handle:
            tables.append(hashlib.file_digest(handle, "sha256").hexdigest())
        for path, script in ((STATISTICS, BOTH_STATISTICS), (COUNTS, BOTH_COUNTS)):
            started = time.perf_counter()
            said = pairs.run(sys.executable, "-c", script, ROOT, config).said
            told.setdefault(path, []).append(json.loads(said.splitlines()[-1]))
            yield {"path": path, "way": way, "wall_s": time.perf_counter() - started}
    if tables[0] != tables[1]:
        raise SystemExit("the tables differ")
    if worst := [found for pair in told.values() for found in differing(*pair)]:
        raise SystemExit(f"statistics or counts differ: {worst[:3]}")
    print(f"{n_rows:,} rows: same bytes ({tables[0][:12]}), same counts, statistics within 1e-9")


def differing(one: Any, other: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Name the places where two documents differ, numbers by more than 1e-9."""
    if isinstance(one, dict | list):
        keys = one.keys() | other.keys() if isinstance(one, dict) else range(max(len(one), len(other)))
        for key in keys:
            yield from differing(one[key], other[key], f"{name}/{key}")
    elif isinstance(one, float) and isinstance(other, float):
        if not math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12):
            yield name, one, other
    elif one != other:
        yield name, one, other


def slopes(found: Sequence[dict[str, Any]], key: str) -> dict[tuple[str, str], float]:
    """Fit the slope of log(key) over log(rows) of each path and way, from a million rows on."""
    series: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for one in found:
        if one.get("rows", 0) >= 1_000_000:
            point = math.log(one["rows"]), math.log(one[key])
            series.setdefault((one["path"], one["way"]), []).append(point)
    return {
        name: statistics.linear_regression(*zip(*points, strict=True)).slope
        for name, points in series.items()
        if len(points) > 1
    }


def show(found: Sequence[dict[str, Any]]) -> None:
    """Print the measurements as a table, and the slopes."""
    print("| path | way | rows | wall s | CPU s | peak MB |\n|---|---|---|---|---|---|")
    for one in found:
        if "rows" in one:
            figures = f"{one['wall_s']:.1f} | {one['cpu_s']:.1f} | {one['peak_mb']:,.0f}"
            print(f"| {one['path']} | {one['way']} | {one['rows']:,} | {figures} |")
    for key in ("wall_s", "cpu_s"):
        for (path, way), slope in slopes(found, key).items():
            print(f"slope of {key}: {path} ({way}) {slope:.2f}")


def keep(path: Path | None, found: Sequence[dict[str, Any]]) -> None:
    """Write what was measured so far: a long run may be cut off."""
    if path is not None:
        path.write_text(json.dumps(found, indent=1))


def draw(found: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw CPU seconds and peak memory over rows, both scales logarithmic."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5), layout="constrained")
    axes = figure.subplots(1, 2)
    names = list(dict.fromkeys(one["path"] for one in found if "rows" in one))
    for axis, key, label in zip(axes, ("cpu_s", "peak_mb"), ("CPU seconds", "peak memory, MB"), strict=True):
        for number, name in enumerate(names):
            for way, line in (("ours", "-o"), ("plain", ":x")):
                points = [(o["rows"], o[key]) for o in found if o["path"] == name and o["way"] == way]
                if points:
                    told = name if way == "ours" else f"{name}, plain pandas"
                    axis.loglog(*zip(*sorted(points), strict=True), line, color=f"C{number}", label=told)
        axis.set(xlabel="rows", ylabel=label)
        axis.grid(alpha=0.3)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    figure.savefig(path, dpi=110)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="*", default=[])
    parser.add_argument("--files", type=int, default=10)
    parser.add_argument("--idle", type=int, nargs="*", default=[], metavar="FILES")
    parser.add_argument(
        "--split", type=int, nargs="*", default=[], metavar="FILES", help="ingest a million rows in so many"
    )
    parser.add_argument("--tick", type=int, nargs="*", default=[], metavar="ROWS")
    parser.add_argument("--spark", type=int, nargs="*", default=[], metavar="ROWS")
    parser.add_argument("--plain-up-to", type=int, default=10_000_000)
    parser.add_argument("--memory-limit")
    parser.add_argument("--out", type=Path, help="write what was measured as JSON")
    parser.add_argument("--draw", type=Path, nargs=2, metavar=("JSON", "PNG"))
    arguments = parser.parse_args(argv)
    if arguments.draw:
        found = json.loads(arguments.draw[0].read_text())
        show(found)
        draw(found, arguments.draw[1])
        return 0
    found = []
    started, (all_before, own_before) = time.perf_counter(), pairs.cpu_seconds()
    with tempfile.TemporaryDirectory(prefix="risk-scale-") as scratch:
        for n_files in arguments.idle:
            found.append(measure_idle(Path(scratch) / f"idle{n_files}", n_files))
            print(found[-1], flush=True)
            keep(arguments.out, found)
        for n_files in arguments.split:
            for one in measure_files(Path(scratch) / f"split{n_files}", n_files):
                print(one, flush=True)
        for n_rows in arguments.tick:
            for one in measure_tick(
                Path(scratch) / f"tick{n_rows}", n_rows, arguments.files, arguments.memory_limit
            ):
                found.append(one)
                print(one, flush=True)
                keep(arguments.out, found)
        for n_rows in arguments.spark:
            for one in measure_spark(Path(scratch) / f"spark{n_rows}", n_rows, arguments.files):
                print(one, flush=True)
        for n_rows in arguments.rows:
            plain = n_rows <= arguments.plain_up_to
            folder = Path(scratch) / f"rows{n_rows}"
            for one in measure_rows(folder, n_rows, arguments.files, plain, arguments.memory_limit):
                print(one, flush=True)
                found.append(one)
                keep(arguments.out, found)
            shutil.rmtree(folder)
    all_after, own_after = pairs.cpu_seconds()
    other = (all_after - all_before - own_after + own_before) / (time.perf_counter() - started)
    show(found)
    print(f"meanwhile other work kept {max(other, 0):.2f} of {os.cpu_count()} cores busy (a free machine: 0)")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
