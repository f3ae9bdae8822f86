"""What stands in a workspace, as users and readers see it: bytes, history, the deployed release.

Seen from outside only: files, SQL, and the links of the deployment folder; no function of the pipeline
is asked whether the pipeline is right, but for the reader that must refuse what is torn.
"""

import json
import sqlite3
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

from makers import make_clients
from workspaces import Workspace

from config import load_config
from risk.data import row_index
from risk.data.ledger import load_ready_ledger
from risk.errors import ArtifactError, MissingArtifactError
from risk.model import registry

N_ROWS = 60
NAME = "work"  # the folder in which a fault strikes
# Runs are dated, and what is mended later must have the same date: the day of every run begins at noon.
TO_NOON_S = 43_200 - time.time() % 86_400
# What tells of times: these parts differ between any two runs.
TIMED = {
    "models/diagnostics.json": ("timings", "dependencies_at", "trends", "history"),
    "models/report.json": ("date", "subtitle", "tables", "trends_said", "trends_table", "trends"),
    ".state/inputs.json": ("files",),
}
DRAWN = (
    "models/summary_report.pdf",
    "models/report.html",
    "models/timetrends.png",
    "models/trends.json",
    "models/apireturns.txt",
)
LARGE = "as-a-large-table"  # this file lets a small table have digests of its rows beside it
KEYED = ("ingesteddata/.finaldata.known", ".state/rows.key")  # with a key of its own each
KEPT_STATE = ("source", "marks", "row_key", "other_key", "release", "verdict", "impossible", "pending")
HISTORY = (
    "ticks",
    "ingested_files",
    "scores",
    "missing_values",
    "drift",
    "column_drift",
    "gates",
    "estimates",
    "releases",
    "client_lists",
)
ONCE = ("ticks", "ingested_files", "missing_values", "drift", "column_drift", "gates", "client_lists")


class Torn(Exception):
    """A reader saw what must never be seen, or a run ended where no run may end."""


def make(root: Path) -> Workspace:
    """Make a workspace of the old world: one file of clients, and test data."""
    workspace = Workspace(root, None)
    workspace.keep_packages(max(0.0, -TO_NOON_S))  # known by the real clock and by that of the runs
    workspace.put("sourcedata/a.csv", make_clients(N_ROWS, "a"))
    workspace.put("testdata/t.csv", make_clients(N_ROWS, "t"))
    return workspace


def add(root: Path, name: str, world: str = "old", n_rows: int = N_ROWS) -> None:
    """Add a file of clients of one world; in the clear one chance has no part, and no model looks worse."""
    rows = make_clients(n_rows, name, "old" if world == "clear" else world)
    if world == "clear":
        rows = [[*row[:3], str(int(int(row[1]) < 40))] for row in rows]
    Workspace.put(SimpleNamespace(root=root), f"sourcedata/{name}.csv", rows)


def configure(root: Path, **keys) -> None:
    """Change keys of config.json."""
    path = root / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | keys))


def grow(root: Path) -> None:
    """Let the table count as a large one: digests of its rows beside it, in many runs."""
    (root / LARGE).touch()


def count_as_large(root: Path) -> None:
    """Let this process make digests for `root`, if they are wanted there."""
    if (root / LARGE).exists():
        row_index.LEAST_BYTES, row_index.RUN_ROWS = 0, 64


def copy(source: Path, target: Path) -> Path:
    """Copy a workspace with its links and times."""
    subprocess.run(["rm", "-rf", target], check=True)
    subprocess.run(["cp", "-a", source, target], check=True)
    return target


# --- what readers see --------------------------------------------------------------------------------------


def is_named(text: str) -> bool:
    """Say whether a text names a path in the folder in which a fault strikes."""
    return f"/{NAME}/" in text


def look(root: Path) -> dict[str, bytes] | None:
    """Read what the visible links of the deployment folder lead to, as a stranger would; None before any."""
    folder = root / "production_deployment"
    found = {}
    for name in (*registry.NAMES, registry.MANIFEST):
        try:
            found[name] = (folder / name).read_bytes()
        except FileNotFoundError:
            continue
    return found or None


