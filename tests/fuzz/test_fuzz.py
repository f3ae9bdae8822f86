"""The short form of each harness of tests/fuzz; the full one is `make torture`."""

import io
import random
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parent))

import clients
import csvs
import days
import models

import fullprocess
from risk.data import csv_check, validation
from risk.model import pickling, registry
from risk.runtime import completion
from risk.serving import requested


def test_mutated_files_are_taken_up_by_the_rules_or_refused_with_file_line_and_reason():
    counts = csvs.run(200, seed=1)
    assert counts["files"] == counts["files through main"] == 200
    assert counts["refused"] > 40 and counts["rows new"] > 300 and counts["rows rejected"] > 20
    assert counts["held against a second count"] > 30


def test_every_generated_row_is_counted_and_every_bad_one_named():
    counts = clients.run(10_000, seed=1)
    assert counts["rows read"] == 10_000 and counts["rows rejected"] > 200 and counts["rows duplicate"] > 50


@pytest.mark.slow
def test_no_mutated_or_hostile_model_is_unpickled_and_without_digests_they_go_wrong():
    counts = models.run(200, seed=2)
    assert counts["mutated models"] + counts["mutated companions"] == 200
    assert counts["hostile pickles, planted in four ways"] == 18


@pytest.mark.slow
def test_random_days_lose_no_row_and_the_deployed_model_answers():
    counts = days.run(2, number=1, steps=6)
    assert counts["sequences"] >= 2 and counts["answers"] > 10


@pytest.mark.torture
@pytest.mark.parametrize(
    ("harness", "n"), [(csvs, 100_000), (clients, 1_000_000), (models, 20_000), (days, 1_000)]
)
def test_the_full_form_finds_nothing(harness, n, capsys):
    counts = harness.run(n)
    with capsys.disabled():
        print(f"\n{harness.__name__}: " + ", ".join(f"{count:,} {name}" for name, count in counts.items()))


# --- each harness has teeth ---------------------------------------------------------------------------------


def test_unchecked_cells_are_seen(monkeypatch):
    for module in (validation, requested):
        monkeypatch.setattr(module, "find_problem", lambda *_: None)
    monkeypatch.setattr("risk.engines.loading.find_files_with_bad_cells", lambda *_: set())
    with pytest.raises(AssertionError):
        csvs.run(400, seed=1)
    with pytest.raises(AssertionError):
        clients.run(10_000, seed=1)


def test_an_unchecked_header_is_seen(monkeypatch):
    monkeypatch.setattr(csv_check, "_refuse_header", lambda _: None)
    monkeypatch.setattr(validation, "refuse_header", lambda *_: None)
    with pytest.raises(AssertionError):
        csvs.run(400, seed=1)


def test_a_rejected_row_without_its_line_is_seen(monkeypatch):
    monkeypatch.setattr(
        "risk.data.table_writer.render_rejection",
        lambda *cells: b"x,,,,\n" if cells[0] != "file" else b"file\n",
    )
    with pytest.raises(AssertionError):
        csvs.run(200, seed=1)


def load_carelessly(folder, key=None):
    data = (folder / "trainedmodel.pkl").read_bytes()
    return None, pickling.Unpickler(io.BytesIO(data)).load()


def test_a_model_loaded_without_its_digest_is_seen(monkeypatch, tmp_path):
    config = models.deploy(tmp_path / "w", "logistic_regression")
    models.watch()
    monkeypatch.setattr(registry, "load_deployed", load_carelessly)
    with pytest.raises((AssertionError, *pickling.TORN)):
        models.throw_mutants(config, 20, random.Random(0))


@pytest.mark.slow
def test_a_tick_that_forgets_what_it_saw_is_seen(monkeypatch):
    for module in (completion, fullprocess):
        monkeypatch.setattr(module, "save_state", lambda *_: None)
    with pytest.raises(AssertionError):
        days.run(6, number=3, steps=8)
