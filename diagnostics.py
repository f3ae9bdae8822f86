"""Describe the table, list the clients at risk, and explain the predictions of the deployed model."""

from __future__ import annotations

import argparse
import datetime
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from config import SECRETS, Config
from risk import text
from risk.data import csv_check, validation
from risk.data.frames import to_frame
from risk.data.inputs import list_inputs
from risk.data.ledger import load_ready_ledger
from risk.engines import base as engines
from risk.errors import ArtifactError, DatasetError, MissingArtifactError, UsageError
from risk.files import put, put_json, read_json, read_json_or_none
from risk.history import outbox, trends
from risk.limits import Room
from risk.model import registry
from risk.reporting import terminal
from risk.runtime import deliveries, dependencies, logs, runner, state
from risk.text import align, fit, short

if TYPE_CHECKING:
    from risk.data.ledger import Ledger
    from risk.data.validation import Rejection
    from risk.model.registry import Release
    from risk.prediction.predictor import Predictor

LOG = logs.log("diagnostics")
MOST_POINTS = 10_000
MOST_TOLD, FIRST_CLIENTS, MOST_REASONS = 20, 5, 20


@dataclass(frozen=True)
class DiagnosticsResult:
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
class HistoryResult:
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
        return terminal.render_text(self.trends, since=self.since) + late


@dataclass(frozen=True)
class PredictionResult:
    """What became of the rows of a file; the predictions are in `output`, or went to standard output."""

    release: str
    n_rows: int
    n_leaving: int
    n_rejected: int
    output: str | None = None

    @property
    def filled_stdout(self) -> bool:
        return self.output is None

    @property
    def exit_code(self) -> int:
        """Bad data when no row was good."""
        return os.EX_OK if self.n_rows else os.EX_DATAERR


@dataclass(frozen=True)
class ExplanationResult:
    """Where a client's prediction comes from."""

    facts: Mapping[str, Any] = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        return dict(self.facts)

    def text(self) -> str:
        """Tell it in 80 columns."""
        from risk.prediction import explanation

        return explanation.render(self.facts)


# --- run -------------------------------------------------------------------------------------------------


