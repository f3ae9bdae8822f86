"""Has the world changed? The verdict of one rule on the deployed model, with all the evidence."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from risk.evidence import RULES, Evidence, apply_score
from risk.scores import Score

LINE = 'set "drift": {"rule": "auto"} in config.json'


@dataclass(frozen=True)
class Verdict:
    """What a rule says of the new rows; `drift` is None when they cannot be judged.

    `n`, the scores and the leaver share are of the labelled rows. `advice` is filled when the rule and
    the evidence disagree.
    """

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
    advice: str | None = None
    evidence: Evidence | None = field(default=None, repr=False)

    def to_json(self) -> dict[str, Any]:
        """Give the facts; a verdict without evidence has those of its rule alone."""
        facts = {name: value for name, value in vars(self).items() if name not in ("advice", "evidence")}
        if self.evidence is None:
            return facts
        return facts | {"advice": self.advice, "evidence": self.evidence.to_json()}


def judge(rule: str, evidence: Evidence, release: str) -> Verdict:
    """Give the verdict of one rule, with what the others say.

    Raises
    ------
    ValueError
        When there is no such rule.
    """
    if rule not in RULES:
        raise ValueError(f"there is no rule {rule!r}; the rules are {', '.join(RULES)}")
    opinion, score = evidence.rules[rule], evidence.score
    judged = evidence.rules["score"].drift is not None
    return Verdict(
        rule=rule,
        drift=opinion.drift,
        recorded_score=evidence.recorded_score,
        new_score=score.f1 if score and judged else None,
        new_low=score.f1_low if score and judged else None,
        new_high=score.f1_high if score and judged else None,
        n=evidence.n_labelled,
        auc=score.auc if score else None,
        leaver_share=evidence.leavers.share,
        reason=opinion.sentence,
        release=release,
        advice=_advise(rule, evidence),
        evidence=evidence,
    )


def _advise(rule: str, evidence: Evidence) -> str | None:
    """Say it when a rule and the evidence disagree, and which line of config.json follows the evidence."""
    own, auto = evidence.rules[rule], evidence.rules["auto"]
    if auto.drift and not own.drift:
        sees = "sees no drift" if own.drift is False else "cannot judge these rows"
        return f'the rule "{rule}" {sees}, the evidence speaks for it: {auto.sentence}; to act on it, {LINE}'
    if own.drift and auto.drift is False:
        why = "; the share of leavers alone changed" if evidence.label_share_alone else ""
        return (
            f'the rule "{rule}" sees drift, the evidence does not: {auto.sentence}{why}; to act on more than '
            f"chance, {LINE}"
        )
    return None


def judge_score(recorded_score: float, new: Score | None, release: str) -> Verdict:
    """Apply the rule `score` without further evidence.

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
    The rule knows no noise: F1 of few rows scatters, so the interval stands beside it.
    """
    opinion = apply_score(recorded_score, new)
    judged = opinion.drift is not None
    return Verdict(
        rule="score",
        drift=opinion.drift,
        recorded_score=recorded_score,
        new_score=new.f1 if new and judged else None,
        new_low=new.f1_low if new and judged else None,
        new_high=new.f1_high if new and judged else None,
        n=new.n if new else 0,
        auc=new.auc if new else None,
        leaver_share=new.n_positive / new.n if new and new.n else None,
        reason=opinion.sentence,
        release=release,
    )
