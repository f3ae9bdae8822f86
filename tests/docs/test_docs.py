"""README, --help, config and code agree, and what the README shows can be run."""

import json
import os
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

import apicalls
import app
import config
from risk import errors
from risk.history import migrations
from risk.runtime import settings_schema

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SCRIPTS = ["ingestion", "training", "scoring", "deployment", "diagnostics", "reporting", "app", "apicalls",
           "fullprocess", "dbsetup"]  # fmt: skip


def console_lines():
    """Give every command of the README, continued lines joined."""
    lines = []
    for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL):
        lines += [line.removeprefix("$ ") for line in block.replace("\\\n", " ").splitlines()]
    return lines


def table_below(heading):
    """Give the rows of the first table below a heading, as lists of cells."""
    part = README.split(heading, 1)[1]
    lines = re.search(r"(?:^\|.*\n)+", part, re.MULTILINE).group().splitlines()[2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_the_readme_names_every_script_that_runs():
    assert [row[0].strip("`") for row in table_below("## The stages")] == [f"{name}.py" for name in SCRIPTS]
    for name in SCRIPTS:
        assert (ROOT / f"{name}.py").exists()


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_works_from_any_folder_and_has_an_example(name, tmp_path):
    done = subprocess.run(
        [sys.executable, ROOT / f"{name}.py", "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "example:" in done.stdout and "--config" in done.stdout and "exit codes" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert done.stderr == ""


def test_the_exit_codes_of_the_readme_are_those_of_the_code():
    part = README.split("| exit code | meaning |")[1].split("\n\n")[0]
    stated = {
        int(code) for code in re.findall(r"^\| ([\d, ]+) \|", part, re.MULTILINE) for code in code.split(",")
    }
    known = {kind.exit_code for kind in vars(errors).values() if isinstance(kind, type)}
    assert stated == known | {os.EX_OK, os.EX_SOFTWARE, 130, 143}


def test_every_config_key_has_a_row_with_its_default():
    rows = {
        name: row[1] for row in table_below("never ignored.") for name in re.findall(r"`([a-z_.]+)`", row[0])
    }
    known = {}
    for key, default in settings_schema.DEFAULTS.items():
        if isinstance(default, dict):
            known |= {f"{key}.{name}": value for name, value in default.items()}
        else:
            known[key] = default
    assert set(rows) == set(known)
    for key, shown in rows.items():
        values = [json.loads(text) for text in re.findall(r"`([^`]+)`", shown) if text[0] in '"[{0123456789']
        assert not values or known[key] in values, key


def test_the_config_of_the_readme_is_the_shipped_one():
    shown = json.loads(re.search(r"```json\n(.*?)```", README, re.DOTALL).group(1))
    assert shown == json.loads((ROOT / "config.json").read_text())


def test_the_endpoints_of_the_readme_are_those_of_the_app(workspace):
    stated = set(re.findall(r"`(?:GET|POST) (/[a-z.]*)`", README)) | {"/static/<name>"}
    rules = app.create_app(config.load_config(workspace.config_path)).url_map.iter_rules()
    assert stated == {rule.rule for rule in rules}


def test_make_targets_of_the_readme_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"make ([a-z]+)", README)) <= targets


def test_the_curl_commands_of_the_readme_are_answered(workspace):
    """Each curl line, beside the shipped data, against the application itself."""
    for name in ("sourcedata", "testdata"):
        shutil.copytree(ROOT / name, workspace.root / name)
    workspace.tick()
    curls = [line for line in console_lines() if line.startswith("curl")]
    assert len(curls) == 6
    with apicalls.serve(config.load_config(workspace.config_path)) as address:
        for line in curls:
            command = [
                part.replace("http://127.0.0.1:8000", address) for part in shlex.split(line, comments=True)
            ]
            command += ["--noproxy", "*", "-w", "%{http_code}"]
            done = subprocess.run(command, cwd=workspace.root, capture_output=True, text=True, check=True)
            assert done.stdout.endswith("200"), (line, done.stdout[-300:])


def test_the_commands_of_the_readme_are_make_curl_or_scripts():
    for line in console_lines():
        assert line.split()[0] in ("make", "curl", "python", "sqlite3"), line


def test_the_script_and_sql_commands_of_the_readme_run(workspace, monkeypatch):
    """Each in a workspace that has a history; sqlite3's by Python's own SQLite."""
    for name in ("sourcedata", "testdata"):
        shutil.copytree(ROOT / name, workspace.root / name)
    workspace.tick()
    monkeypatch.chdir(workspace.root)
    lines = [shlex.split(line) for line in console_lines() if line.split()[0] in ("python", "sqlite3")]
    assert len(lines) == 6
    for program, target, *arguments in lines:
        if program == "python":
            workspace.run(target.removesuffix(".py"), *arguments)
        else:
            with sqlite3.connect(target) as database:
                database.execute(*arguments)
    assert len(list(Path("build/history").glob("*.csv"))) == len(migrations.METADATA.tables)


def test_the_python_of_the_readme_runs(workspace, monkeypatch):
    for name in ("sourcedata", "testdata"):
        shutil.copytree(ROOT / name, workspace.root / name)
    workspace.tick()
    monkeypatch.chdir(workspace.root)
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    found = {}
    exec(code, found)  # noqa: S102
    assert len(found["scores"]) == 1 and len(found["verdicts"]) == 0
