"""The server as it is: real processes, real sockets, and clients that are slow, many, broken or hostile."""

import contextlib
import http.client
import json
import os
import random
import resource
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from api_kit import (
    GOOD,
    MAX_BODY_MB,
    Server,
    configure,
    deploy_new_world,
    free_port,
    parse,
    read_all,
    request,
)

import app as api
import deployment
from risk.serving.http import parser
from risk.serving.http import server as http_server

TOKEN = "canary-5d1f0c-in-no-answer-and-no-log"  # noqa: S105
ROW = json.dumps([GOOD]).encode()
JSON_TYPE = "Content-Type: application/json"
CLOSE = "Connection: close"
SECRET = "81736455"  # noqa: S105  # a number, so that a leak would be an answer and no complaint


def ask(body, kind="application/json"):
    return request("POST", "/prediction", f"Content-Type: {kind}", CLOSE, body=body)


# --- start and end ---------------------------------------------------------------------------------------


def test_a_taken_port_is_said_at_once(copy, capsys):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        configure(copy, api={"port": port})
        assert api.main(["--config", str(copy / "config.json")]) == os.EX_UNAVAILABLE
    assert f"127.0.0.1:{port}: Address already in use" in capsys.readouterr().err


def test_gunicorn_serves_a_hundred_at_once_while_releases_are_swapped_and_ends_by_sigterm(copy):
    deploy_new_world(copy)
    folder = copy / "production_deployment"
    ids = [entry.name.partition("-")[2] for entry in sorted(folder.glob("..r*"))]
    quiet = {**GOOD, "activity": 5}
    together = threading.Barrier(100)

    def roll_back(release):
        assert deployment.main(["--config", str(copy / "config.json"), "--rollback", release]) == 0

    def predict(number):
        if number < 100:
            together.wait(60)
        status, answer = server.predict([quiet])
        return status, answer["release"], answer["predictions"][0]["class"]

    with Server.of(copy) as server, ThreadPoolExecutor(100) as pool:
        asked = [pool.submit(predict, number) for number in range(200)]
        while not all(one.done() for one in asked):
            for release in ids:
                roll_back(release)
        answers = {one.result() for one in asked}
        for release in ids:
            roll_back(release)
            answers.add(predict(100))
        assert answers == {(200, ids[0], 1), (200, ids[1], 0)}
        chunks = (b" " * 65536 for _ in range(20))
        assert server.call("POST", "/prediction", chunks, {"Content-Type": "text/csv"})[0] == 413
        assert server.call("GET", "/health", None, {"Host": "evil.example"})[0] == 403
    assert server.process.returncode == 0
    assert server.said == (b"", b"")
    assert not server.is_listening()


def test_gunicorn_alone_reads_the_config_that_risk_config_names(copy):
    port = free_port()
    configure(copy, api={"port": port})
    command = [sys.executable, "-m", "gunicorn", "wsgi:app"]
    environment = {**os.environ, "RISK_CONFIG": str(copy / "config.json")}
    with Server(command, port, cwd=api.HERE, env=environment) as server:
        assert server.call("GET", "/ready")[0] == 200
        assert server.predict([GOOD])[0] == 200
    assert server.process.returncode == 0


def test_with_a_certificate_it_speaks_tls_and_says_no_version_of_itself(copy, tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    port = free_port()
    configure(copy, api={"port": port})
    command = [sys.executable, "-m", "gunicorn", "--keyfile", key, "--certfile", certificate, "wsgi:app"]
    environment = {**os.environ, "RISK_CONFIG": str(copy / "config.json")}
    trusting = ssl.create_default_context(cafile=certificate)
    with TLSServer(command, port, cwd=api.HERE, env=environment, trusting=trusting) as server:
        assert server.predict([GOOD])[0] == 200
        raw = server.say(request("GET", "/ready", CLOSE))
        assert parse(raw)[0] == 200 and parse(raw)[1]["server"] == "gunicorn"
    assert server.process.returncode == 0


class TLSServer(Server):
    """A server whose connections are encrypted."""

    def __init__(self, *arguments, trusting, **options):
        super().__init__(*arguments, **options)
        self.trusting = trusting

    def is_listening(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=30).close()
        except ConnectionRefusedError:
            return False
        return True

    def connect(self):
        return self.trusting.wrap_socket(super().connect(), server_hostname="127.0.0.1")

    def call(self, method, path, body=None, headers=None):
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=60, context=self.trusting)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())


