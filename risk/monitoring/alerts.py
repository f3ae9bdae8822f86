"""Who must be told, of what, and when is enough said?

Five things that can be wrong (`TOPICS`), each told once when it begins and once when it is over. A message
says what happened and what to do; it holds counts, names of files and columns, and scores, never the
contents of a row. Standard library only: an idle tick looks in here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from risk import digests, files
from risk.errors import AccessError, ArtifactError, ConfigError, PipelineError, StorageError

DRIFT, HOLD, FAILED, REFUSED, STALE = TOPICS = ("drift", "hold", "failed", "refused", "stale")
RECOVERED = "recovered"
WEBHOOK, COMMAND = TARGETS = ("webhook", "command")
DAY_S, HOUR_S = 86_400.0, 3_600.0
N_NAMED, LONGEST_NAME, LONGEST_TEXT = 5, 60, 500
FIELDS = ("id", "at", "kind", "about", "workspace", "title", "text", "todo")
_PLACE = re.compile(r"\{(\w+)\}")
# Signs with which a chat makes links, mentions or markup of a name.
_HARMLESS = re.compile(r"[^\w .+()-]")
_MEANINGS = {
    os.EX_DATAERR: "bad data, or a damaged artifact",
    os.EX_NOINPUT: "an input is not there",
    os.EX_UNAVAILABLE: "a service is missing",
    os.EX_SOFTWARE: "a bug of ours",
    os.EX_IOERR: "disk or network failed",
    os.EX_NOPERM: "a file may not be read or written",
    os.EX_CONFIG: "config.json is wrong",
    143: "it was terminated",
}
_TODO = {
    os.EX_NOINPUT: "create the folder that is named, or correct config.json",
    os.EX_SOFTWARE: "report it with the traceback in logs/pipeline.log",
    os.EX_IOERR: "make room, or check the disk; the next tick tries again",
    os.EX_NOPERM: "give the file that is named back to the user who runs the ticks",
    os.EX_CONFIG: "correct config.json; fullprocess.py --dry-run lists every problem",
    143: "find out who ended it: a time limit, or a machine that was shut down",
}
_SEE_LOG = "see the last lines of logs/pipeline.log"
# Errors whose texts are ours alone: paths and causes, never what a file holds.
_TELLABLE = (ConfigError, AccessError, StorageError, ArtifactError)


class AlertSettings(NamedTuple):
    """Whom to tell and how; nobody without `webhook` and `command`.

    `template` is any JSON value; `{title}` and the like in its texts are filled in. `stale_days` is after
    how many days without a new file the data are called stale, None never.
    """

    root: Path
    state_folder: Path
    webhook: str | None
    command: tuple[str, ...] | None
    template: Any
    stale_days: int | None
    cool_down_hours: float
    timeout_s: float

    def __repr__(self) -> str:
        return f"Settings({self.root})"  # without the address, which is a secret

    @property
    def targets(self) -> tuple[str, ...]:
        given = {WEBHOOK: self.webhook, COMMAND: self.command}
        return tuple(name for name, value in given.items() if value)

    @property
    def memory(self) -> Path:
        return self.state_folder / "alerts.json"

    @property
    def lock(self) -> Path:
        return self.state_folder / "lock"

    @property
    def unsaved(self) -> Path:
        return self.state_folder / "alerts.unsaved"

    @property
    def queues(self) -> dict[str, Path]:
        return {name: self.state_folder / "outbox" / name for name in TARGETS}

    def is_idle(self) -> bool:
        """Say whether nobody is to be told, and nothing is left of a time when somebody was."""
        return not self.targets and not any(folder.exists() for folder in self.queues.values())


class Alarm(NamedTuple):
    """Something that is wrong; two of one topic with the same key are the same trouble."""

    key: str
    title: str
    text: str
    todo: str

    def to_json(self) -> dict[str, str]:
        return self._asdict()


class RunOutcome(NamedTuple):
    """How things stand after a tick that did not fail.

    `alarms` holds what is wrong by topic; `arrived_at` when the newest input came, in seconds since 1970,
    None when there is none; `has_new_files` whether this run met a new file.
    """

    alarms: Mapping[str, Mapping[str, str]]
    arrived_at: float | None
    has_new_files: bool


class AlertState(NamedTuple):
    """What was said: by topic the key of what is not over yet, and when a trouble was told last.

    `fed_at` is when a tick met a new file; `outgoing` are messages that are in no queue yet.
    """

    told: Mapping[str, str] = {}
    told_at: Mapping[str, float] = {}
    fed_at: float | None = None
    outgoing: Sequence[Mapping[str, str]] = ()


# --- when to speak -----------------------------------------------------------------------------------------


def update_state(
    memory: AlertState,
    settings: AlertSettings,
    standing: RunOutcome | None,
    failure: Alarm | None,
    now: float,
    at: str,
) -> AlertState:
    """Compare how things stand with what was said; new messages are `outgoing`.

    What is over is told at once; a trouble not within the cool-down after the last of its topic. A clock
    that was set back ends a cool-down. A tick that failed says nothing of the other topics.
    """
    found: dict[str, Alarm | None] = {FAILED: failure}
    fed_at = memory.fed_at
    if standing is not None:
        alarms = {topic: standing.alarms.get(topic) for topic in TOPICS}
        found = {topic: Alarm(**alarm) if alarm else None for topic, alarm in alarms.items()}
        fed_at = now if standing.has_new_files or fed_at is None else fed_at
        if memory.fed_at is None and standing.arrived_at is not None and not standing.has_new_files:
            fed_at = standing.arrived_at
        fed_at = min(fed_at, now)
        found[STALE] = alarm_of_stale_data(fed_at, now, settings.stale_days)
    told, told_at, outgoing = dict(memory.told), dict(memory.told_at), list(memory.outgoing)
    for topic, alarm in found.items():
        if alarm is None and topic in told:
            del told[topic]
            outgoing.append(compose(settings.root.name, RECOVERED, topic, _OVER[topic], at))
        elif alarm is not None and told.get(topic) != alarm.key:
            if 0 <= now - told_at.get(topic, -HOUR_S) < settings.cool_down_hours * HOUR_S:
                continue
            told[topic], told_at[topic] = alarm.key, now
            outgoing.append(compose(settings.root.name, topic, topic, alarm, at))
    return AlertState(told, told_at, fed_at, outgoing)


def load_state(settings: AlertSettings) -> AlertState:
    """Load what was said; one that cannot be read is none, and things may be said twice."""
    try:
        raw = files.read_json_or_none(settings.memory) or {}
        memory = AlertState(**raw)
    except (ArtifactError, TypeError, OSError):
        memory = AlertState()
    if settings.unsaved.exists():  # a failure was told, and nothing could be written then
        memory = memory._replace(told={**memory.told, FAILED: "unsaved"})
    return memory


def write_state(settings: AlertSettings, memory: AlertState) -> None:
    """Put what was said."""
    files.put_json(settings.memory, memory._asdict())
    settings.unsaved.unlink(missing_ok=True)


# --- what to say -------------------------------------------------------------------------------------------


def compose(workspace: str, kind: str, about: str, alarm: Alarm, at: str) -> dict[str, str]:
    """Compose a message: `text` is the whole of it, for people."""
    lines = (f"{clean(workspace)}: {alarm.title}", alarm.text, f"What to do: {alarm.todo}.")
    told = {
        "id": os.urandom(8).hex(),
        "at": at,
        "kind": kind,
        "about": about,
        "workspace": clean(workspace),
        "title": lines[0],
        "text": "\n".join(lines),
        "todo": alarm.todo,
    }
    return {name: text.replace("<", "(").replace(">", ")") for name, text in told.items()}


def clean(name: str) -> str:
    """Show a name from outside so that no chat makes a link or a mention of it.

    Examples
    --------
    >>> clean("<!channel> März.csv")
    '??channel? März.csv'
    """
    name = _HARMLESS.sub("?", name)
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def enumerate_names(names: Sequence[str]) -> str:
    """Name the first few."""
    shown = ", ".join(map(clean, names[:N_NAMED]))
    return f"{shown} and {len(names) - N_NAMED:,} more" if len(names) > N_NAMED else shown


def alarm_of_drift(verdict: Mapping[str, Any], deployed: bool | None, outcome: str) -> Alarm:
    """Tell of drift against one release; `outcome` says what came of it."""
    release = str(verdict["release"])
    told = []
    if verdict.get("new_score") is not None:
        told.append(
            f"F1 is {verdict['new_score']:.3f} on {verdict['n']:,} new rows, "
            f"{verdict['recorded_score']:.3f} was recorded."
        )
    moved = (verdict.get("evidence") or {}).get("moved") or ()
    if moved:
        told.append(f"Columns that moved: {enumerate_names(moved)}.")
    todo = "see page 1 of the report whether the change is real"
    return Alarm(
        key=f"release {release}",
        title=f"drift, new rows are not as release {release} learned them",
        text=" ".join([*told, outcome]),
        todo=todo if deployed else f"{todo}, and what keeps the old model in place",
    )


def alarm_of_hold(release: str | None, reasons: Sequence[str]) -> Alarm:
    """Tell that the gate holds a candidate back."""
    return Alarm(
        key=f"release {release}",
        title=f"hold, the model that was trained anew is not deployed, release {release} stays",
        text="; ".join(reasons) + ".",
        todo="look at verdict.json beside the trained model; deployment.py deploys it all the same, or wait "
        "for more rows",
    )


def alarm_of_refused_files(refused: Sequence[str], n_files: int) -> Alarm:
    """Tell of input files of which nothing could be taken up."""
    names = sorted(refused)
    many = f"{len(names)} of {n_files} new files" if n_files else "what is in the input folder"
    return Alarm(
        key=digests.sha256("\0".join(names).encode())[:16],
        title=f"refused input, nothing could be taken up from {many}",
        text=f"Refused: {enumerate_names(names)}." if names else "It makes no table.",
        todo="see rejectedrows.csv and logs/pipeline.log for the reason, correct the file and drop it again",
    )


def alarm_of_impossible_training() -> Alarm:
    """Tell that no model could be trained."""
    return Alarm(
        key="training",
        title="failed, no model could be trained from the rows there are",
        text="What is deployed stays.",
        todo=f"{_SEE_LOG} for the reason; it is tried again with new data or another config.json",
    )


def alarm_of_pending_steps(steps: Sequence[str], tries: int) -> Alarm:
    """Tell of steps behind a decision that fail again and again."""
    return Alarm(
        key="pending",
        title=f"failed, {' and '.join(steps)} could not be done",
        text=f"Tried {tries} times. Model and data are as they should be.",
        todo=f"{_SEE_LOG}; it is tried again with growing pauses",
    )


def alarm_of_failure(error: BaseException, exit_code: int, root: Path) -> Alarm:
    """Tell of a tick that failed; only texts of ours are told, of a bug none."""
    meaning = _MEANINGS.get(exit_code, "it failed")
    told = "Nothing was deployed by half."
    if isinstance(error, PipelineError) and isinstance(error, _TELLABLE):
        text = error.text.replace(f"{root}{os.sep}", "")
        told = text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…"
    return Alarm(
        key=f"exit code {exit_code}",
        title=f"failed, a tick ended with exit code {exit_code} ({meaning})",
        text=told,
        todo=_TODO.get(exit_code, _SEE_LOG),
    )


def alarm_of_killed_run() -> Alarm:
    """Tell that a run ended without a word."""
    return Alarm(
        key="killed",
        title="failed, the run before this one was killed in the middle",
        text="Nothing is half done; this run takes up where it died.",
        todo="see whether memory ran out (journalctl -k), or the machine was switched off",
    )


def alarm_of_stale_data(fed_at: float, now: float, stale_days: int | None) -> Alarm | None:
    """Tell of data that have become old; None when they have not."""
    if stale_days is None or now - fed_at < stale_days * DAY_S:
        return None
    return Alarm(
        key="stale",
        title=f"stale data, no new file for {stale_days:,} days",
        text="The list of clients at risk is as old as the newest file.",
        todo="see whether the export into the input folder still runs",
    )


_OVER = {
    DRIFT: Alarm("", "recovered, no drift on the newest rows", "The deployed model fits them.", "nothing"),
    HOLD: Alarm("", "recovered, no model is held back any more", "A later tick decided.", "nothing"),
    FAILED: Alarm("", "recovered, the ticks run again", "The last one ended as it should.", "nothing"),
    REFUSED: Alarm("", "recovered, new files were taken up", "None was refused.", "nothing"),
    STALE: Alarm("", "recovered, a new file has come", "The data are not stale any more.", "nothing"),
}


# --- how to say it -----------------------------------------------------------------------------------------


def fill_template(template: Any, message: Mapping[str, str]) -> Any:
    """Fill `{title}` and the like into every text of a JSON value."""
    if isinstance(template, str):
        return _PLACE.sub(lambda found: message.get(found[1], found[0]), template)
    if isinstance(template, Mapping):
        return {key: fill_template(value, message) for key, value in template.items()}
    if isinstance(template, list):
        return [fill_template(value, message) for value in template]
    return template


def find_placeholders(template: Any) -> set[str]:
    """Name everything that a template wants filled in."""
    if isinstance(template, str):
        return set(_PLACE.findall(template))
    parts = template.values() if isinstance(template, Mapping) else template
    return set().union(*map(find_placeholders, parts)) if isinstance(template, Mapping | list) else set()
