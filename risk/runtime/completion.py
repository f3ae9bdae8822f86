"""The end of a pipeline run: diagnostics and reports, alarms, its row in the history, and its commit."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from risk import errors
from risk.errors import PipelineError
from risk.model import registry
from risk.monitoring import alarms
from risk.monitoring.alarms import Alarm
from risk.runtime import deliveries, logs, runner
from risk.runtime.changes import Changes, find_deployed_folder, id_of
from risk.runtime.settings import Config
from risk.runtime.state import RunResult, State, next_pause, save_state
from risk.runtime.steps import PipelineRun, Stages

DIAGNOSTICS, REPORTING, API_CALLS = STEPS = ("diagnostics", "reporting", "apicalls")


def diagnose_and_report(run: PipelineRun) -> RunResult:
    """Diagnose, report, write the history row, and commit the run with its state."""
    deployed_folder = find_deployed_folder(run.config)
    release = id_of(deployed_folder)
    state = run.seen._replace(
        marks=update_marks(run),
        release=deployed_folder,
        release_files=registry.list_file_facts(run.config.prod_deployment),
        verdict=run.result.verdict or run.seen.verdict,
        impossible=run.impossible,
        pending=None,
        alarms=update_alarms(run, release),
    )
    if deployed_folder is not None and run.has_rows:
        was_pending = API_CALLS in (run.seen.pending or {}).get("steps", ())
        names = STEPS if run.result.deployed or was_pending else (DIAGNOSTICS, REPORTING)
        state = perform_steps(run.config, run.stages, state, names)
    remember_run(run, release)
    save_state(run.config.tick_state, state)
    return run.result._replace(
        release=release,
        deployed=bool(run.result.deployed),
        reason=run.result.reason or "no new row",
        state=state,
    )


def retry_pending_steps(config: Config, stages: Stages, changes: Changes) -> RunResult:
    """Run again what failed after the decision of an earlier run."""
    pending = (changes.before.pending if changes.before else None) or {}
    state = perform_steps(config, stages, changes.seen, pending["steps"], pending["tries"])
    save_state(config.tick_state, state)
    return RunResult(release=id_of(state.release), reason="; ".join(changes.reasons), state=state)


def perform_steps(
    config: Config, stages: Stages, state: State, names: Iterable[str], tries: int = 0
) -> State:
    """Run steps that follow a decision; what fails is left in the state for a later run.

    None of them can undo the decision.
    """
    steps = {DIAGNOSTICS: stages.diagnose, REPORTING: stages.report, API_CALLS: stages.call_api}
    names, failed = list(names), list[str]()
    for name in names:
        arguments = {} if name == API_CALLS else {"verdict": state.verdict}
        try:
            runner.perform(config, name, steps[name], **arguments)
        except (PipelineError, OSError) as error:
            problem = errors.from_os_error(error) if isinstance(error, OSError) else error
            logs.log(name).warning("%s; tried again later", problem)
            failed.append(name)
    if not failed:
        return state._replace(pending=None)
    if DIAGNOSTICS in failed:
        failed = names  # the others report its results, and have just reported those of an earlier run
    due = time.time() + next_pause(tries)
    return state._replace(pending={"steps": failed, "tries": tries + 1, "next_at": due})


def update_marks(run: PipelineRun) -> dict[str, dict[str, Any]]:
    """Mark the rows as judged, unless no model could be trained or no verdict was possible on them."""
    marks = dict(run.seen.marks)
    is_undecided = run.verdict is not None and run.verdict.drift is None
    if run.has_rows and run.impossible is None and not is_undecided:
        marks[run.seen.source] = run.ledger.mark
    return marks


def update_alarms(run: PipelineRun, release: str | None) -> dict[str, dict[str, str]]:
    """Give what is wrong now, by topic; a topic that this run says nothing about stays as it was."""
    current: dict[str, Alarm | None] = {
        alarms.FAILED: alarms.alarm_of_impossible_training() if run.impossible is not None else None
    }
    if run.refused is not None:
        # without a new file, what is there makes no table
        is_refused = bool(run.refused) or not run.n_files
        current[alarms.REFUSED] = (
            alarms.alarm_of_refused_files(run.refused, run.n_files) if is_refused else None
        )
    if run.result.drift is not None and run.result.verdict is not None:
        current[alarms.DRIFT] = _alarm_of_drift(run.result, release) if run.result.drift else None
    if run.result.gate == "HOLD":
        gate = (run.result.verdict or {}).get("gate") or {}
        reasons = gate.get("reasons") or ("it does not pass the gate",)
        current[alarms.HOLD] = alarms.alarm_of_hold(release, reasons)
    elif run.result.deployed or run.result.drift is not None:
        current[alarms.HOLD] = None
    raised = {topic: alarm.to_json() for topic, alarm in current.items() if alarm is not None}
    return {topic: alarm for topic, alarm in run.seen.alarms.items() if topic not in current} | raised


def _alarm_of_drift(result: RunResult, release: str | None) -> Alarm:
    if result.deployed:
        outcome = f"A model was retrained and deployed as release {release}."
    elif result.gate == "HOLD":
        outcome = f"The retrained model is held back, release {release} stays."
    else:
        outcome = f"No new model could be trained, release {release} stays."
    return alarms.alarm_of_drift(result.verdict or {}, result.deployed, outcome)


def remember_run(run: PipelineRun, release: str | None) -> None:
    """Note this run in the history."""
    listing, release_before, config = run.row_key
    row = {
        "key": run.row_key,
        "listing_digest": listing,
        "config_digest": config,
        "release_before": release_before,
        "release_after": release,
        "files_new": run.result.files_new,
        "rows_new": run.result.rows_new,
        "drift": run.result.drift,
        "deployed": bool(run.result.deployed),
        "reason": run.result.reason,
        "gate": run.result.gate,
    }
    deliveries.record(run.config, "fullprocess", {"ticks": [row]})
