"""How a script begins and ends: arguments, lock, logging, timing, history, exit code."""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from config import Config, find_alerts, load_config
from risk import files, text
from risk.errors import AccessError, BusyError, PipelineError, ServiceError, StorageError, UsageError
from risk.history import outbox
from risk.model import registry

if TYPE_CHECKING:
    import logging.handlers

    from risk.engines.spark_session import Cluster
    from risk.monitoring.alerts import Alarm, Settings, Standing

WAIT_S = 10.0
SAY_AGAIN_S = 86_400.0
READS = ("dry_run", "list", "history", "export", "check", "predict", "explain")
LOG_BYTES, LOG_FILES = 5_000_000, 5
Options = Callable[[argparse.ArgumentParser], None]
EPILOG = """\
example:
  python {name}.py --config /srv/risk/config.json --json

exit codes:
  0 done or nothing to do, 64 usage, 65 bad data, 66 no input, 69 no service,
  70 our bug, 74 disk or network, 75 busy, 77 permission, 78 config.json
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise UsageError(f"{message}; see {self.prog} --help")


class _Formatter(argparse.HelpFormatter):
    """Help in 78 columns, examples as they are; a terminal would be asked for its width at every tick."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=78)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        import textwrap

        paragraphs = text.strip().split("\n\n")
        return "\n\n".join(part if "\n  " in part else textwrap.fill(part, width) for part in paragraphs)


class _Terminated(BaseException):
    """SIGTERM: leave as after an error, so that nothing half done stays."""


def main(
    name: str,
    run: Callable[..., Any],
    argv: list[str] | None = None,
    *,
    description: str | None,
    options: Options | None = None,
    locks: bool = True,
    by_cron: bool = False,
) -> int:
    """Run one stage as a shell command and return its exit code.

    The only place that turns an error into an exit code. A bug keeps its traceback (70). `by_cron`
    marks the script that cron fires: it never waits for the lock, and says the same trouble once a
    day, not every ten minutes.
    """
    end = _End()
    end.exit_code = _run_script(name, run, argv, description, options, locks, by_cron, end)
    if by_cron and end.counts:
        alert(end)
    return end.exit_code


class _End:
    """How a script ended: what alerts are made of.

    `counts` is false where nobody is to be told: another run holds the workspace, the command line is
    wrong, a person interrupted it, or it only looked.
    """

    def __init__(self) -> None:
        self.path: Path | None = None
        self.settings: Config | None = None
        self.result: Any = None
        self.error: BaseException | None = None
        self.exit_code = os.EX_OK

    @property
    def counts(self) -> bool:
        return self.error is not None or self.result is not None

    def by(self, error: BaseException) -> BaseException:
        """Note what ended it; without config.json no tick was meant."""
        self.error = error if self.path is not None else None
        return error


