"""The state of a pipeline run, which its steps hand on, and the first of them: reading new data.

Each step takes a `PipelineRun` and gives a new one. Nothing here imports a script: the stages are handed
in as functions.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from risk.digests import sha256
from risk.errors import DatasetError
from risk.files import render_json
from risk.runtime import logs, permissions, runner
from risk.runtime.changes import Changes, id_of
from risk.runtime.settings import Config
from risk.runtime.state import RunResult, State, find_new, list_digests

if TYPE_CHECKING:
    from risk.data.ledger import Ledger
    from risk.model.registry import Release
    from risk.monitoring.verdict import Verdict


class Stages(NamedTuple):
    """The functions of the scripts that the steps call."""

    ingest: Callable[..., Any]
    judge: Callable[..., Any]
    read_test_data: Callable[..., Any]
    train: Callable[..., Any]
    score: Callable[..., Any]
    deploy: Callable[..., Any]
    diagnose: Callable[..., Any]
    report: Callable[..., Any]
    call_api: Callable[..., Any]


class DeployedRelease(NamedTuple):
    """The deployed release, None without one; `flaw` is why it must be replaced without a drift check.

    `is_comparable`: a candidate can be compared with it, row by row.
    """

    release: Release | None
    flaw: str | None
    is_comparable: bool = True


class PipelineRun(NamedTuple):
    """A working run between two steps.

    `before` is the state of the last completed run, `seen` what this one met. `refused` names the files of
    which no row could be used, None without new files; `table` is the ledger of the compiled table, None
    while that has no row. With a `retrain_because` the deployed model is to be replaced; `impossible` says
    why that could not be.
    """

    config: Config
    stages: Stages
    before: State | None
    seen: State
    release_before: str | None
    result: RunResult = RunResult()
    refused: tuple[str, ...] | None = None
    n_files: int = 0
    table: Ledger | None = None
    deployed: DeployedRelease = DeployedRelease(None, None, is_comparable=False)
    verdict: Verdict | None = None
    retrain_because: str | None = None
    passes_gate: bool = False
    impossible: str | None = None

    @classmethod
    def begin(cls, config: Config, stages: Stages, changes: Changes) -> PipelineRun:
        """Begin a run with what it sees."""
        return cls(config, stages, changes.before, changes.seen, id_of(changes.seen.release))

    @property
    def has_rows(self) -> bool:
        return self.table is not None

    @property
    def ledger(self) -> Ledger:
        """The ledger of a table that has rows."""
        if self.table is None:
            raise ValueError("the table has no rows")
        return self.table

    @property
    def model_key(self) -> str | None:
        return self.config.secrets.get("RISK_MODEL_KEY")

    @property
    def origin(self) -> dict[str, Any]:
        """The data that this run starts from; a release keeps it, so that a run after a crash knows it."""
        return {"source": self.seen.source, "mark": self.seen.marks.get(self.seen.source)}

    @property
    def row_key(self) -> list[str | None]:
        """The name of this run; the same run, repeated after a crash, has the same name."""
        files = [list_digests(self.seen.files), list_digests(self.seen.test_files)]
        listing = sha256(json.dumps(files).encode())
        config = sha256(json.dumps([self.seen.row_key, self.seen.other_key]).encode())
        return [listing, self.release_before, config]

    def update_result(self, **facts: Any) -> PipelineRun:
        """Add what is known now to the result."""
        return self._replace(result=self.result._replace(**facts))


def as_read_back(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Give facts as they will be read back from JSON, so that a report made now and one made later agree."""
    read: dict[str, Any] = json.loads(render_json(facts))
    return read


# --- reading new data --------------------------------------------------------------------------------------


def read_new_data(run: PipelineRun) -> PipelineRun:
    """Check the new files and add their rows; a folder that makes no table is reported once and left."""
    permissions.warn_of_open_folders(run.config)
    digests, since = list_digests(run.seen.files), run.seen.batches.get(run.seen.source, 0)
    try:
        batch = runner.perform(run.config, "ingestion", run.stages.ingest, digests=digests, since=since)
    except DatasetError as error:
        logs.log("ingestion").error("%s", error)
        run = _note_refusal(run, str(error))
    else:
        run = _note_batch(run, batch)
    run = run._replace(table=_load_ledger(run))
    if run.table is None and run.result.reason is None:
        return run.update_result(reason="no row to learn from yet")
    return run


def _note_refusal(run: PipelineRun, reason: str) -> PipelineRun:
    refused = find_new(run.before.files if run.before else {}, run.seen.files)
    result = RunResult(
        files_new=0, rows_new=0, exit_code=os.EX_DATAERR, reason=reason, has_new_files=bool(refused)
    )
    return run._replace(result=result, refused=refused, n_files=len(refused))


def _note_batch(run: PipelineRun, batch: Any) -> PipelineRun:
    """Note what ingestion did; files it left for later are not seen yet."""
    seen = run.seen._replace(
        files={name: facts for name, facts in run.seen.files.items() if name not in batch.left},
        batches={**run.seen.batches, run.seen.source: batch.batch},
    )
    result = RunResult(
        new_data=bool(batch.files or batch.files_refused),
        files_new=batch.files,
        rows_new=batch.rows_new,
        exit_code=batch.exit_code,
        has_new_files=bool(batch.entries),
    )
    refused = tuple(entry.name for entry in batch.entries if entry.is_lost) if batch.entries else None
    return run._replace(seen=seen, result=result, refused=refused, n_files=len(batch.entries))


def _load_ledger(run: PipelineRun) -> Ledger | None:
    """Load the ledger; None while there is no row to learn from."""
    from risk.data.ledger import load_ledger

    ledger = load_ledger(run.config.ledger)
    if ledger is None or ledger.schema is None or ledger.source != run.seen.source:
        return None
    return ledger if ledger.rows else None
