"""Describe the table, the deployed model's predictions, the timings and the packages."""

from __future__ import annotations

import argparse
import csv
import datetime
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import stage
from config import SECRETS, Config
from risk import artifacts, dataset, escapes, outbox, packages, releases, rows, table, ticks, timeline, trends
from risk.dataset import Schema
from risk.errors import DatasetError, MissingArtifactError, UsageError

if TYPE_CHECKING:
    import pandas as pd

LOG = stage.log("diagnostics")
CHUNK_ROWS = 500_000
WIDTH = 80
MOST_POINTS = 10_000
_EXPONENT = re.compile(r"e(-?)\+?0*")


@dataclass(frozen=True)
class Result:
    """What was described; `facts` is diagnostics.json."""

    n_rows: int
    n_columns: int
    n_missing: int
    n_outdated: int
    facts: Mapping[str, Any] = field(default_factory=dict, repr=False)
    mark: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def to_json(self) -> dict[str, Any]:
        return dict(self.facts)

    def history(self, _: Config) -> dict[str, Any]:
        """Say what `records` keeps of this run: percent missing, once for each state of the table."""
        missing = [
            {
                "key": [self.mark["digest"], name],
                "table_digest": self.mark["digest"],
                "column_name": name,
                **found,
            }
            for name, found in self.facts["missing"].items()
        ]
        return {"missing_values": missing}

    def text(self) -> str:
        """Render what was found for a reader, in 80 columns."""
        return render(self.facts)


@dataclass(frozen=True)
class Past:
    """How things have moved, or how many rows of each table were exported."""

    trends: Mapping[str, Any] = field(default_factory=dict, repr=False)
    since: str | None = None
    waiting: int = 0
    exported: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return dict(self.exported or self.trends)

    def text(self) -> str:
        """Tell it in 80 columns."""
        if self.exported:
            return "".join(f"{name}.csv  {count:,} rows\n" for name, count in self.exported.items())
        late = f"{self.waiting:,} batches of records wait for the database\n" if self.waiting else ""
        return timeline.render_text(self.trends, since=self.since) + late


# --- compute ---------------------------------------------------------------------------------------------


def compute_statistics(values: pd.Series[float]) -> dict[str, float | int | None]:
    """Describe one numeric column.

    Parameters
    ----------
    values : Series of float64
        NaN is missing and counts nowhere.

    Returns
    -------
    statistics : dict
        n, mean, median, mode (the smallest of the most frequent), std (ddof 1), min, max; None where
        it is not defined (no value; std of one value) or no finite double.
    """
    import math

    import numpy as np

    filled = values.to_numpy(dtype="float64")
    filled = filled[~np.isnan(filled)]
    if not len(filled):
        return {"n": 0, "mean": None, "median": None, "mode": None, "std": None, "min": None, "max": None}
    distinct, counts = np.unique(filled, return_counts=True)
    with np.errstate(over="ignore", invalid="ignore"):
        found = {
            "mean": float(filled.mean()),
            "median": float(np.median(filled)),
            "mode": float(distinct[counts.argmax()]),
            "std": float(filled.std(ddof=1)) if len(filled) > 1 else math.nan,
            "min": float(distinct[0]),
            "max": float(distinct[-1]),
        }
    return {"n": len(filled), **{k: v if math.isfinite(v) else None for k, v in found.items()}}


def describe_columns(
    path: Path, schema: Schema, length: int
) -> tuple[dict[str, dict[str, float | int | None]], dict[str, dict[str, float | int]]]:
    """Read the table once, in chunks; only the numbers are held.

    Returns
    -------
    statistics : dict
        What `compute_statistics` says of each number column.
    missing : dict
        Count and percent of every column. Blank is missing everywhere, the words NA, null and nan in
        number columns only.
    """
    import numpy as np
    import pandas as pd

    numbers: dict[str, list[np.ndarray]] = {name: [] for name in schema.numbers}
    counts = dict.fromkeys(schema.columns, 0)
    n_rows = 0
    for part in dataset.read_texts(path, schema, stop=length, chunk_rows=CHUNK_ROWS):
        n_rows += len(part)
        for name in schema.columns:
            cells = part[name]
            if name in numbers:
                cells = dataset.numbers_of(cells)
                numbers[name].append(cells.to_numpy())
            counts[name] += int(cells.isna().sum())
    statistics = {
        name: compute_statistics(pd.Series(np.concatenate(parts) if parts else [], dtype="float64"))
        for name, parts in numbers.items()
    }
    missing = {
        name: {"count": count, "percent": 100 * count / n_rows if n_rows else 0.0}
        for name, count in counts.items()
    }
    return statistics, missing


