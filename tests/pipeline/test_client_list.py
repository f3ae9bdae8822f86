"""The list of clients at risk: who is on it, in which order, against the list before."""

import csv
import json
import re

import pytest
from makers import HEADER, make_clients

from risk.model import decomposition, registry
from risk.prediction import client_list, client_list_reader

OWN = list(client_list_reader.OWN)


def read(workspace, name="models/atrisk.csv"):
    with (workspace.root / name).open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def summary(workspace):
    return json.loads((workspace.root / "models/diagnostics.json").read_text())["clients"]


def walk(workspace):
    """Deploy a model by hand and list the clients: a tick without its report."""
    workspace.walk()
    workspace.run("diagnostics")
    return workspace


def renew(workspace):
    """Take up new rows and list the clients anew, by the same model."""
    workspace.run("ingestion")
    workspace.run("diagnostics")


@pytest.fixture
def listed(old_world):
    return walk(old_world)


def model_says(workspace, rows):
    """Ask the deployed model of rows of the conftest kind."""
    release, model = registry.load_deployed(workspace.root / "production_deployment")
    import pandas as pd

    X = pd.DataFrame(
        {
            "activity": [float(row[1]) for row in rows],
            "colour": pd.Series([row[2] or None for row in rows], dtype="str"),
        }
    )
    return release.id, model.predict_proba(X)[:, 1]


def test_each_client_who_has_not_left_has_a_line_most_at_risk_first(listed):
    lines = read(listed)
    rows = {row[0]: row for row in make_clients(150, "a") + make_clients(150, "b")}
    stayed = [row for row in rows.values() if row[3] == "0"]
    assert sorted(line["corporation"] for line in lines) == sorted(row[0] for row in stayed)
    release, said = model_says(listed, [rows[line["corporation"]] for line in lines])
    assert [float(line["probability"]) for line in lines] == pytest.approx(said, abs=5e-5)
    assert (said[:-1] >= said[1:]).all() and [line["rank"] for line in lines] == [
        str(k + 1) for k in range(len(lines))
    ]
    assert list(lines[0]) == ["rank", "corporation", *OWN]
    assert {line["release"] for line in lines} == {release}
    assert {line["data"] for line in lines} == {
        json.loads((listed.root / "ingesteddata/.finaldata.json").read_text())["digest"][:12]
    }


def test_the_summary_counts_what_the_list_holds(listed):
    found, lines = summary(listed), read(listed)
    at_risk = [line for line in lines if line["risk"] != "low"]
    assert found["n_clients"] == len(lines) and found["n_at_risk"] == len(at_risk)
    assert found["share_at_risk"] == pytest.approx(len(at_risk) / len(lines))
    assert found["risk"] == {
        risk: sum(line["risk"] == risk for line in lines) for risk in ("high", "medium", "low")
    }
    assert found["n_left"] == 300 - len(lines) and found["value_at_risk"] is None and found["before"] is None
    assert all(float(line["probability"]) >= found["threshold"] - 5e-5 for line in at_risk)
    assert len(found["clients"]) == 20
    first, line = found["clients"][0], lines[0]
    assert first["id"] == {"corporation": line["corporation"]} and first["rank"] == 1
    assert [reason["text"] for reason in first["reasons"]] == [
        line[name] for name in client_list_reader.REASONS if line[name]
    ]
    assert {"column", "text", "effect"} == set(first["reasons"][0]) and first["reasons"][0]["effect"] > 0
    assert first["probability_low"] <= first["probability"] <= first["probability_high"]


def test_a_client_is_its_newest_row_and_an_unlabelled_one_is_always_on_the_list(listed):
    busy, quiet = ["x", "90", "red"], ["x", "1", "red"]
    listed.put("sourcedata/c.csv", [[*busy, "0"], [*quiet, "0"], ["y", "50", "", "1"], ["z", "50", "", ""]])
    renew(listed)
    lines = {line["corporation"]: line for line in read(listed)}
    assert "y" not in lines and "z" in lines
    assert lines["x"]["reason_1"].startswith("activity 1, usually ")
    listed.put("sourcedata/d.csv", [["x", "1", "red", "1"], ["y", "50", "green", ""]])
    renew(listed)
    assert {"x", "y"} & {line["corporation"] for line in read(listed)} == {"y"}


