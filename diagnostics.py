"""Describe the table, list the clients at risk, and explain the predictions of the deployed model."""

from __future__ import annotations

import argparse
import datetime
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from config import Config
from risk.data import validation
from risk.data.frames import to_frame
from risk.data.ledger import load_ready_ledger
from risk.engines import base as engines
from risk.errors import ArtifactError, DatasetError, MissingArtifactError, UsageError
from risk.files import put_json, read_json_or_none
from risk.history import outbox, pending, trends
from risk.limits import Room
from risk.model import registry
from risk.reporting import terminal
from risk.runtime import deliveries, dependencies, logs, measurement, runner, state

if TYPE_CHECKING:
    from risk.data.ledger import Ledger
    from risk.history.pending import KnownHistory
    from risk.model.registry import Release
    from risk.prediction.file_prediction import PredictedFile
    from risk.prediction.predictor import Predictor

LOG = logs.log("diagnostics")
MOST_POINTS = 10_000
MOST_LOGGED, MOST_REASONS = 20, 20
SCRIPTS = Path(__file__).resolve().parent


@dataclass(frozen=True)
class DiagnosticsResult:
    """What was described; `facts` is diagnostics.json."""

    n_rows: int
    n_columns: int
    n_missing: int
    n_outdated: int
    facts: Mapping[str, Any] = field(default_factory=dict, repr=False)
    mark: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, facts: Mapping[str, Any], mark: Mapping[str, Any]) -> DiagnosticsResult:
        n_missing = sum(int(missing["count"]) for missing in facts["missing"].values())
        known = (p for p in facts["dependencies"] if p["latest"] != dependencies.UNKNOWN)
        n_outdated = sum(package["latest"] != package["installed"] for package in known)
        return cls(facts["n_rows"], len(facts["missing"]), n_missing, n_outdated, facts, mark)

    def to_json(self) -> dict[str, Any]:
        return dict(self.facts)

    def history(self, _: Config) -> dict[str, Any]:
        """Give the rows of the history: missing cells, once for each state of the table."""
        digest = self.mark["digest"]
        rows = [
            {"key": [digest, name], "table_digest": digest, "column_name": name, **missing}
            for name, missing in self.facts["missing"].items()
        ]
        return {"missing_values": rows}

    def text(self) -> str:
        return terminal.render_diagnostics(self.facts)


@dataclass(frozen=True)
class HistoryResult:
    """The trends of the history, or how many rows of each table were exported."""

    trends: Mapping[str, Any] = field(default_factory=dict, repr=False)
    since: str | None = None
    waiting: int = 0
    exported: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return dict(self.exported or self.trends)

    def text(self) -> str:
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

    @classmethod
    def of(cls, release: str, files: Sequence[PredictedFile], output: str | None) -> PredictionResult:
        n_rows, n_leaving = sum(one.n_rows for one in files), sum(one.n_leaving for one in files)
        return cls(release, n_rows, n_leaving, sum(len(one.rejected) for one in files), output)

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
        from risk.prediction import explanation

        return explanation.render(self.facts)


# --- run -------------------------------------------------------------------------------------------------


def run(
    config: Config, *, verdict: Mapping[str, Any] | None = None, measure: bool = False, **question: Any
) -> DiagnosticsResult | HistoryResult | PredictionResult | ExplanationResult:
    """Describe the present table and the deployed model; write atrisk.csv, diagnostics.json, trends.json.

    Parameters
    ----------
    verdict : mapping, optional
        Of the drift check of this run; None takes that of the last one.
    measure : bool, default=False
        Run ingestion and training again, in a scratch copy, and give their timings.
    **question
        Options of `answer`, which writes none of these files.

    Raises
    ------
    MissingArtifactError
        When nothing was ingested yet.
    """
    answered = answer(config, **question)
    return answered if answered is not None else describe(config, verdict, measure)


