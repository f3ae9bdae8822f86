"""The compiled table and its ledger.

`finaldata.csv` holds every accepted unique row; `.finaldata.json`, the ledger, is the only truth
about it: how many bytes count, their digest, the columns, and what each file gave. Standard library
only; the rows themselves are never held, history is streamed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from risk import text
from risk.digests import BLOCK, TableDigest, prefix_digest
from risk.errors import ArtifactError, MissingArtifactError
from risk.files import append, put, put_json, read_json_or_none

FORMAT = 1


class OpenEnd(NamedTuple):
    """The last line of a file, which has no line end: at which offset it begins, and its text."""

    length: int
    tail: str


class FileEntry(NamedTuple):
    """What one file gave; `refused` says why it gave nothing.

    `batch` numbers the runs that took files up: it is the order of first arrival. `open_end` is kept where
    the last line may have been cut off.
    """

    name: str
    batch: int
    sha256: str
    read: int = 0
    new: int = 0
    duplicate: int = 0
    rejected: int = 0
    unlabelled: int = 0
    refused: str | None = None
    open_end: OpenEnd | None = None

    @property
    def is_lost(self) -> bool:
        """Check whether no row could be ingested: refused whole, or row by row."""
        return self.refused is not None or 0 < self.read == self.rejected


@dataclass(frozen=True)
class Ledger:
    """The record of the compiled table; `schema` is None before its first row.

    `rebuilding` is set while the table is being compiled again, so that a crash in between is seen.
    `lines` counts line ends: one more than rows, unless a cell holds some. `next` is the ledger of a shorter
    table that is about to take this one's place.
    """

    source: str
    row_key: str
    schema: Mapping[str, Any] | None = None
    length: int = 0
    digest: str = ""
    blocks: tuple[str, ...] = ()
    lines: int = 0
    rejected_length: int = 0
    rows: int = 0
    rows_unlabelled: int = 0
    files: tuple[FileEntry, ...] = field(default=())
    rebuilding: bool = False
    next: Ledger | None = None

    @property
    def mark(self) -> dict[str, Any]:
        """Name the bytes of the table as they are now."""
        return {"length": self.length, "digest": self.digest}


def load_ledger(path: Path) -> Ledger | None:
    """Load the ledger, or None when nothing was ingested yet."""
    raw = read_json_or_none(path)
    if raw is None:
        return None
    if raw.pop("format", None) != FORMAT:
        raise ArtifactError(f"{path}: was written by another version; run ingestion.py --rebuild")
    return _from_json(raw)


def _from_json(raw: dict[str, Any]) -> Ledger:
    entries = (FileEntry(**entry) for entry in raw.pop("files"))
    files = tuple(e._replace(open_end=OpenEnd(*e.open_end)) if e.open_end else e for e in entries)
    following = raw.pop("next", None)
    return Ledger(
        files=files,
        blocks=tuple(raw.pop("blocks")),
        next=_from_json(following) if following else None,
        **raw,
    )


def put_ledger(path: Path, ledger: Ledger) -> None:
    """Put the ledger."""
    put_json(path, {"format": FORMAT, **_to_json(ledger)}, is_long=True)


def _to_json(ledger: Ledger) -> dict[str, Any]:
    """Give what a ledger holds; what few files and ledgers have is left out of the others."""
    entries = [entry._asdict() for entry in ledger.files]
    for entry in entries:
        if entry["open_end"] is None:
            del entry["open_end"]
    raw = {**vars(ledger), "files": entries}
    following = raw.pop("next")
    return raw | ({"next": _to_json(following)} if following else {})


def load_ready_ledger(path: Path) -> Ledger:
    """Load the ledger of a table that can be used."""
    ledger = load_ledger(path)
    if ledger is None or ledger.schema is None or ledger.rebuilding or ledger.next:
        raise MissingArtifactError(f"{path.parent}: no ingested table; run ingestion.py first")
    return ledger


def has_prefix(path: Path, ledger: Ledger, mark: Mapping[str, Any] | None) -> bool:
    """Say whether the table still begins with the bytes that `mark` names."""
    if not mark or mark["length"] > ledger.length:
        return False
    digest = prefix_digest(path, mark["length"], list(ledger.blocks))
    return digest is not None and digest == mark["digest"]


def render_files(files: Iterable[FileEntry]) -> str:
    """Render ingestedfiles.txt: one line a file that was ingested, aligned for a reader."""
    rows: list[tuple[object, ...]] = [("name", "rows", "new", "duplicate", "rejected", "sha256")]
    for e in files:
        if e.refused is None:
            rows.append((text.escape_for_terminal(e.name), e.read, e.new, e.duplicate, e.rejected, e.sha256))
    widths = [max(map(len, map(str, column))) for column in zip(*rows, strict=True)]
    line = "%-{}s  %{}s  %{}s  %{}s  %{}s  %s\n".format(*widths)
    return "".join([line % row for row in rows])


def known_records(path: Path, ledger: Ledger, fresh: Sequence[bytes]) -> set[bytes]:
    """Stream the table once and return those of the fresh records that it holds already.

    Raises
    ------
    ArtifactError
        When the table is not what the ledger says: it was modified outside this pipeline.
    """
    wanted, held = set(fresh), set()
    digest = TableDigest()
    try:
        handle = path.open("rb")
    except FileNotFoundError as error:
        raise ArtifactError(f"{path}: is missing; run ingestion.py --rebuild") from error
    with handle:
        blocks = _blocks(handle, ledger.length, digest)
        for records in split_records(blocks, one_line_each=ledger.lines == ledger.rows + 1):
            held |= wanted.intersection(records)
    if digest.hexdigest() != ledger.digest:
        raise ArtifactError(f"{path}: was modified outside this pipeline; run ingestion.py --rebuild")
    return held


def _blocks(handle: Any, length: int, digest: TableDigest) -> Iterator[bytes]:
    while digest.length < length:
        data = handle.read(min(BLOCK, length - digest.length))
        if not data:
            return
        digest.update(data)
        yield data


def split_records(blocks: Iterable[bytes], *, one_line_each: bool = False) -> Iterator[list[bytes]]:
    """Split blocks of our own dialect into records; a quoted newline does not end one."""
    carry = b""
    for block in blocks:
        data = carry + block
        lines = data.split(b"\n")
        if one_line_each or b'"' not in data:
            carry = lines.pop()
            yield lines
            continue
        records, open_record = [], b""
        for line in lines[:-1]:
            record = open_record + b"\n" + line if open_record else line
            if record.count(b'"') % 2:
                open_record = record
            else:
                records.append(record)
                open_record = b""
        carry = open_record + b"\n" + lines[-1] if open_record else lines[-1]
        yield records
    if carry:
        yield [carry]


def grow(path: Path, ledger: Ledger, chunks: Iterable[bytes], **facts: Any) -> Ledger:
    """Append `chunks` after the committed length and return the ledger that commits them.

    A table that is begun again is a new file: who reads the old one meanwhile reads it whole.
    """
    digested = _Digested(chunks, TableDigest(ledger.blocks[: ledger.length // BLOCK]))
    if ledger.length:
        with path.open("rb") as handle:
            handle.seek(digested.digest.length)
            for _ in _blocks(handle, ledger.length, digested.digest):
                pass
        length = append(path, digested, committed=ledger.length)
    else:
        with put(path, "wb") as handle:
            handle.writelines(digested)
            length = handle.tell()
    return replace(
        ledger,
        length=length,
        digest=digested.digest.hexdigest(),
        blocks=tuple(digested.digest.blocks),
        lines=ledger.lines + digested.lines,
        **facts,
    )


class _Digested:
    """Chunks on their way to the table, digested and their line ends counted."""

    def __init__(self, chunks: Iterable[bytes], digest: TableDigest) -> None:
        self._chunks = chunks
        self.digest = digest
        self.lines = 0

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self.digest.update(chunk)
            self.lines += chunk.count(b"\n")
            yield chunk
