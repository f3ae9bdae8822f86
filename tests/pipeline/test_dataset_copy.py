"""The accepted rows in SQL: typed, whole, each once, wherever a copy was cut off."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from history_kit import rows_of
from makers import csv_line, make_clients

from risk import digests
from risk.data.ledger import Ledger
from risk.errors import ServiceError
from risk.history import connections, dataset_copy, delivery

ROOT = Path(__file__).resolve().parents[2]
COLUMNS = ["corporation", "spend", "colour", "exited"]
ROWS = [
    ["Kraków 🙂 株式会社", "0.1", "red", "1"],
    ["007", "1e-320", "NA", "0"],
    ["'; drop table x; --", "", "", ""],
    ['"quoted", with comma', "true", "line\nbreak", "1"],
    ["back\\slash\\N", "123456789.12345679", "\\N", "0"],
]
VALUES = [0.1, 1e-320, None, 1.0, 123456789.12345679]


def never():
    return False


def make_ledger(path, rows, *, columns=COLUMNS, numbers=("spend",), source="sourcedata"):
    """Write a table as ingestion would, with its record."""
    lines = b"".join(csv_line(row) for row in [columns, *rows])
    path.write_bytes(lines)
    digest = digests.TableDigest()
    digest.update(lines)
    kinds = {name: "number" if name in numbers else "text" for name in columns[1:-1]}
    schema = {"columns": list(columns), "kinds": kinds, "target": columns[-1], "positive": ["1"],
              "negative": ["0"], "ids": [columns[0]], "ignored": []}  # fmt: skip
    return Ledger(
        source=source, row_key="", schema=schema, length=len(lines), digest=digest.hexdigest(),
        blocks=tuple(digest.blocks), rows=len(rows),
    )  # fmt: skip


def sync(url, path, ledger, deadline=never, chunk_cells=delivery.CHUNK_CELLS):
    with connections.opened(url) as engine:
        return dataset_copy.sync(engine, path, ledger, deadline=deadline, chunk_cells=chunk_cells)


def copied(url, name="dataset_sourcedata"):
    return sorted(rows_of(url, name), key=lambda row: row["row_id"])


def many(n):
    return [[f"client {number}", str(number), "red", "1"] for number in range(n)]


def test_values_arrive_typed_and_texts_as_they_are(tmp_path, database_url):
    path = tmp_path / "finaldata.csv"
    done = sync(database_url, path, make_ledger(path, ROWS))
    assert done == dataset_copy.Copied(rows=5, complete=True, rebuilt=True)
    found = copied(database_url)
    assert [row["spend"] for row in found] == VALUES
    assert [[row["corporation"], row["colour"], row["exited"]] for row in found] == [
        [client, colour or None, exited or None] for client, _, colour, exited in ROWS
    ]
    assert [row["row_id"] for row in found] == [1, 2, 3, 4, 5]
    with connections.connect(database_url, reads=True) as connection:
        kinds = {c["name"]: c["type"] for c in sa.inspect(connection).get_columns("dataset_sourcedata")}
    assert isinstance(kinds["spend"], sa.Float | sa.Double) and isinstance(kinds["corporation"], sa.String)


def test_only_what_is_new_is_brought_and_each_row_once(tmp_path, database_url):
    path = tmp_path / "finaldata.csv"
    sync(database_url, path, make_ledger(path, many(10)))
    assert sync(database_url, path, make_ledger(path, many(10))) == dataset_copy.Copied(0, True, False)
    assert sync(database_url, path, make_ledger(path, many(25))) == dataset_copy.Copied(15, True, False)
    assert [row["spend"] for row in copied(database_url)] == list(range(25))


def test_a_copy_that_was_cut_off_goes_on_where_it_was(tmp_path, database_url):
    path = tmp_path / "finaldata.csv"
    ledger = make_ledger(path, many(95))
    for n_before in (0, 20, 40, 60, 80):
        answers = iter([False, False, True])
        done = sync(database_url, path, ledger, lambda answers=answers: next(answers, True), chunk_cells=40)
        assert done.rows == min(20, 95 - n_before)
    assert done.complete and [row["spend"] for row in copied(database_url)] == list(range(95))


def test_a_copy_that_was_cut_off_goes_on_though_the_table_has_grown(tmp_path, database_url):
    path = tmp_path / "finaldata.csv"
    answers = iter([False, False, True])
    sync(database_url, path, make_ledger(path, many(55)), lambda: next(answers), chunk_cells=40)
    assert sync(database_url, path, make_ledger(path, many(70))).rows == 50
    assert [row["spend"] for row in copied(database_url)] == list(range(70))


@pytest.mark.parametrize("change", ["rows", "columns", "kinds"])
def test_another_table_takes_the_place_of_the_old_copy_when_it_is_whole(tmp_path, database_url, change):
    path = tmp_path / "finaldata.csv"
    sync(database_url, path, make_ledger(path, many(20)))
    changed = {
        "rows": {"rows": [["other", *row[1:]] for row in many(30)]},
        "columns": {"rows": many(30), "columns": ["corporation", "spend", "paint", "exited"]},
        "kinds": {"rows": many(30), "numbers": ()},
    }[change]
    ledger = make_ledger(path, **changed)
    answers = iter([False, True])
    assert sync(database_url, path, ledger, lambda: next(answers), chunk_cells=40) == dataset_copy.Copied(
        10, False, True
    )
    assert len(copied(database_url)) == 20, "readers see the old copy while the new one is made"
    assert sync(database_url, path, ledger) == dataset_copy.Copied(20, True, True)
    assert len(copied(database_url)) == 30
    with connections.connect(database_url, reads=True) as connection:
        names = {n for n in sa.inspect(connection).get_table_names() if n.startswith("dataset_")}
    assert names == {"dataset_sourcedata", "dataset_copies"}


def test_each_input_folder_has_a_table_of_its_own(tmp_path, database_url):
    path = tmp_path / "finaldata.csv"
    for source in ("sourcedata", "practicedata", "../Ärger/Data"):
        sync(database_url, path, make_ledger(path, ROWS[:2], source=source))
    assert len(copied(database_url)) == len(copied(database_url, "dataset_practicedata")) == 2
    assert len(copied(database_url, dataset_copy.table_name("../Ärger/Data"))) == 2
    assert dataset_copy.table_name("a/b") != dataset_copy.table_name("a_b") != dataset_copy.table_name("A_b")


ODD = ["", "select", "Größe", "größe", "a b", "x%y", "a(b)", 'q"q', "b`b", "t't", "row_id", "ROW_ID",
       "n" * 200, "n" * 201, "é" * 100, "🙂", "tab\there", " lead", "a.b", ":c",
       "%(d)s", "?", "c0"]  # fmt: skip


def test_columns_of_any_name_are_held_apart(tmp_path, database_url):
    columns = ["id", *ODD, "exited"]
    path = tmp_path / "finaldata.csv"
    rows = [[str(100 * r + c) for c in range(len(columns))] for r in range(3)]
    sync(database_url, path, make_ledger(path, rows, columns=columns, numbers=ODD[:5]))
    names = dataset_copy.column_names(columns)
    assert len({name.casefold() for name in names}) == len(columns)
    assert all(0 < len(name.encode()) <= 63 for name in names)
    for row, expected in zip(copied(database_url), rows, strict=True):
        assert [float(row[name]) for name in names] == [float(cell) for cell in expected]


def test_more_columns_than_the_database_allows_are_a_clear_error(tmp_path, database_url):
    columns = [f"c{n}" for n in range(2_100)]
    path = tmp_path / "finaldata.csv"
    ledger = make_ledger(path, [["1"] * 2_100], columns=columns)
    with pytest.raises(ServiceError, match=r"2,100 columns are more than .* allows"):
        sync(database_url, path, ledger)


COPIER = """
import sys
sys.path[:0] = [sys.argv[1], *(sys.argv[1] + name for name in ("/tests/support", "/tests/pipeline"))]
from pathlib import Path
from test_dataset_copy import make_ledger, many, sync
path = Path(sys.argv[2])
def told():
    print("chunk", flush=True)
    return False
