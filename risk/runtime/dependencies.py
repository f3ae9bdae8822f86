"""The packages that the pipeline depends on, with their installed and latest versions.

The latest is asked of pip, so the user's own configuration counts; in parallel, within a few seconds, and
once a day. What pip writes to stderr is never shown: it may hold the credentials of an index.
Standard library only.
"""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any

from risk import files
from risk.errors import ArtifactError

UNKNOWN = "unknown"
FRESH_S, RETRY_AFTER_S = 86_400.0, 3_600.0
BUDGET_S, N_PARALLEL = 5.0, 4
_VERSION = re.compile(r"^\S+ \(([^)]+)\)")


def read_names(requirements: Path) -> list[str]:
    """Read the names in a requirements file."""
    lines = (line.strip() for line in requirements.read_text(encoding="utf-8").splitlines())
    matches = (re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", line) for line in lines)
    return [match.group() for match in matches if match]


def find_installed(name: str) -> str:
    """Find the installed version."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def list_packages(
    requirements: Path, cache: Path, *, budget_s: float = BUDGET_S
) -> tuple[list[dict[str, str]], str]:
    """List module, installed and latest version of every requirement.

    Parameters
    ----------
    requirements : Path
        A pip requirements file.
    cache : Path
        Where answers are kept for a day. An index that did not answer is asked again after an hour, one
        that ran out of time at the next run.
    budget_s : float, default=5.0
        Seconds after which unanswered questions become "unknown".

    Returns
    -------
    packages : list of {"module", "installed", "latest"}
    asked_at : str
        UTC time of the oldest answer shown.
    """
    names = read_names(requirements)
    now = time.time()
    known = read_cache(cache)
    stale = [name for name in names if not is_fresh(known.get(name), now)]
    if stale:
        latest = ask_latest(stale, budget_s)
        is_silent = set(latest.values()) <= {None, UNKNOWN}
        answers = {name: {"latest": version or UNKNOWN, "at": now} for name, version in latest.items()}
        to_cache = {
            name: answers[name] for name, version in latest.items() if is_silent or version is not None
        }
        cached = known | to_cache
        files.put_json(cache, {name: cached[name] for name in names if name in cached})
        known |= answers
    packages = [
        {"module": name, "installed": find_installed(name), "latest": known[name]["latest"]} for name in names
    ]
    oldest = min((known[name]["at"] for name in names), default=now)
    return packages, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(oldest))


def read_cache(cache: Path) -> dict[str, Any]:
    """Read the kept answers; a damaged cache is no cache."""
    try:
        raw = files.read_json_or_none(cache) or {}
    except ArtifactError:
        return {}
    return {name: entry for name, entry in raw.items() if _is_answer(entry)}


def _is_answer(entry: Any) -> bool:
    if not isinstance(entry, dict):
        return False
    latest, at = entry.get("latest"), entry.get("at")
    return isinstance(latest, str) and isinstance(at, int | float) and math.isfinite(at)


def is_fresh(entry: Mapping[str, Any] | None, now: float) -> bool:
    """Report whether an answer is recent enough; one from the future is not."""
    if entry is None:
        return False
    return bool(0 <= now - entry["at"] < (RETRY_AFTER_S if entry["latest"] == UNKNOWN else FRESH_S))


def ask_latest(names: Iterable[str], budget_s: float) -> dict[str, str | None]:
    """Ask pip for the latest version of each, a few in parallel.

    "unknown" where pip knows none, None where it did not answer in time.
    """
    deadline = time.monotonic() + budget_s
    with ThreadPoolExecutor(max_workers=N_PARALLEL) as pool:
        pending = {name: pool.submit(_ask, name, deadline) for name in names}
        return {name: answer.result() for name, answer in pending.items()}


def _ask(name: str, deadline: float) -> str | None:
    left_s = deadline - time.monotonic()
    if left_s <= 0:
        return None
    settings = {
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
        "PIP_RETRIES": "0",
        "PIP_QUIET": "0",
        "PIP_VERBOSE": "0",
        "PYTHONWARNINGS": "",  # a warning of pip must not end it
    }
    try:
        process = subprocess.run(  # noqa: S603  (names come from requirements.txt)
            [sys.executable, "-m", "pip", "index", "versions", name],
            env=os.environ | settings,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            timeout=left_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None
    match = _VERSION.match(process.stdout)
    return match.group(1) if process.returncode == 0 and match else UNKNOWN
