"""The input files of one ingestion: checked, numbered in order of arrival, good, refused or left.

Standard library only.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from risk.data import csv_check, cut_rows, validation
from risk.data.csv_check import Checked
from risk.data.ledger import Ledger, OpenEnd
from risk.data.schema_inference import Roles
from risk.data.validation import Rejection
from risk.limits import Limits

LOG = logging.getLogger("risk.ingestion")


class InputFolder(NamedTuple):
    """A folder of input files, and how they are to be read.

    `listing` is that of `inputs.list_inputs`; `digests` holds the sha256 of files known not to have
    changed since, which are not read again.
    """

    path: Path
    listing: Mapping[str, Sequence[int]]
    digests: Mapping[str, str]
    separator: str | None
    limits: Limits


@dataclass
class InputBatch:
    """Files ingested in one run; engines know each by its number.

    Attributes
    ----------
    number : int
        Numbers the runs that took files up.
    files : dict of int to Checked
        In order of first arrival.
    batch_of : dict of int to int
        The run in which each file arrived first.
    learn_from : set of int
        The files that shape a first table.
    open_ends : dict of int to OpenEnd
        The last lines of files that end without a line end.
    settled : set of int
        Files that hold no good row.
    changed : set of int
        Files that were found to be others while they were read.
    left : list of str
        Names of files left for the next run.
    rejected_rows : str
        Where the rejected rows are listed, as it is shown to people.
    """

    number: int
    roles: Roles
    rejected_rows: str = "rejectedrows.csv"
    files: dict[int, Checked] = field(default_factory=dict)
    batch_of: dict[int, int] = field(default_factory=dict)
    learn_from: set[int] = field(default_factory=set)
    refused: dict[int, str] = field(default_factory=dict)
    rejected: dict[int, list[Rejection]] = field(default_factory=dict)
    open_ends: dict[int, OpenEnd] = field(default_factory=dict)
    settled: set[int] = field(default_factory=set)
    changed: set[int] = field(default_factory=set)
    left: list[str] = field(default_factory=list)

    @property
    def good(self) -> dict[int, Checked]:
        """The files whose rows count."""
        done = {*self.refused, *self.settled}
        return {number: checked for number, checked in self.files.items() if number not in done}

    @property
    def size(self) -> int:
        """Bytes of the good files."""
        return sum(checked.size for checked in self.good.values())

    def add(self, checked: Checked, arrived: int, open_end: OpenEnd | None = None) -> None:
        """Add a checked file; one that is no table is refused."""
        number = len(self.files)
        if open_end is not None:
            self.open_ends[number] = open_end
        self.files[number], self.batch_of[number] = checked, arrived
        if checked.refusal:
            self.refuse(number, checked.refusal)

    def refuse(self, number: int, reason: str) -> None:
        """Refuse a file whole."""
        self.refused[number] = reason
        LOG.warning("%s: refused: %s; continuing with the other files", self.files[number].name, reason)

    def reject(self, number: int, rejected: list[Rejection]) -> None:
        """Set rows of a file aside."""
        self.rejected[number] = rejected

    def warn_rejected(self, number: int, n_good: int) -> None:
        """Log in one line how many rows of a file were rejected and why the first was."""
        rejected = self.rejected.get(number)
        if not rejected:
            return
        first = rejected[0]
        LOG.warning(
            "%s: %s of %s rows rejected, first at line %s (%s); see %s",
            self.files[number].name,
            f"{len(rejected):,}",
            f"{len(rejected) + n_good:,}",
            f"{first.line:,}",
            f"{first.column} {first.reason}" if first.column else first.reason,
            self.rejected_rows,
        )

    def leave(self, name: str) -> None:
        """Leave a file for the next run, as if it had not been there."""
        self.left.append(name)
        LOG.warning("%s: changed while it was read; left for the next run", name)

    def leave_changed(self) -> set[int]:
        """Leave the files that changed since they were checked; give their numbers."""
        changed = {number for number, checked in self.files.items() if csv_check.has_changed(checked)}
        changed |= self.changed & self.files.keys()
        for number in changed:
            self.leave(self.files.pop(number).name)
            self.refused.pop(number, None)
        return changed

    def explain_lack(self, checked: Checked, columns: Sequence[str]) -> str | None:
        """Name the columns of the table that a file lacks; the label and ignored ones may be missing."""
        needed = [name for name in columns if name not in self.roles.optional]
        return validation.refuse_header(checked.header, needed)

    def refuse_headers(self, files: Mapping[int, Checked], columns: Sequence[str]) -> None:
        """Refuse the files that lack a column of the table, and warn of columns that are too many."""
        for number, checked in files.items():
            lack = self.explain_lack(checked, columns)
            extra = [name or "(no name)" for name in checked.header if name not in columns]
            if lack:
                self.refuse(number, lack)
            elif extra:
                LOG.warning("%s: extra column ignored: %s", checked.name, ", ".join(map(repr, extra)))


def collect(folder: InputFolder, roles: Roles, ledger: Ledger, before: Ledger) -> InputBatch:
    """Check every file whose content the ledger does not know, in order of first arrival.

    Parameters
    ----------
    ledger : Ledger
        The record of what was ingested.
    before : Ledger
        The same, or where a table is compiled again the record of the old one: it has the arrivals.
    """
    arrived = {entry.name: entry.batch for entry in reversed(before.files)}
    batch = InputBatch(1 + max((entry.batch for entry in before.files), default=0), roles)
    taken = {(entry.name, entry.sha256) for entry in ledger.files if entry.sha256}
    never_digested = {(entry.name, entry.refused) for entry in ledger.files if not entry.sha256}
    names = {entry.name for entry in ledger.files}
    wanted = [roles.target, *roles.ids, *roles.ignored, *(before.schema["columns"] if before.schema else ())]
    for name in sorted(folder.listing, key=lambda name: (arrived.get(name, batch.number), name)):
        if (name, folder.digests.get(name, "")) in taken:
            continue
        checked = _check(folder, name, wanted)
        if checked is None or (name, checked.sha256) in taken or (name, checked.refusal) in never_digested:
            continue
        open_end = None if checked.refusal else _read_open_end(checked)
        if csv_check.has_changed(checked):
            batch.leave(name)
            continue
        if name in names:
            LOG.warning("%s: changed since it was ingested; ingesting its new rows", name)
        batch.add(checked, batch.number if name in names else arrived.get(name, batch.number), open_end)
    return batch


def _read_open_end(checked: Checked) -> OpenEnd | None:
    with contextlib.suppress(csv_check.ChangedError):
        return cut_rows.read_open_end(checked)
    return None


def _check(folder: InputFolder, name: str, wanted: Sequence[str]) -> Checked | None:
    try:
        return csv_check.check(folder.path / name, wanted, folder.separator, folder.limits)
    except PermissionError:
        LOG.warning("%s: may not be read; check its owner and mode; continuing with the other files", name)
        return None
