"""The deployment gate: whether a candidate takes the place of the deployed model.

Both predict the same rows, which neither has seen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from risk.metrics import clustering, paired_comparison, significance
from risk.metrics.paired_comparison import DiscordantPairs, PairedDifference
from risk.model import registry
from risk.model.choices import BETTER, NONE, NOT_WORSE
from risk.model.choices import GATES as GATES

if TYPE_CHECKING:
    import pandas as pd

PROMOTE, HOLD = "PROMOTE", "HOLD"
HELD_BACK, TEST_DATA = "new rows that neither model has seen", "test data"
MIN_CLIENTS, MIN_PER_CLASS = 30, 5
LabelledFrame = tuple["pd.DataFrame", np.ndarray, np.ndarray | None]


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
    auc: PairedDifference | None
    f1: PairedDifference | None
    answers: DiscordantPairs | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def record(self) -> dict[str, Any]:
        """Give the row of the history."""
        row = {name: getattr(self, name) for name in ("decision", "rule", "n", "n_positive")}
        for name, difference in (("auc", self.auc), ("f1", self.f1)):
            if difference is not None:
                row |= {
                    name: difference.candidate,
                    f"deployed_{name}": difference.deployed,
                    f"{name}_gain_low": difference.low,
                    f"{name}_gain_high": difference.high,
                }
        if self.auc is not None:
            row |= {"auc_p_worse": self.auc.p_worse, "auc_p_better": self.auc.p_better}
        p_value = self.answers.p_value if self.answers else None
        return row | {"reason": "; ".join(self.reasons), "mcnemar_p_value": p_value}


def decide(
    candidate: Any,
    deployed: Any,
    held_back: LabelledFrame,
    read_test_data: Callable[[], LabelledFrame],
    *,
    rule: str,
    alpha: float,
) -> tuple[str, GateDecision]:
    """Decide whether a candidate takes the place of the deployed model.

    Parameters
    ----------
    candidate, deployed : fitted models
    held_back : (X, y, clients)
        New labelled rows that neither has seen, and whose they are; None where each is a client of its own.
    read_test_data : callable
        Gives the same of the test data; called where too few rows are held back for a decision.

    Returns
    -------
    judged_on : str
        Which rows decided.
    decision : GateDecision
        PROMOTE or HOLD. Where the test data are too few as well, nothing says that the candidate is
        worse, and it is promoted.
    """
    decision = decide_on(candidate, deployed, *held_back, rule, alpha)
    if decision.decision is not None:
        return HELD_BACK, decision
    first = decision.reasons
    decision = decide_on(candidate, deployed, *read_test_data(), rule, alpha)
    reasons = (*(f"on the test data: {reason}" for reason in decision.reasons), *first)
    return TEST_DATA, replace(decision, decision=decision.decision or PROMOTE, reasons=reasons)


def decide_on(
    candidate: Any,
    deployed: Any,
    X: pd.DataFrame,
    y: np.ndarray,
    clients: np.ndarray | None,
    rule: str,
    alpha: float,
) -> GateDecision:
    """Decide on some labelled rows.

    Parameters
    ----------
    X : DataFrame of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,)
        1 leaves, 0 stays; there may be no row.
    clients : ndarray of shape (n_samples,) or None
        Whose row it is; None where each row is a client of its own.
    """
    if not len(y):  # no model predicts no row
        return apply_gate(y, y, y, y, y, rule=rule, alpha=alpha)
    y_pred, probability = registry.predict(candidate, X)
    deployed_pred, deployed_probability = registry.predict(deployed, X)
    answers = probability, y_pred, deployed_probability, deployed_pred
    return apply_gate(y, *answers, clients, rule=rule, alpha=alpha)


def apply_gate(
    y: np.ndarray,
    candidate_probability: np.ndarray,
    candidate_pred: np.ndarray,
    deployed_probability: np.ndarray,
    deployed_pred: np.ndarray,
    clients: np.ndarray | None = None,
    *,
    rule: str = NOT_WORSE,
    alpha: float = significance.ALPHA,
    random_state: int = 0,
) -> GateDecision:
    """Decide between two models by a rule.

    Parameters
    ----------
    y, candidate_pred, deployed_pred, candidate_probability, deployed_probability : ndarray (n_samples,)
        Labels and predictions: 1 leaves, 0 stays; probabilities of leaving.
    clients : ndarray of shape (n_samples,), optional
        Whose row it is; by default each row is its own client. Clients are counted, not rows.
    rule : {"not_worse", "better", "none"}
        `not_worse` holds a candidate whose AUC is significantly lower; `better` promotes one whose AUC is
        significantly higher; `none` promotes always.

    Returns
    -------
    decision : GateDecision
        Under 30 clients or 5 of a class nothing is decided by `not_worse`, and `better` holds.
    """
    sizes = _Sizes.of(y, clients)
    auc = f1 = answers = None
    if sizes.are_enough:
        both = candidate_pred, deployed_pred
        probabilities = candidate_probability, deployed_probability
        auc = paired_comparison.compare_auc(y, *probabilities, clients, random_state=random_state)
        f1 = paired_comparison.compare_f1(y, *both, clients, random_state=random_state)
        answers = paired_comparison.compare_correctness(y, *both, clients)
    decision, reason = _apply_rule(rule, alpha, auc, sizes)
    reasons = (reason, *([_describe_auc(auc, sizes.text)] if auc else []))
    return GateDecision(decision, rule, alpha, len(y), int((y == 1).sum()), reasons, auc, f1, answers)


class _Sizes(NamedTuple):
    """Clients that the gate judges on, and how they are named."""

    n_clients: int
    n_left: int
    n_stayed: int
    text: str

    @classmethod
    def of(cls, y: np.ndarray, clients: np.ndarray | None) -> _Sizes:
        counts = [clustering.count_clients(clients, rows) for rows in (y == y, y == 1, y != 1)]
        text = f"{len(y):,} rows" if clients is None else f"{counts[0]:,} clients ({len(y):,} rows)"
        return cls(counts[0], counts[1], counts[2], text)

    @property
    def are_enough(self) -> bool:
        return self.n_clients >= MIN_CLIENTS and min(self.n_left, self.n_stayed) >= MIN_PER_CLASS


def _apply_rule(
    rule: str, alpha: float, auc: PairedDifference | None, sizes: _Sizes
) -> tuple[str | None, str]:
    """Decide from the difference in AUC, and give the reason."""
    if rule not in GATES:
        raise ValueError(f"there is no gate {rule!r}; the gates are {', '.join(GATES)}")
    if rule == NONE:
        return PROMOTE, "there is no gate"
    if auc is None:
        reason = f"{sizes.text} with {sizes.n_left:,} leavers are too few to compare two models"
        return (HOLD if rule == BETTER else None), reason
    if rule == BETTER:
        if auc.p_better <= alpha:
            return PROMOTE, "the candidate is significantly better"
        return HOLD, "the candidate is not significantly better"
    if auc.p_worse <= alpha:
        return HOLD, "the candidate is significantly worse"
    return PROMOTE, "the candidate is not significantly worse"


def _describe_auc(auc: PairedDifference, whom: str) -> str:
    return (
        f"AUC {auc.candidate:.3f} against {auc.deployed:.3f} of the deployed model on {whom} that "
        f"neither has seen: {auc.delta:+.3f} ({auc.low:+.3f} to {auc.high:+.3f})"
    )
