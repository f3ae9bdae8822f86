"""Each trouble is told once when it begins and once when it is over, to a real web and a real mail server."""

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from faults import trace
from listeners import Webhook, mail_server
from makers import make_clients

import config as configuration
import fullprocess
from risk import locks
from risk.history import outbox
from risk.monitoring import alert_channels

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "alerts.md").read_text(encoding="utf-8")
DAY_S = 86_400


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def hook(monkeypatch):
    server = Webhook()
    monkeypatch.setenv("RISK_WEBHOOK_URL", server.url)
    yield server
    server.close()


@pytest.fixture
def clock(monkeypatch):
    """A clock that can be set; it goes on from where it is set."""
    shift, really = [0.0], time.time
    monkeypatch.setattr(time, "time", lambda: really() + shift[0])

    def advance(seconds):
        shift[0] += seconds

    return advance


@pytest.fixture
def bare(workspace):
    """A workspace without a file: its ticks are quick and end well."""
    for name in ("sourcedata", "testdata"):
        (workspace.root / name).mkdir()
    return workspace


def take_input_away(workspace):
    """Let ticks fail with 66; give the way back."""
    (workspace.root / "sourcedata").rename(workspace.root / "elsewhere")
    return lambda: (workspace.root / "elsewhere").rename(workspace.root / "sourcedata")


def kinds(hook):
    """Name what was told, in order, as (about, kind)."""
    return [re.search(r": (drift|hold|failed|refused|stale|recovered)", text)[1] for text in hook.texts]


def memory_of(workspace):
    return json.loads((workspace.root / ".state" / "alerts.json").read_text())


def queue_of(workspace, target="webhook"):
    return workspace.root / ".state" / "outbox" / target


def due_now(workspace, target="webhook"):
    """Let the pause of a queue be over."""
    path = queue_of(workspace, target) / outbox.RETRY
    path.write_text(json.dumps(json.loads(path.read_text()) | {"next_at": 0}))


# --- each kind, once, from the outside ---------------------------------------------------------------------


@pytest.mark.slow
def test_drift_is_told_once_and_that_it_is_over_once(old_world, hook):
    for _ in range(3):
        old_world.tick()
    assert hook.server.asked == [], "a first tick and idle ones have nothing to tell"
    old_world.put("sourcedata/c.csv", make_clients(300, "c", "new"))
    for _ in range(20):
        old_world.tick()
    (text,) = hook.texts
    release = old_world.release_id()
    assert "workspace: drift" in text and f"deployed as release {release}" in text
    assert re.search(r"F1 is 0\.\d+ on 300 new rows, 0\.\d+ was recorded", text)
    assert text.splitlines()[-1].startswith("What to do: check on page 1 of the report")
    path, headers, body = hook.server.asked[0]
    assert path == "/services/s3cret-T00" and body == {"text": text}
    assert headers["Content-Type"] == "application/json"
    old_world.configure(drift={"rule": "score_margin"})
    old_world.put("sourcedata/d.csv", make_clients(300, "d", "new"))
    for _ in range(3):
        old_world.tick()
    assert kinds(hook) == ["drift", "recovered"]


def test_a_held_model_is_told_with_the_reasons_of_the_gate(old_world, hook):
    old_world.configure(deployment={"gate": "better"})
    old_world.tick()
    rows = make_clients(25, "c", "new")  # too few to tell, so that "better" holds
    old_world.put("sourcedata/c.csv", rows)
    for _ in range(3):
        told = old_world.tick()
    assert kinds(hook) == ["drift", "hold"] and told["reason"] is None
    drift, hold = hook.texts
    assert "is held back" in drift and "too few to compare two models" in hold
    assert "What to do: look at verdict.json" in hold
    assert not any(row[0] in text for row in rows for text in hook.texts)


