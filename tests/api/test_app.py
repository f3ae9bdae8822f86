"""The API through its own door: who may ask, what may be asked, and what is answered."""

import io
import json
import os
import pickle
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest
from api_kit import (
    DIAGNOSTICS,
    GOOD,
    KEYS,
    MAX_BODY_MB,
    client_of,
    configure,
    deploy_new_world,
    problem,
    write,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import app as api
import deployment
from config import load_config
from risk.model import registry
from risk.serving import file_access, requested, routes


@pytest.fixture
def bare(tmp_path):
    """A workspace in which nothing was run yet."""
    (tmp_path / "config.json").write_text(json.dumps(KEYS))
    return client_of(tmp_path)


@pytest.fixture(scope="module")
def client(served):
    return client_of(served)


def ask(client, rows):
    return client.post("/prediction", json=rows)


# --- prediction ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [lambda rows: rows, lambda rows: {"rows": rows}], ids=["list", "rows"])
def test_json_rows_are_answered_in_their_order_with_ids_and_release(client, served, wrap):
    rows = [{**GOOD, "corporation": name, "activity": n} for name, n in [("z", 5), ("a", 95), ("m", "5")]]
    answer = ask(client, wrap(rows))
    assert answer.status_code == 200
    manifest = served / "production_deployment" / "..data"
    assert manifest.resolve().name.endswith(answer.json["release"])
    found = answer.json["predictions"]
    assert [list(one) for one in found] == [["row", "corporation", "class", "probability"]] * 3
    assert [(one["row"], one["corporation"], one["class"]) for one in found] == [
        (1, "z", 1),
        (2, "a", 0),
        (3, "m", 1),
    ]
    assert found[0]["probability"] == pytest.approx(found[2]["probability"])


def test_the_answer_is_what_the_pickle_says(client, served):
    table = pd.read_csv(served / "testdata" / "t.csv")
    with (served / "production_deployment" / "trainedmodel.pkl").open("rb") as handle:
        model = pickle.load(handle)
    answer = client.post("/prediction", json={"filepath": "testdata/t.csv"})
    found = answer.json["predictions"]
    assert [one["class"] for one in found] == model.predict(table).tolist()
    assert [one["probability"] for one in found] == model.predict_proba(table)[:, 1].tolist()
    assert [one["corporation"] for one in found] == table["corporation"].tolist()


@pytest.mark.parametrize(
    "row",
    [
        GOOD,
        {**GOOD, "exited": "perhaps"},
        {**GOOD, "colour": "ultraviolet"},
        {**GOOD, "colour": None, "activity": None},
        {**GOOD, "activity": " 12 "},
        {**GOOD, "activity": True},
        {**GOOD, "activity": 1e99},
        {**GOOD, "corporation": None},
        {"activity": 1, "colour": "red"},
        {**GOOD, "extra": {"nested": [1]}},
    ],
    ids=lambda row: str(row)[:60],
)
def test_a_row_the_model_can_take_is_answered(client, row):
    (found,) = ask(client, [row]).json["predictions"]
    assert found["class"] in (0, 1) and 0 <= found["probability"] <= 1
    assert found["corporation"] == row.get("corporation")


def test_no_rows_get_an_empty_answer(client):
    assert ask(client, []).json["predictions"] == []
    assert (
        client.post("/prediction", data="activity,colour\n", content_type="text/csv").json["predictions"]
        == []
    )


def test_text_from_data_comes_back_as_it_is_and_is_never_html(client):
    answer = ask(client, [{**GOOD, "corporation": "<script>Ω\u2028\"'"}])
    assert answer.json["predictions"][0]["corporation"] == "<script>Ω\u2028\"'"
    assert answer.mimetype == "application/json"
    assert "Müller & Söhne" in ask(client, [GOOD]).text


@pytest.mark.parametrize(
    ("row", "column", "reason"),
    [
        ({**GOOD, "activity": "seven"}, "activity", "is not a number"),
        ({**GOOD, "activity": "inf"}, "activity", "is not a number"),
        ({**GOOD, "activity": int("9" * 400)}, "activity", "is not a number"),
        ({**GOOD, "activity": 1e101}, "activity", "is too large"),
        ({**GOOD, "activity": [1]}, "activity", "is neither text, a number, true, false nor null"),
        ({**GOOD, "colour": {"a": 1}}, "colour", "is neither text, a number, true, false nor null"),
        ({**GOOD, "colour": "\ud800"}, "colour", "is neither text, a number, true, false nor null"),
        ({**GOOD, "corporation": [1]}, "corporation", "is neither text, a number, true, false nor null"),
    ],
    ids=lambda value: str(value)[:50].encode("ascii", "replace").decode(),
)
def test_a_bad_value_refuses_all_json_rows_naming_row_column_and_reason(client, row, column, reason):
    body = json.dumps([GOOD, row])
    found = problem(client.post("/prediction", data=body, content_type="application/json"), 422)
    assert found["problems"] == [{"row": 2, "column": column, "reason": reason}]
    assert column in found["detail"] and "row 2" in found["detail"]


@pytest.mark.parametrize("lacking", ["activity", "colour"])
def test_a_missing_column_is_named(client, lacking):
    row = {name: value for name, value in GOOD.items() if name != lacking}
    assert lacking in problem(ask(client, [GOOD, row]), 400)["detail"]
    text = ",".join(row) + "\n" + ",".join(map(str, row.values())) + "\n"
    found = problem(client.post("/prediction", data=text.encode(), content_type="text/csv"), 400)
    assert lacking in found["detail"]
    assert found["problems"] == [{"column": lacking, "reason": "is missing"}]


def test_the_list_of_problems_is_cut(client):
    found = problem(ask(client, [{**GOOD, "activity": "x"}] * 1000), 422)
    assert len(found["problems"]) == requested.MAX_PROBLEMS
    assert "many more" in found["detail"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"7",
        b'"text"',
        b"{}",
        b'{"rows": 7}',
        b'{"rows": [], "filepath": "testdata/t.csv"}',
        b"[7]",
        b"[[]]",
        b"[NaN]",
        b'[{"activity": Infinity, "colour": "red"}]',
        b'[{"activity": 1e999, "colour": "red"}]',
        b'[{"activity": -1e999, "colour": "red"}]',
        b'[{"activity": 1, "activity": 2, "colour": "red"}]',
        b'{"rows": [], "rows": []}',
        b'[{"activity": ' + b"1" * 5000 + b', "colour": "red"}]',
        b"[" * 100_000,
        b"[" * 30_000 + b"]" * 30_000,
        b'{"a":' * 100_000,
        b"\xff\xfe[\x00]\x00",
        b'["\xe9"]',
    ],
    ids=lambda body: repr(body[:40]),
)
def test_a_malformed_body_is_400(client, body):
    problem(client.post("/prediction", data=body, content_type="application/json"), 400)


