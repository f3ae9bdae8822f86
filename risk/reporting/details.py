"""Sentences of the appendix: performance, drift check, calibration and trends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from risk.history import trends

Facts = Mapping[str, Any]


def describe_score(metrics: Facts) -> list[str]:
    """Describe how good the model is, with its interval and its baseline."""
    sentences = [
        f"F1 {metrics['f1']:.3f} on {metrics['n']:,} test rows, {metrics['n_positive']:,} of them leavers. "
        f"The 95 % confidence interval is between {metrics['f1_low']:.3f} and {metrics['f1_high']:.3f}; "
        f"the baseline of predicting everyone to leave reaches {metrics['floor_f1']:.3f}."
    ]
    if metrics["auc"] is not None:
        sentences.append(
            f"AUC {metrics['auc']:.3f}{_interval(metrics)}: of a leaver and a stayer, the leaver is given "
            f"the higher risk {100 * metrics['auc']:.1f} % of the time (50 % is chance)."
        )
    return sentences


def _interval(metrics: Facts) -> str:
    if metrics.get("auc_low") is None:
        return ""
    return f" ({metrics['auc_low']:.3f} to {metrics['auc_high']:.3f})"


def describe_warnings(metrics: Facts, card: Facts) -> list[str]:
    """Describe in plain words what makes the score or the model less reliable."""
    raised = [*metrics.get("warnings", ()), *card.get("warnings", ())]
    sentences = [f"{one['text'][0].upper()}{one['text'][1:]}." for one in raised]
    if metrics["f1"] <= metrics["floor_f1"]:
        sentences.append(
            "At this threshold F1 is no higher than that of predicting everyone to leave; AUC, which does "
            "not depend on the threshold, says whether the model ranks clients."
        )
    return sentences


def describe_verdict(verdict: Facts | None, release: str, manifest: Facts) -> list[str]:
    """Describe the drift check, with both scores, and what became of the judged release."""
    if verdict is None:
        return ["Not judged yet: no new rows have arrived since a model was deployed."]
    if verdict["drift"] is None:
        return [f"Not judged: {verdict['reason']}.", *describe_advice(verdict)]
    word = "Drift" if verdict["drift"] else "No drift"
    share, auc = verdict["leaver_share"], verdict["auc"]
    leavers = f" Of the new rows {100 * share:.1f} % are leavers." if share is not None else ""
    order = f" AUC on them is {auc:.3f}." if auc is not None else ""
    sentences = [f"{word} by the rule {verdict['rule']!r}: {verdict['reason']}.{leavers}{order}"]
    sentences += [describe_gate(verdict["gate"])] if verdict.get("gate") else []
    return [*sentences, _describe_outcome(verdict, release, manifest), *describe_advice(verdict)]


def _describe_outcome(verdict: Facts, release: str, manifest: Facts) -> str:
    judged = verdict["release"]
    if judged == release:
        return f"Release {release} was judged, and is the one deployed."
    if manifest["why"].get("verdict") == verdict:
        return f"Release {judged} was judged; {release} was retrained and replaced it."
    return f"Release {judged} was judged; it is not the one deployed now."


def describe_advice(verdict: Facts) -> list[str]:
    """Describe what to do where rule and evidence disagree."""
    return [f"{verdict['advice'][0].upper()}{verdict['advice'][1:]}."] if verdict.get("advice") else []


def describe_gate(gate: Facts) -> str:
    """Describe whether the candidate was deployed, and why."""
    outcome = "was deployed" if gate["decision"] == "PROMOTE" else "was held, the deployed model stays"
    return f"The retrained model {outcome}: {'; '.join(gate['reasons'])} (gate {gate['rule']!r})."


def describe_estimates(verdict: Facts | None, history: Facts) -> list[str]:
    """Describe the estimated performance on unlabelled rows, and how such estimates have done so far."""
    known = verdict or {}  # an earlier version kept neither
    sentences = [known["estimate"]["sentence"]] if known.get("estimate") else []
    sentences += [audit["sentence"] for audit in known.get("audits", ())]
    coverage = trends.count_held(history)
    return [f"{sentence}." for sentence in [*sentences, *([coverage] if coverage else [])]]


def describe_calibration(card: Facts) -> dict[str, Any]:
    """Describe the calibration curve: of those predicted at 30 %, do 30 % leave?"""
    facts = card.get("calibration", {})
    curve = facts.get("curve_after" if facts.get("used") else "curve_before") or []
    if not curve:
        return {"said": "Not measured: too few training rows.", "curve": []}
    loss = facts["brier_after" if facts["used"] else "brier_before"]
    note = (
        "Horizontal: the predicted probability; vertical: the share of those clients that left, on rows the "
        "model was not fitted on. On the dashed line both are equal; a larger dot stands for more clients. "
        f"Brier loss {loss:.3f}."
    )
    return {"said": note, "curve": curve}


def describe_marks(history: Facts) -> str:
    """Describe what the marks in the picture of the trends stand for."""
    counts = Counter(mark["kind"] for mark in history["marks"])
    words = {"deployed": "deployment", "rollback": "rollback", "alarm": "drift alarm"}
    marks = [f"{counts[kind]:,} {word}{'s' * (counts[kind] != 1)}" for kind, word in words.items()]
    return (
        f"From the recorded history: {', '.join(marks)}. "
        "Triangles on the time axis are deployments, crosses above are alarms."
    )
