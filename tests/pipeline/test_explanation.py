"""From a client to its prediction, release, data and files; and the rows of a file predicted."""

import csv
import errno
import io
import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from makers import HEADER, make_clients

import diagnostics
from risk import digests
from risk.model import registry

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def deployed(old_world):
    old_world.walk()
    return old_world


def run(workspace, *arguments, expect=0):
    """Run diagnostics as a person does; give what it prints."""
    workspace.capsys.readouterr()
    assert diagnostics.main(["--config", str(workspace.config_path), *arguments]) == expect
    out, workspace.said = workspace.capsys.readouterr()
    return out


# --- --explain ---------------------------------------------------------------------------------------------


def test_a_client_is_traced_to_release_model_data_and_files(deployed):
    facts = deployed.run("diagnostics", "--explain", "client-b-7")
    manifest = deployed.release()
    row = make_clients(150, "b")[7]
    assert facts["client"] == {
        "id": {"corporation": "client-b-7"},
        "row": 158,
        "file": "b.csv",
        "label": row[3],
    }
    model = (deployed.root / "production_deployment/trainedmodel.pkl").read_bytes()
    assert facts["release"]["model_sha256"] == digests.sha256(model)
    assert facts["release"]["files"] == manifest["files"]
    ledger = json.loads((deployed.root / "ingesteddata/.finaldata.json").read_text())
    assert facts["data"]["digest"] == ledger["digest"] and facts["data"]["unchanged"] is True
    for told, name in zip(facts["files"], ("a.csv", "b.csv"), strict=True):
        data = (deployed.root / "sourcedata" / name).read_bytes()
        assert (told["name"], told["sha256"], told["new"]) == (name, digests.sha256(data), 150)


def test_the_effects_add_up_to_the_probability(deployed):
    facts = deployed.run("diagnostics", "--explain", "client-a-3")
    effects, said = facts["effects"], facts["prediction"]
    total = effects["base"] + sum(one["effect"] for one in effects["columns"])
    assert total == pytest.approx(effects["log_odds"], abs=1e-9) and effects["rest"] == pytest.approx(
        0, abs=1e-9
    )
    assert 1 / (1 + math.exp(-total)) == pytest.approx(said["probability"], abs=1e-12)
    assert said["class"] == int(said["probability"] >= said["threshold"])
    assert [one["column"] for one in effects["columns"]] in (["activity", "colour"], ["colour", "activity"])
    strengths = [abs(one["effect"]) for one in effects["columns"]]
    assert strengths == sorted(strengths, reverse=True)
    assert facts["reasons"][0]["text"]


def test_the_newest_row_is_the_one_explained_and_new_rows_are_not_the_models_data(deployed):
    deployed.put("sourcedata/c.csv", [["client-a-3", "55", "", ""]])
    deployed.run("ingestion")
    facts = deployed.run("diagnostics", "--explain", "client-a-3")
    assert facts["client"]["row"] == 301 and facts["client"]["file"] == "c.csv"
    assert facts["client"]["label"] is None and facts["data"]["unchanged"] is True
    assert {one["column"]: one["value"] for one in facts["effects"]["columns"]} == {
        "activity": "55",
        "colour": None,
    }
    assert [one["name"] for one in facts["files"]] == ["a.csv", "b.csv"]


def test_a_table_that_begins_with_other_rows_is_said(deployed):
    (deployed.root / "sourcedata/a.csv").unlink()
    deployed.run("ingestion", "--rebuild")
    assert deployed.run("diagnostics", "--explain", "client-b-1")["data"]["unchanged"] is False
    assert "the table no longer begins with these rows" in run(deployed, "--explain", "client-b-1")


def test_it_is_told_in_80_columns_with_every_link(deployed):
    name = "名前, Inc. " + "x" * 90
    deployed.put("sourcedata/c.csv", [[name, "3", "a colour with a very long name, " * 3, ""]])
    deployed.run("ingestion")
    told = run(deployed, "--explain", name)
    assert all(len(line) <= 80 for line in told.splitlines())
    manifest = deployed.release()
    for word in (
        "client     corporation 名前",
        "from c.csv",
        manifest["files"]["trainedmodel.pkl"],
        "b.csv",
        "baseline",
        "compared with",
    ):
        assert word in told


