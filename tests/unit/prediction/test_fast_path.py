"""The fast path of a model gives what its pipeline gives; every other model is left to itself."""

import numpy as np
import pytest
from explained_models import fit, make_card
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mixed_rows import KINDS, NUMBERS, SCHEMA, TEXTS, make_rows
from scipy.special import expit
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from risk.data.frames import frame_of
from risk.model import decomposition, estimators
from risk.model.pipeline import Recipe
from risk.prediction import fast_path

pytestmark = pytest.mark.usefixtures("one_thread")
quick = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
numbers = st.none() | st.floats(-1e6, 1e6) | st.sampled_from([0.0, -0.0, 1e100, -1e100, 1e-300, 1.0])
texts = (
    st.none()
    | st.sampled_from(["basic", "pro", "city 1", "city 59", "nan", " ", "é"])
    | st.text(min_size=1, max_size=5)
)
cells = st.fixed_dictionaries({**dict.fromkeys(NUMBERS, numbers), **dict.fromkeys(TEXTS, texts)})


def load(X, y, recipe):
    model = fit(X, y, recipe)
    return model, fast_path.load_fast_path(model, SCHEMA, make_card(X, y))


def check_same(model, fast, rows):
    """Compare what the fast path gives, for a list and for a frame, with what the pipeline gives."""
    columns = {name: [np.nan if row[name] is None else row[name] for row in rows] for name in NUMBERS}
    columns |= {name: [row[name] for row in rows] for name in TEXTS}
    frame = frame_of(columns, SCHEMA)
    expected = model.predict_proba(frame)[:, 1]
    for given_columns in (columns, frame):
        assert np.abs(expit(fast.log_odds(given_columns)) - expected).max() <= 1e-12


@pytest.mark.slow
@given(
    seed=st.integers(0, 10_000),
    missing=st.sampled_from([0.0, 0.1, 0.7]),
    logged=st.sampled_from([(), ("size",), ("size", "age")]),
    calibrated=st.booleans(),
    params=st.sampled_from([{}, {"C": 0.01}, {"class_weight": "balanced"}, {"fit_intercept": False}]),
    rows=st.lists(cells, min_size=1, max_size=30),
)
@settings(quick, max_examples=40)
def test_a_linear_model_gives_the_same_to_1e_12(seed, missing, logged, calibrated, params, rows):
    X, y = make_rows(150, seed, missing)
    recipe = Recipe(estimators.LINEAR, NUMBERS, TEXTS, logged=logged, calibrated=calibrated, params=params)
    check_same(*load(X, y, recipe), rows)


@given(
    seed=st.integers(0, 10_000),
    missing=st.sampled_from([0.0, 0.1, 0.7]),
    calibrated=st.booleans(),
    params=st.sampled_from([{}, {"max_iter": 5}, {"max_leaf_nodes": 4, "class_weight": "balanced"}]),
    rows=st.lists(cells, min_size=1, max_size=30),
)
@settings(quick, max_examples=8)
def test_a_boosted_model_gives_the_same_to_1e_12(seed, missing, calibrated, params, rows):
    X, y = make_rows(300, seed, missing)
    recipe = Recipe(
        estimators.BOOSTED, NUMBERS, TEXTS, calibrated=calibrated, params={"max_iter": 20, **params}
    )
    model, fast = load(X, y, recipe)
    assert fast.forest is not None
    check_same(model, fast, rows)


def test_columns_are_encoded_to_the_very_numbers_of_the_pipeline():
    X, y = make_rows(300)
    recipe = Recipe(estimators.BOOSTED, NUMBERS, TEXTS, logged=("size",), params={"max_iter": 5})
    _, fast = load(X, y, recipe)
    encoded = np.hstack([encoder.encode(X) for encoder in fast.encoders])
    assert (encoded == fast.decomposed.columns.transform(X)).all()


def test_a_model_of_another_build_has_no_fast_path():
    X, y = make_rows(300, missing=0.0)
    filled = X.fillna({"plan": "none"})
    model = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression()).fit(filled, y)
    assert fast_path.load_fast_path(model, SCHEMA, make_card(X, y)) is None


