"""Rules and gate in a whole tick: who is deployed, who is held, and what the operator is told."""

import json
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from makers import HEADER, make_clients

ROOT = Path(__file__).resolve().parents[2]
CONSTANT = {"estimator": "hist_gradient_boosting", "params": {"min_samples_leaf": 100_000}}


def card_of(workspace, folder="production_deployment"):
    return json.loads((workspace.root / folder / "modelcard.json").read_text())


def rows_of(workspace, table):
    with sqlite3.connect(workspace.root / "records.db") as history:
        history.row_factory = sqlite3.Row
        return [dict(row) for row in history.execute(f"select * from {table} order by at")]


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["score", "score_margin", "auto"])
def test_a_turned_world_is_drift_by_every_rule_and_the_candidate_passes(old_world, rule):
    old_world.configure(drift={"rule": rule})
    first = old_world.tick()
    old_world.put("sourcedata/c.csv", make_clients(400, "c", "new"))
    result = old_world.tick()
    assert (result["drift"], result["gate"], result["deployed"]) == (True, "PROMOTE", True)
    verdict = result["verdict"]
    assert verdict["rule"] == rule and verdict["release"] == first["release"]
    assert {name: one["drift"] for name, one in verdict["evidence"]["rules"].items()} == {
        "score": True, "score_margin": True, "auto": True,
    }  # fmt: skip
    assert verdict["gate"]["judged_on"] == "new rows that neither model has seen"
    assert verdict["gate"]["auc"]["delta"] > 0.5
    (drift,), (gate,) = rows_of(old_world, "drift"), rows_of(old_world, "gates")
    assert (drift["rule"], drift["score_margin_says"], drift["auto_says"]) == (rule, 1, 1)
    assert drift["score_margin_p_value"] < 0.05 and drift["reference_auc"] > 0.8
    assert (gate["decision"], gate["release"]) == ("PROMOTE", first["release"])
    assert [row["gate"] for row in rows_of(old_world, "ticks")] == [None, "PROMOTE"]


@pytest.mark.slow
def test_what_passes_the_gate_is_fitted_again_on_every_row_and_keeps_its_measure(old_world):
    old_world.tick()
    assert card_of(old_world)["reference"]["rows"] == "cross-validated"
    old_world.put("sourcedata/c.csv", make_clients(600, "c", "new"))
    result = old_world.tick()
    card = card_of(old_world)
    assert card["data"]["n_samples"] == (600 if card["rows"]["used"] == "new" else 900)
    assert card["gate"] == result["verdict"]["gate"]
    assert card["reference"]["rows"] == "held back from the candidate"
    assert 150 < card["reference"]["n"] == card["gate"]["n"] < 250
    assert card["reference"]["auc"] == card["gate"]["auc"]["candidate"]


@pytest.mark.slow
def test_the_next_batch_of_the_new_world_is_no_drift_again(old_world):
    old_world.configure(drift={"rule": "auto"})
    old_world.tick()
    moved = [[row[0], str(int(row[1]) + 200), *row[2:]] for row in make_clients(1200, "c")]
    old_world.put("sourcedata/c.csv", moved)
    result = old_world.tick()
    assert result["drift"] is True and result["verdict"]["evidence"]["moved"] == ["activity"]
    assert result["gate"] == "PROMOTE"
    moved = [[row[0], str(int(row[1]) + 200), *row[2:]] for row in make_clients(300, "d")]
    old_world.put("sourcedata/d.csv", moved)
    assert old_world.tick()["drift"] is False


@pytest.mark.slow
def test_a_worse_candidate_is_held_and_the_deployed_model_goes_on(old_world):
    first = old_world.tick()
    old_world.configure(model=CONSTANT)
    old_world.put("sourcedata/c.csv", make_clients(400, "c", "new")[:60] + make_clients(400, "d"))
    result = old_world.tick()
    assert (result["drift"], result["gate"], result["deployed"]) == (True, "HOLD", False)
    assert result["release"] == first["release"] and "significantly worse" in result["reason"]
    verdict = json.loads((old_world.root / "models" / "verdict.json").read_text())
    card = card_of(old_world, "models")
    assert verdict["decision"] == "HOLD" and verdict["candidate_sha256"] == card["model_sha256"]
    assert card["gate"]["reasons"] == verdict["reasons"]
    report = json.loads((old_world.root / "models" / "report.json").read_text())
    assert "was held, the deployed model stays" in report["verdict_said"][1]
    assert old_world.tick()["reason"] is None, "a HOLD completes the tick"
    assert old_world.run("deployment")["release"] != first["release"], "by hand there is no gate"


