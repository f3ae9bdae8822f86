"""Index of the rows of a large table: which of some rows it holds, without reading it.

Beside the table lie the digests of its rows, in sorted runs: a new row is looked up in each, and the rows
of a small file cost what the file costs, not what the table costs. A digest is blake2b of the row, 128
bits, with a secret key of this workspace: nobody can craft two rows that have the same one, and that any
two of a billion rows have it by chance is less likely than one in 10^20. So equal digests are equal rows.

The runs can be made again from the table at any time. They count only for a table of the length and digest
that they were made of, in a file that was not modified since; for an earlier state of the table they are
continued, otherwise they are thrown away.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from risk import files
from risk.data.ledger import Ledger, has_prefix, split_records
from risk.digests import BLOCK
from risk.errors import PipelineError

if TYPE_CHECKING:
    import numpy as np

    Digests = tuple[np.ndarray, np.ndarray]  # first and second halves

LEAST_BYTES = 64 * 1024 * 1024  # of a table; a smaller one is read as fast
RUN_ROWS = 4_000_000  # of a run at most: what is sorted at a time
ROWS_AT_ONCE = 100_000
FORMAT = 1
WIDTH = 16


@dataclass(frozen=True)
class IndexFiles:
    """Paths of the table, its runs and the key."""

    data: Path
    index: Path
    key: Path

    def run(self, number: int) -> Path:
        return self.index.with_name(f"{self.index.stem}-{number}.run")

    def runs(self) -> set[Path]:
        """List the runs that are there, wanted or not."""
        return set(self.index.parent.glob(f"{self.index.stem}-*.run"))


@dataclass(frozen=True)
class Run:
    """A file of sorted digests: their first halves in order, then their second halves."""

    number: int
    rows: int
    facts: Sequence[int]


@dataclass(frozen=True)
class RowIndex:
    """The runs of one state of the table."""

    paths: IndexFiles
    key: bytes
    length: int
    digest: str
    facts: Sequence[int]
    runs: tuple[Run, ...]

    @property
    def mark(self) -> dict[str, Any]:
        return {"length": self.length, "digest": self.digest}

    def fits(self, ledger: Ledger) -> bool:
        """Check that these are the rows of the table as it is, not modified outside this pipeline."""
        return self.mark == ledger.mark and self.facts == facts_of(self.paths.data)

    def find(self, records: Sequence[bytes]) -> set[bytes]:
        """Find those of some rows that the table holds."""
        import numpy as np

        first, second = digest_rows(self.key, records)
        order = np.argsort(first)  # so that the runs are gone through from one end to the other
        first, second = first[order], second[order]
        is_present = np.zeros(len(records), dtype=bool)
        for run in self.runs:
            is_present |= _look_up(self.paths.run(run.number), run.rows, first, second)
        return {records[i] for i in order[is_present].tolist()}


def load(paths: IndexFiles) -> RowIndex | None:
    """Load the runs; None where there are none that can be used."""
    try:
        key = paths.key.read_bytes()
        raw = files.read_json(paths.index, "")
        if raw.get("format") != FORMAT or raw.get("key") != fingerprint(key):
            return None
        runs = tuple(Run(**one) for one in raw["runs"])
        index = RowIndex(paths, key, raw["length"], raw["digest"], raw["facts"], runs)
        intact = all(list(run.facts) == facts_of(paths.run(run.number)) for run in runs)
    except (OSError, PipelineError, KeyError, TypeError, ValueError):
        return None
    return index if intact else None


def update(paths: IndexFiles, ledger: Ledger, *, least_bytes: int | None = None) -> None:
    """Bring the runs to the present state of a large table.

    1. Go on from what they hold, where the table still begins with it; else begin again.
    2. Sort what is new into runs, and join runs of like size.
    3. Put the index: from here on the new runs count. Then remove those that it does not name.
    """
    if ledger.length < (LEAST_BYTES if least_bytes is None else least_bytes):
        return
    index = load(paths)
    if index is None or not has_prefix(paths.data, ledger, index.mark):
        index = RowIndex(paths, read_key(paths.key), 0, "", [], ())
    runs = [*index.runs]
    number = 1 + max((run.number for run in runs), default=0)
    for digests in _digest_table(index.key, paths.data, ledger, index.length):
        while runs and runs[-1].rows < 2 * len(digests[0]) and runs[-1].rows + len(digests[0]) <= RUN_ROWS:
            digests = _join([digests, _read_run(paths, runs.pop())])
        runs.append(_write_run(paths.run(number), number, digests))
        number += 1
    content = {
        "format": FORMAT,
        "key": fingerprint(index.key),
        **ledger.mark,
        "facts": facts_of(paths.data),
        "runs": [vars(run) for run in runs],
    }
    files.put_json(paths.index, content)
    for path in paths.runs() - {paths.run(run.number) for run in runs}:
        path.unlink(missing_ok=True)


def _digest_table(key: bytes, data: Path, ledger: Ledger, start: int) -> Iterator[Digests]:
    """Digest the rows after an offset, as many at a time as make a run."""
    parts: list[Digests] = []
    n_rows = 0
    for records in read_records(data, ledger, start):
        parts.append(digest_rows(key, records))
        n_rows += len(records)
        if n_rows >= RUN_ROWS:
            yield _join(parts)
            parts, n_rows = [], 0
    if parts:
        yield _join(parts)


def read_key(path: Path) -> bytes:
    """Read the key of this workspace, or make it."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        import secrets

        key = secrets.token_bytes(hashlib.blake2b.MAX_KEY_SIZE)
        with files.put(path, "wb") as handle:
            os.fchmod(handle.fileno(), 0o600)
            handle.write(key)
        return key


