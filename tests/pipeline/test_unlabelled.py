"""Rows without a label, from their file to the day their label comes."""

import json
import shutil
import sqlite3

import pytest
from makers import HEADER, make_clients
from pypdf import PdfReader

from risk.metrics import classification
from risk.model import registry
from risk.monitoring import delayed_labels

UNLABELLED = HEADER[:3]


def without_labels(rows):
    return [row[:3] for row in rows]


def verdict_of(workspace):
    return workspace.state()["verdict"]


def rows_of(workspace, columns):
    with sqlite3.connect(workspace.root / "records.db") as connection:
        return connection.execute(f"select {columns} from estimates order by at, n_labelled").fetchall()


def report_of(workspace):
    pages = PdfReader(workspace.root / "models" / "summary_report.pdf").pages
    return " ".join(" ".join(page.extract_text() for page in pages).split())


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """Where the workspace of `estimated` is kept once it was made."""
    return tmp_path_factory.mktemp("template") / "workspace"


@pytest.fixture
def estimated(old_world, template):
    """A workspace whose deployed model has spoken of 80 rows without a label."""
    old_world.configure(drift={"rule": "auto"})
    if not template.exists():
        old_world.tick()
        old_world.put("sourcedata/c.csv", without_labels(make_clients(80, "c")), UNLABELLED)
        old_world.tick()
        shutil.copytree(old_world.root, template, symlinks=True)
    shutil.rmtree(old_world.root)
    shutil.copytree(template, old_world.root, symlinks=True)
    return old_world


def test_rows_without_a_label_have_an_estimate_wherever_a_verdict_is_told(estimated):
    found = verdict_of(estimated)["estimate"]
    assert found["n"] == 80 and found["f1_low"] < found["f1"] < found["f1_high"]
    assert found["auc_low"] < found["auc"] < found["auc_high"] and 0.2 < found["leaver_share"] < 0.8
    assert "not detect clients leaving for other reasons" in found["sentence"]
    models = estimated.root / "models"
    assert json.loads((models / "diagnostics.json").read_text())["verdict"]["estimate"] == found
    assert json.loads((models / "report.json").read_text())["verdict_said"][-1] == f"{found['sentence']}."
    assert "estimated for 80 rows without a label" in report_of(estimated)
    assert "without labels: F1" in (estimated.root / "logs" / "pipeline.log").read_text()
    release = verdict_of(estimated)["release"]
    expected = [(release, 80, found["f1"], found["auc_high"], None, None)]
    assert rows_of(estimated, "release, n, f1, auc_high, n_labelled, realised_f1") == expected
    assert len(delayed_labels.load_pending(estimated.root / ".state" / "awaited.bin").rows) == 80


def test_when_labels_come_the_realised_score_of_exactly_these_rows_stands_beside_the_estimate(estimated):
    _, model = registry.load_deployed(estimated.root / "production_deployment")
    rows = make_clients(80, "c")[:60]
    estimated.put("sourcedata/d.csv", [*rows, *make_clients(30, "d")])
    (audit,) = estimated.tick()["verdict"]["audits"]
    frame, y = read_rows(rows)
    real = classification.compute_score(y, *registry.predict(model, frame))
    assert (audit["n"], audit["f1"], audit["auc"]) == (60, real.f1, real.auc)
    assert audit["f1_held"] is True and audit["auc_held"] is True
    columns = "n, f1, n_labelled, realised_f1, realised_auc"
    (told,) = [row for row in rows_of(estimated, columns) if row[2] is not None]
    assert told == (60, pytest.approx(real.f1 - audit["f1_error"]), 60, real.f1, real.auc)
    facts = json.loads((estimated.root / "models" / "diagnostics.json").read_text())
    assert facts["trends"]["f1/estimate_error"]["last"] == pytest.approx(audit["f1_error"])
    assert "60 rows estimated before have labels now" in report_of(estimated)
    said = "the interval of an estimate held for F1 in 1 of 1"
    assert said in report_of(estimated)
    assert estimated.run("diagnostics", "--history")["series"]["auc/estimate_error"]["n"] == 1


def read_rows(rows):
    import numpy as np
    import pandas as pd

    colours = pd.Series([row[2] or None for row in rows], dtype="str")
    frame = pd.DataFrame({"activity": [float(row[1]) for row in rows], "colour": colours})
    return frame, np.array([int(row[3]) for row in rows])


