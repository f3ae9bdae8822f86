"""Logging to the terminal and to the log file."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from risk import text
from risk.runtime.settings import Config

if TYPE_CHECKING:
    import logging.handlers

from risk import errors

LOG_BYTES, LOG_FILES = 5_000_000, 5


# What sets logging up at the first line that is logged: an idle run logs none, and imports nothing for it.
_pending: list[Callable[[], None]] = []


def set_up_later(set_up: Callable[[], None]) -> None:
    """Call `set_up` before the first line, in place of what was to be called then."""
    _pending[:] = [set_up]


def log(name: str) -> logging.Logger:
    """Give the logger of a stage."""
    import logging

    if _pending:
        _pending.pop()()
    return logging.getLogger(f"risk.{name}")


def set_up_logging(config: Config, verbosity: int, *, rotates: bool) -> None:
    """On a terminal log to stderr; otherwise INFO to the log file, warnings to stderr too.

    Only the process that holds the lock rotates the file.
    """
    import logging

    set_up_stderr(verbosity)
    if sys.stderr.isatty():
        return
    root = logging.getLogger("risk")
    try:
        config.log_file.parent.mkdir(parents=True, exist_ok=True)
        log_file = _log_file()(
            config.log_file, maxBytes=LOG_BYTES if rotates else 0, backupCount=LOG_FILES, encoding="utf-8"
        )
    except OSError as error:
        root.warning("%s", errors.from_os_error(error))
        return
    log_file.setFormatter(_plain("%(asctime)s %(levelname)s %(stage)s: %(message)s", "%Y-%m-%dT%H:%M:%S%z"))
    log_file.addFilter(_name_stage)
    root.addHandler(log_file)


def set_up_stderr(verbosity: int = 0) -> None:
    """Log to stderr and nowhere else."""
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
    is_verbose = sys.stderr.isatty() or verbosity > 0
    screen.setLevel(logging.ERROR if verbosity < 0 else root.level if is_verbose else logging.WARNING)
    root.addHandler(screen)


def _plain(line: str, date: str | None = None) -> logging.Formatter:
    """Make a formatter that escapes what is not printable.

    A message is one line, whatever is in it; details and tracebacks stand below it, indented, so that
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
        """A log file that stops nothing: when it cannot be written, that is reported, once."""

        def handleError(self, record: logging.LogRecord) -> None:
            error = sys.exception()
            root = logging.getLogger("risk")
            if not isinstance(error, OSError) or self not in root.handlers:
                return super().handleError(record)
            root.removeHandler(self)
            error.filename = error.filename or self.baseFilename
            root.warning("%s", errors.from_os_error(error))
            return None

    return LogFile


def _name_stage(record: logging.LogRecord) -> bool:
    record.stage = record.name.removeprefix("risk.")
    return True
