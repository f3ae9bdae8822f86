"""What the pages show can be run: each command of docs/, beside the shipped data."""

import shlex
import shutil
import sqlite3
import subprocess
from pathlib import Path

import pytest
from pages import ROOT, SUBJECTS, list_blocks, list_commands, read

import apicalls
import config
from risk.history import migrations

COMMANDS = [line for page in SUBJECTS for line in list_commands(page.read_text(encoding="utf-8"))]


@pytest.fixture
def shipped(workspace, monkeypatch):
    """A workspace with the shipped data and one run behind it; also the working folder."""
    for name in ("sourcedata", "testdata"):
        shutil.copytree(ROOT / name, workspace.root / name)
    workspace.tick()
    monkeypatch.chdir(workspace.root)
    return workspace


def test_every_command_is_one_that_is_run_here():
    assert {line.split()[0] for line in COMMANDS} == {"curl", "python", "sqlite3"}


def test_the_curl_commands_are_answered(shipped):
    """Each of them, by the application itself."""
    curls = [line for line in COMMANDS if line.startswith("curl")]
    assert len(curls) == 6
    with apicalls.serve(config.load_config(shipped.config_path)) as address:
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
            shipped.run(target.removesuffix(".py"), *arguments)
        else:
            with sqlite3.connect(target) as database:
                database.execute(*arguments)
    assert len(list(Path("build/history").glob("*.csv"))) == len(migrations.METADATA.tables)


def test_the_python_of_the_page_on_history_runs(shipped):
    (code,) = list_blocks(read("docs/history.md"), "python")
    names = {}
    exec(code, names)  # noqa: S102
    assert len(names["scores"]) == 1 and len(names["verdicts"]) == 0
