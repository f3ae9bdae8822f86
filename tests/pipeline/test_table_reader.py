"""Rows of the compiled table: all, behind an offset, or a sample, in bounded memory."""

import csv
import io

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from makers import csv_line, make_clients
from table_frames import read_table

from config import load_config
from risk.data import ledger
from risk.data.ledger import Ledger
from risk.data.schema import Schema
from risk.engines import table_reader
from risk.errors import ArtifactError
from risk.limits import Room

SCHEMA = Schema(
    columns=("who", "size", "word", "left"),
    kinds={"size": "number", "word": "text"},
    target="left",
    positive=("1", "yes"),
    negative=("0", "no"),
    ids=("who",),
    ignored=(),
)
SIZES = st.sampled_from(["", "NA", "nan", "true", "False", "7", "007", "1e3", "-0", ".5", "+2.", "9" * 30])
WORDS = st.sampled_from(["", "NA", "nan", "red", "a,b", 'say "x"', "two\nlines", "é", "\u2028", "-1"])
LABELS = st.sampled_from(["", "1", "0", "Yes", "NO"])
ROWS = st.lists(st.tuples(SIZES, WORDS, LABELS), min_size=1, max_size=40)


def write_table(path, rows):
    """Write rows as the table has them; return its ledger and where each row begins."""
    starts, data = [], csv_line(SCHEMA.columns)
    for number, row in enumerate(rows):
        starts.append(len(data))
        data += csv_line((f"c{number}", *row))
    path.write_bytes(data)
    unlabelled = sum(not row[-1] for row in rows)
    facts = {"length": len(data), "rows": len(rows), "rows_unlabelled": unlabelled}
    return Ledger("in", "", SCHEMA.to_json(), **facts), starts


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("compiled")


@settings(max_examples=20)
@given(ROWS, st.data())
def test_rows_are_those_that_pandas_reads(place, rows, data):
    path = place / "finaldata.csv"
    ledger, starts = write_table(path, rows)
    start = data.draw(st.sampled_from([0, *starts]))
    taken = table_reader.read(path, ledger, SCHEMA, Room(place), start=start, texts=["who", "word"])
    X, y = read_table(path, SCHEMA, start=start, stop=ledger.length)
    pd.testing.assert_frame_equal(taken.X, X)
    np.testing.assert_array_equal(taken.y, y)
    first = starts.index(start) if start else 0
    cells = list(csv.reader(io.StringIO(path.read_text(), newline="")))[1:][first:]
    assert taken.texts["who"].tolist() == [row[0] for row in cells]
    words = pd.Series(taken.texts["word"], dtype="str").fillna("")
    assert words.tolist() == [row[2] for row in cells]
    assert taken.numbers.tolist() == [*range(1, len(rows) - first + 1)]
    assert table_reader.count_rows(path, ledger, Room(place), start=start or starts[0]) == len(rows) - first
    assert table_reader.has_label(path, ledger, Room(place), start=start or starts[0]) == bool((y == y).any())


@settings(max_examples=20)
@given(ROWS, st.integers(1, 40), st.integers(1, 40))
def test_a_smaller_sample_is_part_of_a_larger_one_in_order(place, rows, small, large):
    path = place / "finaldata.csv"
    ledger, _ = write_table(path, rows)
    small, large = sorted((small, large))
    few, many, all_ = (
        table_reader.read(path, ledger, SCHEMA, Room(place), labelled=True, most=n)
        for n in (small, large, None)
    )
    n_labelled = len(all_.numbers)
    assert [len(one.numbers) for one in (few, many)] == [min(small, n_labelled), min(large, n_labelled)]
    assert set(few.numbers) <= set(many.numbers) <= set(all_.numbers)
    assert all_.n_rows == few.n_rows == n_labelled and not np.isnan(few.y).any()
    kept = np.isin(all_.numbers, few.numbers)
    pd.testing.assert_frame_equal(few.X, all_.X[kept].reset_index(drop=True))
    assert (np.diff(few.numbers) > 0).all()


