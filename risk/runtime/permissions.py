"""Warnings about folders that any user of the machine may write to."""

from __future__ import annotations

from pathlib import Path

from risk.model import registry
from risk.runtime import logs
from risk.runtime.settings import Config


def warn_of_open_folders(config: Config) -> None:
    """Warn of folders in which any user could plant a model or a script for us."""
    here = Path(__file__).resolve().parents[2]
    for folder in registry.find_writable_by_all(
        (config.prod_deployment, config.output_model, config.root, here)
    ):
        import shlex  # only where there is something to say

        logs.log("security").warning(
            "%s: every user may write here, so every user decides what runs; run: chmod o-w %s",
            folder,
            shlex.quote(str(folder)),
        )
