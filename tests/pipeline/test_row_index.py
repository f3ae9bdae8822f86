"""The digests beside a large table: the same bytes with and without, whatever happened to them."""

import contextlib
import json
import os
import shutil
from pathlib import Path

import pytest
from makers import make_clients

import ingestion
from config import load_config
from risk.data import ledger as ledger_
from risk.data import row_index, table_writer
from risk.data.ledger import Ledger, load_ledger
from risk.digests import TableDigest

INDEX = "ingesteddata/.finaldata.known.json"


@pytest.fixture
def grown(workspace, monkeypatch):
    """A table with digests beside it, as a large one has; runs hold 64 rows at most."""
    monkeypatch.setattr(row_index, "LEAST_BYTES", 0)
    monkeypatch.setattr(row_index, "RUN_ROWS", 64)
    workspace.put("sourcedata/a.csv", make_clients(150, "a"))
    workspace.run("ingestion")
    workspace.put("sourcedata/b.csv", make_clients(5, "b") + make_clients(5, "a"))
    assert workspace.run("ingestion")["rows_new"] == 5
    return workspace


def more(workspace, name, n_new=40, n_old=30):
    """Put a file of rows that are new, old, and twice there; take it up."""
    new = make_clients(n_new, name)
    quoted = [[f'{name}, "q"\nsecond line', "7", "red", "1"]]
    workspace.put(f"sourcedata/{name}.csv", new + make_clients(n_old, "a") + new[:3] + quoted + quoted)
    return workspace.run("ingestion")


def outcome(workspace):
    """Give the bytes that must not depend on the digests."""
    folder = workspace.root / "ingesteddata"
    return [
        (folder / name).read_bytes() for name in ("finaldata.csv", ".finaldata.json", "ingestedfiles.txt")
    ]


def runs_of(workspace):
    return json.loads((workspace.root / INDEX).read_text())["runs"]


def loaded(workspace):
    return row_index.load(load_config(workspace.config_path).known_rows)


def test_the_bytes_are_the_same_without_digests(grown, monkeypatch, tmp_path):
    bare = tmp_path / "bare"
    shutil.copytree(grown.root, bare)
    ledger = load_ledger(load_config(grown.config_path).ledger)
    assert loaded(grown).fits(ledger)
    monkeypatch.setattr(ledger_, "known_records", None)  # with digests, the table is not read
    counts = more(grown, "c")
    monkeypatch.undo()
    assert counts["rows_new"] == 41 and counts["rows_duplicate"] == 34
    wanted = outcome(grown)
    grown.root, grown.config_path = bare, bare / "config.json"
    assert shutil.copy(tmp_path / "workspace/sourcedata/c.csv", bare / "sourcedata") != ""
    assert ingestion.main(["--config", str(bare / "config.json"), "-q"]) == 0
    assert outcome(grown) == wanted


def test_runs_are_joined_while_they_are_small(grown):
    for name in "cdefgh":
        more(grown, name, n_new=3)
    sizes = [run["rows"] for run in runs_of(grown)]
    assert sum(sizes) == load_ledger(load_config(grown.config_path).ledger).rows
    assert len(sizes) <= 6 and max(sizes) <= 64
    assert {path.name for path in (grown.root / "ingesteddata").glob("*.run")} == {
        f".finaldata.known-{run['number']}.run" for run in runs_of(grown)
    }


@pytest.mark.parametrize(
    "damage", ["gone", "cut", "other bytes", "no index", "no json", "other key", "no key", "touched table"]
)
def test_what_is_damaged_is_made_again(grown, damage):
    folder = grown.root / "ingesteddata"
    run, key = next(folder.glob(".finaldata.known-*.run")), grown.root / ".state/rows.key"
    if damage == "gone":
        run.unlink()
    elif damage == "cut":
        os.truncate(run, 16)
    elif damage == "other bytes":
        run.write_bytes(bytes(run.stat().st_size))
    elif damage == "no index":
        (grown.root / INDEX).unlink()
    elif damage == "no json":
        (grown.root / INDEX).write_text("{")
    elif damage == "other key":
        key.write_bytes(bytes(64))
    elif damage == "no key":
        key.unlink()
    else:
        os.utime(folder / "finaldata.csv", (1, 1))
    ledger = load_ledger(load_config(grown.config_path).ledger)
    found = loaded(grown)
    assert found is None or not found.fits(ledger)
    assert more(grown, "c")["rows_new"] == 41
    assert loaded(grown).fits(load_ledger(load_config(grown.config_path).ledger))
    assert more(grown, "d")["rows_new"] == 41


