"""One tick: take up what is new, judge the deployed model on it, retrain when the world has changed.

What cron fires. An idle tick ends here after a look at a folder; the heavy stages are imported
behind that question.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import stage
from config import Config
from risk import artifacts, releases, ticks
from risk.errors import ArtifactError, DatasetError, MissingArtifactError, PipelineError
from risk.ticks import State

if TYPE_CHECKING:
    import pandas as pd

    import ingestion
    from risk.drift import Verdict
    from risk.releases import Release
    from risk.table import Ledger

REPORTING_STEPS = ("diagnostics", "reporting", "apicalls")


@dataclass(frozen=True)
class Result:
    """What one tick did; None where it did not get that far."""

    new_data: bool = False
    files_new: int | None = None
    rows_new: int | None = None
    drift: bool | None = None
    recorded_score: float | None = None
    new_score: float | None = None
    deployed: bool | None = None
    release: str | None = None
    reason: str | None = None
    exit_code: int = field(default=os.EX_OK, repr=False)
    said: str = field(default="", repr=False)

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("exit_code", "said")}

    def text(self) -> str:
        return self.said


@dataclass(frozen=True)
class Look:
    """What a tick sees before it does anything; `reasons` is empty when there is nothing to do."""

    seen: State
    reasons: tuple[str, ...]
    new_names: tuple[str, ...] = ()
    only_pending: bool = False


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


def scores_of(verdict: Mapping[str, Any] | None) -> dict[str, Any]:
    """Take from a verdict what a Result tells."""
    return {name: (verdict or {}).get(name) for name in ("drift", "recorded_score", "new_score")}


# --- look: standard library only ---------------------------------------------------------------------------


def look(config: Config) -> tuple[State | None, Look]:
    """Compare the world with the last completed tick; touches nothing."""
    state = ticks.load(config.tick_state)
    old = state or State()
    source = os.path.relpath(config.input_folder, config.root)
    most = config.limits.file_bytes
    files = ticks.list_files(config.input_folder, old.files if old.source == source else {}, most)
    test_files = ticks.list_files(config.test_data, old.test_files, most) if config.test_data.is_dir() else {}
    seen = replace(
        old,
        source=source,
        files=files,
        test_files=test_files,
        row_key=config.row_key(),
        other_key=config.other_key(),
        library=ticks.find_library(),
        release=deployed_release(config),
        release_files=releases.facts(config.prod_deployment),
    )
    if state is None:
        return None, Look(seen, ("first tick",), tuple(files))
    new_names = ticks.find_new(old.files if old.source == source else {}, files)
    reasons = []
    if new_names:
        reasons.append(f"{len(new_names)} new or changed file{'s' * (len(new_names) != 1)}")
    if old.source != source:
        reasons.append(f"the input folder is {source} now")
    if old.row_key != seen.row_key:
        reasons.append("config.json shapes rows in another way")
    if old.impossible is not None and old.other_key != seen.other_key:
        reasons.append("config.json asks for another model than the one that could not be trained")
    if ticks.content(old.test_files) != ticks.content(test_files):
        reasons.append("the test data are others")
    if old.library != seen.library:
        reasons.append("scikit-learn was installed anew")
    if old.release != seen.release:
        reasons.append("another release is deployed")
    elif old.release_files != seen.release_files and is_damaged(config):
        reasons.append("the deployed release is damaged")
    only_pending = not reasons
    if old.pending is not None and time.time() >= old.pending["next_at"]:
        reasons.append(f"steps left from before: {', '.join(old.pending['steps'])}")
    return state, Look(seen, tuple(reasons), new_names, only_pending)


def deployed_release(config: Config) -> str | None:
    """Name the deployed release as its link says, damaged or not."""
    try:
        return os.readlink(config.prod_deployment / releases.DATA)  # noqa: PTH115
    except OSError:
        return None


def is_damaged(config: Config) -> bool:
    """Say whether the deployed release is not what was deployed."""
    try:
        releases.load(config.prod_deployment, config.secrets.get("RISK_MODEL_KEY"))
    except MissingArtifactError:
        return False
    except ArtifactError:
        return True
    return False


# --- run ---------------------------------------------------------------------------------------------------


def run(config: Config, *, dry_run: bool = False) -> Result:
    """Run one tick, or with `dry_run` say what it would do.

    Raises
    ------
    PipelineError
        What only the world can mend (a damaged release, a full disk); the next tick tries again.
    """
    state, found = look(config)
    if dry_run:
        return tell(config, state, found)
    if not found.reasons:
        if state is not None and state != found.seen:
            if state.other_key != found.seen.other_key:
                stage.log("fullprocess").warning(
                    "config.json changed: it counts from the next new data on, or run training.py, "
                    "scoring.py and deployment.py"
                )
            ticks.save(config.tick_state, found.seen)
        else:
            os.utime(config.tick_state)
        return Result()
    stage.log("fullprocess").info("tick: %s", "; ".join(found.reasons))
    if state is not None and found.only_pending:
        left = state.pending or {}
        state = finish(config, found.seen, left["steps"], left["tries"])
        ticks.save(config.tick_state, state)
        return Result(release=id_of(state.release), reason="; ".join(found.reasons))
    return Tick(config, state, found).run()


def tell(config: Config, state: State | None, found: Look) -> Result:
    """Say what a tick would do and why."""
    if not found.reasons:
        return Result(reason="nothing new", said="nothing new: a tick would end here\n")
    lines = [f"why: {reason}\n" for reason in found.reasons]
    lines += [f"would take up {config.input_folder.name}/{name}\n" for name in found.new_names]
    if found.only_pending and state is not None and state.pending:
        lines.append(f"would run {', '.join(state.pending['steps'])}\n")
    elif found.seen.release is None:
        lines.append("would train, score and deploy: nothing is deployed yet\n")
    elif state is not None and state.row_key != found.seen.row_key:
        lines.append("would compile the table anew, train, score and deploy\n")
    else:
        lines.append(f"would judge release {id_of(found.seen.release)} on the rows that are new\n")
        lines.append("would train, score and deploy if there is drift\n")
    if not found.only_pending:
        lines.append("would diagnose and report\n")
    reason = "; ".join(found.reasons)
    return Result(bool(found.new_names), len(found.new_names), reason=reason, said="".join(lines))


def id_of(release_folder: str | None) -> str | None:
    return releases.release_id(release_folder) if release_folder else None


def step(name: str) -> Callable[..., Any]:
    """Give the `run` of a step that follows a decision; none of them can undo it."""
    if name == "diagnostics":
        import diagnostics

        return diagnostics.run
    if name == "reporting":
        import reporting

        return reporting.run
    import apicalls

    return apicalls.run


def finish(config: Config, state: State, names: Iterable[str], tries: int = 0) -> State:
    """Run the steps behind a decision; what fails is left in the state for a later tick."""
    failed = []
    for name in names:
        arguments = {"verdict": state.verdict} if name == "reporting" else {}
        try:
            stage.perform(config, name, step(name), **arguments)
        except (PipelineError, OSError) as error:
            said = stage.of_system(error) if isinstance(error, OSError) else error
            stage.log(name).warning("%s; tried again later", said)
            failed.append(name)
    if not failed:
        return replace(state, pending=None)
    due = time.time() + ticks.next_pause(tries)
    return replace(state, pending={"steps": failed, "tries": tries + 1, "next_at": due})


class Tick:
    """One working tick, from new files to the state that commits it."""

    def __init__(self, config: Config, before: State | None, found: Look) -> None:
        self.config = config
        self.before = before
        self.seen = found.seen
        self.reasons = found.reasons
        self.key = config.secrets.get("RISK_MODEL_KEY")
        self.release_before = id_of(found.seen.release)
        self.origin = {"source": found.seen.source, "mark": found.seen.marks.get(found.seen.source)}

    def run(self) -> Result:
        """Ingest, judge, decide, report, commit."""
        stage.warn_of_open_folders(self.config)
        taken, refusal = self.ingest()
        ledger = self.ledger()
        verdict: Verdict | None = None
        result = Result(
            new_data=bool(taken and (taken.files or taken.files_refused)),
            files_new=taken.files if taken else 0,
            rows_new=taken.rows_new if taken else 0,
            exit_code=os.EX_DATAERR if refusal else taken.exit_code if taken else os.EX_OK,
        )
        if ledger is None:
            return self.complete(replace(result, reason=refusal or "no row to learn from yet"), None)
        deployed, why = self.deployed(ledger)
        if deployed is not None and why is None:
            verdict = self.judge(deployed, ledger)
        interrupted = deployed.manifest.get("why", {}) if deployed is not None else {}
        shown = verdict.to_json() if verdict else self.seen.verdict
        if verdict is not None:
            result = self.tell_verdict(result, verdict)
            why = verdict.reason if verdict.drift else None
        elif why is None and interrupted.get("origin") == self.origin:
            shown = interrupted["verdict"]
            self.release_before = interrupted["release_before"]
            result = replace(result, deployed=True, reason=interrupted["reason"], **scores_of(shown))
        impossible = None
        if why is not None:
            try:
                result = self.retrain(replace(result, reason=why), verdict)
            except (DatasetError, MissingArtifactError) as error:
                stage.log("fullprocess").error("%s", error)
                impossible = str(error)
                result = replace(result, deployed=False, reason=impossible, exit_code=error.exit_code)
        elif refusal:
            result = replace(result, reason=refusal)
        settled = impossible is None and not (verdict is not None and verdict.drift is None)
        return self.complete(result, shown, ledger if settled else None, impossible)

    def ingest(self) -> tuple[ingestion.Result | None, str | None]:
        """Take up what is new; a folder that makes no table is said once and left."""
        import ingestion

        digests = ticks.content(self.seen.files)
        try:
            taken = stage.perform(self.config, "ingestion", ingestion.run, digests=digests)
        except DatasetError as error:
            stage.log("ingestion").error("%s", error)
            return None, str(error)
        files = {name: facts for name, facts in self.seen.files.items() if name not in taken.left}
        self.seen = replace(self.seen, files=files)
        return taken, None

    def ledger(self) -> Ledger | None:
        """Load the ledger; None while there is no table."""
        from risk import table

        ledger = table.load(self.config.ledger)
        usable = ledger is not None and ledger.schema is not None and ledger.source == self.seen.source
        return ledger if usable and ledger is not None and ledger.rows else None

    def deployed(self, ledger: Ledger) -> tuple[Release | None, str | None]:
        """Load the deployed release, and say why it must be replaced unjudged, if so."""
        if self.seen.release is None:
            return None, "nothing is deployed yet"
        release, damage = releases.mend(self.config.prod_deployment, self.key)
        if damage is not None:
            stage.log("fullprocess").error("%s; now release %s is deployed", damage, release.id)
            if release.id != self.release_before:
                return release, f"release {self.release_before} was damaged, {release.id} took its place"
        card = release.json("modelcard.json")
        versions = release.manifest.get("versions", {})
        installed = releases.installed_scikit_learn()
        if versions.get("scikit-learn") != installed:
            return release, f"scikit-learn is {installed} now, the model was fitted with another"
        if self.before is not None and self.before.row_key != self.seen.row_key != card.get("row_key"):
            return release, "config.json shapes rows in another way"
        if self.before is not None and self.before.impossible and not self.covers(release, ledger):
            return release, f"an earlier retraining was not possible ({self.before.impossible})"
        return release, explain_rows(card["schema"], ledger.schema or {})

    def covers(self, release: Release, ledger: Ledger) -> bool:
        from risk import table

        mark = release.manifest["training_mark"]
        return mark["length"] == ledger.length and table.holds(self.config.final_data, ledger, mark)

    def judge(self, release: Release, ledger: Ledger) -> Verdict | None:
        """Judge the deployed model on the rows behind both marks; None when there is none."""
        from risk import dataset, drift, table
        from risk.dataset import Schema

        marks = [release.manifest["training_mark"], self.seen.marks.get(self.seen.source)]
        held = [
            mark["length"] for mark in marks if table.holds(self.config.final_data, ledger, mark) and mark
        ]
        start = max(held, default=0)
        if start >= ledger.length:
            return None
        import scoring

        release, model = releases.load_deployed(self.config.prod_deployment, self.key)
        schema = replace(
            Schema.from_json(release.json("modelcard.json")["schema"]),
            columns=tuple((ledger.schema or {})["columns"]),
        )
        X, y = dataset.read_table(self.config.final_data, schema, start=start, stop=ledger.length)
        self.note_shifts(release, X, ledger)
        labelled = y == y
        score = scoring.score_model(model, X[labelled], y[labelled]) if labelled.any() else None
        return drift.judge_score(float(release.files["latestscore.txt"]), score, release.id)

    def note_shifts(self, release: Release, X: pd.DataFrame, ledger: Ledger) -> None:
        """Note how far each column of the new rows has moved since the deployed model was trained."""
        from risk import shift

        kept = release.json("modelcard.json").get("profiles", {})  # an earlier version kept none
        profiles = {name: shift.from_json(raw) for name, raw in kept.items()}
        rows = [
            {
                "key": [*self.row_key(), found.column],
                "release": release.id,
                "table_digest": ledger.digest,
                "column_name": found.column,
                **{name: getattr(found, name) for name in ("n", "psi", "psi_critical", "p_value")},
            }
            for found in shift.compare_columns(profiles, X)
        ]
        stage.remember(self.config, "fullprocess", {"column_drift": rows})

    def tell_verdict(self, result: Result, verdict: Verdict) -> Result:
        """Log and note a verdict with both scores and its reason, before anything follows from it."""
        stage.log("fullprocess").info(
            "drift=%s recorded_score=%s new_score=%s n=%s reason=%s",
            verdict.drift, verdict.recorded_score, verdict.new_score, verdict.n, verdict.reason,
        )  # fmt: skip
        if verdict.drift is not None:
            told = {"key": self.row_key(), **verdict.to_json()}
            stage.remember(self.config, "fullprocess", {"drift": [told]})
        return replace(result, reason=verdict.reason, **scores_of(verdict.to_json()))

    def retrain(self, result: Result, verdict: Verdict | None) -> Result:
        """Train on all labelled rows, score, deploy."""
        import deployment
        import scoring
        import training

        stage.log("fullprocess").info("retraining: %s", result.reason)
        stage.perform(self.config, "training", training.run)
        stage.perform(self.config, "scoring", scoring.run)
        why = {
            "reason": result.reason,
            "verdict": verdict.to_json() if verdict else None,
            "origin": self.origin,
            "release_before": self.release_before,
        }
        done = stage.perform(self.config, "deployment", deployment.run, by="tick", why=why)
        return replace(result, deployed=done.deployed)

    def complete(
        self,
        result: Result,
        verdict: dict[str, Any] | None,
        settled: Ledger | None = None,
        impossible: str | None = None,
    ) -> Result:
        """Diagnose, report, write the history row, and commit with the state."""
        after = deployed_release(self.config)
        marks = dict(self.seen.marks)
        if settled is not None:
            marks[self.seen.source] = settled.mark
        state = replace(
            self.seen,
            marks=marks,
            release=after,
            release_files=releases.facts(self.config.prod_deployment),
            verdict=verdict,
            impossible=impossible,
            pending=None,
        )
        if after is not None and self.ledger() is not None:
            left = (self.seen.pending or {}).get("steps", ())
            calls = result.deployed or "apicalls" in left
            state = finish(self.config, state, REPORTING_STEPS if calls else REPORTING_STEPS[:2])
        self.remember(result)
        ticks.save(self.config.tick_state, state)
        return replace(
            result, release=id_of(after), deployed=bool(result.deployed), reason=result.reason or "no new row"
        )

    def row_key(self) -> list[str | None]:
        """Name this tick; the same tick, run again after a crash, has the same name."""
        files = [ticks.content(self.seen.files), ticks.content(self.seen.test_files)]
        listing = artifacts.sha256(json.dumps(files).encode())
        config = artifacts.sha256(json.dumps([self.seen.row_key, self.seen.other_key]).encode())
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
        }
        stage.remember(self.config, "fullprocess", {"ticks": [tick]})


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dry-run", action="store_true", help="say what a tick would do and why; change nothing"
    )


def main(argv: list[str] | None = None) -> int:
    """Run from the shell, or by cron."""
    return stage.main("fullprocess", run, argv, description=__doc__, options=add_options, by_cron=True)


if __name__ == "__main__":
    raise SystemExit(main())