def test_a_csv_body_gives_the_good_rows_and_lists_the_bad(client):
    text = 'corporation;activity;colour\na;5;red\nb;seven;red\nc;95\n"d\nd";95;blue\n\ne;1e200;red\n'
    answer = client.post("/prediction", data=text, content_type="text/csv; charset=UTF-8")
    assert answer.status_code == 200
    found = [
        (one["row"], one["line"], one["corporation"], one["class"]) for one in answer.json["predictions"]
    ]
    assert found == [(1, 2, "a", 1), (4, 5, "d\nd", 0)]
    assert answer.json["rejected"] == [
        {"row": 2, "line": 3, "column": "activity", "reason": "is not a number"},
        {"row": 3, "line": 4, "column": None, "reason": "has 2 cells where the header has 3"},
        {"row": 5, "line": 8, "column": "activity", "reason": "is too large"},
    ]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"<html></html>",
        b"a,a\n1,2\n",
        b"activity,colour\n1,\0\n",
        "activity,colour\n1,é\n".encode("latin-1"),
    ],
    ids=["empty", "html", "column twice", "NUL", "latin-1"],
)
def test_a_csv_that_is_no_table_is_400_with_the_reason(client, text):
    found = problem(client.post("/prediction", data=text, content_type="text/csv"), 400)
    assert found["detail"].startswith("the CSV ")


def test_a_csv_with_a_hostile_header_is_refused_at_once(client):
    quoted = b'"' + b"\n" * (MAX_BODY_MB * file_access.MIB - 100)
    problem(client.post("/prediction", data=quoted, content_type="text/csv"), 400)
    many = ",".join(f"{n:x}" for n in range(150_000)).encode()
    problem(client.post("/prediction", data=many, content_type="text/csv"), 400)


def test_an_uploaded_file_is_read_as_a_csv(client, served):
    data = (served / "testdata" / "t.csv").read_bytes()
    answer = client.post("/prediction", data={"file": (io.BytesIO(data), "../../evil.csv")})
    assert len(answer.json["predictions"]) == 120
    assert answer.json["rejected"] == []