@pytest.mark.parametrize(
    ("client", "said"),
    [
        ("CLIENT-A-14", "did you mean 'client-a-14' or 'client-a-140' or 'client-a-141'"),
        ("nobody", "has no client 'nobody'"),
    ],
)
def test_a_client_that_is_not_there_is_named_with_those_near(deployed, client, said):
    deployed.run("diagnostics", "--explain", client, expect=64)
    assert said in deployed.said


def test_a_client_of_several_id_columns_is_named_as_in_a_csv(workspace):
    header = ["corporation", "branch", "activity", "colour", "exited"]
    workspace.configure(id_columns=["corporation", "branch"])
    rows = [[row[0], "main", *row[1:]] for row in make_clients(150, "a")] + [
        ["ACME, Inc.", "", "5", "red", "0"]
    ]
    workspace.put("sourcedata/a.csv", rows, header)
    workspace.put("testdata/t.csv", [[row[0], "main", *row[1:]] for row in make_clients(60, "t")], header)
    workspace.walk()
    assert workspace.run("diagnostics", "--explain", '"ACME, Inc.",')["client"]["row"] == 151
    workspace.run("diagnostics", "--explain", "client-a-1", expect=64)
    assert "name the client by corporation,branch" in workspace.said


def test_without_id_columns_a_client_is_a_row(workspace):
    workspace.configure(id_columns=[])
    workspace.put("sourcedata/a.csv", [row[1:] for row in make_clients(200, "a")], HEADER[1:])
    workspace.put("testdata/t.csv", [row[1:] for row in make_clients(60, "t")], HEADER[1:])
    workspace.walk()
    facts = workspace.run("diagnostics", "--explain", "17")
    assert facts["client"]["id"] == {"row": "17"} and facts["client"]["row"] == 17
    for wrong in ("0", "201", "x", "-1"):
        workspace.run("diagnostics", "--explain", wrong, expect=64)
        assert "a row from 1 to" in workspace.said


def test_explaining_before_a_release_says_what_to_run(old_world):
    old_world.run("ingestion")
    old_world.run("diagnostics", "--explain", "client-a-1", expect=66)
    assert "nothing is deployed yet" in old_world.said


# --- --predict ---------------------------------------------------------------------------------------------


def files_of(workspace):
    """Name every file but the log, with its time."""
    return {p: p.lstat().st_mtime_ns for p in workspace.root.rglob("*") if p.is_file() and p.suffix != ".log"}


def test_the_rows_of_a_file_come_back_predicted_and_nothing_else_is_written(deployed, tmp_path):
    source = deployed.put("other.csv", [row[:3] for row in make_clients(20, "o")], HEADER[:3])
    before = files_of(deployed)
    lines = list(csv.DictReader(io.StringIO(run(deployed, "--predict", str(source)))))
    assert [line["corporation"] for line in lines] == [f"client-o-{k}" for k in range(20)]
    assert {line["class"] for line in lines} == {"0", "1"} and lines[0]["reason_1"]
    result = deployed.run("diagnostics", "--predict", str(source), "--output", str(tmp_path / "out.csv"))
    current = registry.current(deployed.root / "production_deployment")
    assert result == {
        "release": registry.release_id(current),
        "n_rows": 20,
        "n_leaving": sum(line["class"] == "1" for line in lines),
        "n_rejected": 0,
        "output": str(tmp_path / "out.csv"),
    }
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as handle:
        assert list(csv.DictReader(handle)) == lines
    assert files_of(deployed) == before


def test_bad_rows_are_told_on_stderr_and_the_good_ones_answered(deployed):
    rows = [["good", "5", "red"], ["bad", "many", "red"], ["good too", "", ""]]
    source = deployed.put("other.csv", rows, HEADER[:3])
    out = run(deployed, "--predict", str(source), "--reasons", "0")
    assert [line.split(",")[:2] for line in out.splitlines()[1:]] == [["1", "good"], ["3", "good too"]]
    assert "other.csv: line 3: activity is not a number" in deployed.said and "many" not in deployed.said