# --- run -------------------------------------------------------------------------------------------------


def run(
    config: Config,
    *,
    verdict: Mapping[str, Any] | None = None,
    measure: bool = False,
    history: bool = False,
    since: str | None = None,
    export: str | None = None,
) -> Result | Past:
    """Describe the present table and the deployed model, and write diagnostics.json and trends.json.

    Parameters
    ----------
    verdict : mapping, optional
        What the drift check of this tick found; None takes that of the last tick.
    measure : bool, default=False
        Run ingestion and training again, in a scratch copy, and give their timings.
    history : bool, default=False
        Only read the history and tell how things have moved, from the day `since` on.
    export : str, optional
        Only write every table of the history into this folder, as CSV.

    Raises
    ------
    MissingArtifactError
        When nothing was ingested yet.
    ServiceError
        When the history is asked for and does not answer.
    UsageError
        When `since` comes without `history`.
    """
    if since and not history:
        raise UsageError("--since counts only with --history")
    if export is not None:
        return Past(exported=export_tables(config, Path(export)))
    if history:
        return Past(read_past(config, since), since, len(outbox.waiting(config.outbox)))
    ledger = table.load_ready(config.ledger)
    schema = Schema.from_json(ledger.schema or {})
    statistics, missing = describe_columns(config.final_data, schema, ledger.length)
    timings, moved, known = read_history(config)
    listed, asked_at = packages.list_packages(config.requirements, config.package_cache)
    facts: dict[str, Any] = {
        "n_rows": ledger.rows,
        "n_unlabelled": ledger.rows_unlabelled,
        "statistics": statistics,
        "missing": missing,
        "timings": measure_timings(config) if measure else timings,
        "dependencies": listed,
        "dependencies_at": asked_at,
        "verdict": verdict or ticks.last_verdict(config.tick_state),
        "predictions": predict(config),
        "trends": trends.latest(moved),
        "history": known,
    }
    artifacts.put_json(config.trends, moved)
    artifacts.put_json(config.diagnostics, facts)
    return Result(
        n_rows=ledger.rows,
        n_columns=len(schema.columns),
        n_missing=sum(int(found["count"]) for found in missing.values()),
        n_outdated=sum(p["latest"] not in (p["installed"], packages.UNKNOWN) for p in listed),
        facts=facts,
        mark=ledger.mark,
    )


def predict(config: Config) -> dict[str, Any] | None:
    """Let the deployed model predict every row of the test data, labelled or not."""
    from threadpoolctl import threadpool_limits

    try:
        release, model = releases.load_deployed(config.prod_deployment, config.secrets.get("RISK_MODEL_KEY"))
    except MissingArtifactError as error:
        LOG.info("no predictions: %s", error)
        return None
    schema = Schema.from_json(release.json("modelcard.json")["schema"])
    good, _ = rows.read_folder(
        config.test_data, schema, config.separator, needed=schema.features, limits=config.limits
    )
    if good:
        with threadpool_limits(1):
            values = [int(value) for value in model.predict(dataset.to_frame(good, schema))]
    else:
        values = []
    return {"release": release.id, "n": len(values), "n_leaving": sum(values), "values": values}


