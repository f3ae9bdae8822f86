"""What a model is made of: log scale, calibration and threshold inside, and bytes of its own."""

import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn.ensemble  # noqa: F401  (its thread pool must be there before it can be limited)
from sklearn.base import clone
from threadpoolctl import threadpool_limits

from risk.errors import ConfigError
from risk.model import estimators, pickling, pipeline
from risk.model.pipeline import Recipe

RECIPE = Recipe(estimators.LINEAR, ("size", "age"), ("plan",))


@pytest.fixture(autouse=True)
def one_thread():
    """As in training: boosting on two threads of a busy machine may take minutes."""
    with threadpool_limits(1):
        yield


def make_rows(n=400, seed=0):
    draw = np.random.default_rng(seed)
    size = np.where(draw.random(n) < 0.1, np.nan, draw.lognormal(3, 1.5, n))
    X = pd.DataFrame({"size": size, "age": draw.normal(40, 10, n)})
    X["plan"] = pd.Series(draw.choice(["basic", "pro", None], n), dtype="str")
    return X, (draw.random(n) < 0.3 + 0.4 * (np.nan_to_num(size) > 20)).astype(np.int64)


def fit(recipe, X, y, threshold=0.5, n_rows=0):
    return pipeline.make_model(recipe, threshold=threshold, n_rows=n_rows).fit(X, y)


def log_odds(probability):
    return np.log(probability / (1 - probability))


def test_a_logged_column_is_seen_as_its_logarithm_by_the_linear_model():
    X, y = make_rows()
    logged = fit(Recipe(estimators.LINEAR, ("size", "age"), ("plan",), logged=("size",)), X, y)
    by_hand = X.assign(size=np.log1p(X["size"]))
    plain = fit(RECIPE, by_hand, y)
    assert logged.predict_proba(X) == pytest.approx(plain.predict_proba(by_hand), abs=1e-9)


def test_a_negative_value_counts_as_zero_on_the_log_scale():
    X, y = make_rows()
    model = fit(Recipe(estimators.LINEAR, ("size", "age"), ("plan",), logged=("size",)), X, y)
    frame = pd.DataFrame({"size": [-5.0, -1.0, 0.0, np.nan], "age": 40.0, "plan": "pro"})
    probability = model.predict_proba(frame)[:, 1]
    assert probability[0] == probability[1] == probability[2] and np.isfinite(probability).all()


@pytest.mark.parametrize("estimator", [estimators.LINEAR, estimators.BOOSTED])
def test_calibration_keeps_the_ranking_and_the_log_odds_linear(estimator):
    X, y = make_rows()
    model = fit(Recipe(estimator, ("size", "age"), ("plan",), calibrated=True), X, y)
    plain = clone(pipeline.make_pipeline(Recipe(estimator, ("size", "age"), ("plan",)))).fit(X, y)
    raw, said = plain.decision_function(X), log_odds(model.predict_proba(X)[:, 1])
    slope, intercept = np.polyfit(raw, said, 1)
    assert slope > 0 and slope * raw + intercept == pytest.approx(said, abs=1e-6)


@pytest.mark.parametrize(("n_rows", "n_folds"), [(50_000, 5), (50_001, 2)])
def test_large_tables_are_calibrated_with_fewer_folds(n_rows, n_folds):
    recipe = Recipe(estimators.LINEAR, ("size",), (), calibrated=True)
    model = pipeline.make_model(recipe, threshold=0.5, n_rows=n_rows)
    assert model.estimator.cv.get_n_splits() == n_folds


def test_the_threshold_is_inside_and_a_client_on_it_leaves():
    X, y = make_rows()
    probability = fit(RECIPE, X, y).predict_proba(X)[:, 1]
    at = float(np.sort(probability)[100])
    assert np.array_equal(fit(RECIPE, X, y, threshold=at).predict(X), (probability >= at).astype(int))


@pytest.mark.parametrize("n_texts", [7, 8])
def test_only_wide_tables_are_fitted_by_the_solver_that_holds_no_square_of_them(n_texts):
    recipe = Recipe(estimators.LINEAR, (), tuple(f"t{k}" for k in range(n_texts)))
    assert pipeline.make_pipeline(recipe)[-1].solver == ("newton-cholesky" if n_texts == 7 else "lbfgs")


def test_parameters_overrule_ours_and_unknown_ones_are_named():
    model = pipeline.make_pipeline(
        Recipe(estimators.LINEAR, ("a",), (), params={"solver": "liblinear", "C": 2.0})
    )
    assert (model[-1].solver, model[-1].C) == ("liblinear", 2.0)
    with pytest.raises(ConfigError, match="hist_gradient_boosting has no parameter 'C'"):
        pipeline.make_pipeline(Recipe(estimators.BOOSTED, ("a",), (), params={"C": 2.0}))


def test_what_scikit_learn_refuses_is_blamed_on_the_parameters_only_where_there_are_some():
    with pytest.raises(ConfigError, match=r"model\.params: no such C"), pipeline.blaming({"C": -1}):
        raise ValueError("no such C")
    with pytest.raises(ValueError, match="a bug"), pipeline.blaming({}):
        raise ValueError("a bug")


def test_equal_models_have_equal_bytes_and_the_bytes_make_the_model_again():
    X, y = make_rows()
    recipe = Recipe(estimators.LINEAR, ("size", "age"), ("plan",), logged=("size",), calibrated=True)
    data = pickling.render_model(fit(recipe, X, y))
    assert data == pickling.render_model(fit(recipe, X, y))
    model = pickle.loads(data)
    assert np.array_equal(model.predict_proba(X), fit(recipe, X, y).predict_proba(X))
