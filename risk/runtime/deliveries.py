"""Deliveries of a run: records for the history, rows for SQL, alerts."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from risk import digests, files, locks
from risk.errors import BusyError, PipelineError, ServiceError
from risk.history import outbox
from risk.runtime.settings import Config, find_alerts

if TYPE_CHECKING:
    from risk.history.pending import KnownHistory
    from risk.monitoring.alarms import Alarm
    from risk.monitoring.alerts import AlertSettings, RunOutcome
from risk import errors
from risk.runtime import logs, signals

REPEAT_AFTER_S = 86_400.0


class RunEnd:
    """How a script ended: what alerts are made of.

    `counts` is false where nobody is notified: another run holds the workspace, the command line is
    wrong, a person interrupted it, or it only read.
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

    def fail(self, error: BaseException) -> BaseException:
        """Note what ended it; without config.json no run was meant."""
        self.error = error if self.path is not None else None
        return error


def record(config: Config, name: str, rows: dict[str, list[dict[str, Any]]]) -> None:
    """Leave rows for the history; they wait in the outbox until the database has them.

    An outbox that cannot be written is a full or a broken disk: the run fails, and is run again.
    """
    n_dropped = outbox.append(config.outbox, rows, utc_now())
    if n_dropped:
        logs.log(name).error(
            "%s: too many records wait for the database; %d old records were dropped",
            config.outbox,
            n_dropped,
        )


def deliver(config: Config, name: str, read: Callable[[Any], Any] | None = None) -> Any:
    """Deliver what waits to the database, if it is due, and `read` the history there.

    Returns the result of `read`; None when the database was not asked or did not answer. Nothing waits
    for a database: it has three seconds, and after a failure there are growing pauses.
    """
    if outbox.is_paused(config.outbox) or (read is None and not outbox.is_due(config.outbox)):
        return None
    with _without_garbage_collection():
        from risk.history import delivery

    try:
        report = delivery.deliver(config.outbox, config.database_url, keep_days=config.keep_days, read=read)
    except ServiceError as error:
        n_waiting = len(outbox.waiting(config.outbox))
        level = 30 if outbox.note_failure(config.outbox, REPEAT_AFTER_S) else 20
        logs.log(name).log(level, "%s; %d batches of records wait, the pipeline continues", error, n_waiting)
        return None
    if outbox.note_success(config.outbox):
        logs.log(name).info("the database answers again: %d batches of records delivered", report.n_batches)
    if report.n_refused:
        logs.log(name).error(
            "%s: %d batches refused by the database, set aside", config.outbox, report.n_refused
        )
    return report.answer


def read_history(config: Config, name: str) -> tuple[int, KnownHistory]:
    """Read the last real runs of ingestion and training, and the trends.

    A database that does not answer leaves what was known last, with the records that wait for it.

    Returns
    -------
    n_waiting : int
        How many batches of records wait.
    known : KnownHistory
    """
    from risk.history import pending

    answered = deliver(config, name, lambda history: (history.latest_timings(), *history.trend_rows()))
    waiting = list(filter(None, map(outbox.read, outbox.waiting(config.outbox))))
    if answered is not None:
        return len(waiting), pending.KnownHistory.from_database(*answered).add(pending.select_rows(waiting))
    before = files.read_json_or_none(config.diagnostics) or {}
    known = pending.KnownHistory.from_artifacts(before, files.read_json_or_none(config.trends))
    return len(waiting), known.add(pending.select_rows(waiting, known.until))


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Import without collecting garbage: a library just loaded has none.

    Collecting it, now and when the process ends, takes a fifth of the time of loading SQLAlchemy.
    """
    import gc

    if not gc.isenabled() or "sqlalchemy" in sys.modules:
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def send_alerts(end: RunEnd) -> None:
    """Notify of how a run ended, now that its work is done; never changes its exit code.

    When another run holds the workspace by now, the next run notifies.
    """
    settings = (
        end.settings.alerts if end.settings is not None else find_alerts(end.path) if end.path else None
    )
    if settings is None or settings.is_idle():
        return
    from contextlib import ExitStack

    from risk.monitoring import alarms

    failure = None if end.error is None else alarms.alarm_of_failure(end.error, end.exit_code, settings.root)
    outcome = end.result.outcome() if failure is None else None
    try:
        with _contain_errors(), signals.terminable(), ExitStack() as held:
            try:
                held.enter_context(locks.lock(settings.lock, wait_s=0))
            except BusyError:
                return
            except OSError:  # a disk that takes nothing: notify all the same
                if failure is None:
                    raise
            _deliver_alerts(settings, outcome, failure)
    except (signals.Terminated, KeyboardInterrupt):
        return  # what waits is sent by the next run


def alert_of_killed_run(config: Config) -> None:
    """Notify that the previous run was killed, before this one begins: it may be killed, too."""
    if config.alerts.is_idle():
        return
    from risk.monitoring import alarms

    with _contain_errors():
        _deliver_alerts(config.alerts, None, alarms.alarm_of_killed_run())


def _deliver_alerts(settings: AlertSettings, outcome: RunOutcome | None, failure: Alarm | None) -> None:
    from risk.monitoring import alert_delivery

    for level, line in alert_delivery.deliver_alerts(settings, outcome, failure, time.time(), utc_now()):
        logs.log("alerts").log(level, "%s", line)


@contextmanager
def _contain_errors() -> Iterator[None]:
    """Let no run fail because of an alert."""
    try:
        yield
    except (PipelineError, OSError) as error:
        reason = errors.from_os_error(error) if isinstance(error, OSError) else error
        logs.log("alerts").warning("%s; an alert may be missing, the pipeline continues", reason)
    except Exception:  # noqa: BLE001  (an error in an alert must not end the run)
        logs.log("alerts").exception("internal error in an alert; the run itself continues")


def copy_datasets(config: Config, name: str) -> None:
    """Copy accepted rows that are not in SQL yet, where `store_datasets` is set.

    What was copied is known by the facts of the ledger's file, so that an idle run opens nothing.
    """
    if not config.store_datasets or outbox.is_paused(config.outbox):
        return
    try:
        status = config.ledger.stat()
    except FileNotFoundError:
        return
    from urllib.parse import urlsplit

    parts = urlsplit(config.database_url)  # no digest of a password: it could be guessed from that
    url = digests.sha256(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}".encode())
    state = {"ledger": [status.st_size, status.st_mtime_ns, status.st_ino], "url": url}
    copied = config.state_folder / "copied.json"
    if files.read_json_or_none(copied) == state:
        return
    from risk.data.ledger import load_ledger
    from risk.history import delivery

    ledger = load_ledger(config.ledger)
    if ledger is None or ledger.schema is None:
        return
    try:
        copy = delivery.copy(config.database_url, config.final_data, ledger)
    except ServiceError as error:
        level = 30 if outbox.note_failure(config.outbox, REPEAT_AFTER_S) else 20
        logs.log(name).log(level, "%s; the copy of the dataset waits, the pipeline continues", error)
        return
    if copy.complete:
        files.put_json(copied, state)
    logs.log(name).info(
        "dataset in SQL: %d new rows, %s", copy.rows, "complete" if copy.complete else "to be continued"
    )


def utc_now() -> str:
    """Name this moment: UTC, microseconds, text that sorts."""
    import datetime

    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
