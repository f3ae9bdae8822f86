"""Fitted models, with the model cards that explain them."""

import json

import sklearn.ensemble  # noqa: F401  (its thread pool must be there before it can be limited)

from risk.data import profiles
from risk.data.schema import Schema
from risk.model import decomposition, pipeline
from risk.model.card import describe_features
from risk.prediction import redundancy
from risk.prediction.effects import Explainer
from risk.prediction.wording import Words


def make_card(X, y):
    """Describe training rows as a model card does."""
    kinds = {name: "number" if X[name].dtype.kind == "f" else "text" for name in X.columns}
    schema = Schema((*X.columns, "left"), kinds, "left", ("1",), ("0",), (), ())
    known = profiles.make_profiles(X, schema.numbers, schema.texts)
    card = {
        "data": {"n_samples": len(y)},
        "schema": schema.to_json(),
        "features": describe_features(X, schema),
        "profiles": {name: one.to_json() for name, one in known.items()},
        "echoes": redundancy.find_redundancy(X).to_json(),
    }
    return json.loads(json.dumps(card))


def fit(X, y, recipe):
    return pipeline.make_model(recipe, threshold=float(y.mean()), n_rows=len(y)).fit(X, y)


def make_explainer(X, y, recipe, table=None):
    """Fit a model and make its explainer, with the reader's names of columns."""
    model = fit(X, y, recipe)
    return model, Explainer.from_card(decomposition.decompose(model), make_card(X, y), Words(table or {}))