def test_gunicorn_alone_says_what_is_wrong_with_the_config(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    environment = {**os.environ, "RISK_CONFIG": str(tmp_path / "config.json")}
    command = [sys.executable, "-m", "gunicorn", "wsgi:app"]
    done = subprocess.run(command, cwd=api.HERE, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == os.EX_CONFIG
    assert done.stderr.startswith("ERROR app: ") and "Traceback" not in done.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3"])  # noqa: S104
def test_another_address_without_a_token_is_78_before_anything_listens(copy, capsys, monkeypatch, host):
    monkeypatch.delenv("RISK_API_TOKEN", raising=False)
    configure(copy, api={"host": host, "port": free_port()})
    assert api.main(["--config", str(copy / "config.json")]) == os.EX_CONFIG
    said = capsys.readouterr().err
    assert host in said and "set RISK_API_TOKEN" in said
    environment = {**os.environ, "RISK_CONFIG": str(copy / "config.json")}
    command = [sys.executable, "-m", "gunicorn", "wsgi:app"]
    done = subprocess.run(command, cwd=api.HERE, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == os.EX_CONFIG and "set RISK_API_TOKEN" in done.stderr


# --- one server for many ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def root(served, tmp_path_factory):
    import shutil

    root = tmp_path_factory.mktemp("worker") / "copy"
    shutil.copytree(served, root, symlinks=True)
    return root


@pytest.fixture(scope="module")
def server(root):
    """One worker whose clients must be done in two seconds; it is alive and silent at the end."""
    with Server.of(root, workers=1, timeout_s=2) as server:
        yield server
        assert server.call("GET", "/ready")[0] == 200
    assert server.process.returncode == 0 and server.said == (b"", b"")


def refused(raw, status):
    """Check that the bytes of one answer are a problem and tell nothing about the server."""
    found, headers, body = parse(raw)
    assert found == status, raw
    assert headers["content-type"] == "application/problem+json"
    assert json.loads(body)["status"] == status
    assert int(headers["content-length"]) == len(body)
    assert headers["x-content-type-options"] == "nosniff" and headers["x-release"]
    for secret in (b"gunicorn/", b"Werkzeug", b"Python/", b"Traceback", b"/work", b"/tmp", b"site-packages"):
        assert secret not in raw
    return json.loads(body)


MALFORMED = {
    "no HTTP": b"hello\r\n\r\n",
    "no version": b"GET /health\r\n\r\n",
    "another version": b"GET /health HTTP/3.0\r\nHost: x\r\n\r\n",
    "TLS": bytes.fromhex("16030100f5010000f10303") + b"\r\n\r\n",
    "space before colon": request("GET", "/health", "X-A : 1"),
    "no colon": request("GET", "/health", "nothing"),
    "folded header": request("GET", "/health", "X-A: 1", " 2"),
    "NUL in header": request("GET", "/health", "X-A: a\0b"),
    "bare CR in header": request("GET", "/health", "X-A: a\rb"),
    "two lengths": request("POST", "/prediction", "Content-Length: 2", "Content-Length: 3") + b"[]x",
    "length and chunks": request("POST", "/prediction", "Content-Length: 2", "Transfer-Encoding: chunked")
    + b"0\r\n\r\n",
    "length twice in one": request("POST", "/prediction", "Content-Length: 2, 2") + b"[]",
    "negative length": request("POST", "/prediction", "Content-Length: -1"),
    "length in words": request("POST", "/prediction", "Content-Length: two"),
    "hidden coding": request("POST", "/prediction", "Transfer-Encoding : chunked") + b"0\r\n\r\n",
    "other coding": request("POST", "/prediction", "Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n",
    "strange coding": request("POST", "/prediction", "Transfer-Encoding: xchunked") + b"0\r\n\r\n",
    "two codings": request("POST", "/prediction", *["Transfer-Encoding: chunked"] * 2) + b"0\r\n\r\n",
    "chunks in HTTP/1.0": b"POST /prediction HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunk without length": request("POST", "/prediction", "Transfer-Encoding: chunked") + b"x\r\n[]\r\n",
    "chunk with a sign": request("POST", "/prediction", "Transfer-Encoding: chunked") + b"+2\r\n[]\r\n",
    "chunk too long": request("POST", "/prediction", "Transfer-Encoding: chunked") + b"1\r\n[]\r\n0\r\n\r\n",
    "two hosts": request("GET", "/health", "Host: evil.example"),
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_what_is_no_proper_http_is_refused_as_a_problem(server, kind):
    refused(server.say(MALFORMED[kind]), 400)


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (request("GET", "/" + "x" * 5000, CLOSE), 414),
        (request("GET", "/health", "X-A: " + "x" * 9000, CLOSE), 431),
        (request("GET", "/health", *["X-A: 1"] * 200, CLOSE), 431),
        (b"GET /health HTTP/1.1\r\n" + b"X-A: 1\r\n" * 9000, 431),
        (request("POST", "/prediction", f"Content-Length: {10**6 * 2}"), 413),
        (request("POST", "/prediction", "Content-Length: " + "9" * 400), 413),
        (request("GET", "/health", "Expect: a miracle", CLOSE), 417),
        (request("GET", "/nowhere", CLOSE), 404),
        (request("DELETE", "/scoring", CLOSE), 405),
        (request("GET", "/health", CLOSE, host="evil.example"), 403),
    ],
    ids=[
        "long path",
        "long header",
        "many headers",
        "endless head",
        "large",
        "huge",
        "417",
        "404",
        "405",
        "403",
    ],
)
def test_a_limit_is_said_as_a_problem(server, raw, status):
    refused(server.say(raw), status)


def test_a_large_body_in_chunks_is_refused_while_it_comes(server):
    chunk = b"%x\r\n" % 65536 + b" " * 65536 + b"\r\n"
    head = request("POST", "/prediction", "Content-Type: text/csv", "Transfer-Encoding: chunked")
    with server.connect() as connection:
        connection.sendall(head)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for _ in range(MAX_BODY_MB * 16 + 1):
                connection.sendall(chunk)
        refused(read_all(connection), 413)


@pytest.mark.parametrize(
    "name", ["SCRIPT_NAME", "PATH_INFO", "REMOTE_ADDR", "Remote_Addr", "X_Forwarded_For"]
)
def test_a_header_that_looks_like_a_variable_changes_nothing(server, name):
    raw = server.say(request("GET", "/health", f"{name}: 10.0.0.1", CLOSE))
    assert parse(raw)[0] in (200, 400)


def test_a_body_in_chunks_is_a_body(server):
    head = request("POST", "/prediction", JSON_TYPE, "Transfer-Encoding: chunked", CLOSE)
    pieces = [b"%x;note=1\r\n%s\r\n" % (len(part), part) for part in (ROW[:7], ROW[7:])]
    status, _, body = parse(server.say(head, *pieces, b"0\r\nX-Trailer: 1\r\n\r\n"))
    assert status == 200 and len(json.loads(body)["predictions"]) == 1


def test_requests_in_one_breath_are_answered_in_their_order(server):
    first = request("POST", "/prediction", JSON_TYPE, body=ROW)
    raw = server.say(first + request("GET", "/health") + request("GET", "/scoring", CLOSE))
    assert raw.count(b"HTTP/1.1 200 OK") == 3
    assert raw.index(b'"predictions"') < raw.index(b'"workspace"') < raw.index(b'"latest_score"')


def test_a_client_that_waits_for_a_word_gets_it_once(server):
    head = request(
        "POST", "/prediction", JSON_TYPE, f"Content-Length: {len(ROW)}", "Expect: 100-continue", CLOSE
    )
    with server.connect() as connection:
        connection.sendall(head)
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(ROW)
        assert parse(read_all(connection))[0] == 200


def test_a_request_that_takes_too_long_to_arrive_is_408(server):
    with server.connect() as silent, server.connect() as slow:
        slow.sendall(b"GET /health HT")
        refused(read_all(slow), 408)
        assert read_all(silent) == b""


def test_healthy_clients_do_not_wait_for_slow_ones(server):
    """More slow clients than threads: their heads, bodies and silence cost nobody a thread."""
    beginnings = [b"", b"GET /hea", request("POST", "/prediction", JSON_TYPE, "Content-Length: 9") + b"["]
    with contextlib.ExitStack() as stack:
        for number in range(150):
            slow = stack.enter_context(server.connect())
            slow.sendall(beginnings[number % 3])
        started = time.monotonic()
        assert [server.predict([GOOD])[0] for _ in range(30)] == [200] * 30
        assert time.monotonic() - started < 2, "else the slow ones were only outlived"


def test_clients_that_take_no_answer_do_not_starve_the_others(server):
    """Each asks for more than its socket holds, and reads none of it."""
    rows = b"corporation,activity,colour\n" + b"x,5,red\n" * 20_000
    asked = request("POST", "/prediction", "Content-Type: text/csv", body=rows)
    with contextlib.ExitStack() as stack:
        for _ in range(12):
            make_greedy(stack, server, asked)
        assert [server.predict([GOOD])[0] for _ in range(30)] == [200] * 30


def make_greedy(stack, server, raw):
    """A client that asks for more than a socket holds, and takes none of it."""
    greedy = stack.enter_context(socket.socket())
    greedy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    greedy.connect(("127.0.0.1", server.port))
    greedy.sendall(raw)
    return greedy


def test_an_answer_that_nobody_takes_is_given_up_when_its_time_is_over(server):
    rows = b"corporation,activity,colour\n" + b"x,5,red\n" * 120_000
    with contextlib.ExitStack() as stack:
        greedy = make_greedy(
            stack, server, request("POST", "/prediction", "Content-Type: text/csv", body=rows)
        )
        assert is_established(greedy, server)
        wait_until(lambda: not is_established(greedy, server))
        assert len(read_all(greedy)) < 6 * 1024 * 1024


@pytest.mark.slow
def test_when_threads_run_short_those_who_take_no_answer_are_cut_off(copy):
    """Each thread is held by somebody who does not read; one honest client waits some seconds, no more."""
    path = copy / "models" / "diagnostics.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "trends": {"x": "y" * 5_000_000}}))
    with Server.of(copy, workers=1) as server, contextlib.ExitStack() as stack:
        for _ in range(70):
            make_greedy(stack, server, request("GET", "/diagnostics"))
        started = time.monotonic()
        assert server.predict([GOOD])[0] == 200
        assert time.monotonic() - started < 40, "an answer may take 60 s where nobody waits"
    assert server.process.returncode == 0 and server.said == (b"", b"")


HOSTILE = {
    "no token": (401, request("GET", "/health", "Via: 1.1 x", CLOSE)),
    "wrong token": (401, request("GET", "/scoring", "Authorization: Bearer x", CLOSE)),
    "wrong password": (401, request("GET", "/scoring", "Authorization: Basic eDp5", CLOSE)),
    "token in the URL": (401, request("GET", f"/health?token={TOKEN}", "Via: x", CLOSE)),
    "two tokens": (
        401,
        request("GET", "/health", f"Authorization: Bearer {TOKEN}", "Authorization: x", CLOSE),
    ),
    "a name that points here": (401, request("GET", "/health", CLOSE, host="evil.example")),
    "no name": (401, request("GET", "/health", CLOSE, host="")),
    "a broken name": (401, request("GET", "/health", CLOSE, host="[::1")),
    "two names": (400, request("GET", "/health", "Host: evil.example", CLOSE)),
    "a foreign page": (
        403,
        request("POST", "/prediction", JSON_TYPE, "Origin: http://localhost:1", CLOSE, body=ROW),
    ),
    "a hidden page": (403, request("POST", "/prediction", JSON_TYPE, "Origin: null", CLOSE, body=ROW)),
    "smuggled address": (401, request("GET", "/health", "X-Forwarded-For: 127.0.0.1", CLOSE)),
    "traversal": (404, request("GET", "/static/../../config.json", CLOSE)),
    "encoded traversal": (404, request("GET", "/%2e%2e/%2e%2e/etc/passwd", CLOSE)),
    "NUL in the path": (404, request("GET", "/health%00", CLOSE)),
    "escape in the path": (404, request("GET", "/%1b[2J%0d%0aX-A:%201", CLOSE)),
    "absolute URL": (404, request("GET", "http://evil.example/x", CLOSE)),
    "other method": (405, request("TRACE", "/health", CLOSE)),
    "tunnel": (405, request("CONNECT", "/health", CLOSE)),
    "NaN": (400, ask(b'[{"activity": NaN, "colour": "red"}]')),
    "too large a number": (400, ask(b'[{"activity": 1e999, "colour": "red"}]')),
    "a key twice": (400, ask(b'[{"activity": 1, "activity": 2, "colour": "red"}]')),
    "deep": (400, ask(b"[" * 30_000 + b"]" * 30_000)),
    "deep objects": (400, ask(b'{"a":' * 30_000)),
    "lone surrogate": (422, ask(b'[{"activity": "\\ud800", "colour": "red"}]')),
    "NUL in a filepath": (400, ask(b'{"filepath": "testdata/t.csv\\u0000"}')),
    "path": (403, ask(b'{"filepath": "/etc/passwd"}')),
    "path upwards": (403, ask(b'{"filepath": "testdata/../../secret.csv"}')),
    "URL": (403, ask(b'{"filepath": "http://127.0.0.1:9/x.csv"}')),
    "file URL": (403, ask(b'{"filepath": "file:///etc/passwd"}')),
    "link": (403, ask(b'{"filepath": "testdata/link.csv"}')),
    "linked folder": (403, ask(b'{"filepath": "linked/t.csv"}')),
    "pipe": (403, ask(b'{"filepath": "testdata/pipe.csv"}')),
    "folder": (403, ask(b'{"filepath": "testdata/folder.csv"}')),
    "hidden file": (403, ask(b'{"filepath": "testdata/.hidden.csv"}')),
    "no file": (404, ask(b'{"filepath": "testdata/none.csv"}')),
    "huge file": (413, ask(b'{"filepath": "testdata/huge.csv"}')),
    "huge body": (413, request("POST", "/prediction", f"Content-Length: {10**12}")),
    "web page": (400, ask(b"<html>", "text/csv")),
    "NUL in a CSV": (400, ask(b"activity,colour\n1,\0\n", "text/csv")),
    "archive": (400, ask(b"\x1f\x8b\x08" + b"x" * 50, "text/csv")),
    "form in a loop": (400, ask(b"--x\r\n" * 1000, "multipart/form-data; boundary=x")),
    "unknown kind": (415, ask(b"<a/>", "application/xml")),
}


@pytest.fixture(scope="module")
def guarded(root, tmp_path_factory):
    """A server with a token, and a data folder in which somebody has laid traps."""
    import shutil

    trapped = tmp_path_factory.mktemp("guarded") / "copy"
    shutil.copytree(root, trapped, symlinks=True)
    (trapped.parent / "secret.csv").write_text(f"activity,colour\n{SECRET},red\n")
    folder = trapped / "testdata"
    (folder / "link.csv").symlink_to(trapped.parent / "secret.csv")
    (folder / ".hidden.csv").write_text(f"activity,colour\n{SECRET},red\n")
    (folder / "folder.csv").mkdir()
    (trapped / "linked").symlink_to(folder)
    os.mkfifo(folder / "pipe.csv")
    with (folder / "huge.csv").open("wb") as huge:
        huge.truncate(10**12)
    (trapped / "risk.env").write_text(f"RISK_API_TOKEN={TOKEN}\n")
    (trapped / "risk.env").chmod(0o600)
    with Server.of(trapped, workers=1) as server:
        yield server
        assert server.call("GET", "/ready")[0] == 200
    assert server.process.returncode == 0 and server.said == (b"", b"")
    logged = "".join(path.read_text() for path in (trapped / "logs").iterdir())
    assert TOKEN not in logged and SECRET not in logged and "evil" not in logged and "\x1b" not in logged


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_is_hostile_is_refused_with_the_right_status_and_learns_nothing(guarded, kind):
    status, raw = HOSTILE[kind]
    answer = guarded.say(raw)
    refused(answer, status)
    assert TOKEN.encode() not in answer and SECRET.encode() not in answer and b"root:" not in answer


def test_requests_are_logged_without_their_contents(server, root):
    server.call("GET", f"/{TOKEN}?{TOKEN}", headers={"Authorization": f"Bearer {TOKEN}", "X-A": TOKEN})
    server.predict([{**GOOD, "corporation": TOKEN}])
    server.say(f"{TOKEN}\r\n\r\n".encode())
    server.say(request("GET", "/health", f"{TOKEN} : 1"))
    log = (root / "logs" / "api.log").read_text()
    assert "method=POST route=/prediction status=200 duration_ms=" in log
    assert "method=GET route=- status=404" in log and "refused before the application: status=400" in log
    assert TOKEN not in log


# --- many, and the end of some ---------------------------------------------------------------------------


def test_more_connections_than_there_are_places_push_out_the_oldest_that_wait(copy):
    """As many as the server may hold are silent or half-said; each new one is answered all the same."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (200, limits[1]))}
    with Server.of(copy, workers=1, options=few) as server, contextlib.ExitStack() as stack:
        for number in range(260):
            slow = stack.enter_context(server.connect())
            slow.sendall([b"", b"GET /he"][number % 2])
            if number % 20 == 19:
                assert server.predict([GOOD])[0] == 200
        kept = stack.enter_context(server.connect())
        kept.sendall(request("GET", "/health"))
        assert kept.recv(100).startswith(b"HTTP/1.1 200")
    assert server.process.returncode == 0 and server.said == (b"", b"")


def test_clients_of_every_bad_manner_at_once_leave_a_server_that_answers(copy):
    """Resets, half requests, pipelines, silence and garbage from many threads, then all is as before."""
    with Server.of(copy, workers=1) as server, ThreadPoolExecutor(16) as pool:

        def misbehave(seed):
            draw = random.Random(seed)
            for _ in range(25):
                with contextlib.suppress(OSError), server.connect() as connection:
                    connection.settimeout(5)
                    raw = draw.choice([request("GET", "/health"), ask(ROW), ask(b"{"), b"garbage\r\n\r\n"])
                    raw *= draw.choice([1, 1, 3])
                    connection.sendall(raw[: draw.choice([len(raw), draw.randrange(len(raw))])])
                    if draw.random() < 0.5:
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    elif draw.random() < 0.5:
                        connection.shutdown(socket.SHUT_WR)
                        read_all(connection)
            return seed

        assert sorted(pool.map(misbehave, range(16))) == [*range(16)]
        assert [server.predict([GOOD])[0] for _ in range(5)] == [200] * 5
        wait_until(lambda: count_sockets(server.worker()) < 12)
    assert server.process.returncode == 0 and server.said == (b"", b"")


def is_established(client, server):
    """Say whether neither end of a connection has closed it."""
    ends = [f":{server.port:04X}", f":{client.getsockname()[1]:04X}"]
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any([one[1][-5:], one[2][-5:]] == ends and one[3] == "01" for one in lines)


def count_sockets(pid):
    found = 0
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found += str(path.readlink()).startswith("socket:")
    return found


def wait_until(happens, timeout_s=30):
    until = time.monotonic() + timeout_s
    while not happens():
        assert time.monotonic() < until
        threading.Event().wait(0.1)


def test_it_ends_soon_though_clients_still_hang_on(copy):
    with Server.of(copy, workers=1) as server, contextlib.ExitStack() as stack:
        for piece in (b"", b"GET /he", request("GET", "/health")):
            stack.enter_context(server.connect()).sendall(piece)
        server.call("GET", "/health")
        started = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        stack.close()
        server.process.wait(60)
        assert time.monotonic() - started < 10
    assert server.process.returncode == 0


@pytest.mark.slow
def test_more_large_requests_than_can_wait_get_503_and_small_ones_are_answered(copy):
    """Those that are answered do not take their answers, so the next wait, and the ones after are refused."""
    rows = b"corporation,activity,colour\n" + (b"x" * 10_000 + b",5,red\n") * 500
    asked = request("POST", "/prediction", "Content-Type: text/csv", "Accept: text/csv", CLOSE, body=rows)
    n_places = http_server.LARGE_AT_ONCE + http_server.LARGE_WAITING
    with Server.of(copy, workers=1, max_body_mb=32) as server, contextlib.ExitStack() as stack:
        crowd = [make_greedy(stack, server, asked) for _ in range(n_places)]
        # On a busy machine one of the crowd may have been cut off (it takes no answer): its place is free.
        late = [server.say(asked) for _ in range(4)]
        assert {parse(raw)[0] for raw in late} <= {200, 503}
        turned_away = next(raw for raw in late if parse(raw)[0] == 503)
        refused(turned_away, 503)
        assert int(parse(turned_away)[1]["retry-after"]) > 0
        assert [server.predict([GOOD])[0] for _ in range(10)] == [200] * 10
        with ThreadPoolExecutor(n_places) as pool:
            assert {parse(raw)[0] for raw in pool.map(read_all, crowd)} == {200}


def test_a_killed_worker_is_replaced_and_after_a_second_nothing_fails(copy):
    with Server.of(copy) as server, ThreadPoolExecutor(8) as pool:
        victim = server.worker()
        stop, late = threading.Event(), []

        def keep_asking():
            while not stop.is_set():
                at = time.monotonic()
                try:
                    status = server.predict([GOOD])[0]
                except (OSError, http.client.HTTPException) as error:
                    status = type(error)
                late.append((at, status))

        asking = [pool.submit(keep_asking) for _ in range(8)]
        os.kill(victim, signal.SIGKILL)
        killed_at = time.monotonic()
        while time.monotonic() < killed_at + 2.5:
            stop.wait(0.1)
        stop.set()
        for one in asking:
            one.result()
        wait_until(lambda: len(server.workers()) == 2 and victim not in server.workers())
    after = [status for at, status in late if at > killed_at + 1]
    assert len(after) > 20 and set(after) == {200}


# --- the token -------------------------------------------------------------------------------------------


def test_the_token_opens_the_way_from_elsewhere_and_is_told_to_nobody(copy):
    (copy / "risk.env").write_text(f"RISK_API_TOKEN={TOKEN}\n")
    (copy / "risk.env").chmod(0o600)
    with Server.of(copy, host="0.0.0.0", workers=1) as server:  # noqa: S104
        far = {"X-Forwarded-For": "203.0.113.9", "Host": "risk.example"}
        bearer = {**far, "Authorization": f"Bearer {TOKEN}"}
        wrong = {**far, "Authorization": f"Bearer {TOKEN}x"}
        assert server.call("GET", "/health")[0] == 200
        assert server.call("GET", "/health", headers=bearer)[0] == 200
        said = [server.call("GET", path, headers=h) for h in (far, wrong) for path in ("/health", "/no")]
        assert {status for status, _ in said} == {401}
        raw = server.say(request("GET", "/health", "Via: x", CLOSE))
        assert b'www-authenticate: bearer realm="risk"' in raw.lower()
        assert b"www-authenticate: basic" in raw.lower()
        command = Path(f"/proc/{server.process.pid}/cmdline").read_text()
    everything = [json.dumps(said), raw.decode(), command, *map(bytes.decode, server.said)]
    everything += [path.read_text() for path in (copy / "logs").iterdir()]
    assert not any(TOKEN in text for text in everything)


def test_a_head_may_hold_its_longest_line_and_its_longest_header():
    assert parser.LARGEST_HEAD > parser.LONGEST_LINE + parser.LONGEST_HEADER


# --- releases --------------------------------------------------------------------------------------------


@pytest.mark.torture
def test_a_hundred_releases_are_swapped_under_load_and_every_answer_agrees_with_the_one_it_names(copy):
    deploy_new_world(copy)
    ids = [entry.name.partition("-")[2] for entry in sorted((copy / "production_deployment").glob("..r*"))]
    meant = dict(zip(ids, (1, 0), strict=True))  # what each says of a quiet client
    stop, found = threading.Event(), []
    asked = request("POST", "/prediction", JSON_TYPE, body=json.dumps([{**GOOD, "activity": 5}]).encode())

    def keep_asking(server):
        with server.connect() as connection:
            while not stop.is_set():
                connection.sendall(asked)
                raw = connection.recv(65536)
                while b"}]}" not in raw:
                    raw += connection.recv(65536)
                status, headers, body = parse(raw)
                said = json.loads(body)
                agrees = headers["x-release"] == said["release"] in meant
                found.append((status, agrees and said["predictions"][0]["class"] == meant[said["release"]]))

    with Server.of(copy) as server, ThreadPoolExecutor(8) as pool:
        asking = [pool.submit(keep_asking, server) for _ in range(8)]
        for number in range(100):
            release = ids[number % 2]
            assert deployment.main(["--config", str(copy / "config.json"), "--rollback", release]) == 0
        stop.set()
        for one in asking:
            one.result()
    print(f"100 flips: {len(found)} answers, {sum(one != (200, True) for one in found)} failed or mixed")
    assert len(found) > 1000 and set(found) == {(200, True)}
