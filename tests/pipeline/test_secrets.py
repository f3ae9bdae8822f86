"""A secret is nowhere but where it was put: in no log, artifact, record, answer or process list."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from makers import make_clients

import app
from config import SECRETS, load_config

ROOT = Path(__file__).resolve().parents[2]
CANARY = {name: f"canary{number}Q7xZ" for number, name in enumerate(SECRETS)}
VALUES = {
    "RISK_DATABASE_URL": "{scheme}://somebody:{canary}@127.0.0.1:1/history",
    "RISK_WEBHOOK_URL": "http://127.0.0.1:1/{canary}",
}


def secrets_of(scheme):
    return {name: VALUES.get(name, "{canary}").format(scheme=scheme, canary=c) for name, c in CANARY.items()}


@pytest.fixture(params=["environment", "risk.env"])
def world(request, old_world, monkeypatch):
    """A workspace with a canary in every secret place, and a way to change the database's URL."""

    def put(scheme="postgresql", **changes):
        values = secrets_of(scheme) | changes
        if request.param == "environment":
            for name, value in values.items():
                monkeypatch.setenv(name, value)
        else:
            path = old_world.root / "risk.env"
            path.write_text("".join(f"{name}={value}\n" for name, value in values.items()))
            path.chmod(0o600)

    old_world.put_secrets = put
    put()
    return old_world


def assert_silent(text):
    assert [name for name, canary in CANARY.items() if canary in text] == []


def assert_nowhere_on_disk(root):
    files = [path for path in root.rglob("*") if path.is_file() and path.name != "risk.env"]
    assert len(files) > 20
    for path in files:
        data = path.read_bytes()
        assert [name for name, canary in CANARY.items() if canary.encode() in data] == [], path


@pytest.mark.slow
def test_a_day_of_failures_tells_no_secret(world, monkeypatch):
    said = []

    def run(script, *arguments, expect=0):
        world.run(script, *arguments, expect=expect)
        said.append(world.said)

    run("fullprocess", "-v")
    world.configure(store_datasets=True)
    world.put_secrets("mysql")
    world.put("sourcedata/c.csv", make_clients(300, "c", "new"))
    run("fullprocess")
    for script, *arguments in (["dbsetup"], ["dbsetup", "--check"], ["diagnostics", "--history"]):
        run(script, *arguments, expect=69)
    run("diagnostics", "--export", str(world.root / "out"), expect=69)
    model = (world.root / "production_deployment" / "trainedmodel.pkl").resolve()
    model.chmod(0o644)
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    run("diagnostics", expect=65)
    run("fullprocess")
    world.put_secrets(RISK_MODEL_KEY=CANARY["RISK_MODEL_KEY"] + "other")
    run("diagnostics", expect=65)
    world.put_secrets()
    run("deployment", "--list")
    run("deployment", "--rollback")
    world.put_secrets(RISK_DATABASE_URL=f"nosuch://u:{CANARY['RISK_DATABASE_URL']}@h/x")
    run("ingestion", expect=78)
    world.put_secrets()

    def broken(*_, **__):
        raise RuntimeError("a bug")

    monkeypatch.setattr("risk.data.input_batch.collect", broken)
    run("ingestion", "-v", expect=70)
    assert "could not" in "".join(said) or "does not answer" in "".join(said) or "127.0.0.1" in "".join(said)
    assert_silent("".join(said))
    assert_nowhere_on_disk(world.root)


def test_no_answer_of_the_api_tells_a_secret(world):
    world.tick()
    client = app.create_app(load_config(world.config_path)).test_client()
    answers = [
        client.get(path) for path in ("/health", "/ready", "/scoring", "/summarystats", "/diagnostics", "/no")
    ]
    answers.append(client.post("/prediction", json=[{"activity": 1, "colour": "red"}]))
    answers.append(client.post("/prediction", json={"filepath": "../risk.env"}))
    answers.append(client.post("/prediction", json={"filepath": "risk.env"}))
    assert [answer.status_code for answer in answers[:5]] == [200] * 5
    for answer in answers:
        assert_silent(answer.text + str(answer.headers))


@pytest.mark.slow
def test_no_process_has_a_secret_among_its_arguments(world):
    child = subprocess.Popen(
        [sys.executable, ROOT / "fullprocess.py", "--config", world.config_path],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    seen = set()
    while child.poll() is None:
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                seen.add(path.read_bytes())
            except OSError:
                continue
    assert any(b"fullprocess.py" in line for line in seen)
    assert_silent(b"\n".join(seen).decode(errors="replace") + child.communicate()[0])
    assert child.returncode == os.EX_OK


def test_a_damaged_line_of_risk_env_is_not_repeated(old_world):
    path = old_world.root / "risk.env"
    path.write_text(f"{CANARY['RISK_MODEL_KEY']}\nRISK_OTHER={CANARY['RISK_API_TOKEN']}\n")
    path.chmod(0o600)
    old_world.run("ingestion", expect=78)
    assert "line 1" in old_world.said and "line 2" in old_world.said
    assert_silent(old_world.said)
    path.chmod(0o644)
    old_world.run("ingestion", expect=78)
    assert "chmod 600" in old_world.said
    assert_silent(old_world.said)
