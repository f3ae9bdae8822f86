"""The drift check of a pipeline run: the deployed model, judged on the rows that are new to it."""

from __future__ import annotations

import logging
from typing import Any

from risk.data.ledger import has_prefix
from risk.data.schema import Schema, explain_mismatch
from risk.model import publishing, registry
from risk.model.registry import Release
from risk.monitoring.verdict import Verdict
from risk.runtime import deliveries, logs
from risk.runtime.steps import DeployedRelease, PipelineRun, as_read_back


def check_for_drift(run: PipelineRun) -> PipelineRun:
    """Judge the deployed model on new rows, unless it must be replaced without that."""
    deployed = find_deployed(run)
    run = run._replace(deployed=deployed)
    if deployed.release is None or deployed.flaw is not None:
        return run._replace(retrain_because=deployed.flaw)
    verdict = judge(run, deployed.release)
    if verdict is None:
        return resume_deployment(run, deployed.release)
    report_verdict(run, verdict)
    run = run.update_result(
        drift=verdict.drift, reason=verdict.reason, verdict=as_read_back(verdict.to_json() | {"gate": None})
    )
    return run._replace(verdict=verdict, retrain_because=verdict.reason if verdict.drift else None)


def find_deployed(run: PipelineRun) -> DeployedRelease:
    """Load the deployed release, and find what makes it unfit to be judged."""
    if run.seen.release is None:
        return DeployedRelease(None, "nothing is deployed yet", is_comparable=False)
    release, damage = publishing.mend(run.config.prod_deployment, run.model_key)
    if damage is not None:
        logs.log("fullprocess").error("%s; now release %s is deployed", damage, release.id)
        if release.id != run.release_before:
            flaw = f"release {run.release_before} was damaged, {release.id} took its place"
            return DeployedRelease(release, flaw, is_comparable=False)
    mismatch = explain_unreadable(run, release)
    if mismatch is not None:
        return DeployedRelease(release, mismatch, is_comparable=False)
    was_impossible = run.before.impossible if run.before is not None else None
    if was_impossible and find_training_end(run, release) != run.ledger.length:
        return DeployedRelease(release, f"an earlier retraining was not possible ({was_impossible})")
    return DeployedRelease(release, None)


def explain_unreadable(run: PipelineRun, release: Release) -> str | None:
    """Explain why the deployed model cannot read the rows of the table, or None."""
    card = release.json("modelcard.json")
    installed = registry.installed_scikit_learn()
    if release.manifest.get("versions", {}).get("scikit-learn") != installed:
        return f"scikit-learn is {installed} now, the model was fitted with another version"
    if run.before is not None and run.before.row_key != run.seen.row_key != card.get("row_key"):
        return "config.json changed how rows are read"
    fitted, table = Schema.from_json(card["schema"]), Schema.from_json(run.ledger.schema or {})
    return explain_mismatch(fitted, table, labelled=True)


def find_training_end(run: PipelineRun, release: Release) -> int:
    """Find the offset up to which a release was trained; 0 of a table that it never saw."""
    mark = release.manifest["training_mark"]
    return int(mark["length"]) if has_prefix(run.config.final_data, run.ledger, mark) else 0


def judge(run: PipelineRun, release: Release) -> Verdict | None:
    """Judge the deployed model on the rows that neither it nor a completed run has seen.

    None when there is no such row.
    """
    ledger, seen = run.ledger, run.seen.marks.get(run.seen.source)
    start = find_training_end(run, release)
    if seen and has_prefix(run.config.final_data, ledger, seen):
        start = max(start, seen["length"])
    if start >= ledger.length:
        return None
    verdict: Verdict = run.stages.judge(run.config, ledger, start)
    deliveries.record(run.config, "fullprocess", _list_evidence(run, verdict, ledger.digest))
    return verdict


def _list_evidence(run: PipelineRun, verdict: Verdict, table_digest: str) -> dict[str, list[dict[str, Any]]]:
    """List what the history keeps of a judgement besides the verdict."""
    columns = [
        {"key": [*run.row_key, row["column_name"]], "table_digest": table_digest, **row}
        for row in verdict.column_records()
    ]
    estimates = [
        {"key": [*run.row_key, row["release"], "n_labelled" in row], "table_digest": table_digest, **row}
        for row in verdict.outlook.records(verdict.release)
    ]
    return {"column_drift": columns, "estimates": estimates}


def report_verdict(run: PipelineRun, verdict: Verdict) -> None:
    """Log and note a verdict with both scores and its reason, before anything follows from it."""
    log = logs.log("fullprocess")
    log.info(
        "drift=%s rule=%s recorded_score=%s new_score=%s n=%s reason=%s",
        verdict.drift, verdict.rule, verdict.recorded_score, verdict.new_score, verdict.n, verdict.reason,
    )  # fmt: skip
    for sentence in verdict.evidence.sentences:
        log.info("evidence: %s", sentence)
    for sentence in verdict.outlook.sentences:
        log.info("without labels: %s", sentence)
    if verdict.advice:
        # Drift that the rule does not see needs a person; a needless retraining is held by the gate.
        log.log(logging.INFO if verdict.drift else logging.WARNING, "%s", verdict.advice)
    if verdict.drift is not None:
        row = {"key": run.row_key, **verdict.record()}
        deliveries.record(run.config, "fullprocess", {"drift": [row]})


def resume_deployment(run: PipelineRun, release: Release) -> PipelineRun:
    """Complete what a run that died after its deployment had begun; without one there is no verdict."""
    begun = release.manifest.get("why", {})
    if begun.get("origin") != run.origin:
        return run
    run = run._replace(release_before=begun["release_before"])
    publishing.prune(run.config.prod_deployment, keep=run.config.keep_releases)
    model = release.manifest["files"][run.config.trained_model.name]
    row = publishing.describe_release(release.id, release.manifest, publishing.DEPLOYED, model)
    deliveries.record(run.config, "deployment", {"releases": [row]})
    verdict = begun["verdict"]
    return run.update_result(
        deployed=True,
        reason=begun["reason"],
        gate=begun.get("gate"),
        drift=(verdict or {}).get("drift"),
        verdict=verdict,
    )
