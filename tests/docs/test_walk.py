"""The README's commands, run as they are pasted: a copy of the tree, bash, and no `python` on the path."""

import csv
import json
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from pages import ROOT, list_blocks, read
from workspaces import keep_packages

MADE = ("models", "practicemodels", "ingesteddata", "production_deployment", "logs", "records.db*", ".state",
        "build", ".venv", ".git", "node_modules", "tests", "__pycache__",
        ".*_cache", ".hypothesis")  # fmt: skip
TOOLS = ("bash", "sh", "make", "curl", "sed", "cut", "grep", "cat", "cp", "mkdir", "uname")
FIRST, *OWN, OPERATION = list_blocks(read("README.md"), "console")
RENAMED = {"corporation": "customer", "exited": "churned"}


@pytest.fixture
def clone(tmp_path):
    """A copy of the tree with a ready environment, so that `make run` installs nothing."""
    folder = tmp_path / "clone"
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*MADE))
    (folder / ".venv").mkdir()
    for name in ("bin", "lib", "pyvenv.cfg"):
        (folder / ".venv" / name).symlink_to(Path(sys.prefix) / name)
    (folder / ".venv" / ".run").touch()
    keep_packages(folder)
    return folder


def paste(folder, commands, home):
    """Run commands as an interactive shell does, with jobs and without `python` on the path."""
    tools = home / "bin"
    tools.mkdir(parents=True, exist_ok=True)
    for name in TOOLS:
        (tools / name).unlink(missing_ok=True)
        (tools / name).symlink_to(shutil.which(name))
    (tools / "crontab").write_text(f'#!/bin/sh\n[ "$1" = -l ] || cp "$1" "{home / "crontab"}"\n')
    (tools / "crontab").chmod(0o755)
    return subprocess.run(
        ["bash", "-c", f"set -m\n{commands}\nwait"],
        cwd=folder,
        env={"HOME": str(home), "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1", "PATH": str(tools)},
        capture_output=True,
        text=True,
        check=False,
    )


def commands_of(block):
    return re.sub(r"^\$ ", "", block, flags=re.MULTILINE)


def find_free_port():
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return opened.getsockname()[1]


def test_the_five_commands_end_in_a_prediction_and_nothing_is_left_running(clone, tmp_path):
    port = find_free_port()
    keys = json.loads((clone / "config.json").read_text())
    (clone / "config.json").write_text(json.dumps(keys | {"api": {"port": port}}))
    assert FIRST.count("$ ") == 5
    done = paste(clone, commands_of(FIRST).replace("8000", str(port)), tmp_path / "home")
    text = read("README.md")
    (shown,) = (json.loads(block) for block in list_blocks(text, "json") if "predictions" in block)
    *lines, answer = done.stdout.splitlines()
    answered = json.loads(answer)
    assert answered["predictions"][0]["class"] == shown["predictions"][0]["class"] == 1
    assert answered["predictions"][0]["probability"] == pytest.approx(
        shown["predictions"][0]["probability"], abs=1e-6
    )
    assert answered.keys() == shown.keys()
    (output,) = list_blocks(text, "text")
    assert lines == [line.replace("/home/you/dynamic-risk", str(clone)) for line in output.splitlines()]
    card = json.loads((clone / "models" / "modelcard.json").read_text())
    assert f"here {card['threshold']:.2f}, so that {answered['predictions'][0]['probability']:.2f}" in text
    with socket.socket() as opened:
        assert opened.connect_ex(("127.0.0.1", port)) != 0, "the server is stopped"


@pytest.mark.slow
def test_the_walk_with_own_data_ends_in_production_and_an_explanation(clone, tmp_path):
    home = tmp_path / "home"
    (home / "risk").mkdir(parents=True)
    (config,) = (block for block in list_blocks(read("README.md"), "json") if "churned" in block)
    port = find_free_port()
    (home / "risk" / "config.json").write_text(json.dumps(json.loads(config) | {"api": {"port": port}}))
    keep_packages(home / "risk")
    for folder in ("practicedata", "testdata"):
        (home / "risk" / folder).mkdir()
        for path in (ROOT / folder).glob("*.csv"):
            with path.open(newline="") as source:
                header, *rows = csv.reader(source)
            with (home / "risk" / folder / path.name).open("w", newline="") as copy:
                csv.writer(copy).writerows([[RENAMED.get(name, name) for name in header], *rows])
    blocks = "".join(map(commands_of, OWN))
    blocks = blocks.replace("8000", str(port))
    begin = "set -e\n. .venv/bin/activate\n"
    done = paste(clone, f"{begin}{blocks}", home)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert (home / "risk" / "practicemodels" / "summary_report.pdf").exists()
    assert (home / "risk" / "models" / "atrisk.csv").read_text().startswith("rank,customer,")
    explained, _, answer = done.stdout.rstrip("\n").rpartition("\n")
    assert "release" in explained.rpartition("client ")[2]
    assert json.loads(answer)["predictions"][0].keys() >= {"class", "probability"}
    (line,) = list_blocks(read("README.md"), "crontab")
    paths = {"/home/you/dynamic-risk": str(clone), "/home/you/risk": str(home / "risk")}
    for shown, path in paths.items():
        line = line.replace(shown, path)
    assert (home / "crontab").read_text() == line
    go_back(clone, home, begin)


def go_back(clone, home, begin):
    """Publish a second release, and go back as the README shows."""
    again = "".join(f"python {name}.py --config $C\n" for name in ("training", "scoring", "deployment"))
    config = home / "risk" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"model": {"threshold": 0.5}}))
    done = paste(clone, f"{begin}C={config}\n{again}{commands_of(OPERATION)}", home)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    (deployed,) = [row for row in done.stdout.splitlines() if row.startswith("* ")]
    report = json.loads((home / "risk" / "models" / "report.json").read_text())
    assert report["release"]["id"] != deployed.split()[1]
    assert f",{report['release']['id']}," in (home / "risk" / "models" / "atrisk.csv").read_text()
