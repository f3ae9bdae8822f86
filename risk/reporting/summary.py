"""Page 1, for executives: the state, what changed, and whether the model can be trusted.

Facts in, figures and sentences out, without a term that needs a legend.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from risk.reporting import formats

YES, NO, UNKNOWN = "yes", "no", "unknown"
CHANCE = 50
N_NAMED = 3
# What a warning means on page 1: which answer it forces, and why.
FORCED = {
    "no_signal": (NO, "it may do no better than guessing"),
    "leak": (NO, "{columns} seems to reveal the outcome, so the model looks better than it is"),
    "few_test_rows": (UNKNOWN, "it was tested on {n_test} rows, {n_left} of them leavers: too few to say"),
    "test_rows_in_training": (UNKNOWN, "it was tested on rows it was trained on"),
    "test_clients_in_training": (UNKNOWN, "it was tested on clients it was trained on"),
    "test_auc_differs": (UNKNOWN, "the clients it was tested on are not like those it was trained on"),
}

TREND, TREND_NAME = "clients/at_risk", "Clients at risk"
TREND_NOTE = "Dashed line: a new model was deployed."
READING = (
    "The next pages list the clients to call first, with reasons. The appendix and the model card after them "
    "are for those who check the figures."
)

Facts = Mapping[str, Any]


def make_summary(
    listed: Facts | None, metrics: Facts, card: Facts, verdict: Facts | None, release: str, why: Facts
) -> dict[str, Any]:
    """Make page 1.

    Parameters
    ----------
    listed : mapping or None
        The summary of the list of clients, as `atrisk.write_list` gives it; None when there is none yet.
    metrics, card : mapping
        Of the deployed release.
    verdict : mapping or None
        Of the last check, as `drift.Verdict.to_json` gives it.
    why : mapping
        Why the release was deployed, as its manifest says.

    Returns
    -------
    summary : dict
        `headline`: state and change in one sentence. `figures`: what is shown large, each with `name`,
        `value` and `before` as numbers, `shown` and `note` as texts. `trust`: `answer` and `because`.
        `news`: what the last check led to.
    """
    return {
        "headline": describe_headline(listed),
        "figures": make_figures(listed) if listed else [],
        "trust": judge_trust(metrics, card, verdict, release),
        "news": describe_news(verdict, release, why),
    }


# --- clients -----------------------------------------------------------------------------------------------


def describe_headline(listed: Facts | None) -> str:
    """Describe the state and the change in one sentence."""
    if listed is None:
        return "Which clients are at risk is not known yet."
    n, n_at_risk = listed["n_clients"], listed["n_at_risk"]
    if not n:
        return "No client is left to watch: all in the table have left."
    verb = "is" if n_at_risk == 1 else "are"
    return f"{n_at_risk:,} of {n:,} clients {verb} at risk of leaving{_describe_change(listed)}."


def _describe_change(listed: Facts) -> str:
    before = (listed["before"] or {}).get("n_at_risk")
    if before is None:
        return "; this is the first count"
    change = listed["n_at_risk"] - before
    if not change:
        return ", as many as last time"
    return f", {abs(change):,} {'more' if change > 0 else 'fewer'} than last time"


def make_figures(listed: Facts) -> list[dict[str, Any]]:
    """Make what is shown large: clients at risk, their share, and what is at stake."""
    before = listed["before"] or {}
    share, share_before = listed["share_at_risk"], before.get("share_at_risk")
    n_before = before.get("n_at_risk")
    counts = (listed["n_at_risk"], n_before, f"{listed['n_at_risk']:,}", _last_time(n_before, "{:,}"))
    shares = (
        share,
        share_before,
        "-" if share is None else f"{100 * share:.1f} %",
        _last_time(None if share_before is None else 100 * share_before, "{:.1f} %"),
    )
    named = zip(("clients at risk", "share of all clients", "value at risk"),
                (counts, shares, _value(listed, before)), strict=True)  # fmt: skip
    return [
        dict(zip(("name", "value", "before", "shown", "note"), (name, *of), strict=True))
        for name, of in named
    ]


def _value(listed: Facts, before: Facts) -> tuple[float | None, float | None, str, str]:
    value, value_before = listed["value_at_risk"], before.get("value_at_risk")
    if value is None:
        return None, None, "not known", "no column gives the value of a client"
    notes = (
        f"expected loss, by {formats.shorten(listed['value_column'])}",
        _last_time(value_before, "{:,.0f}"),
    )
    return value, value_before, f"{value:,.0f}", "; ".join(filter(None, notes))


def _last_time(value: float | None, how: str) -> str:
    return "" if value is None else f"{how.format(value)} last time"


# --- trust -------------------------------------------------------------------------------------------------


def judge_trust(metrics: Facts, card: Facts, verdict: Facts | None, release: str) -> dict[str, Any]:
    """Decide whether the deployed model can be trusted, and why: no outweighs unknown, unknown yes."""
    reasons = [*_judge_warnings(metrics, card), *_judge_verdict(verdict, release)]
    for answer in (NO, UNKNOWN):
        because = [reason for forced, reason in reasons if forced == answer]
        if because:
            return {"answer": answer, "because": [to_sentence(reason) for reason in because]}
    because = [describe_skill(metrics), *(reason for _, reason in reasons)]
    return {"answer": YES, "because": [to_sentence(reason) for reason in because]}


def to_sentence(text: str) -> str:
    """Begin with a capital, end with a full stop."""
    return f"{text[0].upper()}{text[1:]}."


def describe_skill(metrics: Facts) -> str:
    """Describe how often the model ranks a leaver above a stayer."""
    times = f"{100 * metrics['auc']:.0f} times in 100"
    if metrics.get("auc_low") is not None:
        times += f" ({100 * metrics['auc_low']:.0f} to {100 * metrics['auc_high']:.0f}; guessing: {CHANCE})"
    whom = f"{metrics['n']:,} rows"
    if "n_clients" in metrics:
        whom = f"{metrics['n_clients']:,} clients"
    return (
        f"of a client who left and one who stayed, it gave the one who left the higher risk {times}, among "
        f"{whom} it had not seen"
    )


def _judge_warnings(metrics: Facts, card: Facts) -> list[tuple[str, str]]:
    reasons = []
    columns: dict[str, list[str]] = {}
    for warning in [*metrics.get("warnings", ()), *card.get("warnings", ())]:
        columns.setdefault(warning["code"], []).extend(warning["columns"])
    for code in filter(FORCED.__contains__, columns):
        answer, sentence = FORCED[code]
        counts = {"n_test": f"{metrics['n']:,}", "n_left": f"{metrics['n_positive']:,}"}
        reasons.append((answer, sentence.format(columns=name_columns(columns[code]), **counts)))
    if "few_test_rows" not in columns and not any(answer == NO for answer, _ in reasons):
        reasons += _judge_test_score(metrics)
    if metrics["auc"] is None:
        reasons.append((UNKNOWN, "it was tested on rows of clients who all left"))
    return reasons


def _judge_test_score(metrics: Facts) -> list[tuple[str, str]]:
    """Judge the score on the test data: by the interval of AUC against chance, never by F1."""
    if (metrics.get("auc_low") or 1.0) <= CHANCE / 100:
        return [(NO, "on the test data it may do no better than guessing")]
    if metrics["f1"] <= metrics["floor_f1"]:
        return [
            (
                YES,
                "calling all whom it flags gains nothing over calling everybody; the order of the list does",
            )
        ]
    return []


def _judge_verdict(verdict: Facts | None, release: str) -> list[tuple[str, str]]:
    if verdict is None or verdict["release"] != release:
        return [(YES, "no newer rows have arrived yet to check it on")]
    return [judge_newest_rows(verdict)]


def judge_newest_rows(verdict: Facts) -> tuple[str, str]:
    """Judge what the last check found on the newest rows: the answer that it forces, and the finding."""
    evidence = verdict.get("evidence") or {}  # an earlier version kept none
    rules = {name: rule["drift"] for name, rule in evidence.get("rules", {}).items()}
    n, worse = evidence.get("n", verdict["n"]), "the model was right less often than before"
    auto, drifted = rules.get("auto", False), evidence.get("moved", ())
    if rules.get("score_margin") or (auto and not drifted):
        return NO, f"about the newest {verdict['n']:,} rows {worse}, by more than chance explains"
    if auto:
        return (
            UNKNOWN,
            f"the newest {n:,} rows differ from those it was trained on, in {name_columns(drifted)}",
        )
    if auto is None and verdict["drift"]:
        return UNKNOWN, f"about the newest {verdict['n']:,} rows {worse}, perhaps by chance"
    if auto is None:
        return UNKNOWN, "whether the model is right about the newest rows is not known yet"
    if verdict["drift"]:
        chance = ", but by no more than chance explains" if rules else ""
        return YES, f"about the newest {verdict['n']:,} rows {worse}{chance}"
    return YES, f"the newest {n:,} rows fit the model"


def name_columns(columns: Sequence[str]) -> str:
    """Name the first columns, and count the rest."""
    named = [formats.shorten(name) for name in columns[:N_NAMED]]
    left = len(columns) - len(named)
    if left:
        return f"{', '.join(named)} and {left:,} more"
    return " and ".join(filter(None, [", ".join(named[:-1]), *named[-1:]]))


# --- news --------------------------------------------------------------------------------------------------


def describe_news(verdict: Facts | None, release: str, why: Facts) -> str:
    """Describe the last check, in the words of `judge_newest_rows`, and what became of the model."""
    if verdict is None:
        return "The model is new: no rows have arrived since to check it on."
    _, finding = judge_newest_rows(verdict)
    return to_sentence(f"{finding}; {_describe_outcome(verdict, release, why)}")


def _describe_outcome(verdict: Facts, release: str, why: Facts) -> str:
    decision = (verdict.get("gate") or {}).get("decision")
    if verdict["drift"] and why.get("verdict") == verdict:
        return "a retrained model replaced it"
    if decision == "HOLD":
        return "a retrained model was not shown to be better and was held back"
    if verdict["release"] != release:
        return "since then another model has replaced it"
    if decision == "PROMOTE":
        return "a retrained model replaced it and was rolled back"
    return "no retrained model has replaced it" if verdict["drift"] else "the model stays"
