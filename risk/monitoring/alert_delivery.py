"""Delivery of alerts: a queue for each channel, emptied oldest first, with growing pauses while it fails.

A message leaves its queue when its channel has taken it: a crash right between the two sends it again, with
the same `id`. Standard library only.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from risk.errors import ServiceError
from risk.history import outbox
from risk.monitoring import alerts
from risk.monitoring.alarms import DAY_S, Alarm
from risk.monitoring.alert_channels import CHANNELS
from risk.monitoring.alerts import AlertSettings, RunOutcome

INFO, WARNING = 20, 30
LogLine = tuple[int, str]


def deliver_alerts(
    settings: AlertSettings, outcome: RunOutcome | None, failure: Alarm | None, now: float, at: str
) -> list[LogLine]:
    """Queue what is new to report, and send what is due.

    Called with the lock held. The state is written before a message is queued, and messages are queued
    under names that do not change, so that a crash anywhere reports nothing twice.

    Returns
    -------
    lines : list of (level, line)
        For the log.

    Raises
    ------
    OSError
        When nothing can be written and there is no failure to report; one is reported all the same, once
        a day.
    """
    before = alerts.load_state(settings)
    after = before
    if settings.targets:
        after = alerts.update_state(before, settings, outcome, failure, now, at)
    lines: list[LogLine] = []
    try:
        if after != before:
            alerts.write_state(settings, after)
        if after.outgoing:
            lines += _queue_messages(settings, after.outgoing)
            alerts.write_state(settings, after._replace(outgoing=()))
    except OSError:
        if failure is None:
            raise
        return lines + _send_without_state(settings, after.outgoing, now)
    for target, folder in settings.queues.items():
        if target in settings.targets:
            lines += _send_waiting(settings, target, folder)
        else:
            _drop_queue(folder)
    return lines


def _queue_messages(settings: AlertSettings, outgoing: Sequence[Mapping[str, str]]) -> list[LogLine]:
    for number, message in enumerate(outgoing):
        for target in settings.targets:
            name = f"{message['at']}-{number:06d}-{message['id']}"
            outbox.append(settings.queues[target], {"alerts": [message]}, message["at"], name)
    return [(INFO, f"alert: {message['title']}") for message in outgoing]


def _drop_queue(folder: Path) -> None:
    """Drop what waits for a channel that is no longer configured."""
    for path in outbox.waiting(folder):
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        (folder / outbox.RETRY).unlink(missing_ok=True)
        folder.rmdir()


def _send(settings: AlertSettings, target: str, message: Mapping[str, str], timeout_s: float) -> None:
    CHANNELS[target].send(settings.channels[target], message, settings.root, timeout_s)


def _send_waiting(settings: AlertSettings, target: str, folder: Path) -> list[LogLine]:
    """Send what waits for one channel, oldest first, within its time; the rest waits for the next run."""
    if not outbox.is_due(folder):
        return []
    until = time.monotonic() + settings.timeout_s
    n_sent = 0
    try:
        for path in outbox.waiting(folder):
            left_s = until - time.monotonic()
            if n_sent and left_s < settings.timeout_s / 2:
                break
            message = _read_message(path)
            if message is not None:
                _send(settings, target, message, max(left_s, settings.timeout_s / 2))
                path.unlink(missing_ok=True)
                n_sent += 1
    except ServiceError as error:
        level = WARNING if outbox.note_failure(folder, DAY_S) else INFO
        return [(level, f"{error}; {len(outbox.waiting(folder))} alerts wait, the pipeline continues")]
    outbox.note_success(folder)
    return [(INFO, f"{CHANNELS[target].label} accepted {n_sent} alerts")]


def _read_message(path: Path) -> Mapping[str, str] | None:
    """Read a message; None when it is damaged, which sets it aside."""
    rows, _ = outbox.read(path) or ({}, "")
    messages = rows.get("alerts")
    if messages:
        return messages[0]
    if path.exists():
        outbox.set_aside(path)
    return None


def _send_without_state(
    settings: AlertSettings, outgoing: Sequence[Mapping[str, str]], now: float
) -> list[LogLine]:
    """Report a failure where nothing can be written; an empty file, if one can be made, is the state."""
    with contextlib.suppress(OSError):
        if 0 <= now - settings.unsaved.stat().st_mtime < DAY_S:
            return []
    lines: list[LogLine] = []
    for target in settings.targets:
        for message in outgoing:
            try:
                _send(settings, target, message, settings.timeout_s)
            except ServiceError as error:
                lines.append((WARNING, f"{error}; an alert is lost: no file can be written"))
    with contextlib.suppress(OSError):
        settings.unsaved.touch()
        os.utime(settings.unsaved, (now, now))
    return lines
