"""Diagnostics: statistics, missing cells, timings of real runs, packages, predictions."""

import csv
import json
import math
import shutil
import sqlite3
import statistics

import numpy as np
import pytest
from history_kit import Hurried
from hypothesis import given
from hypothesis import strategies as st
from makers import make_clients

import diagnostics
from config import load_config
from risk import text
from risk.data.ledger import load_ready_ledger
from risk.engines.statistics import DuckDBTable, compute_statistics
from risk.history import delivery, migrations
from risk.reporting.formats import format_cell

ROWS = [
    ["a", "1", "red", "0"],
    ["b", "3", "", "1"],
    ["c", "", "NA", "0"],
    ["d", "na", "red", "1"],
    ["e", "3", "red", ""],
    ["f", "10", "red", "0"],
]


@pytest.fixture
def described(workspace):
    workspace.put("sourcedata/a.csv", ROWS)
    workspace.run("ingestion")
    return workspace.run("diagnostics")


def test_what_is_printed_is_what_is_written(described, workspace):
    written = json.loads((workspace.root / "models" / "diagnostics.json").read_text())
    assert written == described


def test_each_statistic_of_a_column_made_by_hand(described):
    assert described["statistics"] == {
        "activity": {
            "n": 4,
            "mean": 4.25,
            "median": 3.0,
            "mode": 3.0,
            "std": statistics.stdev([1, 3, 3, 10]),
            "min": 1.0,
            "max": 10.0,
        }
    }


def test_missing_cells_of_every_column_are_counted_by_its_kind(described):
    missing = {name: found["count"] for name, found in described["missing"].items()}
    assert missing == {"corporation": 0, "activity": 2, "colour": 1, "exited": 1}
    assert described["missing"]["activity"]["percent"] == pytest.approx(100 * 2 / 6)
    assert described["n_rows"] == 6 and described["n_unlabelled"] == 1


def describe(values, size=3):
    """Describe values whose distinct ones come in parts of a size."""
    distinct, counts = np.unique(np.array(values, dtype=float), return_counts=True)
    parts = [(distinct[k : k + size], counts[k : k + size]) for k in range(0, len(distinct), size)]
    return compute_statistics(parts, len(values))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], {"n": 0, "mean": None, "mode": None, "std": None, "min": None}),
        ([5.0], {"n": 1, "mean": 5.0, "std": None, "median": 5.0}),
        ([2.0, 2.0], {"std": 0.0, "mode": 2.0}),
        ([1.0, 2.0, 2.0, 1.0, 3.0], {"mode": 1.0}),
        ([1e308, 1e308, -1e308], {"std": pytest.approx(1.1547e308, rel=1e-4), "max": 1e308}),
        ([1.7e308, -1.7e308], {"std": None, "median": 0.0}),
        ([1e9 + 0.1, 1e9 + 0.3], {"std": pytest.approx(0.2 / math.sqrt(2), rel=1e-6)}),
    ],
)
def test_statistics_at_their_edges(values, expected):
    found = describe(values)
    assert {key: found[key] for key in expected} == expected
    json.dumps(found, allow_nan=False)


def test_a_column_without_a_value_is_counted_and_left_undefined(workspace):
    header = ["corporation", "activity", "empty", "exited"]
    rows = [["a", "1", "2", "0"], ["b", "2", "2", "1"]]
    workspace.put("sourcedata/a.csv", rows, header)
    workspace.run("ingestion")
    assert workspace.run("diagnostics")["statistics"]["empty"]["std"] == 0
    workspace.put("sourcedata/b.csv", [["c", "null", "", "0"], ["d", "", "NaN", ""]], header)
    workspace.run("ingestion")
    found = workspace.run("diagnostics")
    assert found["statistics"]["empty"]["n"] == 2 and found["statistics"]["activity"]["n"] == 2
    assert found["missing"]["empty"] == {"count": 2, "percent": 50.0} == found["missing"]["activity"]