def describe(config: Config, verdict: Mapping[str, Any] | None, measure: bool) -> DiagnosticsResult:
    """Describe table and model, and write what was found."""
    ledger = load_ready_ledger(config.ledger)
    with engines.open_table(config.engine_settings, config.final_data, ledger) as table:
        statistics, missing = table.describe()
    deployed = load_deployed(config)
    clients = list_clients(config, ledger, deployed) if deployed else None
    n_waiting, known = read_history(config)
    packages, asked_at = dependencies.list_packages(config.requirements, config.package_cache)
    facts: dict[str, Any] = {
        "n_rows": ledger.rows,
        "n_unlabelled": ledger.rows_unlabelled,
        "statistics": statistics,
        "missing": missing,
        "timings": measurement.measure_timings(config, SCRIPTS) if measure else known.timings,
        "dependencies": packages,
        "dependencies_at": asked_at,
        "verdict": verdict or state.last_verdict(config.tick_state),
        "predictions": predict_test_data(config, deployed) if deployed else None,
        "clients": clients,
        "trends": trends.latest(known.trends),
        "history": {"until": known.until, "waiting": n_waiting},
    }
    put_json(config.trends, known.trends)
    put_json(config.diagnostics, facts)
    return DiagnosticsResult.of(facts, ledger.mark)


def answer(
    config: Config,
    *,
    history: bool = False,
    since: str | None = None,
    export: str | None = None,
    predict: str | None = None,
    reasons: int = 3,
    output: str | None = None,
    explain: str | None = None,
) -> HistoryResult | PredictionResult | ExplanationResult | None:
    """Answer one question of the command line; None where none was asked.

    Parameters
    ----------
    history : bool, default=False
        Show the trends of the history, from the day `since` on.
    export : str, optional
        Write every table of the history into this folder, as CSV.
    predict : str, optional
        Predict the rows of this CSV file ("-" is standard input), with up to `reasons` reasons each, into
        the file `output` or to standard output.
    explain : str, optional
        Explain the prediction of this client.
    """
    if since and not history:
        raise UsageError("--since counts only with --history")
    if export is not None:
        return export_tables(config, Path(export))
    if history:
        return read_trends(config, since)
    if predict is not None:
        return predict_file(config, predict, reasons, output)
    return explain_client(config, explain) if explain is not None else None


def load_deployed(config: Config) -> Predictor | None:
    """Load the deployed release; None while nothing is deployed."""
    try:
        return load_release(config)[1]
    except MissingArtifactError as error:
        LOG.info("no predictions: %s", error)
        return None


def load_release(config: Config) -> tuple[Release, Predictor]:
    """Load the deployed release and its predictor, with the words of config.json."""
    from risk.prediction.predictor import Predictor
    from risk.prediction.wording import Words

    release, model = registry.load_deployed(config.prod_deployment, config.secrets.get("RISK_MODEL_KEY"))
    return release, Predictor.from_release(release, model, Words(config.words))


def predict_test_data(config: Config, deployed: Predictor) -> dict[str, Any]:
    """Predict every row of the test data, labelled or not."""
    from risk.model.pipeline import one_thread

    schema = deployed.schema
    good, _ = validation.read_folder(
        config.test_data, schema, config.separator, needed=schema.features, limits=config.limits
    )
    values: list[int] = []
    if good:
        with one_thread():
            values = [int(value) for value in deployed.model.predict(to_frame(good, schema))]
    return {"release": deployed.release, "n": len(values), "n_leaving": sum(values), "values": values}


def list_clients(config: Config, ledger: Ledger, deployed: Predictor) -> dict[str, Any] | None:
    """Write atrisk.csv and give its summary; None where the deployed model cannot read the table."""
    from risk.model.pipeline import one_thread
    from risk.prediction import client_list

    unknown = [name for name in config.words if name not in (ledger.schema or {})["columns"]]
    if unknown:
        LOG.warning("report.words: the table has no column %s", ", ".join(map(repr, unknown)))
    try:
        before = (read_json_or_none(config.diagnostics) or {}).get("clients")
    except ArtifactError:
        before = None
    wanted = client_list.ListOptions(config.top_n, config.value_column)
    places = (config.at_risk, config.final_data, config.room)
    try:
        with one_thread():
            summary = client_list.write_list(*places, ledger, deployed, wanted, before)
    except DatasetError as error:
        LOG.warning("%s is as it was: %s", config.at_risk.name, error)
        return None
    remember_list(config, summary)
    return summary


def remember_list(config: Config, summary: Mapping[str, Any]) -> None:
    """Note in the history how many clients are at risk, once for each release and state of the table."""
    release, digest = summary["release"], summary["mark"]["digest"]
    counts = {name: summary[name] for name in ("n_clients", "n_at_risk", "share_at_risk", "value_at_risk")}
    row = {"key": [release, digest], "release": release, "table_digest": digest, **counts}
    deliveries.remember(config, "diagnostics", {"client_lists": [row]})


