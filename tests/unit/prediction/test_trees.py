"""Trees walked side by side say what scikit-learn says of them one by one."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier

from risk.prediction import trees


def fit(seed, **params):
    draw = np.random.default_rng(seed)
    Z = draw.normal(size=(400, 4)).round(1)
    Z[draw.random(Z.shape) < 0.15] = np.nan
    y = (np.nan_to_num(Z[:, 0], nan=1.0) * Z[:, 1] > 0.1) | (draw.random(400) < 0.1)
    return HistGradientBoostingClassifier(random_state=0, **params).fit(Z, y)


cells = (
    st.floats(-3, 3)
    | st.floats(-3, 3).map(lambda x: round(x, 1))
    | st.sampled_from([np.nan, np.inf, -np.inf])
)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 3),
    params=st.sampled_from(
        [{"max_iter": 1, "max_leaf_nodes": 2}, {"max_iter": 30}, {"max_iter": 5, "max_depth": 2}]
    ),
    rows=st.lists(st.lists(cells, min_size=4, max_size=4), min_size=1, max_size=trees.FEW),
)
def test_the_same_to_1e_12_with_missing_and_boundless_cells(seed, params, rows):
    classifier, Z = fit(seed, **params), np.array(rows)
    said = trees.take_trees(classifier).log_odds(Z)
    assert np.abs(said - classifier.decision_function(Z)).max() <= 1e-12


def test_a_tree_of_one_leaf_says_its_value():
    classifier = HistGradientBoostingClassifier(min_samples_leaf=300, max_iter=2).fit(
        np.arange(400.0)[:, None], np.arange(400) % 2
    )
    Z = np.array([[1.0], [np.nan]])
    assert trees.take_trees(classifier).log_odds(Z).tolist() == classifier.decision_function(Z).tolist()


def test_trees_that_ask_for_sets_of_categories_are_left_to_scikit_learn():
    Z = np.random.default_rng(0).integers(0, 5, size=(200, 1)).astype(float)
    classifier = HistGradientBoostingClassifier(categorical_features=[0]).fit(Z, np.isin(Z[:, 0], [1, 3]))
    assert trees.take_trees(classifier) is None
