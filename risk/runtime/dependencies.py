"""The packages that the pipeline depends on, with their installed and latest versions.

The latest is asked of pip, so the user's own configuration counts; side by side, within a few
seconds, and once a day. What pip says on stderr is never shown: it may hold the credentials of an index.
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
FRESH_S, ASK_AGAIN_S = 86_400.0, 3_600.0
BUDGET_S, N_AT_ONCE = 5.0, 4
_VERSION = re.compile(r"^\S+ \(([^)]+)\)")


def read_names(requirements: Path) -> list[str]:
    """Read the names in a requirements file."""
    lines = (line.strip() for line in requirements.read_text(encoding="utf-8").splitlines())
    found = (re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", line) for line in lines)
    return [match.group() for match in found if match]


def find_installed(name: str) -> str:
    """Name the installed version."""
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
        Where answers are kept for a day. A silent index is asked again after an hour, one that ran out
        of time at the next run.
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
        silent = set(latest.values()) <= {None, UNKNOWN}
        answers = {name: {"latest": found or UNKNOWN, "at": now} for name, found in latest.items()}
        kept = known | {name: answers[name] for name, found in latest.items() if silent or found is not None}
        files.put_json(cache, {name: kept[name] for name in names if name in kept})
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
    """Say whether an answer still counts; one from the future does not."""
    if entry is None:
        return False
    return bool(0 <= now - entry["at"] < (ASK_AGAIN_S if entry["latest"] == UNKNOWN else FRESH_S))


def ask_latest(names: Iterable[str], budget_s: float) -> dict[str, str | None]:
    """Ask pip for the latest version of each, a few side by side.

    "unknown" where pip could not say, None where it did not answer in time.
    """
    deadline = time.monotonic() + budget_s
    with ThreadPoolExecutor(max_workers=N_AT_ONCE) as pool:
        asked = {name: pool.submit(_ask, name, deadline) for name in names}
        return {name: answer.result() for name, answer in asked.items()}


def _ask(name: str, deadline: float) -> str | None:
    left_s = deadline - time.monotonic()
    if left_s <= 0:
        return None
    quiet = {
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
        "PIP_RETRIES": "0",
        "PIP_QUIET": "0",
        "PIP_VERBOSE": "0",
        "PYTHONWARNINGS": "",  # those of pip are not ours to end it
    }
    try:
        done = subprocess.run(  # noqa: S603  (names come from our own requirements file)
            [sys.executable, "-m", "pip", "index", "versions", name],
            env=os.environ | quiet,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            timeout=left_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None
    match = _VERSION.match(done.stdout)
    return match.group(1) if done.returncode == 0 and match else UNKNOWN
