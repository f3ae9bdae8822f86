"""Nothing waits for a database, and nothing is lost or doubled by it."""

import contextlib
import json
import math
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from history_kit import Hurried, rows_of
from makers import make_clients

import reporting
from config import load_config
from risk.errors import ServiceError
from risk.history import connections, delivery, outbox
from risk.runtime import deliveries

ROOT = Path(__file__).resolve().parents[2]
AT = "2026-01-31T12:00:00.000001Z"


def append(folder, number, at=AT):
    return outbox.append(folder, {"releases": [{"key": [number], "release": str(number), "score": 0.1}]}, at)


# --- the outbox ----------------------------------------------------------------------------------------


def test_what_waits_is_delivered_once_and_in_order(tmp_path, database_url):
    for number in range(250):
        append(tmp_path / "outbox", number)
    done = delivery.deliver(tmp_path / "outbox", database_url, budget_s=60)
    assert done.n_batches == 250 and outbox.waiting(tmp_path / "outbox") == []
    assert sorted(int(row["release"]) for row in rows_of(database_url, "releases")) == list(range(250))


def test_a_long_backlog_comes_in_pieces_and_none_of_them_is_a_failure(tmp_path, database_url, monkeypatch):
    """All at once it would be rolled back at the end of each tick's time, and tried for ever."""
    monkeypatch.setattr(delivery, "time", Hurried())
    for number in range(20):
        append(tmp_path / "outbox", number, at=f"2026-01-31T12:00:00.{number:06d}Z")
    left = [len(outbox.waiting(tmp_path / "outbox"))]
    while left[-1]:
        done = delivery.deliver(tmp_path / "outbox", database_url, budget_s=60, most_bytes=600)
        left.append(len(outbox.waiting(tmp_path / "outbox")))
        assert done.n_batches == left[-2] - left[-1] > 0
    assert len(left) > 5
    assert sorted(int(row["release"]) for row in rows_of(database_url, "releases")) == list(range(20))


def test_many_records_wait_in_several_batches_and_none_in_none(tmp_path):
    rows = {"timings": [{"stage": str(n)} for n in range(24)], "scores": [{"n": n} for n in range(9)]}
    outbox.append(tmp_path / "outbox", rows, AT, most_rows=10)
    outbox.append(tmp_path / "outbox", {"timings": []}, AT)
    parts = [outbox.read(path) for path in outbox.waiting(tmp_path / "outbox")]
    assert [sum(map(len, part.values())) for part, _ in parts] == [10, 10, 10, 3]
    assert {at for _, at in parts} == {AT}
    for name, listed in rows.items():
        assert [row for part, _ in parts for row in part.get(name, [])] == listed


def test_a_batch_delivered_twice_is_there_once(tmp_path, database_url):
    """Killed between the commit of the database and the removal of the file."""
    append(tmp_path / "outbox", 1)
    (path,) = outbox.waiting(tmp_path / "outbox")
    kept = path.read_bytes()
    delivery.deliver(tmp_path / "outbox", database_url, budget_s=60)
    path.write_bytes(kept)
    delivery.deliver(tmp_path / "outbox", database_url, budget_s=60)
    assert len(rows_of(database_url, "releases")) == 1


def test_values_that_are_not_finite_wait_as_null(tmp_path, database_url):
    outbox.append(tmp_path, {"scores": [{"f1": math.nan, "auc": math.inf, "f1_low": 0.1 + 0.2}]}, AT)
    delivery.deliver(tmp_path, database_url, budget_s=60)
    (row,) = rows_of(database_url, "scores")
    assert row["f1"] is None and row["auc"] is None and row["f1_low"] == 0.1 + 0.2


def test_a_damaged_batch_is_set_aside_and_stands_in_nobodys_way(tmp_path, database_url):
    append(tmp_path, 1)
    (damaged,) = outbox.waiting(tmp_path)
    damaged.write_text("{")
    append(tmp_path, 2)
    done = delivery.deliver(tmp_path, database_url, budget_s=60)
    assert (done.n_batches, done.n_refused) == (1, 1)
    assert outbox.describe(tmp_path) == {"waiting": 0, "since": None, "set_aside": 1}
    assert [row["release"] for row in rows_of(database_url, "releases")] == ["2"]


