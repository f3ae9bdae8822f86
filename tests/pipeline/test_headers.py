"""Files without a header, and a label column of another name, are recognised as what they are."""

import os

import pytest
from input_cases import GOOD, HEADER, put, rejections


@pytest.mark.parametrize(
    ("header", "target", "said"),
    [
        ("corporation,activity,Exited", "exited", "did you mean 'Exited'? The columns are 'corporation', "),
        ("corporation,activity,client exited", "client_exited", "did you mean 'client exited'?"),
        ("corporation,exitd,activity", "exited", "did you mean 'exitd'?"),
        (
            "corporation,activity,churn",
            "exited",
            "the columns are 'corporation', 'activity', 'churn'; ",
        ),
        (",".join(f"c{i}x" for i in range(30)), "exited", "'c0x', 'c1x'"),
        (",".join(f"c{i}x" for i in range(30)), "exited", "'c29x'; correct \"target_column\" in config.json"),
        ("id,2019,2020,2021,churned", "churn", "did you mean 'churned'?"),
    ],
)
def test_a_wrong_label_column_is_named_with_the_nearest_and_all_columns(workspace, header, target, said):
    workspace.configure(target_column=target, id_columns=[])
    put(workspace, "a.csv", f"{header}\n" + ",".join(map(str, range(header.count(",") + 1))) + "\n")
    workspace.run("ingestion", expect=os.EX_DATAERR)
    assert f"no file has the label column {target!r}" in workspace.said
    assert said in workspace.said


@pytest.mark.parametrize(
    "rows",
    [
        "c1,7,0\nc2,8,1\n",
        "c1;7,5;0\nc2;8,5;1\n",
        "Ann,red,yes\nBob,blue,no\n",
        "c1,2024-01-31,12 %\nc2,2024-02-01,3 %\n",
    ],
    ids=["numbers", "semicolons and decimal commas", "yes and no", "dates and per cents"],
)
def test_a_first_file_without_a_header_is_recognised(workspace, rows):
    put(workspace, "a.csv", rows)
    workspace.tick(expect=os.EX_DATAERR)
    assert "the first file has a first line that looks like data, not like names of columns" in workspace.said
    assert "config.json" not in workspace.said
    assert workspace.said.count("\n") == 1


def test_equal_cells_of_a_first_row_are_no_column_that_is_there_twice(workspace):
    put(workspace, "a.csv", "c1,1,1\nc2,8,0\n")
    workspace.run("ingestion", expect=os.EX_DATAERR)
    assert (
        "refused: has a first line that looks like data, not like names of columns ('c1', '1', '1')"
        in workspace.said
    )


def test_a_later_file_without_a_header_is_recognised_and_a_renamed_column_named(workspace):
    put(workspace, "a.csv", f"{HEADER}\n{GOOD}")
    put(workspace, "b.csv", "c1,7,0\nc2,8,1\n")
    put(workspace, "c.csv", "corporation,Activity,exited\nc1,7,0\n")
    put(workspace, "d.csv", "corporation,2019,exited\nc1,7,0\n")
    workspace.run("ingestion")
    reasons = {row[0]: row[4] for row in rejections(workspace)}
    assert reasons["b.csv"].startswith("has a first line that looks like data")
    assert reasons["c.csv"] == "lacks the column 'activity' (but has 'Activity')"
    assert reasons["d.csv"] == "lacks the column 'activity'"


def test_an_id_column_of_another_name_is_named(workspace):
    workspace.configure(id_columns=["Corporation"])
    put(workspace, "a.csv", f"{HEADER}\n{GOOD}")
    workspace.run("ingestion", expect=os.EX_DATAERR)
    assert "names 'Corporation', which the data do not have; did you mean 'corporation'?" in workspace.said
