"""Why this client: exact sums for the linear model, Shapley's order for the other, and what is said."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
import sklearn.ensemble  # noqa: F401  (its thread pool must be there before it can be limited)
from explained_models import fit, make_card
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from threadpoolctl import threadpool_limits

from risk.model import decomposition, estimators
from risk.model.estimators import Recipe
from risk.prediction import baselines, reasons, wording
from risk.prediction.reasons import Explainer

quick = settings(deadline=None, database=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
NUMBERS, TEXTS = ("size", "age", "flag"), ("plan", "city")


@pytest.fixture(autouse=True)
def one_thread():
    """As in training: boosting on two threads of a busy machine may take minutes."""
    with threadpool_limits(1):
        yield


def make_rows(n=400, seed=0, missing=0.1):
    """Rows of every kind: skewed, even and two-valued numbers, few and many categories, missing cells."""
    draw = np.random.default_rng(seed)
    size = np.where(draw.random(n) < missing, np.nan, draw.lognormal(3, 1.5, n))
    X = pd.DataFrame({"size": size, "age": draw.normal(40, 10, n), "flag": (draw.random(n) < 0.3) * 1.0})
    X["plan"] = pd.Series(draw.choice(["basic", "pro", "pro", None], n), dtype="str")
    X["city"] = pd.Series([f"city {k}" for k in np.minimum(draw.geometric(0.1, n), 60)], dtype="str")
    risk = expit(np.nan_to_num(size) / 40 + 2 * X["flag"] - 1.5 * (X["plan"] == "basic") - 1)
    y = (draw.random(n) < risk).to_numpy(dtype=np.int64)
    y[:2] = (0, 1)
    return X, y


def make_explainer(X, y, recipe, table=None):
    model = fit(X, y, recipe)
    explainer = Explainer.of_card(
        decomposition.take_apart(model), make_card(X, y), wording.Words(table or {})
    )
    return model, explainer


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
    found = explainer.explain(rows)
    probability = model.predict_proba(rows)[:, 1]
    assert expit(found.base + found.values.sum(axis=1)) == pytest.approx(probability, abs=1e-12)
    moderate = np.abs(found.log_odds) < 10  # beyond it 1 - p has lost its digits
    assert found.base + found.values[moderate].sum(axis=1) == pytest.approx(
        logit(probability[moderate]), abs=1e-9
    )


def test_the_base_is_the_log_odds_of_a_client_who_is_usual_in_everything():
    """Numbers at their median; of text and two values the mean over the training rows."""
    X, y = make_rows()
    model, explainer = make_explainer(X, y, Recipe(estimators.LINEAR, NUMBERS, TEXTS))
    everybody = X.assign(size=X["size"].median(), age=X["age"].median())
    mean = logit(model.predict_proba(everybody)[:, 1]).mean()
    assert explainer.explain(X.iloc[:1]).base == pytest.approx(mean, abs=1e-9)


def test_a_usual_number_has_no_effect_and_a_missing_one_has_its_own():
    X, y = make_rows()
    model, explainer = make_explainer(X, y, Recipe(estimators.LINEAR, NUMBERS, TEXTS))
    rows = pd.concat([X.iloc[[0]]] * 2, ignore_index=True).assign(size=[X["size"].median(), np.nan])
    effects = explainer.explain(rows).values[:, 0]
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
    said = expit(explainer.explain(rows).log_odds)
    assert said == pytest.approx(model.predict_proba(rows)[:, 1], abs=1e-12)
    assert expit(explainer.anatomy.log_odds(rows)) == pytest.approx(said, abs=1e-15)


@pytest.mark.parametrize("columns", [("size",), ("plan",)], ids=["numbers alone", "texts alone"])
@pytest.mark.parametrize("estimator", [estimators.LINEAR, estimators.BOOSTED])
def test_a_table_of_one_kind_is_explained(columns, estimator):
    X, y = make_rows()
    X = X[list(columns)]
    numbers, texts = ([n for n in columns if n in kind] for kind in (NUMBERS, TEXTS))
    model, explainer = make_explainer(X, y, Recipe(estimator, tuple(numbers), tuple(texts)))
    found = explainer.explain(X)
    assert found.base + found.values.sum(axis=1) == pytest.approx(
        logit(model.predict_proba(X)[:, 1]), abs=1e-9
    )


def test_a_column_that_was_never_filled_says_nothing():
    X, y = make_rows()
    X["age"] = np.nan
    _, explainer = make_explainer(X, y, Recipe(estimators.LINEAR, NUMBERS, TEXTS))
    assert np.abs(explainer.explain(X).values[:, 1]).max() == 0


# --- boosting against Shapley ------------------------------------------------------------------------------


def shapley(explainer, X):
    """Compute exact Shapley values over all subsets; the columns left out take their usual values."""
    names = list(explainer.usual)
    subsets = [frozenset(kept) for n in range(len(names) + 1) for kept in itertools.combinations(names, n)]
    known = {kept: mean_log_odds(explainer, X, kept) for kept in subsets}

    def weight(kept):
        return 1 / (len(names) * math.comb(len(names) - 1, len(kept)))

    return np.column_stack(
        [
            sum(weight(kept) * (known[kept | {name}] - known[kept]) for kept in subsets if name not in kept)
            for name in names
        ]
    )


def mean_log_odds(explainer, X, kept):
    """Compute log-odds with some columns of the clients, averaged over what is usual in the others."""
    others = {name: one for name, one in explainer.usual.items() if name not in kept}
    total = np.zeros(len(X))
    for mix in itertools.product(*(zip(one.values, one.shares, strict=True) for one in others.values())):
        frame = X.copy()
        for (name, one), (value, _) in zip(others.items(), mix, strict=True):
            frame[name] = baselines.to_cells([value] * len(X), is_number=one.is_number).array
        total += math.prod(share for _, share in mix) * explainer.anatomy.log_odds(frame)
    return total


def test_where_no_more_than_two_columns_act_together_the_effects_are_shapley_values():
    """Trees of depth two; numbers with a middle."""
    draw = np.random.default_rng(5)
    X = pd.DataFrame(draw.normal(size=(500, 4)), columns=list("abcd"))
    y = (draw.random(500) < expit(2 * X["a"] * X["b"] + X["c"])).astype(np.int64)
    recipe = Recipe(estimators.BOOSTED, tuple("abcd"), (), params={"max_depth": 2, "max_iter": 30})
    model = fit(X, y, recipe)
    one = {name: baselines.Usual(True, (float(X[name].median()),), (1.0,)) for name in X.columns}
    explainer = Explainer(decomposition.take_apart(model), one)
    rows = X.iloc[:5]
    found = explainer.explain(rows)
    assert found.values == pytest.approx(shapley(explainer, rows), abs=1e-9)
    assert found.base + found.values.sum(axis=1) == pytest.approx(found.log_odds, abs=1e-9)


def test_with_deeper_trees_and_categories_the_order_is_that_of_shapley():
    """Over 100 clients: the orders agree, and the same column leads wherever one leads clearly."""
    from scipy.stats import spearmanr

    X, y = make_rows(600, 3)
    X = X.drop(columns="city")
    _, explainer = make_explainer(
        X, y, Recipe(estimators.BOOSTED, NUMBERS, ("plan",), params={"max_iter": 40})
    )
    found, exact = explainer.explain(X[:100]).values, shapley(explainer, X[:100])
    orders = [spearmanr(one, other).statistic for one, other in zip(found, exact, strict=True)]
    assert np.mean(orders) > 0.9
    strengths = np.sort(np.abs(exact), axis=1)
    clear = strengths[:, -1] - strengths[:, -2] > 0.25
    same = np.abs(found).argmax(axis=1) == np.abs(exact).argmax(axis=1)
    assert clear.sum() > 50 and same[clear].mean() > 0.95


def test_two_columns_that_say_the_same_both_have_an_effect():
    """Each alone in company would change nothing, for the other says it still."""
    draw = np.random.default_rng(1)
    a = draw.normal(size=400)
    X = pd.DataFrame({"a": a, "b": np.where(draw.random(400) < 0.5, a, draw.normal(size=400))})
    y = ((X["a"] > 0) | (X["b"] > 0)).astype(np.int64).to_numpy()
    model = fit(X, y, Recipe(estimators.BOOSTED, ("a", "b"), ()))
    low = {name: baselines.Usual(True, (-1.0,), (1.0,)) for name in "ab"}
    found = Explainer(decomposition.take_apart(model), low).explain(pd.DataFrame({"a": [2.0], "b": [2.0]}))
    assert (found.values > 1).all()


def test_ten_thousand_clients_in_pieces_give_what_they_give_at_once(monkeypatch):
    X, y = make_rows(800)
    _, explainer = make_explainer(X, y, Recipe(estimators.BOOSTED, NUMBERS, TEXTS, params={"max_iter": 10}))
    whole = explainer.explain(X).values
    monkeypatch.setattr(reasons, "BATCH_ROWS", 1)
    assert explainer.explain(X).values == pytest.approx(whole, abs=1e-12)
    alone = np.vstack([explainer.explain(X.iloc[[i]]).values for i in range(5)])
    assert alone == pytest.approx(whole[:5], abs=1e-12)


# --- what is said ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", [estimators.LINEAR, estimators.BOOSTED])
def test_of_a_client_at_risk_what_raises_the_risk_is_said_and_of_others_what_lowers_it(estimator):
    X, y = make_rows()
    model, explainer = make_explainer(X, y, Recipe(estimator, NUMBERS, TEXTS, params={}))
    at_risk = model.predict(X) == 1
    found = reasons.say(explainer, X, explainer.explain(X), at_risk, 3)
    assert 0 < at_risk.sum() < len(X) and any(map(len, found))
    for called, said in zip(at_risk, found, strict=True):
        assert all((one.effect > 0) == called for one in said)
        assert len({one.column for one in said}) == len(said) <= 3
        strengths = [abs(one.effect) for one in said]
        assert strengths == sorted(strengths, reverse=True) and all(s >= reasons.LEAST for s in strengths)


@pytest.mark.parametrize("estimator", [estimators.LINEAR, estimators.BOOSTED])
def test_reasons_that_were_kept_are_those_that_are_thought_of_anew(estimator, monkeypatch):
    X, y = make_rows()
    model, explainer = make_explainer(X, y, Recipe(estimator, NUMBERS, TEXTS, params={}))
    at_risk = model.predict(X) == 1
    asked = X, explainer.explain(X), at_risk, 3
    whole = reasons.choose_and_say(explainer, *asked).texts
    assert (reasons.choose_and_say(explainer, *asked).texts == whole).all()
    quoted = reasons.choose_and_say(explainer, *asked, write=lambda text: f"<{text}>").texts
    assert (quoted == np.where(whole == "", "", "<" + whole + ">")).all()
    monkeypatch.setattr(reasons, "MOST_SAID", 0)
    parts = [
        reasons.choose_and_say(
            explainer, X[k : k + 50], explainer.explain(X[k : k + 50]), at_risk[k : k + 50], 3
        )
        for k in range(0, len(X), 50)
    ]
    assert (np.concatenate([part.texts for part in parts]) == whole).all()


def test_a_category_is_set_against_the_most_frequent_one_that_pushes_the_other_way():
    draw = np.random.default_rng(2)
    X = pd.DataFrame({"plan": pd.Series(draw.choice(["a", "b", "c"], 900, p=[0.6, 0.3, 0.1]), dtype="str")})
    share = X["plan"].map({"a": 0.6, "b": 0.2, "c": 0.8}).to_numpy()
    y = (draw.random(900) < share).astype(np.int64)
    _, explainer = make_explainer(X, y, Recipe(estimators.LINEAR, (), ("plan",)))
    rows = pd.DataFrame({"plan": pd.Series(["a", "b", "c"], dtype="str")})
    raises = np.array([True, False, True])
    found = reasons.say(explainer, rows, explainer.explain(rows), raises, 3)
    said = [[one.text for one in row] for row in found]
    assert said == [["plan: a rather than b"], ["plan: b, usually a"], ["plan: c, usually a"]]


def test_what_is_the_same_fact_in_several_columns_is_said_once():
    draw = np.random.default_rng(3)
    net = draw.choice(["none", "cable", "fiber"], 600)
    X = pd.DataFrame({"net": pd.Series(net, dtype="str")})
    for name in ("backup", "tv"):
        X[name] = pd.Series(np.where(net == "none", "no net", draw.choice(["yes", "no"], 600)), dtype="str")
    y = (draw.random(600) < np.where(net == "none", 0.1, 0.6)).astype(np.int64)
    _, explainer = make_explainer(X, y, Recipe(estimators.LINEAR, (), ("net", "backup", "tv")))
    rows = X[net == "none"].iloc[:1].reset_index(drop=True)
    (said,) = reasons.say(explainer, rows, explainer.explain(rows), np.array([False]), 3)
    assert len(said) == 1 and "no" in said[0].text


def test_a_column_that_its_companion_outweighs_is_no_reason():
    """Long with us lowers the risk more than the high total that goes with it raises it."""
    draw = np.random.default_rng(4)
    months = draw.uniform(0, 70, 2000)
    X = pd.DataFrame({"months": months, "total": months * draw.uniform(60, 80, 2000)})
    y = (draw.random(2000) < expit(2 - 0.12 * months + 0.001 * X["total"])).astype(np.int64)
    _, explainer = make_explainer(X, y, Recipe(estimators.LINEAR, ("months", "total"), ()))
    assert explainer.echoes.together == [["months", "total"]]
    old = pd.DataFrame({"months": [65.0], "total": [65.0 * 70]})
    found = explainer.explain(old)
    assert found.values[0, 1] > 0.1 > found.values[0].sum()
    assert reasons.say(explainer, old, found, np.array([True]), 3) == [[]]


@pytest.mark.parametrize(
    ("strength", "marks", "chosen"),
    [
        ([0.3, 0.2, 0.1], [0, 0, 0], [0, 1, 2]),
        ([0.3, 0.2, 0.0999], [0, 0, 0], [0, 1, -1]),
        ([-0.3, -0.2, 0.0], [0, 0, 0], [-1, -1, -1]),
        ([0.3, 0.2, 0.1], [1, 1, 0], [0, 2, -1]),
        ([0.3, 0.2, 0.1], [1, 2, 1], [0, 1, -1]),
    ],
)
def test_the_strongest_different_reasons_are_chosen(strength, marks, chosen):
    found = reasons.choose(np.array([strength]), np.array([marks]), 3)
    assert found.tolist() == [chosen]


def test_more_reasons_than_columns_can_be_asked_for():
    assert reasons.choose(np.array([[1.0]]), np.array([[0]]), 3).tolist() == [[0, -1, -1]]
    assert reasons.choose(np.empty((2, 0)), np.empty((2, 0)), 2).tolist() == [[-1, -1], [-1, -1]]


def test_a_model_card_without_profiles_and_echoes_still_gives_reasons():
    X, y = make_rows()
    card = make_card(X, y)
    card = {key: card[key] for key in ("data", "schema", "features")}
    explainer = Explainer.of_card(
        decomposition.take_apart(fit(X, y, Recipe(estimators.LINEAR, NUMBERS, TEXTS))), card
    )
    assert any(reasons.say(explainer, X, explainer.explain(X), y == 1, 3))
    assert explainer.usual["flag"] == baselines.Usual(True, (0.0,), (1.0,))
