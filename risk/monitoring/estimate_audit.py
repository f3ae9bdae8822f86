"""Audit of performance estimates, once the labels of their rows are known."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from risk.metrics.classification import Score
from risk.monitoring.performance_estimation import Interval, PerformanceEstimate


@dataclass(frozen=True)
class EstimateAudit:
    """An estimate beside the score of the same rows, once their labels are known.

    An error is the realised score less the estimated one; `held`: the realised score lies in the interval.
    """

    n: int
    f1: float | None
    f1_error: float | None
    f1_held: bool | None
    auc: float | None
    auc_error: float | None
    auc_held: bool | None
    sentence: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def audit_estimate(estimated: PerformanceEstimate, realised: Score) -> EstimateAudit:
    """Compare the realised score of exactly the estimated rows with the estimate.

    Raises
    ------
    ValueError
        When the score is of another number of rows.
    """
    if realised.n != estimated.n:
        raise ValueError(f"the estimate is of {estimated.n} rows, the score of {realised.n}")
    f1 = _compare("F1", (estimated.f1, estimated.f1_low, estimated.f1_high), realised.f1)
    auc = _compare("AUC", (estimated.auc, estimated.auc_low, estimated.auc_high), realised.auc)
    comparison = "; ".join(sentence for *_, sentence in (f1, auc) if sentence) or "nothing can be compared"
    return EstimateAudit(
        n=estimated.n,
        f1=realised.f1,
        f1_error=f1[0],
        f1_held=f1[1],
        auc=realised.auc,
        auc_error=auc[0],
        auc_held=auc[1],
        sentence=f"{estimated.n:,} rows estimated before have labels now: {comparison}",
    )


def _compare(name: str, interval: Interval, realised: float | None) -> tuple[float | None, bool | None, str]:
    """Compute the error of one estimate and whether its interval covered the score, and describe both."""
    expected, low, high = interval
    if expected is None or low is None or high is None or realised is None:
        return None, None, ""
    held = low <= realised <= high
    where = "in" if held else "outside"
    sentence = (
        f"{name} {realised:.2f}, estimated {expected:.2f}, {where} the interval {low:.2f} to {high:.2f}"
    )
    return realised - expected, held, sentence
