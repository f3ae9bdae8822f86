"""What a run leaves for others: records for the history, rows for SQL, alerts."""

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

SAY_AGAIN_S = 86_400.0


class Ending:
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


def remember(config: Config, name: str, rows: dict[str, list[dict[str, Any]]]) -> None:
    """Leave rows for the history; they wait in the outbox until the database has them.

    An outbox that cannot be written is a full or a broken disk: the run fails, and is run again.
    """
    lost = outbox.append(config.outbox, rows, utc_now())
    if lost:
        logs.log(name).error(
            "%s: too much waits for the database; %d old records dropped", config.outbox, lost
        )


def deliver(config: Config, name: str, read: Callable[[Any], Any] | None = None) -> Any:
    """Bring what waits to the database, if its time has come, and `read` the history there.

    Returns what `read` found; None when the database was not asked or did not answer. Nothing waits
    for a database: it has three seconds, and after a failure there are growing pauses.
    """
    if outbox.is_paused(config.outbox) or (read is None and not outbox.is_due(config.outbox)):
        return None
    with _gc_at_rest():
        from risk.history import delivery

    try:
        done = delivery.deliver(config.outbox, config.database_url, keep_days=config.keep_days, read=read)
    except ServiceError as error:
        n_waiting = len(outbox.waiting(config.outbox))
        level = 30 if outbox.note_failure(config.outbox, SAY_AGAIN_S) else 20
        logs.log(name).log(level, "%s; %d batches of records wait, the pipeline goes on", error, n_waiting)
        return None
    if outbox.note_success(config.outbox):
        logs.log(name).info("the database answers again: %d batches of records delivered", done.n_batches)
    if done.n_refused:
        logs.log(name).error(
            "%s: %d batches refused by the database, set aside", config.outbox, done.n_refused
        )
    return done.answer


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
def _gc_at_rest() -> Iterator[None]:
    """Import without collecting garbage: there is none in a library just loaded.

    To look for it there, now and when the process ends, is a fifth of what loading SQLAlchemy takes.
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


def alert(end: Ending) -> None:
    """Tell those who must be told how a tick ended, now that its work is done; never changes its exit code.

    When another run holds the workspace by now, the next tick tells.
    """
    how = end.settings.alerts if end.settings is not None else find_alerts(end.path) if end.path else None
    if how is None or how.is_idle():
        return
    from contextlib import ExitStack

    from risk.monitoring import alarms

    failure = None if end.error is None else alarms.alarm_of_failure(end.error, end.exit_code, how.root)
    standing = end.result.outcome() if failure is None else None
    try:
        with _harmless(), signals.terminable(), ExitStack() as held:
            try:
                held.enter_context(locks.lock(how.lock, wait_s=0))
            except BusyError:
                return
            except OSError:  # a disk that takes nothing: told all the same
                if failure is None:
                    raise
            _tell(how, standing, failure)
    except (signals.Terminated, KeyboardInterrupt):
        return  # what waits is sent by the next tick


def alert_of_death(config: Config) -> None:
    """Tell that the run before was killed, before this one begins: it may be killed, too."""
    if config.alerts.is_idle():
        return
    from risk.monitoring import alarms

    with _harmless():
        _tell(config.alerts, None, alarms.alarm_of_killed_run())


def _tell(how: AlertSettings, standing: RunOutcome | None, failure: Alarm | None) -> None:
    from risk.monitoring import alert_delivery

    for level, line in alert_delivery.deliver_alerts(how, standing, failure, time.time(), utc_now()):
        logs.log("alerts").log(level, "%s", line)


@contextmanager
def _harmless() -> Iterator[None]:
    """Let no run fail because of an alert."""
    try:
        yield
    except (PipelineError, OSError) as error:
        said = errors.from_os_error(error) if isinstance(error, OSError) else error
        logs.log("alerts").warning("%s; an alert may be missing, the pipeline goes on", said)
    except Exception:  # noqa: BLE001  (an error in an alert must not end the run)
        logs.log("alerts").exception("internal error in an alert; the run itself goes on")


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
    url = digests.sha256(f"{place.scheme}://{place.netloc.rpartition('@')[2]}{place.path}".encode())
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
        logs.log(name).log(level, "%s; the copy of the dataset waits, the pipeline goes on", error)
        return
    if done.complete:
        files.put_json(noted, state)
    logs.log(name).info(
        "dataset in SQL: %d rows more, %s", done.rows, "whole" if done.complete else "to be continued"
    )


def utc_now() -> str:
    """Name this moment: UTC, microseconds, text that sorts."""
    import datetime

    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
