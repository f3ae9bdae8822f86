"""What the tests of the API share: a workspace in which a model is deployed, and a server of its own."""

import contextlib
import http.client
import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from makers import HEADER, make_clients

import app as api
import deployment
import diagnostics
import ingestion
import scoring
import training
from config import load_config
from risk.data import ledger

MAX_BODY_MB = 1
KEYS = {
    "input_folder_path": "sourcedata",
    "output_folder_path": "ingesteddata",
    "test_data_path": "testdata",
    "output_model_path": "models",
    "prod_deployment_path": "production_deployment",
    "model": {"estimator": "logistic_regression"},
    "api": {"max_body_mb": MAX_BODY_MB},
}
DIAGNOSTICS = {
    "n_rows": 300,
    "n_unlabelled": 2,
    "statistics": {
        "activity": {"n": 300, "mean": 49.5, "median": 50, "mode": 1, "std": None, "min": 0, "max": 100}
    },
    "missing": {"colour": {"count": 3, "percent": 1.0}},
    "timings": {
        "ingestion": {"duration_s": 0.1234, "n_runs": 7, "at": "2026-01-01T00:00:00Z"},
        "training": None,
    },
    "dependencies": [{"module": "flask", "installed": "3.1.3", "latest": "unknown"}],
    "dependencies_at": "2026-01-01T00:00:00Z",
    "predictions": None,
}
GOOD = {"corporation": "Müller & Söhne", "activity": 7, "colour": "red"}


def write(path, rows, header=HEADER):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(",".join(row) + "\n" for row in [header, *rows]), encoding="utf-8")


def run(root, *scripts):
    for script in scripts:
        assert script.main(["--config", str(root / "config.json")]) == 0


def make_workspace(root):
    """Deploy a model of the old world in a new workspace."""
    (root / "config.json").write_text(json.dumps(KEYS))
    write(root / "sourcedata" / "a.csv", make_clients(300, "a"))
    write(root / "testdata" / "t.csv", make_clients(120, "t"))
    run(root, ingestion, training, scoring, deployment)
    settings = load_config(root / "config.json")
    diagnostics.list_clients(
        settings, ledger.load_ready_ledger(settings.ledger), diagnostics.load_release(settings)[1]
    )
    (root / "models" / "diagnostics.json").write_text(json.dumps(DIAGNOSTICS))
    return root


def configure(root, **keys):
    (root / "config.json").write_text(json.dumps({**KEYS, **keys}))


def deploy_new_world(root):
    """Deploy a second release, which says the opposite of the first."""
    write(root / "sourcedata" / "b.csv", make_clients(900, "b", "new"))
    run(root, ingestion, training, scoring, deployment)


def client_of(root):
    return api.create_app(load_config(root / "config.json")).test_client()


def problem(answer, status):
    """Check the shape of an error and give it."""
    assert answer.status_code == status, answer.text
    assert answer.mimetype == "application/problem+json"
    assert {"type", "title", "status", "detail"} <= answer.json.keys()
    assert answer.json["status"] == status
    assert "Traceback" not in answer.text
    return answer.json


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A server of its own process, waited for by asking its socket."""

    def __init__(self, command, port, **options):
        self.port = port
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)

    @classmethod
    def of(cls, root, *, options=None, **keys):
        """Serve a workspace with keys of `api`; `options` are those of the process."""
        port = free_port()
        configure(root, api={"max_body_mb": MAX_BODY_MB, **keys, "port": port})
        script = Path(api.HERE / "app.py")
        return cls(
            [sys.executable, str(script), "--config", str(root / "config.json")],
            port,
            cwd=root,
            **(options or {}),
        )

    def __enter__(self):
        while not self.is_listening():
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.02)
                pytest.fail(f"the server has ended: {self.process.communicate()}")
        assert self.call("GET", "/health")[0] == 200
        return self

    def is_listening(self):
        try:
            self.connect().close()
        except ConnectionRefusedError:
            return False
        return True

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.said = self.process.communicate(timeout=60)
        finally:
            self.process.kill()

    def workers(self):
        """Give the ids of the processes that answer."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [*map(int, children.read_text().split())]

    def worker(self):
        return self.workers()[0]

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def call(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def read_lines(self, method, path, body, headers):
        """Make a call whose answer is long; give its status and how many lines it has."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, sum(1 for _ in answer)
        finally:
            connection.close()

    def predict(self, rows):
        return self.call("POST", "/prediction", json.dumps(rows), {"Content-Type": "application/json"})

    def say(self, *pieces):
        """Send bytes as they are and give everything that is answered until the server hangs up."""
        with self.connect() as connection:
            for piece in pieces:
                connection.sendall(piece)
            return read_all(connection)


def read_all(connection):
    """Read until the other side hangs up."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while data := connection.recv(65536):
            found += data
    return found


def parse(raw):
    """Take the bytes of one answer apart: status, headers in small letters, body."""
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return int(first.split()[1]), headers, body


def request(method="GET", path="/health", *lines, body=b"", host="127.0.0.1"):
    """Write a request; a body gets its length."""
    length = [f"Content-Length: {len(body)}"] if body else []
    head = [f"{method} {path} HTTP/1.1", f"Host: {host}", *length, *lines]
    return "\r\n".join([*head, "", ""]).encode("latin-1") + body