def test_the_list_is_renewed_by_every_tick_with_new_rows_and_by_no_other(old_world):
    old_world.tick()
    path = old_world.root / "models/atrisk.csv"
    first = path.stat().st_mtime_ns
    old_world.tick()
    assert path.stat().st_mtime_ns == first
    old_world.put("sourcedata/c.csv", [["new client", "3", "red", ""]])
    result = old_world.tick()
    assert result["drift"] is None and not result["deployed"]
    assert "new client" in {line["corporation"] for line in read(old_world)}


def test_changes_are_against_the_list_before_and_empty_for_new_clients(listed):
    before = {line["corporation"]: line for line in read(listed)}
    mover = read(listed)[-1]["corporation"]
    listed.put("sourcedata/c.csv", [[mover, "1", "red", "0"], ["newcomer", "2", "red", "0"]])
    renew(listed)
    lines = read(listed)
    for line in lines:
        old = before.get(line["corporation"])
        if old is None:
            assert line["corporation"] == "newcomer"
            assert line["rank_change"] == line["probability_change"] == ""
            continue
        assert int(line["rank_change"]) == int(old["rank"]) - int(line["rank"])
        assert float(line["probability_change"]) == pytest.approx(
            float(line["probability"]) - float(old["probability"]), abs=1e-9
        )
    (moved,) = [line for line in lines if line["corporation"] == mover]
    assert moved["rank_change"].startswith("+") and moved["probability_change"].startswith("+0.")
    assert summary(listed)["before"]["n_clients"] == len(before)


def test_made_again_of_the_same_the_list_has_the_same_bytes(listed):
    listed.put("sourcedata/c.csv", make_clients(30, "c"))
    renew(listed)
    kept = (listed.root / "models/atrisk.csv").read_bytes(), summary(listed)
    assert any(line["rank_change"] not in ("", "0") for line in read(listed))
    for _ in range(2):
        listed.run("diagnostics")
        assert ((listed.root / "models/atrisk.csv").read_bytes(), summary(listed)) == kept


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: data.replace(b"rank,", b"place,", 1),
        lambda data: b"\xff\xfe" + data,
        lambda data: data.replace(b"\n", b'\n"', 3),
        lambda data: data.replace(b",0.", b",zero.") + b"torn,line\n",
        lambda data: b"\0" * 1000,
    ],
    ids=["empty", "half", "another header", "bytes", "quotes", "words for numbers", "zeros"],
)
def test_a_damaged_list_is_no_list_before_or_counts_where_it_is_whole(listed, damage):
    path = listed.root / "models/atrisk.csv"
    before = {line["corporation"]: line for line in read(listed)}
    path.write_bytes(damage(path.read_bytes()))
    listed.put("sourcedata/c.csv", [["new client", "3", "red", ""]])
    renew(listed)
    assert len(read(listed)) == len(before) + 1
    for line in read(listed):
        if line["rank_change"]:
            assert int(line["rank_change"]) == int(before[line["corporation"]]["rank"]) - int(line["rank"])


def test_with_a_value_column_the_expected_loss_ranks(listed):
    header = ["corporation", "activity", "colour", "revenue", "exited"]
    listed.configure(ignore_columns=["revenue"], report={"value_column": "revenue", "top_n": 3})
    draw = [[*row[:3], str(10 * k), row[3]] for k, row in enumerate(make_clients(150, "a"))]
    draw[0][3], draw[1][3] = "", "unknown"
    draw[0][4] = draw[1][4] = "0"
    listed.put("sourcedata/a.csv", draw, header)
    (listed.root / "sourcedata/b.csv").unlink()
    renew(listed)
    lines, found = read(listed), summary(listed)
    value = {row[0]: row[3] for row in draw}
    losses = [float(line["expected_loss"]) for line in lines[:-2]]
    assert losses == sorted(losses, reverse=True)
    for line in lines[:-2]:
        expected = float(line["probability"]) * float(value[line["corporation"]])
        assert float(line["expected_loss"]) == pytest.approx(expected, abs=0.006 + 5e-5 * 1500)
    assert [line["expected_loss"] for line in lines[-2:]] == ["", ""]
    assert {line["corporation"] for line in lines[-2:]} == {draw[0][0], draw[1][0]}
    at_risk = [float(line["expected_loss"] or 0) for line in lines if line["risk"] != "low"]
    assert found["value_at_risk"] == pytest.approx(sum(at_risk), abs=0.01 * len(lines))
    assert len(found["clients"]) == 3 and found["value_column"] == "revenue"


