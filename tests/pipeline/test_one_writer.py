"""All writing goes through the four verbs: the system calls of real runs are looked at, one by one."""

import os
import sys
from pathlib import Path

import pytest
from faults import trace
from makers import make_clients

from risk.engines import base

ROOT = Path(__file__).resolve().parents[2]
WRITES = {
    "a fresh tick": ["fullprocess.py"],
    "a tick with drift": ["fullprocess.py"],
    "a large file by hand": ["ingestion.py"],
    "a deployment by hand": ["deployment.py"],
    "a rollback": ["deployment.py", "--rollback"],
    "dbsetup": ["dbsetup.py"],
}
READS = [["fullprocess.py", "--dry-run"], ["deployment.py", "--list"], ["dbsetup.py", "--check"]]


@pytest.fixture
def traced(old_world, tmp_path):
    """Run a script of the old world under strace; give what it changed."""
    reason = trace.why_not()
    if reason:
        pytest.skip(reason)
    environment = os.environ | {"MPLCONFIGDIR": str(tmp_path / "matplotlib")}

    def run(name, command):
        command = [sys.executable, ROOT / command[0], "--config", old_world.config_path, *command[1:]]
        code, changes = trace.run(command, tmp_path / name, env=environment, capture_output=True)
        assert code == 0
        return changes

    return run


@pytest.mark.slow
def test_nothing_in_the_workspace_is_written_but_through_the_four_verbs(old_world, traced, tmp_path):
    seen = {}
    for name, command in WRITES.items():
        if name == "a tick with drift":
            old_world.put("sourcedata/c.csv", make_clients(300, "c", "new"))
        if name == "a large file by hand":
            old_world.put("sourcedata/d.csv", make_clients(12_000, "d", "new"))
            assert (old_world.root / "sourcedata" / "d.csv").stat().st_size > base.SMALL_BYTES
        seen[name] = traced(name, command)
        assert trace.judge(seen[name], old_world.root) == [], name
        assert [change for change in seen[name] if not change.paths[-1].startswith(f"{tmp_path}/")] == [], (
            name
        )
    # The trace has eyes: each verb, the history, the log and DuckDB's spill were seen where they must be.
    for name in ("a fresh tick", "a tick with drift"):
        told = {(change.call, Path(change.paths[-1]).name) for change in seen[name]}
        assert {("rename", "tick.json"), ("rename", "..data"), ("write", "pipeline.log")} <= told
        assert ("pwrite64", "records.db-wal") in told
    for name in ("a tick with drift", "a large file by hand"):
        assert "finaldata.csv" in {Path(change.paths[-1]).name for change in seen[name]}, name
    for name in ("a fresh tick", "a large file by hand"):
        told = {(change.call, Path(change.paths[-1]).name) for change in seen[name]}
        assert ("pwrite64", ".tmp-fresh.csv") in told, name
    for name in ("a deployment by hand", "a rollback"):
        assert any(change.call == "rename" for change in seen[name]), name
    assert seen["dbsetup"] != []


def test_what_only_looks_changes_nothing(old_world, traced):
    old_world.tick()
    for command in READS:
        changes = traced(" ".join(command), command)
        touched = {Path(change.paths[-1]).name for change in changes}
        touched = {name for name in touched if not trace.DATABASE.fullmatch(name)}
        assert touched <= {"pipeline.log"}, command


@pytest.mark.parametrize(
    ("planted", "call"),
    [
        ("open(root + '/models/latestscore.txt', 'w').write('1')", "open"),
        ("os.open(root + '/ingesteddata/finaldata.csv', os.O_WRONLY)", "open"),
        ("os.truncate(root + '/ingesteddata/finaldata.csv', 5)", "truncate"),
        ("os.rename(root + '/models/metrics.json', root + '/models/other.json')", "rename"),
        ("os.unlink(root + '/models/metrics.json')", "unlink"),
        ("os.symlink('x', root + '/production_deployment/new')", "symlink"),
        ("os.chmod(root + '/models', 0o777)", "chmod"),
        ("os.utime(root + '/models/metrics.json')", "utimens"),
        ("os.mkdir(root + '/models/more')", "mkdir"),
        ("mmap.mmap(os.open(root + '/.state/tick.json', os.O_RDWR), 0)", "mmap"),
    ],
)
def test_a_writer_beside_the_verbs_is_seen(old_world, tmp_path, planted, call):
    """The control: each planted breach is named."""
    reason = trace.why_not()
    if reason:
        pytest.skip(reason)
    for name in ("models/metrics.json", "ingesteddata/finaldata.csv", ".state/tick.json"):
        old_world.put(name, [["x"]])
    (old_world.root / "production_deployment").mkdir()
    code = f"import mmap, os; root = {str(old_world.root)!r}; {planted}"
    done, changes = trace.run([sys.executable, "-c", code], tmp_path / "trace")
    assert done == 0
    assert call in {wrong.split()[0] for wrong in trace.judge(changes, old_world.root)}
