"""Records reach an SQLite history without SQLAlchemy, and are there as SQLAlchemy would have left them."""

import math
import sqlite3
import subprocess
import sys
from contextlib import closing, nullcontext
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from makers import make_clients

from risk.errors import ServiceError
from risk.history import connections, delivery, lite, migrations, outbox, store, tables

ROOT = Path(__file__).resolve().parents[2]
AT = "2026-01-31T12:00:00.000001Z"
TABLES = [name for name in migrations.METADATA.tables if name != "schema_version"]
COLUMNS = {name: set(migrations.METADATA.tables[name].columns.keys()) - {"id", "at"} for name in TABLES}


def make(path):
    """Make an empty history and give its URL."""
    url = f"sqlite:///{path}"
    with store.open(url):
        pass
    return url


def dump(url):
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        return list(connection.iterdump())


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    return make(folder / "lite.db"), make(folder / "sqlalchemy.db")


VALUES = {
    "VARCHAR": st.text(max_size=1200) | st.sampled_from(["half \ud83d", "a\0b", "é" * 1100]),
    "INTEGER": st.integers(-(2**63), 2**63 - 1),
    "BIGINT": st.integers(-(2**63), 2**63 - 1),
    "DOUBLE": st.floats() | st.integers(-(2**53), 2**53),
    "BOOLEAN": st.booleans(),
}


@st.composite
def written(draw):
    """Draw rows of a table, some with a key of their own, some without a value."""
    name = draw(st.sampled_from(TABLES))
    columns = migrations.METADATA.tables[name].columns
    row = {
        column: st.none() | VALUES[str(columns[column].type).partition("(")[0]]
        for column in sorted(COLUMNS[name])
    }
    key = {"key": st.lists(st.integers(0, 3), min_size=1, max_size=2)}
    rows = draw(st.lists(st.fixed_dictionaries({}, optional=row | key), min_size=1, max_size=4))
    return {name: rows}


@settings(max_examples=60)
@given(several=st.lists(written(), min_size=1, max_size=4), before=st.sampled_from(["2026", "2026-02"]))
def test_rows_are_there_and_pruned_as_with_sqlalchemy(pair, several, before):
    for url, way in zip(pair, (lite, store), strict=True):
        with way.open(url) as opened:
            for number, rows in enumerate(several):
                opened.add(rows, f"2026-01-{number + 1:02d}T12:00:00.000001Z")
    assert dump(pair[0]) == dump(pair[1])
    n_gone = []
    for url, way in zip(pair, (lite, store), strict=True):
        with way.open(url) as opened:
            n_gone.append(opened.prune(before))
    assert n_gone[0] == n_gone[1] and dump(pair[0]) == dump(pair[1])


def test_much_old_detail_is_pruned_piece_by_piece(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "PRUNED_AT_ONCE", 4)
    urls, pruned = [make(tmp_path / "lite.db"), make(tmp_path / "sqlalchemy.db")], []
    for url, way in zip(urls, (lite, store), strict=True):
        for day in range(1, 8):
            with way.open(url) as opened:
                rows = {"missing_values": [{"column_name": name} for name in "abc"]}
                opened.add(rows, f"2026-01-{day:02d}T00:00:00.000000Z")
        for _ in range(4):
            with way.open(url) as opened:
                pruned.append(opened.prune("2026-01-06T00:00:00.000000Z"))
    assert pruned == [6, 6, 3, 0] * 2 and dump(urls[0]) == dump(urls[1])


@pytest.mark.parametrize(
    "rows",
    [
        {"scores": [{"n": 2**70}]},
        {"schema_version": [{}]},
        {"unheard": [{}]},
        {"scores": [{"unheard": 1}]},
        {"scores": [{"f1": "word"}]},
        {"ticks": [{"drift": "perhaps"}]},
    ],
)
def test_what_sqlalchemy_refuses_is_refused_and_nothing_of_it_written(tmp_path, rows):
    for way in (lite, store):
        url = make(tmp_path / f"{way.__name__}.db")
        before = dump(url)
        with pytest.raises((ServiceError, *delivery.REFUSALS)), way.open(url) as opened:
            opened.add({"releases": [{"key": [1]}]}, AT)
            opened.add(rows, AT)
        assert dump(url) == before


