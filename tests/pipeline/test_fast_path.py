"""A linear model asked column by column says what its pipeline says; every other one is left to itself."""

import json
import threading

import numpy as np
import pandas as pd
import pytest
import sklearn.ensemble  # noqa: F401  (its thread pool must be there before it can be limited)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from threadpoolctl import ThreadpoolController, threadpool_limits

from risk.data import frames
from risk.data.schema import Schema
from risk.model import estimators
from risk.model.card import describe_features
from risk.model.estimators import Recipe
from risk.model.registry import Release
from risk.prediction import fast_path
from risk.serving import model_cache

NUMBERS, TEXTS = ("size", "age", "flag"), ("plan", "city")
KINDS = dict.fromkeys(NUMBERS, "number") | dict.fromkeys(TEXTS, "text")
SCHEMA = Schema((*KINDS, "left"), KINDS, "left", ("1",), ("0",), (), ())


@pytest.fixture(autouse=True)
def one_thread():
    """As in training: boosting on two threads of a busy machine may take minutes."""
    with threadpool_limits(1):
        yield


def make_rows(n, seed, missing):
    """Rows of every kind: skewed, even and two-valued numbers, few and many categories, missing cells."""
    draw = np.random.default_rng(seed)
    size = np.where(draw.random(n) < missing, np.nan, draw.lognormal(3, 1.5, n))
    X = pd.DataFrame({"size": size, "age": draw.normal(40, 10, n), "flag": (draw.random(n) < 0.3) * 1.0})
    X["plan"] = pd.Series(draw.choice(["basic", "pro", None], n), dtype="str")
    X["city"] = pd.Series([f"city {k}" for k in np.minimum(draw.geometric(0.1, n), 60)], dtype="str")
    y = (draw.random(n) < 0.3 + 0.4 * (np.nan_to_num(size) > 20)).astype(np.int64)
    y[:2] = (0, 1)
    return X, y


def serve(X, y, recipe, threshold=0.5):
    model = estimators.make_estimator(recipe, threshold=threshold, n_rows=len(y)).fit(X, y)
    card = json.loads(json.dumps({"features": describe_features(X, SCHEMA)}))
    found = fast_path.take_apart(model, SCHEMA, card)
    return model_cache.Served(Release("r", {}, {}), model, SCHEMA, found, ThreadpoolController())


numbers = st.none() | st.floats(-1e6, 1e6) | st.sampled_from([0.0, -0.0, 1e100, -1e100, 1e-300, 1.0])
texts = (
    st.none()
    | st.sampled_from(["basic", "pro", "city 1", "city 59", "nan", " ", "é"])
    | st.text(min_size=1, max_size=5)
)
cells = st.fixed_dictionaries({**dict.fromkeys(NUMBERS, numbers), **dict.fromkeys(TEXTS, texts)})


quick = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)


def check_same(served, rows):
    """Compare what is said directly with what the pipeline says."""
    assert served.direct is not None
    columns = {name: [np.nan if row[name] is None else row[name] for row in rows] for name in NUMBERS}
    columns |= {name: [row[name] for row in rows] for name in TEXTS}
    frame = frames.frame_of(columns, SCHEMA)
    classes, probability = served.say(columns)
    assert np.abs(probability - served.model.predict_proba(frame)[:, 1]).max() <= 1e-12
    assert classes.tolist() == served.model.predict(frame).tolist()


@pytest.mark.slow
@given(
    seed=st.integers(0, 10_000),
    missing=st.sampled_from([0.0, 0.1, 0.7]),
    logged=st.sampled_from([(), ("size",), ("size", "age")]),
    calibrated=st.booleans(),
    params=st.sampled_from([{}, {"C": 0.01}, {"class_weight": "balanced"}, {"fit_intercept": False}]),
    rows=st.lists(cells, min_size=1, max_size=30),
)
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
def test_a_linear_model_says_the_same_directly_to_1e_12(seed, missing, logged, calibrated, params, rows):
    X, y = make_rows(150, seed, missing)
    recipe = Recipe(estimators.LINEAR, NUMBERS, TEXTS, logged=logged, calibrated=calibrated, params=params)
    check_same(serve(X, y, recipe, threshold=float(y.mean())), rows)