def test_a_value_column_that_the_table_lacks_is_an_error_of_the_config(listed):
    listed.configure(report={"value_column": "revenu"})
    listed.run("diagnostics", expect=78)
    assert "report.value_column: the table has no column 'revenu'; it has 'corporation'" in listed.said


def test_words_of_the_config_are_those_of_the_reasons_and_unknown_columns_are_named(listed):
    words = {"activity": {"name": "logins last week", "unit": "logins"}, "size": {"name": "size"}}
    listed.configure(report={"words": words})
    listed.run("diagnostics")
    assert "report.words: the table has no column 'size'" in listed.said
    assert re.search(
        r"logins last week \d+ logins, usually \d+\"", (listed.root / "models/atrisk.csv").read_text()
    )


def test_without_id_columns_each_row_is_a_client_named_by_its_number(workspace):
    workspace.configure(id_columns=[])
    rows = [row[1:] for row in make_clients(200, "a")]
    workspace.put("sourcedata/a.csv", rows, HEADER[1:])
    workspace.put("testdata/t.csv", [row[1:] for row in make_clients(100, "t")], HEADER[1:])
    walk(workspace)
    unique = list(dict.fromkeys(map(tuple, rows)))
    numbers = [int(line["row"]) for line in read(workspace)]
    assert sorted(numbers) == [k + 1 for k, row in enumerate(unique) if row[2] == "0"]
    workspace.put("sourcedata/b.csv", [["17", "violet", ""]], HEADER[1:])
    renew(workspace)
    lines = {int(line["row"]): line for line in read(workspace)}
    assert lines[len(unique) + 1]["rank_change"] == "" and lines[numbers[0]]["rank_change"] != ""


def test_row_numbers_of_another_table_are_not_compared(workspace):
    workspace.configure(id_columns=[], input_folder_path="practicedata")
    for folder, seed in (("practicedata", "p"), ("sourcedata", "s")):
        workspace.put(f"{folder}/a.csv", [row[1:] for row in make_clients(150, seed)], HEADER[1:])
    workspace.put("testdata/t.csv", [row[1:] for row in make_clients(100, "t")], HEADER[1:])
    walk(workspace)
    workspace.configure(input_folder_path="sourcedata")
    renew(workspace)
    assert {line["rank_change"] for line in read(workspace)} == {""}


def test_several_id_columns_and_missing_ones_name_a_client_together(workspace):
    header = ["corporation", "branch", "activity", "colour", "exited"]
    workspace.configure(id_columns=["corporation", "branch"])
    draw = [[row[0], "main", *row[1:]] for row in make_clients(200, "a")]
    odd = [
        ["ACME", "north", "1", "red", "0"],
        ["ACME", "", "2", "red", "0"],
        ["ACME", "north", "3", "red", "0"],
        ["", "", "4", "red", "0"],
        ["", "", "5", "red", "0"],
    ]
    workspace.put("sourcedata/a.csv", draw + odd, header)
    workspace.put("testdata/t.csv", [[row[0], "main", *row[1:]] for row in make_clients(100, "t")], header)
    walk(workspace)
    found = [(line["corporation"], line["branch"]) for line in read(workspace)]
    assert found.count(("ACME", "north")) == found.count(("ACME", "")) == 1 and found.count(("", "")) == 2
    workspace.put("sourcedata/b.csv", [["ACME", "", "9", "red", ""]], header)
    renew(workspace)
    lines = {(line["corporation"], line["branch"]): line for line in read(workspace)}
    assert lines["ACME", ""]["rank_change"] != "" and lines["", ""]["rank_change"] == ""


