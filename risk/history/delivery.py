"""Delivery of waiting records to their database, within a bounded time."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from risk import timeouts
from risk.data.ledger import Ledger
from risk.errors import ServiceError
from risk.history import connections, outbox, store

if TYPE_CHECKING:
    from risk.history.dataset_copy import Copied

BATCHES_AT_ONCE, BYTES_AT_ONCE = 100, 100_000  # about a thousand rows: well within the budget
COPY_S = 60.0
CHUNK_CELLS = 40_000  # MariaDB on a busy machine took 2.9 of its 3 s for 100,000
# What the database will never take, however often it is asked; not that it does not answer.
REFUSALS = (ValueError, OverflowError, KeyError, TypeError)
REFUSALS_OF_DRIVERS = {"DataError", "IntegrityError"}  # as PEP 249 calls them, and SQLAlchemy after it


@dataclass(frozen=True)
class Delivered:
    """What reached the database: batches, those set aside, rows pruned, and what was read there."""

    n_batches: int
    n_refused: int
    n_pruned: int
    answer: Any = None


def deliver(
    folder: Path,
    url: str,
    *,
    keep_days: int | None = None,
    read: Callable[[store.History], Any] | None = None,
    budget_s: float = timeouts.BUDGET_S,
    most_bytes: int = BYTES_AT_ONCE,
) -> Delivered:
    """Deliver what waits in `folder`, oldest first, prune old detail, then let `read` look.

    Half of the budget goes to what waits; whatever is not delivered then waits for the next time.

    Parameters
    ----------
    keep_days : int, optional
        Detail older than so many days is deleted; None keeps it for ever.
    most_bytes : int
        About as much is delivered in one transaction.
    read : callable, optional
        Is handed a `store.History`; what it returns is `answer`.

    Raises
    ------
    ServiceError
        When the database does not answer within the budget, or refuses.
    """
    until = time.monotonic() + budget_s / 2

    def work() -> Delivered:
        n_batches, n_refused = _deliver_all(folder, url, until, most_bytes)
        n_pruned = _prune(url, keep_days) if keep_days is not None else 0
        answer = None
        if read is not None:
            with store.open(url) as history:
                answer = read(history)
        return Delivered(n_batches, n_refused, n_pruned, answer)

    return timeouts.within(budget_s, work, connections.show(url))


def _deliver_all(folder: Path, url: str, until: float, most_bytes: int) -> tuple[int, int]:
    """Deliver oldest first; once its time is over the rest is left for the next time."""
    n_batches, n_refused = 0, 0
    for paths in _group(outbox.waiting(folder), most_bytes):
        if n_batches and time.monotonic() > until:
            break
        n_refused += _deliver_some(paths, url)
        n_batches += len(paths)
    return n_batches - n_refused, n_refused


def _group(paths: Sequence[Path], most_bytes: int) -> Iterator[list[Path]]:
    """Give batches in groups, each for one transaction."""
    group, size = list[Path](), 0
    for path in paths:
        weight = outbox.weigh(path)
        if group and (len(group) == BATCHES_AT_ONCE or size + weight > most_bytes):
            yield group
            group, size = [], 0
        group.append(path)
        size += weight
    if group:
        yield group


def _deliver_some(paths: Sequence[Path], url: str) -> int:
    """Deliver in one transaction; when the database refuses something, one by one."""
    entries = [(path, entry) for path in paths if (entry := outbox.read(path)) is not None]
    n_refused = sum(outbox.aside(path).exists() for path in paths)
    try:
        with store.open(url) as history:
            for _, (rows, at) in entries:
                history.add(rows, at)
    except (ServiceError, *REFUSALS) as error:
        if not entries or not _is_refusal(error):
            raise
        if len(entries) > 1:
            return n_refused + sum(_deliver_some([path], url) for path, _ in entries)
        outbox.set_aside(entries[0][0])
        return n_refused + 1
    for path, _ in entries:
        path.unlink(missing_ok=True)
    return n_refused


def _is_refusal(error: BaseException) -> bool:
    """Distinguish what the database will never take from a database that does not answer."""
    cause = error.__cause__ if isinstance(error, ServiceError) else error
    names = {kind.__name__ for kind in type(cause).__mro__}
    refused = isinstance(cause, REFUSALS) or isinstance(getattr(cause, "orig", None), REFUSALS)
    return refused or bool(names & REFUSALS_OF_DRIVERS)


def copy(
    url: str,
    path: Path,
    ledger: Ledger,
    *,
    total_s: float = COPY_S,
    budget_s: float = timeouts.BUDGET_S,
    chunk_cells: int = CHUNK_CELLS,
) -> Copied:
    """Bring the accepted rows of finaldata.csv that are not there yet into SQL.

    Takes as long as the database keeps answering within the budget, but no more than `total_s`; the
    next time goes on from there.

    Raises
    ------
    ServiceError
        When the database does not answer within the budget, or refuses.
    """
    from risk.history import dataset_copy

    end, beats = time.monotonic() + total_s, [0]

    def is_over() -> bool:
        beats[0] += 1
        return time.monotonic() > end

    def work() -> Copied:
        with connections.opened(url) as engine:
            return dataset_copy.sync(engine, path, ledger, deadline=is_over, chunk_cells=chunk_cells)

    return timeouts.within(budget_s, work, connections.show(url), pulse=lambda: beats[0])


def _prune(url: str, keep_days: int) -> int:
    oldest = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=keep_days)
    with store.open(url) as history:
        return history.prune(oldest.strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
