"""The score: its number, its interval, its text, and what it refuses."""

import json

import numpy as np
import pytest
from makers import make_clients
from scipy.stats import beta

from risk.metrics import classification


def test_latestscore_is_one_number_that_reads_back_equal(old_world):
    old_world.walk()
    text = (old_world.root / "models" / "latestscore.txt").read_text()
    metrics = json.loads((old_world.root / "models" / "metrics.json").read_text())
    assert text == f"{metrics['f1']!r}\n" and float(text) == metrics["f1"]
    assert metrics["f1_low"] < metrics["f1"] < metrics["f1_high"]


def test_every_figure_is_that_of_scikit_learn():
    from sklearn import metrics

    draw = np.random.default_rng(5)
    truth, probability = draw.integers(0, 2, 500), draw.random(500)
    called = (probability > 0.6).astype(int)
    found = classification.compute_score(truth, called, probability)
    assert found.f1 == pytest.approx(metrics.f1_score(truth, called), abs=1e-15)
    assert found.auc == metrics.roc_auc_score(truth, probability)
    assert found.average_precision == metrics.average_precision_score(truth, probability)
    assert found.floor_f1 == pytest.approx(metrics.f1_score(truth, np.ones(500)), abs=1e-15)
    assert [[found.true_negative, found.false_positive], [found.false_negative, found.true_positive]] == (
        metrics.confusion_matrix(truth, called).tolist()
    )


@pytest.mark.parametrize(("n_tp", "n_errors"), [(1, 1), (30, 12), (700, 1100)])
def test_the_interval_holds_95_percent_of_its_posterior(n_tp, n_errors):
    low, high = classification.f1_interval(n_tp, n_errors)
    jaccard = beta(n_tp + 0.5, n_errors + 0.5).rvs(200_000, random_state=1)
    f1 = 2 * jaccard / (1 + jaccard)
    assert np.mean((low <= f1) & (f1 <= high)) == pytest.approx(0.95, abs=0.003)


def test_the_interval_reaches_0_without_a_hit_and_1_without_an_error():
    assert classification.f1_interval(0, 5)[0] == 0.0
    assert classification.f1_interval(5, 0)[1] == 1.0


def test_one_class_has_no_auc_and_no_f1_without_a_leaver():
    stayed = classification.compute_score(np.zeros(4), np.array([0, 1, 0, 0]), np.array([0.1, 0.9, 0.2, 0.3]))
    assert stayed.f1 is None and stayed.auc is None and stayed.n == 4
    left = classification.compute_score(np.ones(2), np.array([1, 0]), np.array([0.9, 0.1]))
    assert left.f1 == pytest.approx(2 / 3) and left.auc is None


def test_test_data_without_a_leaver_are_refused(old_world):
    old_world.put("testdata/t.csv", [row for row in make_clients(50, "t") if row[3] == "0"])
    old_world.run("ingestion")
    old_world.run("training")
    old_world.run("scoring", expect=65)
    assert "no row of a client who left" in old_world.said


def test_bad_and_unlabelled_test_rows_are_left_out_and_said(old_world):
    rows = make_clients(100, "t")
    rows[0][1], rows[1][3] = "many", ""
    old_world.put("testdata/t.csv", rows)
    old_world.run("ingestion")
    old_world.run("training")
    assert old_world.run("scoring")["n"] == 98
    assert "1 bad rows" in old_world.said and "1 unlabelled rows" in old_world.said


def test_row_order_does_not_change_the_score(old_world):
    rows = make_clients(100, "t")
    old_world.put("testdata/t.csv", rows)
    old_world.run("ingestion")
    old_world.run("training")
    first = old_world.run("scoring")
    old_world.put("testdata/t.csv", rows[::-1])
    assert old_world.run("scoring") == first


def test_scoring_before_training_says_what_to_run(old_world):
    old_world.run("scoring", expect=66)
    assert "run training.py first" in old_world.said
