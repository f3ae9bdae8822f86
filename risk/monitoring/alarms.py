"""What can go wrong, in words: one alarm for each trouble, with what happened and what to do.

Texts hold counts, names of files and columns, and scores, never the contents of a row. Standard library only.
"""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from risk import digests
from risk.errors import (
    EXIT_CODES,
    AccessError,
    ArtifactError,
    ConfigError,
    PipelineError,
    StorageError,
)

DRIFT, HOLD, FAILED, REFUSED, STALE = TOPICS = ("drift", "hold", "failed", "refused", "stale")
DAY_S = 86_400.0
N_NAMED, LONGEST_NAME, LONGEST_TEXT = 5, 60, 500
# Signs with which a chat makes links, mentions or markup of a name.
_HARMLESS = re.compile(r"[^\w .+()-]")
_TODO = {
    os.EX_NOINPUT: "create the folder that is named, or correct config.json",
    os.EX_SOFTWARE: "report it with the traceback in logs/pipeline.log",
    os.EX_IOERR: "free disk space, or check the disk; the next run tries again",
    os.EX_NOPERM: "give the file that is named back to the user who runs the pipeline",
    os.EX_CONFIG: "correct config.json; fullprocess.py --dry-run lists every problem",
    143: "find out who ended it: a time limit, or a machine that was shut down",
}
_SEE_LOG = "see the last lines of logs/pipeline.log"
# Errors whose texts are ours alone: paths and causes, never what a file holds.
_PUBLIC_ERRORS = (ConfigError, AccessError, StorageError, ArtifactError)


class Alarm(NamedTuple):
    """Something that is wrong; two of one topic with the same key are the same trouble."""

    key: str
    title: str
    text: str
    todo: str

    def to_json(self) -> dict[str, str]:
        return self._asdict()


def clean_name(name: str) -> str:
    """Write a name from outside so that no chat makes a link or a mention of it.

    Examples
    --------
    >>> clean_name("<!channel> März.csv")
    '??channel? März.csv'
    """
    name = _HARMLESS.sub("?", name)
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def _list_names(names: Sequence[str]) -> str:
    """Name the first few, and count the rest."""
    shown = ", ".join(map(clean_name, names[:N_NAMED]))
    return f"{shown} and {len(names) - N_NAMED:,} more" if len(names) > N_NAMED else shown


def alarm_of_drift(verdict: Mapping[str, Any], deployed: bool | None, outcome: str) -> Alarm:
    """Describe drift against one release; `outcome` says what came of it."""
    release = str(verdict["release"])
    sentences = []
    if verdict.get("new_score") is not None:
        sentences.append(
            f"F1 is {verdict['new_score']:.3f} on {verdict['n']:,} new rows, "
            f"{verdict['recorded_score']:.3f} was recorded."
        )
    drifted = (verdict.get("evidence") or {}).get("moved") or ()
    if drifted:
        sentences.append(f"Columns that drifted: {_list_names(drifted)}.")
    todo = "check on page 1 of the report whether the change is real"
    return Alarm(
        key=f"release {release}",
        title=f"drift, new rows differ from the training data of release {release}",
        text=" ".join([*sentences, outcome]),
        todo=todo if deployed else f"{todo}, and why the old model is still deployed",
    )


def alarm_of_hold(release: str | None, reasons: Sequence[str]) -> Alarm:
    """Describe a candidate that the gate holds back."""
    return Alarm(
        key=f"release {release}",
        title=f"hold, the retrained model is not deployed, release {release} stays",
        text="; ".join(reasons) + ".",
        todo="look at verdict.json beside the trained model; deploy it anyway with deployment.py, or wait "
        "for more rows",
    )


def alarm_of_refused_files(refused: Sequence[str], n_files: int) -> Alarm:
    """Describe input files of which no row could be used."""
    names = sorted(refused)
    many = f"{len(names)} of {n_files} new files" if n_files else "what is in the input folder"
    return Alarm(
        key=digests.sha256("\0".join(names).encode())[:16],
        title=f"refused input, no row could be ingested from {many}",
        text=f"Refused: {_list_names(names)}." if names else "No table could be compiled from it.",
        todo="see rejectedrows.csv and logs/pipeline.log for the reason, correct the file and put it into "
        "the folder again",
    )


def alarm_of_impossible_training() -> Alarm:
    """Describe rows from which no model could be trained."""
    return Alarm(
        key="training",
        title="failed, no model could be trained from the available rows",
        text="The deployed model stays.",
        todo=f"{_SEE_LOG} for the reason; it is tried again with new data or another config.json",
    )


def alarm_of_pending_steps(steps: Sequence[str], tries: int) -> Alarm:
    """Describe steps after a decision that fail again and again."""
    return Alarm(
        key="pending",
        title=f"failed, {' and '.join(steps)} did not succeed",
        text=f"Tried {tries} times. Model and data are intact.",
        todo=f"{_SEE_LOG}; it is tried again with growing pauses",
    )


def alarm_of_failure(error: BaseException, exit_code: int, root: Path) -> Alarm:
    """Describe a run that failed; only texts of expected errors are shown, of an internal error none."""
    meaning = EXIT_CODES.get(exit_code, "it failed")
    description = "Nothing was partially deployed."
    if isinstance(error, PipelineError) and isinstance(error, _PUBLIC_ERRORS):
        text = error.text.replace(f"{root}{os.sep}", "")
        description = text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…"
    return Alarm(
        key=f"exit code {exit_code}",
        title=f"failed, a run ended with exit code {exit_code} ({meaning})",
        text=description,
        todo=_TODO.get(exit_code, _SEE_LOG),
    )


def alarm_of_killed_run() -> Alarm:
    """Describe a run that ended without reporting anything."""
    return Alarm(
        key="killed",
        title="failed, the previous run was killed before it ended",
        text="Nothing was partially written; this run continues where it stopped.",
        todo="check whether memory ran out (journalctl -k), or the machine was switched off",
    )


def alarm_of_stale_data(fed_at: float, now: float, stale_days: int | None) -> Alarm | None:
    """Describe data that have become old; None when they have not. Times are seconds since 1970."""
    if stale_days is None or now - fed_at < stale_days * DAY_S:
        return None
    return Alarm(
        key="stale",
        title=f"stale data, no new file for {stale_days:,} days",
        text="The list of clients at risk is as old as the newest file.",
        todo="check whether the export into the input folder still runs",
    )


RECOVERIES = {
    DRIFT: Alarm("", "recovered, no drift in the newest rows", "The deployed model fits them.", "nothing"),
    HOLD: Alarm("", "recovered, no model is held back any more", "A later run decided.", "nothing"),
    FAILED: Alarm("", "recovered, the pipeline runs again", "The last run succeeded.", "nothing"),
    REFUSED: Alarm("", "recovered, new files were ingested", "No file was refused.", "nothing"),
    STALE: Alarm("", "recovered, a new file has arrived", "The data are no longer stale.", "nothing"),
}