@pytest.mark.parametrize("names", [[], ["a", "b"]], ids=["no file", "two files"])
def test_a_form_must_hold_one_file(client, names):
    data = {name: (io.BytesIO(b"activity,colour\n"), "x.csv") for name in names} | {"note": "hello"}
    problem(client.post("/prediction", data=data, content_type="multipart/form-data"), 400)


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "text/csv; charset=utf-16", ""]
)
def test_another_content_type_is_415(client, kind):
    problem(client.post("/prediction", data=b"activity,colour\n1,red\n", content_type=kind), 415)


@pytest.mark.parametrize("kind", ["application/json", "text/csv", "multipart/form-data; boundary=x"])
@pytest.mark.parametrize("with_length", [True, False], ids=["length", "chunked"])
def test_a_body_over_the_limit_is_413(client, kind, with_length):
    data = b" " * (MAX_BODY_MB * file_access.MIB + 1)
    length = {} if with_length else {"CONTENT_LENGTH": "", "wsgi.input_terminated": True}
    answer = client.post("/prediction", data=data, content_type=kind, environ_overrides=length)
    assert "1 MiB" in problem(answer, 413)["detail"]


def test_a_body_up_to_the_limit_is_read_whole(client):
    row = b"x,5,red\n"
    data = b"corporation,activity,colour\n"
    n = (MAX_BODY_MB * file_access.MIB - len(data)) // len(row) // 20
    assert (
        len(client.post("/prediction", data=data + row * n, content_type="text/csv").json["predictions"]) == n
    )
    padded = json.dumps([GOOD]).encode().ljust(MAX_BODY_MB * file_access.MIB)
    assert client.post("/prediction", data=padded, content_type="application/json").status_code == 200


# --- filepath --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["testdata/t.csv", "./testdata/../sourcedata/a.csv"])
def test_a_file_of_a_data_folder_is_read(client, served, path):
    assert client.post("/prediction", json={"filepath": path}).status_code == 200
    assert client.post("/prediction", json={"filepath": str(served / path)}).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../x.csv",
        "testdata/../../x.csv",
        "file:///etc/passwd",
        "http://127.0.0.1/x.csv",
        "s3://bucket/x.csv",
        "config.json",
        "ingesteddata/finaldata.csv",
        "testdata",
        "testdata/",
        "testdata/.hidden.csv",
        "testdata/notes.txt",
        "testdata/deep/x.csv",
        "/dev/zero",
        "~/x.csv",
        "testdata/link.csv",
        "testdata/pipe.csv",
        "testdata/folder.csv",
        "linked/t.csv",
    ],
)
def test_what_is_no_file_of_a_data_folder_is_refused(copy, tmp_path, path):
    write(tmp_path / "x.csv", [["c", "1", "red", "0"]])
    write(copy / "testdata" / "deep" / "x.csv", [["c", "1", "red", "0"]])
    write(copy / "testdata" / ".hidden.csv", [["c", "1", "red", "0"]])
    (copy / "testdata" / "notes.txt").write_text("activity,colour\n")
    (copy / "testdata" / "link.csv").symlink_to(tmp_path / "x.csv")
    (copy / "testdata" / "folder.csv").mkdir()
    (copy / "linked").symlink_to(copy / "testdata")
    os.mkfifo(copy / "testdata" / "pipe.csv")
    found = problem(client_of(copy).post("/prediction", json={"filepath": path}), 403)
    assert found["detail"].startswith("filepath")


@pytest.mark.parametrize("path", [7, None, "", ["x"], "a\0.csv", "testdata/\ud800.csv"], ids=repr)
def test_a_filepath_that_names_nothing_is_400(client, path):
    body = json.dumps({"filepath": path})
    problem(client.post("/prediction", data=body, content_type="application/json"), 400)


def test_a_missing_or_a_large_file_is_told_apart(copy):
    (copy / "testdata" / "large.csv").write_bytes(b"activity,colour\n" + b"1,red\n" * 200_000)
    client = client_of(copy)
    problem(client.post("/prediction", json={"filepath": "testdata/none.csv"}), 404)
    problem(client.post("/prediction", json={"filepath": f"testdata/{'x' * 300}.csv"}), 403)
    assert (
        "1 MiB" in problem(client.post("/prediction", json={"filepath": "testdata/large.csv"}), 413)["detail"]
    )