def fingerprint(key: bytes) -> str:
    """Identify a key without revealing it."""
    return hashlib.blake2b(key, digest_size=WIDTH, person=b"which key").hexdigest()


def facts_of(path: Path) -> list[int]:
    """List what changes when a file does: size, times and inode."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def read_records(data: Path, ledger: Ledger, start: int) -> Iterator[list[bytes]]:
    """Read the rows of the table after an offset, some at a time; never the header."""

    def blocks() -> Iterator[bytes]:
        with data.open("rb") as handle:
            handle.seek(start)
            left = ledger.length - start
            while left and (block := handle.read(min(BLOCK, left))):
                left -= len(block)
                yield block

    one_line_each = ledger.lines == ledger.rows + 1
    parts = split_records(blocks(), one_line_each=one_line_each)
    records = (record for part in parts for record in part if record)
    if not start:
        next(records, None)
    while some := list(islice(records, min(RUN_ROWS, ROWS_AT_ONCE))):
        yield some


def digest_rows(key: bytes, records: Iterable[bytes]) -> Digests:
    """Digest rows; two halves of 64 bits each."""
    import numpy as np

    keyed = hashlib.blake2b(digest_size=WIDTH, key=key)

    def digest(record: bytes) -> bytes:
        begun = keyed.copy()  # the key is digested once
        begun.update(record)
        return begun.digest()

    joined = b"".join(map(digest, records))
    halves = np.frombuffer(joined, dtype="<u8").reshape(-1, 2)
    return np.ascontiguousarray(halves[:, 0]), np.ascontiguousarray(halves[:, 1])


def _join(parts: Sequence[Digests]) -> Digests:
    import numpy as np

    return np.concatenate([one for one, _ in parts]), np.concatenate([two for _, two in parts])


def _write_run(path: Path, number: int, digests: Digests) -> Run:
    import numpy as np

    order = np.lexsort((digests[1], digests[0]))
    with files.put(path, "wb") as handle:
        for half in digests:
            handle.write(half[order].tobytes())
    return Run(number, len(order), facts_of(path))


def _read_run(paths: IndexFiles, run: Run) -> Digests:
    import numpy as np

    data = np.fromfile(paths.run(run.number), dtype="<u8")
    return data[: run.rows], data[run.rows :]


def _look_up(path: Path, n_rows: int, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Report which digests a run holds; the file is mapped, only pages that are asked for are read."""
    import numpy as np

    data = np.memmap(path, dtype="<u8", mode="r")
    sorted_first, seconds = data[:n_rows], data[n_rows:]
    places = np.searchsorted(sorted_first, first)
    is_present = np.zeros(len(first), dtype=bool)
    while True:  # once for nearly all: equal first halves of different rows are one in 10^19
        here = np.flatnonzero((places < n_rows) & ~is_present)
        here = here[sorted_first[places[here]] == first[here]]
        if not len(here):
            return is_present
        is_present[here] = seconds[places[here]] == second[here]
        places[here] += 1
