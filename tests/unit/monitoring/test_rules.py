"""The reference of a release, the evidence of new rows, and what each rule says of it."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from risk.data import profiles
from risk.metrics import classification, two_sample
from risk.model import card
from risk.monitoring import column_drift, evidence, reference, rules
from risk.monitoring.column_drift import ColumnShift
from risk.monitoring.reference import LeaverShare, ScoreTest
from risk.monitoring.rules import RuleInputs


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def draw(rng, n, *, move=0.0, slope=1.5, intercept=-0.5):
    """Two columns, one of which decides who leaves; the model knows the first world."""
    x = rng.normal(move, 1, n)
    X = pd.DataFrame({"x": x, "kind": pd.Series(rng.choice(["a", "b"], n), dtype="str")})
    y = (rng.random(n) < sigmoid(slope * x + intercept)).astype(float)
    return X, y


def predict(X):
    probability = sigmoid(1.5 * X["x"].to_numpy() - 0.5)
    return (probability > 0.4).astype(int), probability


RNG = np.random.default_rng(0)
TRAIN, TRAIN_Y = draw(RNG, 2_000)
HELD, HELD_Y = draw(RNG, 800)
REFERENCE = json.loads(json.dumps(card.make_reference(HELD_Y, *predict(HELD), y_train=TRAIN_Y)))
PROFILES = profiles.make_profiles(TRAIN, ["x"], ["kind"])


def look(X, y, **given):
    known = given.pop("profiles", PROFILES)
    shifts = column_drift.compare_columns(known, profiles.count_columns(known, X))
    settings = {
        "recorded_score": REFERENCE["f1"],
        "release_reference": REFERENCE,
        "shifts": shifts,
        "alpha": 0.05,
    }
    return evidence.compute_evidence(y, *predict(X), **(settings | given))


# --- the reference -----------------------------------------------------------------------------------------


def test_a_reference_is_small_json_and_holds_the_score_of_its_rows():
    assert len(json.dumps(REFERENCE)) < 10_000
    score = classification.compute_score(HELD_Y, *predict(HELD)).to_json()
    assert {name: REFERENCE[name] for name in score} == score
    assert REFERENCE["leavers"] == {"n": 2_000, "n_positive": int(TRAIN_Y.sum())}
    assert not set(reference.drop_machine_fields(REFERENCE)) & {"ranking", "score_profile", "leavers"}


def test_without_training_labels_the_leavers_of_the_reference_rows_count():
    kept = card.make_reference(HELD_Y, *predict(HELD))
    assert kept["leavers"] == {"n": 800, "n_positive": int(HELD_Y.sum())}


def test_a_reference_of_one_class_or_of_no_row_is_kept_all_the_same():
    for y in (np.zeros(3), np.array([])):
        kept = card.make_reference(y, y, y)
        assert kept["ranking"] is None and kept["auc"] is None
        json.dumps(kept, allow_nan=False)


@pytest.mark.parametrize(
    ("n_leavers", "n_stayers", "metric"), [(30, 30, "AUC"), (29, 200, "F1"), (200, 29, "F1")]
)
def test_auc_is_tested_from_30_rows_of_each_class_on_and_f1_below(n_leavers, n_stayers, metric):
    X, y = draw(np.random.default_rng(1), 2_000)
    rows = np.concatenate([np.flatnonzero(y == 1)[:n_leavers], np.flatnonzero(y == 0)[:n_stayers]])
    score = classification.compute_score(y[rows], *(part[rows] for part in predict(X)))
    from risk.metrics import auc

    tested = reference.compare_skill(REFERENCE, score, auc.compute_ranking(y[rows], predict(X)[1][rows]))
    assert tested.metric == metric and tested.after == getattr(score, metric.lower())
    assert tested.margin == REFERENCE[metric.lower()] - tested.after


# --- nothing has changed -----------------------------------------------------------------------------------


def test_rows_of_the_same_world_are_no_drift_to_margin_and_auto():
    found = look(*draw(np.random.default_rng(2), 1_000))
    assert [found.rules[rule].drift for rule in ("score_margin", "auto")] == [False, False]
    assert found.moved == () and found.label_share_alone is False
    assert (found.n, found.n_labelled) == (1_000, 1_000)
    assert "none of 2 columns shifted" in found.rules["auto"].sentence


def test_evidence_is_json_and_the_same_each_time():
    X, y = draw(np.random.default_rng(3), 300)
    one = json.dumps(look(X, y).to_json(), allow_nan=False)
    assert one == json.dumps(look(X, y).to_json())
    assert {"rules", "shifts", "score", "reference", "leavers", "prediction"} <= set(json.loads(one))


# --- the rules, both sides of their thresholds -------------------------------------------------------------


def test_score_compares_with_the_recorded_score_alone():
    X, y = draw(np.random.default_rng(4), 400)
    f1 = look(X, y).score.f1
    for recorded, drift in ((f1, False), (np.nextafter(f1, 1), True)):
        opinion = look(X, y, recorded_score=float(recorded)).rules["score"]
        assert opinion.drift is drift and opinion.p_value is None
        assert opinion.margin == recorded - f1


def test_score_margin_fires_at_alpha_and_not_above():
    X, y = draw(np.random.default_rng(5), 300, slope=0.9)
    p_value = look(X, y).rules["score_margin"].p_value
    assert 0 < p_value < 0.5
    assert look(X, y, alpha=p_value).rules["score_margin"].drift is True
    below = look(X, y, alpha=p_value * 0.999).rules["score_margin"]
    assert below.drift is False and "by no more than chance explains" in below.sentence
    assert below.margin == REFERENCE["f1"] - look(X, y).score.f1


def test_concept_drift_is_seen_by_the_score_and_by_no_column():
    found = look(*draw(np.random.default_rng(6), 800, slope=0.2))
    assert found.rules["auto"].drift and found.rules["auto"].p_value < 1e-6
    assert found.moved == ()
    assert "by more than chance explains (p < 0.001)" in found.rules["auto"].sentence


def test_covariate_shift_is_seen_by_the_column_even_without_any_label():
    X, y = draw(np.random.default_rng(7), 500, move=1.0)
    for labels in (y, y * np.nan):
        found = look(X, labels)
        assert found.rules["auto"].drift and found.moved == ("x",)
        assert "1 of 2 columns shifted: x (median" in found.rules["auto"].sentence
    assert (found.n, found.n_labelled, found.score) == (500, 0, None)
    assert found.rules["score"].drift is None and found.rules["score_margin"].drift is None
    assert found.prediction.material and any("predicted probabilities shifted" in s for s in found.sentences)


def test_scores_are_of_the_labelled_rows_and_shifts_of_all():
    X, y = draw(np.random.default_rng(8), 600)
    y[:400] = np.nan
    found = look(X, y)
    assert (found.n, found.n_labelled) == (600, 200)
    assert found.score == classification.compute_score(y[400:], *(part[400:] for part in predict(X)))
    assert {one.n for one in found.shifts} == {600}


def test_a_share_of_leavers_that_alone_has_changed_is_named_and_no_alarm():
    rng = np.random.default_rng(9)
    X, y = draw(rng, 20_000)
    keep = np.concatenate([np.flatnonzero(y == 1)[:150], np.flatnonzero(y == 0)[:1_000]])
    noise = pd.DataFrame({"kind": X["kind"].iloc[keep].reset_index(drop=True)})
    called, probability = (part[keep] for part in predict(X))
    known = {"kind": PROFILES["kind"]}
    found = evidence.compute_evidence(
        y[keep], called, probability, recorded_score=REFERENCE["f1"], release_reference=REFERENCE,
        shifts=column_drift.compare_columns(known, profiles.count_columns(known, noise)),
    )  # fmt: skip
    assert found.label_share_alone and found.rules["auto"].drift is False
    assert found.rules["score"].drift and found.rules["score_margin"].drift
    said = next(s for s in found.sentences if s.startswith("the share of leavers changed from"))
    assert "nothing else drifted" in said


def test_the_share_of_leavers_is_tested_exactly():
    X, y = draw(np.random.default_rng(10), 200)
    before = REFERENCE["leavers"]
    expected = two_sample.compare_shares(before["n_positive"], before["n"], int(y.sum()), 200)
    assert look(X, y).leavers == LeaverShare(before["n_positive"] / before["n"], y.mean(), expected)


# --- Holm between the two, Benjamini-Hochberg among the columns --------------------------------------------


def column(name, p, material=True):
    return ColumnShift(name, "number", 100, 100, 0.5, 0.1, 0.3, p, p, 0, 0, None, 0, material, "median 1 → 2")


def ask(p_score, *shifts, alpha=0.05):
    skill = None if p_score is None else ScoreTest("AUC", 0.8, 0.7, p_score)
    inputs = RuleInputs(0.5, None, None, skill, shifts, alpha)
    return rules.select_shifted(inputs), rules.judge_auto(inputs)


@pytest.mark.parametrize(
    ("p_score", "p_column", "drift", "moved"),
    [
        (0.025, 0.9, True, []),
        (0.026, 0.9, False, []),
        (0.9, 0.025, True, ["x"]),
        (0.9, 0.026, False, []),
        (0.025, 0.05, True, ["x"]),  # the score is found at half of alpha: the columns have all of it
        (0.026, 0.05, False, []),
        (None, 0.05, True, ["x"]),
        (None, 0.051, False, []),
        (0.05, None, True, []),
        (0.051, None, False, []),
    ],
)
def test_score_and_columns_share_alpha_and_alone_each_has_all_of_it(p_score, p_column, drift, moved):
    found, opinion = ask(p_score, *([] if p_column is None else [column("x", p_column)]))
    assert (opinion.drift, [one.column for one in found]) == (drift, moved)


def test_a_significant_column_that_hardly_moved_is_no_drift():
    assert ask(None, column("x", 1e-9, material=False))[1].drift is False
    assert ask(None, column("x", 1e-9, material=False), column("y", 0.01))[0] == [column("y", 0.01)]


def test_columns_are_named_most_surprising_first_and_three_at_most():
    shifts = [column(name, p) for name, p in (("a", 0.01), ("b", 0.001), ("c", 0.02), ("d", 0.002))]
    found, opinion = ask(None, *shifts)
    assert [one.column for one in found] == ["b", "d", "a", "c"]
    assert "4 of 4 columns shifted: b (median 1 → 2), d" in opinion.sentence
    assert opinion.sentence.endswith("and 1 more") and "c (" not in opinion.sentence


# --- what cannot be judged ---------------------------------------------------------------------------------


def test_without_reference_and_profiles_only_the_documents_rule_can_judge():
    found = look(*draw(np.random.default_rng(11), 100), release_reference=None, profiles={})
    assert found.rules["score"].drift is not None
    for rule in ("score_margin", "auto"):
        assert found.rules[rule].drift is None and "has no reference" in found.rules[rule].sentence
    assert (found.reference, found.prediction, found.leavers.p_value) == (None, None, None)


@pytest.mark.parametrize(("label", "word"), [(1.0, "left"), (0.0, "stayed")])
def test_labels_of_one_class_judge_no_score_but_columns_still_count(label, word):
    X, _ = draw(np.random.default_rng(12), 200, move=1.0)
    found = look(X, np.full(200, label))
    for rule in ("score", "score_margin"):
        assert (
            found.rules[rule].drift is None
            and f"all 200 labelled new rows {word}" in found.rules[rule].sentence
        )
    assert found.rules["auto"].drift is True


def test_neither_labels_nor_profiles_is_said():
    X, y = draw(np.random.default_rng(13), 50)
    found = look(X, y * np.nan, profiles={})
    assert found.rules["auto"].drift is None and "no new row has a label" in found.rules["auto"].sentence


def test_no_new_row_is_judged_by_no_rule():
    X, y = draw(np.random.default_rng(14), 10)
    found = look(X.iloc[:0], y[:0])
    assert [found.rules[rule].drift for rule in found.rules] == [None, None, None]
    json.dumps(found.to_json(), allow_nan=False)


def test_a_drop_may_not_come_from_a_reference_of_one_class():
    kept = dict(REFERENCE) | {"ranking": None, "f1": None}
    found = look(*draw(np.random.default_rng(15), 100), release_reference=kept)
    assert found.rules["score_margin"].drift is None
    assert found.rules["auto"].drift is False
    assert replace(found, rules={}).moved == ()