# --- any body --------------------------------------------------------------------------------------------

CELLS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
NAMES = st.sampled_from(["corporation", "activity", "colour", "exited", "rows", "filepath"]) | st.text()
JSON = st.recursive(
    CELLS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
ROWS = st.lists(st.fixed_dictionaries({"corporation": CELLS, "activity": CELLS, "colour": CELLS}), max_size=4)


@given(body=JSON | ROWS | st.builds(lambda rows: {"rows": rows}, JSON | ROWS))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_json_body_is_answered_or_refused_and_breaks_nothing(client, body):
    answer = client.post("/prediction", data=json.dumps(body), content_type="application/json")
    assert answer.status_code in (200, 400, 403, 404, 422)
    json.loads(answer.text, parse_constant=pytest.fail)


@given(body=st.binary(max_size=200) | st.text(alphabet='activity,colour\n"; 1', max_size=60).map(str.encode))
@settings(max_examples=100, deadline=None)
def test_any_bytes_are_answered_or_refused_and_break_nothing(client, body):
    for kind in ("application/json", "text/csv", "multipart/form-data; boundary=x"):
        answer = client.post("/prediction", data=body, content_type=kind)
        assert answer.status_code in (200, 400, 422)


# --- what is told ----------------------------------------------------------------------------------------


def test_scoring_tells_the_metrics_of_the_deployed_release(client, served):
    answer = client.get("/scoring")
    score = float((served / "production_deployment" / "latestscore.txt").read_text())
    assert answer.json["latest_score"] == answer.json["f1"] == score
    assert answer.json["n"] == 120
    assert answer.json["release"] == client.get("/ready").json["release"]


def test_summarystats_and_diagnostics_tell_the_last_diagnosis(client):
    assert client.get("/summarystats").json == {
        name: DIAGNOSTICS[name] for name in ("n_rows", "n_unlabelled", "statistics")
    }
    found = client.get("/diagnostics").json
    assert found == {
        name: DIAGNOSTICS[name]
        for name in ("n_rows", "missing", "timings", "dependencies", "dependencies_at")
    } | {"trends": {}, "verdict": None}, "an earlier version wrote neither"


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"n_rows": 1}'])
def test_damaged_diagnostics_are_503_with_the_remedy(copy, text):
    (copy / "models" / "diagnostics.json").write_text(text)
    for path in ("/summarystats", "/diagnostics"):
        assert "run diagnostics.py" in problem(client_of(copy).get(path), 503)["detail"]


def test_before_anything_ran_the_server_lives_but_is_not_ready(bare, tmp_path):
    assert bare.get("/health").json["status"] == "ok"
    for path in ("/ready", "/scoring", "/summarystats", "/diagnostics"):
        answer = bare.get(path)
        assert str(tmp_path) not in problem(answer, 503)["detail"]
        assert int(answer.headers["Retry-After"]) > 0
    assert "nothing is deployed yet" in problem(ask(bare, [GOOD]), 503)["detail"]


def test_no_request_writes(served, client):
    def state():
        return {path: path.lstat().st_mtime_ns for path in served.rglob("*")}

    before = state()
    for path in ("/scoring", "/summarystats", "/diagnostics", "/health", "/ready"):
        assert client.get(path).status_code == 200
    client.post("/prediction", data={"file": (io.BytesIO(b"activity,colour\n" + b"1,red\n" * 999), "x.csv")})
    assert state() == before


def test_health_knows_its_workspace_and_does_not_say_where_it_is(client, copy):
    here, there = client.get("/health").json, client_of(copy).get("/health").json
    assert here["workspace"] != there["workspace"]
    assert "/" not in json.dumps(here)


# --- releases --------------------------------------------------------------------------------------------


def test_a_new_release_is_served_without_restart_and_a_rollback_too(copy):
    client = client_of(copy)
    quiet = {**GOOD, "activity": 5}
    first = ask(client, [quiet]).json
    deploy_new_world(copy)
    second = ask(client, [quiet]).json
    assert second["release"] != first["release"]
    assert second["predictions"][0]["class"] != first["predictions"][0]["class"]
    assert deployment.main(["--config", str(copy / "config.json"), "--rollback"]) == 0
    assert ask(client, [quiet]).json == first


