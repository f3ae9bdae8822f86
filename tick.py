"""What does a working tick do, from new files to the state that commits it?

Ingest, judge the deployed model on what is new, retrain behind a gate, report. The heavy stages are
imported where they are needed.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from config import Config
from risk import errors
from risk.digests import sha256
from risk.errors import ArtifactError, DatasetError, MissingArtifactError, PipelineError
from risk.files import put_json, read_bytes, read_json, render_json
from risk.model import publishing, registry
from risk.monitoring import alarms
from risk.monitoring.alerts import RunOutcome as Alarms
from risk.runtime import deliveries, logs, permissions, runner
from risk.runtime.state import State, content, find_new, newest, next_pause, save_state

if TYPE_CHECKING:
    import ingestion
    import training
    from risk.data.ledger import Ledger
    from risk.model.registry import Release
    from risk.monitoring.alarms import Alarm
    from risk.monitoring.verdict import Verdict

DIAGNOSTICS = "diagnostics"
REPORTING_STEPS = (DIAGNOSTICS, "reporting", "apicalls")
TRIES_BEFORE_ALARM = 2


class Result(NamedTuple):
    """What one tick did; None where it did not get that far."""

    new_data: bool = False
    files_new: int | None = None
    rows_new: int | None = None
    drift: bool | None = None
    gate: str | None = None
    deployed: bool | None = None
    release: str | None = None
    reason: str | None = None
    verdict: dict[str, Any] | None = None
    exit_code: int = os.EX_OK
    said: str = ""
    state: State | None = None
    brought: bool = False

    def to_json(self) -> dict[str, Any]:
        hidden = ("exit_code", "said", "state", "brought")
        facts = {name: value for name, value in self._asdict().items() if name not in hidden}
        scores = {name: (self.verdict or {}).get(name) for name in ("recorded_score", "new_score")}
        return facts | scores

    def text(self) -> str:
        return self.said

    def alarms(self) -> Alarms | None:
        """Say what is wrong after this tick, for those who must be told; None when it only looked."""
        if self.state is None:
            return None
        found, pending = dict(self.state.alarms), self.state.pending
        if pending is not None and pending["tries"] >= TRIES_BEFORE_ALARM:
            alarm = alarms.alarm_of_pending_steps(pending["steps"], pending["tries"])
            found.setdefault(alarms.FAILED, alarm.to_json())
        return Alarms(found, newest(self.state.files), self.brought)


# --- compute ---------------------------------------------------------------------------------------------


def explain_rows(judged: Mapping[str, Any], wanted: Mapping[str, Any]) -> str | None:
    """Say why a model fitted under one schema cannot read rows of another, or None."""
    for key, name in (("target", "label column"), ("positive", "label words")):
        if list(judged[key]) != list(wanted[key]):
            return f"the {name} of the table is another than that of the deployed model"
    for column, kind in judged["kinds"].items():
        if wanted["kinds"].get(column) != kind:
            return f"the deployed model needs the {kind} column {column!r}, which the table does not have"
    return None


def plain(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Give facts as they will be read back from JSON: what is told now and later must be equal."""
    read: dict[str, Any] = json.loads(render_json(facts))
    return read


def deployed_release(config: Config) -> str | None:
    """Name the deployed release as its link says, damaged or not."""
    try:
        return os.readlink(config.prod_deployment / registry.DATA)  # noqa: PTH115
    except OSError:
        return None


def is_damaged(config: Config) -> bool:
    """Say whether the deployed release is not what was deployed."""
    try:
        registry.load(config.prod_deployment, config.secrets.get("RISK_MODEL_KEY"))
    except MissingArtifactError:
        return False
    except ArtifactError:
        return True
    return False


def id_of(release_folder: str | None) -> str | None:
    return registry.release_id(release_folder) if release_folder else None


# --- steps behind a decision -------------------------------------------------------------------------------


