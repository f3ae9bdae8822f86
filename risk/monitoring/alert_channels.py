"""How does an alert reach people: by a webhook, or by a command that takes it on its standard input?

Each of the two has a queue in the outbox, and pauses that grow while it fails. A message leaves its queue
when the webhook has answered 2xx, or the command has ended with 0: a crash right between the two sends it
again, with the same `id`. Standard library only, and most of it imported when there is something to send.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from risk import text
from risk.errors import ServiceError
from risk.history import outbox
from risk.monitoring import alerts
from risk.monitoring.alerts import Alarm, AlertSettings, RunOutcome

NAMES = {alerts.WEBHOOK: "the webhook", alerts.COMMAND: "alerts.command"}
LONGEST_COMPLAINT = 200
DEBUG, INFO, WARNING = 10, 20, 30
Said = tuple[int, str]


def deliver_alerts(
    settings: AlertSettings, standing: RunOutcome | None, failure: Alarm | None, now: float, at: str
) -> list[Said]:
    """Put what is new to say into the queues, and send what is due.

    Called with the lock held. What is to be said is put before it is queued, and queued under names that
    do not change, so that a crash anywhere says nothing twice.

    Returns
    -------
    said : list of (level, line)
        For the log.

    Raises
    ------
    OSError
        When the disk takes nothing and no failure is to be told; one is told without memory, once a day.
    """
    before = alerts.load_state(settings)
    memory = alerts.update_state(before, settings, standing, failure, now, at) if settings.targets else before
    said: list[Said] = []
    try:
        if memory != before:
            alerts.write_state(settings, memory)
        if memory.outgoing:
            said += _queue(settings, memory.outgoing)
            alerts.write_state(settings, memory._replace(outgoing=()))
    except OSError:
        if failure is None:
            raise
        return said + _tell_without_memory(settings, memory.outgoing, now)
    for target, folder in settings.queues.items():
        if target in settings.targets:
            said += _send_waiting(settings, target, folder)
        else:
            _drop(folder)
    return said


def _queue(settings: AlertSettings, outgoing: Sequence[Mapping[str, str]]) -> list[Said]:
    for number, message in enumerate(outgoing):
        for target in settings.targets:
            name = f"{message['at']}-{number:06d}-{message['id']}"
            outbox.append(settings.queues[target], {"alerts": [message]}, message["at"], name)
    return [(INFO, f"alert: {message['title']}") for message in outgoing]


def _drop(folder: Path) -> None:
    """Drop what waits for somebody who is not to be told any more."""
    for path in outbox.waiting(folder):
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        (folder / outbox.RETRY).unlink(missing_ok=True)
        folder.rmdir()


def _send_waiting(settings: AlertSettings, target: str, folder: Path) -> list[Said]:
    """Send what waits for one target, oldest first, within its time; what is left waits for the next tick."""
    if not outbox.is_due(folder):
        return []
    until = time.monotonic() + settings.timeout_s
    n_sent = 0
    try:
        for path in outbox.waiting(folder):
            left_s = until - time.monotonic()
            if n_sent and left_s < settings.timeout_s / 2:
                break
            message = _read(path)
            if message is not None:
                send(settings, target, message, max(left_s, settings.timeout_s / 2))
                path.unlink(missing_ok=True)
                n_sent += 1
    except ServiceError as error:
        level = WARNING if outbox.note_failure(folder, alerts.DAY_S) else INFO
        return [(level, f"{error}; {len(outbox.waiting(folder))} alerts wait, the pipeline goes on")]
    outbox.note_success(folder)
    return [(INFO, f"{NAMES[target]} took {n_sent} alerts")]


def _read(path: Path) -> Mapping[str, str] | None:
    """Read a message; None when it is damaged, which sets it aside."""
    rows, _ = outbox.read(path) or ({}, "")
    messages = rows.get("alerts")
    if messages:
        return messages[0]
    if path.exists():
        outbox.set_aside(path)
    return None


def _tell_without_memory(
    settings: AlertSettings, outgoing: Sequence[Mapping[str, str]], now: float
) -> list[Said]:
    """Tell of a failure where nothing can be written; an empty file, if one can be made, is the memory."""
    with contextlib.suppress(OSError):
        if 0 <= now - settings.unsaved.stat().st_mtime < alerts.DAY_S:
            return []
    said: list[Said] = []
    for target in settings.targets:
        for message in outgoing:
            try:
                send(settings, target, message, settings.timeout_s)
            except ServiceError as error:
                said.append((WARNING, f"{error}; an alert is lost, for nothing can be written"))
    with contextlib.suppress(OSError):
        settings.unsaved.touch()
        os.utime(settings.unsaved, (now, now))
    return said


# --- sending -----------------------------------------------------------------------------------------------


def send(settings: AlertSettings, target: str, message: Mapping[str, str], timeout_s: float) -> None:
    """Send one message to one target.

    Raises
    ------
    ServiceError
        When it is not known to have arrived; the text holds no part of the webhook's address.
    """
    if target == alerts.WEBHOOK:
        from risk import timeouts

        body = json.dumps(alerts.fill_template(settings.template, message), ensure_ascii=True).encode()
        status = timeouts.within(timeout_s, _posting(settings.webhook or "", body, timeout_s), NAMES[target])
        if not 200 <= status < 300:
            raise ServiceError(f"{NAMES[target]} answered {status}{_advise(status)}")
    else:
        run_command(settings.command or (), json.dumps(dict(message)) + "\n", settings.root, timeout_s)


def _advise(status: int) -> str:
    if 300 <= status < 400:
        return " (a redirect, which is not followed); correct RISK_WEBHOOK_URL"
    if status in (401, 403, 404, 410):
        return "; correct RISK_WEBHOOK_URL"
    return "; correct alerts.template" if status in (400, 415, 422) else ""


def _posting(url: str, body: bytes, timeout_s: float) -> Callable[[], int]:
    """Give the work of posting JSON: it follows no redirect and reads nothing but the status and the head."""

    def post() -> int:
        import http.client
        import urllib.error
        import urllib.request

        request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method="POST")  # noqa: S310
        opener = urllib.request.OpenerDirector()  # no handler for files, redirects or passwords
        opener.addheaders = [("User-Agent", "dynamic-risk-assessment")]
        for handler in (
            urllib.request.ProxyHandler(),
            urllib.request.HTTPHandler(),
            urllib.request.HTTPSHandler(),
        ):
            opener.add_handler(handler)
        try:
            with opener.open(request, timeout=timeout_s) as answer:
                return int(answer.status)
        except (OSError, http.client.HTTPException, ValueError) as error:
            # The words of these errors may hold the address, which is a secret.
            raise ServiceError(f"{NAMES[alerts.WEBHOOK]} cannot be reached ({_explain(error)})") from None

    return post


def _explain(error: Exception) -> str:
    cause: Any = getattr(error, "reason", None)
    cause = cause if isinstance(cause, Exception) else error
    number = getattr(cause, "errno", None)
    if isinstance(number, int) and number > 0 and type(cause).__module__ == "builtins":
        return os.strerror(number)
    if hasattr(cause, "verify_message"):
        return "its certificate cannot be trusted"
    return {"gaierror": "its name is not known", "TimeoutError": "it does not answer"}.get(
        type(cause).__name__, type(cause).__name__
    )


def run_command(command: Sequence[str], text: str, folder: Path, timeout_s: float) -> None:
    """Run a command in `folder` with `text` on its standard input, and without our secrets.

    Raises
    ------
    ServiceError
        When it cannot be started, ends with another code than 0, or not in time, which kills it.
    """
    import signal
    import subprocess

    environment = {name: value for name, value in os.environ.items() if not name.startswith("RISK_")}
    with open(os.memfd_create("complaints"), "w+b") as complaints:  # noqa: PTH123
        try:
            child = subprocess.Popen(  # noqa: S603  (the operator's own, as config.json has it)
                command, cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                stderr=complaints, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise ServiceError(f"{NAMES[alerts.COMMAND]} cannot be started ({error.strerror})") from error
        try:
            child.communicate(text.encode(), timeout=timeout_s)
        except BaseException as error:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            if isinstance(error, subprocess.TimeoutExpired):
                what = f"{NAMES[alerts.COMMAND]} did not end within {timeout_s:.3g} seconds"
                raise ServiceError(f"{what}; its time is alerts.timeout_s") from None
            raise
        if child.returncode:
            raise ServiceError(
                f"{NAMES[alerts.COMMAND]} ended with {child.returncode}{_last_words(complaints)}"
            )


def _last_words(complaints: Any) -> str:
    size = complaints.seek(0, os.SEEK_END)
    complaints.seek(max(0, size - 4 * LONGEST_COMPLAINT))
    lines = complaints.read().decode(errors="replace").strip().splitlines()
    return f" ({text.escape_for_terminal(lines[-1])[-LONGEST_COMPLAINT:]})" if lines else ""
