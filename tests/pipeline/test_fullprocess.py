"""Every case of a tick: what is judged, what is deployed, what completes it and what is tried again."""

import fcntl
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from makers import HEADER, make_clients

ROOT = Path(__file__).resolve().parents[2]


# --- first ticks and idle ones ---------------------------------------------------------------------------


def test_the_first_tick_trains_and_deploys_without_a_check(old_world):
    result = old_world.tick()
    assert result["new_data"] and result["files_new"] == 2 and result["rows_new"] == 300
    assert result["deployed"] and result["drift"] is None and result["recorded_score"] is None
    assert "nothing is deployed yet" in result["reason"]
    for name in ("models/summary_report.pdf", "models/confusionmatrix.png", "models/diagnostics.json"):
        assert (old_world.root / name).stat().st_size > 0
    assert "200" in (old_world.root / "models" / "apireturns.txt").read_text()


def test_a_tick_with_nothing_new_says_nothing_and_changes_no_byte_but_the_touch(old_world):
    old_world.tick()
    before = old_world.bytes(), old_world.state()
    os.utime(old_world.root / ".state" / "tick.json", ns=(0, 0))
    result = old_world.tick()
    assert old_world.said == ""
    assert result["new_data"] is False and result["deployed"] is None
    assert (old_world.bytes(), old_world.state()) == before
    assert (old_world.root / ".state" / "tick.json").stat().st_mtime_ns > 0