def read_history(config: Config) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Read the last real runs of ingestion and training, and how things have moved.

    A database that does not answer leaves what was known last, with the records that wait for it.

    Returns
    -------
    timings, trends : dict
    known : dict
        Until which moment the history is known, and how many batches of records wait.
    """
    found = stage.deliver(
        config, "diagnostics", lambda history: (history.latest_timings(), history.trend_rows())
    )
    waiting = list(filter(None, map(outbox.read, outbox.waiting(config.outbox))))
    if found is not None:
        timings, (rows, left_out) = found
        moved, until = trends.build(rows, left_out=left_out), last_moment(rows)
        rows = unknown_rows(waiting, None)
    else:
        before = artifacts.read_json_or_none(config.diagnostics) or {}
        moved = artifacts.read_json_or_none(config.trends) or trends.build({})
        timings, until = before.get("timings", {}), before.get("history", {}).get("until")
        rows = unknown_rows(waiting, until)
    timings = continue_timings(timings, rows.get("timings", []))
    if rows:
        moved = trends.merge(moved, trends.build(rows, max_columns=None))
        until = max(filter(None, [until, last_moment(rows)]), default=None)
    return timings, moved, {"until": until, "waiting": len(waiting)}


def unknown_rows(
    waiting: Sequence[tuple[outbox.Rows, str]], until: str | None
) -> dict[str, list[dict[str, Any]]]:
    """Give the waiting rows, by table, that came after a moment."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for tables, at in waiting:
        for name, listed in tables.items() if until is None or at > until else ():
            rows.setdefault(name, []).extend({"at": at, **row} for row in listed)
    return rows


