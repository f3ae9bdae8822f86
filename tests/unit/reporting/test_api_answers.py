"""One call, one section, whatever was answered."""

import pytest

from risk.reporting import api_answers
from risk.reporting.api_answers import Call

PROBLEM = {"title": "Unprocessable", "detail": "lacks a\ncolumn"}


@pytest.mark.parametrize(
    ("status", "body", "shown"),
    [
        (None, "ConnectionError", ["no answer", "ConnectionError"]),
        (422, PROBLEM, ["status 422", "Unprocessable: lacks a\ufffdcolumn"]),
        (502, "<html>" * 100, ["status 502", ("<html>" * 100)[: api_answers.WIDTH]]),
        (200, ["no object"], ["status 200", "['no object']"]),
    ],
    ids=["nobody there", "a problem", "no JSON", "no answer of ours"],
)
def test_what_is_no_answer_of_ours_is_shown_as_it_came(status, body, shown):
    call = Call("GET", "/scoring", None, status, body)
    assert api_answers.render_calls([call]).splitlines() == ["GET /scoring", "============", *shown]


@pytest.mark.parametrize(
    ("status", "failed", "broken"),
    [(None, True, True), (200, False, False), (399, False, False), (400, True, False), (500, True, True)],
)
def test_a_refusal_is_a_failure_and_only_the_servers_own_error_is_broken(status, failed, broken):
    call = Call("GET", "/scoring", None, status, None)
    assert (call.failed, call.broken) == (failed, broken)


def test_each_answer_fits_its_width_and_stands_alone():
    names = {"release": "r" * 300, "model_sha256": "hidden", "f1": 0.123456789, "auc": None}
    made = api_answers.render_calls([Call("GET", "/scoring", None, 200, names)] * 2)
    assert made.count("GET /scoring") == 2 and "hidden" not in made and "0.123457" in made
    assert max(map(len, made.splitlines())) <= api_answers.WIDTH and "…" in made
