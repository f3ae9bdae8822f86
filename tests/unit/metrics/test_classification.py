"""Metrics of a classifier: held against scikit-learn, stored by name, registered by one row."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from labelled import draw
from sklearn.metrics import average_precision_score, confusion_matrix, f1_score, roc_auc_score

from risk.metrics import classification

CELLS = st.tuples(*[st.integers(0, 300)] * 4)


# --- a score -----------------------------------------------------------------------------------------------


def test_a_score_agrees_with_scikit_learn():
    rng = np.random.default_rng(0)
    y, probability = draw(rng, 200, 0.3, 1.0)
    flagged = (probability > 0.5).astype(float)
    found = classification.compute_score(y, flagged, probability)
    values = found.to_json()
    assert found.f1 == pytest.approx(f1_score(y, flagged), abs=1e-12)
    assert values["floor_f1"] == pytest.approx(f1_score(y, np.ones(200)), abs=1e-15)
    assert found.auc == pytest.approx(roc_auc_score(y, probability), abs=1e-12)
    assert values["average_precision"] == average_precision_score(y, probability)
    names = ("true_negative", "false_positive", "false_negative", "true_positive")
    assert [values[name] for name in names] == confusion_matrix(y, flagged).ravel().tolist()
    assert found.auc_low < found.auc < found.auc_high and found.f1_low < found.f1 < found.f1_high


@given(CELLS)
def test_counting_tells_the_four_kinds_of_answers(cells):
    n_tp, n_fp, n_fn, n_tn = cells
    y = np.array([1] * n_tp + [0] * n_fp + [1] * n_fn + [0] * n_tn)
    flagged = np.array([1] * (n_tp + n_fp) + [0] * (n_fn + n_tn))
    assert classification.count_confusion(y, flagged) == cells


def test_the_values_are_stored_by_name_in_the_order_of_the_registry():
    stored = classification.compute_score(*np.array([[1, 0, 1], [1, 0, 0], [0.9, 0.2, 0.4]])).to_json()
    assert list(stored) == [
        *("n", "n_positive", "f1", "f1_low", "f1_high", "auc", "average_precision", "floor_f1"),
        *("true_positive", "false_positive", "false_negative", "true_negative", "auc_low", "auc_high"),
    ]


@pytest.mark.parametrize(("label", "undefined"), [(0.0, {"f1", "floor_f1", "auc"}), (1.0, {"auc"})])
def test_what_is_not_defined_for_one_class_is_none(label, undefined):
    rows = np.full(5, label), np.ones(5), np.full(5, 0.7)
    stored = classification.compute_score(*rows).to_json()
    also = {
        "auc": {"auc_low", "auc_high", "average_precision"},
        "f1": {"f1_low", "f1_high"},
        "floor_f1": set(),
    }
    expected = undefined.union(*(also[name] for name in undefined))
    assert {name for name, value in stored.items() if value is None} == expected


def test_a_metric_of_ones_own_takes_one_row_of_the_registry(monkeypatch):
    def accuracy(rows):
        return float(np.mean(rows.y_true == rows.y_pred))

    monkeypatch.setitem(classification.METRICS, "accuracy", accuracy)
    found = classification.compute_score(*np.array([[1, 0, 1], [1, 0, 0], [0.9, 0.2, 0.4]]))
    assert found.to_json()["accuracy"] == pytest.approx(2 / 3)


def test_one_class_has_no_auc_and_no_f1_without_a_leaver():
    stayed = classification.compute_score(np.zeros(4), np.array([0, 1, 0, 0]), np.array([0.1, 0.9, 0.2, 0.3]))
    assert stayed.f1 is None and stayed.auc is None and stayed.n == 4
    left = classification.compute_score(np.ones(2), np.array([1, 0]), np.array([0.9, 0.1]))
    assert left.f1 == pytest.approx(2 / 3) and left.auc is None