def test_a_batch_that_was_delivered_meanwhile_is_no_trouble(tmp_path, monkeypatch):
    """A delivery that took too long goes on in its thread, and may end between a look and the next."""
    append(tmp_path, 1)
    seen = outbox.waiting(tmp_path)
    append(tmp_path, 2)
    delivery.deliver(tmp_path, f"sqlite:///{tmp_path / 'records.db'}", budget_s=60)
    assert outbox.read(seen[0]) is None
    really = outbox.waiting
    monkeypatch.setattr(outbox, "waiting", lambda folder: [*seen, *really(folder)])
    append(tmp_path, 3)
    done = delivery.deliver(tmp_path, f"sqlite:///{tmp_path / 'records.db'}", budget_s=60)
    assert done.n_refused == 0 and outbox.describe(tmp_path)["set_aside"] == 0
    found = rows_of(f"sqlite:///{tmp_path / 'records.db'}", "releases")
    assert sorted(row["release"] for row in found) == ["1", "2", "3"]


def test_what_is_set_aside_is_bounded_too(tmp_path):
    for number in range(4):
        append(tmp_path, number, at=f"2026-01-31T12:00:00.{number:06d}Z")
        outbox.set_aside(outbox.waiting(tmp_path)[0], most=2)
    kept = sorted(path.name[20:26] for path in tmp_path.glob("*.refused"))
    assert kept == ["000002", "000003"]


@pytest.mark.parametrize(
    "rows",
    [
        {"scores": [{"n": 2**70}]},
        {"unheard": [{}]},
        {"scores": [{"unheard": 1}]},
        {"scores": [{"f1": "word"}]},
    ],
    ids=["too large", "no such table", "no such column", "no number"],
)
def test_a_batch_the_database_will_never_take_is_set_aside(tmp_path, database_url, rows):
    append(tmp_path, 1)
    outbox.append(tmp_path, rows, AT)
    append(tmp_path, 2)
    done = delivery.deliver(tmp_path, database_url, budget_s=60)
    assert (done.n_batches, done.n_refused) == (2, 1)
    assert len(rows_of(database_url, "releases")) == 2


def test_a_full_outbox_drops_old_detail_before_scores_and_releases(tmp_path):
    lost = 0
    for number in range(100):
        rows = {"timings": [{"stage": str(number)}]}
        if number < 5:
            rows["releases"] = [{"release": str(number)}]
        lost += outbox.append(tmp_path, rows, f"2026-01-31T12:00:00.{number:06d}Z", most_bytes=4_000)
    waiting = [outbox.read(path)[0] for path in outbox.waiting(tmp_path)]
    assert sum(path.stat().st_size for path in outbox.waiting(tmp_path)) <= 4_000
    assert sum("releases" in rows for rows in waiting) == 5
    n_timings = sum(len(rows.get("timings", [])) for rows in waiting)
    assert n_timings + lost == 100 and waiting[-1] == {"timings": [{"stage": "99"}]}


def test_pauses_grow_to_an_hour_and_end_with_an_answer(tmp_path):
    append(tmp_path, 1)
    assert outbox.is_due(tmp_path)
    pauses = []
    for _ in range(10):
        outbox.note_failure(tmp_path, 86_400)
        pauses.append(json.loads((tmp_path / outbox.RETRY).read_text())["next_at"] - time.time())
    assert [round(pause / 60) for pause in pauses] == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]
    assert not outbox.is_due(tmp_path)
    assert outbox.note_success(tmp_path) and outbox.is_due(tmp_path)


def test_a_failure_is_said_once_a_day(tmp_path):
    assert outbox.note_failure(tmp_path, 86_400) is True
    assert outbox.note_failure(tmp_path, 86_400) is False
    assert outbox.note_failure(tmp_path, 0) is True


def test_a_clock_set_back_does_not_stop_delivery(tmp_path):
    append(tmp_path, 1)
    (tmp_path / outbox.RETRY).write_text(
        json.dumps({"tries": 1, "next_at": time.time() + 10**8, "said_at": 0})
    )
    assert outbox.is_due(tmp_path)


# --- a tick and its database ---------------------------------------------------------------------------


def use(workspace, url, monkeypatch):
    monkeypatch.setenv("RISK_DATABASE_URL", url)


def due_now(workspace):
    """Let the pause be over."""
    (workspace.root / ".state" / "outbox" / outbox.RETRY).unlink(missing_ok=True)