def test_refused_input_is_told_by_name_and_without_its_contents(old_world, hook):
    old_world.tick()
    old_world.put("sourcedata/<!channel> @all.csv", [["Secret Corp", "5"]], header=["Hidden Ltd", "17"])
    old_world.put("sourcedata/bad.csv", [["Other Corp", "many", "red", "1"]])
    for _ in range(20):
        old_world.tick()
    (text,) = hook.texts
    assert "refused input, no row could be ingested from 2 of 2 new files" in text
    assert "??channel? ?all.csv, bad.csv" in text and "rejectedrows.csv" in text
    assert not any(word in text for word in ("Secret", "Hidden", "Other", "many", "17", "<", "@"))
    old_world.put("sourcedata/good.csv", make_clients(30, "g"))
    old_world.tick()
    assert kinds(hook)[:2] == ["refused", "recovered"]


def test_a_folder_that_makes_no_table_is_told_without_what_stands_in_it(workspace, hook):
    workspace.put("sourcedata/a.csv", [["x", "1"]], header=["Hidden Ltd", "17"])
    workspace.put("testdata/t.csv", make_clients(50, "t"))
    workspace.tick(expect=65)
    workspace.tick()
    (text,) = hook.texts
    assert "1 of 1 new files" in text and "a.csv" in text and "Hidden" not in text


def test_rows_that_teach_nothing_are_told_as_a_failure(workspace, hook):
    workspace.put("sourcedata/a.csv", [[f"c{n}", str(n), "red", "1"] for n in range(60)])
    workspace.put("testdata/t.csv", make_clients(50, "t"))
    workspace.tick(expect=65)
    for _ in range(3):
        workspace.tick()
    (text,) = hook.texts
    assert "failed, no model could be trained" in text
    workspace.put("sourcedata/b.csv", make_clients(200, "b"))
    workspace.tick()
    assert kinds(hook) == ["failed", "recovered"]


def break_disk(workspace):
    path = workspace.root / ".state" / "tick.json"
    path.rename(workspace.root / "kept")
    path.mkdir()
    return lambda: (path.rmdir(), (workspace.root / "kept").rename(path))


def break_config(workspace):
    workspace.configure(alerts={"command": "not a list"}, taget_column="x")
    del workspace.keys["taget_column"], workspace.keys["alerts"]
    return workspace.configure


def break_json(workspace):
    workspace.config_path.write_text("{")
    return workspace.configure


def break_state(workspace):
    path = workspace.root / ".state" / "tick.json"
    kept = path.read_text()
    path.write_text("{")
    return lambda: path.write_text(kept)


FAILURES = {
    74: (break_disk, "disk or network failed"),
    78: (break_config, "config.json is wrong"),
    -78: (break_json, "config.json: is not valid JSON"),
    65: (break_state, "is damaged"),
    66: (take_input_away, "sourcedata: no such folder"),
}


@pytest.mark.parametrize("code", FAILURES)
def test_a_failed_tick_is_told_once_whatever_its_exit_code(bare, hook, code):
    bare.tick()
    breaks, said = FAILURES[code]
    mend = breaks(bare)
    for _ in range(20):
        bare.tick(expect=abs(code))
    (text,) = hook.texts
    assert f"failed, a run ended with exit code {abs(code)}" in text and said in text
    assert "What to do:" in text and str(bare.root) not in text
    mend()
    for _ in range(3):
        bare.tick()
    assert kinds(hook) == ["failed", "recovered"] and "the pipeline runs again" in hook.texts[1]


def test_a_bug_is_told_without_its_words(bare, hook, monkeypatch):
    def bug(*_, **__):
        raise RuntimeError("Secret Corp 17")

    monkeypatch.setattr(fullprocess, "find_changes", bug)
    bare.tick(expect=70)
    (text,) = hook.texts
    assert "exit code 70 (internal error)" in text and "Secret" not in text


def test_a_tick_that_is_terminated_is_told(bare, hook, monkeypatch):
    def terminated(*_, **__):
        os.kill(os.getpid(), 15)
        time.sleep(5)

    monkeypatch.setattr(fullprocess, "find_changes", terminated)
    bare.tick(expect=143)
    (text,) = hook.texts
    assert "exit code 143 (it was terminated)" in text