def run(
    config: Config,
    *,
    verdict: Mapping[str, Any] | None = None,
    measure: bool = False,
    history: bool = False,
    since: str | None = None,
    export: str | None = None,
    predict: str | None = None,
    reasons: int = 3,
    output: str | None = None,
    explain: str | None = None,
) -> DiagnosticsResult | HistoryResult | PredictionResult | ExplanationResult:
    """Describe the present table and the deployed model; write atrisk.csv, diagnostics.json, trends.json.

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
    predict : str, optional
        Only let the deployed model predict the rows of this CSV file ("-" is standard input), with up to
        `reasons` reasons each, into the file `output` or to standard output.
    explain : str, optional
        Only tell where the prediction of this client comes from.

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
        return HistoryResult(exported=export_tables(config, Path(export)))
    if history:
        return HistoryResult(read_past(config, since), since, len(outbox.waiting(config.outbox)))
    if predict is not None:
        return predict_file(config, predict, reasons, output)
    if explain is not None:
        return explain_client(config, explain)
    ledger = load_ready_ledger(config.ledger)
    with engines.open_table(config.engine_settings, config.final_data, ledger) as table:
        statistics, missing = table.describe()
    deployed = load_deployed(config)
    clients = list_clients(config, ledger, deployed) if deployed else None
    timings, moved, known = read_history(config)
    listed, asked_at = dependencies.list_packages(config.requirements, config.package_cache)
    facts: dict[str, Any] = {
        "n_rows": ledger.rows,
        "n_unlabelled": ledger.rows_unlabelled,
        "statistics": statistics,
        "missing": missing,
        "timings": measure_timings(config) if measure else timings,
        "dependencies": listed,
        "dependencies_at": asked_at,
        "verdict": verdict or state.last_verdict(config.tick_state),
        "predictions": predict_test_data(config, deployed) if deployed else None,
        "clients": clients,
        "trends": trends.latest(moved),
        "history": known,
    }
    put_json(config.trends, moved)
    put_json(config.diagnostics, facts)
    return DiagnosticsResult(
        n_rows=ledger.rows,
        n_columns=len(missing),
        n_missing=sum(int(found["count"]) for found in missing.values()),
        n_outdated=sum(p["latest"] not in (p["installed"], dependencies.UNKNOWN) for p in listed),
        facts=facts,
        mark=ledger.mark,
    )


def load_deployed(config: Config) -> Predictor | None:
    """Let the deployed release speak; None while nothing is deployed."""
    try:
        return load_release(config)[1]
    except MissingArtifactError as error:
        LOG.info("no predictions: %s", error)
        return None


def load_release(config: Config) -> tuple[Release, Predictor]:
    """Load the deployed release, and let it speak in the words of config.json."""
    import sklearn.ensemble  # noqa: F401  (its thread pool must be there before it can be limited)

    from risk.prediction.predictor import Predictor
    from risk.prediction.wording import Words

    release, model = registry.load_deployed(config.prod_deployment, config.secrets.get("RISK_MODEL_KEY"))
    return release, Predictor.from_release(release, model, Words(config.words))


def predict_test_data(config: Config, deployed: Predictor) -> dict[str, Any]:
    """Let the deployed model predict every row of the test data, labelled or not."""
    from threadpoolctl import threadpool_limits

    schema = deployed.schema
    good, _ = validation.read_folder(
        config.test_data, schema, config.separator, needed=schema.features, limits=config.limits
    )
    if good:
        with threadpool_limits(1):
            values = [int(value) for value in deployed.model.predict(to_frame(good, schema))]
    else:
        values = []
    return {"release": deployed.release, "n": len(values), "n_leaving": sum(values), "values": values}


def list_clients(config: Config, ledger: Ledger, deployed: Predictor) -> dict[str, Any] | None:
    """Write atrisk.csv and give its summary; None where the deployed model cannot read the table."""
    from threadpoolctl import threadpool_limits

    from risk.prediction import client_list

    unknown = [name for name in config.words if name not in (ledger.schema or {})["columns"]]
    if unknown:
        LOG.warning("report.words: the table has no column %s", ", ".join(map(repr, unknown)))
    try:
        before = (read_json_or_none(config.diagnostics) or {}).get("clients")
    except ArtifactError:
        before = None
    wanted = client_list.Wanted(config.top_n, config.value_column)
    places = (config.at_risk, config.final_data, config.room)
    try:
        with threadpool_limits(1):
            told = client_list.write_list(*places, ledger, deployed, wanted, before)
    except DatasetError as error:
        LOG.warning("%s is as it was: %s", config.at_risk.name, error)
        return None
    remember_list(config, told)
    return told


def remember_list(config: Config, told: Mapping[str, Any]) -> None:
    """Note in the history how many clients are at risk, once for each release and state of the table."""
    release, digest = told["release"], told["mark"]["digest"]
    row = {name: told[name] for name in ("n_clients", "n_at_risk", "share_at_risk", "value_at_risk")}
    kept = {"key": [release, digest], "release": release, "table_digest": digest, **row}
    deliveries.remember(config, "diagnostics", {"client_lists": [kept]})


def predict_file(config: Config, path: str, n_reasons: int, output: str | None) -> PredictionResult:
    """Let the deployed model predict the rows of a file; of the workspace only the spill folder is used."""
    from threadpoolctl import threadpool_limits

    from risk.prediction import batch, streams

    release, deployed = load_release(config)
    check_output(config, path, output)
    if config.engine == "spark":
        return predict_on_cluster(config, release, deployed, path, n_reasons, output)
    if Path(path).is_dir():
        raise UsageError(f'{path}: is a folder; only with engine.name "spark" a folder is predicted')
    with streams.scratch(config.spill_folder) as scratch:
        source = streams.take_input(path, scratch)
        checked = csv_check.check(source, deployed.schema.columns, config.separator, config.limits)
        room = Room(scratch, config.memory_limit)
        with streams.open_output(output, scratch) as out, threadpool_limits(1):
            told = batch.predict_file(checked, deployed, out, n_reasons=n_reasons, room=room)
    tell_rejected(checked.name, told.rejected, told.n_rows)
    return PredictionResult(release.id, told.n_rows, told.n_leaving, len(told.rejected), output)


def predict_on_cluster(
    config: Config, release: Release, deployed: Predictor, path: str, n_reasons: int, output: str | None
) -> PredictionResult:
    """Let executors predict a file into a file, or a folder of files into a new folder."""
    from risk.engines import spark_session
    from risk.prediction import spark_batch, streams

    cluster = spark_session.connect_proven(config.engine_settings, spark_batch.PACKAGES)
    is_folder = Path(path).is_dir()
    if is_folder and output is None:
        raise UsageError(f"{path}: is a folder; name a new folder with --output")
    with ExitStack() as opened:
        scratch = opened.enter_context(streams.scratch(config.spill_folder, shared=True))
        if is_folder and output is not None:
            sources = [Path(path).resolve() / name for name in list_inputs(Path(path))]
            made = opened.enter_context(streams.open_folder(Path(output)))
        else:
            sources, made = [streams.take_input(path, scratch)], None
        if not sources:
            raise MissingArtifactError(f"{path}: holds no CSV file")
        columns = deployed.schema.columns
        files = [csv_check.check(source, columns, config.separator, config.limits) for source in sources]

        def open_output(position: int) -> Any:
            if made is None:
                return streams.open_output(output, scratch)
            return (made / files[position].name).open("w", encoding="utf-8", newline="")

        sent = spark_batch.Sent(release, config.words, n_reasons)
        told = spark_batch.predict_files(cluster, files, sent, deployed, scratch, open_output)
    for checked, one in zip(files, told, strict=True):
        tell_rejected(checked.name, one.rejected, one.n_rows)
    n_rows, n_leaving, n_rejected = (
        sum(one.n_rows for one in told),
        sum(one.n_leaving for one in told),
        sum(len(one.rejected) for one in told),
    )
    return PredictionResult(release.id, n_rows, n_leaving, n_rejected, output)


def check_output(config: Config, path: str, output: str | None) -> None:
    """Refuse an output that is read by the pipeline, or is the input."""
    if output is None:
        return
    target = Path(output).resolve()
    if target.parent in (config.input_folder.resolve(), config.test_data.resolve()):
        raise UsageError(f"--output: {target.parent} is read by the pipeline; name another folder")
    if path != "-" and target == Path(path).resolve():
        raise UsageError(f"--output: {output} is the file that is read; name another one")


def tell_rejected(name: str, rejected: Sequence[Rejection], n_good: int) -> None:
    """Tell of the bad rows of a file, the first of many."""
    for one in rejected[:MOST_TOLD]:
        why = f"{one.column} {one.reason}" if one.column else one.reason
        LOG.warning("%s: line %s: %s", name, f"{one.line:,}", why)
    if len(rejected) > MOST_TOLD:
        LOG.warning("%s: and %s more bad rows", name, f"{len(rejected) - MOST_TOLD:,}")
    if not n_good:
        LOG.error("%s: holds no good row", name)


def explain_client(config: Config, client: str) -> ExplanationResult:
    """Tell where the prediction of a client comes from; of the workspace only the spill folder is used."""
    from threadpoolctl import threadpool_limits

    from risk.prediction import explanation, streams

    ledger = load_ready_ledger(config.ledger)
    release, deployed = load_release(config)
    with streams.scratch(config.spill_folder) as scratch, threadpool_limits(1):
        room = Room(scratch, config.memory_limit)
        return ExplanationResult(
            explanation.explain_client(client, config.final_data, ledger, release, deployed, room)
        )


def read_history(config: Config) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Read the last real runs of ingestion and training, and how things have moved.

    A database that does not answer leaves what was known last, with the records that wait for it.

    Returns
    -------
    timings, trends : dict
    known : dict
        Until which moment the history is known, and how many batches of records wait.
    """
    found = deliveries.deliver(
        config, "diagnostics", lambda history: (history.latest_timings(), history.trend_rows())
    )
    waiting = list(filter(None, map(outbox.read, outbox.waiting(config.outbox))))
    if found is not None:
        timings, (rows, left_out) = found
        moved, until = trends.build(rows, left_out=left_out), last_moment(rows)
        rows = unknown_rows(waiting, None)
    else:
        before = read_json_or_none(config.diagnostics) or {}
        moved = read_json_or_none(config.trends) or trends.build({})
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
    from risk.history import store

    with store.read(config.database_url) as history:
        rows, left_out = history.trend_rows()
    moved = trends.build(rows, left_out=left_out, max_points=MOST_POINTS)
    return trends.cut(moved, since) if since else moved