def counts(url):
    return {
        name: len(rows_of(url, name)) for name in ("ticks", "releases", "scores", "ingested_files", "drift")
    }


ONE_TICK = {"ticks": 1, "releases": 1, "scores": 1, "ingested_files": 2, "drift": 0}


@pytest.mark.slow
def test_every_stage_writes_its_own_on_every_database(old_world, database_url, monkeypatch):
    use(old_world, database_url, monkeypatch)
    old_world.walk()
    old_world.put("sourcedata/c.csv", make_clients(300, "c", "new"))
    assert old_world.tick()["records_waiting"] == 0
    assert counts(database_url) == {"ticks": 1, "releases": 2, "scores": 2, "ingested_files": 3, "drift": 1}
    stages = {row["stage"] for row in rows_of(database_url, "timings")}
    assert stages == {"ingestion", "training", "scoring", "deployment", "diagnostics", "reporting"} | (
        stages & {"apicalls"}
    )
    totals = sorted(row["rows_total"] for row in rows_of(database_url, "ingested_files"))
    assert totals == [150, 300, 600]
    (verdict,) = rows_of(database_url, "drift")
    digests = {row["model_sha256"] for row in rows_of(database_url, "releases")}
    assert digests == {row["model_sha256"] for row in rows_of(database_url, "scores")}
    assert verdict["drift"] in (1, True)


@pytest.mark.slow
def test_a_server_that_stops_before_during_and_after_a_tick_loses_and_doubles_nothing(
    old_world, own_server, monkeypatch
):
    with own_server.fresh_database() as url:
        use(old_world, url, monkeypatch)
        own_server.stop()  # before
        told = old_world.tick()
        assert told["deployed"] and told["records_waiting"] > 0
        assert old_world.said.count("WARNING") == 1 and "the pipeline continues" in old_world.said
        own_server.start()
        due_now(old_world)
        idle = old_world.tick()
        assert idle["new_data"] is False and idle["deployed"] is None and idle["records_waiting"] == 0
        assert counts(url) == ONE_TICK, "an idle tick delivered it"

        old_world.put("sourcedata/c.csv", make_clients(300, "c", "new"))
        really_report = reporting.run
        monkeypatch.setattr(
            reporting, "run", lambda *args, **options: own_server.stop() or really_report(*args, **options)
        )
        told = old_world.tick()  # during
        assert told["drift"] and told["deployed"] and told["records_waiting"] > 0
        monkeypatch.setattr(reporting, "run", really_report)
        own_server.start()
        due_now(old_world)
        assert old_world.tick()["records_waiting"] == 0
        expected = {"ticks": 2, "releases": 2, "scores": 2, "ingested_files": 3, "drift": 1}
        assert counts(url) == expected

        own_server.stop()  # after
        assert old_world.tick()["records_waiting"] == 0 and old_world.said == ""
        own_server.start()
        assert counts(url) == expected


def test_exit_code_decision_and_bytes_do_not_depend_on_the_database(old_world, monkeypatch, tmp_path):
    told = old_world.tick()
    reference = old_world.bytes("models")
    for path in ("ingesteddata", "models", "production_deployment", ".state"):
        subprocess.run(["rm", "-rf", old_world.root / path], check=True)
    old_world.keep_packages()
    use(old_world, "postgresql://nobody:secret-word@127.0.0.1:1/risk", monkeypatch)
    without = old_world.tick()
    assert without.pop("records_waiting") > 0 and told.pop("records_waiting") == 0
    assert without == told and old_world.bytes("models") == reference
    assert "secret-word" not in old_world.said