def _run_script(
    name: str,
    run: Callable[..., Any],
    argv: list[str] | None,
    description: str | None,
    options: Options | None,
    locks: bool,
    by_cron: bool,
    end: _End,
) -> int:
    settings = None
    _Logging.wanted = set_up_screen  # until config.json is read
    try:
        arguments = _parse(name, argv, description, options)
        looks = any(arguments.get(option) for option in READS)
        end.path = None if looks else Path(arguments["config"])
        end.settings = settings = load_config(arguments.pop("config"))
        as_json, verbosity = arguments.pop("json"), arguments.pop("verbosity")
        changes = locks and not looks
        _Logging.prepare(settings, verbosity, rotates=changes)
        with terminable(), _hold(settings, by_cron) if changes else nullcontext() as died:
            if died and by_cron:
                alert_of_death(settings)
            if changes and not by_cron:
                warn_of_open_folders(settings)
            try:
                result = run(settings, **arguments) if by_cron else perform(settings, name, run, **arguments)
                end.result = result if changes else None
            finally:
                if changes and not isinstance(sys.exception(), _Terminated | KeyboardInterrupt):
                    deliver(settings, name)
                    copy_datasets(settings, name)
        if as_json:
            waiting = {"records_waiting": len(outbox.waiting(settings.outbox))} if by_cron else {}
            where = sys.stderr if getattr(result, "filled_stdout", False) else sys.stdout
            print(json.dumps(facts_of(result) | waiting, allow_nan=False), file=where)
        elif hasattr(result, "text"):
            print(text.escape_lines_for_terminal(result.text()), end="")
        if by_cron and changes:
            said_file(settings).unlink(missing_ok=True)
        return int(getattr(result, "exit_code", os.EX_OK))
    except SystemExit as leave:
        return int(leave.code or 0)
    except BusyError as error:
        return os.EX_OK if by_cron else _fail(name, error)
    except PipelineError as error:
        end.by(error)
        return _fail(name, error, settings if by_cron else None)
    except OSError as error:
        failure = of_system(error)
        end.by(failure)
        return _fail(name, failure, settings if by_cron else None)
    except KeyboardInterrupt:
        end.result = None
        print(f"ERROR {name}: interrupted", file=sys.stderr)
        return 130
    except _Terminated as error:
        end.by(error)
        print(f"ERROR {name}: terminated", file=sys.stderr)
        return 143
    except Exception as error:  # noqa: BLE001  (the one place where a bug ends: its traceback and its code)
        end.by(error)
        log(name).exception("this is a bug of ours; nothing was deployed by half")
        return os.EX_SOFTWARE


@contextmanager
def _hold(config: Config, by_cron: bool) -> Iterator[bool]:
    """Hold the workspace and clear away what a dead run left in it; yields whether there was one."""
    with files.lock(config.lock, wait_s=0 if by_cron else WAIT_S) as died:
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
        yield died


@contextmanager
def terminable() -> Iterator[None]:
    """Turn SIGTERM into an exception, so that temporary files go and the lock is released."""

    def leave(*_: object) -> None:
        raise _Terminated

    try:
        before = signal.signal(signal.SIGTERM, leave)
    except ValueError:  # not the main thread: its owner decides
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def of_system(error: OSError) -> PipelineError:
    """Say what an error of the system means for us."""
    import errno

    path = error.filename2 or error.filename  # of a rename: what was to come to be
    where = f"{path}: " if path else ""
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return AccessError(f"{where}{error.strerror}; check owner and mode")
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageError(f"{where}{error.strerror}{say_space(path)}; make room, then run again")
    check = "" if error.errno == errno.ESTALE else "check the disk, then "
    return StorageError(f"{where}{error.strerror or error}; {check}run again")


def say_space(path: str | None) -> str:
    """Say how much is free where a path is, or was to be."""
    import shutil

    for folder in Path(path).parents if path else ():
        try:
            usage = shutil.disk_usage(folder)
        except OSError:
            continue
        return f" ({usage.free:,} of {usage.total:,} bytes are free there)"
    return ""


def _fail(name: str, error: PipelineError, config: Config | None = None) -> int:
    """Report an error once; what cron has been told within a day goes to the log alone."""
    again = config is not None and _was_said(config, str(error))
    log(name).log(20 if again else 40, "%s", error.text, extra={"details": error.details})
    return error.exit_code


def said_file(config: Config) -> Path:
    """Name the file that remembers what cron was told last."""
    return config.state_folder / "said.json"


def _was_said(config: Config, text: str) -> bool:
    now = time.time()
    text = re.sub(r"\d[\d,.]*", "0", text)  # of the same trouble the figures move, such as what is free
    try:
        last = files.read_json_or_none(said_file(config)) or {}
        if last.get("text") == text and 0 <= now - last["at"] < SAY_AGAIN_S:
            return True
        files.put_json(said_file(config), {"text": text, "at": now})
    except (OSError, PipelineError):  # a disk that cannot note it: say it again rather than never
        return False
    return False


