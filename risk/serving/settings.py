"""The values the API is served with."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

MIB = 1024 * 1024


@dataclass(frozen=True)
class ServingSettings:
    """Where the artifacts are, what a request may hold, and the secrets; no path is shown to a client.

    `alert_queues` maps each alert channel to its folder; `timeout_s` is the time a request may take to
    arrive, and its answer to be computed and taken; `token` is what requests from other machines must show,
    `model_key` signs releases.
    """

    config_path: Path
    root: Path
    input_folder: Path
    output_folder: Path
    test_data: Path
    output_model: Path
    prod_deployment: Path
    state_folder: Path
    diagnostics: Path
    report: Path
    at_risk: Path
    tick_state: Path
    outbox: Path
    alert_queues: Mapping[str, Path]
    separator: str | None
    max_body_mb: int
    max_rows: int
    timeout_s: float
    token: str | None = field(repr=False)
    model_key: str | None = field(repr=False)

    @property
    def max_body_bytes(self) -> int:
        return self.max_body_mb * MIB

    @property
    def folders(self) -> tuple[Path, ...]:
        """The configured folders, whose names a message may show."""
        return (
            self.input_folder,
            self.output_folder,
            self.test_data,
            self.output_model,
            self.prod_deployment,
            self.state_folder,
        )


def workspace_id(config_path: Path) -> str:
    """Identify a workspace without revealing where it is."""
    return hashlib.sha256(os.path.realpath(config_path).encode()).hexdigest()[:16]
