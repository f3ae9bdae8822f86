"""How a script begins and ends: arguments, logging, lock, timing, exit code."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from config import Config, load_config
from risk import artifacts
from risk.errors import AccessError, PipelineError, StorageError, UsageError

if TYPE_CHECKING:
    import logging

WAIT_S = 10.0
Options = Callable[[argparse.ArgumentParser], None]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise UsageError(f"{message}; see {self.prog} --help")


def main(
    name: str,
    run: Callable[..., Any],
    argv: list[str] | None = None,
    *,
    description: str | None,
    options: Options | None = None,
    locks: bool = True,
) -> int:
    """Run one stage as a shell command and return its exit code.

    The only place that turns an error into an exit code. A bug keeps its traceback (70).
    """
    try:
        arguments = _parse(name, argv, description, options)
        settings = load_config(arguments.pop("config"))
        as_json, verbosity = arguments.pop("json"), arguments.pop("verbosity")
        set_up_logging(settings, verbosity)
        reads_only = not locks or arguments.get("dry_run") or arguments.get("list")
        with nullcontext() if reads_only else artifacts.lock(settings.lock, wait_s=WAIT_S):
            result = perform(settings, name, run, **arguments)
        if as_json:
            print(json.dumps(result.to_json() if hasattr(result, "to_json") else dataclasses.asdict(result)))
        elif hasattr(result, "text"):
            print(result.text(), end="")
        return int(getattr(result, "exit_code", os.EX_OK))
    except SystemExit as leave:
        return int(leave.code or 0)
    except PipelineError as error:
        return _fail(name, error)
    except OSError as error:
        return _fail(name, of_system(error))
    except KeyboardInterrupt:
        print(f"ERROR {name}: interrupted", file=sys.stderr)
        return 130


def of_system(error: OSError) -> PipelineError:
    """Say what an error of the system means for us."""
    import errno

    where = f"{error.filename}: " if error.filename else ""
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return AccessError(f"{where}{error.strerror}; check owner and mode")
    return StorageError(f"{where}{error.strerror or error}; check the disk, then run again")


def _fail(name: str, error: PipelineError) -> int:
    log(name).error("%s", error)
    return error.exit_code


def _parse(
    name: str, argv: list[str] | None, description: str | None, options: Options | None
) -> dict[str, Any]:
    parser = _Parser(
        prog=f"{name}.py",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"example:\n  python {name}.py --config /srv/risk/config.json --json",
    )
    parser.add_argument(
        "--config",
        metavar="PATH",
        default=Path(__file__).resolve().parent / "config.json",
        help="config.json to use (default: the one beside the scripts)",
    )
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
    loud = parser.add_mutually_exclusive_group()
    loud.add_argument("-q", dest="verbosity", action="store_const", const=-1, default=0, help="errors only")
    loud.add_argument("-v", dest="verbosity", action="store_const", const=1, help="details too")
    if options is not None:
        options(parser)
    return vars(parser.parse_args(argv))


def perform(config: Config, name: str, run: Callable[..., Any], **arguments: Any) -> Any:
    """Run one stage, time it, and log one line of facts."""
    started = time.perf_counter()
    result = run(config, **arguments)
    duration_s = time.perf_counter() - started
    facts = result.to_json() if hasattr(result, "to_json") else dataclasses.asdict(result)
    shown = " ".join(f"{key}={value}" for key, value in facts.items() if isinstance(value, str | int | float))
    log(name).info("%s duration_s=%.3f", shown, duration_s)
    return result


def log(name: str) -> logging.Logger:
    """Give the logger of a stage."""
    import logging

    return logging.getLogger(f"risk.{name}")


def set_up_logging(config: Config, verbosity: int) -> None:
    """Terminal: all to stderr. Otherwise INFO to the log file, warnings also to stderr."""
    import logging
    import logging.handlers

    root = logging.getLogger("risk")
    for handler in list(root.handlers):
        root.removeHandler(handler)
        handler.close()
    root.propagate = False
    root.setLevel(logging.DEBUG if verbosity > 0 else logging.INFO)
    line = logging.Formatter("%(asctime)s %(levelname)s %(shortname)s: %(message)s", "%Y-%m-%dT%H:%M:%S%z")
    short = logging.Formatter("%(levelname)s %(shortname)s: %(message)s")
    screen = logging.StreamHandler(sys.stderr)
    screen.setFormatter(short)
    interactive = sys.stderr.isatty()
    screen.setLevel(
        logging.ERROR if verbosity < 0 else root.level if interactive or verbosity > 0 else logging.WARNING
    )
    screen.addFilter(_shorten)
    root.addHandler(screen)
    if not interactive:
        config.log_file.parent.mkdir(parents=True, exist_ok=True)
        full = logging.handlers.RotatingFileHandler(
            config.log_file, maxBytes=5_000_000, backupCount=5, encoding="utf-8", delay=True
        )
        full.setFormatter(line)
        full.addFilter(_shorten)
        root.addHandler(full)


def _shorten(record: logging.LogRecord) -> bool:
    record.shortname = record.name.removeprefix("risk.")
    return True
