"""cronjob.txt and the two commands that install it and take it out."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# A crontab that keeps its table in a file: the tests touch no crontab of the machine.
FAKE = """#!/bin/sh
table="$CRONTAB_FILE"
case "$1" in
  -l) [ -f "$table" ] || { echo "no crontab for $(id -un)" >&2; exit 1; }; cat "$table";;
  *) cat "$1" > "$table";;
esac
"""


@pytest.fixture
def project(tmp_path):
    """A copy of the project with a ready environment and a crontab of its own."""
    folder = tmp_path / "a project"
    folder.mkdir()
    for name in ("Makefile", "cronjob.txt", "config.json", "requirements.txt", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "python").symlink_to(sys.executable)
    (folder / ".venv" / ".run").touch()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "crontab").write_text(FAKE)
    (tmp_path / "bin" / "crontab").chmod(0o755)
    return folder


def make(project, target, *variables, **environment):
    path = f"{project.parent / 'bin'}:{os.environ['PATH']}"
    table = str(project.parent / "crontab")
    return subprocess.run(
        ["make", "--silent", target, *variables],
        cwd=project,
        env=os.environ | {"PATH": path, "CRONTAB_FILE": table} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def job_lines(text):
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_the_job_fires_every_ten_minutes():
    (line,) = job_lines((ROOT / "cronjob.txt").read_text())
    assert line.startswith("*/10 * * * * ")


def test_make_cron_installs_absolute_paths_beside_the_entries_that_are_there(project):
    table = project.parent / "crontab"
    table.write_text("# mine\n5 4 * * * /usr/bin/backup --rate 50\n")
    before = table.read_text()
    for _ in range(2):
        done = make(project, "cron")
        assert done.returncode == 0, done.stderr
    assert table.read_text().startswith(before)
    (line,) = [line for line in job_lines(table.read_text()) if "fullprocess" in line]
    python, script, config = re.findall(r"'([^']*)'", line)
    assert Path(python).is_absolute() and Path(python).exists()
    assert script == str(project / "fullprocess.py") and config == str(project / "config.json")
    assert make(project, "uncron").returncode == 0
    assert table.read_text() == before


def test_two_workspaces_are_installed_and_removed_one_by_one(project, tmp_path):
    other = tmp_path / "other" / "config.json"
    other.parent.mkdir()
    other.write_text("{}")
    assert make(project, "cron").returncode == make(project, "cron", f"CONFIG={other}").returncode == 0
    assert len(job_lines((tmp_path / "crontab").read_text())) == 2
    other.unlink()
    assert make(project, "uncron", f"CONFIG={other}").returncode == 0
    (line,) = job_lines((tmp_path / "crontab").read_text())
    assert str(project / "config.json") in line


@pytest.mark.parametrize("name", ["config.json", "/nowhere/config.json"])
def test_a_config_that_cron_would_not_find_is_refused(project, tmp_path, name):
    done = make(project, "cron", f"CONFIG={name}")
    assert done.returncode != 0 and name in done.stderr
    assert not (tmp_path / "crontab").exists()


def test_a_crontab_that_cannot_be_read_is_not_overwritten(project):
    (project.parent / "bin" / "crontab").write_text(
        '#!/bin/sh\n[ "$1" = -l ] && { echo no >&2; exit 1; }\nexit 9'
    )
    done = make(project, "cron")
    assert done.returncode != 0 and "no" in done.stderr


@pytest.mark.parametrize(
    ("target", "advice"), [("cron", "to another scheduler"), ("uncron", "out of your other scheduler")]
)
def test_without_a_crontab_program_the_line_to_schedule_is_printed(project, target, advice):
    tools = project.parent / "bin"
    (tools / "crontab").unlink()
    for name in ("sh", "make", "sed", "grep", "mkdir", "cat"):
        (tools / name).symlink_to(shutil.which(name))
    done = make(project, target, PATH=str(tools))
    assert done.returncode != 0 and "not found" not in done.stderr
    assert "crontab: no such program" in done.stderr and "apt install cron" in done.stderr
    assert advice in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("*/10 * * * * ")]
    assert re.findall(r"'([^']*)'", line) == [
        str(project / name) for name in (".venv/bin/python", "fullprocess.py", "config.json")
    ]


def test_make_cron_works_without_any_crontab(project):
    assert make(project, "cron").returncode == 0
    assert len(job_lines((project.parent / "crontab").read_text())) == 1
