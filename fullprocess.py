"""One run of the pipeline: ingest what is new, check for drift, and retrain and deploy if needed.

Cron starts this script. With nothing new it ends after a look at the input folder, before the
heavy stages are imported.
"""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from config import Config
from risk.errors import DatasetError, MissingArtifactError
from risk.runtime import logs, runner
from risk.runtime.changes import Changes, describe_plan, find_changes
from risk.runtime.state import RunResult, save_state

if TYPE_CHECKING:
    from risk.runtime.steps import PipelineRun, Stages


def run(config: Config, *, dry_run: bool = False) -> RunResult:
    """Run the pipeline once, or with `dry_run` describe what a run would do.

    Raises
    ------
    PipelineError
        What needs a person or time (a damaged release, a full disk); the next run tries again.
    """
    changes = find_changes(config)
    if dry_run:
        return describe_run(config, changes)
    if not changes.reasons:
        return end_idle_run(config, changes)
    logs.log("fullprocess").info("run: %s", "; ".join(changes.reasons))
    if changes.only_pending:
        from risk.runtime.completion import retry_pending_steps

        return retry_pending_steps(config, load_stages(), changes)
    from risk.runtime.steps import PipelineRun

    return run_steps(PipelineRun.begin(config, load_stages(), changes))


def run_steps(run: PipelineRun) -> RunResult:
    """Take the seven steps.

    1. Check and read new data.
    2. Decide whether to proceed: without rows there is nothing to learn from.
    3. Check the deployed model for drift.
    4. Decide whether to proceed: without drift the deployed model stays.
    5. Retrain.
    6. Redeploy.
    7. Run diagnostics and reporting.
    """
    from risk.runtime.completion import diagnose_and_report
    from risk.runtime.drift_check import check_for_drift
    from risk.runtime.retraining import decide_on_retraining
    from risk.runtime.steps import read_new_data

    run = read_new_data(run)
    if run.has_rows:
        run = check_for_drift(run)
        run = decide_on_retraining(run)
        if run.retrain_because:
            run = retrain_and_redeploy(run)
    return diagnose_and_report(run)


def retrain_and_redeploy(run: PipelineRun) -> PipelineRun:
    """Train a candidate, and deploy it if it passes the gate."""
    from risk.runtime.retraining import keep_deployed_model, redeploy, retrain

    try:
        retrained = retrain(run)
        return redeploy(retrained) if retrained.passes_gate else retrained
    except (DatasetError, MissingArtifactError) as error:
        return keep_deployed_model(run, error)


def load_stages() -> Stages:
    """Import the other scripts; an idle run never gets here."""
    import deployment
    import diagnostics
    import ingestion
    import reporting
    import scoring
    import training
    from risk.runtime.steps import Stages

    return Stages(
        ingest=ingestion.run,
        judge=scoring.judge,
        read_test_data=scoring.read_test_data,
        train=training.run,
        score=scoring.run,
        deploy=deployment.run,
        diagnose=diagnostics.run,
        report=reporting.run,
        call_api=call_api,
    )


def call_api(config: Config) -> Any:
    """Ask the API for everything; Flask is imported only where a model was deployed."""
    import apicalls

    return apicalls.run(config)


def end_idle_run(config: Config, changes: Changes) -> RunResult:
    """Note that a run was here, and what else it saw."""
    before, seen = changes.before, changes.seen
    if before is None or before == seen:
        os.utime(config.tick_state)
        return RunResult(state=seen)
    if before.other_key != seen.other_key:
        logs.log("fullprocess").warning(
            "config.json changed: it takes effect with the next new data; to apply it now, run training.py, "
            "scoring.py and deployment.py"
        )
    save_state(config.tick_state, seen)
    return RunResult(state=seen)


def describe_run(config: Config, changes: Changes) -> RunResult:
    """Give what a run would do and why, and do nothing."""
    n_new = len(changes.new_names)
    reason = "; ".join(changes.reasons) or "nothing new"
    return RunResult(
        bool(n_new),
        n_new if changes.reasons else None,
        reason=reason,
        description=describe_plan(config, changes),
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dry-run", action="store_true", help="show what a run would do and why; change nothing"
    )


def main(argv: list[str] | None = None) -> int:
    """Run from the shell, or by cron."""
    return runner.main("fullprocess", run, argv, description=__doc__, options=add_options, by_cron=True)


if __name__ == "__main__":
    raise SystemExit(main())