def export_tables(config: Config, folder: Path) -> dict[str, int]:
    """Write every table of the history as CSV, as they are at one moment; return the rows of each."""
    from risk.history import store

    if folder.resolve() in (config.input_folder.resolve(), config.test_data.resolve()):
        raise UsageError(f"--export: {folder} is read by the pipeline; name another folder")
    counts = {}
    with store.read(config.database_url) as history:
        for name, columns, rows in history.tables():
            with put(folder / f"{name}.csv") as handle:
                handle.write(text.render_csv_row(columns))
                counts[name] = 0
                for row in rows:
                    cells = (int(cell) if isinstance(cell, bool) else cell for cell in row)
                    handle.write(text.render_csv_row([*map(text.escape_for_spreadsheet, cells)]))
                    counts[name] += 1
    return counts


def measure_timings(config: Config) -> dict[str, Any]:
    """Run ingestion and training again in a scratch copy; the live workspace is only read."""
    import subprocess
    import sys

    from risk.history import store

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
        with store.open(f"sqlite:///{copy.parent / 'records.db'}") as history:
            return history.latest_timings()


def write_scratch_config(config: Config, scratch: Path) -> Path:
    """Write a config.json whose outputs lie in `scratch` and whose inputs are the live ones."""
    raw = read_json(config.path, "name one with --config")
    raw |= {
        "input_folder_path": str(config.input_folder),
        "test_data_path": str(config.test_data),
        "output_folder_path": "ingesteddata",
        "output_model_path": "models",
        "prod_deployment_path": "production_deployment",
        "database_url": "sqlite:///records.db",
    }
    path = scratch / "config.json"
    put_json(path, raw)
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
    if facts["clients"]:
        blocks.append(render_clients(facts["clients"]))
    return "\n\n".join(blocks) + "\n"


