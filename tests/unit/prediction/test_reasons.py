"""Reasons for a prediction: which columns are chosen, and their texts."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from explained_models import fit, make_card, make_explainer
from mixed_rows import NUMBERS, TEXTS, make_rows
from scipy.special import expit

from risk.model import decomposition, estimators
from risk.model.pipeline import Recipe
from risk.prediction import baselines, reasons
from risk.prediction.effects import Explainer

pytestmark = pytest.mark.usefixtures("one_thread")


def render(explainer, X, raises, write=str):
    chosen = reasons.choose_columns(explainer, X, explainer.compute_effects(X), raises, 3)
    return reasons.render_texts(explainer, X, chosen, raises, write)


@pytest.mark.parametrize("estimator", [estimators.LINEAR, estimators.BOOSTED])
def test_a_flagged_client_has_reasons_that_raise_the_risk_and_any_other_those_that_lower_it(estimator):
    X, y = make_rows()
    model, explainer = make_explainer(X, y, Recipe(estimator, NUMBERS, TEXTS, params={}))
    at_risk = model.predict(X) == 1
    found = reasons.find_reasons(explainer, X, explainer.compute_effects(X), at_risk, 3)
    assert 0 < at_risk.sum() < len(X) and any(map(len, found))
    for flagged, one_client in zip(at_risk, found, strict=True):
        assert all((one.effect > 0) == flagged for one in one_client)
        assert len({one.column for one in one_client}) == len(one_client) <= 3
        strengths = [abs(one.effect) for one in one_client]
        assert strengths == sorted(strengths, reverse=True) and all(
            s >= reasons.MIN_EFFECT for s in strengths
        )


@pytest.mark.parametrize("estimator", [estimators.LINEAR, estimators.BOOSTED])
def test_texts_from_the_cache_are_those_that_are_rendered_again(estimator):
    X, y = make_rows()
    model, explainer = make_explainer(X, y, Recipe(estimator, NUMBERS, TEXTS, params={}))
    flagged = model.predict(X) == 1
    whole = render(explainer, X, flagged)
    assert (render(explainer, X, flagged) == whole).all()
    quoted = render(explainer, X, flagged, lambda text: f"<{text}>")
    assert (quoted == np.where(whole == "", "", "<" + whole + ">")).all()
    forgetful = replace(explainer, max_texts=0, text_cache={})
    parts = [render(forgetful, X[k : k + 50], flagged[k : k + 50]) for k in range(0, len(X), 50)]
    assert (np.concatenate(parts) == whole).all()


def test_a_category_is_set_against_the_most_frequent_one_that_pushes_the_other_way():
    draw = np.random.default_rng(2)
    X = pd.DataFrame({"plan": pd.Series(draw.choice(["a", "b", "c"], 900, p=[0.6, 0.3, 0.1]), dtype="str")})
    share = X["plan"].map({"a": 0.6, "b": 0.2, "c": 0.8}).to_numpy()
    y = (draw.random(900) < share).astype(np.int64)
    _, explainer = make_explainer(X, y, Recipe(estimators.LINEAR, (), ("plan",)))
    rows = pd.DataFrame({"plan": pd.Series(["a", "b", "c"], dtype="str")})
    raises = np.array([True, False, True])
    found = reasons.find_reasons(explainer, rows, explainer.compute_effects(rows), raises, 3)
    texts = [[one.text for one in row] for row in found]
    assert texts == [["plan: a rather than b"], ["plan: b, usually a"], ["plan: c, usually a"]]


def test_the_same_fact_in_several_columns_is_one_reason():
    draw = np.random.default_rng(3)
    net = draw.choice(["none", "cable", "fiber"], 600)
    X = pd.DataFrame({"net": pd.Series(net, dtype="str")})
    for name in ("backup", "tv"):
        X[name] = pd.Series(np.where(net == "none", "no net", draw.choice(["yes", "no"], 600)), dtype="str")
    y = (draw.random(600) < np.where(net == "none", 0.1, 0.6)).astype(np.int64)
    _, explainer = make_explainer(X, y, Recipe(estimators.LINEAR, (), ("net", "backup", "tv")))
    rows = X[net == "none"].iloc[:1].reset_index(drop=True)
    (found,) = reasons.find_reasons(explainer, rows, explainer.compute_effects(rows), np.array([False]), 3)
    assert len(found) == 1 and "no" in found[0].text


def test_a_column_that_its_companion_outweighs_is_no_reason():
    """Long with us lowers the risk more than the high total that goes with it raises it."""
    draw = np.random.default_rng(4)
    months = draw.uniform(0, 70, 2000)
    X = pd.DataFrame({"months": months, "total": months * draw.uniform(60, 80, 2000)})
    y = (draw.random(2000) < expit(2 - 0.12 * months + 0.001 * X["total"])).astype(np.int64)
    _, explainer = make_explainer(X, y, Recipe(estimators.LINEAR, ("months", "total"), ()))
    assert explainer.redundancy.correlated == [["months", "total"]]
    old = pd.DataFrame({"months": [65.0], "total": [65.0 * 70]})
    found = explainer.compute_effects(old)
    assert found.values[0, 1] > 0.1 > found.values[0].sum()
    assert reasons.find_reasons(explainer, old, found, np.array([True]), 3) == [[]]


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
    found = reasons.choose_strongest(np.array([strength]), np.array([marks]), 3)
    assert found.tolist() == [chosen]


def test_more_reasons_than_columns_can_be_asked_for():
    assert reasons.choose_strongest(np.array([[1.0]]), np.array([[0]]), 3).tolist() == [[0, -1, -1]]
    assert reasons.choose_strongest(np.empty((2, 0)), np.empty((2, 0)), 2).tolist() == [[-1, -1], [-1, -1]]


def test_a_model_card_without_profiles_and_redundancy_still_gives_reasons():
    X, y = make_rows()
    card = make_card(X, y)
    card = {key: card[key] for key in ("data", "schema", "features")}
    explainer = Explainer.from_card(
        decomposition.decompose(fit(X, y, Recipe(estimators.LINEAR, NUMBERS, TEXTS))), card
    )
    assert any(reasons.find_reasons(explainer, X, explainer.compute_effects(X), y == 1, 3))
    assert explainer.baselines["flag"] == baselines.Baseline(True, (0.0,), (1.0,))
