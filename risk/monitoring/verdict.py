"""The verdict of one drift rule on the deployed model, with all the evidence."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from risk.monitoring import column_drift, delayed_labels, rules
from risk.monitoring.delayed_labels import UnlabelledOutlook
from risk.monitoring.evidence import Evidence

SET_AUTO = 'set "drift": {"rule": "auto"} in config.json'


@dataclass(frozen=True)
class Verdict:
    """What a rule says of the new rows; `drift` is None when they cannot be judged.

    `n`, the scores and the leaver share are of the labelled rows. `advice` is filled when the rule and
    the evidence disagree. `outlook` is of the rows without a label.
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
    advice: str | None
    evidence: Evidence = field(repr=False)
    outlook: UnlabelledOutlook = delayed_labels.NOTHING

    def to_json(self) -> dict[str, Any]:
        """Give the facts with all the evidence."""
        facts = {name: value for name, value in vars(self).items() if name != "outlook"}
        return facts | {"evidence": self.evidence.to_json(), **self.outlook.to_json()}

    def record(self) -> dict[str, Any]:
        """Give the row of the history; the columns have rows of their own."""
        evidence, score = self.evidence, self.evidence.score
        known, prediction = evidence.reference or {}, evidence.prediction
        facts = {name: value for name, value in vars(self).items() if name not in ("evidence", "outlook")}
        return facts | {
            "told": "; ".join(evidence.sentences),
            "n_rows": evidence.n,
            "auc_low": score.auc_low if score else None,
            "auc_high": score.auc_high if score else None,
            "score_says": evidence.rules["score"].drift,
            "score_margin_says": evidence.rules["score_margin"].drift,
            "score_margin_p_value": evidence.rules["score_margin"].p_value,
            "auto_says": evidence.rules["auto"].drift,
            "auto_p_value": evidence.rules["auto"].p_value,
            "reference_n": known.get("n"),
            "reference_f1": known.get("f1"),
            "reference_auc": known.get("auc"),
            "leaver_share_reference": evidence.leavers.share_reference,
            "leaver_share_p_value": evidence.leavers.p_value,
            "label_share_alone": evidence.label_share_alone,
            "moved": ", ".join(evidence.moved),
            "prediction_psi": prediction.psi if prediction else None,
            "prediction_p_value": prediction.p_value if prediction else None,
        }

    def column_records(self) -> list[dict[str, Any]]:
        """Give the rows of the history, one a column, drifted or not."""
        return [
            {
                "release": self.release,
                "column_name": shift.column,
                "told": shift.change,
                **{name: getattr(shift, name) for name in column_drift.RECORDED},
            }
            for shift in self.evidence.shifts
        ]


def judge(
    rule: str, evidence: Evidence, release: str, outlook: UnlabelledOutlook = delayed_labels.NOTHING
) -> Verdict:
    """Make the verdict of one rule, with the results of the others.

    Raises
    ------
    ValueError
        When there is no such rule.
    """
    if rule not in rules.RULES:
        raise ValueError(f"there is no rule {rule!r}; the rules are {', '.join(rules.RULES)}")
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
        outlook=outlook,
    )


def _advise(rule: str, evidence: Evidence) -> str | None:
    """Describe how a rule and the evidence disagree, and which line of config.json follows the evidence."""
    own, auto = evidence.rules[rule], evidence.rules["auto"]
    if auto.drift and not own.drift:
        finding = "finds no drift" if own.drift is False else "cannot judge these rows"
        return (
            f'the rule "{rule}" {finding}, the evidence shows drift: {auto.sentence}; to act on it, '
            f"{SET_AUTO}"
        )
    if own.drift and auto.drift is False:
        why = "; the share of leavers alone changed" if evidence.label_share_alone else ""
        return (
            f'the rule "{rule}" finds drift, the evidence shows none: {auto.sentence}{why}; to ignore '
            f"chance, {SET_AUTO}"
        )
    return None
