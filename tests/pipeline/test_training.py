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
from makers import make_clients
from table_frames import read_table

import training
from config import load_config
from risk.data.frames import to_frame
from risk.data.ledger import load_ready_ledger
from risk.data.schema import Schema
from risk.model import pickling, training_rows

ROOT = Path(__file__).resolve().parents[2]
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


def card_of(workspace):
    return json.loads((workspace.root / "models" / "modelcard.json").read_text())


def test_a_plain_pickle_predicts_a_frame_of_pandas_as_the_pipeline_does(mixed):
    model = load_model(mixed)
    card = card_of(mixed)
    schema = Schema.from_json(card["schema"])
    assert dict(schema.kinds) == {"usage": "number", "plan": "text", "paid": "number"}
    plain = pd.read_csv(mixed.root / "testdata" / "t.csv")
    assert plain["paid"].dtype == bool
    texts = [dict(zip(MIXED, row, strict=True)) for row in make_mixed(300, 2)]
    ours = to_frame(texts, schema)
    shuffled = plain[["left", "plan", "paid", "customer", "usage"]]
    assert np.array_equal(model.predict_proba(ours), model.predict_proba(shuffled))
    assert np.array_equal(model.predict(ours), model.predict(shuffled))
    assert set(model.predict(ours)) == {0, 1}


def test_the_card_says_what_the_model_is_for_what_not_and_who_is_told(mixed):
    card = card_of(mixed)
    assert "risk of leaving (left = " in card["intended_use"]
    assert any("without a person" in limit for limit in card["limits"])
    assert "an alert" in card["readers"]["operator"]


def test_unseen_words_and_missing_cells_get_a_finite_probability(mixed):
    model = load_model(mixed)
    frame = pd.DataFrame({"usage": [np.nan, 1e6], "plan": ["never seen", np.nan], "paid": [np.nan, 1.0]})
    assert np.isfinite(model.predict_proba(frame)).all()


def test_the_balanced_threshold_is_the_share_of_leavers_in_training(mixed):
    model, card = load_model(mixed), card_of(mixed)
    share = card["data"]["n_positive"] / card["data"]["n_samples"]
    assert card["threshold"] == share
    frame = pd.DataFrame({"usage": np.linspace(0, 100, 50), "plan": "pro", "paid": 0.0})
    assert np.array_equal(model.predict(frame), (model.predict_proba(frame)[:, 1] >= share).astype(int))


@pytest.mark.slow
def test_another_process_writes_the_same_bytes_and_every_class_is_on_the_list(mixed):
    before = mixed.bytes("records", "models/diag")
    script = ROOT / "training.py"
    subprocess.run([sys.executable, script, "--config", mixed.config_path], check=True, capture_output=True)
    assert mixed.bytes("records", "models/diag") == before
    data = (mixed.root / "models" / "trainedmodel.pkl").read_bytes()
    digest = card_of(mixed)["model_sha256"]
    assert pickling.load_model(data, digest, Path("m")) is not None


@pytest.mark.slow
def test_a_model_with_everything_inside_has_the_same_bytes_in_another_process(workspace):
    """Log scale, calibration and a chosen threshold: what the pickle says is what pandas gets from it."""
    rows = make_mixed(600, 1)
    draw = random.Random(7)
    for row in rows:
        income = draw.lognormvariate(8, 2)
        row[1] = f"{income:.2f}"
        row[4] = "Yes" if draw.random() < (0.7 if income < 1000 else 0.1) else "No"
    settings = {"estimator": "logistic_regression", "threshold": "f1", "params": {"class_weight": "balanced"}}
    workspace.configure(target_column="left", id_columns=["customer"], model=settings)
    workspace.put("sourcedata/a.csv", rows, MIXED)
    workspace.run("ingestion")
    workspace.run("training")
    card = card_of(workspace)
    log_scale = card["selection"]["log_scale"]
    assert log_scale["used"] and log_scale["columns"] == ["usage"] and card["calibration"]["used"]
    before = workspace.bytes("records", "models/diag")
    script = ROOT / "training.py"
    subprocess.run(
        [sys.executable, script, "--config", workspace.config_path], check=True, capture_output=True
    )
    assert workspace.bytes("records", "models/diag") == before
    data = before["models/trainedmodel.pkl"]
    model = pickling.load_model(data, card["model_sha256"], Path("m"))
    plain = pd.read_csv(workspace.root / "sourcedata" / "a.csv")
    texts = [dict(zip(MIXED, row, strict=True)) for row in rows]
    ours = to_frame(texts, Schema.from_json(card["schema"]))
    assert np.array_equal(model.predict_proba(ours), model.predict_proba(plain))
    plain["usage"] = -1
    assert np.isfinite(model.predict_proba(plain)).all()


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
    selection = card_of(workspace)["selection"]
    better = selection["gain"] > selection["standard_error"] > 0
    assert result["estimator"] == ("hist_gradient_boosting" if better else "logistic_regression")
    assert selection["n_rows"] == 400


