"""What the words of a label mean: named ones count, other ones are never trained away in silence."""

import json
import os
import random
import re

import pytest
from input_cases import put, rejections

FILE = "name,x,outcome\n"


def rows(words, start=0, end="\n"):
    """Give a row for each word; x says a little about it."""
    draw = random.Random(start)
    return "".join(f"n{start + i},{draw.gauss(len(word), 2):.2f},{word}{end}" for i, word in enumerate(words))


def configure(workspace, **labels):
    workspace.configure(target_column="outcome", id_columns=["name"], **labels)


def assert_matches(text, pattern):
    assert re.search(pattern, text), text


def schema(workspace):
    ledger = json.loads((workspace.root / "ingesteddata" / ".finaldata.json").read_text())
    return ledger["schema"] and (ledger["schema"]["positive"], ledger["schema"]["negative"])


@pytest.mark.parametrize(
    ("words", "labels", "found"),
    [
        (["1"] * 20 + ["2"] * 50, {"positive_label": "1"}, (["1", "1.0"], ["2", "2.0"])),
        (["1"] * 20 + ["2"] * 50, {"positive_label": 2}, (["2", "2.0"], ["1", "1.0"])),
        (["0"] * 20 + ["5"] * 50, {"positive_label": 0}, (["0", "0.0"], ["5", "5.0"])),
        (["yes"] * 20 + ["gone"] * 50, {"positive_label": "gone"}, (["gone"], ["yes"])),
        (["left", "moved", "here"] * 9, {"positive_label": ["Left", "moved"]}, (["left", "moved"], ["here"])),
        (["left", "new", "here"] * 9, {"positive_label": "left", "negative_label": "rest"}, (["left"], [])),
        (["left", "new", "here"] * 9, {"negative_label": ["new", "here"]}, (["left"], ["new", "here"])),
    ],
)
def test_a_named_word_counts_whatever_it_looks_like(workspace, words, labels, found):
    configure(workspace, **labels)
    put(workspace, "a.csv", FILE + rows(words))
    assert workspace.run("ingestion")["rows_new"] == len(words)
    assert schema(workspace) == found


def test_the_rest_is_trained_on_scored_and_listed_as_staying(workspace):
    configure(workspace, positive_label="gone", negative_label="rest")
    put(workspace, "a.csv", FILE + rows(["gone", "gone", "new", "old client", "7", ""] * 60))
    workspace.put(
        "testdata/t.csv", [["t1", 4, "gone"], ["t2", 9, "something new"]] * 40, FILE.strip().split(",")
    )
    assert workspace.tick()["deployed"]
    assert json.loads((workspace.root / "models" / "metrics.json").read_text())["n"] == 80
    listed = (workspace.root / "models" / "atrisk.csv").read_text()
    assert "n2," in listed and "\nn0," not in listed
    put(workspace, "b.csv", FILE + rows(["gone", "moved"] * 40, 1000))
    assert workspace.tick()["rows_new"] == 80


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["died", "lived", "euthanized", "lived"], "1 of 4 labelled rows are .*: 'euthanized' 1"),
        (["died", "lived"] * 40 + ["Moved", "moved", "sold"], "3 of 83 .*: 'moved' 2, 'sold' 1"),
        (["died", "lived"] * 9 + ["unknown, not asked"], "1 of 19 .*: 'unknown, not asked' 1"),
    ],
)
@pytest.mark.parametrize("arrival", ["first", "later"])
def test_a_third_word_refuses_the_file_until_config_says_what_it_means(workspace, words, said, arrival):
    configure(workspace, positive_label="died")
    if arrival == "later":
        put(workspace, "a.csv", FILE + rows(["died", "lived"] * 9, 500))
        workspace.run("ingestion")
    put(workspace, "b.csv", FILE + rows([f'"{word}"' for word in words]))
    result = workspace.run("ingestion", expect=os.EX_DATAERR)
    assert (result["files_refused"], result["rows_new"]) == (1, 0)
    line = next(row for row in rejections(workspace) if row[0] == "b.csv")
    assert_matches(line[4], said)
    assert '"positive_label": ["died", ' in line[4] and '"negative_label": ["lived", ' in line[4]
    configure(workspace, negative_label="rest")
    assert workspace.run("ingestion")["rows_total"] == len(words) + 18 * (arrival == "later")
    assert schema(workspace) == (["died"], [])


