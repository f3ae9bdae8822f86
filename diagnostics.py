"""Describe the table, list the clients at risk, and explain the predictions of the deployed model."""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from config import Config
from risk.data.ledger import load_ready_ledger
from risk.engines import base as engines
from risk.errors import DatasetError, MissingArtifactError, UsageError
from risk.files import put_json
from risk.history import outbox, trends
from risk.model import registry
from risk.reporting import terminal
from risk.runtime import deliveries, dependencies, logs, measurement, runner, state

if TYPE_CHECKING:
    from risk.data.ledger import Ledger
    from risk.model.registry import Release
    from risk.prediction.explanation import ExplanationResult
    from risk.prediction.file_prediction import PredictionResult
    from risk.prediction.predictor import Predictor

LOG = logs.log("diagnostics")
MOST_REASONS = 20
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


# --- run -------------------------------------------------------------------------------------------------


def run(
    config: Config, *, verdict: Mapping[str, Any] | None = None, measure: bool = False, **question: Any
) -> DiagnosticsResult | terminal.HistoryResult | PredictionResult | ExplanationResult:
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
    n_waiting, known = deliveries.read_history(config, "diagnostics")
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
) -> terminal.HistoryResult | PredictionResult | ExplanationResult | None:
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
    from risk.prediction import predictor, wording

    release, model = registry.load_deployed(config.prod_deployment, config.secrets.get("RISK_MODEL_KEY"))
    return release, predictor.Predictor.from_release(release, model, wording.Words(config.words))


def predict_test_data(config: Config, deployed: Predictor) -> dict[str, Any]:
    """Predict every row of the test data, labelled or not."""
    from risk.prediction import file_prediction

    return file_prediction.predict_folder(config.test_data, deployed, config.separator, config.limits)


def list_clients(config: Config, ledger: Ledger, deployed: Predictor) -> dict[str, Any] | None:
    """Write atrisk.csv and give its summary; None where the deployed model cannot read the table."""
    from risk.model.pipeline import one_thread
    from risk.prediction import client_list

    unknown = [name for name in config.words if name not in (ledger.schema or {})["columns"]]
    if unknown:
        LOG.warning("report.words: the table has no column %s", ", ".join(map(repr, unknown)))
    before = client_list.read_summary(config.diagnostics)
    wanted = client_list.ListOptions(config.top_n, config.value_column)
    places = (config.at_risk, config.final_data, config.room)
    try:
        with one_thread():
            summary = client_list.write_list(*places, ledger, deployed, wanted, before)
    except DatasetError as error:
        LOG.warning("%s is as it was: %s", config.at_risk.name, error)
        return None
    deliveries.record(config, "diagnostics", {"client_lists": [client_list.history_row(summary)]})
    return summary


# --- the history -------------------------------------------------------------------------------------------


def read_trends(config: Config, since: str | None) -> terminal.HistoryResult:
    """Read the trends of the history, from a day on."""
    from risk.history import store

    known = store.read_trends(config.database_url, since)
    return terminal.HistoryResult(known, since, len(outbox.waiting(config.outbox)))


def export_tables(config: Config, folder: Path) -> terminal.HistoryResult:
    """Write every table of the history as CSV."""
    from risk.history import export

    refuse_folder(config, "--export", folder)
    return terminal.HistoryResult(exported=export.write_tables(config.database_url, folder))


def refuse_folder(config: Config, option: str, folder: Path) -> None:
    """Refuse to write into a folder that the pipeline reads."""
    if folder.resolve() in (config.input_folder.resolve(), config.test_data.resolve()):
        raise UsageError(f"{option}: {folder} is read by the pipeline; name another folder")


# --- predictions -------------------------------------------------------------------------------------------


def predict_file(config: Config, path: str, n_reasons: int, output: str | None) -> PredictionResult:
    """Predict the rows of a file, or on a cluster those of a folder of files."""
    from risk.prediction import file_prediction

    release, predictor = load_release(config)
    if output is not None:
        refuse_folder(config, "--output", Path(output).resolve().parent)
    request = file_prediction.Request(path, output, n_reasons, config.separator, config.limits)
    files = file_prediction.predict(request, release, predictor, config.words, config.engine_settings)
    for file in files:
        for line in file.describe_rejected():
            LOG.warning("%s", line)
        if not file.n_rows:
            LOG.error("%s: holds no good row", file.name)
    return file_prediction.PredictionResult.of(release.id, files, output)


def explain_client(config: Config, client: str) -> ExplanationResult:
    """Explain the prediction of a client; of the workspace only the spill folder is used."""
    from risk.prediction import explanation

    ledger = load_ready_ledger(config.ledger)
    return explanation.explain_client(client, config.final_data, ledger, *load_release(config), config.room)


# --- the command line --------------------------------------------------------------------------------------


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s [options]"  # argparse breaks no line within a group
    ask = parser.add_mutually_exclusive_group().add_argument
    ask("--measure", action="store_true", help="time ingestion and training separately, in a scratch copy")
    ask("--history", action="store_true", help="only show how scores, rows and times have changed")
    ask("--export", metavar="FOLDER", help="only write every table of the history as CSV")
    ask("--predict", metavar="FILE", help="only predict the rows of a CSV file (- is stdin)")
    ask("--explain", metavar="CLIENT", help="only explain where a client's prediction comes from")
    add = parser.add_argument
    how_many = "with --predict: reasons for each row (default 3; 0 is faster)"
    add("--reasons", metavar="N", type=check_count, default=3, help=how_many)
    add("--output", metavar="FILE", help="with --predict: write here, not to stdout")
    add("--since", metavar="DATE", type=check_day, help="with --history: from this day on, YYYY-MM-DD")


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
