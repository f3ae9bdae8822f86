"""A trouble is reported once when it begins and once when it is over, however often it is met."""

from pathlib import Path

from risk.monitoring import alarms, alerts
from risk.monitoring.alarms import Alarm
from risk.monitoring.alerts import AlertSettings, AlertState, RunOutcome

DAY_S = 86_400
SETTINGS = AlertSettings(
    root=Path("/srv/risk"), state_folder=Path("/srv/risk/.state"), channels={"webhook": "http://x"},
    stale_days=None, cool_down_hours=1, timeout_s=5,
)  # fmt: skip
GOOD = RunOutcome({}, None, has_new_files=False)


def bad(key="a", topic=alarms.DRIFT):
    return RunOutcome({topic: Alarm(key, "title", "text", "todo").to_json()}, None, has_new_files=False)


def play(*steps):
    """Give what is reported in each of some steps, (seconds, outcome)."""
    state, reported = AlertState(), []
    for now, outcome in steps:
        state = alerts.update_state(state, SETTINGS, outcome, None, now, "at")
        reported.append([message["kind"] for message in state.outgoing])
        state = AlertState(state.told, state.told_at, state.fed_at)
    return reported


def test_a_trouble_that_comes_and_goes_is_told_once_an_hour():
    steps = [(600.0 * n, bad() if n % 2 == 0 else GOOD) for n in range(9)]
    assert play(*steps) == [["drift"], ["recovered"], [], [], [], [], ["drift"], ["recovered"], []]


def test_what_began_within_the_cool_down_is_told_after_it_if_it_is_still_so():
    steps = [(0.0, bad("a")), (600.0, bad("b")), (3599.0, bad("b")), (3600.0, bad("b")), (3700.0, bad("b"))]
    assert play(*steps) == [["drift"], [], [], ["drift"], []]


def test_topics_cool_down_by_themselves():
    assert play((0.0, bad()), (1.0, bad(topic=alarms.HOLD))) == [["drift"], ["recovered", "hold"]]


def test_a_clock_that_jumps_silences_nothing_for_ever():
    far = 1e12
    assert play((far, bad()), (0.0, GOOD), (1.0, bad("b"))) == [["drift"], ["recovered"], ["drift"]]


def test_a_clock_that_was_ahead_calls_nothing_stale_and_is_forgotten():
    settings = AlertSettings(**{**SETTINGS._asdict(), "stale_days": 1})
    state = AlertState(fed_at=1e12)
    state = alerts.update_state(state, settings, GOOD, None, 1000.0, "at")
    assert state.fed_at == 1000.0
    state = alerts.update_state(state, settings, GOOD, None, 1000.0 + DAY_S, "at")
    assert [message["kind"] for message in state.outgoing] == ["stale"]
