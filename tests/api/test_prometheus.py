"""/metrics: recorded facts in the text format that monitors collect."""

import json
import os
import re
import time

import pytest
from api_kit import client_of, configure

from risk.history import outbox
from risk.serving import prometheus
from risk.serving.prometheus import Gauge

SAMPLE = re.compile(r'([a-z_]+)(?:\{([a-z]+="[^"\\\n]*"(?:,[a-z]+="[^"\\\n]*")*)\})? (-?[0-9.e+-]+)')


def read(text):
    """Read the text format as a monitor does: help, type, then samples of one name at a time."""
    found, name = {}, None
    for line in text.splitlines():
        if line.startswith("# HELP "):
            name, _, meaning = line.removeprefix("# HELP ").partition(" ")
            assert meaning and name not in {key.partition("{")[0] for key in found}
        elif line.startswith("# TYPE "):
            assert line == f"# TYPE {name} gauge"
        else:
            match = SAMPLE.fullmatch(line)
            assert match and match[1] == name, line
            found[name + (f"{{{match[2]}}}" if match[2] else "")] = float(match[3])
    assert text.endswith("\n")
    return found


def ask(root):
    answer = client_of(root).get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return read(answer.text)


def test_what_the_last_runs_left_is_told(copy):
    (copy / ".state").mkdir(exist_ok=True)
    tick = {"verdict": {"drift": True, "new_score": 0.4, "recorded_score": 0.7}, "pending": None}
    (copy / ".state" / "tick.json").write_text(json.dumps(tick))
    os.utime(copy / ".state" / "tick.json", (1_700_000_000, 1_700_000_000))
    os.utime(copy / "production_deployment" / "..data" / "manifest.json", (1_600_000_000, 1_600_000_000))
    outbox.append(copy / ".state" / "outbox", {"ticks": [{"n": 1}]}, "2026-01-01T00:00:00Z")
    outbox.append(copy / ".state" / "outbox" / "webhook", {"alerts": [{}]}, "2026-01-01T00:00:00Z")
    found = ask(copy)
    metrics = json.loads((copy / "production_deployment" / "metrics.json").read_text())
    release = (copy / "production_deployment" / "..data").readlink().name.partition("-")[2]
    assert found[f'risk_model_info{{release="{release}",estimator="logistic_regression"}}'] == 1
    assert found["risk_model_served"] == 1
    assert found["risk_model_age_seconds"] == pytest.approx(time.time() - 1_600_000_000, abs=60)
    assert found["risk_model_score"] == metrics["f1"] and found["risk_model_auc"] == metrics["auc"]
    assert found["risk_model_score_low"] < found["risk_model_score"] < found["risk_model_score_high"]
    assert found["risk_last_tick_timestamp_seconds"] == 1_700_000_000
    assert found["risk_last_tick_age_seconds"] == pytest.approx(time.time() - 1_700_000_000, abs=60)
    assert (found["risk_drift"], found["risk_drift_new_score"], found["risk_drift_recorded_score"]) == (
        1,
        0.4,
        0.7,
    )
    assert found["risk_rows"] == 300 and found["risk_rows_unlabelled"] == 2
    assert found["risk_outbox_waiting"] >= 1 and found["risk_outbox_refused"] == 0
    assert found["risk_alerts_waiting"] == 1
    assert found["risk_tick_pending"] == 0
    assert {value for name, value in found.items() if name.startswith("risk_artifact_readable")} == {1}


def test_what_no_run_has_left_yet_is_left_out(tmp_path):
    configure(tmp_path)
    found = ask(tmp_path)
    assert found == {
        "risk_model_served": 0,
        "risk_outbox_waiting": 0,
        "risk_outbox_refused": 0,
        "risk_alerts_waiting": 0,
        'risk_artifact_readable{artifact="release"}': 1,
    }


def test_a_damaged_artifact_hides_nothing_but_itself(copy):
    (copy / "models" / "diagnostics.json").write_text("{")
    (copy / ".state").mkdir(exist_ok=True)
    (copy / ".state" / "tick.json").mkdir()
    found = ask(copy)
    assert found['risk_artifact_readable{artifact="diagnostics.json"}'] == 0
    assert found['risk_artifact_readable{artifact="tick.json"}'] == 0
    assert found['risk_artifact_readable{artifact="metrics.json"}'] == 1
    assert "risk_rows" not in found and "risk_model_score" in found


def test_a_verdict_that_could_not_be_given_is_no_drift_and_no_peace(copy):
    (copy / ".state").mkdir(exist_ok=True)
    (copy / ".state" / "tick.json").write_text('{"verdict": {"drift": null}, "pending": {"tries": 1}}')
    found = ask(copy)
    assert "risk_drift" not in found and found["risk_tick_pending"] == 1


def test_a_clock_that_was_put_back_gives_no_age_below_nothing(copy):
    where = copy / "production_deployment", copy / "x", copy / "x", copy / "x"
    found = {one.name: one.value for one in prometheus.collect(*where, now=0.0)}
    assert found["risk_model_age_seconds"] == 0


def test_a_label_is_escaped_and_a_float_keeps_its_digits():
    text = prometheus.render([Gauge("a", "b", 0.1 + 0.2, {"c": 'x"\\\ny'}), Gauge("d", "e", None)])
    assert text == '# HELP a b\n# TYPE a gauge\na{c="x\\"\\\\\\ny"} 0.30000000000000004\n'
