"""What is chosen on training rows, and what is left alone because a difference is noise."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import sklearn.ensemble  # noqa: F401  (its thread pool must be there before it can be limited)
from scipy import stats
from threadpoolctl import threadpool_limits

from risk.metrics import cross_validation
from risk.model import estimators, pipeline, selection, thresholds
from risk.model.pipeline import Recipe
from risk.model.thresholds import ThresholdRule
from risk.model.training_rows import LabelledRows

BALANCED = ThresholdRule("balanced")


@pytest.fixture(autouse=True)
def one_thread():
    """As in training: boosting on two threads of a busy machine may take minutes."""
    with threadpool_limits(1):
        yield


def odds(draw, logit):
    return (draw.random(len(logit)) < 1 / (1 + np.exp(-logit))).astype(np.int64)


def make_rows(n=1200, seed=0, world="linear"):
    """Clients of one number each of three kinds; what makes them leave depends on the world."""
    draw = np.random.default_rng(seed)
    X = pd.DataFrame({"flat": draw.normal(size=n), "skewed": draw.lognormal(0, 2, n)})
    logit = {
        "linear": 1.5 * X["flat"],
        "log": 1.5 * np.log(X["skewed"]),
        "middle": 3.0 * (X["flat"].abs() < 0.7) - 1.5,
        "none": 0.0 * X["flat"],
    }[world]
    return X, odds(draw, logit.to_numpy() - 1)


def choose(X, y, estimator="auto", rule=BALANCED, **settings):
    recipe = Recipe("", tuple(X.columns), (), **settings)
    return selection.choose(label(X, y), recipe, estimator, rule, np.arange(len(y)))


def label(X, y):
    return LabelledRows(X, y, np.ones(len(y), dtype=bool), np.empty(0), len(y))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("world", "estimator", "logged"),
    [
        ("linear", estimators.LINEAR, ()),
        ("log", estimators.LINEAR, ("skewed",)),
        ("middle", estimators.BOOSTED, ()),
    ],
)
def test_each_world_gets_its_model(world, estimator, logged):
    choice = choose(*make_rows(world=world))
    assert (choice.recipe.estimator, choice.recipe.logged) == (estimator, logged)
    facts = choice.facts["selection"]
    assert (facts["gain"] > facts["standard_error"]) == (estimator == estimators.BOOSTED)
    assert facts["log_scale"]["columns"] == ["skewed"]
    assert facts["log_scale"]["used"] == (facts["log_scale"]["gain"] > facts["log_scale"]["standard_error"])
    assert set(facts["auc"]) == {estimators.LINEAR, f"{estimators.LINEAR} on a log scale", estimators.BOOSTED}


def test_a_named_estimator_is_the_one_that_is_taken():
    assert (
        choose(*make_rows(world="middle"), estimator=estimators.LINEAR).recipe.estimator == estimators.LINEAR
    )
    choice = choose(*make_rows(400), estimator=estimators.BOOSTED)
    assert choice.recipe.estimator == estimators.BOOSTED and list(choice.facts["selection"]["auc"]) == [
        estimators.BOOSTED
    ]


def test_only_skewed_numbers_without_a_negative_value_are_tried_on_a_log_scale():
    draw = np.random.default_rng(0)
    n = 500
    X = pd.DataFrame({
        "skewed": draw.lognormal(0, 1, n),
        "with gaps": np.where(draw.random(n) < 0.2, np.nan, draw.lognormal(0, 1, n)),
        "even": draw.random(n),
        "negative": draw.lognormal(0, 1, n) - 0.5,
        "rare flag": (draw.random(n) < 0.02).astype(float),
        "empty": np.nan,
        "constant": 7.0,
        "skewed to the left": 1000 - draw.lognormal(0, 1, n),
    })  # fmt: skip
    assert selection.find_skewed(X, list(X.columns), np.arange(n)) == ["skewed", "with gaps"]
    X.loc[n - 1, "skewed"] = -1.0  # outside the sample
    assert selection.find_skewed(X, list(X.columns), np.arange(n - 1)) == ["with gaps"]


def test_skewness_is_the_moment_coefficient():
    values = np.random.default_rng(0).lognormal(size=200)
    assert selection.skewness(values) == pytest.approx(stats.skew(values))
    assert selection.skewness(np.ones(5)) == 0


def test_honest_probabilities_are_left_alone_and_boasting_ones_are_calibrated():
    X, y = make_rows()
    honest = choose(X, y, estimators.LINEAR)
    assert not honest.recipe.calibrated
    weighted = choose(X, y, estimators.LINEAR, params={"class_weight": "balanced"})
    facts = weighted.facts["calibration"]
    assert weighted.recipe.calibrated and facts["used"]
    assert facts["brier_after"] < facts["brier_before"] - 0.01 and facts["gain"] > facts["standard_error"]
    assert facts["brier_after"] == pytest.approx(honest.facts["calibration"]["brier_before"], abs=0.002)
    for curve in (facts["curve_before"], facts["curve_after"]):
        assert len(curve) == 10 and sum(one["n"] for one in curve) == len(y)
    off = [abs(one["mean_predicted"] - one["share_left"]) for one in facts["curve_after"]]
    assert max(off) < 0.1


def test_a_model_without_signal_is_not_calibrated_for_a_sigmoid_could_turn_it_round():
    X, y = make_rows(600, world="none", seed=3)
    facts = choose(X, y, estimators.BOOSTED).facts
    assert facts["calibration"]["gain"] > facts["calibration"]["standard_error"]
    assert facts["cross_validation"]["auc"]["low"] <= 0.5 and not facts["calibration"]["used"]


@pytest.mark.parametrize(("n_left", "refined"), [(29, False), (30, True)])
def test_under_thirty_leavers_nothing_is_refined(n_left, refined):
    X, _ = make_rows(200)
    y = (np.arange(200) < n_left).astype(np.int64)
    choice = choose(X, y, estimators.LINEAR)
    assert ("log_scale" in choice.facts["selection"]) == refined
    assert ("reason" in choice.facts["calibration"]) != refined


@pytest.mark.parametrize(("n_left", "compared"), [(4, False), (5, True)])
def test_under_five_leavers_the_linear_model_is_taken_uncompared(n_left, compared):
    X, _ = make_rows(40)
    y = (np.arange(40) < n_left).astype(np.int64)
    facts = choose(X, y).facts["selection"]
    assert (estimators.BOOSTED in facts["auc"]) == compared and ("reason" in facts) != compared


@pytest.mark.parametrize(
    "rule", [BALANCED, ThresholdRule("f1"), ThresholdRule("cost", 1.0, 5.0), ThresholdRule(0.4)], ids=str
)
@pytest.mark.parametrize("estimator", ["auto", estimators.LINEAR, estimators.BOOSTED])
def test_five_rows_are_enough_to_train_on(rule, estimator):
    X, _ = make_rows(5)
    X["word"] = pd.Series(["a", "b", None, "a", "c"], dtype="str")
    y = np.array([1, 0, 1, 0, 0])
    recipe = Recipe("", ("flat", "skewed"), ("word",))
    choice = selection.choose(label(X, y), recipe, estimator, rule, np.arange(5))
    model = pipeline.make_model(choice.recipe, threshold=choice.threshold).fit(X, y)
    assert set(model.predict(X)) <= {0, 1} and 0 < choice.threshold < 1


@pytest.mark.slow
def test_what_is_chosen_depends_on_the_rows_alone():
    X, y = make_rows(500, world="log")
    assert choose(X, y) == choose(X.copy(), y.copy())


# --- thresholds ------------------------------------------------------------------------------------------


def make_found(n=2000, slope=1.0, seed=0):
    """Log-odds said by a model that boasts by a slope."""
    draw = np.random.default_rng(seed)
    truth = draw.normal(-1, 1.5, n)
    y = odds(draw, truth)
    fold = cross_validation.draw_folds(y, random_state=0)
    return cross_validation.OutOfFold(y, fold, np.tile(truth / slope, (len(fold), 1)))


def test_balanced_and_numbers_are_taken_as_they_are():
    found = make_found()
    assert selection.choose_threshold(found, BALANCED, 0.27)[:2] == (0.27, {})
    assert selection.choose_threshold(found, ThresholdRule(0.4), 0.27)[:2] == (0.4, {})


def test_the_rule_f1_takes_the_best_cut_of_all_left_out_rows_and_is_judged_on_folds_that_did_not_choose():
    found = make_found(300)
    chosen, _, f1 = selection.choose_threshold(found, ThresholdRule("f1"), 0.3)
    y, probability = found.pooled()
    assert chosen == thresholds.choose_by_f1(y, probability)
    best = np.mean([
        max(thresholds.f1_score(found.y[out], found.probability[r, out] >= c) for c in np.linspace(0, 1, 99))
        for r, out in found.parts()
    ])  # fmt: skip
    assert f1["mean"] < best
    out = found.fold[0] == 0
    turned = replace(found, y=np.where(out, 1 - found.y, found.y))
    assert (
        selection.choose_for_folds(turned, ThresholdRule("f1"), 0.3)[0]
        == selection.choose_for_folds(found, ThresholdRule("f1"), 0.3)[0]
    )


def test_the_rule_cost_stays_where_honest_probabilities_ask_for_a_call():
    chosen, facts, _ = selection.choose_threshold(make_found(), ThresholdRule("cost", 2.0, 10.0), 0.3)
    assert chosen == facts["expected_cost_cut"] == 0.2
    costs = facts["cost_per_client"]
    assert costs["call_everyone"] == 2.0
    assert costs["call_nobody"] == pytest.approx(10 * make_found().y.mean())
    assert costs["at_expected_cost_cut"] < min(costs["call_everyone"], costs["call_nobody"])


def test_the_rule_cost_moves_when_another_cut_costs_less_by_more_than_noise():
    boasting = make_found(4000, slope=0.2)
    rule = ThresholdRule("cost", 1.0, 20.0)
    chosen, facts, _ = selection.choose_threshold(boasting, rule, 0.3)
    assert facts["gain"] > facts["standard_error"]
    assert chosen == facts["least_cost_cut"] == thresholds.choose_by_cost(*boasting.pooled(), 1.0, 20.0)
    assert chosen < 0.05
    costs = facts["cost_per_client"]
    assert costs["at_least_cost_cut"] < costs["at_expected_cost_cut"]


def test_the_rule_cost_without_costs_is_a_mistake_of_the_caller():
    with pytest.raises(ValueError, match="needs call_cost and loss_cost"):
        selection.choose_threshold(make_found(200), ThresholdRule("cost"), 0.3)


def test_the_floor_stands_beside_the_scores():
    X, y = make_rows()
    facts = choose(X, y, estimators.LINEAR).facts["cross_validation"]
    share = y.mean()
    assert facts["floor"] == {
        "auc": 0.5, "f1": pytest.approx(2 * share / (1 + share)), "brier": pytest.approx(share * (1 - share))
    }  # fmt: skip
    assert (facts["n_rows"], facts["n_positive"], facts["n_folds"]) == (len(y), y.sum(), 15)
    for name in ("auc", "f1", "brier"):
        one = facts[name]
        assert 0 <= one["low"] < one["mean"] < one["high"] <= 1 and one["std"] > 0
    assert facts["auc"]["low"] > 0.5 and facts["f1"]["low"] > facts["floor"]["f1"]
