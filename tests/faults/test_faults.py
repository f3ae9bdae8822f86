"""The short form of each harness of tests/faults, and its control, which must fail; `make torture` runs the
full ones."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

HARNESSES = ("inject", "kills", "powercut", "space", "readers", "soak")
# What is taken away so that a harness must fail; `kills` judges as `inject` does. A short soak publishes
# twice: too seldom for a reader to be sure to meet a file that is half written.
CONTROLS = (
    ("inject", "overwrite"),
    ("inject", "no-digest"),
    ("powercut", "no-fsync"),
    ("space", "overwrite"),
    ("readers", "overwrite"),
)


def run(harness, form, *options):
    """Run a harness in an interpreter of its own, which forks; give its exit code and what it told."""
    command = [sys.executable, Path(__file__).parent, harness, "--form", form, *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    skipped = re.search(": skipped: (.*)", done.stdout)
    if skipped:
        pytest.skip(f"not permitted here: {skipped[1]}")
    return done.returncode, done.stdout + done.stderr


def dear(names):
    """Leave all but the quick one of the harnesses to CI."""
    return [name if "readers" in name else pytest.param(name, marks=pytest.mark.slow) for name in names]


@pytest.mark.parametrize("harness", dear(HARNESSES))
def test_nothing_is_torn_and_nothing_lost(harness):
    code, told = run(harness, "short", "--seed", "1")
    assert code == 0 and " 0 wrong" in told, told


@pytest.mark.parametrize("control", dear(CONTROLS), ids="-".join)
def test_what_is_taken_away_is_missed(control):
    harness, sabotage = control
    code, told = run(harness, "short", "--seed", "1", "--sabotage", sabotage)
    assert code == 1 and "\n  WRONG " in told, told


@pytest.mark.torture
def test_a_soak_that_overwrites_files_is_seen():
    code, told = run("soak", "middle", "--seed", "1", "--sabotage", "overwrite")
    assert code == 1 and "\n  WRONG " in told, told


@pytest.mark.torture
@pytest.mark.parametrize("harness", HARNESSES)
def test_the_full_form_finds_nothing(harness, capsys):
    code, told = run(harness, "full")
    with capsys.disabled():
        print(f"\n{told}")
    assert code == 0, told