def _parse(
    name: str, argv: list[str] | None, description: str | None, options: Options | None
) -> dict[str, Any]:
    parser = _Parser(
        prog=f"{name}.py",
        description=description,
        formatter_class=_Formatter,
        epilog=EPILOG.format(name=name),
    )
    parser.add_argument(
        "--config",
        metavar="PATH",
        default=Path(__file__).resolve().parent / "config.json",
        help="config.json to use (default: the one beside the scripts)",
    )
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
    loud = parser.add_mutually_exclusive_group()
    loud.add_argument(
        "-q", dest="verbosity", action="store_const", const=-1, default=0, help="say errors only"
    )
    loud.add_argument("-v", dest="verbosity", action="store_const", const=1, help="say details too")
    if options is not None:
        options(parser)
    return vars(parser.parse_args(argv))


def facts_of(result: Any) -> dict[str, Any]:
    """Give the facts of a Result, as `--json` prints them."""
    facts: dict[str, Any] = result.to_json() if hasattr(result, "to_json") else dict(vars(result))
    return facts


def perform(config: Config, name: str, run: Callable[..., Any], **arguments: Any) -> Any:
    """Run one stage, time it, log one line of facts, and note it in the history."""
    log(name)
    started = time.perf_counter()
    result = run(config, **arguments)
    duration_s = time.perf_counter() - started
    facts = facts_of(result).items()
    shown = " ".join(f"{key}={value}" for key, value in facts if isinstance(value, str | int | float))
    log(name).info("%s duration_s=%.3f", shown, duration_s)
    rows = result.history(config) if hasattr(result, "history") else None
    if rows is not None:
        n_rows = next((value for key, value in facts if key in ("rows_read", "n_samples", "n")), None)
        timing = {"stage": name, "duration_s": duration_s, "n_rows": n_rows}
        remember(config, name, {**rows, "timings": [*rows.get("timings", ()), timing]})
    return result


def remember(config: Config, name: str, rows: dict[str, list[dict[str, Any]]]) -> None:
    """Leave rows for the history; they wait in the outbox until the database has them.

    An outbox that cannot be written is a full or a broken disk: the run fails, and is run again.
    """
    lost = outbox.append(config.outbox, rows, utc_now())
    if lost:
        log(name).error("%s: too much waits for the database; %d old records dropped", config.outbox, lost)


def deliver(config: Config, name: str, read: Callable[[Any], Any] | None = None) -> Any:
    """Bring what waits to the database, if its time has come, and `read` the history there.

    Returns what `read` found; None when the database was not asked or did not answer. Nothing waits
    for a database: it has three seconds, and after a failure there are growing pauses.
    """
    if outbox.is_paused(config.outbox) or (read is None and not outbox.is_due(config.outbox)):
        return None
    from risk.history import delivery

    try:
        done = delivery.deliver(config.outbox, config.database_url, keep_days=config.keep_days, read=read)
    except ServiceError as error:
        n_waiting = len(outbox.waiting(config.outbox))
        level = 30 if outbox.note_failure(config.outbox, SAY_AGAIN_S) else 20
        log(name).log(level, "%s; %d batches of records wait, the pipeline goes on", error, n_waiting)
        return None
    if outbox.note_success(config.outbox):
        log(name).info("the database answers again: %d batches of records delivered", done.n_batches)
    if done.n_refused:
        log(name).error("%s: %d batches refused by the database, set aside", config.outbox, done.n_refused)
    return done.found


def alert(end: _End) -> None:
    """Tell those who must be told how a tick ended, now that its work is done; never changes its exit code.

    When another run holds the workspace by now, the next tick tells.
    """
    how = end.settings.alerts if end.settings is not None else find_alerts(end.path) if end.path else None
    if how is None or how.is_idle():
        return
    from contextlib import ExitStack

    from risk.monitoring import alerts

    failure = None if end.error is None else alerts.of_failure(end.error, end.exit_code, how.root)
    standing = end.result.alarms() if failure is None else None
    try:
        with _harmless(), terminable(), ExitStack() as held:
            try:
                held.enter_context(files.lock(how.lock, wait_s=0))
            except BusyError:
                return
            except OSError:  # a disk that takes nothing: told all the same
                if failure is None:
                    raise
            _tell(how, standing, failure)
    except (_Terminated, KeyboardInterrupt):
        return  # what waits is sent by the next tick