def render_clients(found: Mapping[str, Any]) -> str:
    """Say how many clients are at risk, and who first."""
    n, n_at_risk = found["n_clients"], found["n_at_risk"]
    worth = f", expected loss {found['value_at_risk']:,.0f}" if found["value_at_risk"] is not None else ""
    lines = [f"{n_at_risk:,} of {n:,} clients at risk{worth}; all of them are in atrisk.csv"]
    for one in found["clients"][:FIRST_CLIENTS]:
        why = "; ".join(reason["text"] for reason in one["reasons"])
        named = " ".join(value or "-" for value in one["id"].values())
        lines.append(fit(f"{100 * one['probability']:5.1f} %  {named}: {why}", text.WIDTH).rstrip())
    return "\n".join(lines)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s [options]"  # argparse breaks no line within a group
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument(
        "--measure", action="store_true", help="time ingestion and training separately, in a scratch copy"
    )
    choice.add_argument(
        "--history", action="store_true", help="only show how scores, rows and times have changed"
    )
    choice.add_argument("--export", metavar="FOLDER", help="only write every table of the history as CSV")
    choice.add_argument("--predict", metavar="FILE", help="only predict the rows of a CSV file (- is stdin)")
    choice.add_argument(
        "--explain", metavar="CLIENT", help="only explain where a client's prediction comes from"
    )
    parser.add_argument(
        "--reasons",
        metavar="N",
        type=check_count,
        default=3,
        help="with --predict: reasons for each row (default 3; 0 is faster)",
    )
    parser.add_argument("--output", metavar="FILE", help="with --predict: write here, not to stdout")
    parser.add_argument(
        "--since", metavar="DATE", type=check_day, help="with --history: from this day on, YYYY-MM-DD"
    )


def check_count(text: str) -> int:
    """Check a number of reasons."""
    if not text.isdecimal() or int(text) > MOST_REASONS:
        raise UsageError(f"--reasons: {text!r} is no number from 0 to {MOST_REASONS}")
    return int(text)


def check_day(text: str) -> str:
    """Check a date of the command line."""
    try:
        return datetime.date.fromisoformat(text).isoformat()
    except ValueError as error:
        raise UsageError(f"--since: {text!r} is not a date such as 2026-01-31") from error


def main(argv: list[str] | None = None) -> int:
    """Run from the shell."""
    return runner.main("diagnostics", run, argv, description=__doc__, options=add_options)


if __name__ == "__main__":
    raise SystemExit(main())
