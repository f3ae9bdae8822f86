"""The score: its number, its interval, its text, and what it refuses."""

import json

from makers import make_clients


def test_latestscore_is_one_number_that_reads_back_equal(old_world):
    old_world.walk()
    text = (old_world.root / "models" / "latestscore.txt").read_text()
    metrics = json.loads((old_world.root / "models" / "metrics.json").read_text())
    assert text == f"{metrics['f1']!r}\n" and float(text) == metrics["f1"]
    assert metrics["f1_low"] < metrics["f1"] < metrics["f1_high"]


def test_test_data_without_a_leaver_are_refused(old_world):
    old_world.put("testdata/t.csv", [row for row in make_clients(50, "t") if row[3] == "0"])
    old_world.run("ingestion")
    old_world.run("training")
    old_world.run("scoring", expect=65)
    assert "no row of a client who left" in old_world.said


def test_bad_and_unlabelled_test_rows_are_left_out_and_said(old_world):
    rows = make_clients(100, "t")
    rows[0][1], rows[1][3] = "many", ""
    old_world.put("testdata/t.csv", rows)
    old_world.run("ingestion")
    old_world.run("training")
    assert old_world.run("scoring")["n"] == 98
    assert "1 bad rows" in old_world.said and "1 unlabelled rows" in old_world.said


def test_row_order_does_not_change_the_score(old_world):
    rows = make_clients(100, "t")
    old_world.put("testdata/t.csv", rows)
    old_world.run("ingestion")
    old_world.run("training")
    first = old_world.run("scoring")
    old_world.put("testdata/t.csv", rows[::-1])
    assert old_world.run("scoring") == first


def test_scoring_before_training_says_what_to_run(old_world):
    old_world.run("scoring", expect=66)
    assert "run training.py first" in old_world.said
