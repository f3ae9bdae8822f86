"""What do new rows show, and what does each rule say of it?

Three rules look at the same evidence, once: `score` (F1 lower than recorded), `score_margin` (lower by more
than the noise of both scores) and `auto` (a score lower by more than noise, or a column that has moved
both significantly and materially). One of them decides (`drift`); all are told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from risk.metrics import classification, significance
from risk.metrics.classification import Score
from risk.monitoring.column_drift import ColumnShift
from risk.monitoring.reference import (
    LeaverShare,
    Reference,
    ScoreTest,
    compare_f1,
    compare_leaver_shares,
    compare_predictions,
    compare_skill,
    drop_machine_fields,
)

RULES = ("score", "score_margin", "auto")
N_NAMED = 3
LEAST_P = 0.001
NO_REFERENCE = "the release keeps no reference score to hold the new rows against; retrain once"


@dataclass(frozen=True)
class RuleResult:
    """What one rule says; `drift` is None when it cannot be judged.

    `margin` is by how much the score is lower than the one it is held against. `p_value` is the chance
    of such evidence without any drift, counted against alpha; None for `score`, which knows no noise.
    """

    drift: bool | None
    margin: float | None
    p_value: float | None
    sentence: str


@dataclass(frozen=True)
class Evidence:
    """What new rows show about a deployed model, computed once; None where it cannot be known.

    Scores are of the `n_labelled` rows with a label, among the `n` that were asked about; a shift has its
    own `n`. `reference` holds the scores on the newest rows that the model did not see before it was
    deployed. `moved` names the columns that moved significantly and materially, the most surprising first.
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
        return asdict(self) | {"score": self.score and self.score.to_json()}


# --- evidence ----------------------------------------------------------------------------------------------


def compute_evidence(
    y: np.ndarray,
    y_pred: np.ndarray,
    probability: np.ndarray,
    *,
    recorded_score: float,
    release_reference: Reference | None,
    shifts: tuple[ColumnShift, ...],
    alpha: float = significance.ALPHA,
) -> Evidence:
    """Look at new rows from every side, once.

    Parameters
    ----------
    y : ndarray of shape (n_samples,)
        1 leaves, 0 stays, NaN unlabelled.
    y_pred, probability : ndarray of shape (n_samples,)
        What the deployed model says of each row.
    recorded_score : float
        F1 of the deployed model on the test data, as deployed.
    release_reference : mapping or None
        What `card.make_reference` made for the deployed release; None when it has none.
    shifts : tuple of ColumnShift
        How far each feature has moved; empty when the release keeps no profiles.
    """
    labelled = y == y
    score, skill = None, None
    if labelled.any():
        rows = classification.Predictions(y[labelled], y_pred[labelled], probability[labelled])
        score = classification.score_predictions(rows)
        skill = compare_skill(release_reference, score, rows.ranking)
    leavers = compare_leaver_shares(release_reference, score.n_positive if score else 0, int(labelled.sum()))
    moved, auto = apply_auto(skill, score, shifts, alpha)
    rules = {
        "score": apply_score(recorded_score, score),
        "score_margin": _apply_score_margin(release_reference, score, alpha),
        "auto": auto,
    }
    prediction = compare_predictions(release_reference, probability)
    alone = leavers.p_value is not None and leavers.p_value <= alpha and auto.drift is False
    sentences = [*(opinion.sentence for opinion in rules.values()), *_say_leavers(leavers, alpha, alone)]
    return Evidence(
        alpha=alpha,
        n=len(y),
        n_labelled=int(labelled.sum()),
        recorded_score=recorded_score,
        score=score,
        reference=drop_machine_fields(release_reference),
        leavers=leavers,
        label_share_alone=alone,
        shifts=shifts,
        moved=tuple(found.column for found in moved),
        prediction=prediction,
        rules=rules,
        sentences=(*sentences, *_say_prediction(prediction, alpha)),
    )


def apply_score(recorded_score: float, score: Score | None) -> RuleResult:
    """Apply the document's rule: drift when F1 is lower than the recorded one. An equal one is not."""
    if score is None or score.f1 is None or score.n_positive == score.n:
        return RuleResult(None, None, None, explain_null(score))
    drift = score.f1 < recorded_score
    sign = "is lower than" if drift else "is not lower than"
    sentence = (
        f"F1 {score.f1:.4g} on {score.n:,} new rows ({score.f1_low:.2f} to {score.f1_high:.2f}) {sign} "
        f"the recorded {recorded_score:.4g}"
    )
    return RuleResult(drift, recorded_score - score.f1, None, sentence)