def test_no_cell_is_a_formula_to_a_spreadsheet_and_changes_still_match(listed):
    names = [
        '=cmd|"/c calc"!A1',
        "+1+2",
        "@SUM(A1)",
        "-2+3",
        "\t=1",
        "-5",
        "a;=1",
        "名前, Inc.",
        'say "hi"\nthere',
    ]
    listed.put("sourcedata/c.csv", [[name, "5", "red", ""] for name in names])
    renew(listed)
    listed.put("sourcedata/d.csv", [["one more", "5", "red", ""]])
    renew(listed)
    lines = {line["corporation"]: line for line in read(listed)}
    wanted = [
        '\'=cmd|"/c calc"!A1',
        "'+1+2",
        "'@SUM(A1)",
        "'-2+3",
        "'=1",
        "-5",
        "a;'=1",
        "名前, Inc.",
        'say "hi"\nthere',
    ]
    assert set(wanted) <= set(lines)
    assert all(lines[name]["rank_change"] for name in wanted)


def test_an_id_column_may_have_the_name_of_one_of_ours(workspace):
    header = ["rank", "risk", "activity", "colour", "exited"]
    workspace.configure(id_columns=["rank", "risk"])
    workspace.put("sourcedata/a.csv", [[row[0], "r", *row[1:]] for row in make_clients(100, "a")], header)
    workspace.put("testdata/t.csv", [[row[0], "r", *row[1:]] for row in make_clients(100, "t")], header)
    walk(workspace)
    assert list(read(workspace)[0]) == ["rank", "id_rank", "id_risk", *OWN]


def test_without_a_release_there_is_no_list(old_world):
    old_world.run("ingestion")
    assert old_world.run("diagnostics")["clients"] is None
    assert not (old_world.root / "models/atrisk.csv").exists()


def test_a_table_the_model_cannot_read_leaves_the_list_as_it_is(listed):
    kept = (listed.root / "models/atrisk.csv").read_bytes()
    listed.configure(ignore_columns=["colour"])
    listed.run("ingestion", "--rebuild")
    assert listed.run("diagnostics")["clients"] is None
    assert "atrisk.csv is as it was: the deployed model needs the text column" in listed.said
    assert (listed.root / "models/atrisk.csv").read_bytes() == kept


def test_everybody_left_is_an_empty_list(listed):
    rows = [[*row[:3], "1"] for row in make_clients(150, "a") + make_clients(150, "b")]
    listed.put("sourcedata/c.csv", rows)
    renew(listed)
    found = summary(listed)
    assert read(listed) == [] and found["n_clients"] == 0 and found["share_at_risk"] is None
    assert found["clients"] == [] and found["before"]["n_clients"] > 0
    listed.put("sourcedata/d.csv", [["again", "5", "red", ""]])
    renew(listed)
    assert [line["corporation"] for line in read(listed)] == ["again"]


def test_few_rows_have_no_interval(workspace):
    workspace.put("sourcedata/a.csv", make_clients(40, "a"))
    workspace.put("testdata/t.csv", make_clients(100, "t"))
    walk(workspace)
    assert {line["probability_low"] for line in read(workspace)} == {""}
    assert summary(workspace)["clients"][0]["probability_high"] is None


def test_only_the_first_lines_have_reasons(listed):
    import diagnostics
    from config import load_config
    from risk.data.ledger import load_ready_ledger

    config = load_config(listed.config_path)
    _, predictor = diagnostics.load_release(config)
    facts = client_list.write_list(
        config.at_risk,
        config.final_data,
        config.room,
        load_ready_ledger(config.ledger),
        predictor,
        client_list.ListOptions(n_explained=5),
    )
    assert [bool(line["reason_1"]) for line in read(listed)[:7]] == [True] * 5 + [False] * 2
    assert all(one["reasons"] for one in facts["clients"][:5])


def test_a_table_modified_outside_the_pipeline_is_refused(listed):
    path = listed.root / "ingesteddata/finaldata.csv"
    path.write_bytes(path.read_bytes().replace(b"\n", b'\n"', 2))
    listed.run("diagnostics", expect=65)
    assert "was modified outside this pipeline" in listed.said or "is damaged" in listed.said


def test_a_model_of_another_build_is_listed_without_reasons(listed, monkeypatch):
    monkeypatch.setattr(decomposition, "decompose", lambda model: model.no_such_part)
    before = [(line["corporation"], line["probability"]) for line in read(listed)]
    listed.run("diagnostics")
    assert [(line["corporation"], line["probability"]) for line in read(listed)] == before
    assert {line["reason_1"] for line in read(listed)} == {""}
    assert summary(listed)["clients"][0]["reasons"] == []