def test_a_client_whose_features_have_changed_is_another_row(estimated):
    rows = make_clients(80, "c")
    changed = [[row[0], str(int(row[1]) + 1000), *row[2:]] for row in rows[:40]]
    other = [[f"{row[0]}-x", *row[1:]] for row in rows[40:]]
    estimated.put("sourcedata/d.csv", changed + other)
    assert estimated.tick()["verdict"]["audits"] == []


@pytest.mark.slow
def test_a_release_is_audited_for_what_it_said_also_when_another_is_deployed(estimated):
    first = verdict_of(estimated)["release"]
    estimated.put("sourcedata/d.csv", make_clients(400, "d", "new"))
    second = estimated.tick()["release"]
    assert second != first
    estimated.put("sourcedata/e.csv", make_clients(80, "c", "old"))
    (audit,) = estimated.tick()["verdict"]["audits"]
    assert audit["release"] == first and audit["n"] == 80 and audit["f1_held"] is True


def test_concept_drift_shows_only_when_labels_come(estimated):
    rows = [[*row[:3], str(1 - int(row[3]))] for row in make_clients(80, "c")]
    assert verdict_of(estimated)["estimate"]["auc"] > 0.7
    estimated.put("sourcedata/d.csv", rows)
    (audit,) = estimated.tick()["verdict"]["audits"]
    assert audit["f1_held"] is False and audit["auc_held"] is False and audit["auc"] < 0.4
    assert "outside the interval" in audit["sentence"]


@pytest.mark.slow
def test_a_tick_that_is_run_again_ends_with_the_same_estimates(estimated):
    state = estimated.root / ".state"
    before = (state / "tick.json").read_bytes()
    rows = make_clients(80, "c")
    estimated.put("sourcedata/d.csv", [*rows[:50], *make_clients(20, "d")])
    estimated.put("sourcedata/e.csv", without_labels(make_clients(30, "e")), UNLABELLED)
    once = estimated.tick()["verdict"], (state / "awaited.bin").read_bytes(), rows_of(estimated, "*")
    assert once[0]["estimate"]["n"] == 30 and once[0]["audits"][0]["n"] == 50
    (state / "tick.json").write_bytes(before)
    again = estimated.tick()["verdict"], (state / "awaited.bin").read_bytes(), rows_of(estimated, "*")
    assert again == once


def test_rows_whose_labels_come_with_them_are_neither_estimated_nor_awaited(old_world):
    old_world.configure(drift={"rule": "auto"})
    old_world.tick()
    rows = make_clients(60, "c")
    old_world.put("sourcedata/c.csv", without_labels(rows), UNLABELLED)
    old_world.put("sourcedata/d.csv", rows)
    verdict = old_world.tick()["verdict"]
    assert (verdict["estimate"], verdict["audits"]) == (None, [])
    assert not (old_world.root / ".state" / "awaited.bin").exists()


@pytest.mark.slow
def test_without_id_columns_rows_are_estimated_and_never_recognised(old_world):
    old_world.configure(drift={"rule": "auto"}, id_columns=[], ignore_columns=["corporation"])
    old_world.tick()
    rows = make_clients(60, "c")
    old_world.put("sourcedata/c.csv", without_labels(rows), UNLABELLED)
    assert old_world.tick()["verdict"]["estimate"]["n"] == 60
    old_world.put("sourcedata/d.csv", rows)
    assert old_world.tick()["verdict"]["audits"] == []


def test_with_too_few_known_outcomes_no_number_is_given(workspace):
    workspace.configure(drift={"rule": "auto"})
    workspace.put("sourcedata/a.csv", make_clients(25, "a"))
    workspace.put("testdata/t.csv", make_clients(50, "t"))
    workspace.tick()
    workspace.put("sourcedata/b.csv", without_labels(make_clients(40, "b")), UNLABELLED)
    found = workspace.tick()["verdict"]["estimate"]
    assert (found["n"], found["f1"], found["auc"]) == (40, None, None)
    assert "no estimate: to check the calibration of its probabilities, 30 rows" in report_of(workspace)


def test_a_model_is_the_same_to_the_byte_with_rows_that_have_no_label(workspace, tmp_path):
    rows = make_clients(200, "a")
    models = []
    for added in ([], [[*row[:3], ""] for row in make_clients(150, "b", "new")]):
        mixed = [row for pair in zip(rows, added, strict=False) for row in pair] + rows[len(added) :]
        workspace.put("sourcedata/a.csv", mixed or rows)
        workspace.run("ingestion", "--rebuild")
        workspace.run("training")
        models.append((workspace.root / "models" / "trainedmodel.pkl").read_bytes())
    assert models[0] == models[1]
