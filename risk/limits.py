"""Limits on input files, and on the memory used for tables."""

from pathlib import Path
from typing import NamedTuple

KIB, MIB = 1024, 1024 * 1024


class Room(NamedTuple):
    """How much memory a table may take (None: the default), and where the rest is spilled."""

    spill: Path
    memory_limit: str | None = None


class Limits(NamedTuple):
    """Limits of one file; a file that exceeds one is refused as a whole, before a row of it is read.

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
        """Describe that a file exceeds one of these, and where the limit is set."""
        return f"{shown}, limits.{name} in config.json allows {getattr(self, name):,}"
