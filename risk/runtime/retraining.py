"""Retraining and redeployment in a pipeline run: a candidate, the gate, and a new release."""

from __future__ import annotations

from typing import Any

from risk.data.schema import Schema
from risk.engines import table_reader
from risk.errors import PipelineError
from risk.files import put_json, read_bytes, read_json
from risk.metrics import clustering
from risk.model import gate, pickling, plan, registry
from risk.runtime import deliveries, logs, runner
from risk.runtime.drift_check import find_training_end
from risk.runtime.steps import PipelineRun, as_read_back

NOTHING_TO_LEARN = "no new row has a label to learn from, the deployed model stays"


def decide_on_retraining(run: PipelineRun) -> PipelineRun:
    """Keep the deployed model where there is drift, but no label that it does not know yet."""
    if run.retrain_because is None or can_learn(run):
        return run
    run = run.update_result(reason=f"{run.retrain_because}; {NOTHING_TO_LEARN}", deployed=False)
    return run._replace(retrain_because=None)


def can_learn(run: PipelineRun) -> bool:
    """Check whether there is a label that a comparable deployed model was not trained on."""
    start = _trained_up_to(run)
    if start is None:
        return True
    return table_reader.has_label(run.config.final_data, run.ledger, run.config.room, start=start)


def _trained_up_to(run: PipelineRun) -> int | None:
    """Give the offset up to which the deployed model was trained; None where none can be compared with."""
    release = run.deployed.release
    if release is None or not run.deployed.is_comparable:
        return None
    return find_training_end(run, release)


def retrain(run: PipelineRun) -> PipelineRun:
    """Train a candidate, ask the gate whether it may be deployed, and score it on the test data."""
    logs.log("fullprocess").info("retraining: %s", run.retrain_because)
    run = run.update_result(reason=run.retrain_because)
    start = _trained_up_to(run)
    is_gated = start is not None and run.config.gate != "none"
    trained = runner.perform(run.config, "training", run.stages.train, new_from=start, hold_back=is_gated)
    answer = ask_gate(run, trained) if is_gated else None
    runner.perform(run.config, "scoring", run.stages.score)
    if answer is None:
        return run._replace(passes_gate=True)
    verdict = run.result.verdict
    run = run.update_result(gate=answer["decision"], verdict={**verdict, "gate": answer} if verdict else None)
    if answer["decision"] == gate.PROMOTE:
        return run._replace(passes_gate=True)
    return run.update_result(deployed=False, reason=f"{run.retrain_because}; held: {answer['reasons'][0]}")


def ask_gate(run: PipelineRun, trained: Any) -> dict[str, Any]:
    """Compare the candidate with the deployed model; one that passes is fitted again on all rows."""
    config = run.config
    card = read_json(config.model_card, "run training.py")
    pickled = read_bytes(config.trained_model, "run training.py")
    candidate = pickling.load_model(pickled, card["model_sha256"], config.trained_model)
    _, deployed = registry.load_deployed(config.prod_deployment, run.model_key)
    judged_on, decision = gate.decide(
        candidate,
        deployed,
        (trained.held_back.X, trained.held_back.y, trained.held_back.clients),
        lambda: _read_test_data(run, Schema.from_json(card["schema"])),
        rule=config.gate,
        alpha=config.alpha,
    )
    answer = as_read_back({"judged_on": judged_on, **decision.to_json()})
    logs.log("fullprocess").info("gate=%s reasons=%s", decision.decision, "; ".join(decision.reasons))
    facts = {"gate": answer, **plan.measure_held_back(candidate, trained.held_back, trained.plan)}
    if decision.decision == gate.PROMOTE and trained.n_held_back:
        run.stages.train(config, refit=trained.plan)
    put_json(config.model_card, read_json(config.model_card, "run training.py first") | facts)
    put_json(config.gate_verdict, {"candidate_sha256": card["model_sha256"], **answer})
    row = {
        "key": run.row_key,
        "release": run.release_before,
        "model_sha256": card["model_sha256"],
        "judged_on": judged_on,
        "rows_trained_on": trained.plan.rows,
        **decision.record(),
    }
    deliveries.record(config, "fullprocess", {"gates": [row]})
    return answer


def _read_test_data(run: PipelineRun, schema: Schema) -> gate.LabelledFrame:
    X, y, clients = run.stages.read_test_data(run.config, schema)
    return X, y, clustering.only_if_repeated(clients)


def redeploy(run: PipelineRun) -> PipelineRun:
    """Publish the candidate as a release that keeps why it was made."""
    why = {
        "reason": run.result.reason,
        "gate": run.result.gate,
        "verdict": run.result.verdict,
        "origin": run.origin,
        "release_before": run.release_before,
    }
    deployment = runner.perform(run.config, "deployment", run.stages.deploy, by="tick", why=why)
    return run.update_result(deployed=deployment.deployed)


def keep_deployed_model(run: PipelineRun, error: PipelineError) -> PipelineRun:
    """Note that no model could be trained or published: the deployed one stays until that changes."""
    logs.log("fullprocess").error("%s", error)
    run = run.update_result(deployed=False, reason=str(error), exit_code=error.exit_code)
    return run._replace(impossible=str(error))