def last_moment(rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> str | None:
    """Name the latest moment of some rows."""
    return max((row["at"] for listed in rows.values() for row in listed), default=None)


def continue_timings(
    before: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> dict[str, dict[str, Any] | None]:
    """Continue the timings known last with rows that wait."""
    timings: dict[str, dict[str, Any] | None] = {}
    for name in ("ingestion", "training"):
        mine = [row for row in rows if row["stage"] == name]
        known = before.get(name)
        n_runs = len(mine) + (known["n_runs"] if known else 0)
        last = (
            {"duration_s": mine[-1]["duration_s"], "n_runs": n_runs, "at": mine[-1]["at"]} if mine else known
        )
        timings[name] = last
    return timings


def read_past(config: Config, since: str | None) -> dict[str, Any]:
    """Read how things have moved."""
    from risk import records

    with records.read(config.database_url) as history:
        rows, left_out = history.trend_rows()
    moved = trends.build(rows, left_out=left_out, max_points=MOST_POINTS)
    return trends.cut(moved, since) if since else moved


def export_tables(config: Config, folder: Path) -> dict[str, int]:
    """Write every table of the history as CSV, as they are at one moment; return the rows of each."""
    from risk import records

    if folder.resolve() in (config.input_folder.resolve(), config.test_data.resolve()):
        raise UsageError(f"--export: {folder} is read by the pipeline; name another folder")
    counts = {}
    with records.read(config.database_url) as history:
        for name, columns, rows in history.tables():
            with artifacts.put(folder / f"{name}.csv") as handle:
                writer = csv.writer(handle, lineterminator="\n")
                writer.writerow(columns)
                counts[name] = 0
                for row in rows:
                    cells = (int(cell) if isinstance(cell, bool) else cell for cell in row)
                    writer.writerow(map(escapes.for_spreadsheet, cells))
                    counts[name] += 1
    return counts


def measure_timings(config: Config) -> dict[str, Any]:
    """Run ingestion and training again in a scratch copy; the live workspace is only read."""
    import subprocess
    import sys

    from risk import records

    environment = {name: value for name, value in os.environ.items() if name not in SECRETS}
    with tempfile.TemporaryDirectory(prefix="risk-measure-") as scratch:
        copy = write_scratch_config(config, Path(scratch))
        for name in ("ingestion", "training"):
            script = Path(__file__).resolve().parent / f"{name}.py"
            command = [sys.executable, str(script), "--config", str(copy), "-q"]
            done = subprocess.run(  # noqa: S603  (our own script)
                command, env=environment, capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise DatasetError(f"{name} could not be measured: {done.stderr.strip()}")
        with records.open(f"sqlite:///{copy.parent / 'records.db'}") as history:
            return history.latest_timings()


def write_scratch_config(config: Config, scratch: Path) -> Path:
    """Write a config.json whose outputs lie in `scratch` and whose inputs are the live ones."""
    raw = artifacts.read_json(config.path, "name one with --config")
    raw |= {
        "input_folder_path": str(config.input_folder),
        "test_data_path": str(config.test_data),
        "output_folder_path": "ingesteddata",
        "output_model_path": "models",
        "prod_deployment_path": "production_deployment",
        "database_url": "sqlite:///records.db",
    }
    path = scratch / "config.json"
    artifacts.put_json(path, raw)
    return path


# --- text ------------------------------------------------------------------------------------------------


def render(facts: Mapping[str, Any]) -> str:
    """Render diagnostics.json as aligned tables."""
    statistics: list[tuple[str, ...]] = [("column", "n", "mean", "median", "mode", "std", "min", "max")]
    for name, found in facts["statistics"].items():
        statistics.append((name, *(short(found[key]) for key in statistics[0][1:])))
    missing: list[tuple[str, ...]] = [("column", "missing", "percent")]
    missing += [(k, f"{v['count']:,}", f"{v['percent']:.2f}") for k, v in facts["missing"].items()]
    timings: list[tuple[str, ...]] = [("stage", "seconds", "runs", "last run")]
    for name, timing in facts["timings"].items():
        row = (
            (f"{timing['duration_s']:.2f}", str(timing["n_runs"]), timing["at"])
            if timing
            else ("-", "0", "never")
        )
        timings.append((name, *row))
    listed: list[tuple[str, ...]] = [("module", "installed", "latest")]
    listed += [(p["module"], p["installed"], p["latest"]) for p in facts["dependencies"]]
    predictions = facts["predictions"]
    said = "nothing is deployed yet"
    if predictions:
        n_leaving, n = predictions["n_leaving"], predictions["n"]
        said = f"release {predictions['release']}: {n_leaving:,} of {n:,} test rows leave"
    tables: list[list[tuple[str, ...]]] = [statistics, missing, timings, listed]
    n_rows = f"{facts['n_rows']:,} rows, {facts['n_unlabelled']:,} of them unlabelled"
    blocks = [n_rows, *(align(table) for table in tables), said]
    return "\n\n".join(blocks) + "\n"


def short(value: float | int | None) -> str:
    """Shorten a number to what fits a column: 4 digits, 1.235e6 for what is large."""
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else _EXPONENT.sub(r"e\1", f"{value:.4g}")


def align(table: Sequence[Sequence[str]]) -> str:
    """Align a table: figures right, names left and cut to 24 letters, or to fewer that fit the line."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    room = WIDTH - sum(width + 2 for width in widths[1:])
    widths[0] = min(widths[0], 24, max(room, 6))
    lines = []
    for name, *figures in table:
        cut = name if len(name) <= widths[0] else name[: widths[0] - 1] + "…"
        cells = [cut.ljust(widths[0]), *(f.rjust(w) for f, w in zip(figures, widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def add_options(parser: argparse.ArgumentParser) -> None:
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument(
        "--measure", action="store_true", help="time ingestion and training anew, in a scratch copy"
    )
    choice.add_argument("--history", action="store_true", help="only tell how things have moved")
    choice.add_argument("--export", metavar="FOLDER", help="only write every table of the history as CSV")
    parser.add_argument(
        "--since", metavar="DATE", type=check_day, help="with --history: from this day on, YYYY-MM-DD"
    )


def check_day(text: str) -> str:
    """Check a date of the command line."""
    try:
        return datetime.date.fromisoformat(text).isoformat()
    except ValueError as error:
        raise UsageError(f"--since: {text!r} is not a date such as 2026-01-31") from error


def main(argv: list[str] | None = None) -> int:
    """Run from the shell."""
    return stage.main("diagnostics", run, argv, description=__doc__, options=add_options)


if __name__ == "__main__":
    raise SystemExit(main())