def step(name: str) -> Callable[..., Any]:
    """Give the `run` of a step that follows a decision; none of them can undo it."""
    if name == DIAGNOSTICS:
        import diagnostics

        return diagnostics.run
    if name == "reporting":
        import reporting

        return reporting.run
    import apicalls

    return apicalls.run


def finish(config: Config, state: State, names: Iterable[str], tries: int = 0) -> State:
    """Run the steps behind a decision; what fails is left in the state for a later tick."""
    names, failed = list(names), list[str]()
    for name in names:
        arguments = {} if name == "apicalls" else {"verdict": state.verdict}
        try:
            runner.perform(config, name, step(name), **arguments)
        except (PipelineError, OSError) as error:
            said = errors.from_os_error(error) if isinstance(error, OSError) else error
            logs.log(name).warning("%s; tried again later", said)
            failed.append(name)
    if not failed:
        return state._replace(pending=None)
    if DIAGNOSTICS in failed:
        failed = names  # the others tell what it finds: now they told what it had found before
    due = time.time() + next_pause(tries)
    return state._replace(pending={"steps": failed, "tries": tries + 1, "next_at": due})


# --- the tick ----------------------------------------------------------------------------------------------


class Standing(NamedTuple):
    """The deployed release; `why` it must be replaced unjudged, if so.

    `comparable`: a candidate can be held against it, row by row.
    """

    release: Release | None
    why: str | None
    comparable: bool = True