@pytest.mark.parametrize("scheme", ["mysql", "postgresql"])
def test_a_server_that_accepts_and_never_answers_costs_at_most_the_budget(old_world, scheme, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        use(old_world, f"{scheme}://risk@127.0.0.1:{silent.getsockname()[1]}/risk", monkeypatch)
        config = load_config(old_world.config_path)
        append(config.outbox, 1)
        started = time.monotonic()
        assert deliveries.deliver(config, "fullprocess") is None
        assert 2.5 < time.monotonic() - started < 3.5, "the fault did happen, and cost the budget"
        started = time.monotonic()
        assert deliveries.deliver(config, "fullprocess", lambda history: history.latest_timings()) is None
        assert time.monotonic() - started < 0.1, "a tick waits once"


GREETINGS = {
    "nothing": b"",
    "zeros": b"\0" * 100,
    "no end": b"\x4a\0\0\0\x0a" + b"A" * 74,
    "web page": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("greeting", GREETINGS.values(), ids=GREETINGS.keys())
@pytest.mark.parametrize("scheme", ["mysql", "postgresql"])
def test_something_else_that_listens_there_costs_a_warning_and_sets_nothing_aside(
    old_world, scheme, greeting, monkeypatch
):
    """A driver that stumbles over nonsense raises IndexError or ValueError, as a refused row does."""

    def greet():
        with contextlib.suppress(OSError):
            while True:
                caller, _ = stranger.accept()
                with caller, contextlib.suppress(OSError):
                    caller.sendall(greeting)

    with socket.create_server(("127.0.0.1", 0)) as stranger:
        thread = threading.Thread(target=greet, daemon=True)
        thread.start()
        use(old_world, f"{scheme}://risk@127.0.0.1:{stranger.getsockname()[1]}/risk", monkeypatch)
        append(load_config(old_world.config_path).outbox, 1)
        old_world.run("ingestion")
        stranger.shutdown(socket.SHUT_RDWR)
    thread.join()
    assert old_world.said.count("WARNING") == 1 and "the pipeline continues" in old_world.said
    told = outbox.describe(old_world.root / ".state" / "outbox")
    assert (told["waiting"], told["set_aside"]) == (2, 0)


def test_a_frozen_server_costs_at_most_the_budget(old_world, own_server, monkeypatch):
    with own_server.fresh_database() as url:
        use(old_world, url, monkeypatch)
        config = load_config(old_world.config_path)
        append(config.outbox, 1)
        own_server.freeze()
        started = time.monotonic()
        assert deliveries.deliver(config, "fullprocess") is None
        assert 2.5 < time.monotonic() - started < 3.5
        own_server.thaw()
        due_now(old_world)
        deliveries.deliver(config, "fullprocess")
        assert len(rows_of(url, "releases")) == 1


def test_a_wrong_password_costs_a_tick_one_warning_that_does_not_show_it(old_world, own_server, monkeypatch):
    rights = {
        "mariadb": ("create or replace user risk identified by 'right-word'", "grant all on *.* to risk"),
        "postgresql": ("drop role if exists risk", "create role risk superuser login password 'right-word'"),
    }
    for statement in rights[own_server.kind]:
        own_server.execute(statement)
    with own_server.fresh_database() as url:
        for word in ("hidden-word", "right-word"):
            given = sa.make_url(url).set(username="risk", password=word)
            use(old_world, given.render_as_string(hide_password=False), monkeypatch)
            due_now(old_world)
            told = old_world.tick()
            if word == "hidden-word":
                assert told["deployed"] and told["records_waiting"] > 0, "the fault did happen"
                assert old_world.said.count("WARNING") == 1 and "risk:***@" in old_world.said
                assert "hidden-word" not in old_world.said
        assert told["records_waiting"] == 0 and counts(url) == ONE_TICK
    for path in filter(Path.is_file, old_world.root.rglob("*")):
        assert b"hidden-word" not in path.read_bytes() and b"right-word" not in path.read_bytes(), path


def test_a_table_that_another_holds_costs_at_most_the_budget(old_world, own_server, monkeypatch):
    with own_server.fresh_database() as url:
        use(old_world, url, monkeypatch)
        config = load_config(old_world.config_path)
        append(config.outbox, 1)
        deliveries.deliver(config, "fullprocess")
        append(config.outbox, 2)
        with connections.connect(url) as blocker:
            how = "releases write" if own_server.kind == "mariadb" else "releases in access exclusive mode"
            blocker.exec_driver_sql(f"lock {'tables' if own_server.kind == 'mariadb' else 'table'} {how}")
            started = time.monotonic()
            deliveries.deliver(config, "fullprocess")
            assert 2.5 < time.monotonic() - started < 3.5, "the fault did happen, and cost the budget"
        due_now(old_world)
        deliveries.deliver(config, "fullprocess")
        assert len(rows_of(url, "releases")) == 2


def test_a_locked_database_costs_a_tick_one_warning(old_world):
    old_world.run("ingestion")
    with sqlite3.connect(old_world.root / "records.db", isolation_level=None) as blocker:
        blocker.execute("begin exclusive")
        old_world.run("training")
        assert old_world.said.count("WARNING") == 1 and "database" in old_world.said
        old_world.run("scoring")
        assert old_world.said == "", "said once, and not tried again at once"
    due_now(old_world)
    old_world.run("deployment")
    assert outbox.waiting(old_world.root / ".state" / "outbox") == []
    assert len(rows_of(f"sqlite:///{old_world.root / 'records.db'}", "releases")) == 1


FULL = """
import resource, sys
sys.path.insert(0, {root!r})
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
from pathlib import Path
from risk.history import delivery, outbox
from risk.errors import ServiceError
try:
    delivery.deliver(Path(sys.argv[1]) / "outbox", "sqlite:///" + sys.argv[1] + "/records.db", budget_s=60)
except ServiceError as error:
    print(error)
print(len(outbox.waiting(Path(sys.argv[1]) / "outbox")))
"""


def test_a_full_disk_under_the_database_loses_nothing(tmp_path):
    url = f"sqlite:///{tmp_path / 'records.db'}"
    delivery.deliver(tmp_path / "outbox", url, read=lambda history: None, budget_s=60)
    outbox.append(tmp_path / "outbox", {"drift": [{"n": n, "reason": "x" * 900} for n in range(500)]}, AT)
    size = (tmp_path / "records.db").stat().st_size
    code = FULL.format(root=str(ROOT))
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path, str(size)], capture_output=True, text=True, check=True
    )
    assert "cannot be used" in done.stdout and done.stdout.endswith("\n1\n"), "the fault did happen"
    assert rows_of(url, "drift") == []
    delivery.deliver(tmp_path / "outbox", url, budget_s=60)
    assert len(rows_of(url, "drift")) == 500


