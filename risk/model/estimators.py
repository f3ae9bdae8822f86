"""The estimators that a model may be made of, by the names that config.json knows.

A new estimator is a function that builds it and a row of `ESTIMATORS`. Standard library only at import: the
names are read at the start of every run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

WIDE = 300  # columns of the pipeline, from which on a solver is taken that holds no square of them


class Estimator(NamedTuple):
    """One estimator of scikit-learn.

    Attributes
    ----------
    load : callable
        Imports its class.
    choose_settings : callable
        Gives the settings for so many columns of the pipeline, without seed and `params`.
    is_linear : bool
        It is also tried with skewed columns on a log scale.
    classes : frozenset of (str, str)
        Module and name of what its pickle may hold beyond what every model holds; see `pickling`.
    """

    load: Callable[[], Any]
    choose_settings: Callable[[int], Mapping[str, Any]]
    is_linear: bool
    classes: frozenset[tuple[str, str]]


def load_logistic_regression() -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression


def choose_solver(width: int) -> Mapping[str, Any]:
    return {"solver": "newton-cholesky" if width <= WIDE else "lbfgs", "max_iter": 1000}


def load_hist_gradient_boosting() -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier


LINEAR, BOOSTED, AUTO = "logistic_regression", "hist_gradient_boosting", "auto"
# "auto" compares them in this order, the simplest first.
ESTIMATORS: dict[str, Estimator] = {
    LINEAR: Estimator(
        load_logistic_regression,
        choose_solver,
        is_linear=True,
        classes=frozenset({("sklearn.linear_model._logistic", "LogisticRegression")}),
    ),
    BOOSTED: Estimator(
        load_hist_gradient_boosting,
        lambda _: {},
        is_linear=False,
        classes=frozenset(
            {
                ("builtins", "slice"),
                ("numpy.random._pcg64", "PCG64"),
                ("numpy.random._pickle", "__bit_generator_ctor"),
                ("numpy.random._pickle", "__generator_ctor"),
                ("numpy.random.bit_generator", "SeedSequence"),
                ("numpy.random.bit_generator", "__pyx_unpickle_SeedSequence"),
                ("sklearn._loss._loss", "CyHalfBinomialLoss"),
                ("sklearn._loss.link", "Interval"),
                ("sklearn._loss.link", "LogitLink"),
                ("sklearn._loss.loss", "HalfBinomialLoss"),
                ("sklearn.ensemble._hist_gradient_boosting.binning", "_BinMapper"),
                (
                    "sklearn.ensemble._hist_gradient_boosting.gradient_boosting",
                    "HistGradientBoostingClassifier",
                ),
                ("sklearn.ensemble._hist_gradient_boosting.predictor", "TreePredictor"),
                ("sklearn.preprocessing._label", "LabelEncoder"),
            }
        ),
    ),
}
NAMES = (AUTO, *ESTIMATORS)