def test_test_data_with_a_third_word_are_refused_and_few_are_rejected(workspace):
    configure(workspace, positive_label="died")
    put(workspace, "a.csv", FILE + rows(["died", "lived"] * 60))
    workspace.put(
        "testdata/t.csv",
        [[f"t{i}", i, "died"] for i in range(9)] + [["t", 1, "sold"]],
        ["name", "x", "outcome"],
    )
    workspace.put(
        "testdata/u.csv",
        [[f"u{i}", i, ("died", "lived")[i % 2]] for i in range(150)] + [["t", 1, "sold"]],
        ["name", "x", "outcome"],
    )
    for script in ("ingestion", "training", "scoring"):
        workspace.run(script)
    assert_matches(workspace.said, "t.csv.*1 of 10 labelled rows are neither 'died' nor 'lived'")
    assert json.loads((workspace.root / "models" / "metrics.json").read_text())["n"] == 150


def test_a_file_refused_for_its_words_does_not_shape_the_table(workspace):
    configure(workspace, positive_label="died")
    put(workspace, "b.csv", FILE + rows(["died", "euthanized", "lived"]))
    workspace.run("ingestion", expect=os.EX_DATAERR)
    put(workspace, "a.csv", "name,x,colour,outcome\nn1,many,red,died\nn2,few,blue,stays\n")
    workspace.run("ingestion")
    before = workspace.bytes()
    workspace.run("ingestion", "--rebuild")
    assert workspace.bytes() == before
    assert schema(workspace) == (["died"], ["stays"])


@pytest.mark.parametrize(
    ("words", "labels", "said"),
    [
        (
            ["ckd"] * 300,
            {"positive_label": "ckd"},
            "all 300 rows leave; waiting for rows that stay .*'ckd' 300",
        ),
        (
            ["active"] * 7,
            {"negative_label": "active"},
            "all 7 rows stay; waiting for rows that leave",
        ),
        (["1"] * 5, {"positive_label": 1}, "all 5 rows leave; waiting for rows that stay"),
        ([""] * 5, {"positive_label": "ckd"}, "no row has a label yet; waiting for rows that stay"),
    ],
)
def test_a_first_table_of_one_class_waits_for_the_other(workspace, words, labels, said):
    configure(workspace, **labels)
    put(workspace, "a.csv", FILE + rows(words))
    workspace.tick(expect=os.EX_DATAERR)
    assert_matches(workspace.said, said)
    assert "config" not in workspace.said
    assert workspace.tick() is not None and workspace.said == ""
    later = ["ckd", "other"] if words == [""] * 5 else ["other"]
    put(workspace, "b.csv", FILE + rows(later, 900))
    assert workspace.run("ingestion")["rows_new"] == len(words) + len(later)


@pytest.mark.parametrize(("word", "done", "awaited"), [("0", "stay", "leave"), ("yes", "leave", "stay")])
def test_training_waits_for_the_class_that_is_not_there(workspace, word, done, awaited):
    configure(workspace)
    put(workspace, "a.csv", FILE + rows([word] * 300))
    workspace.put("testdata/t.csv", [["t1", 4, "1"], ["t2", 9, "0"]] * 20, FILE.strip().split(","))
    assert workspace.tick(expect=os.EX_DATAERR)["rows_new"] == 300
    assert_matches(workspace.said, f"all 300 rows {done}; waiting for rows that {awaited}")
    assert "config" not in workspace.said
    workspace.tick()
    assert workspace.said == ""
    put(workspace, "b.csv", FILE + rows(["1", "0"] * 40, 900))
    assert workspace.tick()["deployed"]
