"""The verdict: the document's rule on both sides of its threshold; all rules with evidence; advice."""

import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from risk.data import profiles
from risk.model import card
from risk.monitoring import column_drift, evidence
from risk.monitoring.rules import RULES, RuleResult
from risk.monitoring.verdict import judge


def judge_score(recorded, truth, called):
    """Judge by the document's rule a model that answers `called` for rows with the labels `truth`."""
    y, called = np.array(truth, dtype=float), np.array(called)
    found = evidence.compute_evidence(
        y, called, called.astype(float),
        recorded_score=recorded, release_reference=None, shifts=(),
    )  # fmt: skip
    return judge("score", found, "r")


@pytest.mark.parametrize(
    ("recorded", "fires"), [(0.5, False), (0.49, False), (0.51, True), (math.nextafter(0.5, 1), True)]
)
def test_lower_than_recorded_is_drift_and_equal_is_not(recorded, fires):
    verdict = judge_score(recorded, [1, 1, 0, 0], [1, 0, 1, 0])  # F1 = 0.5
    assert verdict.drift is fires
    assert verdict.new_score == 0.5 and verdict.recorded_score == recorded
    assert verdict.n == 4 and verdict.leaver_share == 0.5 and verdict.auc == 0.5
    assert verdict.new_low < 0.5 < verdict.new_high
    assert ("is lower than" in verdict.reason) is fires


@pytest.mark.parametrize(
    ("new", "said"),
    [
        (([math.nan, math.nan], [0, 1]), "no new row has a label"),
        (([0, 0], [0, 1]), "all 2 labelled new rows stayed"),
        (([1, 1, 1], [1, 1, 0]), "all 3 labelled new rows left"),
    ],
)
def test_rows_without_both_classes_are_not_judged(new, said):
    verdict = judge_score(0.5, *new)
    assert verdict.drift is None and verdict.new_score is None and said in verdict.reason


# --- with evidence -----------------------------------------------------------------------------------------


def draw(rng, n):
    X = pd.DataFrame({"x": rng.normal(size=n)})
    return X, (rng.random(n) < 1 / (1 + np.exp(-2 * X["x"].to_numpy()))).astype(float)


def predict(X):
    probability = 1 / (1 + np.exp(-2 * X["x"].to_numpy()))
    return (probability > 0.5).astype(int), probability


def make_evidence(seed=0, n=400):
    rng = np.random.default_rng(seed)
    train, held, new = (draw(rng, size) for size in (1_000, 500, n))
    kept = card.make_reference(held[1], *predict(held[0]))
    known = profiles.make_profiles(train[0], ["x"], [])
    return evidence.compute_evidence(
        new[1], *predict(new[0]), recorded_score=kept["f1"], release_reference=kept,
        shifts=column_drift.compare_columns(known, profiles.count_columns(known, new[0])),
    )  # fmt: skip


FOUND = make_evidence()


def says(**drifts):
    """The same evidence, with other opinions."""
    opinions = {rule: RuleResult(told, 0.1, 0.01, f"{rule} said so") for rule, told in drifts.items()}
    return replace(FOUND, rules={**FOUND.rules, **opinions})


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_gives_its_own_opinion_and_all_of_the_evidence(rule):
    verdict = judge(rule, FOUND, "release-1")
    assert (verdict.rule, verdict.release) == (rule, "release-1")
    assert (verdict.drift, verdict.reason) == (FOUND.rules[rule].drift, FOUND.rules[rule].sentence)
    assert verdict.n == FOUND.n_labelled and verdict.new_score == FOUND.score.f1
    told = json.loads(json.dumps(verdict.to_json(), allow_nan=False))
    assert set(told["evidence"]["rules"]) == set(RULES)
    assert told["evidence"]["shifts"][0]["column"] == "x"


def test_a_verdict_gives_the_history_every_opinion_and_every_column():
    verdict = judge("auto", FOUND, "release-1")
    row = verdict.record()
    assert row["auto_says"] is verdict.drift and row["score_says"] is FOUND.rules["score"].drift
    assert row["reference_auc"] == FOUND.reference["auc"] and row["n_rows"] == FOUND.n
    assert row["auc_low"] < row["auc"] < row["auc_high"]
    assert [column["column_name"] for column in verdict.column_records()] == ["x"]


def test_an_unknown_rule_is_refused():
    with pytest.raises(ValueError, match="there is no rule 'psi'"):
        judge("psi", FOUND, "r")


@pytest.mark.parametrize("rule", ["score", "score_margin"])
@pytest.mark.parametrize(
    ("own", "auto", "said"),
    [
        (True, True, None),
        (False, False, None),
        (None, False, None),
        (True, None, None),
        (False, True, "finds no drift, the evidence shows drift: auto said so"),
        (None, True, "cannot judge these rows, the evidence shows drift: auto said so"),
        (True, False, "finds drift, the evidence shows none: auto said so"),
    ],
)
def test_the_operator_is_told_when_rule_and_evidence_disagree(rule, own, auto, said):
    advice = judge(rule, says(**{rule: own, "auto": auto}), "r").advice
    if said is None:
        assert advice is None
    else:
        assert f'the rule "{rule}" {said}' in advice
        assert advice.endswith('set "drift": {"rule": "auto"} in config.json')


def test_a_rule_that_is_the_evidence_needs_no_advice():
    for told in (True, False, None):
        assert judge("auto", says(auto=told, score=True), "r").advice is None


def test_advice_names_a_share_of_leavers_that_alone_has_changed():
    found = replace(says(score=True, auto=False), label_share_alone=True)
    assert "the share of leavers alone changed" in judge("score", found, "r").advice


def test_without_labels_a_verdict_has_no_score():
    rng = np.random.default_rng(1)
    X, _ = draw(rng, 50)
    found = evidence.compute_evidence(
        np.full(50, np.nan), *predict(X), recorded_score=0.7, release_reference=None, shifts=()
    )
    verdict = judge("score", found, "r")
    assert (verdict.drift, verdict.new_score, verdict.n, verdict.auc) == (None, None, 0, None)
    assert "no new row has a label" in verdict.reason