def columns_of(X):
    columns = {name: X[name].tolist() for name in NUMBERS}
    return columns | {name: [None if cell != cell else cell for cell in X[name].tolist()] for name in TEXTS}


def test_a_probability_on_the_threshold_itself_is_decided_by_the_model():
    """One client at a time: among others even the pipeline may add up in another order."""
    X, y = make_rows(300, 0, 0.1)
    recipe = Recipe(estimators.LINEAR, NUMBERS, TEXTS)
    first = serve(X, y, recipe)
    ones = [X.iloc[[i]] for i in range(len(X))]
    told = [(one, first.model.predict_proba(one)[0, 1]) for one in ones]
    apart = [(one, p) for one, p in told if first.direct.probabilities(columns_of(one))[0] != p][:5]
    assert apart, "some last digits differ, or there would be nothing to decide"
    for one, p in apart:
        for threshold in (np.nextafter(p, 0), p, np.nextafter(p, 1)):
            served = serve(X, y, recipe, threshold=float(threshold))
            assert served.say(columns_of(one))[0].tolist() == served.model.predict(one).tolist()


@given(
    seed=st.integers(0, 10_000),
    missing=st.sampled_from([0.0, 0.1, 0.7]),
    calibrated=st.booleans(),
    params=st.sampled_from([{}, {"max_iter": 5}, {"max_leaf_nodes": 4, "class_weight": "balanced"}]),
    rows=st.lists(cells, min_size=1, max_size=30),
)
@settings(quick, max_examples=8)
def test_a_boosted_model_says_the_same_directly_to_1e_12(seed, missing, calibrated, params, rows):
    X, y = make_rows(300, seed, missing)
    recipe = Recipe(
        estimators.BOOSTED, NUMBERS, TEXTS, calibrated=calibrated, params={"max_iter": 20, **params}
    )
    check_same(serve(X, y, recipe, threshold=float(y.mean())), rows)


def test_a_model_that_others_built_is_asked_through_its_pipeline():
    X, y = make_rows(300, 0, 0.0)
    filled = X.fillna({"plan": "none"})
    model = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression()).fit(filled, y)
    assert fast_path.take_apart(model, SCHEMA, {"features": describe_features(X, SCHEMA)}) is None
    served = model_cache.Served(Release("r", {}, {}), model, SCHEMA, None, ThreadpoolController())
    classes, probability = served.say({name: filled[name].tolist() for name in KINDS})
    assert classes.tolist() == model.predict(filled).tolist()
    assert probability.tolist() == model.predict_proba(filled)[:, 1].tolist()


def test_parts_that_do_not_say_what_the_model_says_are_not_used():
    """Somebody's own pipeline of the same shape, with something between that the parts do not show."""
    X, y = make_rows(300, 0, 0.1)
    served = serve(X, y, Recipe(estimators.LINEAR, NUMBERS, TEXTS))
    served.model.estimator_[0].transformers_[0][1][-1].with_mean = False
    card = {"features": describe_features(X, SCHEMA)}
    assert fast_path.take_apart(served.model, SCHEMA, card) is None


def test_many_threads_that_ask_a_boosted_model_get_the_same():
    X, y = make_rows(300, 0, 0.1)
    served = serve(X, y, Recipe(estimators.BOOSTED, NUMBERS, TEXTS))
    columns, found = {name: X[name].tolist() for name in KINDS}, []
    threads = [
        threading.Thread(target=lambda: found.append(served.say(columns)[1].tolist())) for _ in range(8)
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(found) == 8 and all(one == found[0] for one in found)
