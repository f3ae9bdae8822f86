"""Tables of the report: a client at risk as a person reads it."""

import pytest

from risk.reporting import formats, tables

LINE = {
    "rank": 1200,
    "id": {"corporation": "Łódź", "branch": "2"},
    "probability": 0.974,
    "probability_low": 0.921,
    "probability_high": 0.996,
    "risk": "high",
    "expected_loss": 4850.4,
    "rank_change": 3,
    "reasons": [{"column": "tenure", "text": "tenure 2, usually 29", "effect": 0.9}],
}


def test_a_line_is_said_in_texts():
    assert tables.describe_client(LINE) == {
        "rank": "1,200",
        "name": "Łódź · 2",
        "probability": "97 %",
        "band": "92 to over 99 %",
        "risk": "high",
        "loss": "4,850",
        "change": "3 up",
        "reasons": ["tenure 2, usually 29"],
    }


def test_what_is_not_known_is_left_out():
    unknown = {"probability_low": None, "probability_high": None, "expected_loss": None, "reasons": ["r"]}
    told = tables.describe_client(LINE | unknown)
    assert (told["band"], told["loss"], told["reasons"]) == ("", "", ["r"])


@pytest.mark.parametrize(
    ("ids", "name"),
    [
        ({"row": "12"}, "row 12"),
        ({"corporation": None}, tables.NAMELESS),
        ({"a": None, "b": "x"}, "x"),
    ],
    ids=["without ids", "nameless", "half a name"],
)
def test_a_client_without_a_name_is_still_told_apart(ids, name):
    assert tables.name_client(ids) == name


@pytest.mark.parametrize(
    ("change", "said"), [(None, "new"), (0, "same"), (1, "1 up"), (-1500, "1,500 down")], ids=str
)
def test_a_change_of_place_says_its_direction(change, said):
    assert formats.format_rank_change(change) == said


@pytest.mark.parametrize(
    ("share", "said"),
    [(0.0, "under 1 %"), (0.0049, "under 1 %"), (0.0051, "1 %"), (0.5, "50 %"), (0.9949, "99 %"),
     (0.9951, "over 99 %"), (1.0, "over 99 %")],
    ids=str,
)  # fmt: skip
def test_no_probability_is_certain(share, said):
    assert formats.format_percent(share) == said


@pytest.mark.parametrize(("column", "order"), [(None, "by risk"), ("revenue", "by expected loss")], ids=str)
def test_the_list_says_how_much_of_it_is_shown_and_in_which_order(column, order):
    told = tables.describe_clients({"clients": [LINE], "n_clients": 9000, "value_column": column})
    assert f"first 1 of 9,000 clients, {order}" in told["said"]
    assert told["has_loss"] == (column is not None)


def test_without_a_list_it_says_what_to_run():
    assert "run diagnostics.py" in tables.describe_clients(None)["said"]
