"""Every exit code, provoked once through a script."""

import fcntl
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from risk import errors, locks
from risk.data import inputs
from risk.engines import frame_reader
from risk.limits import Room
from risk.runtime import runner

ROOT = Path(__file__).resolve().parents[2]


def test_0_done(old_world):
    assert old_world.run("ingestion")["rows_new"] == 300


def test_64_a_wrong_option_is_named(old_world):
    old_world.run("ingestion", "--rebuilt", expect=64)
    assert "--rebuilt" in old_world.said and "--help" in old_world.said


def test_what_is_said_before_config_json_is_read_looks_like_all_else():
    command = [sys.executable, ROOT / "ingestion.py", "--rebuilt"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = "ERROR ingestion: unrecognized arguments: --rebuilt; see ingestion.py --help\n"
    assert (done.returncode, done.stdout, done.stderr) == (os.EX_USAGE, "", said)


def test_65_bad_data(workspace):
    workspace.put("sourcedata/a.csv", [["x"]], ["<html>"])
    workspace.run("ingestion", expect=65)


def test_66_no_input(workspace):
    workspace.run("ingestion", expect=66)
    assert "no such folder" in workspace.said


def test_70_a_bug_keeps_its_traceback(old_world, monkeypatch):
    monkeypatch.setattr(inputs, "list_inputs", lambda _: 1 / 0)
    old_world.run("ingestion", expect=70)
    assert "Traceback" in old_world.said and "ZeroDivisionError" in old_world.said


def test_74_the_disk_is_full(old_world):
    """A limit on the size of files is the only full disk that a test can have without rights."""
    command = f"ulimit -f 1; exec {sys.executable} {ROOT / 'ingestion.py'} --config {old_world.config_path}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode in (os.EX_IOERR, -signal.SIGXFSZ), done.stderr
    assert not (old_world.root / "ingesteddata" / ".finaldata.json").exists()
    assert old_world.run("ingestion")["rows_new"] == 300


def test_74_a_full_disk_is_one_for_duckdb_too_whoever_asks_it(tmp_path):
    """The list of clients used to say it in DuckDB's words, without path and free space."""
    with pytest.raises(OSError) as told, frame_reader.connect(Room(tmp_path), n_columns=1) as connection:
        connection.execute("copy (from range(100000)) to '/dev/full' (format csv, use_tmp_file false)")
    error = errors.from_os_error(told.value)
    assert error.exit_code == 74 and "/dev/full" in str(error) and "bytes are free there" in str(error)


def test_75_another_run_holds_the_workspace(old_world, monkeypatch):
    monkeypatch.setattr(runner, "WAIT_S", 0.1)
    with (old_world.root / ".state" / "lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        old_world.run("training", expect=75)


def test_77_a_folder_that_may_not_be_written(old_world):
    """Root without its capabilities is held to the mode of its own folders, as anybody."""
    (old_world.root / "ingesteddata").mkdir(mode=0o500)
    bound = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    command = [*bound, sys.executable, ROOT / "ingestion.py", "--config", old_world.config_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 77, done.stderr
    assert "check owner and mode" in done.stderr and "Traceback" not in done.stderr


def test_77_what_the_system_refuses_is_said_with_its_remedy():
    error = errors.from_os_error(PermissionError(13, "Permission denied", "/data/finaldata.csv"))
    assert error.exit_code == 77 and "check owner and mode" in str(error)


def test_78_config(workspace):
    workspace.configure(tarqet_column="exited")
    workspace.run("ingestion", expect=78)
    assert "did you mean 'target_column'" in workspace.said


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_130_and_143_interrupted_while_a_file_is_read(old_world, number, code):
    pipe = old_world.root / "ready"
    os.mkfifo(pipe)
    code_text = f"""
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
import ingestion
from risk.data import csv_check
def wait(*_):
    open({str(pipe)!r}, "w").close()
    signal.pause()
csv_check.check = wait
sys.exit(ingestion.main(["--config", {str(old_world.config_path)!r}]))
"""
    process = subprocess.Popen([sys.executable, "-c", code_text], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    with pipe.open():
        pass
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code, said
    with locks.lock(old_world.root / ".state" / "lock", wait_s=0):
        pass


def test_a_script_runs_from_another_folder_and_paths_are_those_of_config_json(old_world, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = subprocess.run(
        [sys.executable, ROOT / "ingestion.py", "--config", "../workspace/config.json", "--json"],
        cwd=elsewhere,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["rows_total"] == 300
    assert list(elsewhere.iterdir()) == []