# --- the history -------------------------------------------------------------------------------------------


def read_history(config: Config) -> tuple[int, KnownHistory]:
    """Read the last real runs of ingestion and training, and the trends.

    A database that does not answer leaves what was known last, with the records that wait for it.

    Returns
    -------
    n_waiting : int
        How many batches of records wait.
    known : KnownHistory
    """
    answered = deliveries.deliver(
        config, "diagnostics", lambda history: (history.latest_timings(), *history.trend_rows())
    )
    waiting = list(filter(None, map(outbox.read, outbox.waiting(config.outbox))))
    if answered is not None:
        return len(waiting), pending.KnownHistory.from_database(*answered).add(pending.select_rows(waiting))
    before = read_json_or_none(config.diagnostics) or {}
    known = pending.KnownHistory.from_artifacts(before, read_json_or_none(config.trends))
    return len(waiting), known.add(pending.select_rows(waiting, known.until))


def read_trends(config: Config, since: str | None) -> HistoryResult:
    """Read the trends of the history, from a day on."""
    from risk.history import store

    with store.read(config.database_url) as history:
        rows, left_out = history.trend_rows()
    built = trends.build(rows, left_out=left_out, max_points=MOST_POINTS)
    n_waiting = len(outbox.waiting(config.outbox))
    return HistoryResult(trends.cut(built, since) if since else built, since, n_waiting)


def export_tables(config: Config, folder: Path) -> HistoryResult:
    """Write every table of the history as CSV."""
    from risk.history import export

    if folder.resolve() in (config.input_folder.resolve(), config.test_data.resolve()):
        raise UsageError(f"--export: {folder} is read by the pipeline; name another folder")
    return HistoryResult(exported=export.write_tables(config.database_url, folder))


# --- predictions -------------------------------------------------------------------------------------------


def predict_file(config: Config, path: str, n_reasons: int, output: str | None) -> PredictionResult:
    """Predict the rows of a file, or on a cluster those of a folder of files."""
    from risk.engines import spark_session
    from risk.model.pipeline import one_thread
    from risk.prediction import file_prediction, spark_batch

    release, deployed = load_release(config)
    check_output(config, path, output)
    request = file_prediction.Request(path, output, n_reasons, config.separator, config.limits)
    if config.engine == "spark":
        cluster = spark_session.connect_proven(config.engine_settings, spark_batch.PACKAGES)
        task = spark_batch.ExecutorTask(release, config.words, n_reasons)
        files = file_prediction.predict_on_cluster(request, deployed, task, cluster, config.spill_folder)
    else:
        with one_thread():
            files = [file_prediction.predict_file(request, deployed, config.room)]
    for file in files:
        log_rejected(file)
    return PredictionResult.of(release.id, files, output)


def check_output(config: Config, path: str, output: str | None) -> None:
    """Refuse an output that is read by the pipeline, or is the input."""
    if output is None:
        return
    target = Path(output).resolve()
    if target.parent in (config.input_folder.resolve(), config.test_data.resolve()):
        raise UsageError(f"--output: {target.parent} is read by the pipeline; name another folder")
    if path != "-" and target == Path(path).resolve():
        raise UsageError(f"--output: {output} is the file that is read; name another one")


def log_rejected(file: PredictedFile) -> None:
    """Log the bad rows of a file, the first of many."""
    for row in file.rejected[:MOST_LOGGED]:
        reason = f"{row.column} {row.reason}" if row.column else row.reason
        LOG.warning("%s: line %s: %s", file.name, f"{row.line:,}", reason)
    if len(file.rejected) > MOST_LOGGED:
        LOG.warning("%s: and %s more bad rows", file.name, f"{len(file.rejected) - MOST_LOGGED:,}")
    if not file.n_rows:
        LOG.error("%s: holds no good row", file.name)


def explain_client(config: Config, client: str) -> ExplanationResult:
    """Explain the prediction of a client; of the workspace only the spill folder is used."""
    from risk.model.pipeline import one_thread
    from risk.prediction import explanation, file_prediction

    ledger = load_ready_ledger(config.ledger)
    release, deployed = load_release(config)
    with file_prediction.open_scratch(config.spill_folder) as scratch, one_thread():
        room = Room(scratch, config.memory_limit)
        facts = explanation.explain_client(client, config.final_data, ledger, release, deployed, room)
    return ExplanationResult(facts)


# --- the command line --------------------------------------------------------------------------------------


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