sync(sys.argv[3], path, make_ledger(path, many(3000)), told, chunk_cells=80)
"""


def test_killed_during_a_copy_no_row_is_lost_or_doubled(tmp_path, database_url):
    path = tmp_path / "finaldata.csv"
    process = subprocess.Popen(
        [sys.executable, "-c", COPIER, ROOT, path, database_url], stdout=subprocess.PIPE, text=True
    )
    for _ in range(8):
        assert process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    done = sync(database_url, path, make_ledger(path, many(3000)))
    assert done.complete and 0 < done.rows < 3000, "the fault did happen, and it went on"
    assert [row["spend"] for row in copied(database_url)] == list(range(3000))


@pytest.mark.slow
def test_two_who_copy_at_once_double_nothing(tmp_path, database_url):
    path = tmp_path / "finaldata.csv"
    make_ledger(path, many(3000))
    both = [
        subprocess.Popen(
            [sys.executable, "-c", COPIER, ROOT, tmp_path / f"{name}.csv", database_url],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for name in "ab"
    ]  # fmt: skip
    errors = [process.communicate(timeout=120)[1] for process in both]
    assert all(not error or "ServiceError" in error for error in errors), errors
    sync(database_url, path, make_ledger(path, many(3000)))
    assert [row["spend"] for row in copied(database_url)] == list(range(3000))


# --- in a tick -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_store_datasets_keeps_the_accepted_rows_of_each_tick(old_world, database_url, monkeypatch):
    monkeypatch.setenv("RISK_DATABASE_URL", database_url)
    old_world.configure(store_datasets=True)
    old_world.tick()
    assert len(copied(database_url)) == 300
    old_world.put("sourcedata/c.csv", make_clients(50, "c"))
    old_world.tick()
    found = copied(database_url)
    assert len(found) == 350
    assert [row["corporation"] for row in found[-50:]] == [f"client-c-{n}" for n in range(50)]
    assert {type(row["activity"]) for row in found} == {float}


def test_it_can_be_switched_on_later_and_an_idle_tick_brings_the_rows(old_world):
    old_world.tick()
    old_world.configure(store_datasets=True)
    old_world.tick()
    url = f"sqlite:///{old_world.root / 'records.db'}"
    assert len(copied(url)) == 300
    before = (old_world.root / "records.db").stat().st_mtime_ns
    old_world.tick()
    assert (old_world.root / "records.db").stat().st_mtime_ns == before, "an idle tick opens nothing"


def test_a_copy_waits_for_a_database_that_is_down(old_world, own_server, monkeypatch):
    old_world.configure(store_datasets=True)
    with own_server.fresh_database() as url:
        monkeypatch.setenv("RISK_DATABASE_URL", url)
        own_server.stop()
        assert old_world.tick()["deployed"]
        own_server.start()
        (old_world.root / ".state" / "outbox" / ".retry.json").unlink()
        old_world.tick()
        assert len(copied(url)) == 300


def test_a_server_that_goes_silent_in_the_middle_costs_the_budget(tmp_path, own_server, monkeypatch):
    path = tmp_path / "finaldata.csv"
    ledger = make_ledger(path, many(100))
    really, calls = dataset_copy.insert, []

    def freeze(*arguments, **named):
        calls.append(1)
        if len(calls) == 4:
            own_server.freeze()
        really(*arguments, **named)

    with own_server.fresh_database() as url:
        monkeypatch.setattr(dataset_copy, "insert", freeze)
        started = time.monotonic()
        with pytest.raises(ServiceError, match="no answer within"):
            delivery.copy(url, path, ledger, chunk_cells=40)
        assert time.monotonic() - started < 8
        own_server.thaw()
        monkeypatch.setattr(dataset_copy, "insert", really)
        deadline = time.monotonic() + 30
        while True:  # the writer that was left behind ends when the server answers it
            try:
                sync(url, path, ledger)
                break
            except ServiceError:
                assert time.monotonic() < deadline
        assert [row["spend"] for row in copied(url)] == list(range(100))


@pytest.mark.slow
def test_a_million_rows_are_copied_in_constant_memory(tmp_path, database_url):
    code = (
        "import sys; sys.path[:0] = [sys.argv[1], sys.argv[1] + '/tests/support']\n"
        "sys.path.append(sys.argv[1] + '/tests/pipeline')\n"
        "from pathlib import Path\nfrom test_dataset_copy import make_ledger, many, sync\n"
        "path = Path(sys.argv[2])\n"
        "ledger = make_ledger(path, many(1_000_000))\n"
        "import json; from dataclasses import asdict\n"
        "Path(sys.argv[3]).write_text(json.dumps(asdict(ledger)))"
    )
    path, facts = tmp_path / "finaldata.csv", tmp_path / "ledger.json"
    subprocess.run([sys.executable, "-c", code, ROOT, path, facts], check=True)
    copier = (
        "import json, sys; sys.path[:0] = [sys.argv[1], sys.argv[1] + '/tests/support']\n"
        "sys.path.append(sys.argv[1] + '/tests/pipeline')\n"
        "from pathlib import Path\nfrom risk.data.ledger import Ledger\nfrom test_dataset_copy import sync\n"
        "raw = json.loads(Path(sys.argv[3]).read_text()); raw['blocks'] = tuple(raw['blocks'])\n"
        "done = sync(sys.argv[4], Path(sys.argv[2]), Ledger(**raw))\n"
        # ru_maxrss would be that of the process which started this one
        "peak = next(line for line in open('/proc/self/status') if line.startswith('VmHWM'))\n"
        "print(done.rows, int(peak.split()[1]) // 1024)"
    )
    told = subprocess.check_output([sys.executable, "-c", copier, ROOT, path, facts, database_url], text=True)
    n_rows, memory_mb = map(int, told.split())
    assert n_rows == 1_000_000 and memory_mb < 400
    with connections.connect(database_url, reads=True) as connection:
        asked = "select count(*), count(distinct row_id), sum(spend) from dataset_sourcedata"
        assert tuple(connection.exec_driver_sql(asked).one()) == (10**6, 10**6, sum(range(10**6)))
