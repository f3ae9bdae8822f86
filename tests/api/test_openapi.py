"""openapi.json says what the application does: every route, every status, every answer."""

import json
import os
import re
import subprocess
import sys

import pytest
import schemathesis
from api_kit import GOOD, KEYS, MAX_BODY_MB, Server, client_of

import app as api
from config import load_config
from risk.serving import auth, file_access

TEXT = (api.HERE / "static" / "openapi.json").read_text(encoding="utf-8")
DOCUMENT = json.loads(TEXT)
# For people and not for programs: the page, its form, and what it looks like.
PAGE = {("get", "/"), ("post", "/"), ("get", "/static/<name>")}
OPERATIONS = [(method, path) for path, methods in DOCUMENT["paths"].items() for method in methods]
# What the server answers before the application sees a request; tests/test_worker.py provokes each.
BY_THE_SERVER = {400, 408, 414, 417, 431, 503}
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "unsupported_method",
    "allow_header_conformance",
)
CSV = {"content_type": "text/csv"}
ROWS = {"json": [GOOD]}
FORM = (
    b'--x\r\nContent-Disposition: form-data; name="any"; filename="x.csv"\r\n\r\n'
    b"activity,colour\n1,red\n\r\n--x--\r\n"
)
# Requests that get each status of /prediction.
PREDICTION = [
    (200, ROWS),
    (200, {"json": {"rows": []}}),
    (200, {"json": {"filepath": "testdata/t.csv"}}),
    (200, {"data": b"corporation,activity,colour\nc,1,red\nd,x,red\n", **CSV}),
    (200, {"data": FORM, "content_type": "multipart/form-data; boundary=x"}),
    (200, {"json": [GOOD], "headers": {"Accept": "text/csv"}}),
    (400, {"json": 7}),
    (400, {"json": [{}]}),
    (400, {"data": b"a,a\n1,2\n", **CSV}),
    (403, {"json": {"filepath": "/etc/passwd"}}),
    (404, {"json": {"filepath": "testdata/none.csv"}}),
    (413, {"data": b" " * (MAX_BODY_MB * file_access.MIB + 1), **CSV}),
    (415, {"data": b"x", "content_type": "text/plain"}),
    (422, {"json": [{**GOOD, "activity": "seven"}]}),
]


def documented(method, path):
    return {int(status) for status in DOCUMENT["paths"][path][method]["responses"]}


SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)


def conforms(method, path, answer):
    """Check an answer by the document; an undocumented status or another body is a failure."""
    assert answer.status_code in documented(method, path)
    SCHEMA[path][method.upper()].validate_response(answer)
    return answer.status_code


def test_the_document_is_served_as_it_is(served):
    assert client_of(served).get("/openapi.json").text == TEXT
    assert DOCUMENT["openapi"].startswith("3.1.")


def test_its_routes_are_those_of_the_application(served):
    rules = api.create_app(load_config(served / "config.json")).url_map.iter_rules()
    found = {(method.lower(), rule.rule) for rule in rules for method in rule.methods - {"HEAD", "OPTIONS"}}
    assert found - PAGE == set(OPERATIONS) and found >= PAGE


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_every_documented_status_is_given_and_looks_as_documented(
    served, tmp_path, monkeypatch, method, path
):
    """Ask well, from elsewhere, without the token, with nothing deployed, and with an internal error."""
    (tmp_path / "config.json").write_text(json.dumps(KEYS))
    ask = ROWS if method == "post" else {}
    far = {**ask, "environ_overrides": {"REMOTE_ADDR": "10.0.0.1"}}
    monkeypatch.delenv("RISK_API_TOKEN", raising=False)
    client = client_of(served)
    answers = [client.open(path, method=method, **far)]
    for _, request in PREDICTION if path == "/prediction" else [(200, {})]:
        answers.append(client.open(path, method=method, **request))
    answers.append(client_of(tmp_path).open(path, method=method, **ask))
    monkeypatch.setenv("RISK_API_TOKEN", "needed")
    answers.append(client_of(served).open(path, method=method, **far))
    monkeypatch.setattr(auth, "check", lambda *_: 1 / 0)
    answers.append(client_of(served).open(path, method=method, **ask))
    found = {conforms(method, path, answer) for answer in answers}
    assert found | BY_THE_SERVER == documented(method, path)
    needs = ("/prediction", "/scoring", "/summarystats", "/diagnostics", "/clients", "/ready")
    assert (503 in found) == (path in needs)


@pytest.mark.parametrize(("status", "request_"), PREDICTION, ids=lambda value: str(value)[:50])
def test_a_request_of_the_list_gets_its_status(served, status, request_):
    assert client_of(served).post("/prediction", **request_).status_code == status


def test_every_name_that_is_referred_to_is_there_and_used():
    referred = set(re.findall(r'"#/components/([^"]+)"', TEXT))
    there = {f"{kind}/{name}" for kind, parts in DOCUMENT["components"].items() for name in parts}
    assert referred == {name for name in there if not name.startswith("securitySchemes/")}


# --- any request -----------------------------------------------------------------------------------------


def run_schemathesis(served, tmp_path_factory, n_examples):
    """Let schemathesis ask a real server; give how many cases passed."""
    import shutil

    root = tmp_path_factory.mktemp("fuzzed") / "copy"
    shutil.copytree(served, root, symlinks=True)
    with Server.of(root) as server:
        command = [
            *(sys.executable, "-P", "-m", "schemathesis.cli", "run"),
            f"http://127.0.0.1:{server.port}/openapi.json",
            *("--phases", "examples,coverage,fuzzing"),
            *("--mode", "all"),
            *("--max-examples", str(n_examples)),
            *("--checks", ",".join(CHECKS)),
            "--no-color",
        ]
        environment = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert server.said == (b"", b"")
    generated, passed = map(int, re.search(r"(\d+) generated, (\d+) passed", done.stdout).groups())
    assert generated == passed
    return passed


def test_schemathesis_finds_nothing(served, tmp_path_factory):
    assert run_schemathesis(served, tmp_path_factory, 15) > 80


@pytest.mark.torture
def test_schemathesis_finds_nothing_in_ten_thousand_cases(served, tmp_path_factory):
    n_cases = run_schemathesis(served, tmp_path_factory, 5_000)  # of each operation, where there are so many
    print(f"schemathesis: {n_cases} cases, 0 failed")
    assert n_cases >= 10_000
