"""Reasons in plain words: every one must be understood without a legend."""

import pytest

from risk.prediction import wording
from risk.prediction.baselines import Baseline
from risk.prediction.wording import Words

NUMBER = Baseline(True, (156.0,), (1.0,))
MOSTLY_MISSING = Baseline(True, (None,), (1.0,))
SWITCH = Baseline(True, (0.0, 1.0), (0.8, 0.2))
CONTRACT = Baseline(False, ("Month-to-month", "Two year", None), (0.55, 0.4, 0.05))
SECTOR = Baseline(False, ("Retail", "Mining"), (0.3, 0.2))


@pytest.mark.parametrize(
    ("column", "usual", "value", "contrast", "said"),
    [
        ("lastmonth_activity", NUMBER, 3.0, 156.0, "lastmonth activity 3, usually 156"),
        ("lastmonth_activity", NUMBER, None, 156.0, "lastmonth activity is missing, usually 156"),
        ("discount", MOSTLY_MISSING, 5.0, None, "discount 5, usually missing"),
        ("senior", SWITCH, 1.0, 0.0, "senior 1, usually 0"),
        ("senior", SWITCH, 0.0, 1.0, "senior 0 rather than 1"),
        ("Contract", CONTRACT, "Two year", "Month-to-month", "Contract: Two year, usually Month-to-month"),
        (
            "Contract",
            CONTRACT,
            "Month-to-month",
            "Two year",
            "Contract: Month-to-month rather than Two year",
        ),
        ("Contract", CONTRACT, None, "Month-to-month", "Contract is missing, usually Month-to-month"),
        ("Contract", CONTRACT, "Two year", None, "Contract: Two year, usually missing"),
        ("Contract", CONTRACT, "One year", "One year", "Contract: One year"),
        ("sector", SECTOR, "Mining", "Retail", "sector: Mining rather than Retail"),
        ("sector", SECTOR, None, "Retail", "sector is missing, usually given"),
    ],
)
def test_a_reason_reads_as_a_person_would_say_it(column, usual, value, contrast, said):
    assert Words().describe_value(column, usual, value, contrast) == said


def test_the_table_of_words_gives_names_and_units():
    table = Words({"tenure": {"name": "months with us", "unit": "months"}, "fee": {"unit": "EUR"}})
    assert table.describe_value("tenure", NUMBER, 2.0, 156.0) == "months with us 2 months, usually 156"
    assert (
        table.describe_value("tenure", NUMBER, None, 156.0) == "months with us is missing, usually 156 months"
    )
    assert table.describe_value("fee", NUMBER, 2.5, 156.0) == "fee 2.5 EUR, usually 156"


@pytest.mark.parametrize(
    ("column", "name"),
    [
        ("number_of_employees", "number of employees"),
        ("TotalCharges", "Total Charges"),
        ("iPhoneModel", "iPhone Model"),
        ("customerID", "customerID"),
        ("emp.var.rate", "emp.var.rate"),
        ("事業所の名前", "事業所の名前"),
    ],
)
def test_a_column_without_words_is_called_by_its_own_name(column, name):
    assert Words().name(column) == name


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (3.0, "3"),
        (-0.0, "0"),
        (2024.0, "2024"),
        (12345.0, "12,345"),
        (151.65, "151.7"),
        (5625.25, "5625"),
        (98765.4, "98,765"),
        (0.00012345, "0.0001234"),
        (1e15, "1e+15"),
        (-1e100, "-1e+100"),
    ],
)
def test_a_number_shows_the_digits_that_matter(value, said):
    assert wording.format_number(value) == said


def test_two_numbers_that_differ_are_never_written_alike():
    assert Words().describe_value("rate", Baseline(True, (1.23456,), (1.0,)), 1.23457, 1.23456) == (
        "rate 1.23457, usually 1.23456"
    )


def test_a_long_category_of_several_lines_is_cut_to_one_short_line():
    said = wording.format_value("first line\n\tsecond \x1b[31m line " + "x" * 100)
    assert said.startswith("first line second [31m line x") and said.endswith("…")
    assert len(said) == wording.MAX_LETTERS