def test_a_digest_is_the_same_in_every_version(tmp_path):
    ledger, _ = write_table(tmp_path / "t.csv", [("1", "red", "1"), ("", "é", "0")])
    taken = table_reader.read(tmp_path / "t.csv", ledger, SCHEMA, Room(tmp_path), most=1)
    (place,) = taken.numbers
    # md5 of the cells with a unit separator between, its lower half as DuckDB numbers it, 53 bits of it
    import hashlib

    texts = ["\x1f".join(("c0", "1", "red", "1")), "\x1f".join(("c1", "", "é", "0"))]
    lower = [
        int.from_bytes(hashlib.md5(text.encode(), usedforsecurity=False).digest()[8:], order) >> 11
        for order in ("little", "big")
        for text in texts
    ]
    assert int(taken.digests[0]) in (lower[place - 1], lower[place + 1])
    assert int(taken.digests[0]) in (min(lower[:2]), min(lower[2:]))


def test_what_lies_beyond_the_committed_length_is_not_read(tmp_path):
    path = tmp_path / "t.csv"
    ledger, starts = write_table(path, [("1", "red", "1"), ("2", "red", "0")])
    with path.open("ab") as handle:
        handle.write(b"c2,3,blue,1\nc3,")
    for start, n in ((0, 2), (starts[1], 1)):
        assert len(table_reader.read(path, ledger, SCHEMA, Room(tmp_path), start=start).numbers) == n
    assert not list(tmp_path.glob(".tmp-*"))


def test_a_table_that_lost_a_row_is_said(tmp_path):
    path = tmp_path / "t.csv"
    ledger, starts = write_table(path, [("1", "red", "1"), ("2", "red", "0")])
    path.write_bytes(path.read_bytes()[: starts[1]])
    with pytest.raises(ArtifactError, match="modified outside this pipeline"):
        table_reader.read(path, ledger, SCHEMA, Room(tmp_path))


# --- training on a sample ----------------------------------------------------------------------------------


@pytest.fixture
def many(workspace):
    """A workspace whose model is fitted on 2,000 of 3,000 rows."""
    workspace.configure(max_training_rows=2000)
    workspace.put("sourcedata/a.csv", make_clients(3000, "a"))
    workspace.put("testdata/t.csv", make_clients(300, "t"))
    workspace.run("ingestion")
    return workspace


def card_of(workspace):
    import json

    return json.loads((workspace.root / "models" / "modelcard.json").read_text())


def test_the_card_tells_of_a_sample_with_its_learning_curve(many):
    fitted = many.run("training")
    sample = card_of(many)["sample"]
    assert fitted["n_samples"] == sample["n_rows"] == 2000 and sample["n_labelled"] == 3000
    points = sample["learning_curve"]["points"]
    assert [one["n_rows"] for one in points] == [500, 2000]
    assert all(0.8 < one["auc"] < 1 for one in points)
    assert "a sample of 2,000 of 3,000 labelled rows" in sample["text"]
    assert card_of(many)["data"]["n_rows"] == 3000


def test_the_same_rows_give_the_same_model_of_a_sample(many):
    model = many.root / "models" / "trainedmodel.pkl"
    many.run("training")
    before = model.read_bytes()
    many.run("training")
    assert model.read_bytes() == before


def test_fewer_rows_than_the_limit_are_no_sample(many):
    many.configure(max_training_rows=3000)
    many.run("training")
    assert "sample" not in card_of(many)


def test_the_gate_judges_on_new_rows_that_the_sample_does_not_hold(many):
    import training

    many.run("training")
    config = load_config(many.config_path)
    behind = ledger.load_ledger(config.ledger).length
    many.put("sourcedata/b.csv", make_clients(300, "b"))
    many.run("ingestion")
    trained = training.run(config, new_from=behind)
    assert 70 < trained.n_held_back < 130  # a third of 300; of a sample of all it would be fewer
    assert trained.n_samples <= 2000


def test_a_verdict_on_very_many_new_rows_says_that_it_is_of_a_sample(many):
    import scoring

    many.configure(max_training_rows=1000)
    for script in ("training", "scoring", "deployment"):
        many.run(script)
    config = load_config(many.config_path)
    behind = ledger.load_ledger(config.ledger).length
    many.put("sourcedata/b.csv", make_clients(1500, "b"))
    many.run("ingestion")
    evidence = scoring.judge(config, ledger.load_ready_ledger(config.ledger), behind).evidence
    assert evidence.n == 1000
    assert "judged on a sample, by digest, of 1,000 of 1,500 new rows" in evidence.sentences
