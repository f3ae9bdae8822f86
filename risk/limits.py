"""How much may somebody drop for us, and how much room may the work on it take?"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

KIB, MIB = 1024, 1024 * 1024


class Room(NamedTuple):
    """How much memory a table may take, None for the default, and where it overflows."""

    spill: Path
    memory_limit: str | None = None


class Limits(NamedTuple):
    """What no file may go beyond; a file that does is refused whole, before a row of it is read.

    The section `limits` of config.json, with its defaults.
    """

    max_file_mb: int = 4096
    max_header_kb: int = 1024
    max_cell_kb: int = 1024
    max_columns: int = 10_000
    max_rows: int = 100_000_000

    @property
    def file_bytes(self) -> int:
        return self.max_file_mb * MIB

    @property
    def header_bytes(self) -> int:
        return self.max_header_kb * KIB

    @property
    def cell_length(self) -> int:
        return self.max_cell_kb * KIB

    def exceed(self, name: str, shown: str) -> str:
        """Say that a file goes beyond one of these, and where that limit stands."""
        return f"{shown}, limits.{name} in config.json allows {getattr(self, name):,}"
