"""When a trouble is reported: once when it begins, and once when it is over.

What has been reported is remembered in `alerts.json`. Standard library only: an idle run looks in here.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from risk import files
from risk.errors import ArtifactError
from risk.monitoring import alarms
from risk.monitoring.alarms import FAILED, STALE, TOPICS, Alarm
from risk.monitoring.alert_channels import CHANNELS

RECOVERED = "recovered"
HOUR_S = 3_600.0


class AlertSettings(NamedTuple):
    """Who is notified and how; nobody without a configured channel.

    `channels` holds by name of a channel what its `configure` made of config.json and the secrets; None
    where it is not configured. `stale_days` is after how many days without a new file the data count as
    stale, None never.
    """

    root: Path
    state_folder: Path
    channels: Mapping[str, Any]
    stale_days: int | None
    cool_down_hours: float
    timeout_s: float

    def __repr__(self) -> str:
        return f"AlertSettings({self.root})"  # without the address of a webhook, which is a secret

    @property
    def targets(self) -> tuple[str, ...]:
        """The configured channels, by name."""
        return tuple(name for name in CHANNELS if self.channels.get(name))

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
        """The folder of each channel's queue, configured or not."""
        return {name: self.state_folder / "outbox" / name for name in CHANNELS}

    def is_idle(self) -> bool:
        """Tell whether nobody is notified, and nothing is left of a time when somebody was."""
        return not self.targets and not any(folder.exists() for folder in self.queues.values())


class RunOutcome(NamedTuple):
    """The state after a run that did not fail.

    `alarms` holds what is wrong by topic; `arrived_at` when the newest input came, in seconds since 1970,
    None when there is none; `has_new_files` whether this run met a new file.
    """

    alarms: Mapping[str, Mapping[str, str]]
    arrived_at: float | None
    has_new_files: bool


class AlertState(NamedTuple):
    """What was reported: by topic the key of what is not over yet, and when a trouble was reported last.

    `fed_at` is when a run met a new file; `outgoing` are messages that are in no queue yet. The names are
    those of `alerts.json`.
    """

    told: Mapping[str, str] = {}
    told_at: Mapping[str, float] = {}
    fed_at: float | None = None
    outgoing: Sequence[Mapping[str, str]] = ()


def update_state(
    state: AlertState,
    settings: AlertSettings,
    outcome: RunOutcome | None,
    failure: Alarm | None,
    now: float,
    at: str,
) -> AlertState:
    """Compare the outcome of a run with what was reported; new messages are `outgoing`.

    A recovery is reported at once; a trouble not within the cool-down after the last of its topic. A clock
    that was set back ends a cool-down. A run that failed says nothing of the other topics.
    """
    fed_at = state.fed_at if outcome is None else _update_fed_at(state, outcome, now)
    current: dict[str, Alarm | None] = {FAILED: failure}
    if outcome is not None and fed_at is not None:
        raised = {topic: outcome.alarms.get(topic) for topic in TOPICS}
        current = {topic: Alarm(**alarm) if alarm else None for topic, alarm in raised.items()}
        current[STALE] = alarms.alarm_of_stale_data(fed_at, now, settings.stale_days)
    open_keys, reported_at, outgoing = dict(state.told), dict(state.told_at), list(state.outgoing)
    for topic, alarm in current.items():
        if alarm is None and topic in open_keys:
            del open_keys[topic]
            outgoing.append(make_message(settings.root.name, RECOVERED, topic, alarms.RECOVERIES[topic], at))
        elif alarm is not None and open_keys.get(topic) != alarm.key:
            if 0 <= now - reported_at.get(topic, -HOUR_S) < settings.cool_down_hours * HOUR_S:
                continue
            open_keys[topic], reported_at[topic] = alarm.key, now
            outgoing.append(make_message(settings.root.name, topic, topic, alarm, at))
    return AlertState(open_keys, reported_at, fed_at, outgoing)


def _update_fed_at(state: AlertState, outcome: RunOutcome, now: float) -> float:
    """Give when a file came last; the first time, without a new one, when the newest input came."""
    fed_at = now if outcome.has_new_files or state.fed_at is None else state.fed_at
    if state.fed_at is None and outcome.arrived_at is not None and not outcome.has_new_files:
        fed_at = outcome.arrived_at
    return min(fed_at, now)


def make_message(workspace: str, kind: str, about: str, alarm: Alarm, at: str) -> dict[str, str]:
    """Make the message that channels send; `text` is the whole of it, for people."""
    title = f"{alarms.clean_name(workspace)}: {alarm.title}"
    message = {
        "id": os.urandom(8).hex(),
        "at": at,
        "kind": kind,
        "about": about,
        "workspace": alarms.clean_name(workspace),
        "title": title,
        "text": "\n".join((title, alarm.text, f"What to do: {alarm.todo}.")),
        "todo": alarm.todo,
    }
    return {name: text.replace("<", "(").replace(">", ")") for name, text in message.items()}


def load_state(settings: AlertSettings) -> AlertState:
    """Load what was reported; a file that cannot be read counts as none, and things may be repeated."""
    try:
        raw = files.read_json_or_none(settings.memory) or {}
        state = AlertState(**raw)
    except (ArtifactError, TypeError, OSError):
        state = AlertState()
    if settings.unsaved.exists():  # a failure was reported, and nothing could be written then
        state = state._replace(told={**state.told, FAILED: "unsaved"})
    return state


def write_state(settings: AlertSettings, state: AlertState) -> None:
    """Write what was reported."""
    files.put_json(settings.memory, state._asdict())
    settings.unsaved.unlink(missing_ok=True)