def alert_of_death(config: Config) -> None:
    """Tell that the run before was killed, before this one begins: it may be killed, too."""
    if config.alerts.is_idle():
        return
    from risk.monitoring import alerts

    with _harmless():
        _tell(config.alerts, None, alerts.of_death())


def _tell(how: Settings, standing: Standing | None, failure: Alarm | None) -> None:
    from risk.monitoring import alert_channels

    for level, line in alert_channels.tell(how, standing, failure, time.time(), utc_now()):
        log("alerts").log(level, "%s", line)


@contextmanager
def _harmless() -> Iterator[None]:
    """Let no tick fail for a message."""
    try:
        yield
    except (PipelineError, OSError) as error:
        said = of_system(error) if isinstance(error, OSError) else error
        log("alerts").warning("%s; an alert may be missing, the pipeline goes on", said)
    except Exception:  # noqa: BLE001  (a bug in telling is none of the tick)
        log("alerts").exception("this is a bug of ours; the tick itself goes on")


def copy_datasets(config: Config, name: str) -> None:
    """Bring accepted rows that are not in SQL yet there, where `store_datasets` asks for it.

    What was copied is known by the facts of the ledger's file, so that an idle tick opens nothing.
    """
    if not config.store_datasets or outbox.is_paused(config.outbox):
        return
    try:
        status = config.ledger.stat()
    except FileNotFoundError:
        return
    from urllib.parse import urlsplit

    place = urlsplit(config.database_url)  # no digest of a password: it could be guessed from that
    url = files.sha256(f"{place.scheme}://{place.netloc.rpartition('@')[2]}{place.path}".encode())
    state = {"ledger": [status.st_size, status.st_mtime_ns, status.st_ino], "url": url}
    noted = config.state_folder / "copied.json"
    if files.read_json_or_none(noted) == state:
        return
    from risk.data.ledger import load_ledger
    from risk.history import delivery

    ledger = load_ledger(config.ledger)
    if ledger is None or ledger.schema is None:
        return
    try:
        done = delivery.copy(config.database_url, config.final_data, ledger)
    except ServiceError as error:
        level = 30 if outbox.note_failure(config.outbox, SAY_AGAIN_S) else 20
        log(name).log(level, "%s; the copy of the dataset waits, the pipeline goes on", error)
        return
    if done.complete:
        files.put_json(noted, state)
    log(name).info(
        "dataset in SQL: %d rows more, %s", done.rows, "whole" if done.complete else "to be continued"
    )


def connect_cluster(config: Config, packages: Sequence[str] = ()) -> Cluster:
    """Give a session on the cluster that config.json names, of whose executors `Cluster.prove` is sure."""
    from risk.engines import spark_session

    wanted = spark_session.Settings(
        config.spark_master or "",
        config.spark_conf,
        config.spark_wait_s,
        config.log_file.with_name("spark.log"),
    )
    connected = spark_session.connect(wanted)
    connected.prove(config.spill_folder, packages)
    return connected


def warn_of_open_folders(config: Config) -> None:
    """Warn of folders in which any user could plant a model or a script for us."""
    here = Path(__file__).resolve().parent
    for folder in registry.open_to_all((config.prod_deployment, config.output_model, config.root, here)):
        import shlex  # only where there is something to say

        log("security").warning(
            "%s: every user may write here, so every user decides what runs; run: chmod o-w %s",
            folder,
            shlex.quote(str(folder)),
        )


