"""Digests of bytes, and of a table that grows.

Standard library only.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import hashlib


BLOCK = 4 * 1024 * 1024


def new_sha256(data: bytes = b"") -> hashlib._Hash:
    """Begin a digest; imported here, because an idle run digests nothing."""
    import hashlib

    return hashlib.sha256(data)


def sha256(data: bytes) -> str:
    """Digest bytes that are in memory."""
    return new_sha256(data).hexdigest()


class TableDigest:
    """Digest of a growing table: sha256 over the sha256 of its 4 MiB blocks.

    Only the last, unfilled block is read again when rows are appended; `blocks` are the hex digests
    of the full ones.
    """

    def __init__(self, blocks: Iterable[str] = ()) -> None:
        self.blocks = list(blocks)
        self.length = len(self.blocks) * BLOCK
        self._last = new_sha256()

    def update(self, data: bytes) -> None:
        """Take in the next bytes of the table."""
        view = memoryview(data)
        while view:
            room = BLOCK - self.length % BLOCK
            part, view = view[:room], view[room:]
            self._last.update(part)
            self.length += len(part)
            if self.length % BLOCK == 0:
                self.blocks.append(self._last.hexdigest())
                self._last = new_sha256()

    def hexdigest(self) -> str:
        """Digest what was taken in so far."""
        parts = [*self.blocks, *([self._last.hexdigest()] if self.length % BLOCK else [])]
        return sha256("\n".join(parts).encode())


def prefix_digest(path: Path, length: int, blocks: list[str]) -> str | None:
    """Digest the first `length` bytes, trusting `blocks`; None when the file is shorter."""
    digest = TableDigest(blocks[: length // BLOCK])
    try:
        with path.open("rb") as handle:
            handle.seek(digest.length)
            while digest.length < length:
                data = handle.read(min(BLOCK, length - digest.length))
                if not data:
                    return None
                digest.update(data)
    except FileNotFoundError:
        return None
    return digest.hexdigest()
