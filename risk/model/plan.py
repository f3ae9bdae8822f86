"""The plan of a model: what is fitted on which rows, decided by cross-validation inside these rows alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from risk.metrics import cross_validation, slices
from risk.model import card, data_checks, learning_curve, registry, selection, training_rows
from risk.model.pipeline import make_pipeline

if TYPE_CHECKING:
    import numpy as np

    from risk.model.pipeline import Recipe
    from risk.model.selection import Choice
    from risk.model.thresholds import ThresholdRule
    from risk.model.training_rows import LabelledRows


@dataclass(frozen=True)
class TrainingPlan:
    """What was decided about a model: enough to fit it again on more rows.

    Attributes
    ----------
    rows : {"all", "new"}
        Which rows it is fitted on; the new ones begin at the offset `new_from` of the table.
    facts : mapping
        What each decision rests on; part of the model card.
    """

    choice: Choice
    rows: str
    new_from: int | None
    facts: Mapping[str, Any]


def make_plan(
    data: LabelledRows, recipe: Recipe, estimator: str, rule: ThresholdRule, new_from: int | None
) -> TrainingPlan:
    """Decide what is fitted on which rows.

    Parameters
    ----------
    data : LabelledRows
        Without those held back for the gate.
    recipe : Recipe
        Columns, seed and parameters; what else it says is decided here.
    estimator : str
        Name of the estimator, or "auto".
    rule : ThresholdRule
        How the threshold is chosen.
    new_from : int, optional
        Where in the table (bytes) the new rows begin; None when there is no deployed model to compare with,
        and all rows are taken.
    """
    selection_rows = cross_validation.sample_to_try(data.X, data.y, data.clients)
    choice = selection.choose(data, recipe, estimator, rule, selection_rows)
    used, row_facts = training_rows.ALL, dict[str, Any]()
    if new_from is not None:
        pipeline = make_pipeline(choice.recipe)
        used, row_facts = training_rows.choose_rows(pipeline, data, random_state=recipe.random_state)
    if used == training_rows.NEW:
        data = data.take(data.is_new)
        selection_rows = cross_validation.sample_to_try(data.X, data.y, data.clients)
        choice = selection.choose(data, recipe, estimator, rule, selection_rows)
    facts = {
        **choice.facts,
        **describe_sample(choice, data),
        "rows": {"used": used, **row_facts},
        "warnings": check_data(choice, data, selection_rows),
        "reference": compute_reference(choice, data, rule),
        "slices": find_slices(choice, data, selection_rows),
    }
    return TrainingPlan(choice, used, new_from, facts)


def describe_sample(choice: Choice, data: LabelledRows) -> dict[str, Any]:
    """Describe a sample, with the learning curve that shows whether it is large enough; empty without one."""
    if not data.is_sample:
        return {}
    pipeline = make_pipeline(choice.recipe)
    random_state = choice.recipe.random_state
    curve = learning_curve.compute_curve(pipeline, data, random_state=random_state)
    text = learning_curve.describe_curve(curve, len(data.y), data.n_labelled)
    sample = {"n_rows": len(data.y), "n_labelled": data.n_labelled, "text": text, "learning_curve": curve}
    return {"sample": sample}


def check_data(choice: Choice, data: LabelledRows, selection_rows: np.ndarray) -> list[dict[str, Any]]:
    """Check the training data, and the signal that the chosen model finds in them.

    Parameters
    ----------
    selection_rows : ndarray of int
        Positions of the rows that the choice was made on.
    """
    no_signal = data_checks.check_signal(choice.facts["cross_validation"]["auc"])
    checks = data_checks.check_features(data.X, data.y, selection_rows)
    return [check.to_json() for check in (no_signal, *checks) if check is not None]


def compute_reference(choice: Choice, data: LabelledRows, rule: ThresholdRule) -> dict[str, Any]:
    """Describe how left-out models did on the newest rows: what later rows are compared with."""
    selection_rows = cross_validation.sample_to_try(data.X, data.y, data.clients)
    newest = data.newest[selection_rows]
    if not cross_validation.smaller_class(choice.left_out.y[newest]):
        newest[:] = True
    y, probability = choice.left_out.y[newest], choice.left_out.probability[0, newest]
    flagged = probability >= rule.resolve(choice.threshold, data.y)
    clients = None if choice.left_out.clients is None else choice.left_out.clients[newest]
    reference = card.make_reference(y, flagged, probability, clients, y_train=data.y[data.newest])
    return {"rows": cross_validation.CROSS_VALIDATED, **reference}


def measure_held_back(candidate: Any, held_back: LabelledRows, plan: TrainingPlan) -> dict[str, Any]:
    """Measure a candidate on the rows held back from it: the newest that it did not see.

    Returns
    -------
    facts : dict
        `reference` for the model card; empty where they are too few, and cross-validation says more.
    """
    y = held_back.y
    if not len(y) or cross_validation.smaller_class(y, held_back.clients) < cross_validation.ENOUGH:
        return {}
    facts = card.make_reference(y, *registry.predict(candidate, held_back.X), held_back.clients)
    leavers = plan.facts["reference"]["leavers"]
    return {"reference": {"rows": "held back from the candidate", **facts, "leavers": leavers}}


def find_slices(choice: Choice, data: LabelledRows, selection_rows: np.ndarray) -> list[dict[str, Any]]:
    """Find where the chosen model is clearly worse, on rows that it was not fitted on.

    Parameters
    ----------
    selection_rows : ndarray of int
        Positions of the rows that the choice was made on.
    """
    from scipy.special import expit

    probability = expit(choice.left_out.log_odds.mean(axis=0))
    worse = slices.find_slices(
        data.X.iloc[selection_rows], choice.left_out.y, probability, choice.left_out.clients
    )
    return [one.to_json() for one in worse]
