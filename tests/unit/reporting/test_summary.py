"""What page 1 says: the state in one sentence, figures against last time, and whether to believe it."""

import re

import pytest

from risk.reporting import formats, summary

FORBIDDEN = re.compile(r"\b(F1|AUC|PSI|p-value|p_value|drift|pickle)", re.IGNORECASE)
METRICS = {"n": 200, "n_positive": 60, "f1": 0.7, "floor_f1": 0.5, "auc": 0.844, "warnings": []}
LISTED = {
    "n_clients": 850,
    "n_at_risk": 119,
    "share_at_risk": 0.14,
    "value_at_risk": 1_234_567.8,
    "value_column": "revenue",
    "before": {"n_clients": 840, "n_at_risk": 107, "share_at_risk": 0.127, "value_at_risk": 1_200_000.0},
}


def verdict(*, drift=False, release="r", auto=False, margin=False, moved=(), **more):
    rules = {name: {"drift": says} for name, says in {"auto": auto, "score_margin": margin}.items()}
    evidence = {"n": 60, "rules": rules, "moved": list(moved)}
    return {"drift": drift, "release": release, "n": 50, "evidence": evidence, **more}


def warning(code, *columns):
    return {"warnings": [{"code": code, "text": "t", "columns": list(columns)}]}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "119 of 850 clients are at risk of leaving, 12 more than last time."),
        ({"n_at_risk": 1}, "1 of 850 clients is at risk of leaving, 106 fewer than last time."),
        ({"n_at_risk": 107}, "107 of 850 clients are at risk of leaving, as many as last time."),
        ({"before": None}, "119 of 850 clients are at risk of leaving; this is the first count."),
        ({"n_clients": 12_345}, "119 of 12,345 clients are at risk of leaving, 12 more than last time."),
        ({"n_clients": 0, "n_at_risk": 0}, "No client is left to watch: all in the table have left."),
    ],
    ids=["more", "one", "as many", "first", "thousands", "nobody"],
)
def test_state_and_change_are_one_sentence(changes, said):
    assert summary.describe_headline(LISTED | changes) == said


def test_without_a_list_nothing_is_counted():
    told = summary.make_summary(None, METRICS, {}, None, "r", {})
    assert told["headline"] == "Which clients are at risk is not known yet." and told["figures"] == []


def test_figures_stand_against_last_time():
    shown = [(one["shown"], one["note"]) for one in summary.make_figures(LISTED)]
    assert shown == [
        ("119", "107 last time"),
        ("14.0 %", "12.7 % last time"),
        ("1,234,568", "expected loss, by revenue; 1,200,000 last time"),
    ]


def test_a_value_that_nobody_named_is_not_known_and_not_0():
    unnamed = LISTED | {"value_at_risk": None, "value_column": None, "before": None}
    *_, value = summary.make_figures(unnamed)
    assert value["shown"] == "not known" and value["value"] is None
    assert value["note"] == "no column gives the value of a client"


def test_figures_without_an_earlier_count_are_shown_alone():
    notes = [one["note"] for one in summary.make_figures(LISTED | {"before": None})]
    assert notes == ["", "", "expected loss, by revenue"]


@pytest.mark.parametrize(
    ("metrics", "card", "found", "answer", "because"),
    [
        ({}, {}, None, summary.YES, "84 times in 100"),
        ({}, {}, verdict(), summary.YES, "newest 60 rows fit the model"),
        ({}, {}, verdict(release="other"), summary.YES, "no newer rows"),
        ({}, {}, verdict(drift=True), summary.YES, "newest 50 rows .* less often .* no more than chance"),
        ({"f1": 0.5}, {}, None, summary.YES, "gains nothing over calling everybody"),
        ({"f1": 0.5, "auc_low": 0.5, "auc_high": 0.9}, {}, None, summary.NO, "no better than guessing"),
        (
            {"auc_low": 0.79, "auc_high": 0.9},
            {},
            None,
            summary.YES,
            r"84 times in 100 \(79 to 90; guessing: 50\)",
        ),
        ({"n_clients": 70}, {}, None, summary.YES, "among 70 clients it had not seen"),
        (warning("test_auc_differs"), {}, None, summary.UNKNOWN, "not like those it was trained on"),
        (warning("test_share_differs"), {}, None, summary.YES, "84 times in 100"),
        ({"auc_low": 0.3, **warning("few_test_rows")}, {}, None, summary.UNKNOWN, "too few to say"),
        ({}, warning("no_signal"), None, summary.NO, "no better than guessing"),
        ({}, warning("leak", "code"), None, summary.NO, "Code seems to reveal the outcome"),
        ({}, {}, verdict(margin=True), summary.NO, "newest 50 rows the model was right less often"),
        ({}, {}, verdict(auto=True), summary.NO, "newest 50 rows the model was right less often"),
        (
            {},
            {},
            verdict(auto=True, moved=["a", "b"]),
            summary.UNKNOWN,
            "newest 60 rows differ .* in a and b",
        ),
        ({}, {}, verdict(auto=None), summary.UNKNOWN, "is not known yet"),
        ({}, {}, verdict(drift=True, auto=None), summary.UNKNOWN, "perhaps by chance"),
        ({"n": 12, **warning("few_test_rows")}, {}, None, summary.UNKNOWN, "on 12 rows, 60 of them leavers"),
        (warning("test_rows_in_training"), {}, None, summary.UNKNOWN, "was trained on"),
        ({"auc": None}, {}, None, summary.UNKNOWN, "all left"),
        ({}, warning("constant", "c"), None, summary.YES, "84 times in 100"),
    ],
    ids=str,
)
def test_trust_is_answered_with_its_reason(metrics, card, found, answer, because):
    told = summary.judge_trust(METRICS | metrics, card, found, "r")
    assert told["answer"] == answer
    assert re.search(because, " ".join(told["because"]), re.IGNORECASE)


