"""Create the tables of the history, or upgrade those of an earlier version.

The pipeline does the same at first use; this script does it now, reports what it did, and delivers
waiting records.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from config import Config
from risk.history import outbox
from risk.runtime import deliveries, runner

LONGEST_S = 600.0  # an upgrade takes its time, but a server gone silent must not hold the workspace for ever


@dataclass(frozen=True)
class DatabaseSetupResult:
    """How the database stood (`version_before` is None where there was no history), and what was done."""

    database: str
    version_before: int | None
    version: int
    steps: tuple[str, ...]
    checked_only: bool
    waiting: int

    def text(self) -> str:
        """Say it to a reader."""
        lines = [f"{self.database}: {self._standing()}"]
        lines += [f"  {'would ' if self.checked_only else ''}{step}" for step in self.steps]
        if self.waiting:
            lines.append(f"{self.waiting:,} batches of records wait in .state/outbox")
        return "".join(f"{line}\n" for line in lines)

    def _standing(self) -> str:
        if not self.steps:
            return f"schema version {self.version}, up to date"
        if self.checked_only:
            was = f"has schema version {self.version_before}" if self.version_before else "has no history yet"
            return f"{was}, this program's is {self.version}"
        if self.version_before is None:
            return f"created, schema version {self.version}"
        return f"upgraded from schema version {self.version_before} to {self.version}"


def run(config: Config, *, check: bool = False) -> DatabaseSetupResult:
    """Create or upgrade the tables; with `check` only tell.

    Raises
    ------
    ServiceError
        When the database does not answer, refuses, or a newer program has been there.
    """
    from risk import timeouts
    from risk.history import connections, migrations, tables

    url = config.database_url
    shown = connections.show(url)

    def stand() -> migrations.SchemaState:
        with connections.connect(url, reads=check) as connection:
            before = migrations.look(connection) if check else migrations.ensure(connection, shown)
            migrations.refuse_newer(before, shown)
            return before

    absent = check and connections.is_missing(url)
    before = migrations.NOTHING if absent else timeouts.within(LONGEST_S, stand, shown)
    if not check:
        outbox.note_success(config.outbox)
        deliver(config)
    n_waiting = len(outbox.waiting(config.outbox))
    return DatabaseSetupResult(shown, before.version, tables.VERSION, before.steps, check, n_waiting)


def deliver(config: Config) -> None:
    """Bring all that waits, as long as the database takes it."""
    n_waiting = len(outbox.waiting(config.outbox))
    while n_waiting:
        deliveries.deliver(config, "dbsetup")
        n_before, n_waiting = n_waiting, len(outbox.waiting(config.outbox))
        if n_waiting >= n_before or outbox.is_paused(config.outbox):
            break


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--check", action="store_true", help="only show the state of the database")


def main(argv: list[str] | None = None) -> int:
    """Run from the shell."""
    return runner.main("dbsetup", run, argv, description=__doc__, options=add_options)


if __name__ == "__main__":
    raise SystemExit(main())
