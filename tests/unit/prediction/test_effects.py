"""Effects of columns: exact sums for the linear model, Shapley's order for boosting."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from explained_models import fit, make_explainer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mixed_rows import NUMBERS, TEXTS, make_rows
from scipy.special import expit, logit

from risk.model import decomposition, estimators
from risk.model.pipeline import Recipe
from risk.prediction import baselines
from risk.prediction.effects import Explainer

pytestmark = pytest.mark.usefixtures("one_thread")
quick = settings(
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def cells_to_explain(X):
    """Add to rows of training what training never saw: an unknown category, and cells missing anywhere."""
    odd = X.iloc[:6].copy().reset_index(drop=True)
    odd.loc[0, "city"], odd.loc[1, "city"] = "never seen", None
    odd.loc[2, ["size", "age", "flag"]] = np.nan
    odd.loc[3, ["size", "age"]], odd.loc[4, "flag"] = (-5.0, 1e6), 7.0
    return pd.concat([X, odd], ignore_index=True)


# --- exact sums --------------------------------------------------------------------------------------------


@pytest.mark.slow
@settings(quick, max_examples=25)
@given(
    seed=st.integers(0, 10_000),
    missing=st.sampled_from([0.0, 0.1, 0.7]),
    logged=st.sampled_from([(), ("size",)]),
    calibrated=st.booleans(),
    params=st.sampled_from([{}, {"C": 0.01}, {"class_weight": "balanced"}, {"fit_intercept": False}]),
)
def test_the_effects_of_a_linear_model_add_up_to_the_log_odds(seed, missing, logged, calibrated, params):
    X, y = make_rows(150, seed, missing)
    recipe = Recipe(estimators.LINEAR, NUMBERS, TEXTS, logged=logged, calibrated=calibrated, params=params)
    model, explainer = make_explainer(X, y, recipe)
    rows = cells_to_explain(X)
    effects = explainer.compute_effects(rows)
    probability = model.predict_proba(rows)[:, 1]
    assert expit(effects.base + effects.values.sum(axis=1)) == pytest.approx(probability, abs=1e-12)
    moderate = np.abs(effects.log_odds) < 10  # beyond it 1 - p has lost its digits
    assert effects.base + effects.values[moderate].sum(axis=1) == pytest.approx(
        logit(probability[moderate]), abs=1e-9
    )


def test_the_base_is_the_log_odds_of_a_client_who_is_usual_in_everything():
    """Numbers at their median; of text and two values the mean over the training rows."""
    X, y = make_rows()
    model, explainer = make_explainer(X, y, Recipe(estimators.LINEAR, NUMBERS, TEXTS))
    everybody = X.assign(size=X["size"].median(), age=X["age"].median())
    mean = logit(model.predict_proba(everybody)[:, 1]).mean()
    assert explainer.compute_effects(X.iloc[:1]).base == pytest.approx(mean, abs=1e-9)


def test_a_usual_number_has_no_effect_and_a_missing_one_has_its_own():
    X, y = make_rows()
    model, explainer = make_explainer(X, y, Recipe(estimators.LINEAR, NUMBERS, TEXTS))
    rows = pd.concat([X.iloc[[0]]] * 2, ignore_index=True).assign(size=[X["size"].median(), np.nan])
    effects = explainer.compute_effects(rows).values[:, 0]
    odds = logit(model.predict_proba(rows)[:, 1])
    assert effects[0] == pytest.approx(0, abs=1e-12)
    assert effects[1] == pytest.approx(odds[1] - odds[0], abs=1e-9) and effects[1] != 0


@pytest.mark.parametrize("estimator", [estimators.LINEAR, estimators.BOOSTED])
@pytest.mark.parametrize("calibrated", [False, True])
def test_log_odds_are_those_of_the_shown_probability(estimator, calibrated):
    X, y = make_rows()
    recipe = Recipe(estimator, NUMBERS, TEXTS, logged=("size",), calibrated=calibrated)
    model, explainer = make_explainer(X, y, recipe)
    rows = cells_to_explain(X)
    computed = expit(explainer.compute_effects(rows).log_odds)
    assert computed == pytest.approx(model.predict_proba(rows)[:, 1], abs=1e-12)
    assert expit(explainer.decomposed.log_odds(rows)) == pytest.approx(computed, abs=1e-15)


@pytest.mark.parametrize("columns", [("size",), ("plan",)], ids=["numbers alone", "texts alone"])
@pytest.mark.parametrize("estimator", [estimators.LINEAR, estimators.BOOSTED])
def test_a_table_of_one_kind_is_explained(columns, estimator):
    X, y = make_rows()
    X = X[list(columns)]
    numbers, texts = ([n for n in columns if n in kind] for kind in (NUMBERS, TEXTS))
    model, explainer = make_explainer(X, y, Recipe(estimator, tuple(numbers), tuple(texts)))
    effects = explainer.compute_effects(X)
    assert effects.base + effects.values.sum(axis=1) == pytest.approx(
        logit(model.predict_proba(X)[:, 1]), abs=1e-9
    )


def test_a_column_that_was_never_filled_says_nothing():
    X, y = make_rows()
    X["age"] = np.nan
    _, explainer = make_explainer(X, y, Recipe(estimators.LINEAR, NUMBERS, TEXTS))
    assert np.abs(explainer.compute_effects(X).values[:, 1]).max() == 0


# --- boosting against Shapley ------------------------------------------------------------------------------


def shapley(explainer, X):
    """Compute exact Shapley values over all subsets; the columns left out take their usual values."""
    names = list(explainer.baselines)
    subsets = [
        frozenset(subset) for n in range(len(names) + 1) for subset in itertools.combinations(names, n)
    ]
    known = {subset: mean_log_odds(explainer, X, subset) for subset in subsets}

    def weight(subset):
        return 1 / (len(names) * math.comb(len(names) - 1, len(subset)))

    return np.column_stack(
        [
            sum(
                weight(subset) * (known[subset | {name}] - known[subset])
                for subset in subsets
                if name not in subset
            )
            for name in names
        ]
    )


def mean_log_odds(explainer, X, subset):
    """Compute log-odds with some columns of the clients, averaged over what is usual in the others."""
    others = {name: one for name, one in explainer.baselines.items() if name not in subset}
    total = np.zeros(len(X))
    for mix in itertools.product(*(zip(one.values, one.shares, strict=True) for one in others.values())):
        frame = X.copy()
        for (name, one), (value, _) in zip(others.items(), mix, strict=True):
            frame[name] = baselines.make_column([value] * len(X), is_number=one.is_number).array
        total += math.prod(share for _, share in mix) * explainer.decomposed.log_odds(frame)
    return total


def test_where_no_more_than_two_columns_act_together_the_effects_are_shapley_values():
    """Trees of depth two; numbers with a middle."""
    draw = np.random.default_rng(5)
    X = pd.DataFrame(draw.normal(size=(500, 4)), columns=list("abcd"))
    y = (draw.random(500) < expit(2 * X["a"] * X["b"] + X["c"])).astype(np.int64)
    recipe = Recipe(estimators.BOOSTED, tuple("abcd"), (), params={"max_depth": 2, "max_iter": 30})
    model = fit(X, y, recipe)
    one = {name: baselines.Baseline(True, (float(X[name].median()),), (1.0,)) for name in X.columns}
    explainer = Explainer(decomposition.decompose(model), one)
    rows = X.iloc[:5]
    effects = explainer.compute_effects(rows)
    assert effects.values == pytest.approx(shapley(explainer, rows), abs=1e-9)
    assert effects.base + effects.values.sum(axis=1) == pytest.approx(effects.log_odds, abs=1e-9)


def test_with_deeper_trees_and_categories_the_order_is_that_of_shapley():
    """Over 100 clients: the orders agree, and the same column leads wherever one leads clearly."""
    from scipy.stats import spearmanr

    X, y = make_rows(600, 3)
    X = X.drop(columns="city")
    _, explainer = make_explainer(
        X, y, Recipe(estimators.BOOSTED, NUMBERS, ("plan",), params={"max_iter": 40})
    )
    values, exact = explainer.compute_effects(X[:100]).values, shapley(explainer, X[:100])
    orders = [spearmanr(one, other).statistic for one, other in zip(values, exact, strict=True)]
    assert np.mean(orders) > 0.9
    strengths = np.sort(np.abs(exact), axis=1)
    clear = strengths[:, -1] - strengths[:, -2] > 0.25
    same = np.abs(values).argmax(axis=1) == np.abs(exact).argmax(axis=1)
    assert clear.sum() > 50 and same[clear].mean() > 0.95


def test_two_columns_that_say_the_same_both_have_an_effect():
    """Each alone in company would change nothing, for the other says it still."""
    draw = np.random.default_rng(1)
    a = draw.normal(size=400)
    X = pd.DataFrame({"a": a, "b": np.where(draw.random(400) < 0.5, a, draw.normal(size=400))})
    y = ((X["a"] > 0) | (X["b"] > 0)).astype(np.int64).to_numpy()
    model = fit(X, y, Recipe(estimators.BOOSTED, ("a", "b"), ()))
    low = {name: baselines.Baseline(True, (-1.0,), (1.0,)) for name in "ab"}
    effects = Explainer(decomposition.decompose(model), low).compute_effects(
        pd.DataFrame({"a": [2.0], "b": [2.0]})
    )
    assert (effects.values > 1).all()


def test_clients_in_pieces_get_what_they_get_at_once():
    X, y = make_rows(800)
    _, explainer = make_explainer(X, y, Recipe(estimators.BOOSTED, NUMBERS, TEXTS, params={"max_iter": 10}))
    whole = explainer.compute_effects(X).values
    assert explainer.compute_effects(X, batch_rows=1).values == pytest.approx(whole, abs=1e-12)
    alone = np.vstack([explainer.compute_effects(X.iloc[[i]]).values for i in range(5)])
    assert alone == pytest.approx(whole[:5], abs=1e-12)