def test_no_outweighs_unknown_and_names_no_reason_of_it():
    told = summary.judge_trust(METRICS | warning("few_test_rows"), warning("leak", "c"), None, "r")
    assert told["answer"] == summary.NO and len(told["because"]) == 1


def test_a_verdict_of_an_earlier_version_has_no_evidence_and_forces_nothing():
    old = {"drift": False, "release": "r", "n": 5}
    assert summary.judge_trust(METRICS, {}, old, "r")["answer"] == summary.YES
    assert "newest 5 rows" in summary.describe_news(old, "r", {})


DRIFTED = verdict(drift=True, auto=True)
HELD = verdict(drift=True, gate={"decision": "HOLD"})
REPLACED = verdict(drift=True, gate={"decision": "PROMOTE"})


@pytest.mark.parametrize(
    ("found", "release", "why", "said"),
    [
        (None, "r", {}, "is new"),
        (verdict(drift=None, auto=None), "r", {}, "is not known yet; the model stays"),
        (verdict(), "r", {}, "rows fit the model; the model stays"),
        (verdict(), "other", {}, "another model has replaced it"),
        (DRIFTED, "new", {"verdict": DRIFTED}, "replaced it"),
        (HELD, "r", {}, "was held back"),
        (DRIFTED, "r", {}, "no retrained model has replaced it"),
        (REPLACED, "r", {}, "replaced it and was rolled back"),
        (DRIFTED, "other", {}, "another model has replaced it"),
    ],
    ids=["new", "unjudged", "fine", "left", "replaced", "held", "unlearnable", "rolled back", "by hand"],
)
def test_the_news_say_what_became_of_the_model(found, release, why, said):
    assert said in summary.describe_news(found, release, why)


@pytest.mark.parametrize("drift", [True, False, None])
@pytest.mark.parametrize("auto", [True, False, None])
@pytest.mark.parametrize("margin", [True, False])
@pytest.mark.parametrize("moved", [(), ("a",)])
@pytest.mark.parametrize("gate", [None, {"decision": "HOLD"}, {"decision": "PROMOTE"}])
def test_trust_and_news_state_the_same_of_the_newest_rows(drift, auto, margin, moved, gate):
    check = verdict(drift=drift, auto=auto, margin=margin, moved=moved, gate=gate)
    page = summary.make_summary(LISTED, METRICS, {}, check, "r", {})
    assert page["trust"]["because"][-1].removesuffix(".") == page["news"].split("; ")[0]


def test_many_columns_are_named_in_part_and_long_ones_cut():
    assert summary.name_columns(["a"]) == "a"
    assert summary.name_columns(list("abc")) == "a, b and c"
    assert summary.name_columns(list("abcde")) == "a, b, c and 2 more"
    assert len(summary.name_columns(["x" * 500])) == formats.MOST_LETTERS


def test_no_sentence_of_page_1_needs_a_legend():
    codes = (*summary.FORCED, "constant")
    cards = [{}, *(warning(code, "c") for code in codes)]
    told = (verdict(margin=True), verdict(auto=True, moved=["c"]), verdict(auto=None), verdict(drift=None))
    verdicts = [None, DRIFTED, HELD, *told]
    for card in cards:
        for found in verdicts:
            for release in ("r", "other"):
                for listed in (None, LISTED):
                    told = summary.make_summary(listed, METRICS, card, found, release, {})
                    assert not FORBIDDEN.search(str(told)), told