def test_ticks_that_are_killed_one_after_the_other_are_told_once(bare, hook):
    """As when memory runs out: no tick comes to its end, so the next one tells before it begins."""
    code = f"""
import os, sys
sys.path.insert(0, {str(ROOT)!r})
import fullprocess
fullprocess.find_changes = lambda config: os.kill(os.getpid(), 9)
fullprocess.main(["--config", {str(bare.config_path)!r}])
"""
    for n_told in (0, 1, 1):
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
        assert len(hook.texts) == n_told
    assert "failed, the previous run was killed" in hook.texts[0]
    for _ in range(3):
        bare.tick()
    assert kinds(hook) == ["failed", "recovered"]


def test_another_tick_that_runs_a_wrong_command_and_a_look_are_no_failures(bare, hook):

    bare.tick()
    with locks.lock(bare.root / ".state" / "lock", wait_s=0):
        bare.tick()
    bare.tick("--nonsense", expect=64)
    take_input_away(bare)
    bare.tick("--dry-run", expect=66)
    assert hook.server.asked == []


def test_stale_data_are_told_after_so_many_days_and_a_new_file_ends_it(bare, hook, clock):
    bare.configure(alerts={"stale_days": 10})
    bare.tick()
    clock(9.9 * DAY_S)
    bare.tick()
    assert hook.server.asked == []
    clock(0.2 * DAY_S)
    for _ in range(20):
        bare.tick()
    (text,) = hook.texts
    assert "stale data, no new file for 10 days" in text and "export" in text
    bare.put("sourcedata/c.csv", [["x"]], header=["no such table"])
    bare.tick(expect=65)
    assert kinds(hook) == ["stale", "refused", "recovered"], "a file that is refused has come all the same"


def test_no_age_is_stale_without_days(bare, hook, clock):
    bare.configure(alerts={"stale_days": None})
    bare.tick()
    clock(3_000 * DAY_S)
    bare.tick()
    assert hook.server.asked == []


# --- outages -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_what_an_outage_held_up_is_delivered_once_by_an_idle_tick(old_world, hook):
    old_world.tick()
    hook.close()
    old_world.put("sourcedata/c.csv", make_clients(300, "c", "new"))
    told = old_world.tick()
    assert told["drift"] and told["deployed"], "an unreachable webhook fails no tick"
    assert old_world.said.count("WARNING alerts: the webhook cannot be reached") == 1
    assert "Connection refused" in old_world.said and "s3cret" not in old_world.said
    due_now(old_world)
    old_world.tick()
    assert old_world.said == "", "said once a day"
    retry = json.loads((queue_of(old_world) / outbox.RETRY).read_text())
    assert retry["tries"] == 2 and 100 < retry["next_at"] - time.time() <= 120
    again = Webhook(hook.port)
    try:
        old_world.tick()
        assert again.texts == [], "not before its pause is over"
        due_now(old_world)
        for _ in range(5):
            old_world.tick()
        assert len(again.texts) == 1 and "drift" in again.texts[0]
    finally:
        again.close()
    assert outbox.waiting(queue_of(old_world)) == []
    assert "s3cret" not in (old_world.root / "logs" / "pipeline.log").read_text()


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (500, "the webhook answered 500;"),
        (404, "the webhook answered 404; correct RISK_WEBHOOK_URL"),
        (400, "the webhook answered 400; correct alerts.template"),
        (302, "answered 302 (a redirect, which is not followed)"),
    ],
)
def test_an_answer_that_is_no_success_keeps_the_message(bare, hook, status, said):
    hook.server.status, hook.server.location = status, f"http://127.0.0.1:{hook.port}/elsewhere"
    take_input_away(bare)
    bare.run("fullprocess", expect=66)
    assert said in bare.said and "1 alerts wait" in bare.said
    assert [path for path, _, _ in hook.server.asked] == ["/services/s3cret-T00"], (
        "nothing is asked elsewhere"
    )
    hook.server.status = 204
    due_now(bare)
    bare.run("fullprocess", expect=66)
    assert outbox.waiting(queue_of(bare)) == [] and len(hook.server.asked) == 2


