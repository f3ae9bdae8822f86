"""The reference of a release: its scores on rows it had not seen, and tests of new rows against them.

A reference is a few kilobytes of JSON in the model card. The tests count the noise of both sides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from risk.data import profiles
from risk.metrics import auc, clustering, two_sample, uncertainty
from risk.metrics.auc import Ranking
from risk.metrics.classification import Score
from risk.monitoring import column_drift
from risk.monitoring.column_drift import ColumnShift

MIN_PER_CLASS = 30  # rows of each class, then and now, from which on AUC is tested and not F1
MACHINE_ONLY = ("ranking", "score_profile", "leavers", "reliability")

Reference = Mapping[str, Any]


@dataclass(frozen=True)
class ScoreTest:
    """A score on new rows against the same score on reference rows; `p_value` is one-sided, for a drop."""

    metric: str
    before: float
    after: float
    p_value: float

    @property
    def margin(self) -> float:
        """By how much the score is lower now."""
        return self.before - self.after


@dataclass(frozen=True)
class LeaverShare:
    """Share of leavers then and now, with the p-value of a difference; None without labelled rows."""

    share_reference: float | None
    share: float | None
    p_value: float | None


def drop_machine_fields(reference: Reference | None) -> dict[str, Any] | None:
    """Drop from a reference what only machines read."""
    return None if reference is None else {k: v for k, v in reference.items() if k not in MACHINE_ONLY}


def compare_f1(reference: Reference | None, score: Score) -> ScoreTest | None:
    """Test for a drop of F1 as it is; None where either is not defined."""
    if reference is None or reference["f1"] is None or score.f1 is None:
        return None
    p_value = uncertainty.f1_drop_p_value(_confusion(reference), _confusion(score.to_json()))
    return ScoreTest("F1", reference["f1"], score.f1, p_value)


def compare_skill(reference: Reference | None, score: Score, ranked: Ranking | None) -> ScoreTest | None:
    """Test for a drop that a new share of leavers alone does not make; None where it cannot be tested.

    AUC does not depend on that share. Below 30 rows of a class it says too little: F1 is tested then,
    as it is and at the share of the reference, and the larger p-value counts.
    """
    if reference is None or ranked is None or reference["ranking"] is None:
        return None
    before = Ranking.from_json(reference["ranking"])
    if min(*before.counts, *ranked.counts) >= MIN_PER_CLASS:
        p_value = auc.auc_drop_p_value(before, ranked)
        return None if p_value is None else ScoreTest("AUC", before.auc, ranked.auc, p_value)
    plain = compare_f1(reference, score)
    if plain is None:
        return None
    counts = _confusion(reference), _confusion(score.to_json())
    at_share = uncertainty.f1_drop_at_share_p_value(*counts, reference["n_positive"] / reference["n"])
    return ScoreTest("F1", plain.before, plain.after, max(plain.p_value, at_share))


def _confusion(facts: Mapping[str, Any]) -> tuple[int, int, int, int]:
    """Give the confusion matrix; of clients with several rows as many as tell as much by themselves."""
    names = ("true_positive", "false_positive", "false_negative", "true_negative")
    n_tp, n_fp, n_fn, n_tn = (clustering.deflate(facts[name], facts.get("f1_design", 1.0)) for name in names)
    return n_tp, n_fp, n_fn, n_tn


def compare_leaver_shares(
    reference: Reference | None, n_positive: int, n: int, design: float = 1.0
) -> LeaverShare:
    """Test whether the share of leavers has changed, exactly.

    Parameters
    ----------
    reference : mapping or None
    n_positive, n : int
        Leavers among the new labelled rows.
    design : float, default=1.0
        By how much fewer independent clients would tell as much (`classification.compute_score`); that of
        the reference counts for its rows.
    """
    before = reference["leavers"] if reference else {"n": 0, "n_positive": 0}
    share_reference = before["n_positive"] / before["n"] if before["n"] else None
    if not n or share_reference is None:
        return LeaverShare(share_reference, n_positive / n if n else None, None)
    of_reference = reference.get("share_design", 1.0) if reference else 1.0
    then = [clustering.deflate(before[name], of_reference) for name in ("n_positive", "n")]
    now = [clustering.deflate(count, design) for count in (n_positive, n)]
    return LeaverShare(share_reference, n_positive / n, two_sample.compare_shares(*then, *now))


def compare_predictions(reference: Reference | None, probability: np.ndarray) -> ColumnShift | None:
    """Compare predicted probabilities with those of the reference, as a column.

    Parameters
    ----------
    reference : mapping or None
        None gives None.
    probability : ndarray of shape (n_samples,)
        Predictions of the deployed release for new rows.
    """
    if reference is None:
        return None
    profile = profiles.from_json(reference["score_profile"])
    return column_drift.compare_column(profile, profiles.count(profile, probability), column="probability")