def test_a_release_that_is_swept_away_while_it_is_read_is_no_error(copy, monkeypatch):
    configure(copy, deployment={"keep_releases": 1})
    client = client_of(copy)
    client.get("/ready")
    read, swaps = registry.read, [lambda: deploy_new_world(copy)]

    def read_after_a_swap(*arguments):
        if swaps:
            swaps.pop()()
        return read(*arguments)

    monkeypatch.setattr(registry, "read", read_after_a_swap)
    assert client.get("/scoring").json["release"] == client.get("/ready").json["release"]
    assert len([*(copy / "production_deployment").glob("..r*")]) == 1 and not swaps


def damage(path):
    path = path.resolve()
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"!")


def test_in_place_of_a_damaged_new_release_the_one_before_is_served_and_health_says_so(copy):
    before = client_of(copy).get("/ready").get_json()["release"]
    deploy_new_world(copy)
    damage(copy / "production_deployment" / "trainedmodel.pkl")
    client = client_of(copy)
    assert ask(client, [GOOD]).get_json()["release"] == before
    assert client.get("/scoring").get_json()["release"] == before
    for name in ("/health", "/ready"):
        told = client.get(name).get_json()
        assert told["status"] == "degraded" and "was changed after deployment" in told["problem"]
        assert "deployment.py" in told["problem"] and str(copy) not in told["problem"]
    assert deployment.main(["--config", str(copy / "config.json"), "--rollback"]) == 0
    assert client.get("/ready").get_json() == {"status": "ready", "release": before}


def test_a_release_put_right_without_another_link_is_served_again(copy):
    deploy_new_world(copy)
    path = (copy / "production_deployment" / "metrics.json").resolve()
    good = path.read_bytes()
    damage(path)
    client = client_of(copy)
    assert client.get("/ready").get_json()["status"] == "degraded"
    path.write_bytes(good)
    assert client.get("/ready").get_json()["status"] == "ready"


def test_a_damaged_release_with_none_before_it_is_503_with_reason_and_remedy(copy):
    client = client_of(copy)
    damage(copy / "production_deployment" / "trainedmodel.pkl")
    for answer in (client.get("/ready"), ask(client, [GOOD])):
        detail = problem(answer, 503)["detail"]
        assert "was changed after deployment" in detail and "deployment.py" in detail
        assert str(copy) not in answer.text
        assert answer.headers["Retry-After"]
    assert deployment.main(["--config", str(copy / "config.json")]) == 0
    assert client.get("/ready").status_code == 200


def test_a_release_copied_without_links_is_503(copy):
    folder = copy / "production_deployment"
    target = (folder / "..data").resolve()
    (folder / "..data").unlink()
    shutil.copytree(target, folder / "..data")
    problem(client_of(copy).get("/ready"), 503)
    problem(client_of(copy).get("/scoring"), 503)


def test_a_model_of_another_scikit_learn_is_503_and_its_score_is_still_told(copy, monkeypatch):
    monkeypatch.setattr("importlib.metadata.version", lambda name: "0.1")
    client = client_of(copy)
    assert "training.py" in problem(ask(client, [GOOD]), 503)["detail"]
    assert client.get("/scoring").status_code == 200


def test_a_file_that_cannot_be_read_is_503_without_its_path(copy):
    (copy / "models" / "diagnostics.json").unlink()
    (copy / "models" / "diagnostics.json").mkdir()
    answer = client_of(copy).get("/diagnostics")
    assert problem(answer, 503)["detail"].startswith("models/diagnostics.json: Is a directory")


def test_no_path_of_this_machine_is_told_whatever_the_system_says(copy, monkeypatch):
    def fail(_):
        raise PermissionError(13, "Permission denied", "/var/lib/some body/else's/secret.json")

    monkeypatch.setattr(routes.outbox, "describe", fail)
    detail = problem(client_of(copy).get("/health"), 503)["detail"]
    assert detail == "secret.json: Permission denied; check owner and mode"


def test_many_threads_share_one_model(copy):
    app = api.create_app(load_config(copy / "config.json"))
    with ThreadPoolExecutor(8) as pool:
        answers = [*pool.map(lambda _: ask(app.test_client(), [GOOD]).json, range(40))]
    assert all(answer == answers[0] for answer in answers)