def test_an_idle_tick_imports_nothing_but_the_standard_library(old_world):
    old_world.tick()
    code = f"""
import sys
bare = set(sys.modules)
sys.path.insert(0, {str(ROOT)!r})
import fullprocess
assert fullprocess.main(["--config", {str(old_world.config_path)!r}]) == 0
loaded = [sys.modules[name] for name in set(sys.modules) - bare]
print([m.__name__ for m in loaded if "site-packages" in (getattr(m, "__file__", None) or "")])
print(sorted({{"logging", "dataclasses", "inspect", "hashlib"}} & set(sys.modules)))
"""
    command = [sys.executable, "-I", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n[]\n"


def test_a_touched_file_of_the_same_content_is_no_news(old_world):
    old_world.tick()
    os.utime(old_world.root / "sourcedata" / "a.csv", ns=(1, 1))
    assert old_world.tick()["new_data"] is False
    assert old_world.state()["files"]["a.csv"][1] == 1


def test_a_moved_workspace_stays_idle(old_world, tmp_path):
    old_world.tick()
    before = old_world.bytes()
    old_world.root.rename(tmp_path / "elsewhere")
    old_world.root = tmp_path / "elsewhere"
    old_world.config_path = old_world.root / "config.json"
    assert old_world.tick()["new_data"] is False
    assert old_world.bytes() == before
    assert not any(str(tmp_path).encode() in data for data in before.values())


def test_an_empty_folder_completes_the_tick_and_says_that_there_is_nothing_to_learn_from(workspace):
    (workspace.root / "sourcedata").mkdir()
    result = workspace.tick()
    assert result["deployed"] is False and "no row" in result["reason"]
    assert workspace.tick()["reason"] is None


# --- judged ticks ----------------------------------------------------------------------------------------


def test_rows_of_the_same_world_are_judged_and_deploy_nothing(old_world):
    old_world.tick()
    release = old_world.release()
    for seed in "cdefgh":
        old_world.put(f"sourcedata/{seed}.csv", make_clients(100, seed))
        result = old_world.tick()
        assert result["recorded_score"] == release["score"]
        assert result["drift"] is (result["new_score"] < result["recorded_score"])
        assert result["deployed"] is result["drift"]
        if not result["drift"]:
            return
        release = old_world.release()
    pytest.fail("the rule fired six times on six batches of the same world")


def test_rows_of_another_world_are_drift_and_a_new_release_is_deployed(old_world):
    first = old_world.tick()
    old_world.put("sourcedata/c.csv", make_clients(400, "c", "new"))
    result = old_world.tick()
    assert result["drift"] is True and result["deployed"] is True
    assert result["new_score"] < result["recorded_score"]
    assert result["release"] != first["release"]
    manifest = old_world.release()
    assert manifest["deployed_by"] == "tick" and manifest["why"]["verdict"]["drift"] is True
    assert old_world.state()["verdict"]["new_score"] == result["new_score"]
    said = json.loads((old_world.root / "models" / "report.json").read_text())["verdict_said"]
    assert any(f"{result['release']} was retrained and replaced it" in line for line in said)


@pytest.mark.slow
def test_after_a_tick_without_drift_later_drift_is_judged_on_the_later_rows_alone(old_world):
    old_world.tick()
    release = json.loads(json.dumps(old_world.release()))
    easy = [[f"x{i}", str(10 + i % 20), "red", "1"] for i in range(60)]
    easy += [[f"y{i}", str(60 + i % 30), "red", "0"] for i in range(60)]
    old_world.put("sourcedata/c.csv", easy)
    assert old_world.tick()["drift"] is False
    old_world.put("sourcedata/d.csv", make_clients(50, "d", "new"))
    result = old_world.tick()
    assert result["drift"] is True
    assert old_world.state()["verdict"]["n"] == 50
    assert old_world.release()["training_mark"]["length"] > release["training_mark"]["length"]


def test_only_duplicates_complete_the_tick_unjudged(old_world):
    old_world.tick()
    old_world.put("sourcedata/c.csv", make_clients(150, "a"))
    result = old_world.tick()
    assert result["new_data"] and result["rows_new"] == 0
    assert result["drift"] is None and result["deployed"] is False
    assert old_world.tick()["new_data"] is False


def test_every_row_rejected_completes_the_tick_and_exits_0(old_world):
    old_world.tick()
    old_world.put("sourcedata/c.csv", [["z", "many", "red", "1"], ["z", "more", "red", "0"]])
    result = old_world.tick()
    assert result["files_new"] == 1 and result["rows_new"] == 0 and result["drift"] is None
    assert "rejected" in old_world.said
    assert old_world.tick()["new_data"] is False and old_world.said == ""


def test_when_every_new_file_is_refused_the_tick_ends_with_65_once(old_world):
    old_world.tick()
    (old_world.root / "sourcedata" / "page.csv").write_text("<html>no table</html>")
    result = old_world.tick(expect=65)
    assert result["deployed"] is False and "HTML" in old_world.said
    assert old_world.tick()["new_data"] is False and old_world.said == ""


@pytest.mark.slow
def test_new_rows_of_one_class_cannot_be_judged_and_wait_for_the_next_batch(old_world):
    old_world.tick()
    stayed = [row for row in make_clients(100, "c", "new") if row[3] == "0"]
    old_world.put("sourcedata/c.csv", stayed)
    result = old_world.tick()
    assert result["drift"] is None and "both classes" in result["reason"]
    old_world.put("sourcedata/d.csv", make_clients(60, "d", "new"))
    old_world.tick()
    assert old_world.state()["verdict"]["n"] == len(stayed) + 60


def test_unlabelled_rows_are_kept_and_not_judged(old_world):
    old_world.tick()
    rows = [row[:3] for row in make_clients(40, "c", "new")]
    old_world.put("sourcedata/c.csv", rows, HEADER[:3])
    result = old_world.tick()
    assert result["rows_new"] == 40 and result["drift"] is None and "label" in result["reason"]


@pytest.mark.slow
def test_a_file_that_may_not_be_read_is_said_once_and_met_again_when_it_may(old_world):
    """Root without its capabilities is held to the mode of its own files, as anybody."""
    path = old_world.root / "sourcedata" / "b.csv"
    path.chmod(0o200)
    assert tick_without_rights(old_world) == {"said": True, "rows": 150}
    assert tick_without_rights(old_world) == {"said": False, "rows": 150}
    path.chmod(0o600)
    assert tick_without_rights(old_world) == {"said": False, "rows": 300}


def tick_without_rights(workspace):
    bound = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    command = [*bound, sys.executable, ROOT / "fullprocess.py", "--config", workspace.config_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ledger = json.loads((workspace.root / "ingesteddata" / ".finaldata.json").read_text())
    return {"said": "b.csv: may not be read" in done.stderr, "rows": ledger["rows"]}


# --- training that cannot be -----------------------------------------------------------------------------


def test_one_class_completes_the_tick_with_65_and_is_met_again_when_data_come(workspace):
    workspace.put("testdata/t.csv", make_clients(100, "t"))
    workspace.put("sourcedata/a.csv", [row for row in make_clients(100, "a") if row[3] == "0"])
    result = workspace.tick(expect=65)
    assert "one class" in result["reason"] and result["deployed"] is False
    assert workspace.tick()["new_data"] is False and workspace.said == ""
    workspace.put("sourcedata/b.csv", make_clients(100, "b"))
    assert workspace.tick()["deployed"] is True


def test_missing_test_data_are_said_once_and_met_again_when_they_come(workspace):
    workspace.put("sourcedata/a.csv", make_clients(150, "a"))
    assert "testdata" in workspace.tick(expect=66)["reason"]
    assert workspace.tick()["reason"] is None and workspace.said == ""
    workspace.put("testdata/t.csv", make_clients(100, "t"))
    assert workspace.tick()["deployed"] is True


@pytest.mark.slow
def test_drift_whose_retraining_was_impossible_is_not_forgotten(old_world):
    first = old_world.tick()
    good = (old_world.root / "testdata" / "t.csv").read_text()
    (old_world.root / "testdata" / "t.csv").write_text("corporation,activity\nx,1\n")
    old_world.put("sourcedata/c.csv", make_clients(200, "c", "new"))
    result = old_world.tick(expect=65)
    assert result["drift"] is True and result["deployed"] is False and result["release"] == first["release"]
    assert old_world.tick()["reason"] is None
    (old_world.root / "testdata" / "t.csv").write_text(good)
    assert old_world.tick()["deployed"] is True


def test_a_first_folder_without_the_label_is_said_once_and_met_again_when_config_changes(old_world):
    old_world.configure(target_column="left")
    assert "'left'" in old_world.tick(expect=65)["reason"]
    assert old_world.tick()["reason"] is None and old_world.said == ""
    old_world.configure(target_column="exited")
    assert old_world.tick()["deployed"] is True


# --- the operator between ticks --------------------------------------------------------------------------


def test_a_walk_by_hand_and_then_cron_judges_nothing(old_world):
    release = old_world.walk()["release"]
    result = old_world.tick()
    assert result["release"] == release and result["drift"] is None and result["deployed"] is False
    assert (old_world.root / "models" / "summary_report.pdf").exists()
    assert old_world.tick()["reason"] is None


def test_a_deployment_by_hand_between_ticks_is_not_judged_on_its_own_rows(old_world):
    old_world.tick()
    old_world.put("sourcedata/c.csv", make_clients(200, "c", "new"))
    release = old_world.walk()["release"]
    result = old_world.tick()
    assert result["drift"] is None and result["release"] == release and result["deployed"] is False


@pytest.mark.slow
def test_a_rollback_is_answered_only_when_new_rows_arrive(old_world):
    first = old_world.tick()["release"]
    old_world.put("sourcedata/c.csv", make_clients(300, "c", "new"))
    assert old_world.tick()["deployed"] is True
    assert old_world.run("deployment", "--rollback")["release"] == first
    result = old_world.tick()
    assert result["release"] == first and result["deployed"] is False and result["drift"] is None
    assert old_world.tick()["reason"] is None
    old_world.put("sourcedata/d.csv", make_clients(300, "d", "new"))
    assert old_world.tick()["deployed"] is True


# --- config and folders ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_practice_then_production_and_back(old_world):
    old_world.put("practicedata/p.csv", make_clients(300, "p"))
    old_world.configure(input_folder_path="practicedata")
    practice = old_world.tick()
    table = old_world.table()
    for name in "ab":
        old_world.put(f"sourcedata/{name}.csv", make_clients(200, name, "new"))
    old_world.configure(input_folder_path="sourcedata")
    production = old_world.tick()
    assert production["drift"] is True and production["release"] != practice["release"]
    assert old_world.table() != table
    old_world.configure(input_folder_path="practicedata")
    back = old_world.tick()
    assert old_world.table() == table
    assert back["drift"] is None and back["deployed"] is False and back["release"] == production["release"]
    assert old_world.tick()["reason"] is None


def test_a_key_that_shapes_rows_rebuilds_and_retrains(old_world):
    first = old_world.tick()
    old_world.configure(ignore_columns=["colour"])
    result = old_world.tick()
    assert result["deployed"] is True and result["release"] != first["release"]
    card = json.loads((old_world.root / "production_deployment" / "modelcard.json").read_text())
    assert list(card["features"]) == ["activity"]
    assert old_world.tick()["reason"] is None


def test_another_key_waits_for_new_data_and_one_line_says_so(old_world):
    first = old_world.tick()
    old_world.configure(model={"estimator": "hist_gradient_boosting"})
    result = old_world.tick()
    assert result["deployed"] is None and "takes effect with the next new data" in old_world.said
    old_world.tick()
    assert old_world.said == ""
    assert old_world.release()["estimator"] == "logistic_regression" and first["release"]


def test_changed_test_data_refresh_the_report_and_deploy_nothing(old_world):
    first = old_world.tick()
    old_world.put("testdata/t.csv", make_clients(90, "t2"))
    result = old_world.tick()
    assert result["release"] == first["release"] and result["deployed"] is False
    diagnosed = json.loads((old_world.root / "models" / "diagnostics.json").read_text())
    assert diagnosed["predictions"]["n"] == 90


# --- trouble ---------------------------------------------------------------------------------------------


def test_a_held_lock_ends_the_tick_silently_and_a_stage_by_hand_names_the_holder(old_world, monkeypatch):
    from risk.runtime import runner

    monkeypatch.setattr(runner, "WAIT_S", 0.1)
    with (old_world.root / ".state" / "lock").open("w") as handle:
        handle.write("pid 4711 since long ago\n")
        handle.flush()
        fcntl.flock(handle, fcntl.LOCK_EX)
        assert old_world.tick() is None and old_world.said == ""
        old_world.run("ingestion", expect=75)
        assert "pid 4711" in old_world.said
    assert not (old_world.root / "ingesteddata").exists()


def test_a_step_that_fails_after_the_deployment_is_tried_again_and_undoes_nothing(old_world):
    (old_world.root / "models").mkdir()
    (old_world.root / "models" / "summary_report.pdf").mkdir()
    result = old_world.tick()
    assert result["deployed"] is True
    pending = old_world.state()["pending"]
    assert pending["steps"] == ["reporting"] and 500 < pending["next_at"] - time.time() < 601
    assert old_world.tick()["reason"] is None
    assert old_world.state()["pending"]["tries"] == 1
    make_due(old_world)
    old_world.tick()
    assert old_world.state()["pending"]["tries"] == 2
    assert 1100 < old_world.state()["pending"]["next_at"] - time.time() < 1201
    make_due(old_world, at=time.time() + 10**8)  # the clock was years ahead when that was written
    assert "reporting" in old_world.tick()["reason"]
    (old_world.root / "models" / "summary_report.pdf").rmdir()
    make_due(old_world)
    assert "unfinished steps" in old_world.tick()["reason"]
    assert old_world.state()["pending"] is None
    assert (old_world.root / "models" / "summary_report.pdf").is_file()


def test_a_report_that_had_to_do_with_old_diagnostics_is_made_again_with_them(old_world):
    old_world.tick()
    old_world.put("sourcedata/c.csv", make_clients(60, "c"))
    at_risk = old_world.root / "models" / "atrisk.csv"
    at_risk.unlink()
    at_risk.mkdir()
    old_world.tick()
    assert old_world.state()["pending"]["steps"] == ["diagnostics", "reporting"]
    at_risk.rmdir()
    make_due(old_world)
    old_world.tick()
    assert old_world.state()["pending"] is None
    told, found = (
        json.loads((old_world.root / "models" / name).read_text())
        for name in ("report.json", "diagnostics.json")
    )
    assert f"of {found['clients']['n_clients']} clients" in told["summary"]["headline"]
    assert found["clients"]["n_clients"] > 60


def make_due(workspace, at=0):
    path = workspace.root / ".state" / "tick.json"
    state = json.loads(path.read_text())
    state["pending"]["next_at"] = at
    path.write_text(json.dumps(state))


def test_a_damaged_release_is_said_once_a_day_and_nothing_is_judged(old_world):
    old_world.tick()
    model = (old_world.root / "production_deployment" / "trainedmodel.pkl").resolve()
    model.chmod(0o644)
    model.write_bytes(b"x" + model.read_bytes()[1:])
    old_world.put("sourcedata/c.csv", make_clients(100, "c"))
    old_world.tick(expect=65)
    assert "was changed after deployment" in old_world.said
    old_world.tick(expect=65)
    assert old_world.said == ""
    assert "was changed after deployment" in (old_world.root / "logs" / "pipeline.log").read_text()


def deploy_two(world):
    """Deploy one release, then another for drift; return both ids."""
    first = world.tick()["release"]
    world.put("sourcedata/c.csv", make_clients(300, "c", "new"))
    second = world.tick()["release"]
    assert first != second
    return first, second


@pytest.mark.slow
def test_in_place_of_a_damaged_release_the_one_before_is_deployed_and_a_new_one_made(old_world):
    first, second = deploy_two(old_world)
    model = (old_world.root / "production_deployment" / "trainedmodel.pkl").resolve()
    model.chmod(0o644)
    model.write_bytes(b"x" + model.read_bytes()[1:])
    assert "the deployed release is damaged" in old_world.tick("--dry-run")["reason"]
    result = old_world.tick()
    assert "was changed after deployment; run deployment.py" in old_world.said
    assert f"now release {first} is deployed" in old_world.said
    assert result["reason"] == f"release {second} was damaged, {first} took its place"
    assert result["deployed"] and result["release"] not in (first, second)
    old_world.run("diagnostics")
    assert old_world.tick()["new_data"] is False and old_world.said == ""


def test_a_release_that_was_only_touched_is_no_news(old_world):
    old_world.tick()
    os.utime((old_world.root / "production_deployment" / "trainedmodel.pkl").resolve())
    assert old_world.tick("--dry-run")["reason"] == "nothing new"
    assert old_world.tick()["release"] is None and old_world.said == ""


def test_a_model_copied_over_the_link_is_put_aside_and_the_release_stays(old_world):
    release = old_world.tick()["release"]
    path = old_world.root / "production_deployment" / "trainedmodel.pkl"
    path.unlink()
    path.write_bytes(b"my own")
    assert old_world.tick()["release"] == release
    assert "a file copied over it?" in old_world.said
    assert path.is_symlink() and path.with_name("trainedmodel.pkl.aside").read_bytes() == b"my own"
    assert old_world.tick()["release"] is None and old_world.said == ""


def test_a_model_of_another_scikit_learn_is_replaced_by_the_next_tick(old_world, monkeypatch):
    first = old_world.tick()
    from risk.model import registry

    real = registry.installed_scikit_learn()
    monkeypatch.setattr("importlib.metadata.version", lambda name: "0.1" if name == "scikit-learn" else real)
    old_world.put("sourcedata/c.csv", make_clients(50, "c"))
    result = old_world.tick()
    assert "scikit-learn is 0.1 now" in result["reason"] and result["drift"] is None
    assert first["deployed"]


def test_a_history_that_cannot_be_written_stops_no_tick(old_world):
    (old_world.root / "records.db").mkdir()
    assert old_world.tick()["deployed"] is True
    assert "the database cannot be used" in old_world.said


@pytest.mark.slow
@pytest.mark.parametrize("point", ["ingested", "trained", "scored", "deployed", "reported"])
def test_killed_anywhere_the_next_tick_ends_in_the_same_bytes(old_world, tmp_path, point):
    old_world.tick()
    old_world.put("sourcedata/c.csv", make_clients(300, "c", "new"))
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    for copy in (whole, torn):
        subprocess.run(["cp", "-a", str(old_world.root), str(copy)], check=True)
    run_and_kill(torn, point)
    ends = []
    for copy in (whole, torn):
        old_world.root, old_world.config_path = copy, copy / "config.json"
        old_world.tick()
        state = old_world.state()
        timed = ("models/diagnostics.json", "models/report.", "models/summary_report.pdf",
                 "models/timetrends.png")  # fmt: skip
        ends.append(old_world.bytes(*timed) | {"verdict": state["verdict"], "marks": state["marks"]})
    assert ends[0].keys() == ends[1].keys()
    assert [name for name in ends[0] if ends[0][name] != ends[1][name]] == []
    assert ends[0]["verdict"]["drift"] is True
    with sqlite3.connect(torn / "records.db") as history:
        (n_ticks,) = history.execute("select count(*) from ticks").fetchone()
        (n_verdicts,) = history.execute("select count(*) from drift").fetchone()
    assert n_ticks == 2 and n_verdicts == 1


AFTER = {
    "ingested": "import training as m; m.run = die",
    "trained": "import scoring as m; m.run = die",
    "scored": "import deployment as m; m.run = die",
    "deployed": "import diagnostics as m; m.run = die",
    "reported": "from risk.runtime import state as m; m.save_state = die",
}


def run_and_kill(root, point):
    code = (
        "import os, signal, sys, fullprocess\n"
        "def die(*_, **__): os.kill(os.getpid(), signal.SIGKILL)\n"
        f"{AFTER[point]}\n"
        f"fullprocess.main(['--config', {str(root / 'config.json')!r}])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


def test_a_dry_run_says_what_would_happen_and_changes_nothing(old_world, capsys):
    import fullprocess

    before = sorted(old_world.root.rglob("*"))
    assert fullprocess.main(["--config", str(old_world.config_path), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "first run" in said and "would read sourcedata/a.csv" in said and "would train" in said
    assert sorted(old_world.root.rglob("*")) == before
    old_world.tick()
    old_world.put("sourcedata/c.csv", make_clients(20, "c"))
    before = old_world.bytes(), old_world.state()
    result = old_world.tick("--dry-run")
    assert result["new_data"] and result["files_new"] == 1
    assert (old_world.bytes(), old_world.state()) == before


def test_the_json_of_a_tick_has_the_agreed_keys(old_world):
    keys = ["new_data", "files_new", "rows_new", "drift", "gate", "deployed", "release", "reason",
            "verdict", "recorded_score", "new_score", "records_waiting"]  # fmt: skip
    assert list(old_world.tick()) == keys
    assert list(old_world.tick()) == keys


@pytest.mark.slow
def test_each_tick_that_judges_notes_how_far_each_column_has_moved(old_world):
    old_world.tick()
    same = [
        [f"x{i}", row[1], row[2], row[3]]
        for i, row in enumerate(make_clients(300, "a") + make_clients(300, "z"))
    ]
    old_world.put("sourcedata/c.csv", same)
    old_world.tick()
    higher = [
        [f"y{i}", str(int(row[1]) + 60), row[2], row[3]] for i, row in enumerate(make_clients(300, "h"))
    ]
    old_world.put("sourcedata/d.csv", higher)
    old_world.tick()
    with sqlite3.connect(old_world.root / "records.db") as history:
        asked = "select column_name, n, psi, psi_critical, p_value from column_drift order by at, column_name"
        still, colour, moved, colour_later = history.execute(asked).fetchall()
    assert [row[:2] for row in (still, colour, moved, colour_later)] == [
        ("activity", 600), ("colour", 600), ("activity", 300), ("colour", 300),
    ]  # fmt: skip
    assert still[2] < still[3] and still[4] > 0.05 and colour[4] > 0.01
    assert moved[2] > 1 and moved[2] > moved[3] and moved[4] < 1e-6
    assert colour_later[2] < 0.1
    diagnosed = json.loads((old_world.root / "models" / "diagnostics.json").read_text())
    assert diagnosed["trends"]["psi/activity"]["last"] == moved[2]
