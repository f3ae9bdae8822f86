"""The page of the server: what is asked for, what is found, how everything stands."""

import re

import pytest
from report_kit import make_line

from risk.model import publishing, registry
from risk.serving.page import LONGEST_SEARCH, View, describe_health, describe_list, list_releases, render_page
from risk.serving.prometheus import Gauge

FACTS = {
    "risk_model_served": True,
    "risk_model_age_seconds": 7200.0,
    "risk_last_tick_age_seconds": 59.0,
    "risk_tick_pending": None,
    "risk_outbox_waiting": 0,
    "risk_outbox_refused": 0,
    "risk_alerts_waiting": 0,
}


def gauges(**changes):
    return [Gauge(name, "", value) for name, value in (FACTS | changes).items()]


def listed(n_found=60, offset=0, n=25):
    lines = [make_line(offset + k + 1) for k in range(n)]
    return {"n_clients": 1234, "n_found": n_found, "offset": offset, "clients": lines}


@pytest.mark.parametrize(
    ("arguments", "view"),
    [
        ({}, View()),
        (
            {"search": " Łódź ", "risk": "high", "sort": "name", "offset": "25"},
            View("Łódź", "high", "name", 25),
        ),
        ({"risk": "none", "sort": "up", "offset": "-1"}, View()),
        ({"offset": "9" * 30}, View()),
        ({"offset": "²"}, View()),
        ({"search": "x" * 999}, View("x" * LONGEST_SEARCH)),
    ],
    ids=["nothing", "all", "nonsense", "too far", "no digit", "too long"],
)
def test_what_makes_no_sense_is_as_if_it_was_not_asked(arguments, view):
    assert View.of(arguments) == view


def test_the_next_page_is_of_the_same_list():
    view = View("a&b", "high", "", 0)
    told = describe_list(listed(), view)
    assert told["count"] == "1 to 25 of 60 found among 1,234 clients."
    assert told["previous"] is None and told["next"] == "./?search=a%26b&risk=high&offset=25#clients"
    told = describe_list(listed(offset=50, n=10), view)
    assert told["previous"].endswith("offset=25#clients") and told["next"] is None


@pytest.mark.parametrize(
    ("page", "found"),
    [
        (listed(n_found=0, n=0), "None of 1,234 clients match."),
        (listed(n_found=1234), "1 to 25 of 1,234 clients."),
        (listed(offset=100, n=0), "There is no more: 60 found among 1,234 clients."),
    ],
    ids=["none", "all", "beyond"],
)
def test_it_says_how_many_were_found(page, found):
    assert describe_list(page, View())["count"] == found


def test_the_first_page_before_a_short_step_is_the_first():
    assert describe_list(listed(offset=10), View())["previous"] == "./?#clients"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "made 2 hours ago"),
        ({}, "ended less than a minute ago"),
        ({}, "The history is up to date"),
        ({"risk_model_served": False, "risk_model_age_seconds": None}, "No model is deployed"),
        ({"risk_model_age_seconds": 86_400.0}, "made 1 day ago"),
        ({"risk_tick_pending": True}, "will be tried again"),
        ({"risk_outbox_waiting": 1200}, "1,200 batches of records wait"),
        ({"risk_outbox_refused": 2}, "refused 2 batches"),
        ({"risk_alerts_waiting": 3}, "3 alerts could not be sent yet"),
    ],
    ids=str,
)
def test_health_is_said_in_words(changes, said):
    assert said in " ".join(describe_health(gauges(**changes)))


def test_a_damaged_artifact_is_named():
    damaged = Gauge("risk_artifact_readable", "", False, {"artifact": "tick.json"})
    fine = Gauge("risk_artifact_readable", "", True, {"artifact": "metrics.json"})
    told = " ".join(describe_health([*gauges(), damaged, fine]))
    assert "tick.json is damaged" in told and "metrics.json" not in told


def publish(folder, score):
    card = b'{"n": %d}' % int(score * 1000)
    facts = {
        "deployed_by": "tick",
        "estimator": "logistic_regression",
        "score": score,
        "training_mark": {},
        "why": {},
    }
    files = {name: card for name in registry.NAMES}
    return publishing.publish(folder, files, facts, keep=3)


def test_releases_are_listed_newest_first_and_the_deployed_one_is_marked(tmp_path):
    ids = [publish(tmp_path, score) for score in (0.5, 0.6)]
    rows = list_releases(tmp_path)["rows"]
    assert [row[0] for row in rows] == ids[::-1]
    assert [row[1] for row in rows] == ["deployed now", ""] and rows[0][4] == "0.600"


def test_a_damaged_release_is_listed_as_such(tmp_path):
    publish(tmp_path, 0.5)
    (name,) = registry.list_names(tmp_path)
    (tmp_path / name).chmod(0o755)
    manifest = tmp_path / name / "manifest.json"
    manifest.chmod(0o644)
    manifest.write_text("{")
    assert list_releases(tmp_path)["rows"][0][1] == "damaged"


def test_with_nothing_yet_the_page_says_so_and_offers_no_rollback(tmp_path):
    html = render_page("report.json: run it", "no list", View(), tmp_path, gauges(risk_model_served=False))
    for said in ("There is no report yet.", "report.json: run it", "no list", "Nothing is deployed yet."):
        assert said in html
    assert "--rollback" not in html


def test_what_was_searched_for_is_no_markup_and_stays_in_the_form(tmp_path):
    view = View('"><script>x</script>', "high", "moved")
    html = render_page("none", listed(), view, tmp_path, gauges(), problem="<i>bad</i>")
    assert "<script>" not in html and "<i>bad" not in html
    assert re.search(r'name="search" value="&#34;&gt;&lt;script', html)
    assert '<option value="high" selected>' in html and '<option value="moved" selected>' in html
    assert 'role="alert"' in html