def test_ids_ignored_and_text_columns_keep_the_word_na(workspace):
    header = ["corporation", "note", "activity", "colour", "exited"]
    workspace.configure(ignore_columns=["note"])
    rows = [["NA", "null", "1", "nan", "0"], ["", "", "2", "", "1"], ["c", "x", "3", "red", "1"]]
    workspace.put("sourcedata/a.csv", rows, header)
    workspace.run("ingestion")
    missing = workspace.run("diagnostics")["missing"]
    counts = {name: found["count"] for name, found in missing.items()}
    assert counts == {"corporation": 1, "note": 1, "activity": 0, "colour": 1, "exited": 0}


def test_columns_beyond_those_described_at_once_are_described_too(workspace):
    workspace.put("sourcedata/a.csv", ROWS)
    workspace.run("ingestion")
    whole = workspace.run("diagnostics")
    config = load_config(workspace.config_path)
    table = DuckDBTable(config.room, config.final_data, load_ready_ledger(config.ledger))
    assert table.describe(columns_at_once=1) == (whole["statistics"], whole["missing"])


@given(st.lists(st.integers(-9, 9) | st.floats(-1e6, 1e6), min_size=2, max_size=50), st.integers(1, 9))
def test_statistics_are_those_of_the_standard_library(values, size):
    found = describe(values, size)
    assert found["mean"] == pytest.approx(statistics.fmean(values), abs=1e-6)
    assert found["median"] == pytest.approx(statistics.median(values), abs=1e-9)
    assert found["mode"] == min(statistics.multimode(values))
    assert found["std"] == pytest.approx(statistics.stdev(values), rel=1e-6, abs=1e-6)


def test_rows_beyond_the_committed_length_are_not_counted(workspace):
    workspace.put("sourcedata/a.csv", ROWS)
    workspace.run("ingestion")
    before = workspace.run("diagnostics")
    with (workspace.root / "ingesteddata" / "finaldata.csv").open("a") as handle:
        handle.write("torn,row")
    after = workspace.run("diagnostics")
    assert after["missing"] == before["missing"] and after["statistics"] == before["statistics"]


def test_predictions_are_those_of_the_deployed_model_on_all_test_rows(old_world):
    rows = make_clients(50, "t")
    rows[0][3] = ""
    old_world.put("testdata/t.csv", rows)
    release = old_world.walk()["release"]
    found = old_world.run("diagnostics")["predictions"]
    assert found["release"] == release and found["n"] == len(found["values"]) == 50
    assert found["n_leaving"] == sum(found["values"]) and set(found["values"]) <= {0, 1}


def test_without_a_release_there_are_no_predictions(described):
    assert described["predictions"] is None


def test_a_damaged_release_is_refused_not_passed_over(old_world):
    old_world.walk()
    path = (old_world.root / "production_deployment" / "trainedmodel.pkl").resolve()
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1])
    old_world.run("diagnostics", expect=65)
    assert "was changed after deployment" in old_world.said


def test_what_pip_is_told_of_an_index_is_shown_nowhere(old_world, monkeypatch):
    old_world.run("ingestion")
    cache = old_world.root / ".state" / "packages.json"
    known = json.loads(cache.read_text())
    known.pop("flask")
    cache.write_text(json.dumps(known))
    monkeypatch.setenv("PIP_INDEX_URL", "http://me:hidden-word@127.0.0.1:1/simple/")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    found = old_world.run("diagnostics", "-v")
    latest = {entry["module"]: entry["latest"] for entry in found["dependencies"]}
    assert latest["flask"] == "unknown" and latest["pandas"] == "1.0"
    assert "hidden-word" not in json.dumps(found) + old_world.said
    for path in old_world.root.rglob("*"):
        assert not path.is_file() or b"hidden-word" not in path.read_bytes(), path