@pytest.mark.parametrize(
    ("said", "waits"),
    [
        ("drop table timings", True),
        ("alter table timings rename column duration_s to dur", True),
        ("alter table timings add column site text not null default 'berlin'", False),
    ],
)
def test_tables_that_another_hand_has_changed_are_met_as_by_sqlalchemy(tmp_path, said, waits):
    for way in (lite, store):
        url = make(tmp_path / f"{way.__name__}.db")
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            connection.execute(said)
        expected = pytest.raises(ServiceError, match="cannot be used") if waits else nullcontext()
        with expected as raised, way.open(url) as opened:
            opened.add({"timings": [{"stage": "training", "duration_s": 1}]}, AT)
        if waits:
            assert not delivery._is_refusal(raised.value), "it waits until the tables are mended"
        else:
            assert "'berlin'" in str(dump(url))


def test_a_file_that_cannot_even_be_looked_for_is_an_error_of_the_database(tmp_path):
    outbox.append(tmp_path / "outbox", {"releases": [{"key": [1]}]}, AT)
    with pytest.raises(ServiceError, match="unable to open"):
        delivery.deliver(tmp_path / "outbox", f"sqlite:///{tmp_path}/{'x' * 300}.db")


def test_it_is_wal_and_synced_as_with_sqlalchemy(tmp_path):
    url = make(tmp_path / "records.db")
    asked = ("pragma journal_mode", "pragma synchronous", "pragma busy_timeout")
    with lite.open(url) as opened:
        here = [opened.connection.execute(line).fetchone()[0] for line in asked]
    with connections.connect(url) as connection:
        there = [connection.exec_driver_sql(line).scalar() for line in asked]
    assert here == there == ["wal", 2, 3000]


@pytest.mark.parametrize("said", ["", "delete from schema_version", "drop table schema_version"])
def test_a_history_of_another_version_is_left_to_sqlalchemy(tmp_path, said):
    url = make(tmp_path / "records.db")
    with closing(sqlite3.connect(tmp_path / "records.db")) as connection:
        connection.execute(said)
        connection.execute("create table another (id text)")
        connection.commit()
    with lite.open(url) as opened:
        assert (opened is None) == bool(said)
    outbox.append(tmp_path / "outbox", {"releases": [{"key": [1]}]}, AT)
    assert delivery.deliver(tmp_path / "outbox", url).n_batches == 1
    with lite.open(url) as opened:
        assert opened is not None, "it has been completed"


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///{}/none.db",
        "sqlite:///{}/records.db?timeout=1",
        "sqlite:///file:{}/records.db?uri=true",
        "sqlite:///{}/records%2edb",
        "sqlite:///:memory:",
        "sqlite:///",
        "mysql://user@127.0.0.1:1/{}",
    ],
)
def test_every_other_url_is_left_to_sqlalchemy(tmp_path, url):
    make(tmp_path / "records.db")
    with lite.open(url.format(tmp_path)) as opened:
        assert opened is None
    assert [path.name for path in tmp_path.iterdir()] == ["records.db"]


def test_odd_names_of_files_are_the_same_to_both(tmp_path):
    for name in ("with space.db", "é+ü.db", "#frag;ment&.db"):
        url = make(tmp_path / name)
        assert (tmp_path / name).is_file()
        with lite.open(url) as opened:
            assert opened is not None


WITHOUT = """
import sys
sys.modules["sqlalchemy"] = None  # whoever imports it fails
sys.path.insert(0, sys.argv[1])
import ingestion
raise SystemExit(ingestion.main(["--config", sys.argv[2]]))
"""


def test_a_script_that_only_writes_its_records_needs_no_sqlalchemy(workspace):
    """To load it took longer than to take up ten thousand rows."""
    workspace.put("sourcedata/a.csv", make_clients(40, 1))
    workspace.run("ingestion")
    workspace.put("sourcedata/b.csv", make_clients(40, 2))
    command = [sys.executable, "-c", WITHOUT, ROOT, workspace.config_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stderr == ""
    assert outbox.waiting(workspace.root / ".state" / "outbox") == []
    with closing(sqlite3.connect(workspace.root / "records.db")) as connection:
        assert connection.execute("select count(*) from ingested_files").fetchone() == (2,)


def test_a_value_that_is_not_finite_is_null(tmp_path):
    url = make(tmp_path / "records.db")
    with lite.open(url) as opened:
        opened.add({"scores": [{"f1": math.nan, "auc": math.inf}]}, AT)
    with closing(sqlite3.connect(tmp_path / "records.db")) as connection:
        assert connection.execute("select f1, auc from scores").fetchone() == (None, None)
