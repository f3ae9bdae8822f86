"""The log of requests.

One line a request: when, which route, how it ended, how long it took; never what was in it. Several
processes write the one file, which stays bounded. Standard library only.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import logging.handlers
import os
import sys
import traceback
from pathlib import Path
from typing import IO

LOG = logging.getLogger("risk_requests")  # no child of "risk": a run that serves itself logs no requests
MOST_BYTES = 5_000_000
FORMAT = "%(asctime)s %(levelname)s app: %(message)s"
TIME_FORMAT = "%Y-%m-%dT%H:%M:%S%z"


class BoundedLog(logging.handlers.WatchedFileHandler):
    """A log that is rotated to `.1` when it is full; one full one is kept.

    Whichever process finds it full renames it, and the others notice the new file. A line that
    cannot be written is lost: no answer waits for a disk.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        try:
            self.reopenIfNeeded()
            if self.stream is not None and os.fstat(self.stream.fileno()).st_size > MOST_BYTES:
                self._rotate(self.stream.fileno())
            logging.FileHandler.emit(self, record)
        except OSError:
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Drop the line, and the file; a full disk would otherwise be reported with every request."""
        stream: IO[str] | None = self.stream
        self.stream = None
        with contextlib.suppress(OSError):
            if stream is not None:
                stream.close()

    def _rotate(self, descriptor: int) -> None:
        path = Path(self.baseFilename)
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # released when the stream is closed
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(path.stat(), os.fstat(descriptor)):
                path.replace(path.with_name(f"{path.name}.1"))
        self.reopenIfNeeded()


def set_up(path: Path, *, interactive: bool) -> None:
    """Log to a file, warnings to stderr too; everything to stderr where it is a terminal."""
    screen = logging.StreamHandler(sys.stderr)
    screen.setFormatter(logging.Formatter("%(levelname)s app: %(message)s"))
    screen.setLevel(logging.INFO if interactive else logging.WARNING)
    handlers: list[logging.Handler] = [screen]
    if not interactive:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handlers.append(BoundedLog(path, encoding="utf-8"))
        except OSError as error:
            print(f"WARNING app: {path}: {error.strerror}; requests are not logged", file=sys.stderr)
    for handler in handlers[1:]:
        handler.setFormatter(logging.Formatter(FORMAT, TIME_FORMAT))
    for logger in (LOG, logging.getLogger("risk")):
        for before in logger.handlers:
            before.close()
        logger.handlers, logger.propagate = list(handlers), False
        logger.setLevel(logging.INFO)


def log_request(method: str, route: str, status: int, duration_ms: float) -> None:
    """Log a request that was answered; `route` is a rule of the application, never what the client wrote."""
    LOG.info("method=%s route=%s status=%d duration_ms=%.1f", method, route, status, duration_ms)


def note_bug(where: str, error: BaseException) -> None:
    """Log an internal error with its traceback, but without its text, which may hold data of a request."""
    LOG.error(
        "%s: internal error: %s\n%s",
        where,
        type(error).__name__,
        "".join(traceback.format_tb(error.__traceback__)).rstrip(),
    )
