"""Alerts are queued before they are sent, and a crash anywhere sends none of them twice."""

import json

import pytest

from risk import files
from risk.errors import ServiceError
from risk.history import outbox
from risk.monitoring import alarms, alert_channels, alert_delivery
from risk.monitoring.alarms import Alarm
from risk.monitoring.alerts import AlertSettings, RunOutcome


def drift():
    return RunOutcome(
        {alarms.DRIFT: Alarm("a", "title", "text", "todo").to_json()}, None, has_new_files=False
    )


@pytest.mark.parametrize("stop_after", [0, 1, 2])
def test_a_crash_while_a_message_is_queued_queues_it_once(tmp_path, monkeypatch, stop_after):
    """Between memory, queue and memory: the next tick goes on where this one died."""
    settings = AlertSettings(
        root=tmp_path, state_folder=tmp_path / ".state", channels={"webhook": "http://x"}, stale_days=None,
        cool_down_hours=1, timeout_s=5,
    )  # fmt: skip
    broken = alert_channels.CHANNELS["webhook"]._replace(send=unreachable)
    monkeypatch.setitem(alert_channels.CHANNELS, "webhook", broken)
    writes, really = [], files.put_text

    def put_text(path, text):
        if len(writes) == stop_after:
            raise KeyboardInterrupt
        writes.append(path.name)
        really(path, text)

    with monkeypatch.context() as patched:
        patched.setattr(files, "put_text", put_text)
        with pytest.raises(KeyboardInterrupt):
            alert_delivery.deliver_alerts(settings, drift(), None, 0.0, "2026-01-01T00:00:00Z")
    for _ in range(2):
        alert_delivery.deliver_alerts(settings, drift(), None, 5.0, "2026-01-01T00:00:05Z")
    assert len(outbox.waiting(settings.queues["webhook"])) == 1
    assert json.loads(settings.memory.read_text())["outgoing"] == []


def unreachable(*_):
    raise ServiceError("no")
