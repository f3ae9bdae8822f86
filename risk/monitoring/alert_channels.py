"""Alert channels: how a message reaches people, one row of `CHANNELS` each.

To add a channel, write its `configure` and its `send` here and give it a row: its keys of config.json are
then checked, its secret is read, and it has a queue of its own. Standard library only, and what it takes to
send is imported when there is something to send.
"""

import contextlib
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from risk import text
from risk.errors import ServiceError

FIELDS = ("id", "at", "kind", "about", "workspace", "title", "text", "todo")  # of every message
LONGEST_COMPLAINT = 200
WEBHOOK_URL = "RISK_WEBHOOK_URL"
_PLACE = re.compile(r"\{(\w+)\}")


class Option(NamedTuple):
    """A key of `alerts` in config.json, or a secret, that a channel needs.

    `expected` completes the sentence "must be ..." of a problem.
    """

    default: Any
    is_valid: Callable[[Any], bool]
    expected: str


class AlertChannel(NamedTuple):
    """A way to reach people.

    `configure` makes, of its options and the secrets, whatever `send` wants to know; None when the channel
    is not in use. `send(configured, message, folder, timeout_s)` raises ServiceError unless the message is
    known to have arrived.
    """

    label: str
    options: Mapping[str, Option]
    secrets: Mapping[str, Option]
    configure: Callable[[Mapping[str, Any], Mapping[str, str]], Any]
    send: Callable[[Any, Mapping[str, str], Path, float], None]


# --- templates ---------------------------------------------------------------------------------------------


def fill_template(template: Any, message: Mapping[str, str]) -> Any:
    """Fill `{title}` and the like into every text of a JSON value."""
    if isinstance(template, str):
        return _PLACE.sub(lambda place: message.get(place[1], place[0]), template)
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


def _is_template(value: Any) -> bool:
    """A JSON object with some field of each alert, and none that no alert has."""
    wanted = find_placeholders(value)
    return isinstance(value, dict) and bool(wanted) and wanted <= {*FIELDS}


# --- webhook -----------------------------------------------------------------------------------------------


class Webhook(NamedTuple):
    """Where JSON is posted, and what it holds."""

    url: str
    template: Any


