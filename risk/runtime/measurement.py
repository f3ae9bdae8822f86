"""Measurement of ingestion and training: both run again in a scratch copy of the workspace."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from risk.errors import DatasetError
from risk.files import put_json, read_json
from risk.runtime.settings import SECRETS, Config

MEASURED = ("ingestion", "training")


def measure_timings(config: Config, scripts: Path) -> dict[str, Any]:
    """Measure the scripts of a folder; the live workspace is only read.

    Raises
    ------
    DatasetError
        When a script fails.
    """
    from risk.history import store

    environment = {name: value for name, value in os.environ.items() if name not in SECRETS}
    with tempfile.TemporaryDirectory(prefix="risk-measure-") as scratch:
        copy = write_scratch_config(config, Path(scratch))
        for name in MEASURED:
            command = [sys.executable, str(scripts / f"{name}.py"), "--config", str(copy), "-q"]
            done = subprocess.run(  # noqa: S603  (our own script)
                command, env=environment, capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise DatasetError(f"{name} could not be measured: {done.stderr.strip()}")
        with store.open(f"sqlite:///{copy.parent / 'records.db'}") as history:
            return history.latest_timings()


def write_scratch_config(config: Config, scratch: Path) -> Path:
    """Write a config.json whose outputs lie in `scratch` and whose inputs are the live ones."""
    raw = read_json(config.path, "name one with --config")
    raw |= {
        "input_folder_path": str(config.input_folder),
        "test_data_path": str(config.test_data),
        "output_folder_path": "ingesteddata",
        "output_model_path": "models",
        "prod_deployment_path": "production_deployment",
        "database_url": "sqlite:///records.db",
    }
    path = scratch / "config.json"
    put_json(path, raw)
    return path
