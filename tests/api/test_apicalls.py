"""The calls that write apireturns.txt, against our own server and a running one."""

import json
import socketserver
import threading
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import pytest
from api_kit import DIAGNOSTICS, free_port
from makers import make_clients

import app
from config import load_config
from risk.reporting import api_answers


@pytest.fixture
def deployed(old_world):
    """A workspace with a release and a diagnosis, whose API does not run."""
    old_world.configure(api={"port": free_port()})
    old_world.walk()
    (old_world.root / "models" / "diagnostics.json").write_text(json.dumps(DIAGNOSTICS))
    return old_world


def returns(workspace):
    return (workspace.root / "models" / "apireturns.txt").read_text(encoding="utf-8")


class Running:
    """An API that runs at the port of a workspace, or something else that does."""

    class Quiet(WSGIRequestHandler):
        def log_message(self, *_):
            pass

    class Threading(socketserver.ThreadingMixIn, WSGIServer):
        pass

    def __init__(self, workspace, door):
        self.server = self.Threading(("127.0.0.1", workspace.keys["api"]["port"]), self.Quiet)
        self.asked = []

        def noting(environ, start):
            self.asked.append(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")
            return door(environ, start)

        self.server.set_app(noting)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


CALLS = ["POST /prediction", "GET /scoring", "GET /summarystats", "GET /diagnostics"]


def test_without_a_running_api_it_serves_itself_and_says_so(deployed):
    assert deployed.run("apicalls") == {"n_calls": 4, "n_failed": 0, "served_by": "own server"}
    log = (deployed.root / "logs" / "pipeline.log").read_text()
    assert "served_by=own server" in log
    titles = [line for line in returns(deployed).splitlines() if line.startswith(("POST /", "GET /"))]
    assert titles == ['POST /prediction {"filepath": "testdata/t.csv"}', *CALLS[1:]]
    assert threading.active_count() == 1


def test_a_running_api_of_this_workspace_is_used(deployed):
    with Running(deployed, app.create_app(load_config(deployed.config_path))) as running:
        assert deployed.run("apicalls") == {"n_calls": 4, "n_failed": 0, "served_by": "running API"}
    assert running.asked == ["GET /health", *CALLS]


@pytest.mark.parametrize(("host", "served_by"), [("0.0.0.0", "running API"), ("10.1.2.3", "own server")])  # noqa: S104
def test_an_api_for_other_machines_is_called_here_without_a_token(deployed, monkeypatch, host, served_by):
    monkeypatch.setenv("RISK_API_TOKEN", "shown to nobody")
    deployed.configure(api={**deployed.keys["api"], "host": host})
    with Running(deployed, app.create_app(load_config(deployed.config_path))):
        assert deployed.run("apicalls")["served_by"] == served_by


def text_door(environ, start):
    start("200 OK", [("Content-Type", "text/html")])
    return [b"<html>"]


@pytest.mark.parametrize("kind", ["another workspace", "no API"])
def test_whatever_else_runs_at_the_port_is_left_alone(deployed, tmp_path, kind):
    other = tmp_path / "other.json"
    other.write_text(json.dumps(deployed.keys))
    door = app.create_app(load_config(other)) if kind == "another workspace" else text_door
    with Running(deployed, door) as running:
        assert deployed.run("apicalls")["served_by"] == "own server"
    assert running.asked == ["GET /health"]


def test_a_proxy_of_the_environment_is_not_asked(deployed, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    assert deployed.run("apicalls")["n_failed"] == 0


def test_the_same_answers_give_the_same_bytes_without_times_ports_or_paths(deployed):
    deployed.run("apicalls")
    first = returns(deployed)
    later = json.loads(json.dumps(DIAGNOSTICS).replace("0.1234", "9.8765").replace("2026-01", "2027-02"))
    (deployed.root / "models" / "diagnostics.json").write_text(json.dumps(later))
    with Running(deployed, app.create_app(load_config(deployed.config_path))):
        deployed.run("apicalls")
    assert returns(deployed) == first
    assert str(deployed.root) not in first and "127.0.0.1" not in first


def test_a_person_can_read_it(deployed):
    deployed.put("testdata/u.csv", [[f"client {'x' * 300}\n{n}", "7", "red", ""] for n in range(3)])
    deployed.run("apicalls")
    text = returns(deployed)
    assert max(map(len, text.splitlines())) <= api_answers.WIDTH
    assert "\nstatus 200\n" in text
    assert "200 predictions: " in text and "… and 190 more" in text
    assert "client xxxxx" in text and "…" in text
    assert "300 rows, 2 of them unlabelled" in text
    lines = text.splitlines()
    for wanted in (
        "activity  300  49.5      50     1    -    0  100",
        "colour        3     1.00",
        "ingestion  recorded",
        "training   none yet",
        "flask   3.1.3      unknown",
    ):
        assert wanted in lines
    assert any(line.split() == ["row", "corporation", "class", "probability"] for line in lines)


def test_bad_rows_are_shown_and_are_no_failure(deployed):
    deployed.put("testdata/t.csv", [*make_clients(5, "t"), ["odd", "seven", "red", "1"]])
    assert deployed.run("apicalls")["n_failed"] == 0
    assert "5 predictions: " in returns(deployed) and "1 rows rejected" in returns(deployed)
    assert "is not a number" in returns(deployed)


def test_a_refused_file_is_counted_and_said_but_is_no_error(deployed):
    deployed.put("testdata/bad.csv", [["a", "1"]], header=["corporation", "activity"])
    assert deployed.run("apicalls") == {"n_calls": 5, "n_failed": 1, "served_by": "own server"}
    assert "1 of 5 calls were refused" in deployed.said
    assert "status 400" in returns(deployed) and "lacks the column 'colour'" in returns(deployed)


def test_an_answer_of_a_broken_server_is_69_after_writing_what_came(old_world):
    old_world.configure(api={"port": free_port()})
    old_world.run("apicalls", expect=69)
    assert "4 of 4 calls failed" in old_world.said and "nothing is deployed yet" in old_world.said
    assert returns(old_world).count("status 503") == 4
    assert str(old_world.root) not in returns(old_world)


def test_an_api_that_dies_on_the_way_is_69(deployed):
    inner = app.create_app(load_config(deployed.config_path))

    def dying(environ, start):
        if environ["PATH_INFO"] != "/health":
            raise ConnectionResetError
        return inner(environ, start)

    with Running(deployed, dying):
        deployed.run("apicalls", expect=69)
    assert returns(deployed).count("no answer") == 4


def test_without_test_data_it_says_what_is_missing(deployed):
    (deployed.root / "testdata" / "t.csv").unlink()
    (deployed.root / "testdata").rmdir()
    deployed.run("apicalls", expect=66)
    assert "testdata: no such folder" in deployed.said
