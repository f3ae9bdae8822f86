"""The model card: what was fitted on which data, how it did on rows it had not seen, what it is for."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from risk.data import profiles
from risk.metrics import classification, clustering, reliability
from risk.metrics.classification import LabelledPredictions
from risk.metrics.reliability import Reliability

if TYPE_CHECKING:
    import pandas as pd

    from risk.data.ledger import Ledger
    from risk.data.schema import Schema
    from risk.model.plan import TrainingPlan
    from risk.model.training_rows import LabelledRows

MOST_CATEGORIES = 40
READERS = {
    "executive": "page 1: how many clients are at risk, and whether to believe it",
    "client managers": "the list: whom to call first, and about what",
    "data scientist": "the appendix: evidence, scores, columns, this card",
    "operator": "one line of log for each decision; an alert, where one is set up, when a person is needed",
}
LIMITS = [
    "It knows clients like those it learned from.",
    "A probability is a share among such clients, not a fate.",
    "It is not made to decide anything about a client without a person, nor for another table.",
    "Reasons say what goes along with leaving, not what causes it.",
]


def make_card(
    plan: TrainingPlan,
    data: LabelledRows,
    *,
    ledger: Ledger,
    schema: Schema,
    threshold: float,
    settings: Mapping[str, Any],
    digests: Mapping[str, str],
    echoes: Mapping[str, Any],
) -> dict[str, Any]:
    """Make the card of a fitted model.

    Parameters
    ----------
    data, ledger : LabelledRows, Ledger
        The rows that it was fitted on, and the record of their table.
    settings : mapping
        What config.json asked for: `threshold_rule`, `random_state`, `params`, `row_key`.
    digests : mapping
        sha256 of the pickled `model`, and of the list of `files`.
    echoes : mapping
        Columns that carry the same information (`redundancy.find_redundancy`).
    """
    profiled = profiles.make_profiles(data.X[data.newest], schema.numbers, schema.texts)
    shape = schema.to_json()
    return {
        **describe_purpose(shape),
        "model_sha256": digests["model"],
        "estimator": plan.choice.recipe.estimator,
        "threshold": threshold,
        **settings,
        "schema": shape,
        "data": _describe_data(data, ledger, digests["files"]),
        **plan.facts,
        "features": describe_features(data.X, schema),
        "echoes": echoes,
        "profiles": {name: profile.to_json() for name, profile in profiled.items()},
        "versions": list_versions(),
    }


def _describe_data(data: LabelledRows, ledger: Ledger, files_sha256: str) -> dict[str, Any]:
    clients = {} if data.clients is None else {"n_clients": data.n_clients}
    return {
        **ledger.mark,
        "source": ledger.source,
        "n_rows": ledger.rows,
        "n_samples": len(data.y),
        "n_positive": int(data.y.sum()),
        **clients,
        "files_sha256": files_sha256,
        "n_files": sum(entry.refused is None for entry in ledger.files),
    }


def describe_purpose(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Describe purpose, limits and readers of a model of this schema (as `Schema.to_json` gives it)."""
    words = f"{schema['target']} = {schema['positive'][0]}"
    use = f"It ranks clients by the risk of leaving ({words}), so that people call the right ones first."
    return {"intended_use": use, "limits": LIMITS, "readers": READERS}


def describe_features(X: pd.DataFrame, schema: Schema) -> dict[str, Any]:
    """Describe each feature as it was at training time, for reasons and baselines.

    Parameters
    ----------
    X : DataFrame of shape (n_samples, n_features)
        Numbers as float64 with NaN, text with NaN.

    Returns
    -------
    facts : dict
        By column. `missing` counts rows; `mean`, `std`, `median` and `deciles` (from least to greatest)
        of a number are there when any row has one; of a text the 40 most frequent `categories`.
    """
    numbers = {name: _describe_number(X[name].to_numpy()) for name in schema.numbers}
    return numbers | {name: _describe_text(X[name]) for name in schema.texts}


def _describe_number(values: np.ndarray) -> dict[str, Any]:
    filled = values[~np.isnan(values)]
    facts: dict[str, Any] = {"missing": int(len(values) - len(filled))}
    if not len(filled):
        return facts
    return facts | {
        "mean": float(filled.mean()),
        "std": float(filled.std()),
        "median": float(np.median(filled)),
        "deciles": [float(q) for q in np.quantile(filled, np.linspace(0, 1, 11))],
    }


def _describe_text(column: pd.Series[Any]) -> dict[str, Any]:
    counts = column.value_counts()
    by_frequency = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return {
        "missing": int(column.isna().sum()),
        "n_categories": len(counts),
        "categories": {str(name): int(n) for name, n in by_frequency[:MOST_CATEGORIES]},
    }


def make_reference(
    y: np.ndarray,
    y_pred: np.ndarray,
    probability: np.ndarray,
    clients: np.ndarray | None = None,
    *,
    y_train: np.ndarray | None = None,
) -> dict[str, Any]:
    """Describe how a model did on rows that it had not seen: what later rows are compared with.

    Parameters
    ----------
    y, y_pred, probability : ndarray of shape (n_samples,)
        Labels (1 leaves, 0 stays), predictions and probabilities of rows that the model has not seen.
    clients : ndarray of shape (n_samples,), optional
        Whose row it is; by default each row is a client of its own.
    y_train : ndarray of shape (n_trained,), optional
        Labels of the training rows: more of them to estimate the share of leavers from.

    Returns
    -------
    reference : dict
        JSON: the fields of a `Score`, `ranking`, `score_profile`, `leavers` and `reliability`.
    """
    rows = LabelledPredictions(y, y_pred, probability, clients)
    ranked = rows.ranking
    labels = y if y_train is None else y_train
    return {
        **classification.score_predictions(rows).to_json(),
        "ranking": ranked.to_json() if ranked else None,
        "score_profile": profiles.profile_numbers(probability).to_json(),
        "leavers": {"n": len(labels), "n_positive": int((labels == 1).sum())},
        "reliability": _measure_reliability(rows).to_json() if len(y) else None,
    }


def _measure_reliability(rows: LabelledPredictions) -> Reliability:
    """Measure reliability; rows of the same client count for as many as tell as much by themselves."""
    if rows.clients is None:
        return reliability.measure_reliability(rows.y_true, rows.probability)
    effect = clustering.design_effect(rows.y_true - rows.probability, rows.clients)
    return reliability.measure_reliability(
        rows.y_true, rows.probability, np.full(len(rows.y_true), 1 / effect)
    )


def list_versions() -> dict[str, str]:
    """List the versions that the bytes of a model depend on."""
    import numpy
    import pandas
    import sklearn

    return {
        "python": platform.python_version(),
        "scikit-learn": sklearn.__version__,
        "numpy": numpy.__version__,
        "pandas": pandas.__version__,
    }
