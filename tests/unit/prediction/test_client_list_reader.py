"""What the list says of clients: pages, one risk, a search, as data and as CSV."""

import csv
import io
import threading

import pytest

from risk.errors import ArtifactError, MissingArtifactError
from risk.prediction import client_list_reader

IDS = ["corporation", "branch"]
RISKS = ("high", "medium", "low")


def make_line(rank, ids=("ACME", "north"), risk="high", reasons=("tenure 2, usually 29", "", "")):
    own = {
        "probability": "0.8423",
        "probability_low": "0.8000",
        "probability_high": "",
        "risk": risk,
        "expected_loss": "79.89",
        "rank_change": "+3",
        "probability_change": "-0.0100",
        **dict(zip(client_list_reader.REASONS, reasons, strict=True)),
        "release": "r1",
        "data": "d1",
    }
    return [str(rank), *ids, *(own[name] for name in client_list_reader.OWN)]


def write(path, lines, ids=IDS):
    with path.open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle, lineterminator="\n").writerows([client_list_reader.make_header(ids), *lines])
    return path


@pytest.fixture
def some(tmp_path):
    """Thirty clients, the first ten of high risk, then medium, then low."""
    lines = [make_line(k + 1, (f"Client {k}", "Åre" if k % 2 else ""), RISKS[k // 10]) for k in range(30)]
    return client_list_reader.load_client_list(write(tmp_path / "atrisk.csv", lines))


def ranks(page):
    return [client["rank"] for client in page.to_json()["clients"]]


def test_a_line_is_data_with_numbers_as_numbers_and_none_for_empty(tmp_path):
    line = make_line(1, ("名前, Inc.", ""), reasons=("a 1, usually 2", 'b: "x"', ""))
    (client,) = (
        client_list_reader.load_client_list(write(tmp_path / "a.csv", [line])).page().to_json()["clients"]
    )
    assert client == {
        "rank": 1,
        "id": {"corporation": "名前, Inc.", "branch": None},
        "probability": 0.8423,
        "probability_low": 0.8,
        "probability_high": None,
        "risk": "high",
        "expected_loss": 79.89,
        "rank_change": 3,
        "probability_change": -0.01,
        "release": "r1",
        "data": "d1",
        "reasons": ["a 1, usually 2", 'b: "x"'],
    }


@pytest.mark.parametrize(
    ("asked", "wanted", "n_found"),
    [
        ({}, range(1, 31), 30),
        ({"limit": 3}, [1, 2, 3], 30),
        ({"offset": 28}, [29, 30], 30),
        ({"offset": 30}, [], 30),
        ({"limit": 0}, [], 30),
        ({"offset": -5, "limit": 2}, [1, 2], 30),
        ({"risk": "medium", "limit": 2, "offset": 1}, [12, 13], 10),
        ({"risk": "none"}, [], 0),
        ({"search": "client 2"}, [3, *range(21, 31)], 11),
        ({"search": "CLIENT 29"}, [30], 1),
        ({"search": "åre", "risk": "low"}, [22, 24, 26, 28, 30], 5),
        ({"search": "nobody"}, [], 0),
        ({"search": "9\nClient"}, [], 0),
    ],
)
def test_a_page_holds_what_was_asked_for_in_order(some, asked, wanted, n_found):
    page = some.page(**asked)
    assert ranks(page) == list(wanted) and page.n_found == n_found and page.n_clients == 30


def test_a_page_holds_no_more_than_a_thousand_lines(tmp_path):
    many = client_list_reader.load_client_list(
        write(tmp_path / "a.csv", [make_line(k + 1) for k in range(1001)])
    )
    assert len(ranks(many.page(limit=10**9))) == 1000


def test_as_csv_a_page_has_the_lines_as_they_are_in_the_file(some, tmp_path):
    whole = (tmp_path / "atrisk.csv").read_bytes()
    assert some.page().to_csv() == whole
    assert some.page(offset=29).to_csv().splitlines() == [whole.splitlines()[0], whole.splitlines()[-1]]


def test_an_id_of_several_lines_stays_with_its_line(tmp_path):
    lines = [make_line(1, ("one\ntwo", 'say "hi"')), make_line(2, ("three", "")), make_line(3, ("two", ""))]
    found = client_list_reader.load_client_list(write(tmp_path / "a.csv", lines))
    assert ranks(found.page(search="two")) == [1, 3] and ranks(found.page(offset=1, limit=1)) == [2]
    rows = list(csv.reader(io.StringIO(found.page(limit=1).to_csv().decode(), newline="")))
    assert rows[1][1:3] == ["one\ntwo", 'say "hi"']


def test_an_empty_list_has_empty_pages(tmp_path):
    page = client_list_reader.load_client_list(write(tmp_path / "a.csv", [])).page(search="x")
    assert page.to_json() == {"n_clients": 0, "n_found": 0, "offset": 0, "clients": []}


def test_without_a_list_it_says_what_to_run(tmp_path):
    with pytest.raises(MissingArtifactError, match=r"run diagnostics\.py"):
        client_list_reader.load_client_list(tmp_path / "a.csv")
    with pytest.raises(MissingArtifactError):
        client_list_reader.ClientListCache(tmp_path / "a.csv").get()


@pytest.mark.parametrize(
    "data",
    [b"", b"a,b\n1,2\n", b"rank,corporation\n", b"\xff\xfe\0", b'rank,"'],
    ids=["empty", "another", "cut header", "bytes", "quote"],
)
def test_a_damaged_list_is_said_to_be_one(tmp_path, data):
    path = tmp_path / "a.csv"
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match=r"is damaged .*run diagnostics\.py"):
        client_list_reader.load_client_list(path)


def test_a_torn_line_is_damage(tmp_path):
    path = write(tmp_path / "a.csv", [make_line(1), make_line(2)])
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ArtifactError, match="line 3 has"):
        client_list_reader.load_client_list(path)


def test_the_latest_list_is_read_once_and_again_when_it_is_another(tmp_path):
    path = write(tmp_path / "a.csv", [make_line(1)])
    latest = client_list_reader.ClientListCache(path)
    first = latest.get()
    assert latest.get() is first
    write(tmp_path / "new.csv", [make_line(1), make_line(2)]).replace(path)
    assert len(ranks(latest.get().page())) == 2
    assert len(ranks(first.page())) == 1, "who holds the old one reads it whole"


def test_many_threads_read_one_list(tmp_path):
    latest = client_list_reader.ClientListCache(
        write(tmp_path / "a.csv", [make_line(k + 1) for k in range(500)])
    )
    found = []
    threads = [threading.Thread(target=lambda: found.append(latest.get())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 and len(set(map(id, found))) == 1
