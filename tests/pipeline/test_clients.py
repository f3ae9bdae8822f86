"""Clients who come back every month: whatever compares, compares clients and not their rows."""

import csv
import json
import pickle

import numpy as np
import pytest

import fullprocess
import ingestion
import scoring
import training

KEYS = {
    "input_folder_path": "in",
    "output_folder_path": "out",
    "test_data_path": "test",
    "output_model_path": "models",
    "prod_deployment_path": "production",
    "id_columns": ["client"],
    "target_column": "left",
}


def write_months(path, seed, n_clients, months, *, first=0, slope=0.0, noise=0.1):
    """Write a table in which each client has a row a month: its traits, a little changed, and its label."""
    draw = np.random.default_rng(seed)
    traits = draw.normal(size=(n_clients, 3))
    leaves = draw.random(n_clients) < 1 / (1 + np.exp(0.6 - slope * traits[:, 0]))
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="") as handle:
        rows = csv.writer(handle)
        rows.writerow(["client", "a", "b", "c", "left"])
        for month in months:
            drawn = np.random.default_rng([seed, month]).normal(size=traits.shape)
            for number, cells in enumerate(traits + noise * drawn):
                rows.writerow([f"K{first + number:04d}", *cells.round(4), int(leaves[number])])


@pytest.fixture
def workspace(tmp_path):
    def make(**keys):
        (tmp_path / "config.json").write_text(json.dumps({**KEYS, **keys}))
        return tmp_path

    return make


def run(root, *scripts):
    arguments = ["--config", str(root / "config.json"), "-q"]
    return max(script.main(arguments) for script in scripts or (ingestion, training, scoring))


def read(root, name):
    return json.loads((root / "models" / name).read_text())


def codes(facts):
    return [warning["code"] for warning in facts["warnings"]]


def test_pure_noise_is_no_better_than_chance_however_often_a_client_comes_back(workspace):
    root = workspace()
    write_months(root / "in" / "a.csv", 1, 80, range(8))
    write_months(root / "test" / "t.csv", 2, 60, range(1), first=500)
    assert run(root) == 0
    card = read(root, "modelcard.json")
    auc = card["cross_validation"]["auc"]
    assert auc["low"] < 0.5 < auc["high"] and 0.3 < auc["mean"] < 0.7
    assert card["cross_validation"]["n_clients"] == card["data"]["n_clients"] == 80
    assert "no_signal" in codes(card)


def test_a_score_on_clients_that_were_learned_from_is_not_trusted(workspace):
    """Later months of the same clients: no row of the test data is in the table, every client is."""
    root = workspace()
    write_months(root / "in" / "a.csv", 3, 150, range(4), slope=2.0)
    write_months(root / "test" / "t.csv", 3, 150, [9], slope=2.0)
    assert run(root, fullprocess) == 0
    metrics = read(root, "metrics.json")
    assert codes(metrics) == ["test_clients_in_training"]
    assert metrics["warnings"][0]["text"].startswith("150 of 150 test clients are training clients, too")
    trust = read(root, "report.json")["summary"]["trust"]
    assert (trust["answer"], trust["because"]) == (
        "unknown",
        ["It was tested on clients it was trained on."],
    )


def test_other_clients_make_a_score_that_counts_them_once(workspace):
    root = workspace()
    write_months(root / "in" / "a.csv", 3, 150, range(4), slope=2.0)
    write_months(root / "test" / "t.csv", 4, 100, range(6), first=500, slope=2.0)
    assert run(root) == 0
    wide = read(root, "metrics.json")
    assert (wide["n"], wide["n_clients"], codes(wide)) == (600, 100, [])
    write_months(root / "test" / "t.csv", 4, 100, range(1), first=500, slope=2.0)
    assert run(root, scoring) == 0
    once = read(root, "metrics.json")
    assert "n_clients" not in once, "where each client has one row nothing is said of clients"
    for name in ("f1", "auc"):
        six, one = (facts[f"{name}_high"] - facts[f"{name}_low"] for facts in (wide, once))
        assert 0.75 < six / one < 1.3, "six rows of a client tell little more than one"


def test_the_gate_counts_clients_and_learns_nothing_of_those_it_judges_on(workspace):
    root = workspace(model={"estimator": "logistic_regression"}, drift={"rule": "score"})
    write_months(root / "in" / "a.csv", 5, 150, range(3), slope=2.5)
    write_months(root / "test" / "t.csv", 6, 150, range(1), first=800, slope=2.5)
    assert run(root, fullprocess) == 0
    write_months(root / "in" / "b.csv", 7, 200, range(3), first=2000, slope=-2.5)  # the world has turned
    assert run(root, fullprocess) == 0
    verdict = read(root, "report.json")["verdict"]
    assert verdict["gate"]["decision"] == "PROMOTE"
    reason = next(one for one in verdict["gate"]["reasons"] if one.startswith("AUC"))
    n_clients = int(reason.split(" of the deployed model on ")[1].split(" clients (")[0])
    assert 45 <= n_clients <= 90, "a third of 200 clients, not of 600 rows"
    assert f"on {n_clients} clients ({3 * n_clients} rows) that neither has seen" in reason


def test_a_calibrated_model_of_clients_carries_no_positions_of_rows(workspace):
    root = workspace(model={"estimator": "hist_gradient_boosting"})
    write_months(root / "in" / "a.csv", 8, 200, range(3), slope=3.0, noise=0.5)
    write_months(root / "test" / "t.csv", 9, 100, range(1), first=900, slope=3.0, noise=0.5)
    assert run(root) == 0
    card = read(root, "modelcard.json")
    model = pickle.loads((root / "models" / "trainedmodel.pkl").read_bytes())
    if card["calibration"]["used"]:
        assert isinstance(model.estimator.cv, int) and isinstance(model.estimator_.cv, int)
    assert card["calibration"]["used"], "else this test shows nothing"


def test_one_client_of_a_class_cannot_be_learned_from(workspace, capsys):
    root = workspace()
    write_months(root / "in" / "a.csv", 1, 40, range(5))
    path = root / "in" / "a.csv"
    header, *rows = path.read_text().splitlines()
    rows = [f"{row.rpartition(',')[0]},{int(row.startswith('K0007'))}" for row in rows]
    path.write_text("\n".join([header, *rows, ""]))
    assert run(root, ingestion) == 0
    assert run(root, training) == 65
    assert "only 1 of 40 labelled clients leaves (one class cannot be learned)" in capsys.readouterr().err