def test_timings_are_those_of_real_runs(old_world):
    assert old_world.run("ingestion")["rows_new"] == 300
    first = old_world.run("diagnostics")["timings"]
    assert first["training"] is None and first["ingestion"]["n_runs"] == 1
    old_world.run("ingestion")
    old_world.run("training")
    old_world.run("training")
    second = old_world.run("diagnostics")["timings"]
    assert second["ingestion"] == first["ingestion"], "a run that took up nothing is no ingestion"
    assert second["training"]["n_runs"] == 2
    with sqlite3.connect(old_world.root / "records.db") as history:
        ((longest,),) = history.execute(
            "select max(duration_s) from timings where stage = 'training'"
        ).fetchall()
    assert 0 < second["training"]["duration_s"] <= longest


@pytest.mark.slow
def test_measure_leaves_the_live_workspace_as_it_was(old_world):
    old_world.tick()
    before, state = old_world.bytes("models/diagnostics.json"), old_world.state()
    recorded = old_world.run("diagnostics")["timings"]
    measured = old_world.run("diagnostics", "--measure")["timings"]
    assert measured["ingestion"]["n_runs"] == measured["training"]["n_runs"] == 1
    assert measured["training"]["duration_s"] > 0
    assert old_world.bytes("models/diagnostics.json") == before and old_world.state() == state
    assert old_world.run("diagnostics")["timings"] == recorded, "what was measured is no recorded run"


def test_before_ingestion_it_says_what_to_run(workspace):
    workspace.run("diagnostics", expect=66)
    assert "run ingestion.py first" in workspace.said


def test_the_text_fits_80_columns(old_world, capsys):
    header = ["corporation", "activity" * 10, "colour", "exited"]
    old_world.put("sourcedata/a.csv", make_clients(20, "a"), header)
    (old_world.root / "sourcedata" / "b.csv").unlink()
    old_world.run("ingestion")
    capsys.readouterr()
    assert diagnostics.main(["--config", str(old_world.config_path)]) == 0
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 80
    assert "module" in said and "installed" in said and "latest" in said and "nothing is deployed yet" in said


def test_large_figures_and_long_names_fit_80_columns_too():
    large = {"n": 5_000_000} | dict.fromkeys(["mean", "median", "mode", "std", "min", "max"], -1234567.8)
    said = text.align(
        [
            ("column", *large),
            ("a" * 40, *map(format_cell, large.values())),
            ("b", *(format_cell(None) for _ in large)),
        ]
    )
    assert max(map(len, said.splitlines())) <= 80 and "-1.235e6" in said and "…" in said


def test_percent_missing_is_remembered_once_for_each_state_of_the_table(old_world):
    old_world.run("ingestion")
    old_world.run("diagnostics")
    old_world.run("diagnostics")
    with sqlite3.connect(old_world.root / "records.db") as history:
        counted = history.execute("select column_name, count(*) from missing_values group by 1").fetchall()
    assert sorted(counted) == [("activity", 1), ("colour", 1), ("corporation", 1), ("exited", 1)]


