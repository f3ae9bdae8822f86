"""How a script begins and ends: arguments, lock, logging, timing, history, exit code."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from risk import errors, files, text
from risk.errors import BusyError, PipelineError
from risk.history import outbox
from risk.locks import lock
from risk.runtime import arguments, deliveries, logs, permissions, signals
from risk.runtime.settings import Config, load_config

WAIT_S = 10.0
SHOWS = ("list", "history", "explain")  # what is printed is all there is to say
READS = (*SHOWS, "dry_run", "export", "check", "predict")


def main(
    name: str,
    run: Callable[..., Any],
    argv: list[str] | None = None,
    *,
    description: str | None,
    options: arguments.Options | None = None,
    locks: bool = True,
    by_cron: bool = False,
) -> int:
    """Run one stage as a shell command and return its exit code.

    The only place that turns an error into an exit code. A bug keeps its traceback (70). `by_cron`
    marks the script that cron fires: it never waits for the lock, and reports the same error once a
    day, not every ten minutes.
    """
    end = deliveries.RunEnd()
    end.exit_code = _run_script(name, run, argv, description, options, locks, by_cron, end)
    if by_cron and end.counts:
        deliveries.send_alerts(end)
    return end.exit_code


def _run_script(
    name: str,
    run: Callable[..., Any],
    argv: list[str] | None,
    description: str | None,
    options: arguments.Options | None,
    locks: bool,
    by_cron: bool,
    end: deliveries.RunEnd,
) -> int:
    """Run one stage, and turn what ends it into an exit code."""
    logs.set_up_later(logs.set_up_stderr)  # until config.json is read
    try:
        given = arguments.parse(name, argv, description, options)
        return _run_as_asked(name, run, given, locks, by_cron, end)
    except SystemExit as leave:
        return int(leave.code or 0)
    except BusyError as error:
        return os.EX_OK if by_cron else _fail(name, error)
    except PipelineError as error:
        end.fail(error)
        return _fail(name, error, end.settings if by_cron else None)
    except OSError as error:
        failure = errors.from_os_error(error)
        end.fail(failure)
        return _fail(name, failure, end.settings if by_cron else None)
    except KeyboardInterrupt:
        end.result = None
        print(f"ERROR {name}: interrupted", file=sys.stderr)
        return 130
    except signals.Terminated as error:
        end.fail(error)
        print(f"ERROR {name}: terminated", file=sys.stderr)
        return 143
    except Exception as error:  # noqa: BLE001  (the one place where a bug ends: its traceback and its code)
        end.fail(error)
        logs.log(name).exception("internal error; nothing was partially deployed")
        return os.EX_SOFTWARE


def _run_as_asked(
    name: str,
    run: Callable[..., Any],
    given: dict[str, Any],
    locks: bool,
    by_cron: bool,
    end: deliveries.RunEnd,
) -> int:
    """Read config.json, run under the lock where something changes, and print the result."""
    reads_only = any(given.get(option) for option in READS)
    end.path = None if reads_only else Path(given["config"])
    end.settings = settings = load_config(given.pop("config"))
    as_json, verbosity = given.pop("json"), given.pop("verbosity")
    changes = locks and not reads_only
    logs.set_up_later(partial(logs.set_up_logging, settings, verbosity, rotates=changes))
    with signals.terminable(), _hold(settings, by_cron) if changes else nullcontext() as was_killed:
        if was_killed and by_cron:
            deliveries.alert_of_killed_run(settings)
        if changes and not by_cron:
            permissions.warn_of_open_folders(settings)
        try:
            result = run(settings, **given) if by_cron else perform(settings, name, run, **given)
            end.result = result if changes else None
        finally:
            if changes and not isinstance(sys.exception(), signals.Terminated | KeyboardInterrupt):
                deliveries.deliver(settings, name)
                deliveries.copy_datasets(settings, name)
    _print_result(settings, result, as_json, by_cron)
    if by_cron and changes:
        reported_file(settings).unlink(missing_ok=True)
    return int(getattr(result, "exit_code", os.EX_OK))


def _print_result(config: Config, result: Any, as_json: bool, by_cron: bool) -> None:
    """Print the facts as one JSON object, or the text of a result that has one."""
    if as_json:
        waiting = {"records_waiting": len(outbox.waiting(config.outbox))} if by_cron else {}
        where = sys.stderr if getattr(result, "filled_stdout", False) else sys.stdout
        print(json.dumps(facts_of(result) | waiting, allow_nan=False), file=where)
    elif hasattr(result, "text"):
        print(text.escape_lines_for_terminal(result.text()), end="")


@contextmanager
def _hold(config: Config, by_cron: bool) -> Iterator[bool]:
    """Hold the workspace and remove what a killed run left in it; yields whether there was one."""
    with lock(config.lock, wait_s=0 if by_cron else WAIT_S) as was_killed:
        files.sweep(
            config.output_folder,
            config.output_model,
            config.prod_deployment,
            config.state_folder,
            config.outbox,
            *config.alerts.queues.values(),
            config.spill_folder,
        )
        files.sweep_readers(config.spill_folder)
        yield was_killed


def _fail(name: str, error: PipelineError, config: Config | None = None) -> int:
    """Report an error once; what cron reported within a day goes to the log alone."""
    is_repeated = config is not None and _was_reported(config, str(error))
    logs.log(name).log(20 if is_repeated else 40, "%s", error.text, extra={"details": error.details})
    return error.exit_code


def reported_file(config: Config) -> Path:
    """Name the file that holds the last error that cron reported."""
    return config.state_folder / "said.json"


def _was_reported(config: Config, text: str) -> bool:
    now = time.time()
    text = re.sub(r"\d[\d,.]*", "0", text)  # figures of the same error change, such as free disk space
    try:
        last = files.read_json_or_none(reported_file(config)) or {}
        if last.get("text") == text and 0 <= now - last["at"] < deliveries.REPEAT_AFTER_S:
            return True
        files.put_json(reported_file(config), {"text": text, "at": now})
    except (OSError, PipelineError):  # a disk that cannot note it: report it again rather than never
        return False
    return False


def facts_of(result: Any) -> dict[str, Any]:
    """Give the facts of a Result, as `--json` prints them."""
    facts: dict[str, Any] = result.to_json() if hasattr(result, "to_json") else dict(vars(result))
    return facts


def perform(config: Config, name: str, run: Callable[..., Any], **arguments: Any) -> Any:
    """Run one stage, time it, log one line of facts, and note it in the history."""
    logs.log(name)
    started = time.perf_counter()
    result = run(config, **arguments)
    duration_s = time.perf_counter() - started
    facts = facts_of(result).items()
    shown = " ".join(f"{key}={value}" for key, value in facts if isinstance(value, str | int | float))
    level = 10 if any(arguments.get(option) for option in SHOWS) else 20
    logs.log(name).log(level, "%s duration_s=%.3f", shown, duration_s)
    rows = result.history(config) if hasattr(result, "history") else None
    if rows is not None:
        n_rows = next((value for key, value in facts if key in ("rows_read", "n_samples", "n")), None)
        timing = {"stage": name, "duration_s": duration_s, "n_rows": n_rows}
        deliveries.record(config, name, {**rows, "timings": [*rows.get("timings", ()), timing]})
    return result
