"""Model selection: estimator, log scale, calibration and threshold, by cross-validation on training rows.

Every choice is made by cross-validation on at most 50,000 training rows and by one rule: the simpler
stays unless the other is better by more than one standard error. Test data are never looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from risk.metrics import calibration, cross_validation
from risk.metrics.cross_validation import OutOfFold
from risk.model import pipeline, thresholds
from risk.model.estimators import AUTO, ESTIMATORS
from risk.model.pipeline import Recipe
from risk.model.thresholds import COST, ThresholdRule

if TYPE_CHECKING:
    import pandas as pd

    from risk.model.training_rows import LabelledRows

SKEWED = 1.0  # "highly skewed": M. G. Bulmer, Principles of Statistics (1979), p. 63
MIN_VALUES = 3
MIN_TO_COMPARE = cross_validation.N_FOLDS  # rows of the smaller class: below it the linear model is taken


@dataclass(frozen=True)
class Choice:
    """What was chosen.

    Attributes
    ----------
    facts : dict
        What each choice rests on.
    left_out : OutOfFold
        What the chosen kind of model predicts of rows that it was not fitted on.
    """

    recipe: Recipe
    threshold: float
    facts: dict[str, Any]
    left_out: OutOfFold = field(repr=False, compare=False)


def choose(
    data: LabelledRows, recipe: Recipe, estimator: str, rule: ThresholdRule, rows: np.ndarray
) -> Choice:
    """Choose estimator, log scale, calibration and threshold.

    Parameters
    ----------
    data : LabelledRows
        At least two clients of each class, in the sample, too.
    recipe : Recipe
        Columns, seed and parameters; what else it says is decided here.
    estimator : str
        Name of the estimator, or "auto".
    rule : ThresholdRule
        How the threshold is chosen.
    rows : ndarray of int
        Positions of the sample that everything is tried on.
    """
    y, clients = data.y[rows], data.clients_of(rows)
    n = cross_validation.smaller_class(y, clients)
    tried = list(list_candidates(recipe, estimator, find_skewed(data.X, recipe.numbers, rows), n))
    fold = cross_validation.draw_folds(y, clients, random_state=recipe.random_state)
    recipe, left_out, selection = choose_estimator(data.X.iloc[rows], y, fold, tried, clients)
    if estimator == AUTO and n < MIN_TO_COMPARE:
        selection["reason"] = "too few rows to compare estimators"
    if n < cross_validation.ENOUGH:
        calibrated: dict[str, Any] = {"used": False, "reason": "too few rows to calibrate"}
    else:
        left_out, calibrated = choose_calibration(left_out)
    threshold, weighed, f1 = choose_threshold(left_out, rule, float(data.y.mean()))
    facts = {
        "selection": selection,
        "calibration": calibrated,
        "threshold_choice": weighed,
        "cross_validation": describe(left_out, f1),
    }
    return Choice(replace(recipe, calibrated=calibrated["used"]), threshold, facts, left_out)


def list_candidates(recipe: Recipe, estimator: str, skewed: Sequence[str], n: int) -> Iterator[Recipe]:
    """List what is compared, the simplest first; `n` counts the rows of the smaller class.

    "auto" compares all estimators, and takes the first where there are too few rows.
    """
    names = list(ESTIMATORS) if estimator == AUTO else [estimator]
    if estimator == AUTO and n < MIN_TO_COMPARE:
        names = names[:1]
    for name in names:
        yield replace(recipe, estimator=name)
        if ESTIMATORS[name].is_linear and skewed and n >= cross_validation.ENOUGH:
            yield replace(recipe, estimator=name, logged=tuple(skewed))


def find_skewed(X: pd.DataFrame, numbers: Sequence[str], rows: np.ndarray) -> list[str]:
    """Name the number columns without a negative value that are skewed, and less so on a log scale.

    Parameters
    ----------
    X : DataFrame of shape (n_samples, n_features)
        Numbers as float64; missing NaN, which is left out.
    numbers : sequence of str
        Its columns of numbers.
    rows : ndarray of int
        Positions of the sample that the skewness is computed on; no row of all may be negative.

    Returns
    -------
    names : list of str
        Skewness above 1, and nearer to 0 for log(1 + x).
    """
    names = []
    for name in numbers:
        values = X[name].to_numpy()[rows]
        values = values[~np.isnan(values)]
        if len(np.unique(values[:1000])) < MIN_VALUES or values.min() < 0 or X[name].min() < 0:
            continue
        skew = skewness(values)
        if skew > SKEWED and abs(skewness(np.log1p(values))) < skew:
            names.append(name)
    return names


def skewness(values: np.ndarray) -> float:
    """Compute the moment coefficient of skewness, g1 [1]_.

    Parameters
    ----------
    values : ndarray of float, shape (n_values,)
        At least one, none missing.

    Returns
    -------
    skewness : float
        0 for a symmetric distribution, and for values that are all equal; above 0 with a long right tail.

    References
    ----------
    .. [1] D. N. Joanes, C. A. Gill, "Comparing measures of sample skewness and kurtosis", The Statistician
       47 (1998), pp. 183-189.
    """
    spread = values.std()
    return float(np.mean(((values - values.mean()) / spread) ** 3)) if spread > 0 else 0.0


def choose_estimator(
    X: pd.DataFrame,
    y: np.ndarray,
    fold: np.ndarray,
    recipes: Sequence[Recipe],
    clients: np.ndarray | None = None,
) -> tuple[Recipe, OutOfFold, dict[str, Any]]:
    """Choose by AUC on the same folds: the simpler unless the next is better by more than noise.

    Parameters
    ----------
    X, y, fold : DataFrame, ndarray, ndarray
        Training rows, 1 leaves, 0 stays; as `cross_validation.draw_folds` deals them.
    recipes : sequence of Recipe
        The simplest first.
    clients : ndarray of shape (n_samples,), optional
        Whose row it is; by default each is its own client.

    Returns
    -------
    recipe, left_out : Recipe, OutOfFold
        The chosen one, and what it predicts of rows that it was not fitted on.
    facts : dict
        Mean AUC of each; the gain of the last estimator that was compared, and that of a log scale.
    """
    left_out = [
        cross_validation.leave_out(pipeline.make_pipeline(recipe), X, y, fold, clients) for recipe in recipes
    ]
    auc = [one.scores(cross_validation.auc) for one in left_out]
    means = {name_recipe(recipe): float(one.mean()) for recipe, one in zip(recipes, auc, strict=True)}
    facts: dict[str, Any] = {"n_rows": len(y), "n_folds": len(auc[0]), "auc": means}
    best = 0
    for number in range(1, len(recipes)):
        gain = cross_validation.compare(auc[number], auc[best], left_out[0].n_folds)
        if recipes[number].logged:
            facts["log_scale"] = {"columns": [*recipes[number].logged], "used": gain.better, **gain.to_json()}
        else:
            facts |= gain.to_json()
        best = number if gain.better else best
    return recipes[best], left_out[best], facts


def name_recipe(recipe: Recipe) -> str:
    """Name a contender for a reader."""
    return f"{recipe.estimator} on a log scale" if recipe.logged else recipe.estimator


def choose_calibration(left_out: OutOfFold) -> tuple[OutOfFold, dict[str, Any]]:
    """Take a sigmoid when it lowers the Brier loss on rows that neither it nor the model has seen.

    Not for a model that may be no better than chance: the best sigmoid for it is flat, and a slope that
    chance bends below zero would turn the ranking round.
    """
    after = calibration.calibrate(left_out)
    losses = [one.scores(calibration.brier_loss) for one in (left_out, after)]
    gain = cross_validation.compare(-losses[1], -losses[0], left_out.n_folds)
    ranks = (
        cross_validation.summarise(left_out.scores(cross_validation.auc), left_out.n_folds)["low"]
        > cross_validation.CHANCE_AUC
    )
    facts = {
        "used": gain.better and ranks,
        "brier_before": float(losses[0].mean()),
        "brier_after": float(losses[1].mean()),
        **gain.to_json(),
        "curve_before": calibration.reliability_curve(left_out.y, left_out.probability[0]),
        "curve_after": calibration.reliability_curve(after.y, after.probability[0]),
    }
    return (after if facts["used"] else left_out), facts


def choose_threshold(
    left_out: OutOfFold, rule: ThresholdRule, share: float
) -> tuple[float, dict[str, Any], dict[str, float]]:
    """Choose the threshold of the model, and say how good it is on rows that did not choose it.

    Rule "cost" stays at `call_cost / loss_cost`, where the least expected cost lies, unless the cut that
    cost least on left-out rows is better by more than noise.

    Returns
    -------
    threshold : float
    weighed : dict
        What the rule "cost" rests on; empty for the others.
    f1 : dict
        Mean, spread and interval over folds, each at a threshold that the other folds chose.
    """
    chosen, weighed = rule.choose(*left_out.pooled(), share), dict[str, Any]()
    others = choose_for_folds(left_out, rule, share)
    if rule.threshold == COST:
        chosen, others, weighed = weigh_costs(left_out, rule, chosen, others)
    f1 = score_at(left_out, others, thresholds.f1_score)
    return chosen, weighed, cross_validation.summarise(f1, left_out.n_folds)


def choose_for_folds(left_out: OutOfFold, rule: ThresholdRule, share: float) -> list[float]:
    """Choose a threshold for each fold on the other folds of its shuffle."""
    return [
        rule.choose(left_out.y[~out], left_out.probability[r, ~out], share) for r, out in left_out.parts()
    ]


def score_at(left_out: OutOfFold, cuts: Sequence[float], metric: cross_validation.Metric) -> np.ndarray:
    """Compute `metric(y, flagged)` on each fold at the threshold of that fold.

    Parameters
    ----------
    left_out : OutOfFold
        Predictions of rows by models that were not fitted on them.
    cuts : sequence of float
        A threshold for each of `left_out.parts()`.
    metric : function of (y, flagged) to float
        Takes the labels of a fold and a mask of who is predicted to leave.

    Returns
    -------
    scores : ndarray of shape (n_repeats * n_folds,)
    """
    parts = zip(left_out.parts(), cuts, strict=True)
    return np.array([metric(left_out.y[out], left_out.probability[r, out] >= at) for (r, out), at in parts])


def weigh_costs(
    left_out: OutOfFold, rule: ThresholdRule, least: float, others: list[float]
) -> tuple[float, list[float], dict[str, Any]]:
    """Weigh the cut of least cost against the one that honest probabilities ask for."""
    call_cost, loss_cost = rule.costs
    expected = call_cost / loss_cost

    def cost(y: np.ndarray, flagged: np.ndarray) -> float:
        return thresholds.cost_per_client(y, flagged, call_cost, loss_cost)

    at_expected = score_at(left_out, [expected] * len(others), cost)
    at_least = score_at(left_out, others, cost)
    gain = cross_validation.compare(-at_least, -at_expected, left_out.n_folds)
    taken = (
        gain.better
        and cross_validation.smaller_class(left_out.y, left_out.clients) >= cross_validation.ENOUGH
    )
    facts = {
        "expected_cost_cut": expected,
        "least_cost_cut": least,
        **gain.to_json(),
        "cost_per_client": {
            "at_expected_cost_cut": float(at_expected.mean()),
            "at_least_cost_cut": float(at_least.mean()),
            "call_everyone": call_cost,
            "call_nobody": loss_cost * float(left_out.y.mean()),
        },
    }
    return (least, others, facts) if taken else (expected, [expected] * len(others), facts)


def describe(left_out: OutOfFold, f1: dict[str, float]) -> dict[str, Any]:
    """Say how good the chosen model is on left-out rows, beside what no model at all would reach."""
    share, clients = float(left_out.y.mean()), left_out.clients
    return {
        "n_rows": len(left_out.y),
        **({} if clients is None else {"n_clients": len(np.unique(clients))}),
        "n_positive": int(left_out.y.sum()),
        "n_folds": left_out.n_folds * len(left_out.fold),
        "auc": cross_validation.summarise(left_out.scores(cross_validation.auc), left_out.n_folds),
        "f1": f1,
        "brier": cross_validation.summarise(left_out.scores(calibration.brier_loss), left_out.n_folds),
        "floor": {
            "auc": cross_validation.CHANCE_AUC,
            "f1": 2 * share / (1 + share),
            "brier": share * (1 - share),
        },
    }
