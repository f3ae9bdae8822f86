"""A time limit for work that waits for something outside.

Timeouts of drivers and sockets apply to single steps; none of them ends a silent name server, or a peer
that sends one byte a second. Standard library only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from risk.errors import ServiceError

T = TypeVar("T")
BUDGET_S = 3.0  # for all that a run asks of a database


def within(budget_s: float, work: Callable[[], T], what: str, pulse: Callable[[], int] | None = None) -> T:
    """Do `work`, and wait for its end, or its next sign of life, no longer than `budget_s` seconds.

    `pulse` counts signs of life; without one there is none but the end. The work is left behind in a daemon
    thread, which dies with this process.

    Raises
    ------
    ServiceError
        When it takes longer; otherwise what `work` raises.
    """
    import threading  # not needed by a run with nothing new

    ended: list[Callable[[], T]] = []

    def run() -> None:
        try:
            value = work()
        except BaseException as error:  # noqa: BLE001  (handed on to the caller, whatever it is)
            problem = error
            ended.append(lambda: _raise(problem))
        else:
            ended.append(lambda: value)

    thread = threading.Thread(target=run, daemon=True, name="risk-deadline")
    thread.start()
    beat = 0
    while thread.is_alive():
        thread.join(budget_s)
        last, beat = beat, pulse() if pulse else 0
        if beat == last:
            break
    if not ended:
        raise ServiceError(f"{what}: no answer within {budget_s:.3g} seconds")
    return ended[0]()


def _raise(error: BaseException) -> Any:
    raise error
