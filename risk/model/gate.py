"""Does the candidate take the place of the deployed model?

Both are asked about the same rows, which neither has seen. A bootstrap of these rows decides; the
t test on DeLong's variance must agree, for with few rows of a class a bootstrap alone is too sure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from risk.metrics import auc, significance

RULES = ("not_worse", "better", "none")
MIN_ROWS, MIN_PER_CLASS = 30, 5
N_RESAMPLES, LEAST_RESAMPLES = 2_000, 500
DRAWS = 50_000_000  # rows drawn by a bootstrap at most, about two seconds; beyond, DeLong's law alone is it


@dataclass(frozen=True)
class Difference:
    """By how much the candidate's score exceeds the deployed model's, on the same rows.

    `low` to `high` hold 95 % of the resampled differences; `p_worse` and `p_better` are one-sided.
    """

    candidate: float
    deployed: float
    delta: float
    low: float
    high: float
    p_worse: float
    p_better: float


@dataclass(frozen=True)
class Answers:
    """Rows that one of two models answers rightly and the other wrongly, with the exact McNemar test."""

    only_candidate_right: int
    only_deployed_right: int
    p_value: float


@dataclass(frozen=True)
class GateDecision:
    """PROMOTE or HOLD with reasons and numbers; None when these rows cannot tell.

    `auc`, `f1` and `answers` are None where there are too few rows for them.
    """

    decision: str | None
    rule: str
    alpha: float
    n: int
    n_positive: int
    reasons: tuple[str, ...]
    auc: Difference | None
    f1: Difference | None
    answers: Answers | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def record(self) -> dict[str, Any]:
        """Give what the history keeps of a decision."""
        row = {name: getattr(self, name) for name in ("decision", "rule", "n", "n_positive")}
        for name, found in (("auc", self.auc), ("f1", self.f1)):
            if found is not None:
                row |= {
                    name: found.candidate,
                    f"deployed_{name}": found.deployed,
                    f"{name}_gain_low": found.low,
                    f"{name}_gain_high": found.high,
                }
        if self.auc is not None:
            row |= {"auc_p_worse": self.auc.p_worse, "auc_p_better": self.auc.p_better}
        p_value = self.answers.p_value if self.answers else None
        return row | {"reason": "; ".join(self.reasons), "mcnemar_p_value": p_value}


def decide_gate(
    y: np.ndarray,
    candidate_probability: np.ndarray,
    candidate_pred: np.ndarray,
    deployed_probability: np.ndarray,
    deployed_pred: np.ndarray,
    *,
    rule: str = "not_worse",
    alpha: float = significance.ALPHA,
    random_state: int = 0,
) -> GateDecision:
    """Decide between two models on rows that neither has seen.

    Parameters
    ----------
    y : ndarray of shape (n_samples,)
        1 leaves, 0 stays; labelled rows only.
    candidate_probability, deployed_probability : ndarray of shape (n_samples,)
    candidate_pred, deployed_pred : ndarray of shape (n_samples,)
    rule : {"not_worse", "better", "none"}
        `not_worse` holds a candidate whose AUC is significantly lower; `better` promotes one whose AUC is
        significantly higher; `none` promotes always.

    Returns
    -------
    decision : GateDecision
        Under 30 rows or 5 of a class nothing is decided by `not_worse`, and `better` holds.

    Raises
    ------
    ValueError
        When there is no such rule.
    """
    if rule not in RULES:
        raise ValueError(f"there is no gate {rule!r}; the gates are {', '.join(RULES)}")
    n, n_positive = len(y), int((y == 1).sum())
    auc, f1, answers = None, None, None
    if n >= MIN_ROWS and min(n_positive, n - n_positive) >= MIN_PER_CLASS:
        auc = compare_auc(y, candidate_probability, deployed_probability, random_state=random_state)
        f1 = compare_f1(y, candidate_pred, deployed_pred, random_state=random_state)
        answers = compare_answers(y, candidate_pred, deployed_pred)
    decision, why = _apply(rule, alpha, auc, n, n_positive)
    told = [_say_auc(auc, n)] if auc else []
    return GateDecision(decision, rule, alpha, n, n_positive, (why, *told), auc, f1, answers)


def _apply(
    rule: str, alpha: float, auc: Difference | None, n: int, n_positive: int
) -> tuple[str | None, str]:
    """Decide from the difference in AUC, and say why."""
    if rule == "none":
        return "PROMOTE", "there is no gate"
    if auc is None:
        why = f"{n:,} rows with {n_positive:,} leavers are too few to compare two models"
        return ("HOLD" if rule == "better" else None), why
    if rule == "better":
        if auc.p_better <= alpha:
            return "PROMOTE", "the candidate is significantly better"
        return "HOLD", "the candidate is not significantly better"
    if auc.p_worse <= alpha:
        return "HOLD", "the candidate is significantly worse"
    return "PROMOTE", "the candidate is not significantly worse"


def _say_auc(auc: Difference, n: int) -> str:
    return (
        f"AUC {auc.candidate:.3f} against {auc.deployed:.3f} of the deployed model on {n:,} rows that "
        f"neither has seen: {auc.delta:+.3f} ({auc.low:+.3f} to {auc.high:+.3f})"
    )


def compare_auc(
    y: np.ndarray, candidate: np.ndarray, deployed: np.ndarray, *, random_state: int = 0
) -> Difference:
    """Compare the AUC of two models on the same rows.

    1. Place each row by both models; AUC is linear in the placements, so their differences give the
       variance of the difference (DeLong), t with Satterthwaite's degrees of freedom.
    2. Draw the rows anew within each class, 2,000 times, and count how often the sign turns.
    3. The larger p-value of the two counts.

    References
    ----------
    .. [1] E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson, "Comparing the Areas under Two or More
       Correlated Receiver Operating Characteristic Curves", Biometrics 44 (1988), pp. 837-845.
    .. [2] B. Efron, R. J. Tibshirani, "An Introduction to the Bootstrap", Chapman & Hall 1993, chapter 16.
    """
    placed = [auc.compute_placements(p[y == 1], p[y != 1]) for p in (candidate, deployed)]
    gaps = [placed[0][i] - placed[1][i] for i in (0, 1)]
    before, delta = float(placed[1][0].mean()), float(gaps[0].mean())
    low, high, p_worse, p_better = _apply_t(delta, gaps)
    n_resamples = min(N_RESAMPLES, DRAWS // len(y))
    if n_resamples >= LEAST_RESAMPLES:
        rng = np.random.default_rng(random_state)
        drawn = auc.resample_auc(y, [candidate, deployed], n_resamples=n_resamples, rng=rng)
        low, high, *turned = _summarise(drawn[:, 0] - drawn[:, 1])
        p_worse, p_better = max(p_worse, turned[0]), max(p_better, turned[1])
    return Difference(before + delta, before, delta, low, high, p_worse, p_better)


def _apply_t(delta: float, gaps: Sequence[np.ndarray]) -> tuple[float, float, float, float]:
    """Compute interval and one-sided p-values of a mean of differences in both classes."""
    from scipy.special import stdtr, stdtrit

    parts = [float(gap.var(ddof=1)) / len(gap) for gap in gaps]
    variance = sum(parts)
    if not variance:  # every row moved by the same: nothing is left to chance
        return delta, delta, float(delta >= 0), float(delta <= 0)
    freedom = variance**2 / sum(part**2 / (len(gap) - 1) for part, gap in zip(parts, gaps, strict=True))
    error = variance**0.5
    half, t = float(stdtrit(freedom, (1 + significance.LEVEL) / 2)) * error, delta / error
    return delta - half, delta + half, float(stdtr(freedom, t)), float(stdtr(freedom, -t))


def _summarise(deltas: np.ndarray) -> tuple[float, float, float, float]:
    """Compute the interval of resampled differences, and how often they are not below and not above 0."""
    low, high = np.quantile(deltas, [(1 - significance.LEVEL) / 2, (1 + significance.LEVEL) / 2])
    n = len(deltas) + 1
    return float(low), float(high), float((1 + (deltas >= 0).sum()) / n), float((1 + (deltas <= 0).sum()) / n)


def compare_f1(
    y: np.ndarray, candidate_pred: np.ndarray, deployed_pred: np.ndarray, *, random_state: int = 0
) -> Difference:
    """Compare the F1 of two models on the same rows by a paired bootstrap.

    Rows differ only by label and both answers, so the counts of the eight kinds are multinomial.
    """
    kinds = (y == 1) * 4 + (candidate_pred == 1) * 2 + (deployed_pred == 1)
    counts = np.bincount(kinds, minlength=8)
    drawn = np.random.default_rng(random_state).multinomial(len(y), counts / len(y), size=N_RESAMPLES)
    (candidate,), (deployed,) = (_f1_of_kinds(counts[None, :], bit) for bit in (2, 1))
    low, high, p_worse, p_better = _summarise(_f1_of_kinds(drawn, 2) - _f1_of_kinds(drawn, 1))
    difference = float(candidate - deployed)
    return Difference(float(candidate), float(deployed), difference, low, high, p_worse, p_better)


def _f1_of_kinds(counts: np.ndarray, bit: int) -> np.ndarray:
    """Compute F1 of the model whose answer is a bit of the kind; 0 without leavers and calls."""
    kinds = np.arange(8)
    called, left = (kinds & bit) > 0, kinds >= 4
    n_tp = counts[:, called & left].sum(axis=1)
    total = counts[:, called].sum(axis=1) + counts[:, left].sum(axis=1)
    f1: np.ndarray = 2 * n_tp / np.maximum(total, 1)
    return f1


def compare_answers(y: np.ndarray, candidate_pred: np.ndarray, deployed_pred: np.ndarray) -> Answers:
    """Test whether one model is right more often than the other, by McNemar's exact test.

    References
    ----------
    .. [1] Q. McNemar, "Note on the Sampling Error of the Difference between Correlated Proportions or
       Percentages", Psychometrika 12 (1947), pp. 153-157.
    """
    from scipy.special import bdtr

    right, also_right = candidate_pred == y, deployed_pred == y
    gained, lost = int((right & ~also_right).sum()), int((~right & also_right).sum())
    if gained == lost:
        return Answers(gained, lost, 1.0)
    return Answers(gained, lost, float(min(1.0, 2 * bdtr(min(gained, lost), gained + lost, 0.5))))