def test_a_threshold_of_the_config_is_taken(workspace):
    workspace.configure(model={"estimator": "logistic_regression", "threshold": 0.9})
    workspace.put("sourcedata/a.csv", make_clients(300, "a"))
    workspace.put("testdata/t.csv", make_clients(100, "t"))
    workspace.walk()
    assert load_model(workspace).threshold == 0.9


def test_the_rule_f1_reaches_another_threshold_than_balanced_and_calls_by_it(old_world):
    old_world.configure(model={"estimator": "logistic_regression", "threshold": "f1"})
    old_world.walk()
    card = card_of(old_world)
    assert card["threshold_rule"] == "f1"
    assert load_model(old_world).threshold == card["threshold"] != card["data"]["n_positive"] / 300


def test_the_rule_cost_calls_more_clients_the_dearer_a_loss_is(old_world):
    called = {}
    for loss in (4, 40):
        costs = {"threshold": "cost", "call_cost": 3, "loss_cost": loss}
        old_world.configure(model={"estimator": "logistic_regression", **costs})
        old_world.walk()
        card = card_of(old_world)
        assert card["threshold_choice"]["expected_cost_cut"] == 3 / loss
        assert card["threshold"] in (3 / loss, card["threshold_choice"]["least_cost_cut"])
        metrics = json.loads((old_world.root / "models" / "metrics.json").read_text())
        called[loss] = metrics["true_positive"] + metrics["false_positive"]
    assert called[4] < called[40]


def test_the_card_sets_scores_of_left_out_rows_beside_the_floor(old_world):
    old_world.walk()
    card = card_of(old_world)
    found = card["cross_validation"]
    assert (found["n_rows"], found["n_folds"], found["floor"]["auc"]) == (300, 15, 0.5)
    assert found["auc"]["low"] > 0.5 and found["f1"]["mean"] > found["floor"]["f1"]
    assert {"brier_before", "brier_after", "curve_before", "curve_after"} < set(card["calibration"])
    assert card["rows"] == {"used": "all"} and card["warnings"] == []


def test_what_makes_a_score_doubtful_stands_in_the_card_and_is_said(workspace):
    header = ["corporation", "activity", "row", "state", "empty", "exited"]
    rows = [
        [name, activity, n, "gone" if left == "1" else "here", "", left]
        for n, (name, activity, _, left) in enumerate(make_clients(300, "a"))
    ]
    workspace.put("sourcedata/a.csv", rows, header)
    workspace.run("ingestion")
    workspace.run("training")
    warnings = card_of(workspace)["warnings"]
    assert [(one["code"], one["columns"]) for one in warnings] == [
        ("like_an_id", ["row"]), ("leak", ["state"]), ("constant", ["empty"])
    ]  # fmt: skip
    assert [one["text"] in workspace.said for one in warnings] == [True, True, False]


def test_labels_drawn_by_lot_are_no_better_than_chance(workspace):
    draw = random.Random(5)
    rows = [[*row[:3], draw.choice("01")] for row in make_clients(300, "a")]
    workspace.put("sourcedata/a.csv", rows)
    workspace.run("ingestion")
    workspace.run("training")
    (warning,) = card_of(workspace)["warnings"]
    assert warning["code"] == "no_signal" and warning["text"] in workspace.said


# --- for the gate --------------------------------------------------------------------------------------


def train(workspace, **arguments):
    return training.run(load_config(workspace.config_path), **arguments)


def read_rows(workspace, start):
    """Read the labelled rows behind an offset, as a gate would."""
    config = load_config(workspace.config_path)
    ledger = load_ready_ledger(config.ledger)
    schema = Schema.from_json(ledger.schema)
    return read_table(config.final_data, schema, start=start, stop=ledger.length)


