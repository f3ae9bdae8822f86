"""The state of the last completed run, what is new since, and what a run gives back.

tick.json is written last: it is the commit of a run. Standard library only: an idle run ends here.
"""

import errno
import os
import time
from collections.abc import Mapping
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from risk.data.inputs import is_as_listed, list_inputs
from risk.files import put_json, read_json_or_none

if TYPE_CHECKING:
    from risk.monitoring.alerts import RunOutcome

FORMAT = 1
UNREADABLE, TOO_LARGE = "unreadable", "too large"
FIRST_PAUSE_S, LONGEST_PAUSE_S = 600.0, 86_400.0
NOT_THERE = (errno.ENOENT, errno.ELOOP, errno.EINVAL)  # gone, or a link or a pipe in its place
TRIES_BEFORE_ALARM = 2
HIDDEN = ("exit_code", "description", "state", "has_new_files")
Listing = Mapping[str, list[Any]]


class State(NamedTuple):
    """What a run processed, and what it left to do.

    `files` and `test_files` hold [size, mtime_ns, ctime_ns, inode, sha256] by name; `marks` the state of the
    table after each input folder, `batches` the last batch of files ingested from it; `release_files` the
    facts of the deployed files; `impossible` why no model could be trained; `pending` the steps behind a
    decision that failed, how often, and when they are due; `alarms` what is wrong, by topic of `alerts`.
    """

    source: str = ""
    files: Mapping[str, list[Any]] = {}
    test_files: Mapping[str, list[Any]] = {}
    marks: Mapping[str, dict[str, Any]] = {}
    batches: Mapping[str, int] = {}
    row_key: str | None = None
    other_key: str | None = None
    library: list[int] | None = None
    release: str | None = None
    release_files: list[Any] | None = None
    verdict: dict[str, Any] | None = None
    impossible: str | None = None
    pending: dict[str, Any] | None = None
    alarms: Mapping[str, dict[str, str]] = {}


class RunResult(NamedTuple):
    """What one run did; None where it did not get that far.

    `state` is what it left for the next run, None when it only looked.
    """

    new_data: bool = False
    files_new: int | None = None
    rows_new: int | None = None
    drift: bool | None = None
    gate: str | None = None
    deployed: bool | None = None
    release: str | None = None
    reason: str | None = None
    verdict: dict[str, Any] | None = None
    exit_code: int = os.EX_OK
    description: str = ""
    state: State | None = None
    has_new_files: bool = False

    def to_json(self) -> dict[str, Any]:
        facts = {name: value for name, value in self._asdict().items() if name not in HIDDEN}
        scores = {name: (self.verdict or {}).get(name) for name in ("recorded_score", "new_score")}
        return facts | scores

    def text(self) -> str:
        return self.description

    def outcome(self) -> "RunOutcome | None":
        """Give what is wrong after this run, for alerts; None when it only looked."""
        from risk.monitoring import alarms
        from risk.monitoring.alerts import RunOutcome

        if self.state is None:
            return None
        current, pending = dict(self.state.alarms), self.state.pending
        if pending is not None and pending["tries"] >= TRIES_BEFORE_ALARM:
            alarm = alarms.alarm_of_pending_steps(pending["steps"], pending["tries"])
            current.setdefault(alarms.FAILED, alarm.to_json())
        return RunOutcome(current, newest_time(self.state.files), self.has_new_files)


def load_state(path: Path) -> State | None:
    """Load tick.json; None when there was no run, or another version wrote it."""
    raw = read_json_or_none(path)
    if raw is None or raw.pop("format", None) != FORMAT:
        return None
    return State(**raw)


def last_verdict(path: Path) -> dict[str, Any] | None:
    """Load the verdict of the last drift check."""
    state = load_state(path)
    return state.verdict if state else None


def save_state(path: Path, state: State) -> None:
    """Write tick.json."""
    put_json(path, {"format": FORMAT, **state._asdict()}, is_long=True)


def list_files(folder: Path, known: Listing, max_bytes: int) -> Listing:
    """List the CSV files of a folder; a file whose facts did not change keeps its digest unread.

    A file that may not be read has no digest: it is listed as new when its mode changes. Neither has one that
    is too large to be read at all.
    """
    if known and is_as_listed(folder, known):
        return known
    listing: dict[str, list[Any]] = {}
    for name, facts in list_inputs(folder).items():
        before = known.get(name)
        if before and before[:4] == facts:
            listing[name] = before
            continue
        try:
            digest = digest_input(folder / name, max_bytes)
        except PermissionError:
            digest = UNREADABLE
        except OSError as error:
            if error.errno not in NOT_THERE:
                raise
            continue
        listing[name] = [*facts, digest]
    return listing


def digest_input(path: Path, max_bytes: int) -> str:
    """Digest a regular file, opened without following links; anything else in its place is an OSError."""
    import hashlib

    from risk.data import csv_check

    with csv_check.open_regular(path) as handle:
        if os.fstat(handle.fileno()).st_size > max_bytes:
            return TOO_LARGE
        return hashlib.file_digest(handle, "sha256").hexdigest()


def load_digests(path: Path, source: str, listing: Mapping[str, list[int]]) -> dict[str, str]:
    """Load the sha256 of files that did not change since `save_digests` wrote them."""
    raw = read_json_or_none(path) or {}
    files = raw.get("files", {}) if raw.get("source") == source else {}
    return {
        name: files[name][4] for name, facts in listing.items() if name in files and files[name][:4] == facts
    }


def save_digests(
    path: Path, source: str, listing: Mapping[str, list[int]], digests: Mapping[str, str]
) -> None:
    """Note the sha256 of files, so that the next run of a single script need not read them again."""
    files = {name: [*facts, digests[name]] for name, facts in listing.items() if name in digests}
    content = {"source": source, "files": files}
    if read_json_or_none(path) != content:
        put_json(path, content, is_long=True)


def list_digests(files: Listing) -> dict[str, str]:
    """List the sha256 of each file."""
    return {name: facts[4] for name, facts in files.items()}


def find_new(old: Listing, files: Listing) -> tuple[str, ...]:
    """Name the files whose content was not there under that name."""
    if files == old:  # the usual case: what did not change is the same list
        return ()
    nothing = [None] * 5
    return tuple(name for name, facts in files.items() if old.get(name, nothing)[4] != facts[4])


def newest_time(files: Listing) -> float | None:
    """Give the time, in seconds since 1970, at which the newest file came: its ctime; mtime may be older."""
    return max(map(itemgetter(2), files.values())) / 1e9 if files else None


def list_library_facts() -> list[int] | None:
    """List what changes when another scikit-learn is installed, without importing it."""
    from importlib.util import find_spec

    spec = find_spec("sklearn")
    if spec is None or spec.origin is None:
        return None
    status = Path(spec.origin).stat()
    return [status.st_size, status.st_mtime_ns, status.st_ino]


def is_due(pending: Mapping[str, Any]) -> bool:
    """Report whether steps that failed before are due; a clock that was ahead delays none for ever."""
    return not 0 < pending["next_at"] - time.time() <= LONGEST_PAUSE_S


def next_pause(n_failures: int) -> float:
    """Compute the pause: 10 minutes after the first failure, then twice as long each time, up to a day."""
    return float(min(FIRST_PAUSE_S * 2**n_failures, LONGEST_PAUSE_S))
