"""The history: written once, read back to the last bit, and never in the way."""

import math
import sqlite3

import pytest
from conftest import make_clients

from risk import records
from risk.errors import ServiceError

AT = "2026-01-31T12:00:00.000001Z"


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'records.db'}"


def rows_of(url, table):
    with sqlite3.connect(url.removeprefix("sqlite:///")) as database:
        database.row_factory = sqlite3.Row
        return [dict(row) for row in database.execute(f"select * from {table}")]


def write(url, rows, at=AT):
    with records.open(url) as history:
        history.add(rows, at)


def test_values_come_back_as_they_were_written(url):
    value = 0.1 + 0.2
    write(
        url,
        {"drift": [{"rule": "score", "new_score": value, "n": 2**31 - 1, "drift": True, "reason": "é🙂"}]},
    )
    (row,) = rows_of(url, "drift")
    assert row["new_score"] == value and row["n"] == 2**31 - 1 and row["drift"] == 1
    assert row["reason"] == "é🙂" and row["at"] == AT


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_null(url, value):
    write(url, {"scores": [{"f1": value}]})
    assert rows_of(url, "scores")[0]["f1"] is None


def test_the_same_row_written_twice_is_there_once(url):
    row = {"key": ["a"], "release": "r", "action": "deployed"}
    write(url, {"releases": [row, row]})
    write(url, {"releases": [row]}, at="2027-01-01T00:00:00.000000Z")
    assert len(rows_of(url, "releases")) == 1
    write(url, {"releases": [row | {"key": ["b"]}]})
    assert len(rows_of(url, "releases")) == 2


def test_long_texts_are_cut_to_their_column(url):
    write(url, {"drift": [{"reason": "x" * 5000}]})
    assert len(rows_of(url, "drift")[0]["reason"]) == 1000


def test_rows_of_one_write_stand_or_fall_together(url):
    with pytest.raises(ValueError, match="no column wrong"):
        write(url, {"releases": [{"release": "r"}], "scores": [{"wrong": 1}]})
    write(url, {})
    assert rows_of(url, "releases") == []


def test_timings_are_the_last_run_and_how_many_there_were(url):
    write(url, {"timings": [{"stage": "training", "duration_s": 1.0}]}, at="2026-01-01T00:00:00.000000Z")
    write(url, {"timings": [{"stage": "training", "duration_s": 2.0}]}, at="2026-01-02T00:00:00.000000Z")
    with records.open(url) as history:
        found = history.latest_timings()
    assert found == {
        "ingestion": None,
        "training": {"duration_s": 2.0, "n_runs": 2, "at": "2026-01-02T00:00:00.000000Z"},
    }


def test_a_schema_of_another_version_is_refused(url):
    write(url, {})
    with sqlite3.connect(url.removeprefix("sqlite:///")) as database:
        database.execute("update schema_version set version = 99")
    with pytest.raises(ServiceError, match="schema version 99"):
        write(url, {})


def test_a_file_that_is_no_database_is_a_service_error(tmp_path):
    (tmp_path / "records.db").write_text("no database " * 100)
    with pytest.raises(ServiceError, match="history cannot be used"):
        write(f"sqlite:///{tmp_path / 'records.db'}", {})


def test_a_locked_database_costs_a_tick_nothing_but_a_warning(old_world):
    old_world.run("ingestion")
    with sqlite3.connect(old_world.root / "records.db", isolation_level=None) as blocker:
        blocker.execute("begin exclusive")
        assert old_world.run("training")["n_samples"] == 300
    assert "history cannot be used" in old_world.said


def test_every_stage_run_by_hand_writes_its_own(old_world):
    old_world.walk()
    old_world.put("sourcedata/c.csv", make_clients(300, "c", "new"))
    old_world.tick()
    url = f"sqlite:///{old_world.root / 'records.db'}"
    assert len(rows_of(url, "ingested_files")) == 3
    assert [row["action"] for row in rows_of(url, "releases")] == ["deployed", "deployed"]
    assert {row["stage"] for row in rows_of(url, "timings")} >= {
        "ingestion",
        "training",
        "scoring",
        "deployment",
    }
    assert len(rows_of(url, "ticks")) == len(rows_of(url, "drift")) == 1
    assert len(rows_of(url, "scores")) == 2