def utc_now() -> str:
    """Name this moment: UTC, microseconds, text that sorts."""
    import datetime

    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


# --- logging -------------------------------------------------------------------------------------------


class _Logging:
    """Logging is set up at the first line that is said: an idle tick says none and imports nothing."""

    wanted: Callable[[], None] | None = None

    @classmethod
    def prepare(cls, config: Config, verbosity: int, *, rotates: bool) -> None:
        cls.wanted = lambda: set_up_logging(config, verbosity, rotates=rotates)


def log(name: str) -> logging.Logger:
    """Give the logger of a stage."""
    import logging

    if _Logging.wanted is not None:
        wanted, _Logging.wanted = _Logging.wanted, None
        wanted()
    return logging.getLogger(f"risk.{name}")


def set_up_logging(config: Config, verbosity: int, *, rotates: bool) -> None:
    """Terminal: all to stderr. Otherwise INFO to the log file, warnings also to stderr.

    Only the process that holds the lock rotates the file.
    """
    import logging

    set_up_screen(verbosity)
    if sys.stderr.isatty():
        return
    root = logging.getLogger("risk")
    try:
        config.log_file.parent.mkdir(parents=True, exist_ok=True)
        full = _log_file()(
            config.log_file, maxBytes=LOG_BYTES if rotates else 0, backupCount=LOG_FILES, encoding="utf-8"
        )
    except OSError as error:
        root.warning("%s", of_system(error))
        return
    full.setFormatter(_plain("%(asctime)s %(levelname)s %(stage)s: %(message)s", "%Y-%m-%dT%H:%M:%S%z"))
    full.addFilter(_name_stage)
    root.addHandler(full)


def set_up_screen(verbosity: int = 0) -> None:
    """Say on stderr what there is to say, and nowhere else."""
    import logging

    root = logging.getLogger("risk")
    for handler in list(root.handlers):
        root.removeHandler(handler)
        handler.close()
    root.propagate = False
    root.setLevel(logging.DEBUG if verbosity > 0 else logging.INFO)
    screen = logging.StreamHandler(sys.stderr)
    screen.setFormatter(_plain("%(levelname)s %(stage)s: %(message)s"))
    screen.addFilter(_name_stage)
    everything = sys.stderr.isatty() or verbosity > 0
    screen.setLevel(logging.ERROR if verbosity < 0 else root.level if everything else logging.WARNING)
    root.addHandler(screen)


def _plain(line: str, date: str | None = None) -> logging.Formatter:
    """Make a formatter that lets nothing from outside through but what can be read.

    A message is one line, whatever is in it; details and tracebacks stand below it, set in, so that
    no line of theirs looks like one of the log.
    """
    import logging

    class Plain(logging.Formatter):
        def formatMessage(self, record: logging.LogRecord) -> str:
            record.message = "\n  ".join(map(text.escape_for_terminal, (record.message, *_details(record))))
            return super().formatMessage(record)

        def formatException(self, ei: Any) -> str:
            lines = super().formatException(ei).split("\n")
            return "\n".join(f"  {text.escape_for_terminal(part)}" for part in lines)

    return Plain(line, date)


def _details(record: logging.LogRecord) -> tuple[str, ...]:
    return getattr(record, "details", ())


def _log_file() -> type[logging.handlers.RotatingFileHandler]:
    import logging
    import logging.handlers

    class LogFile(logging.handlers.RotatingFileHandler):
        """A log file that stops nothing: when it cannot be written, that is said, once."""

        def handleError(self, record: logging.LogRecord) -> None:
            error = sys.exception()
            root = logging.getLogger("risk")
            if not isinstance(error, OSError) or self not in root.handlers:
                return super().handleError(record)
            root.removeHandler(self)
            error.filename = error.filename or self.baseFilename
            root.warning("%s", of_system(error))
            return None

    return LogFile


def _name_stage(record: logging.LogRecord) -> bool:
    record.stage = record.name.removeprefix("risk.")
    return True