@pytest.mark.slow
@pytest.mark.parametrize(("gate", "deployed"), [("better", False), ("none", True), ("not_worse", True)])
def test_a_candidate_without_a_difference_passes_not_worse_and_not_better(old_world, gate, deployed):
    old_world.configure(deployment={"gate": gate}, drift={"rule": "score"})
    old_world.tick()
    for seed in "ijklmn":
        old_world.put(f"sourcedata/{seed}.csv", make_clients(120, seed))
        result = old_world.tick()
        if result["drift"]:
            break
    assert result["drift"] is True, "the document's rule fires on noise soon"
    assert result["deployed"] is deployed
    assert result["gate"] == {"better": "HOLD", "none": None, "not_worse": "PROMOTE"}[gate]


@pytest.mark.slow
def test_few_new_rows_are_judged_on_the_test_data(old_world):
    old_world.tick()
    old_world.put("sourcedata/c.csv", make_clients(40, "c", "new"))
    result = old_world.tick()
    gate = result["verdict"]["gate"]
    assert gate["judged_on"] == "test data" and gate["n"] == 200
    assert "too few" in gate["reasons"][-1]
    assert result["deployed"] is (gate["decision"] == "PROMOTE")


def test_drift_of_rows_without_a_label_is_told_and_nothing_is_retrained(old_world):
    old_world.configure(drift={"rule": "auto"})
    first = old_world.tick()
    rows = [[row[0], str(int(row[1]) + 500), row[2]] for row in make_clients(200, "c")]
    old_world.put("sourcedata/c.csv", rows, HEADER[:3])
    result = old_world.tick()
    assert result["drift"] is True and result["verdict"]["evidence"]["moved"] == ["activity"]
    assert result["deployed"] is False and result["release"] == first["release"]
    assert "no new row has a label to learn from" in result["reason"]
    assert old_world.tick()["reason"] is None


def test_drift_that_the_document_s_rule_does_not_see_is_said_with_the_line_that_follows_it(old_world):
    old_world.tick()
    risky = [[row[0], str(int(row[1]) % 40), row[2], "1"] for row in make_clients(300, "c")]
    old_world.put("sourcedata/c.csv", risky + make_clients(40, "d"))
    result = old_world.tick()
    assert result["drift"] is False and result["verdict"]["evidence"]["rules"]["auto"]["drift"] is True
    assert 'set "drift": {"rule": "auto"} in config.json' in old_world.said
    diagnosed = json.loads((old_world.root / "models" / "diagnostics.json").read_text())
    assert diagnosed["verdict"]["advice"] in old_world.said


@pytest.mark.slow
@pytest.mark.parametrize("point", ["refitted", "noted"])
def test_killed_behind_the_gate_the_next_tick_ends_in_the_same_bytes(old_world, tmp_path, point):
    old_world.tick()
    old_world.put("sourcedata/c.csv", make_clients(300, "c", "new"))
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    for copy in (whole, torn):
        subprocess.run(["cp", "-a", str(old_world.root), str(copy)], check=True)
    place = {"refitted": "risk.runtime.retraining as m; m.put_json", "noted": "scoring as m; m.run"}[point]
    code = (
        "import os, signal, fullprocess\n"
        "def die(*_, **__): os.kill(os.getpid(), signal.SIGKILL)\n"
        f"import {place} = die\n"
        f"fullprocess.main(['--config', {str(torn / 'config.json')!r}])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    ends = []
    for copy in (whole, torn):
        old_world.root, old_world.config_path = copy, copy / "config.json"
        old_world.tick()
        kept = ("production_deployment/", "ingesteddata/", "models/modelcard.json", "models/verdict.json")
        ends.append({name: data for name, data in old_world.bytes().items() if name.startswith(kept)})
        assert [row["decision"] for row in rows_of(old_world, "gates")] == ["PROMOTE"]
    assert ends[0] == ends[1]