def _apply_score_margin(release_reference: Reference | None, score: Score | None, alpha: float) -> RuleResult:
    """Apply `score_margin`: drift when F1 is lower by more than the noise of both scores."""
    if score is None or score.f1 is None or score.n_positive == score.n:
        return RuleResult(None, None, None, explain_null(score))
    tested = compare_f1(release_reference, score)
    if tested is None:
        return RuleResult(None, None, None, NO_REFERENCE)
    drift = tested.p_value <= alpha
    return RuleResult(drift, tested.margin, tested.p_value, _say_score(tested, drift))


def apply_auto(
    skill: ScoreTest | None, score: Score | None, shifts: Sequence[ColumnShift], alpha: float
) -> tuple[list[ColumnShift], RuleResult]:
    """Apply `auto`: drift when a score is lower by more than noise, or when columns have moved.

    The two share alpha by Holm's method: each has half of it, and all of it when the other is found at
    half. A column that moved materially counts with its p-value among all columns, which holds their
    family to its part of alpha. Where only one of the two can be tested, alpha is its own.
    """
    p_shift = compute_shift_p_value(shifts)
    p_values = [p for p in (skill.p_value if skill else None, p_shift) if p is not None]
    if not p_values:
        judged = score is not None and 0 < score.n_positive < score.n
        return [], RuleResult(None, None, None, NO_REFERENCE if judged else explain_null(score))
    adjusted = significance.holm(p_values)
    parts: list[str] = []
    if skill:
        parts.append(_say_score(skill, bool(adjusted[0] <= alpha)))
    alone = len(p_values) == 1 or (skill is not None and skill.p_value <= alpha / 2)
    moved = select_shifted(shifts, alpha if alone else alpha / 2)
    if p_shift is not None:
        parts.append(_say_moved(moved, len(shifts)))
    opinion = RuleResult(
        drift=bool(adjusted.min() <= alpha),
        margin=skill.margin if skill else None,
        p_value=float(adjusted.min()),
        sentence="; ".join(parts),
    )
    return moved, opinion


def compute_shift_p_value(shifts: Sequence[ColumnShift]) -> float | None:
    """Take the smallest p-value of a column that moved materially; None when none could be tested."""
    if all(found.p_adjusted is None for found in shifts):
        return None
    return min((s.p_adjusted for s in shifts if s.material and s.p_adjusted is not None), default=1.0)


def select_shifted(shifts: Sequence[ColumnShift], alpha: float) -> list[ColumnShift]:
    """Find the columns that moved significantly among all, and materially; most surprising first."""
    moved = [s for s in shifts if s.material and s.p_adjusted is not None and s.p_adjusted <= alpha]
    return sorted(moved, key=lambda s: (s.p_adjusted or 0.0, -(s.psi or 0.0)))


# --- words -------------------------------------------------------------------------------------------------


def explain_null(score: Score | None) -> str:
    """Say why rows cannot be judged yet."""
    if score is None:
        return "no new row has a label; the rows are judged with the next batch"
    which = "left" if score.n_positive else "stayed"
    return (
        f"all {score.n:,} labelled new rows {which}, a score needs both classes; judged with the next batch"
    )


def _say_score(tested: ScoreTest, drift: bool) -> str:
    if tested.margin <= 0:
        return f"{tested.metric} {tested.after:.3f} is not lower than the {tested.before:.3f} before"
    how = "by more than chance explains" if drift else "by no more than chance explains"
    lower = f"{tested.metric} {tested.after:.3f} is lower than the {tested.before:.3f} before"
    return f"{lower} {how} ({format_p_value(tested.p_value)})"


def _say_moved(moved: Sequence[ColumnShift], n_columns: int) -> str:
    if not moved:
        return f"none of {n_columns} columns moved" if n_columns != 1 else "the one column did not move"
    told = ", ".join(f"{found.column} ({found.change})" for found in moved[:N_NAMED])
    more = f" and {len(moved) - N_NAMED} more" if len(moved) > N_NAMED else ""
    return f"{len(moved)} of {n_columns} columns moved: {told}{more}"


def _say_leavers(leavers: LeaverShare, alpha: float, alone: bool) -> list[str]:
    if leavers.p_value is None or leavers.p_value > alpha:
        return []
    said = (
        f"the share of leavers went from {100 * (leavers.share_reference or 0):.1f} % to "
        f"{100 * (leavers.share or 0):.1f} % ({format_p_value(leavers.p_value)})"
    )
    if alone:
        said += "; nothing else changed, and F1 moves with this share by itself"
    return [said]


def _say_prediction(prediction: ColumnShift | None, alpha: float) -> list[str]:
    if prediction is None or not prediction.material or (prediction.p_value or 0.0) > alpha:
        return []
    return [f"the predicted probabilities moved ({prediction.change}, PSI {prediction.psi:.2f})"]


def format_p_value(p_value: float) -> str:
    return f"p < {LEAST_P}" if p_value < LEAST_P else f"p {p_value:.2g}"
