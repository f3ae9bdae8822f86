"""Has the world changed? A verdict on the deployed model, with its evidence."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from risk.scores import Score


@dataclass(frozen=True)
class Verdict:
    """What a rule says of the new rows; `drift` is None when they cannot be judged."""

    rule: str
    drift: bool | None
    recorded_score: float
    new_score: float | None
    new_low: float | None
    new_high: float | None
    n: int
    auc: float | None
    leaver_share: float | None
    reason: str
    release: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def judge_score(recorded_score: float, new: Score | None, release: str) -> Verdict:
    """Apply the rule `score`: drift when F1 on the new rows is lower than the recorded one.

    Parameters
    ----------
    recorded_score : float
        F1 of the deployed model on the test data, as deployed.
    new : Score or None
        The same model on the labelled new rows; None when there is no such row.
    release : str
        Id of the deployed release.

    Notes
    -----
    The rule knows no noise: F1 of few rows scatters, so the interval stands beside it. An equal
    score is not drift.
    """
    n, n_positive = (new.n, new.n_positive) if new else (0, 0)
    judged = new is not None and 0 < n_positive < n and new.f1 is not None
    if not judged or new is None or new.f1 is None:
        drift, reason = None, explain_null(n, n_positive)
    else:
        drift = new.f1 < recorded_score
        sign = "is lower than" if drift else "is not lower than"
        reason = (
            f"F1 {new.f1:.4g} on {n:,} new rows ({new.f1_low:.2f} to {new.f1_high:.2f}) {sign} "
            f"the recorded {recorded_score:.4g}"
        )
    return Verdict(
        rule="score",
        drift=drift,
        recorded_score=recorded_score,
        new_score=new.f1 if new and judged else None,
        new_low=new.f1_low if new and judged else None,
        new_high=new.f1_high if new and judged else None,
        n=n,
        auc=new.auc if new else None,
        leaver_share=n_positive / n if n else None,
        reason=reason,
        release=release,
    )


def explain_null(n: int, n_positive: int) -> str:
    """Say why rows cannot be judged yet."""
    if not n:
        return "no new row has a label; the rows are judged with the next batch"
    which = "left" if n_positive else "stayed"
    return f"all {n:,} labelled new rows {which}, a score needs both classes; judged with the next batch"
