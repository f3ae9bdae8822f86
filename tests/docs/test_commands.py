"""What the pages show can be run: each command of docs/, beside the shipped data."""

import json
import shlex
import shutil
import sqlite3
import subprocess
from pathlib import Path

import pytest
from pages import ROOT, SUBJECTS, list_blocks, list_commands, read
from workspaces import SCRIPTS, keep_packages

import apicalls
import config
from risk.history import migrations

COMMANDS = [line for page in SUBJECTS for line in list_commands(page.read_text(encoding="utf-8"))]


@pytest.fixture(scope="module")
def shipped_root(tmp_path_factory):
    """A workspace with the shipped data and one run behind it."""
    root = tmp_path_factory.mktemp("shipped")
    keys = json.loads((ROOT / "config.json").read_text())
    (root / "config.json").write_text(json.dumps(keys | {"model": {"estimator": "logistic_regression"}}))
    for name in ("sourcedata", "testdata"):
        shutil.copytree(ROOT / name, root / name)
    keep_packages(root)
    assert SCRIPTS["fullprocess"].main(["--config", str(root / "config.json"), "-q"]) == 0
    return root


@pytest.fixture
def shipped(shipped_root, monkeypatch):
    """Make that workspace the working folder."""
    monkeypatch.chdir(shipped_root)
    return shipped_root / "config.json"


def test_every_command_is_one_that_is_run_here():
    assert {line.split()[0] for line in COMMANDS} == {"curl", "python", "sqlite3"}


def test_the_curl_commands_are_answered(shipped):
    """Each of them, by the application itself."""
    curls = [line for line in COMMANDS if line.startswith("curl")]
    assert len(curls) == 6
    with apicalls.serve(config.load_config(shipped)) as address:
        for line in curls:
            command = [
                part.replace("http://127.0.0.1:8000", address) for part in shlex.split(line, comments=True)
            ]
            command += ["--noproxy", "*", "-w", "%{http_code}"]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            assert done.stdout.endswith("200"), (line, done.stdout[-300:])


def test_the_script_and_sql_commands_run(shipped):
    """Each in a workspace that has a history; sqlite3's by Python's own SQLite."""
    lines = [shlex.split(line) for line in COMMANDS if line.split()[0] in ("python", "sqlite3")]
    assert len(lines) == 7
    for program, target, *arguments in lines:
        if program == "python":
            main = SCRIPTS[target.removesuffix(".py")].main
            assert main(["--config", str(shipped), *arguments]) == 0, target
        else:
            with sqlite3.connect(target) as database:
                database.execute(*arguments)
    assert len(list(Path("build/history").glob("*.csv"))) == len(migrations.METADATA.tables)


def test_the_python_of_the_page_on_history_runs(shipped):
    (code,) = list_blocks(read("docs/history.md"), "python")
    names = {}
    exec(code, names)  # noqa: S102
    assert len(names["scores"]) == 1 and len(names["verdicts"]) == 0
