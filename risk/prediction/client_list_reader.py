"""Reading of atrisk.csv: pages of it, the clients of one risk level, a search for ids.

The file has one line a client, whoever is most at risk first:

    rank                                from 1
    the id columns, or row              under their own names; row counts the rows of the table from 1
    probability                         four decimals
    probability_low, probability_high   its interval (`intervals`); empty where training rows were too few
    risk                                high, medium, low (`intervals`); high and medium are at risk
    expected_loss                       two decimals; empty without a value
    rank_change                         +3: three places nearer to the top than in the list before
    probability_change                  both empty for clients who were not in the list before
    reason_1, reason_2, reason_3        `reasons`; for the first 10,000 lines
    release, data                       the model, and the state of the table (12 digits)

Every cell is safe for a spreadsheet. An id column that has the name of one of the others is
named `id_NAME`.

The file is read once; a page, a filter and a search take milliseconds for a million clients: the
bytes of the lines are kept, and a page alone is parsed.
"""

from __future__ import annotations

import csv
import io
import mmap
import threading
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from risk import digests, text
from risk.data import ledger
from risk.data.schema import ROW
from risk.errors import ArtifactError, MissingArtifactError

RANK = "rank"
MOVED, NAME = "moved", "name"
REASONS = ("reason_1", "reason_2", "reason_3")
OWN = (
    "probability",
    "probability_low",
    "probability_high",
    "risk",
    "expected_loss",
    "rank_change",
    "probability_change",
    *REASONS,
    "release",
    "data",
)
WHOLE = (RANK, "rank_change")
NUMBERS = (
    *WHOLE,
    "probability",
    "probability_low",
    "probability_high",
    "expected_loss",
    "probability_change",
)
MAX_LINES = 1000
END = "\0"  # no cell can hold it
REMEDY = "run diagnostics.py"


def make_header(ids: Sequence[str]) -> list[str]:
    """Name the columns of the list for a table with these id columns."""
    return [RANK, *(f"id_{name}" if name in (RANK, *OWN) else name for name in ids or [ROW]), *OWN]


@dataclass(frozen=True)
class ClientPage:
    """Some lines of the list, from `offset` of the `n_found` that were asked for on."""

    n_clients: int
    n_found: int
    offset: int
    header: tuple[str, ...]
    lines: bytes = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """Give the lines as data: ids by column, numbers as numbers, None for empty, reasons as a list."""
        rows = csv.reader(io.StringIO(self.lines.decode(), newline=""))
        clients = [read_line(self.header, row) for row in rows]
        counts = {name: getattr(self, name) for name in ("n_clients", "n_found", "offset")}
        return {**counts, "clients": clients}

    def to_csv(self) -> bytes:
        """Give the lines as they are in the file, with its header."""
        return render_header(self.header) + self.lines


def render_header(header: Sequence[str]) -> bytes:
    """Write the first line."""
    return text.render_csv_row([*map(text.escape_for_spreadsheet, header)]).encode()


def read_line(header: Sequence[str], cells: Sequence[str]) -> dict[str, Any]:
    """Read one line of the list as data."""
    n_ids = len(header) - len(OWN) - 1
    by_name: dict[str, Any] = dict(zip((RANK, *OWN), (cells[0], *cells[1 + n_ids :]), strict=True))
    for name in NUMBERS:
        text = by_name[name]
        by_name[name] = None if not text else int(text) if name in WHOLE else float(text)
    reasons = [by_name.pop(name) for name in REASONS]
    ids = dict(zip(header[1 : 1 + n_ids], (cell or None for cell in cells[1 : 1 + n_ids]), strict=True))
    return {"rank": by_name.pop(RANK), "id": ids, **by_name, "reasons": [text for text in reasons if text]}