def see(root: Path, whole: list[dict[str, bytes] | None]) -> int:
    """Say which of the `whole` releases a reader sees.

    Raises
    ------
    Torn
        When it sees none of them, or the verified load does not say the same.
    """
    seen = look(root)
    if seen not in whole:
        raise Torn(f"the deployment folder shows none of {len(whole)} releases whole: {describe(seen)}")
    try:
        files = registry.load(root / "production_deployment").files
    except MissingArtifactError:
        files = None
    except ArtifactError as error:
        raise Torn(f"a verified load refuses what is deployed: {error}") from error
    if files != (seen and {name: seen[name] for name in registry.NAMES}):
        raise Torn("a verified load gives other bytes than the visible files")
    return whole.index(seen)


def describe(seen: dict[str, bytes] | None) -> str:
    return ", ".join(f"{name} {len(data)} bytes" for name, data in (seen or {}).items()) or "nothing"


# --- what is the end of a run ------------------------------------------------------------------------------


def facts(root: Path) -> dict[str, object]:
    """Give everything that must be equal at the end of two runs, by name."""
    found: dict[str, object] = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if name.startswith(("logs/", "records.db", *KEYED)) or path.is_dir():
            continue
        if path.is_symlink():
            found[name] = str(path.readlink())
        elif name in DRAWN:
            data = path.read_bytes().strip()
            found[name] = data[:4], data[-4:]
        elif name == ".state/tick.json":
            state = json.loads(path.read_bytes())
            found[name] = {key: state[key] for key in KEPT_STATE} | {"files": digests(state["files"])}
        elif name in TIMED:
            told = json.loads(path.read_bytes())
            found[name] = {key: value for key, value in told.items() if key not in TIMED[name]}
        else:
            found[name] = path.read_bytes()
    return found | history(root) | {"wrong digests": say_digests(root) == "wrong"}


def say_digests(root: Path) -> str:
    """Say whether the digests beside a table are right; none are no fault, they can be made again."""
    config = load_config(root / "config.json")
    held = row_index.load(config.known_rows)
    ledger = load_ready_ledger(config.ledger) if held else None
    if held is None or not held.fits(ledger):
        return "none"
    parts = row_index.read_records(config.final_data, ledger, 0)
    records = {record for part in parts for record in part}
    right = held.find([*records]) == records and sum(run.rows for run in held.runs) == len(records)
    return "right" if right else "wrong"


def digests(files: dict[str, list]) -> dict[str, str]:
    return {name: facts[-1] for name, facts in files.items()}


def history(root: Path) -> dict[str, object]:
    """Give what the history says: every row but for its time; how often, where once is right."""
    found: dict[str, object] = {}
    path = root / "records.db"
    if not path.exists():
        return {f"history/{name}": [] for name in HISTORY}
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
        for name in HISTORY:
            cursor = connection.execute(f"select * from {name}")
            names = [column[0] for column in cursor.description]
            rows = [
                tuple(cell for column, cell in zip(names, row, strict=True) if column not in ("id", "at"))
                for row in cursor
            ]
            found[f"history/{name}"] = sorted(rows if name in ONCE else {*rows}, key=repr)
    connection.close()
    return found


def differences(expected: dict[str, object], found: dict[str, object]) -> list[str]:
    """Name what is not as expected."""
    names = sorted(expected.keys() | found.keys())
    return [tell(name, expected, found) for name in names if expected.get(name) != found.get(name)]


def tell(name: str, expected: dict[str, object], found: dict[str, object]) -> str:
    if name not in found or name not in expected:
        return f"{name} {'is missing' if name not in found else 'is left over'}"
    if isinstance(expected[name], dict):
        keys = [key for key in expected[name] if expected[name][key] != found[name].get(key)]
        return f"{name} differs in {keys}: {[(expected[name][key], found[name].get(key)) for key in keys]}"[
            :600
        ]
    if isinstance(expected[name], list):
        lost = [row for row in expected[name] if row not in found[name]]
        more = [row for row in found[name] if row not in expected[name]]
        counts = f"{len(expected[name])} rows expected, {len(found[name])} found"
        return f"{name}: {counts}, lost {lost}, more {more}"[:600]
    return f"{name} differs"