def test_a_webhook_that_never_ends_its_answer_costs_its_time_and_no_more(bare, monkeypatch):
    """A byte now and then keeps every timeout of a socket from ending; the whole has one."""
    ended = threading.Event()

    def drip():
        caller, _ = listener.accept()
        with caller:
            while not ended.wait(0.1):
                caller.sendall(b"x")

    bare.configure(alerts={"timeout_s": 1})
    take_input_away(bare)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv("RISK_WEBHOOK_URL", f"http://127.0.0.1:{listener.getsockname()[1]}/x")
        thread = threading.Thread(target=drip)
        thread.start()
        started = time.monotonic()
        bare.run("fullprocess", expect=66)
        assert 0.9 < time.monotonic() - started < 2.5
        ended.set()
        thread.join()
    assert "the webhook: no answer within 1 seconds; 1 alerts wait" in bare.said


def test_a_crash_between_answer_and_removal_sends_the_same_message_again(bare, hook, monkeypatch):
    bare.configure(alerts={"template": {"id": "{id}", "text": "{title}"}})
    take_input_away(bare)
    hook.server.before_answer = lambda _: os.kill(child.pid, 9)
    environment = os.environ | {"RISK_WEBHOOK_URL": hook.url}
    command = [sys.executable, ROOT / "fullprocess.py", "--config", bare.config_path]
    child = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert child.wait() == -9
    hook.server.before_answer = None
    for _ in range(3):
        bare.tick(expect=66)
    first, second = (body for _, _, body in hook.server.asked)
    assert first == second and len(first["id"]) == 16


def test_a_disk_that_takes_nothing_is_told_once_all_the_same(bare, hook):
    bare.tick()
    for name in ("alerts.json", "tick.json"):
        path = bare.root / ".state" / name
        path.unlink(missing_ok=True)
        path.mkdir()
        (path / "in the way").touch()
    for _ in range(3):
        bare.tick(expect=74)
    assert kinds(hook) == ["failed"]
    for name in ("alerts.json", "tick.json"):
        (bare.root / ".state" / name / "in the way").unlink()
        (bare.root / ".state" / name).rmdir()
    bare.tick()
    bare.tick()
    assert kinds(hook) == ["failed", "recovered"]


# --- a command that mails ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_command_of_the_page_on_alerts_mails_each_message_once(old_world):
    (code,) = re.findall(r"```py\n(# mail\.py.*?)```", PAGE, re.DOTALL)
    (keys,) = re.findall(r"```json\n(\{\"alerts\": \{\"command\".*?)```", PAGE, re.DOTALL)
    with mail_server() as server:
        code = code.replace('"localhost", 25', f'"127.0.0.1", {server.server_address[1]}')
        (old_world.root / "mail.py").write_text(code)
        keys = json.loads(keys)["alerts"]
        keys["command"] = [sys.executable if part == "python3" else part for part in keys["command"]]
        old_world.configure(alerts=keys | {"timeout_s": 30})
        old_world.tick()
        old_world.put("sourcedata/März.csv", make_clients(300, "c", "new"))
        old_world.put("sourcedata/Łódź.csv", [["x"]], header=["wrong"])
        for _ in range(5):
            old_world.tick()
        told = {mail["Subject"].split(",")[0].strip(): mail for _, mail in server.mails}
        assert sorted(told) == ["workspace: drift", "workspace: refused input"] and len(server.mails) == 2
        recipients, mail = server.mails[0]
        assert recipients == ["team@example.org"] and mail["Message-ID"]
        refused = told["workspace: refused input"].get_content()
        assert "Łódź.csv" in refused and "What to do: see rejectedrows.csv" in refused