def test_a_table_changed_by_another_hand_is_still_seen(grown):
    path = grown.root / "ingesteddata/finaldata.csv"
    data = path.read_bytes()
    path.write_bytes(data.replace(b"client-a-3,", b"client-a-X,"))
    grown.put("sourcedata/c.csv", make_clients(5, "c"))
    grown.run("ingestion", expect=65)
    assert "was modified outside this pipeline" in grown.said


class CrashError(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("last", range(1, 9))
def test_a_crash_between_any_two_renames_loses_nothing(grown, monkeypatch, last):
    replace, done = os.replace, []

    def replace_or_die(*places):
        done.append(places)
        if len(done) >= last:
            raise CrashError
        replace(*places)

    grown.put("sourcedata/c.csv", make_clients(40, "c") + make_clients(30, "a"))
    monkeypatch.setattr(os, "replace", replace_or_die)
    with contextlib.suppress(CrashError):
        ingestion.run(load_config(grown.config_path))
    monkeypatch.setattr(os, "replace", replace)
    grown.run("ingestion")
    ledger = load_ledger(load_config(grown.config_path).ledger)
    assert ledger.rows == 195
    rows = (grown.root / "ingesteddata/finaldata.csv").read_text().splitlines()
    assert len(rows) == len(set(rows)) == 196
    assert more(grown, "d")["rows_new"] == 41
    assert loaded(grown).fits(load_ledger(load_config(grown.config_path).ledger))


def test_rows_whose_first_halves_are_equal_are_told_apart(tmp_path, monkeypatch):
    def digests(_, records):
        import numpy as np

        second = [int.from_bytes(record, "big") for record in records]
        return np.full(len(records), 7, dtype="<u8"), np.array(second, dtype="<u8")

    monkeypatch.setattr(row_index, "digest_rows", digests)
    data = tmp_path / "t.csv"
    data.write_bytes(b"a\nb\nc\nd\n")
    place = row_index.IndexFiles(data, tmp_path / ".t.json", tmp_path / "key")
    told = TableDigest()
    told.update(data.read_bytes())
    ledger = Ledger("in", "", length=8, digest=told.hexdigest(), lines=4, rows=3)
    row_index.update(place, ledger, least_bytes=0)
    found = row_index.load(place)
    assert found.fits(ledger)
    assert found.find([b"d", b"e", b"b", b"a"]) == {b"d", b"b"}  # `a` is the header


def test_the_key_is_readable_by_its_owner_alone(grown):
    key = grown.root / ".state/rows.key"
    assert key.stat().st_mode & 0o777 == 0o600 and len(key.read_bytes()) == 64
    assert key.read_bytes().hex() not in (grown.root / INDEX).read_text()


def test_many_fresh_rows_are_taken_in_parts(grown, monkeypatch):
    monkeypatch.setattr(table_writer, "ROWS_AT_ONCE", 7)
    (grown.root / INDEX).unlink()
    monkeypatch.setattr(row_index, "LEAST_BYTES", 10**9)
    assert more(grown, "c")["rows_new"] == 41
    ledger = load_ledger(load_config(grown.config_path).ledger)
    assert ledger.rows == 196 and Path(grown.root / INDEX).exists()


def test_a_small_table_has_no_digests(workspace):
    workspace.put("sourcedata/a.csv", make_clients(5, "a"))
    workspace.run("ingestion")
    workspace.put("sourcedata/b.csv", make_clients(5, "b"))
    workspace.run("ingestion")
    assert not (workspace.root / INDEX).exists()
    assert not (workspace.root / ".state/rows.key").exists()