# --- who may ask -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1:8000", "127.0.0.2", "[::1]:8000"])
def test_this_machine_is_answered(client, host):
    assert client.get("/health", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example:8000", "10.0.0.1", "[::2]", "[::1", "127.0.0.1.nip.io"]
)
def test_a_name_that_only_points_here_is_refused(client, host):
    problem(client.get("/health", headers={"Host": host}), 403)


@pytest.mark.parametrize("address", ["10.0.0.1", "192.168.1.5", "::ffff:10.0.0.1", "", None])
def test_a_request_from_off_loopback_is_refused(client, address):
    for path in ("/health", "/scoring", "/nowhere"):
        problem(client.get(path, environ_overrides={"REMOTE_ADDR": address}), 403)


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": "10.0.0.1"},
        {"Forwarded": "for=10.0.0.1"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
    ids=str,
)
def test_a_proxy_or_a_foreign_page_is_refused(client, headers):
    problem(client.get("/health", headers=headers), 403)


def test_a_page_of_this_machine_is_answered(client):
    assert client.get("/health", headers={"Origin": "http://localhost:3000"}).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/prediction", 405),
        ("PUT", "/prediction", 405),
        ("POST", "/scoring", 405),
        ("DELETE", "/diagnostics", 405),
        ("POST", "/health", 405),
        ("PUT", "/", 405),
        ("GET", "/scoring/", 404),
        ("GET", "/console", 404),
        ("GET", "/static/../config.json", 404),
    ],
)
def test_a_wrong_method_or_path_is_a_problem(client, method, path, status):
    answer = client.open(path, method=method)
    problem(answer, status)
    assert ("Allow" in answer.headers) == (status == 405)


def test_every_answer_has_the_safe_headers(client):
    for answer in (client.get("/health"), client.get("/nowhere"), ask(client, [GOOD]), ask(client, 7)):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")


def test_a_bug_is_500_without_its_traceback(copy, monkeypatch, caplog):
    client = client_of(copy)
    monkeypatch.setattr(routes, "workspace_id", lambda _: 1 / 0)
    found = problem(client.get("/health"), 500)
    assert "division" not in json.dumps(found)
    assert "ZeroDivisionError" in caplog.text


def test_there_is_no_debugger_and_no_development_server():
    for name in ("app.py", "wsgi.py", "gunicorn.conf.py", "apicalls.py"):
        text = (api.HERE / name).read_text()
        assert "app.run(" not in text and "debug" not in text


def test_wsgi_is_the_door_for_other_servers(served, monkeypatch):
    import importlib

    monkeypatch.setenv("RISK_CONFIG", str(served / "config.json"))
    monkeypatch.delitem(sys.modules, "wsgi", raising=False)
    door = importlib.import_module("wsgi").app
    assert door.test_client().get("/ready").status_code == 200
    assert not door.debug and Path(door.root_path) == api.HERE


# --- the list -----------------------------------------------------------------------------------------------


def test_clients_are_given_most_at_risk_first_a_part_at_a_time(client):
    first = client.get("/clients?limit=10").json
    assert first["n_clients"] == first["n_found"] > 100 and first["offset"] == 0
    assert [line["rank"] for line in first["clients"]] == list(range(1, 11))
    risk = [line["probability"] for line in first["clients"]]
    assert risk == sorted(risk, reverse=True) and first["clients"][0]["reasons"]
    later = client.get("/clients?limit=3&offset=5").json
    assert later["clients"] == first["clients"][5:8]


def test_clients_are_found_by_risk_and_id_and_put_in_another_order(client):
    low = client.get("/clients?risk=low&limit=1000").json
    assert 0 < low["n_found"] < low["n_clients"] and {line["risk"] for line in low["clients"]} == {"low"}
    name = low["clients"][0]["id"]["corporation"]
    found = client.get("/clients", query_string={"search": name.upper()}).json
    assert name in {line["id"]["corporation"] for line in found["clients"]}
    everyone = client.get("/clients?sort=name&limit=1000").json["clients"]
    named = [line["id"]["corporation"] for line in everyone]
    assert named == sorted(named) and len(named) == low["n_clients"]
    assert len(client.get("/clients?sort=moved").json["clients"]) == 50


def test_clients_are_given_as_csv_where_it_is_preferred(client):
    answer = client.get("/clients?limit=2", headers={"Accept": "text/csv"})
    assert answer.mimetype == "text/csv"
    header, *lines = answer.text.splitlines()
    assert header.startswith("rank,corporation,probability,") and len(lines) == 2


@pytest.mark.parametrize("asked", ["limit=1001", "limit=-1", "offset=x", "risk=huge", "sort=age", "limit=٣"])
def test_a_part_of_the_list_that_makes_no_sense_is_400(client, asked):
    problem(client.get(f"/clients?{asked}"), 400)
