"""The pipeline of a model: columns, estimator, calibration and threshold, from inside to outside.

Classes of scikit-learn and functions of numpy alone, so that a plain unpickler with a list of names can
load it. Log scale, calibration and threshold live inside: what the pickle predicts is what every part of
the project reports.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from risk.errors import ConfigError
from risk.metrics import client_folds, cross_validation
from risk.model.estimators import ESTIMATORS

if TYPE_CHECKING:
    import pandas as pd

MIN_FREQUENCY = 10
MAX_CATEGORIES = 40
CALIBRATION_FOLDS = 5
LARGE_ROWS = 50_000  # beyond it two folds calibrate as well as five, in half the time


@dataclass(frozen=True)
class Recipe:
    """What a model will be made of, before it has seen a row.

    `logged` names the number columns that the linear model sees on a log scale.
    """

    estimator: str
    numbers: tuple[str, ...]
    texts: tuple[str, ...]
    logged: tuple[str, ...] = ()
    calibrated: bool = False
    random_state: int = 0
    params: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Give what was decided; columns and settings stand elsewhere in the model card."""
        return {"estimator": self.estimator, "logged": list(self.logged), "calibrated": self.calibrated}


def fit_model(
    recipe: Recipe, threshold: float, X: pd.DataFrame, y: np.ndarray, clients: np.ndarray | None = None
) -> Any:
    """Fit a model; its calibration leaves out whole clients.

    Parameters
    ----------
    threshold : float
        A client is predicted to leave from this probability on.
    X, y : DataFrame of shape (n_samples, n_features), ndarray of shape (n_samples,)
        1 leaves, 0 stays.
    clients : ndarray of shape (n_samples,), optional
        Whose row it is; by default each row is a client of its own.
    """
    model = make_model(recipe, threshold=threshold, n_rows=len(y))
    if clients is None or not recipe.calibrated:
        return model.fit(X, y)
    inner = model.estimator
    n_folds = min(inner.cv.n_splits, cross_validation.smaller_class(y, clients))
    fold = client_folds.deal(y, clients, n_folds, recipe.random_state)
    inner.cv = [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(n_folds)]
    model.fit(X, y)
    model.estimator.cv = model.estimator_.cv = n_folds  # positions of rows do not belong into a pickle
    return model


def make_model(recipe: Recipe, *, threshold: float, n_rows: int = 0) -> Any:
    """Build an unfitted model: columns, estimator, calibration, threshold, from inside to outside.

    Parameters
    ----------
    threshold : float
        A client is predicted to leave from this probability on.
    n_rows : int, default=0
        How many rows it will be fitted on; large tables are calibrated with fewer folds.

    Notes
    -----
    The calibration is a sigmoid of the log-odds, fitted on cross-validated ones: it keeps a linear model
    linear. The estimator inside is fitted once on all rows.
    """
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.model_selection import FixedThresholdClassifier, StratifiedKFold

    inner = make_pipeline(recipe)
    if recipe.calibrated:
        n_folds = 2 if n_rows > LARGE_ROWS else CALIBRATION_FOLDS
        folds = StratifiedKFold(n_folds, shuffle=True, random_state=recipe.random_state)
        inner = CalibratedClassifierCV(inner, method="sigmoid", cv=folds, ensemble=False)
    return FixedThresholdClassifier(inner, threshold=threshold, response_method="predict_proba")


def make_pipeline(recipe: Recipe) -> Any:
    """Build the columns and the estimator of a recipe.

    Numbers: mean with a missing flag (the flag makes the mean as good as the median, in a tenth of the
    time), then scaled. Text: one-hot, missing is a category of its own, rare and unseen ones share one.

    Raises
    ------
    ConfigError
        When the estimator does not know one of the parameters.
    """
    from sklearn import pipeline
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    one_hot = OneHotEncoder(
        handle_unknown="infrequent_if_exist",
        min_frequency=MIN_FREQUENCY,
        max_categories=MAX_CATEGORIES,
        sparse_output=False,
    )

    def numbers(*before: Any) -> Any:
        imputer = SimpleImputer(strategy="mean", add_indicator=True, keep_empty_features=True)
        return pipeline.make_pipeline(*before, imputer, StandardScaler())

    plain = [name for name in recipe.numbers if name not in recipe.logged]
    parts = [("number", numbers(), plain), ("text", one_hot, list(recipe.texts))]
    if recipe.logged:
        parts.insert(1, ("log", numbers(*_log_steps()), list(recipe.logged)))
    columns = ColumnTransformer(parts, verbose_feature_names_out=False)
    return pipeline.make_pipeline(columns, _make_classifier(recipe))


def _log_steps() -> list[Any]:
    """Build log(1 + x); a negative value, which training never saw here, counts as 0."""
    from sklearn.preprocessing import FunctionTransformer

    bounds = {"a_min": 0.0, "a_max": None}
    return [
        FunctionTransformer(np.clip, kw_args=bounds, feature_names_out="one-to-one"),
        FunctionTransformer(np.log1p, feature_names_out="one-to-one"),
    ]


def _make_classifier(recipe: Recipe) -> Any:
    estimator = ESTIMATORS[recipe.estimator]
    width = len(recipe.numbers) + MAX_CATEGORIES * len(recipe.texts)
    settings = {"random_state": recipe.random_state, **estimator.choose_settings(width), **recipe.params}
    kind = estimator.load()
    unknown = sorted(set(settings) - set(kind().get_params()))
    if unknown:
        names = ", ".join(map(repr, unknown))
        raise ConfigError(f"model.params: {recipe.estimator} has no parameter {names}")
    return kind(**settings)


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread: the same bytes on any machine, and a core is left to the API."""
    import sklearn.ensemble  # noqa: F401  (its thread pool must be there before it can be limited)
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield


@contextmanager
def blaming(params: Mapping[str, Any]) -> Iterator[None]:
    """While a model is fitted: what scikit-learn refuses of `params` is a mistake in config.json."""
    try:
        yield
    except ValueError as error:
        if not params:
            raise
        raise ConfigError(f"model.params: {error}") from error