@pytest.fixture
def grown(old_world):
    """A model of 300 rows is trained; then 400 rows of the new world come. Gives the training mark, too."""
    old_world.run("ingestion")
    old_world.run("training")
    mark = card_of(old_world)["data"]["length"]
    rows = make_clients(400, "c", "new")
    for row in rows[:40]:
        row[3] = ""
    old_world.put("sourcedata/c.csv", rows)
    old_world.run("ingestion")
    return old_world, mark


def test_a_third_of_the_new_rows_is_held_back_and_is_the_third_that_the_gate_finds(grown):
    workspace, mark = grown
    result = train(workspace, new_from=mark)
    X, y = read_rows(workspace, mark)
    held_back = training_rows.hold_back(X[y == y], y[y == y])
    assert 80 < result.n_held_back == held_back.sum() < 160
    assert result.n_held_back_positive == y[y == y][held_back].sum()
    rows = card_of(workspace)["rows"]
    assert (rows["n_old"], rows["n_new"]) == (300, 360 - result.n_held_back)


def test_in_a_world_turned_round_the_candidate_is_fitted_on_new_rows_alone_and_refitted_on_all_of_them(grown):
    workspace, mark = grown
    result = train(workspace, new_from=mark)
    card = card_of(workspace)
    assert card["rows"]["used"] == "new" and card["rows"]["gain"] > card["rows"]["standard_error"]
    assert result.n_samples == 360 - result.n_held_back == card["data"]["n_samples"]
    again = train(workspace, refit=result.plan)
    assert (again.n_samples, again.n_held_back) == (360, 0)
    final = card_of(workspace)
    assert final["selection"] == card["selection"] and final["rows"] == card["rows"]
    assert final["threshold"] == final["data"]["n_positive"] / 360
    X, y = read_rows(workspace, mark)
    assert (load_model(workspace).predict(X[y == y]) == y[y == y]).mean() > 0.8


def test_in_the_same_world_the_candidate_is_fitted_on_all_rows_but_the_held_back_ones(old_world):
    old_world.run("ingestion")
    mark = json.loads((old_world.root / "ingesteddata" / ".finaldata.json").read_text())["length"]
    old_world.put("sourcedata/c.csv", make_clients(400, "c"))
    old_world.run("ingestion")
    result = train(old_world, new_from=mark)
    assert card_of(old_world)["rows"]["used"] == "all"
    assert result.n_samples == 700 - result.n_held_back
    assert train(old_world, refit=result.plan).n_samples == 700
    refitted = (old_world.root / "models" / "trainedmodel.pkl").read_bytes()
    old_world.run("training")
    assert (old_world.root / "models" / "trainedmodel.pkl").read_bytes() == refitted


@pytest.mark.parametrize("needed", [True, False])
def test_a_row_without_which_nothing_can_be_learned_is_not_held_back(workspace, needed):
    """Two leavers in all, one among the new rows: when it is of the third, nothing is held back."""
    frame = pd.DataFrame({"activity": np.arange(40.0, 60.0), "colour": pd.Series(["red"] * 20, dtype="str")})
    of_the_third = training_rows.hold_back(frame, np.ones(20))
    leaver = 40 + int(np.flatnonzero(of_the_third == needed)[0])
    rows = [[f"c{k}", str(k), "red", str(int(k in (3, leaver)))] for k in range(60)]
    workspace.put("sourcedata/a.csv", rows[:40])
    workspace.run("ingestion")
    mark = json.loads((workspace.root / "ingesteddata" / ".finaldata.json").read_text())["length"]
    workspace.put("sourcedata/b.csv", rows[40:])
    workspace.run("ingestion")
    result = train(workspace, new_from=mark)
    assert (result.n_held_back == 0) == needed
    assert (result.n_positive, result.n_samples) == (2, 60 - result.n_held_back)


def test_a_mark_at_the_end_or_the_beginning_of_the_table_compares_nothing(old_world):
    old_world.run("ingestion")
    length = json.loads((old_world.root / "ingesteddata" / ".finaldata.json").read_text())["length"]
    assert train(old_world, new_from=length).n_held_back == 0
    assert "too few" in card_of(old_world)["rows"]["reason"]
    assert 70 < train(old_world, new_from=0).n_held_back < 130
    assert "no older row" in card_of(old_world)["rows"]["reason"]


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