def test_many_bad_rows_are_counted_and_all_bad_is_bad_data(deployed):
    source = deployed.put("other.csv", [[f"c{k}", "x", "red"] for k in range(30)], HEADER[:3])
    out = run(deployed, "--predict", str(source), expect=65)
    assert len(out.splitlines()) == 1 and "and 10 more bad rows" in deployed.said
    assert "holds no good row" in deployed.said


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--predict", "nowhere.csv"], 66, "no such file"),
        (["--predict", "text.csv"], 65, "text.csv: lacks the columns 'activity', 'colour'"),
        (["--predict", "good.csv", "--reasons", "many"], 64, "is no number from 0 to 20"),
        (["--predict", "good.csv", "--output", "sourcedata/x.csv"], 64, "is read by the pipeline"),
        (["--predict", "good.csv", "--output", "./good.csv"], 64, "is the file that is read"),
        (["--predict", "good.csv", "--explain", "x"], 64, "not allowed with"),
    ],
)
def test_what_cannot_be_predicted_is_said(deployed, arguments, code, said, monkeypatch):
    monkeypatch.chdir(deployed.root)
    deployed.put("good.csv", [["a", "1", "red"]], HEADER[:3])
    deployed.put("text.csv", [["a"]], HEADER[:1])
    run(deployed, *arguments, expect=code)
    assert said in deployed.said
    assert sorted(path.name for path in (deployed.root / "sourcedata").iterdir()) == ["a.csv", "b.csv"]


def test_standard_input_pipes_and_a_reader_that_stops(deployed):
    """As real processes: a pipe in, JSON beside the CSV, and a pipe out that closes early."""
    data = "corporation,activity,colour\n" + "".join(f"c{k},{k % 90},red\n" for k in range(30_000))
    command = [sys.executable, ROOT / "diagnostics.py", "--config", deployed.config_path, "--predict", "-"]
    done = subprocess.run([*command, "--json"], input=data, capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == 30_001 and done.stdout.startswith("row,corporation,probability,")
    assert json.loads(done.stderr)["n_rows"] == 30_000
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        child.stdin.write(data.encode())
        child.stdin.close()
        assert os.read(child.stdout.fileno(), 3) == b"row"
        child.stdout.close()
        assert (child.wait(timeout=60), child.stderr.read()) == (0, b"")


@pytest.fixture
def reading(deployed):
    """A run that predicts what comes on its standard input, of which half has come."""
    command = [
        sys.executable,
        "-u",
        ROOT / "diagnostics.py",
        "--config",
        deployed.config_path,
        "--predict",
        "-",
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdin.write(b"corporation,activity,colour\na,1,red\n")
        process.stdin.flush()
        spill = deployed.root / ".state/spill"
        while not (found := list(spill.glob("reader-*/standard input"))):
            assert process.poll() is None
        process.folder = found[0].parent
        yield process
        process.kill()


def test_what_a_killed_reader_leaves_is_swept_and_what_a_living_one_uses_is_not(deployed, reading):
    deployed.run("diagnostics")
    assert reading.folder.exists()
    reading.kill()
    reading.wait()
    assert reading.folder.exists()
    deployed.run("diagnostics")
    assert not reading.folder.exists()


def test_a_reader_that_ends_leaves_nothing(deployed, reading):
    out, _ = reading.communicate()
    assert reading.returncode == 0 and out.count(b"\n") == 2
    assert not reading.folder.exists()


def test_whoever_may_not_write_the_workspace_predicts_all_the_same(deployed, monkeypatch):
    source = deployed.put("other.csv", [["a", "1", "red"]], HEADER[:3])
    spill = deployed.root / ".state/spill"
    make = tempfile.mkdtemp
    asked = []

    def refuse(suffix=None, prefix=None, dir=None):
        asked.append(dir)
        if dir == spill:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(dir))
        return make(suffix, prefix, dir)

    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    assert len(run(deployed, "--predict", str(source)).splitlines()) == 2
    assert asked[:2] == [spill, None]
