"""dbsetup.py creates and upgrades, says what it did, and with --check only tells."""

from pathlib import Path

import pytest
from history_kit import EARLIER, Hurried, make_earlier, rows_of, shape

import dbsetup
from risk.history import delivery, migrations, outbox, tables


@pytest.fixture
def at_database(workspace, database_url, monkeypatch):
    monkeypatch.setenv("RISK_DATABASE_URL", database_url)
    return workspace


def say(workspace, *arguments):
    workspace.capsys.readouterr()
    assert dbsetup.main(["--config", str(workspace.config_path), *arguments]) == 0
    return workspace.capsys.readouterr().out


def test_it_creates_the_tables_and_says_so(at_database, database_url):
    assert f"created, schema version {tables.VERSION}" in say(at_database)
    assert set(shape(database_url)) == set(migrations.METADATA.tables)
    assert f"schema version {tables.VERSION}, up to date" in say(at_database)


def test_check_tells_and_changes_nothing(at_database, database_url):
    told = say(at_database, "--check")
    assert "has no history yet" in told and "would create the tables" in told
    if database_url.startswith("sqlite"):
        assert not Path(database_url.removeprefix("sqlite:///")).exists()
    else:
        assert shape(database_url) == {}
    say(at_database)
    assert "up to date" in say(at_database, "--check")


@pytest.mark.parametrize("path", EARLIER, ids=lambda path: path.stem)
def test_it_upgrades_an_earlier_version_and_says_the_steps(at_database, database_url, path):
    make_earlier(database_url, path)
    before, version = shape(database_url), int(path.stem.removeprefix("version_"))
    steps = [text for number, text in tables.CHANGES.items() if number > version]
    told = say(at_database, "--check")
    assert f"has schema version {version}, this program's is {tables.VERSION}\n" in told
    assert steps and all(f"\n  would {step}\n" in told for step in steps)
    assert shape(database_url) == before
    told = say(at_database)
    assert f"upgraded from schema version {version} to {tables.VERSION}\n" in told
    assert all(f"\n  {step}\n" in told for step in steps)
    assert rows_of(database_url, "drift")[0]["reason"] == "fell"
    assert "up to date" in say(at_database)


def test_it_brings_all_that_waits_at_once(at_database, database_url, monkeypatch):
    folder = at_database.root / ".state" / "outbox"
    for number in range(5):
        outbox.append(folder, {"releases": [{"key": [number], "release": "r"}]}, "2026-01-31T12:00:00Z")
    outbox.note_failure(folder, 86_400)
    assert "5 batches of records wait" in say(at_database, "--check")
    monkeypatch.setattr(delivery, "BATCHES_AT_ONCE", 2)
    monkeypatch.setattr(delivery, "time", Hurried())
    assert "batches of records" not in say(at_database)
    assert len(rows_of(database_url, "releases")) == 5 and not outbox.waiting(folder)


def test_a_database_that_does_not_answer_is_said_without_the_password(workspace, monkeypatch):
    monkeypatch.setenv("RISK_DATABASE_URL", "postgresql://risk:hidden-word@127.0.0.1:1/risk")
    for arguments in ((), ("--check",)):
        workspace.run("dbsetup", *arguments, expect=69)
        assert "risk:***@127.0.0.1:1/risk" in workspace.said and "hidden-word" not in workspace.said


def test_a_server_that_goes_silent_in_the_middle_does_not_hold_the_workspace_for_ever(
    workspace, own_server, monkeypatch
):
    really = migrations.ensure

    def freeze(*arguments):
        own_server.freeze()
        return really(*arguments)

    monkeypatch.setattr(dbsetup, "LONGEST_S", 0.5)
    monkeypatch.setattr(migrations, "ensure", freeze)
    with own_server.fresh_database() as url:
        monkeypatch.setenv("RISK_DATABASE_URL", url)
        workspace.run("dbsetup", expect=69)
        assert "no answer within 0.5 seconds" in workspace.said
        own_server.thaw()
        monkeypatch.setattr(migrations, "ensure", really)
        monkeypatch.setattr(dbsetup, "LONGEST_S", 60)
        assert "schema version" in say(workspace)