# --- the past ----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_history_tells_the_trends_and_changes_nothing(old_world, capsys):
    old_world.tick()
    old_world.put("sourcedata/c.csv", make_clients(300, "c", "new"))
    old_world.tick()
    before = {path: path.lstat().st_mtime_ns for path in old_world.root.rglob("*") if path.suffix != ".log"}
    found = old_world.run("diagnostics", "--history")
    assert [mark["kind"] for mark in found["marks"]] == ["deployed", "alarm", "deployed"]
    assert len(found["series"]["f1/release"]["points"]) == 2
    assert [point["value"] for point in found["series"]["rows/total"]["points"]] == [300, 600]
    assert diagnostics.main(["--config", str(old_world.config_path), "--history"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80 and "deployed" in out
    assert {p: p.lstat().st_mtime_ns for p in old_world.root.rglob("*") if p.suffix != ".log"} == before


def test_since_leaves_out_what_was_before(old_world):
    old_world.tick()
    assert old_world.run("diagnostics", "--history", "--since", "2001-01-01")["marks"]
    assert not old_world.run("diagnostics", "--history", "--since", "2999-01-01")["marks"]
    old_world.run("diagnostics", "--history", "--since", "yesterday", expect=64)
    assert "is not a date such as 2026-01-31" in old_world.said
    old_world.run("diagnostics", "--since", "2001-01-01", expect=64)
    assert "counts only with --history" in old_world.said


@pytest.mark.parametrize("option", [["--history"], ["--export", "out"]], ids=["history", "export"])
def test_without_a_history_it_says_so_and_makes_none(workspace, option, monkeypatch):
    monkeypatch.chdir(workspace.root)
    workspace.run("diagnostics", *option, expect=69)
    assert "there is no history yet" in workspace.said
    assert not (workspace.root / "records.db").exists() and not (workspace.root / "out").exists()


def test_export_writes_every_table_as_it_is(old_world, tmp_path):
    old_world.tick()
    counts = old_world.run("diagnostics", "--export", str(tmp_path / "out"))
    assert set(counts) == set(migrations.METADATA.tables)
    for name, count in counts.items():
        with (tmp_path / "out" / f"{name}.csv").open(newline="", encoding="utf-8") as handle:
            header, *rows = csv.reader(handle)
        assert len(rows) == count and header == list(migrations.METADATA.tables[name].columns.keys())
    with (tmp_path / "out" / "scores.csv").open(newline="") as handle:
        (score,) = csv.DictReader(handle)
    assert float(score["f1"]) == float((old_world.root / "models" / "latestscore.txt").read_text())


def test_an_export_never_lands_where_the_pipeline_reads(old_world):
    old_world.tick()
    old_world.run("diagnostics", "--export", str(old_world.root / "sourcedata"), expect=64)
    assert "name another folder" in old_world.said
    assert sorted(path.name for path in (old_world.root / "sourcedata").iterdir()) == ["a.csv", "b.csv"]


@pytest.mark.slow
def test_without_the_database_the_trends_go_on_from_what_is_known(old_world, monkeypatch):
    """The last known trends and timings, and the records that wait, each counted once."""
    old_world.tick()
    known = old_world.run("diagnostics")
    monkeypatch.setenv("RISK_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/risk")
    old_world.put("sourcedata/c.csv", make_clients(300, "c", "new"))
    old_world.tick()
    for _ in range(2):
        found = old_world.run("diagnostics")
        assert found["timings"]["ingestion"]["n_runs"] == known["timings"]["ingestion"]["n_runs"] + 1
        assert found["trends"]["rows/total"]["last"] == 600
        assert found["trends"]["rows/total"]["change_previous"] == 300
        assert found["history"]["waiting"] > 0


def test_a_record_not_yet_delivered_is_in_the_timings_of_its_own_tick(old_world):
    old_world.tick()
    found = json.loads((old_world.root / "models" / "diagnostics.json").read_text())
    assert found["timings"]["training"]["n_runs"] == 1 and found["trends"]["f1/release"]["last"] > 0


def test_records_that_still_wait_are_in_the_trends_of_a_database_that_answers(old_world, monkeypatch):
    """After an outage a tick brings a part of what waits, and knows the rest all the same."""
    old_world.tick()
    expected = old_world.run("diagnostics", "--history")["series"]
    (old_world.root / "records.db").unlink()
    shutil.rmtree(old_world.root / ".state" / "outbox")
    for name in ("ingesteddata", "models", "production_deployment"):
        shutil.rmtree(old_world.root / name)
    (old_world.root / ".state" / "tick.json").unlink()
    monkeypatch.setattr(delivery, "BATCHES_AT_ONCE", 1)
    monkeypatch.setattr(delivery, "time", Hurried())
    assert old_world.tick()["records_waiting"] > 2
    found = json.loads((old_world.root / "models" / "diagnostics.json").read_text())
    assert set(found["trends"]) == set(expected) - {key for key in expected if key.startswith("missing/")}
    assert found["timings"]["training"]["n_runs"] == 1 and found["trends"]["rows/total"]["last"] == 300