def test_killed_between_commit_and_removal_the_next_delivery_doubles_nothing(tmp_path, database_url):
    append(tmp_path / "outbox", 1)
    code = (
        "import os, signal, sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\nfrom risk.history import delivery\n"
        "Path.unlink = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)\n"
        "delivery.deliver(Path(sys.argv[2]), sys.argv[3], budget_s=60)"
    )
    done = subprocess.run([sys.executable, "-c", code, ROOT, tmp_path / "outbox", database_url], check=False)
    assert done.returncode == -9, "the fault did happen"
    assert len(rows_of(database_url, "releases")) == 1 and len(outbox.waiting(tmp_path / "outbox")) == 1
    delivery.deliver(tmp_path / "outbox", database_url, budget_s=60)
    assert len(rows_of(database_url, "releases")) == 1 and outbox.waiting(tmp_path / "outbox") == []


def test_the_outbox_is_told_by_health_and_json(old_world, monkeypatch):
    import app

    use(old_world, "mysql://nobody@127.0.0.1:1/risk", monkeypatch)
    n_waiting = old_world.tick()["records_waiting"]
    client = app.create_app(load_config(old_world.config_path)).test_client()
    told = client.get("/health").json["outbox"]
    assert told["waiting"] == n_waiting > 0 and told["since"].startswith("20") and told["set_aside"] == 0


def test_old_detail_is_pruned_by_keep_days(old_world):
    old_world.configure(keep_days=30)
    config = load_config(old_world.config_path)
    outbox.append(
        config.outbox,
        {"timings": [{"stage": "old"}], "releases": [{"release": "old"}]},
        AT[:2] + "19" + AT[4:],
    )
    old_world.run("ingestion")
    url = f"sqlite:///{old_world.root / 'records.db'}"
    assert [row["stage"] for row in rows_of(url, "timings")] == ["ingestion"]
    assert [row["release"] for row in rows_of(url, "releases")] == ["old"]


def test_a_file_that_cannot_even_be_looked_for_is_an_error_of_the_database(tmp_path):
    append(tmp_path / "outbox", 1)
    with pytest.raises(ServiceError, match="unable to open"):
        delivery.deliver(tmp_path / "outbox", f"sqlite:///{tmp_path}/{'x' * 300}.db")


def test_what_the_driver_raises_reaches_the_caller(tmp_path):
    append(tmp_path / "outbox", 1)
    (tmp_path / "records.db").write_text("no database " * 100)
    with pytest.raises(ServiceError, match="cannot be used"):
        delivery.deliver(tmp_path / "outbox", f"sqlite:///{tmp_path / 'records.db'}")
