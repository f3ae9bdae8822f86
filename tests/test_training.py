"""The model: what it takes, what it says, and that its bytes depend on the data alone."""

import json
import pickle
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import make_clients

from risk import dataset, releases
from risk.dataset import Schema

ROOT = Path(__file__).resolve().parent.parent
ESTIMATORS = ("logistic_regression", "hist_gradient_boosting")


def make_mixed(n, seed):
    """Make clients with numbers, text, booleans, missing cells and rare words."""
    draw = random.Random(seed)
    rows = []
    for number in range(n):
        usage, paid = draw.gauss(50, 20), draw.random() < 0.7
        plan = draw.choice(["basic", "pro", "max", ""]) if number % 40 else f"rare-{number}"
        risk = 0.8 if usage < 40 and not paid else 0.1
        cells = ["" if draw.random() < 0.05 else f"{usage:.3f}", plan, str(paid)]
        rows.append([f"NA{number}", *cells, "Yes" if draw.random() < risk else "No"])
    return rows


MIXED = ["customer", "usage", "plan", "paid", "left"]


@pytest.fixture(params=ESTIMATORS)
def mixed(workspace, request):
    workspace.configure(target_column="left", id_columns=["customer"], model={"estimator": request.param})
    workspace.put("sourcedata/a.csv", make_mixed(600, 1), MIXED)
    workspace.put("testdata/t.csv", make_mixed(300, 2), MIXED)
    workspace.walk()
    return workspace


def load_model(workspace):
    with (workspace.root / "models" / "trainedmodel.pkl").open("rb") as handle:
        return pickle.load(handle)


def test_a_plain_pickle_predicts_a_frame_of_pandas_as_the_pipeline_does(mixed):
    model = load_model(mixed)
    card = json.loads((mixed.root / "models" / "modelcard.json").read_text())
    schema = Schema.from_json(card["schema"])
    assert dict(schema.kinds) == {"usage": "number", "plan": "text", "paid": "number"}
    plain = pd.read_csv(mixed.root / "testdata" / "t.csv")
    assert plain["paid"].dtype == bool
    texts = [dict(zip(MIXED, row, strict=True)) for row in make_mixed(300, 2)]
    ours = dataset.to_frame(texts, schema)
    shuffled = plain[["left", "plan", "paid", "customer", "usage"]]
    assert np.array_equal(model.predict_proba(ours), model.predict_proba(shuffled))
    assert np.array_equal(model.predict(ours), model.predict(shuffled))
    assert set(model.predict(ours)) == {0, 1}


def test_unseen_words_and_missing_cells_get_a_finite_probability(mixed):
    model = load_model(mixed)
    frame = pd.DataFrame({"usage": [np.nan, 1e6], "plan": ["never seen", np.nan], "paid": [np.nan, 1.0]})
    assert np.isfinite(model.predict_proba(frame)).all()


def test_the_balanced_threshold_is_the_share_of_leavers_in_training(mixed):
    model, card = load_model(mixed), json.loads((mixed.root / "models" / "modelcard.json").read_text())
    share = card["data"]["n_positive"] / card["data"]["n_samples"]
    assert card["threshold"] == share
    frame = pd.DataFrame({"usage": np.linspace(0, 100, 50), "plan": "pro", "paid": 0.0})
    assert np.array_equal(model.predict(frame), (model.predict_proba(frame)[:, 1] >= share).astype(int))


def test_another_process_writes_the_same_bytes_and_every_class_is_on_the_list(mixed):
    before = mixed.bytes("records", "models/diag")
    script = ROOT / "training.py"
    subprocess.run([sys.executable, script, "--config", mixed.config_path], check=True, capture_output=True)
    assert mixed.bytes("records", "models/diag") == before
    data = (mixed.root / "models" / "trainedmodel.pkl").read_bytes()
    digest = json.loads((mixed.root / "models" / "modelcard.json").read_text())["model_sha256"]
    assert releases.load_model(data, digest, Path("m")) is not None


@pytest.mark.parametrize("column", ["paid", "usage", "plan"])
def test_a_column_without_any_value_is_no_obstacle(workspace, column):
    rows = make_mixed(200, 3)
    for row in rows:
        row[MIXED.index(column)] = ""
    workspace.configure(target_column="left", id_columns=["customer"])
    for folder in ("sourcedata", "testdata"):
        workspace.put(f"{folder}/a.csv", rows, MIXED)
    assert workspace.walk()["deployed"]


def test_auto_says_why_it_chose(workspace):
    workspace.configure(model={"estimator": "auto"})
    workspace.put("sourcedata/a.csv", make_clients(400, "a"))
    workspace.run("ingestion")
    result = workspace.run("training")
    selection = json.loads((workspace.root / "models" / "modelcard.json").read_text())["selection"]
    better = selection["gain"] > selection["standard_error"] > 0
    assert result["estimator"] == ("hist_gradient_boosting" if better else "logistic_regression")
    assert selection["n_rows"] == 400


def test_a_threshold_of_the_config_is_taken(workspace):
    workspace.configure(model={"estimator": "logistic_regression", "threshold": 0.9})
    workspace.put("sourcedata/a.csv", make_clients(300, "a"))
    workspace.put("testdata/t.csv", make_clients(100, "t"))
    workspace.walk()
    assert load_model(workspace).threshold == 0.9


def test_parameters_reach_scikit_learn_and_wrong_ones_are_named(workspace):
    workspace.put("sourcedata/a.csv", make_clients(300, "a"))
    workspace.run("ingestion")
    workspace.configure(model={"estimator": "logistic_regression", "params": {"C": 0.5}})
    workspace.run("training")
    assert load_model(workspace).estimator_[-1].C == 0.5
    workspace.configure(model={"estimator": "logistic_regression", "params": {"depth": 3}})
    workspace.run("training", expect=78)
    assert "depth" in workspace.said and "Traceback" not in workspace.said
    workspace.configure(model={"estimator": "auto", "params": {"C": 0.5}})
    workspace.run("training", expect=78)
    assert "name the estimator" in workspace.said


def test_parameters_that_make_a_model_hold_itself_are_refused(workspace):
    workspace.put("sourcedata/a.csv", make_clients(300, "a"))
    workspace.run("ingestion")
    params = {"early_stopping": True, "scoring": "roc_auc"}
    workspace.configure(model={"estimator": "hist_gradient_boosting", "params": params})
    workspace.run("training", expect=78)
    assert "model.params" in workspace.said and "Traceback" not in workspace.said
    assert not (workspace.root / "models" / "trainedmodel.pkl").exists()


def test_training_before_ingestion_says_what_to_run(workspace):
    workspace.run("training", expect=66)
    assert "run ingestion.py first" in workspace.said


def test_unlabelled_rows_are_not_trained_on(workspace):
    rows = make_clients(200, "a")
    for row in rows[:50]:
        row[3] = ""
    workspace.put("sourcedata/a.csv", rows)
    assert workspace.run("ingestion")["rows_unlabelled"] == 50
    assert workspace.run("training")["n_samples"] == 150
