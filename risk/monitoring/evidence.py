"""Evidence of drift: scores, tests and shifts of new rows, computed once for all rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from risk.metrics import classification, clustering, significance
from risk.metrics.classification import LabelledPredictions, Score
from risk.monitoring import reference
from risk.monitoring.column_drift import ColumnShift
from risk.monitoring.reference import LeaverShare, Reference
from risk.monitoring.rules import RULES, RuleInputs, RuleResult, format_p_value, select_shifted


@dataclass(frozen=True)
class Evidence:
    """What new rows show about a deployed model, computed once; None where it cannot be known.

    Scores are of the `n_labelled` rows with a label, among the `n` new rows; a shift has its own `n`.
    `reference` holds the scores on the newest rows that the model did not see before it was deployed.
    `moved` names the columns that shifted significantly and materially, the most surprising first.
    `label_share_alone`: leavers are more or fewer, and nothing else has changed.
    """

    alpha: float
    n: int
    n_labelled: int
    recorded_score: float
    score: Score | None
    reference: Mapping[str, Any] | None
    leavers: LeaverShare
    label_share_alone: bool
    shifts: tuple[ColumnShift, ...]
    moved: tuple[str, ...]
    prediction: ColumnShift | None
    rules: Mapping[str, RuleResult]
    sentences: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        rules = {name: result._asdict() for name, result in self.rules.items()}
        return asdict(self) | {"score": self.score and self.score.to_json(), "rules": rules}


def compute_evidence(
    y: np.ndarray,
    y_pred: np.ndarray,
    probability: np.ndarray,
    *,
    recorded_score: float,
    release_reference: Reference | None,
    shifts: tuple[ColumnShift, ...],
    alpha: float = significance.ALPHA,
    clients: np.ndarray | None = None,
) -> Evidence:
    """Compare new rows with what a release keeps of its own, and apply every rule.

    Parameters
    ----------
    y : ndarray of shape (n_samples,)
        1 leaves, 0 stays, NaN unlabelled.
    y_pred, probability : ndarray of shape (n_samples,)
        Predictions of the deployed model: 1 leaves, 0 stays; the probability of leaving.
    recorded_score : float
        F1 of the deployed model on the test data, as deployed.
    release_reference : mapping or None
        What `card.make_reference` made for the deployed release; None when it has none.
    shifts : tuple of ColumnShift
        The shift of each feature; empty when the release keeps no profiles.
    clients : ndarray of shape (n_samples,), optional
        Whose row it is; by default each row is a client of its own. Clients are counted, not rows.
    """
    rows = _select_labelled(y, y_pred, probability, clients)
    inputs, leavers = _test_scores(rows, recorded_score, release_reference, shifts, alpha)
    prediction = reference.compare_predictions(release_reference, probability)
    return _conclude(inputs, leavers, prediction, len(y), release_reference)


def _conclude(
    inputs: RuleInputs,
    leavers: LeaverShare,
    prediction: ColumnShift | None,
    n_rows: int,
    release_reference: Reference | None,
) -> Evidence:
    """Apply every rule, and describe what the new rows show."""
    results = {name: judge(inputs) for name, judge in RULES.items()}
    leavers_changed = leavers.p_value is not None and leavers.p_value <= inputs.alpha
    alone = leavers_changed and results["auto"].drift is False
    return Evidence(
        alpha=inputs.alpha,
        n=n_rows,
        n_labelled=inputs.score.n if inputs.score else 0,
        recorded_score=inputs.recorded_score,
        score=inputs.score,
        reference=reference.drop_machine_fields(release_reference),
        leavers=leavers,
        label_share_alone=alone,
        shifts=tuple(inputs.shifts),
        moved=tuple(shift.column for shift in select_shifted(inputs)),
        prediction=prediction,
        rules=results,
        sentences=(
            *(result.sentence for result in results.values()),
            *(_describe_leavers(leavers, alone) if leavers_changed else ()),
            *_describe_predictions(prediction, inputs.alpha),
        ),
    )


def _select_labelled(
    y: np.ndarray, y_pred: np.ndarray, probability: np.ndarray, clients: np.ndarray | None
) -> LabelledPredictions | None:
    """Select the rows with a label; None without any."""
    labelled = y == y
    if not labelled.any():
        return None
    whose = None if clients is None else clustering.only_if_repeated(clients[labelled])
    return LabelledPredictions(y[labelled], y_pred[labelled], probability[labelled], whose)


def _test_scores(
    rows: LabelledPredictions | None,
    recorded_score: float,
    release_reference: Reference | None,
    shifts: tuple[ColumnShift, ...],
    alpha: float,
) -> tuple[RuleInputs, LeaverShare]:
    """Score the labelled rows and test scores and the share of leavers against the reference."""
    if rows is None:
        leavers = reference.compare_leaver_shares(release_reference, 0, 0)
        return RuleInputs(recorded_score, None, None, None, shifts, alpha), leavers
    score = classification.score_predictions(rows)
    f1_test = reference.compare_f1(release_reference, score) if score.n_positive < score.n else None
    skill_test = reference.compare_skill(release_reference, score, rows.ranking)
    leavers = reference.compare_leaver_shares(release_reference, score.n_positive, score.n, rows.share_design)
    return RuleInputs(recorded_score, score, f1_test, skill_test, shifts, alpha), leavers


def _describe_leavers(leavers: LeaverShare, alone: bool) -> list[str]:
    sentence = (
        f"the share of leavers changed from {100 * (leavers.share_reference or 0):.1f} % to "
        f"{100 * (leavers.share or 0):.1f} % ({format_p_value(leavers.p_value or 0.0)})"
    )
    if alone:
        sentence += "; nothing else drifted, and F1 changes with this share alone"
    return [sentence]


def _describe_predictions(prediction: ColumnShift | None, alpha: float) -> list[str]:
    if prediction is None or not prediction.material or (prediction.p_value or 0.0) > alpha:
        return []
    return [f"the predicted probabilities shifted ({prediction.change}, PSI {prediction.psi:.2f})"]
