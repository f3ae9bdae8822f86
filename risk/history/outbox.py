"""Records that wait for the database, where no outage can lose them.

One file for each batch of records, put whole, delivered in the order of time, removed only when the
database has committed it. Records have unique ids there, so one delivered twice is there once. Standard
library only: an idle run looks in here.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from risk import files
from risk.errors import ArtifactError, MissingArtifactError

RETRY = ".retry.json"
SUFFIX, ASIDE = ".json", ".refused"
MOST_BYTES, MOST_ROWS, MOST_ASIDE = 64 * 1024 * 1024, 1_000, 1_000
FIRST_PAUSE_S, LONGEST_PAUSE_S = 60.0, 3_600.0
# What goes first when too much waits; scores, verdicts and releases go last.
DETAIL = ("timings", "missing_values", "column_drift", "ingested_files", "ticks")
Rows = Mapping[str, Sequence[Mapping[str, Any]]]
_NUMBER = itertools.count()


def append(
    folder: Path,
    rows: Rows,
    at: str,
    name: str | None = None,
    *,
    most_rows: int = MOST_ROWS,
    most_bytes: int = MOST_BYTES,
) -> int:
    """Write records, in batches that a database takes in a moment; return how many older ones were dropped.

    Parameters
    ----------
    at : str
        When they were made: UTC text, by which batches are sorted.
    name : str, optional
        Of the batch, for what fits one: a repeat takes the place of the first.
    most_rows, most_bytes : int
        Of a batch, and of all that waits.
    """
    lost = 0
    for part in _split(rows, most_rows):
        data = files.render_json({"at": at, "rows": _finite(part)})
        lost += _drop_oldest(folder, len(data), most_bytes)
        stem = name or f"{at}-{os.getpid()}-{next(_NUMBER):06d}"
        files.put_text(folder / f"{stem}{SUFFIX}", data)
    return lost


def _split(rows: Rows, most_rows: int) -> Iterator[Rows]:
    """Split records into parts of at most so many; nothing makes no part."""
    listed = [(name, row) for name, rows_of_table in rows.items() for row in rows_of_table]
    for start in range(0, len(listed), most_rows):
        part: dict[str, list[Mapping[str, Any]]] = {}
        for name, row in listed[start : start + most_rows]:
            part.setdefault(name, []).append(row)
        yield part


def _finite(value: Any) -> Any:
    """Write what is not finite as null, as the database will have it."""
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def waiting(folder: Path) -> list[Path]:
    """List the batches, oldest first."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries)
    except FileNotFoundError:
        return []
    return [folder / name for name in names if name.endswith(SUFFIX) and not name.startswith(".")]


def read(path: Path) -> tuple[Rows, str] | None:
    """Read one batch; None when it is damaged, which sets it aside, or gone.

    A delivery that took too long was left behind in its thread, and may have it done by now.
    """
    try:
        entry = files.read_json(path, "it is set aside")
        return entry["rows"], entry["at"]
    except MissingArtifactError:
        return None
    except (ArtifactError, KeyError):
        set_aside(path)
        return None


def set_aside(path: Path, *, most: int = MOST_ASIDE) -> None:
    """Take a batch that cannot be delivered out of the way; the latest of them stay beside the others."""
    with contextlib.suppress(FileNotFoundError):
        path.replace(aside(path))
    for oldest in sorted(path.parent.glob(f"*{ASIDE}"))[:-most]:
        oldest.unlink(missing_ok=True)


def aside(path: Path) -> Path:
    """Name a batch as it is called when set aside."""
    return path.with_suffix(ASIDE)


def describe(folder: Path) -> dict[str, Any]:
    """Describe how many batches wait, since when, and how many were set aside."""
    paths = waiting(folder)
    n_set_aside = sum(1 for _ in folder.glob(f"*{ASIDE}"))
    since = paths[0].name.partition("Z-")[0] + "Z" if paths else None
    return {"waiting": len(paths), "since": since, "set_aside": n_set_aside}


def _drop_oldest(folder: Path, size: int, most_bytes: int) -> int:
    """Drop the oldest detail, then the oldest batches, until `size` bytes fit; count what was dropped."""
    total = size + sum(map(weigh, waiting(folder)))
    lost = 0
    for dropped in (set(DETAIL), None):
        for path in waiting(folder):
            if total <= most_bytes:
                return lost
            size_before = weigh(path)
            rows, at = read(path) or ({}, "")
            rest = {name: rows[name] for name in rows if dropped is not None and name not in dropped}
            lost += sum(map(len, rows.values())) - sum(map(len, rest.values()))
            if not rest:
                path.unlink(missing_ok=True)
            elif len(rest) < len(rows):
                files.put_json(path, {"at": at, "rows": rest})
            total += weigh(path) - size_before
    return lost


def weigh(path: Path) -> int:
    """Give the bytes of a batch, 0 when it has been delivered meanwhile."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


# --- when to try -------------------------------------------------------------------------------------------


def is_due(folder: Path) -> bool:
    """Check whether something waits whose time has come."""
    return bool(waiting(folder)) and not is_paused(folder)


def is_paused(folder: Path) -> bool:
    """Check whether the last attempt failed so recently that the next one waits."""
    retry = _retry(folder)
    return bool(0 <= retry.get("next_at", 0) - time.time() <= LONGEST_PAUSE_S)


def note_failure(folder: Path, log_again_s: float) -> bool:
    """Note that the database failed; return whether it is time to log it as a warning."""
    retry, now = _retry(folder), time.time()
    tries = retry.get("tries", 0)
    logged_at = retry.get("said_at", 0)
    is_due = not 0 <= now - logged_at < log_again_s
    pause = min(FIRST_PAUSE_S * 2 ** min(tries, 16), LONGEST_PAUSE_S)
    noted = {"tries": tries + 1, "next_at": now + pause, "said_at": now if is_due else logged_at}
    files.put_json(folder / RETRY, noted)
    return is_due


def note_success(folder: Path) -> bool:
    """Note that the database answered; return whether it had failed before."""
    try:
        (folder / RETRY).unlink()
    except FileNotFoundError:
        return False
    return True


def _retry(folder: Path) -> dict[str, Any]:
    try:
        return files.read_json_or_none(folder / RETRY) or {}
    except ArtifactError:
        return {}
