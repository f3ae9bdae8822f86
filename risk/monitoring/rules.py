"""Drift rules: each judges the same inputs, and one of them decides (`drift.rule` in config.json).

To add a rule, write a function of `RuleInputs` and give it a row in `RULES`. Standard library only at import:
the check of config.json reads the names.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from risk.metrics.classification import Score
    from risk.monitoring.column_drift import ColumnShift
    from risk.monitoring.reference import ScoreTest

N_NAMED = 3
LEAST_P = 0.001
NO_REFERENCE = "the release has no reference score to compare the new rows with; retrain once"


class RuleInputs(NamedTuple):
    """What rules judge: scores and tests of new rows, each None where it is not defined.

    `score` is of the labelled new rows; `f1_test` and `auc_or_f1_test` test for a drop against the
    reference of the release, the latter for one that a new share of leavers alone does not make.
    """

    recorded_score: float
    score: "Score | None"
    f1_test: "ScoreTest | None"
    auc_or_f1_test: "ScoreTest | None"
    shifts: "Sequence[ColumnShift]"
    alpha: float


class RuleResult(NamedTuple):
    """The judgement of one rule; `drift` is None when the rows cannot be judged.

    `margin` is by how much the score is lower than the one it is compared with. `p_value` is the chance
    of such evidence without any drift, counted against alpha; None for `score`, which ignores noise.
    """

    drift: bool | None
    margin: float | None
    p_value: float | None
    sentence: str


def judge_score(inputs: RuleInputs) -> RuleResult:
    """Apply the document's rule: drift when F1 is lower than the recorded one. An equal one is not."""
    score = inputs.score
    if score is None or score.f1 is None or score.n_positive == score.n:
        return RuleResult(None, None, None, describe_unjudged(score))
    drift = score.f1 < inputs.recorded_score
    sign = "is lower than" if drift else "is not lower than"
    sentence = (
        f"F1 {score.f1:.4g} on {score.n:,} new rows ({score.f1_low:.2f} to {score.f1_high:.2f}) {sign} "
        f"the recorded {inputs.recorded_score:.4g}"
    )
    return RuleResult(drift, inputs.recorded_score - score.f1, None, sentence)


def judge_score_margin(inputs: RuleInputs) -> RuleResult:
    """Find drift when F1 is lower by more than the noise of both scores."""
    score, test = inputs.score, inputs.f1_test
    if score is None or score.f1 is None or score.n_positive == score.n:
        return RuleResult(None, None, None, describe_unjudged(score))
    if test is None:
        return RuleResult(None, None, None, NO_REFERENCE)
    drift = test.p_value <= inputs.alpha
    return RuleResult(drift, test.margin, test.p_value, _describe_test(test, drift))


def judge_auto(inputs: RuleInputs) -> RuleResult:
    """Find drift when a score is lower by more than noise, or when columns have shifted.

    The two share alpha by Holm's method: each has half of it, and all of it when the other is found at
    half. A column that shifted materially counts with its p-value among all columns, which holds their
    family to its part of alpha. Where only one of the two can be tested, alpha is its own.
    """
    from risk.metrics import significance

    test, score = inputs.auc_or_f1_test, inputs.score
    p_shift = compute_shift_p_value(inputs.shifts)
    p_values = [p for p in (test.p_value if test else None, p_shift) if p is not None]
    if not p_values:
        judged = score is not None and 0 < score.n_positive < score.n
        return RuleResult(None, None, None, NO_REFERENCE if judged else describe_unjudged(score))
    adjusted = significance.holm(p_values)
    parts: list[str] = []
    if test:
        parts.append(_describe_test(test, bool(adjusted[0] <= inputs.alpha)))
    if p_shift is not None:
        parts.append(_describe_shifted(select_shifted(inputs), len(inputs.shifts)))
    return RuleResult(
        drift=bool(adjusted.min() <= inputs.alpha),
        margin=test.margin if test else None,
        p_value=float(adjusted.min()),
        sentence="; ".join(parts),
    )


RULES: dict[str, Callable[[RuleInputs], RuleResult]] = {
    "score": judge_score,
    "score_margin": judge_score_margin,
    "auto": judge_auto,
}


def compute_shift_p_value(shifts: "Sequence[ColumnShift]") -> float | None:
    """Give the smallest p-value of a column that shifted materially; None when none could be tested."""
    if all(shift.p_adjusted is None for shift in shifts):
        return None
    return min((s.p_adjusted for s in shifts if s.material and s.p_adjusted is not None), default=1.0)


def select_shifted(inputs: RuleInputs) -> "list[ColumnShift]":
    """Select the columns that shifted significantly among all, and materially; most surprising first.

    They have half of alpha, and all of it where no score is tested, or its drop is significant at half.
    """
    test = inputs.auc_or_f1_test
    has_all = test is None or test.p_value <= inputs.alpha / 2
    alpha = inputs.alpha if has_all else inputs.alpha / 2
    shifted = [s for s in inputs.shifts if s.material and s.p_adjusted is not None and s.p_adjusted <= alpha]
    return sorted(shifted, key=lambda s: (s.p_adjusted or 0.0, -(s.psi or 0.0)))


# --- sentences ---------------------------------------------------------------------------------------------


def describe_unjudged(score: "Score | None") -> str:
    """Describe why rows cannot be judged yet."""
    if score is None:
        return "no new row has a label; the rows are judged with the next batch"
    which = "left" if score.n_positive else "stayed"
    return (
        f"all {score.n:,} labelled new rows {which}, a score needs both classes; judged with the next batch"
    )


def _describe_test(test: "ScoreTest", drift: bool) -> str:
    if test.margin <= 0:
        return f"{test.metric} {test.after:.3f} is not lower than the {test.before:.3f} before"
    how = "by more than chance explains" if drift else "by no more than chance explains"
    lower = f"{test.metric} {test.after:.3f} is lower than the {test.before:.3f} before"
    return f"{lower} {how} ({format_p_value(test.p_value)})"


def _describe_shifted(shifted: "Sequence[ColumnShift]", n_columns: int) -> str:
    if not shifted:
        return f"none of {n_columns} columns shifted" if n_columns != 1 else "the one column did not shift"
    named = ", ".join(f"{shift.column} ({shift.change})" for shift in shifted[:N_NAMED])
    more = f" and {len(shifted) - N_NAMED} more" if len(shifted) > N_NAMED else ""
    return f"{len(shifted)} of {n_columns} columns shifted: {named}{more}"


def format_p_value(p_value: float) -> str:
    """Write a p-value with two digits; none is exactly 0.

    Examples
    --------
    >>> format_p_value(0.0312), format_p_value(1e-9)
    ('p 0.031', 'p < 0.001')
    """
    return f"p < {LEAST_P}" if p_value < LEAST_P else f"p {p_value:.2g}"