def is_webhook_url(url: str) -> bool:
    """Tell whether this is an http or https URL that every part of urllib reads in the same way."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    plain = url.isascii() and url.isprintable() and " " not in url and "@" not in parts.netloc
    return plain and parts.scheme in ("http", "https") and bool(parts.hostname) and port != 0


def _configure_webhook(options: Mapping[str, Any], secrets: Mapping[str, str]) -> Webhook | None:
    url = secrets.get(WEBHOOK_URL)
    return Webhook(url, options["template"]) if url and is_webhook_url(url) else None


def send_to_webhook(webhook: Webhook, message: Mapping[str, str], _: Path, timeout_s: float) -> None:
    """Post a message as JSON.

    Raises
    ------
    ServiceError
        When it is not known to have arrived; the text holds no part of the webhook's address.
    """
    from risk import timeouts

    body = json.dumps(fill_template(webhook.template, message), ensure_ascii=True).encode()
    status = timeouts.within(timeout_s, lambda: _post(webhook.url, body, timeout_s), "the webhook")
    if not 200 <= status < 300:
        raise ServiceError(f"the webhook answered {status}{_advise(status)}")


def _post(url: str, body: bytes, timeout_s: float) -> int:
    """Post JSON; follow no redirect and read nothing but the status and the head."""
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
        raise ServiceError(f"the webhook cannot be reached ({_explain(error)})") from None


def _advise(status: int) -> str:
    if 300 <= status < 400:
        return f" (a redirect, which is not followed); correct {WEBHOOK_URL}"
    if status in (401, 403, 404, 410):
        return f"; correct {WEBHOOK_URL}"
    return "; correct alerts.template" if status in (400, 415, 422) else ""


def _explain(error: Exception) -> str:
    cause: Any = getattr(error, "reason", None)
    cause = cause if isinstance(cause, Exception) else error
    number = getattr(cause, "errno", None)
    if isinstance(number, int) and number > 0 and type(cause).__module__ == "builtins":
        return os.strerror(number)
    if hasattr(cause, "verify_message"):
        return "its certificate cannot be trusted"
    return {"gaierror": "its host name cannot be resolved", "TimeoutError": "it does not answer"}.get(
        type(cause).__name__, type(cause).__name__
    )


# --- command -----------------------------------------------------------------------------------------------


def _is_command(value: Any) -> bool:
    """No command, or a program and its arguments; the first is not empty."""
    if value is None:
        return True
    return isinstance(value, list) and all(map(_is_argument, value)) and any(value[:1])


def _is_argument(part: Any) -> bool:
    """An empty text, or one that the system takes: no NUL, no half of a pair of surrogates."""
    if not isinstance(part, str) or "\0" in part:
        return False
    return not part or (bool(part.strip()) and part.encode(errors="ignore").decode() == part)


def _configure_command(options: Mapping[str, Any], _: Mapping[str, str]) -> tuple[str, ...] | None:
    return tuple(options["command"]) if options["command"] else None


def send_to_command(
    command: Sequence[str], message: Mapping[str, str], folder: Path, timeout_s: float
) -> None:
    """Run a command in `folder` with a message as JSON on its standard input, and without our secrets.

    Raises
    ------
    ServiceError
        When it cannot be started, ends with another code than 0, or not in time, which kills it.
    """
    line = f"{json.dumps(dict(message))}\n".encode()
    with open(os.memfd_create("complaints"), "w+b") as complaints:  # noqa: PTH123
        exit_code = _run(command, line, folder, timeout_s, complaints)
        if exit_code:
            raise ServiceError(f"alerts.command ended with {exit_code}{_last_line(complaints)}")


def _run(command: Sequence[str], line: bytes, folder: Path, timeout_s: float, complaints: Any) -> int:
    """Run a command to its end and give its exit code; whatever interrupts it kills it and its children."""
    import signal
    import subprocess

    environment = {name: value for name, value in os.environ.items() if not name.startswith("RISK_")}
    try:
        child = subprocess.Popen(  # noqa: S603  (the operator's own, as config.json has it)
            command, cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
            stderr=complaints, start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise ServiceError(f"alerts.command cannot be started ({error.strerror})") from error
    try:
        child.communicate(line, timeout=timeout_s)
    except BaseException as error:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        if isinstance(error, subprocess.TimeoutExpired):
            late = f"alerts.command did not end within {timeout_s:.3g} seconds"
            raise ServiceError(f"{late}; its limit is alerts.timeout_s") from None
        raise
    return child.returncode


def _last_line(complaints: Any) -> str:
    size = complaints.seek(0, os.SEEK_END)
    complaints.seek(max(0, size - 4 * LONGEST_COMPLAINT))
    lines = complaints.read().decode(errors="replace").strip().splitlines()
    return f" ({text.escape_for_terminal(lines[-1])[-LONGEST_COMPLAINT:]})" if lines else ""


# --- the registry ------------------------------------------------------------------------------------------

CHANNELS = {
    "webhook": AlertChannel(
        label="the webhook",
        options={
            "template": Option(
                {"text": "{text}"},
                _is_template,
                f"an object with texts that name some of {', '.join(f'{{{name}}}' for name in FIELDS)}, "
                'and nothing else in {}, such as {"text": "{text}"}',
            )
        },
        secrets={
            WEBHOOK_URL: Option(None, is_webhook_url, "an http or https URL, without user name and blanks")
        },
        configure=_configure_webhook,
        send=send_to_webhook,
    ),
    "command": AlertChannel(
        label="alerts.command",
        options={
            "command": Option(
                None, _is_command, 'a program and its arguments, such as ["python3", "mail.py"]'
            )
        },
        secrets={},
        configure=_configure_command,
        send=send_to_command,
    ),
}
OPTIONS = {name: option for channel in CHANNELS.values() for name, option in channel.options.items()}
SECRETS = {name: option for channel in CHANNELS.values() for name, option in channel.secrets.items()}


def configure_channels(options: Mapping[str, Any], secrets: Mapping[str, str]) -> dict[str, Any]:
    """Make what each channel's `send` wants to know, by name; None where a channel is not in use."""
    return {name: channel.configure(options, secrets) for name, channel in CHANNELS.items()}
