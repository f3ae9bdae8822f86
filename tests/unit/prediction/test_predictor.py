"""Predictions of a release: classes are those of the model, whatever way it is asked."""

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from explained_models import fit, make_card
from mixed_rows import KINDS, NUMBERS, TEXTS, make_rows
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from risk.model import estimators
from risk.model.pipeline import Recipe
from risk.prediction.predictor import Predictor

pytestmark = pytest.mark.usefixtures("one_thread")


def make_predictor(estimator=estimators.LINEAR, **params):
    X, y = make_rows(300)
    model = fit(X, y, Recipe(estimator, NUMBERS, TEXTS, params=params))
    return X, Predictor.from_card("r", model, make_card(X, y))


def columns_of(X):
    columns = {name: X[name].tolist() for name in NUMBERS}
    return columns | {name: [None if cell != cell else cell for cell in X[name].tolist()] for name in TEXTS}


@pytest.mark.parametrize("estimator", [estimators.LINEAR, estimators.BOOSTED])
@pytest.mark.parametrize("n_rows", [1, 300])
def test_a_frame_and_lists_of_cells_get_the_same(estimator, n_rows):
    X, predictor = make_predictor(estimator)
    X = X[:n_rows]
    framed, listed = predictor.predict(X), predictor.predict(columns_of(X))
    assert framed.probability.tolist() == listed.probability.tolist()
    assert framed.classes.tolist() == listed.classes.tolist() == predictor.model.predict(X).tolist()
    assert framed.probability == pytest.approx(predictor.model.predict_proba(X)[:, 1], abs=1e-12)
    assert set(framed.risk) <= {"low", "medium", "high"}


def test_a_probability_on_the_threshold_itself_is_decided_by_the_model():
    """One client at a time: among others even the pipeline may add up in another order."""
    X, predictor = make_predictor()
    ones = [X.iloc[[i]] for i in range(len(X))]
    expected = [(one, predictor.model.predict_proba(one)[0, 1]) for one in ones]
    differ = [(one, p) for one, p in expected if predictor.predict(one).probability[0] != p][:5]
    assert differ, "some last digits differ, or there would be nothing to decide"
    for one, p in differ:
        for threshold in (np.nextafter(p, 0), p, np.nextafter(p, 1)):
            predictor.model.threshold = float(threshold)
            for columns in (one, columns_of(one)):
                assert predictor.predict(columns).classes.tolist() == predictor.model.predict(one).tolist()


def test_a_model_of_another_build_is_asked_through_its_pipeline_and_has_no_reasons():
    X, y = make_rows(300, missing=0.0)
    filled = X.fillna({"plan": "none"})
    model = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression()).fit(filled, y)
    predictor = Predictor.from_card("r", model, make_card(X, y))
    assert predictor.fast_path is None and predictor.explainer is None and predictor.threshold == 0.5
    for columns in (filled, {name: filled[name].tolist() for name in KINDS}):
        predictions = predictor.predict(columns)
        assert predictions.classes.tolist() == model.predict(filled).tolist()
        assert predictions.probability.tolist() == model.predict_proba(filled)[:, 1].tolist()
    assert predictor.find_reasons(filled, predictions.flagged, 3) == [[] for _ in range(300)]


@pytest.mark.parametrize("estimator", [estimators.LINEAR, estimators.BOOSTED])
def test_no_rows_get_no_predictions(estimator):
    X, predictor = make_predictor(estimator, **({"max_iter": 2} if estimator == estimators.BOOSTED else {}))
    for columns in (X[:0], {name: [] for name in KINDS}):
        assert len(predictor.predict(columns).probability) == 0


@pytest.mark.parametrize(("n_rows", "times"), [(1, 0), (300, 1)])
def test_threads_are_limited_while_scikit_learn_is_asked(n_rows, times):
    X, predictor = make_predictor(estimators.BOOSTED, max_iter=5)
    asked = []

    @contextmanager
    def limit():
        asked.append(1)
        yield

    replace(predictor, limit_threads=limit).predict(X[:n_rows])
    assert len(asked) == times