def test_parts_that_do_not_give_what_the_model_gives_are_not_used():
    """Somebody's own pipeline of the same shape, with something between that the parts do not show."""
    X, y = make_rows(300)
    model, fast = load(X, y, Recipe(estimators.LINEAR, NUMBERS, TEXTS))
    assert fast is not None
    model.estimator_[0].transformers_[0][1][-1].with_mean = False
    assert fast_path.load_fast_path(model, SCHEMA, make_card(X, y)) is None


def test_the_probe_holds_missing_and_unknown_cells_of_every_column():
    X, y = make_rows(300)
    probe = fast_path.make_probe(SCHEMA, make_card(X, y))
    assert set(probe) == set(KINDS) and len({len(cells) for cells in probe.values()}) == 1
    assert all(np.isnan(probe[name]).any() for name in NUMBERS)
    assert all({None, fast_path.UNKNOWN_CATEGORY} <= set(probe[name]) for name in TEXTS)


# --- trees -------------------------------------------------------------------------------------------------


def fit_trees(seed, **params):
    draw = np.random.default_rng(seed)
    Z = draw.normal(size=(400, 4)).round(1)
    Z[draw.random(Z.shape) < 0.15] = np.nan
    y = (np.nan_to_num(Z[:, 0], nan=1.0) * Z[:, 1] > 0.1) | (draw.random(400) < 0.1)
    return HistGradientBoostingClassifier(random_state=0, **params).fit(Z, y)


numbers_of_a_tree = (
    st.floats(-3, 3)
    | st.floats(-3, 3).map(lambda x: round(x, 1))
    | st.sampled_from([np.nan, np.inf, -np.inf])
)


@settings(quick, max_examples=40)
@given(
    seed=st.integers(0, 3),
    params=st.sampled_from(
        [{"max_iter": 1, "max_leaf_nodes": 2}, {"max_iter": 30}, {"max_iter": 5, "max_depth": 2}]
    ),
    rows=st.lists(st.lists(numbers_of_a_tree, min_size=4, max_size=4), min_size=1, max_size=8),
)
def test_trees_give_the_same_bits_with_missing_and_boundless_cells(seed, params, rows):
    classifier, Z = fit_trees(seed, **params), np.array(rows)
    assert fast_path.make_forest(classifier).log_odds(Z).tolist() == classifier.decision_function(Z).tolist()


def test_a_tree_of_one_leaf_gives_its_value():
    classifier = HistGradientBoostingClassifier(min_samples_leaf=300, max_iter=2).fit(
        np.arange(400.0)[:, None], np.arange(400) % 2
    )
    Z = np.array([[1.0], [np.nan]])
    assert fast_path.make_forest(classifier).log_odds(Z).tolist() == classifier.decision_function(Z).tolist()


def test_trees_that_split_on_sets_of_categories_are_left_to_scikit_learn():
    Z = np.random.default_rng(0).integers(0, 5, size=(200, 1)).astype(float)
    classifier = HistGradientBoostingClassifier(categorical_features=[0]).fit(Z, np.isin(Z[:, 0], [1, 3]))
    assert fast_path.make_forest(classifier) is None


def test_trees_of_a_layout_that_treelite_does_not_know_are_left_to_scikit_learn():
    X, y = make_rows(300)
    recipe = Recipe(estimators.BOOSTED, NUMBERS, TEXTS, params={"max_iter": 5})
    decomposed = decomposition.decompose(fit(X, y, recipe))

    class Later(HistGradientBoostingClassifier):
        is_categorical_ = None

    assert fast_path.make_forest(Later()) is None
    fast = fast_path.FastPath(decomposed, fast_path.take_encoders(decomposed), None)
    assert fast.uses_classifier(1)
    assert (fast.log_odds(X) == decomposed.log_odds(X)).all()


@pytest.mark.parametrize("n_rows", [fast_path.FEW_ROWS, fast_path.FEW_ROWS + 1])
def test_few_and_many_rows_go_two_ways_to_the_same_bits(n_rows):
    X, y = make_rows(300)
    _, fast = load(X, y, Recipe(estimators.BOOSTED, NUMBERS, TEXTS, calibrated=True))
    assert fast.uses_classifier(n_rows) == (n_rows > fast_path.FEW_ROWS)
    assert (fast.log_odds(X[:n_rows]) == fast.decomposed.log_odds(X)[:n_rows]).all()