class Tick:
    """One working tick, from new files to the state that commits it."""

    def __init__(self, config: Config, before: State | None, seen: State) -> None:
        self.config = config
        self.before = before
        self.seen = seen
        self.key = config.secrets.get("RISK_MODEL_KEY")
        self.release_before = id_of(seen.release)
        self.origin = {"source": seen.source, "mark": seen.marks.get(seen.source)}
        self.refused: list[str] | None = (
            None  # files of which nothing could be taken up; None without new ones
        )
        self.n_files = 0

    def run(self) -> Result:
        """Ingest, judge, decide, report, commit."""
        permissions.warn_of_open_folders(self.config)
        taken, refusal = self.ingest()
        ledger = self.ledger()
        result = Result(
            new_data=bool(taken and (taken.files or taken.files_refused)),
            files_new=taken.files if taken else 0,
            rows_new=taken.rows_new if taken else 0,
            exit_code=os.EX_DATAERR if refusal else taken.exit_code if taken else os.EX_OK,
            brought=bool(self.n_files),
        )
        if ledger is None:
            return self.complete(result._replace(reason=refusal or "no row to learn from yet"))
        standing = self.standing(ledger)
        verdict = self.judge(standing.release, ledger) if standing.release and not standing.why else None
        if verdict is not None:
            result = self.tell_verdict(result, verdict)
        elif standing.release is not None and standing.why is None:
            result = self.take_up(result, standing.release, refusal)
        why = verdict.reason if verdict is not None and verdict.drift else standing.why
        impossible = None
        if why is not None and self.is_unlearnable(standing, ledger):
            nothing = "no new row has a label to learn from, the deployed model stays"
            result = result._replace(reason=f"{why}; {nothing}", deployed=False)
        elif why is not None:
            try:
                result = self.retrain(result._replace(reason=why), standing, ledger)
            except (DatasetError, MissingArtifactError) as error:
                logs.log("fullprocess").error("%s", error)
                impossible = str(error)
                result = result._replace(deployed=False, reason=impossible, exit_code=error.exit_code)
        settled = impossible is None and not (verdict is not None and verdict.drift is None)
        return self.complete(result, ledger if settled else None, impossible)

    def ingest(self) -> tuple[ingestion.IngestionResult | None, str | None]:
        """Take up what is new; a folder that makes no table is said once and left."""
        import ingestion

        digests, since = content(self.seen.files), self.seen.batches.get(self.seen.source, 0)
        try:
            taken = runner.perform(self.config, "ingestion", ingestion.run, digests=digests, since=since)
        except DatasetError as error:
            logs.log("ingestion").error("%s", error)
            before = self.before.files if self.before else {}
            self.refused = list(find_new(before, self.seen.files))
            self.n_files = len(self.refused)
            return None, str(error)
        if taken.entries:
            self.refused = [entry.name for entry in taken.entries if entry.is_lost]
            self.n_files = len(taken.entries)
        files = {name: facts for name, facts in self.seen.files.items() if name not in taken.left}
        batches = {**self.seen.batches, self.seen.source: taken.batch}
        self.seen = self.seen._replace(files=files, batches=batches)
        return taken, None

    def ledger(self) -> Ledger | None:
        """Load the ledger; None while there is no table."""
        from risk.data.ledger import load_ledger

        ledger = load_ledger(self.config.ledger)
        usable = ledger is not None and ledger.schema is not None and ledger.source == self.seen.source
        return ledger if usable and ledger is not None and ledger.rows else None

    def standing(self, ledger: Ledger) -> Standing:
        """Load the deployed release, and say why it must be replaced unjudged, if so."""
        if self.seen.release is None:
            return Standing(None, "nothing is deployed yet", comparable=False)
        release, damage = publishing.mend(self.config.prod_deployment, self.key)
        if damage is not None:
            logs.log("fullprocess").error("%s; now release %s is deployed", damage, release.id)
            if release.id != self.release_before:
                why = f"release {self.release_before} was damaged, {release.id} took its place"
                return Standing(release, why, comparable=False)
        card = release.json("modelcard.json")
        versions = release.manifest.get("versions", {})
        installed = registry.installed_scikit_learn()
        if versions.get("scikit-learn") != installed:
            why = f"scikit-learn is {installed} now, the model was fitted with another"
            return Standing(release, why, comparable=False)
        if self.before is not None and self.before.row_key != self.seen.row_key != card.get("row_key"):
            return Standing(release, "config.json shapes rows in another way", comparable=False)
        other = explain_rows(card["schema"], ledger.schema or {})
        if other is not None:
            return Standing(release, other, comparable=False)
        if self.before is not None and self.before.impossible and not self.covers(release, ledger):
            return Standing(release, f"an earlier retraining was not possible ({self.before.impossible})")
        return Standing(release, None)

    def covers(self, release: Release, ledger: Ledger) -> bool:
        return self.trained_up_to(release, ledger) == ledger.length

    def trained_up_to(self, release: Release, ledger: Ledger) -> int:
        """Say where the rows begin that a release was not trained on: all of a table that it did not know."""
        from risk.data.ledger import has_prefix

        mark = release.manifest["training_mark"]
        return int(mark["length"]) if has_prefix(self.config.final_data, ledger, mark) else 0

    def judge(self, release: Release, ledger: Ledger) -> Verdict | None:
        """Judge the deployed model on the rows behind both marks; None when there is none."""
        import scoring
        from risk.data.ledger import has_prefix

        seen = self.seen.marks.get(self.seen.source)
        held = [seen["length"]] if seen and has_prefix(self.config.final_data, ledger, seen) else []
        start = max([*held, self.trained_up_to(release, ledger)])
        if start >= ledger.length:
            return None
        verdict = scoring.judge(self.config, ledger, start)
        columns = [
            {"key": [*self.row_key(), row["column_name"]], "table_digest": ledger.digest, **row}
            for row in verdict.column_records()
        ]
        estimates = [
            {
                "key": [*self.row_key(), row["release"], "n_labelled" in row],
                "table_digest": ledger.digest,
                **row,
            }
            for row in verdict.outlook.records(verdict.release)
        ]
        deliveries.remember(self.config, "fullprocess", {"column_drift": columns, "estimates": estimates})
        return verdict

    def tell_verdict(self, result: Result, verdict: Verdict) -> Result:
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
            log.log(20 if verdict.drift else 30, "%s", verdict.advice)
        if verdict.drift is not None:
            deliveries.remember(
                self.config, "fullprocess", {"drift": [{"key": self.row_key(), **verdict.record()}]}
            )
        return result._replace(
            drift=verdict.drift,
            reason=verdict.reason,
            verdict=plain(verdict.to_json() | {"gate": None}),
        )

    def take_up(self, result: Result, release: Release, refusal: str | None) -> Result:
        """End what a tick that died after its deployment had begun; without one there is no verdict."""
        import deployment

        left = release.manifest.get("why", {})
        if left.get("origin") == self.origin:
            self.release_before = left["release_before"]
            publishing.prune(self.config.prod_deployment, keep=self.config.keep_releases)
            model = release.manifest["files"][deployment.MODEL]
            told = deployment.record(release.id, release.manifest, deployment.DEPLOYED, model)
            deliveries.remember(self.config, "deployment", {"releases": [told]})
            shown = left["verdict"] or {}
            return result._replace(
                deployed=True,
                reason=left["reason"],
                gate=left.get("gate"),
                drift=shown.get("drift"),
                verdict=left["verdict"],
            )
        return result._replace(reason=refusal)

    def is_unlearnable(self, standing: Standing, ledger: Ledger) -> bool:
        """Say whether the deployed model knows every label there is: drift of rows without one."""
        from risk.engines import table_reader

        if standing.release is None or not standing.comparable:
            return False
        start = self.trained_up_to(standing.release, ledger)
        return not table_reader.has_label(self.config.final_data, ledger, self.config.room, start=start)

    def retrain(self, result: Result, standing: Standing, ledger: Ledger) -> Result:
        """Train a candidate, ask the gate, and deploy what passes, fitted on everything."""
        import deployment
        import scoring
        import training

        logs.log("fullprocess").info("retraining: %s", result.reason)
        release = standing.release if standing.comparable else None
        behind = self.trained_up_to(release, ledger) if release else None
        gated = release is not None and self.config.gate != "none"
        trained = runner.perform(self.config, "training", training.run, behind=behind, hold_back=gated)
        verdict = result.verdict
        if gated:
            gate = self.ask_gate(trained)
            verdict = {**verdict, "gate": gate} if verdict else None
            result = result._replace(gate=gate["decision"], verdict=verdict)
            if gate["decision"] != deployment.PROMOTE:
                runner.perform(self.config, "scoring", scoring.run)
                return result._replace(deployed=False, reason=f"{result.reason}; held: {gate['reasons'][0]}")
        runner.perform(self.config, "scoring", scoring.run)
        why = {
            "reason": result.reason,
            "gate": result.gate,
            "verdict": verdict,
            "origin": self.origin,
            "release_before": self.release_before,
        }
        done = runner.perform(self.config, "deployment", deployment.run, by="tick", why=why)
        return result._replace(deployed=done.deployed)

    def ask_gate(self, trained: training.TrainingResult) -> dict[str, Any]:
        """Hold the candidate against the deployed model; one that passes is fitted again on everything."""
        import deployment
        import scoring
        import training
        from risk.data.schema import Schema
        from risk.model import pickling, plan

        config = self.config
        card = read_json(config.model_card, "run training.py")
        data = read_bytes(config.trained_model, "run training.py")
        candidate = pickling.load_model(data, card["model_sha256"], config.trained_model)
        _, deployed = registry.load_deployed(config.prod_deployment, self.key)
        held_back = trained.held_back.X, trained.held_back.y
        judged_on, decision = deployment.compare(
            candidate,
            deployed,
            held_back,
            lambda: scoring.read_test_data(config, Schema.from_json(card["schema"])),
            rule=config.gate,
            alpha=config.alpha,
        )
        told = plain({"judged_on": judged_on, **decision.to_json()})
        logs.log("fullprocess").info("gate=%s reasons=%s", decision.decision, "; ".join(decision.reasons))
        facts = {"gate": told, **plan.measure_held_back(candidate, trained.held_back, trained.plan)}
        if decision.decision == deployment.PROMOTE and trained.n_held_back:
            training.run(config, refit=trained.plan)
        training.note(config, **facts)
        put_json(config.gate_verdict, {"candidate_sha256": card["model_sha256"], **told})
        row = {
            "key": self.row_key(),
            "release": self.release_before,
            "model_sha256": card["model_sha256"],
            "judged_on": judged_on,
            "rows_trained_on": trained.plan.rows,
            **decision.record(),
        }
        deliveries.remember(config, "fullprocess", {"gates": [row]})
        return told

    def complete(
        self, result: Result, settled: Ledger | None = None, impossible: str | None = None
    ) -> Result:
        """Diagnose, report, write the history row, and commit with the state."""
        after = deployed_release(self.config)
        alarms = self.raise_alarms(result, id_of(after), impossible is not None)
        marks = dict(self.seen.marks)
        if settled is not None:
            marks[self.seen.source] = settled.mark
        verdict = result.verdict or self.seen.verdict
        state = self.seen._replace(
            marks=marks,
            release=after,
            release_files=registry.facts(self.config.prod_deployment),
            verdict=verdict,
            impossible=impossible,
            pending=None,
            alarms=alarms,
        )
        if after is not None and self.ledger() is not None:
            left = (self.seen.pending or {}).get("steps", ())
            calls = result.deployed or "apicalls" in left
            state = finish(self.config, state, REPORTING_STEPS if calls else REPORTING_STEPS[:2])
        self.remember(result)
        save_state(self.config.tick_state, state)
        return result._replace(
            release=id_of(after),
            deployed=bool(result.deployed),
            reason=result.reason or "no new row",
            state=state,
        )

    def raise_alarms(
        self, result: Result, release: str | None, is_impossible: bool
    ) -> dict[str, dict[str, str]]:
        """Say what is wrong now, by topic; what this tick says nothing about stays as it was."""
        gate = (result.verdict or {}).get("gate") or {}
        held = result.gate == "HOLD"
        found: dict[str, Alarm | None] = {
            alarms.FAILED: alarms.alarm_of_impossible_training() if is_impossible else None
        }
        if self.refused is not None:
            lost = bool(self.refused) or not self.n_files  # no new file, and what is there makes no table
            found[alarms.REFUSED] = (
                alarms.alarm_of_refused_files(self.refused, self.n_files) if lost else None
            )
        if result.drift is not None and result.verdict is not None:
            if result.deployed:
                outcome = f"A model was trained anew and deployed as release {release}."
            elif held:
                outcome = f"The model that was trained anew is held back, release {release} stays."
            else:
                outcome = f"No new model could be trained, release {release} stays."
            drift = alarms.alarm_of_drift(result.verdict, result.deployed, outcome)
            found[alarms.DRIFT] = drift if result.drift else None
        if held:
            found[alarms.HOLD] = alarms.alarm_of_hold(
                release, gate.get("reasons") or ("it does not pass the gate",)
            )
        elif result.deployed or result.drift is not None:
            found[alarms.HOLD] = None
        raised = {topic: alarm.to_json() for topic, alarm in found.items() if alarm is not None}
        return {topic: alarm for topic, alarm in self.seen.alarms.items() if topic not in found} | raised

    def row_key(self) -> list[str | None]:
        """Name this tick; the same tick, run again after a crash, has the same name."""
        files = [content(self.seen.files), content(self.seen.test_files)]
        listing = sha256(json.dumps(files).encode())
        config = sha256(json.dumps([self.seen.row_key, self.seen.other_key]).encode())
        return [listing, self.release_before, config]

    def remember(self, result: Result) -> None:
        """Note this tick in the history."""
        listing, release_before, config = key = self.row_key()
        tick = {
            "key": key,
            "listing_digest": listing,
            "config_digest": config,
            "release_before": release_before,
            "release_after": id_of(deployed_release(self.config)),
            "files_new": result.files_new,
            "rows_new": result.rows_new,
            "drift": result.drift,
            "deployed": bool(result.deployed),
            "reason": result.reason,
            "gate": result.gate,
        }
        deliveries.remember(self.config, "fullprocess", {"ticks": [tick]})
