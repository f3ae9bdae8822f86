"""What an explanation shows of every column: the same comparison as the reasons."""

import re

import numpy as np
import pandas as pd
import pytest
from explained_models import make_explainer

from risk.engines.frame_reader import Rows
from risk.model import estimators
from risk.model.pipeline import Recipe
from risk.prediction import explanation, reasons

PLANS = ("basic", "pro", "team", None)


@pytest.fixture(scope="module")
def explainer():
    """Clients of whom those with the most frequent plan leave most."""
    draw = np.random.default_rng(5)
    plan = draw.choice(["basic", "pro", "team"], 900, p=[0.4, 0.35, 0.25])
    X = pd.DataFrame({"plan": pd.Series(plan, dtype="str"), "months": draw.uniform(0, 70, 900)})
    share = X["plan"].map({"basic": 0.6, "pro": 0.2, "team": 0.3}) + 0.003 * X["months"]
    y = (draw.random(900) < share).astype(np.int64)
    return make_explainer(X, y, Recipe(estimators.LINEAR, ("months",), ("plan",)))[1]


@pytest.mark.parametrize("raises", [True, False])
@pytest.mark.parametrize("months", [0.0, 70.0, np.nan])
@pytest.mark.parametrize("plan", PLANS)
def test_table_and_reasons_compare_with_the_same(explainer, plan, months, raises):
    X = pd.DataFrame({"plan": pd.Series([plan], dtype="str"), "months": [months]})
    row = Rows(np.array([1]), X, {"plan": np.array([plan]), "months": np.array([str(months)])}, {})
    effects = explanation.describe_effects(explainer, row)
    shown = {one["column"]: re.sub(r" \(\d+ %\)$", "", one["usual"]) for one in effects["columns"]}
    (found,) = reasons.find_reasons(explainer, X, explainer.compute_effects(X), np.array([raises]), 3)
    for one in found:
        compared = re.search(r"(?:rather than|usually) (.*)$", one.text)
        assert compared is None or compared[1] in (shown[one.column], "given"), one.text


def test_the_most_frequent_value_is_not_compared_with_itself(explainer):
    X = pd.DataFrame({"plan": pd.Series(["basic"], dtype="str"), "months": [35.0]})
    row = Rows(np.array([1]), X, {"plan": np.array(["basic"]), "months": np.array(["35"])}, {})
    effects = explanation.describe_effects(explainer, row)
    (plan,) = (one for one in effects["columns"] if one["column"] == "plan")
    assert re.fullmatch(r"pro \(3\d %\)", plan["usual"])