def test_a_command_knows_no_secret_and_is_handed_the_whole_message(bare, monkeypatch):
    monkeypatch.setenv("RISK_MODEL_KEY", "s3cret")
    code = """
import json, os, sys
json.dump([json.load(sys.stdin), dict(os.environ), os.getcwd()], open("out", "w"))
"""
    bare.configure(alerts={"command": [sys.executable, "-c", code], "timeout_s": 30})
    take_input_away(bare)
    bare.run("fullprocess", expect=66)
    message, environment, folder = json.loads((bare.root / "out").read_text())
    assert tuple(message) == alert_channels.FIELDS and message["kind"] == message["about"] == "failed"
    assert folder == str(bare.root) and message["text"].startswith(message["title"])
    assert not [name for name in environment if name.startswith("RISK_")]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["/no/such/program"], "alerts.command cannot be started (No such file or directory)"),
        ([sys.executable, "-c", "raise SystemExit(3)"], "alerts.command ended with 3;"),
        ([sys.executable, "-c", "raise SystemExit('mail: no\\x1broute')"], r"with 1 (mail: no\x1broute);"),
        ([sys.executable, "-c", "import time; time.sleep(60)"], "did not end within 1 seconds; its limit is"),
    ],
)
def test_a_command_that_fails_costs_one_line_and_keeps_the_message(bare, command, said):
    bare.configure(alerts={"command": command, "timeout_s": 1})
    take_input_away(bare)
    bare.run("fullprocess", expect=66)
    assert said in bare.said and bare.said.count("alerts:") == 1
    assert len(outbox.waiting(queue_of(bare, "command"))) == 1


def test_a_target_that_is_down_does_not_hold_up_the_other(bare, hook):
    bare.configure(alerts={"command": ["false"]})
    take_input_away(bare)
    bare.run("fullprocess", expect=66)
    assert len(hook.texts) == 1 and len(outbox.waiting(queue_of(bare, "command"))) == 1
    bare.configure(alerts={})
    bare.run("fullprocess", expect=66)
    assert not queue_of(bare, "command").exists(), "nobody is to be told there any more"


# --- when nobody is to be told -----------------------------------------------------------------------------


@pytest.mark.slow
def test_without_alerts_nothing_is_noted_and_no_socket_opened_but_on_loopback(old_world, tmp_path):
    """The system calls of real ticks, those of libraries too."""
    reason = trace.why_not()
    if reason:
        pytest.skip(reason)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RISK_")}
    environment["MPLCONFIGDIR"] = str(tmp_path / "matplotlib")
    command = [sys.executable, ROOT / "fullprocess.py", "--config", old_world.config_path]

    def run(name):
        return trace.peers(command, tmp_path / name, env=environment, capture_output=True)

    old_world.tick()
    old_world.put("sourcedata/c.csv", make_clients(300, "c", "new"))
    assert set(run("drift")) <= {"127.0.0.1"}
    assert run("idle") == []
    (old_world.root / "sourcedata").rename(old_world.root / "elsewhere")
    assert run("failed") == []
    assert not (old_world.root / ".state" / "alerts.json").exists()
    hook = Webhook()
    environment["RISK_WEBHOOK_URL"] = hook.url
    assert run("told") == ["127.0.0.1"] and len(hook.texts) == 1, "the trace has eyes"
    hook.close()


def test_an_idle_tick_with_alerts_imports_nothing_to_send_with(bare, hook):
    bare.tick()
    code = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import fullprocess
assert fullprocess.main(["--config", {str(bare.config_path)!r}]) == 0
names = {{"logging", "subprocess", "urllib.request", "http.client", "ssl", "socket", "threading", "email"}}
print(sorted(names & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# --- templates ---------------------------------------------------------------------------------------------


def test_the_templates_of_the_page_on_alerts_are_taken(bare):
    found = [json.loads(text) for text in re.findall(r"```json\n(\{\"alerts\".*?)```", PAGE, re.DOTALL)]
    assert len(found) == 2
    for keys in found:
        bare.configure(**keys)
        configuration.load_config(bare.config_path)


def test_a_template_in_use_is_what_arrives(bare, hook):
    bare.configure(alerts={"template": {"blocks": [{"say": "{kind}: {todo}"}], "text": "{title}"}})
    take_input_away(bare)
    bare.run("fullprocess", expect=66)
    (_, _, body) = hook.server.asked[0]
    assert set(body) == {"blocks", "text"} and body["blocks"][0]["say"].startswith(
        "failed: create the folder"
    )