@dataclass(frozen=True)
class ClientList:
    """The list as it was read.

    Attributes
    ----------
    stamp : tuple
        Tells one state of the file from another.
    lines : bytes-like
        The file, mapped into memory: pages that nobody asks for need not be there.
    starts : ndarray of int, shape (n_clients + 1,)
        Where each line begins, and the last ends.
    risk : ndarray of str, shape (n_clients,)
    rise : ndarray of int, shape (n_clients,)
        How many places each has come nearer to the top; 0 for who is new.
    names : str
        The ids of all clients, folded for searching, with a NUL after each client.
    name_starts : list of int
        Where the ids of each client begin in it.
    """

    stamp: tuple[int, ...]
    header: tuple[str, ...]
    lines: mmap.mmap = field(repr=False)
    starts: np.ndarray = field(repr=False)
    risk: np.ndarray = field(repr=False)
    rise: np.ndarray = field(repr=False)
    names: str = field(repr=False)
    name_starts: list[int] = field(repr=False)

    def page(
        self,
        *,
        offset: int = 0,
        limit: int = 50,
        risk: str | None = None,
        search: str | None = None,
        order: str = RANK,
    ) -> ClientPage:
        """Give some lines, in order.

        Parameters
        ----------
        offset, limit : int
            From which of the matching lines on, and how many; 1,000 at most.
        risk : str, optional
            "high", "medium" or "low": only clients of this risk.
        search : str, optional
            Only clients whose ids hold this text, in any case.
        order : {"rank", "moved", "name"}, default="rank"
            Most at risk first, or who came furthest up first, or by id.
        """
        chosen = self._search(search) if search else np.arange(len(self.risk))
        if risk is not None:
            chosen = chosen[self.risk[chosen] == risk]
        if order == MOVED:
            chosen = chosen[np.argsort(-self.rise[chosen], kind="stable")]
        elif order == NAME:
            chosen = chosen[np.argsort(self._by_name[chosen], kind="stable")]
        wanted = chosen[max(offset, 0) :][: min(max(limit, 0), MAX_LINES)].tolist()
        lines = b"".join(self.lines[self.starts[k] : self.starts[k + 1]] for k in wanted)
        return ClientPage(len(self.risk), len(chosen), max(offset, 0), self.header, lines)

    @cached_property
    def _by_name(self) -> np.ndarray:
        """Give each client its place by id."""
        ids = self.names.split(END)[:-1]
        places = np.empty(len(ids), dtype=np.int64)
        places[sorted(range(len(ids)), key=ids.__getitem__)] = np.arange(len(ids))
        return places

    def _search(self, text: str) -> np.ndarray:
        matches: list[int] = []
        sought, at = text.casefold().replace(END, ""), 0
        while (at := self.names.find(sought, at)) >= 0:
            matches.append(bisect_right(self.name_starts, at) - 1)
            at = self.name_starts[matches[-1] + 1]
        return np.array(matches, dtype=np.int64)


def load_client_list(path: Path) -> ClientList:
    """Read the list.

    Raises
    ------
    MissingArtifactError
        When there is none yet.
    ArtifactError
        When it is damaged.
    """
    stamp = stamp_of(path)
    try:
        with path.open("rb") as handle:
            lines = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
            return _read(stamp, lines, iter(lambda: handle.read(digests.BLOCK), b""))
    except (ValueError, csv.Error) as error:
        raise ArtifactError(f"{path}: is damaged ({error}); {REMEDY}") from error


def stamp_of(path: Path) -> tuple[int, ...]:
    """Tell one state of the file from another."""
    try:
        status = path.stat()
    except FileNotFoundError as error:
        raise MissingArtifactError(f"{path}: no such file; {REMEDY}") from error
    return status.st_ino, status.st_size, status.st_mtime_ns


def _read(stamp: tuple[int, ...], lines: mmap.mmap, blocks: Iterable[bytes]) -> ClientList:
    records = (record for some in ledger.split_records(blocks) for record in some)
    first = next(records)
    header = _cells(first)
    n_ids = len(header) - len(OWN) - 1
    if header[:1] != [RANK] or n_ids < 1 or header[1 + n_ids :] != list(OWN):
        raise ValueError("it has another header")
    starts, risk, rise, names, name_starts = [len(first) + 1], [], [], [], [0]
    for record in records:
        cells = _cells(record)
        if len(cells) != len(header):
            raise ValueError(f"line {len(starts) + 1} has {len(cells)} cells")
        starts.append(starts[-1] + len(record) + 1)
        risk.append(cells[1 + n_ids + OWN.index("risk")])
        rise.append(int(cells[1 + n_ids + OWN.index("rank_change")] or 0))
        names.append("\n".join(cells[1 : 1 + n_ids]).casefold() + END)
        name_starts.append(name_starts[-1] + len(names[-1]))
    return ClientList(
        stamp,
        tuple(header),
        lines,
        np.array(starts),
        np.array(risk, dtype=str),
        np.array(rise, dtype=np.int64),
        "".join(names),
        name_starts,
    )


def _cells(record: bytes) -> list[str]:
    text = record.decode()
    return next(csv.reader([text], strict=True)) if '"' in text else text.split(",")


class ClientListCache:
    """The list as it is now: read once, and again when the file is another one; safe between threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reading = threading.Lock()
        self._list: ClientList | None = None

    def get(self) -> ClientList:
        """Give the list as it is now; raises what `load` does."""
        stamp, known = stamp_of(self._path), self._list
        if known is not None and known.stamp == stamp:
            return known
        with self._reading:
            if self._list is None or self._list.stamp != stamp:
                self._list = load_client_list(self._path)
            return self._list
