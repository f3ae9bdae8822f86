"""CSV in, CSV out: every row comes back, in order, safe for a spreadsheet, in memory that does not grow."""

import csv
import io
import shutil

import pytest
from api_kit import GOOD, Server, client_of
from makers import HEADER, make_clients

from risk.serving import responses

CSV = {"content_type": "text/csv"}


@pytest.fixture(scope="module")
def client(served):
    return client_of(served)


def ask(client, data, **more):
    answer = client.post("/prediction", data=data, headers={"Accept": "text/csv"}, **(more or CSV))
    assert answer.status_code == 200 and answer.mimetype == "text/csv", answer.text
    assert answer.headers["Content-Disposition"] == 'attachment; filename="predictions.csv"'
    return answer, list(csv.reader(io.StringIO(answer.get_data(as_text=True))))


def test_rows_come_back_with_what_json_says_of_them(client):
    text = "".join(",".join(row) + "\n" for row in [HEADER, *make_clients(50, "x")])
    answer, (header, *rows) = ask(client, text)
    said = client.post("/prediction", data=text, **CSV).json
    assert header == [*HEADER, *responses.ADDED]
    assert answer.headers["X-Release"] == said["release"]
    assert [row[:4] for row in rows] == make_clients(50, "x")
    assert [(int(row[4]), float(row[5]), row[6]) for row in rows] == [
        (one["class"], one["probability"], "") for one in said["predictions"]
    ]


def test_bad_rows_come_back_in_their_place_with_what_is_wrong(client):
    _, rows = ask(client, 'corporation;activity;colour\na;5;red\nb;seven;red\nc;95\n"d\nd";;blue\n')
    assert [(row[0], row[3], row[5]) for row in rows[1:]] == [
        ("a", "1", ""),
        ("b", "", "line 3: activity is not a number"),
        ("c", "", "line 4: has 2 cells where the header has 3"),
        ("d\nd", rows[4][3], ""),
    ]
    assert {len(row) for row in rows} == {6} and rows[4][3] in ("0", "1")


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        ("=1+1", "'=1+1"),
        ("+1 (555)", "'+1 (555)"),
        ("-x", "'-x"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
        ("-5", "-5"),
        ("+1.5e3", "+1.5e3"),
        ("Müller & Söhne", "Müller & Söhne"),
        ("007", "007"),
    ],
)
def test_a_cell_that_a_spreadsheet_would_run_is_text_and_a_number_stays_one(client, cell, shown):
    _, (header, row) = ask(client, f'corporation,activity,colour,"=x"\n"{cell}",-5,red,"{cell}"\n')
    assert (row[0], row[1], row[3]) == (shown, "-5", shown)
    assert header[3] == "'=x"


def test_an_answer_can_be_asked_again_and_its_columns_are_replaced(client):
    first, rows = ask(client, "corporation,activity,colour\na,5,red\n")
    _, same = ask(client, first.get_data())
    assert same == rows


@pytest.mark.parametrize(
    "request_",
    [
        {"json": [GOOD]},
        {"json": {"filepath": "testdata/t.csv"}},
        {"data": {"file": (io.BytesIO(b"activity,colour\n1,red\n"), "x.csv")}},
    ],
    ids=["rows", "filepath", "form"],
)
def test_every_kind_of_request_may_be_answered_in_csv(client, request_):
    answer = client.post("/prediction", headers={"Accept": "text/csv, application/json;q=0.5"}, **request_)
    assert answer.mimetype == "text/csv" and answer.text.count("\n") >= 2
    assert answer.text.splitlines()[0].endswith("predicted_class,predicted_probability,problem")


@pytest.mark.parametrize(
    "accept", [None, "*/*", "application/json", "text/html", "application/json, text/csv"]
)
def test_json_is_the_answer_where_csv_is_not_wanted_more(client, accept):
    headers = {} if accept is None else {"Accept": accept}
    assert client.post("/prediction", json=[GOOD], headers=headers).mimetype == "application/json"


def test_what_is_wrong_with_the_whole_is_a_problem_in_json_all_the_same(client):
    answer = client.post("/prediction", data=b"<html>", headers={"Accept": "text/csv"}, **CSV)
    assert answer.status_code == 400 and answer.mimetype == "application/problem+json"


def test_no_rows_get_a_header(client):
    _, rows = ask(client, "activity,colour\n")
    assert rows == [["activity", "colour", *responses.ADDED]]
    answer = client.post("/prediction", json=[], headers={"Accept": "text/csv"})
    assert answer.text == "corporation,activity,colour,predicted_class,predicted_probability,problem\n"


def peak_mb(pid):
    with open(f"/proc/{pid}/status") as status:  # noqa: PTH123
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))


@pytest.mark.slow
def test_a_hundred_thousand_rows_go_through_in_bounded_memory(served, tmp_path):
    root = tmp_path / "copy"
    shutil.copytree(served, root, symlinks=True)
    body = b"corporation,activity,colour\n" + b"a client with a name,57,red\n" * 100_000
    kinds = {"Content-Type": "text/csv", "Accept": "text/csv"}
    with Server.of(root, workers=1, max_body_mb=16) as server:
        worker = server.worker()
        server.predict([GOOD])
        before = peak_mb(worker)
        status, lines = server.read_lines("POST", "/prediction", body, kinds)
        assert status == 200 and lines == 100_001
        after = peak_mb(worker)
    assert after < 300, (before, after)
