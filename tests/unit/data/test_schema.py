"""What a row is: kinds, labels, checks, and the frame that a model is given."""

import io
import math
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from makers import csv_line
from table_frames import read_table

from risk.data import csv_check, csv_rows, validation
from risk.data.frames import to_frame, to_target
from risk.data.schema import (
    LARGEST,
    NEGATIVE_WORDS,
    POSITIVE_WORDS,
    Schema,
    find_problem,
    learn_kind,
    learn_labels,
    parse_label,
    parse_number,
)
from risk.engines.duckdb import DuckDBEngine
from risk.errors import DatasetError
from risk.limits import Room

quick = settings(deadline=None, database=None, derandomize=True)
SCHEMA = Schema(
    columns=("id", "n", "t", "note", "y"),
    kinds={"n": "number", "t": "text"},
    target="y",
    positive=POSITIVE_WORDS,
    negative=NEGATIVE_WORDS,
    ids=("id",),
    ignored=("note",),
)


@pytest.mark.parametrize(
    "text, value",
    [
        ("0", 0.0),
        ("007", 7.0),
        ("-1.50", -1.5),
        ("+.5e-3", 0.0005),
        ("1.", 1.0),
        ("1e100", 1e100),
        ("-1e100", -1e100),
        ("1.1e100", None),
        ("1e-999", 0.0),
        ("true", 1.0),
        ("FALSE", 0.0),
    ],
)
def test_a_number_is_read(text, value):
    assert parse_number(text) == value


@pytest.mark.parametrize("text", ["", "NA", "n/a", "Null", "nan", "NaN"])
def test_a_missing_number_is_nan(text):
    assert math.isnan(parse_number(text))


@pytest.mark.parametrize(
    "text", ["1e309", "inf", "-Infinity", "1_000", "0x10", "1,5", "1 000", "١", "--1", "yes", "."]
)
def test_what_is_no_finite_number_is_none(text):
    assert parse_number(text) is None


@given(st.floats(-LARGEST, LARGEST))
@settings(quick)
def test_every_finite_double_is_read_back_equal(value):
    assert parse_number(repr(value)) == value


@pytest.mark.parametrize(
    "n_filled, n_words, n_numbers, kind",
    [
        (100, 0, 98, "number"),
        (100, 0, 97, "text"),
        (100, 50, 49, "number"),
        (100, 50, 48, "text"),
        (0, 0, 0, "text"),
        (5, 5, 0, "text"),
    ],
)
def test_a_column_is_a_number_when_98_percent_of_its_filled_cells_are(n_filled, n_words, n_numbers, kind):
    assert learn_kind(n_filled, n_words, n_numbers) == kind


@pytest.mark.parametrize(
    "counts, positive, leaves, stays",
    [
        ({"0": 9, "1": 1}, None, "1", "0"),
        ({"yes": 1, "no": 3}, None, "YES", "No"),
        ({"true": 1, "false": 3}, "true", "True", "FALSE"),
        ({"0": 9, "1": 1}, "0", "0", "1"),
        ({}, None, "1", "0"),
        ({"gone": 3, "stays": 9, "typo": 1}, "Gone", "gone", "STAYS"),
        ({"1": 3, "2": 9}, "1", "1", "2"),
        ({"1": 9, "2": 3}, "2", "2.0", "1"),
        ({"1.0": 3, "2.0": 9}, "1", "1", "2"),
        ({"0": 3, "1": 9, "5": 5}, "0", "0", "1"),
        ({"T": 3, "f": 9}, None, "t", "F"),
        ({"here": 4}, "gone", "gone", "HERE"),
        ({"gone": 1, "moved": 2, "here": 4}, ["gone", "Moved"], "moved", "here"),
    ],
)
def test_label_words_are_learned(counts, positive, leaves, stays):
    found = learn_labels(counts, "y", positive)
    schema = Schema(("y",), {}, "y", *found, (), ())
    assert (parse_label(leaves, schema), parse_label(stays, schema)) == (1, 0)
    assert parse_label("typo", schema) is None


@pytest.mark.parametrize(
    "counts, positive, reason",
    [
        ({"gone": 3, "here": 4}, None, "name the word for leaving"),
        ({"gone": 3, "here": 4}, "left", "must hold 'left' and one other word"),
        ({"gone": 3, "here": 4}, "gonne", "must hold 'gonne' .*did you mean 'gone'"),
        ({"gone": 3}, "gone", "all 3 rows leave; waiting for rows that stay"),
        ({}, "gone", "no row has a label yet; waiting for rows that stay"),
    ],
)
def test_label_words_that_say_nothing_are_refused(counts, positive, reason):
    with pytest.raises(DatasetError, match=reason):
        learn_labels(counts, "y", positive)


@pytest.mark.parametrize(
    "counts, positive, negative, found",
    [
        ({"a": 3, "b": 1, "c": 9}, None, "c", (("a",), ("c",))),
        ({"a": 3, "b": 1, "c": 9}, "a", ["b", "c"], (("a",), ("b", "c"))),
        ({"a": 3, "b": 1, "c": 9}, ["A", "b"], "rest", (("a", "b"), ())),
        ({"0": 3, "1": 9}, None, "0", (POSITIVE_WORDS, NEGATIVE_WORDS)),
        ({"0": 3, "1": 9}, "1", "0", (("1", "1.0"), ("0", "0.0"))),
        ({"rest": 3, "1": 9}, "1", ("rest",), (("1", "1.0"), ("rest",))),
    ],
)
def test_words_for_staying_may_be_named(counts, positive, negative, found):
    assert learn_labels(counts, "y", positive, negative) == found


def test_the_rest_stays():
    schema = Schema(("y",), {}, "y", ("gone",), (), (), ())
    assert [parse_label(word, schema) for word in ("Gone", "here", "7")] == [1, 0, 0]
    assert schema.knows(["here", "7"]) and find_problem({"y": "7"}, schema) is None


@pytest.mark.parametrize(
    "row, column",
    [
        ({"id": "NA", "n": "", "t": "null", "note": "x", "y": ""}, None),
        ({"id": "c", "n": "many", "t": "", "note": "", "y": "maybe"}, "n"),
        ({"id": "c", "n": "1", "t": "inf", "note": "many", "y": "maybe"}, "y"),
        ({"id": "c", "n": "1", "t": "", "note": "", "y": "NA"}, "y"),
    ],
)
def test_the_first_bad_cell_of_a_row_is_named(row, column):
    found = find_problem(row, SCHEMA)
    assert (found.column if found else None) == column


CELL = st.text(st.sampled_from("a1,;'\"\n\r\t \\#é漢"), max_size=4).map(
    lambda text: text.strip(csv_check.BLANKS)
)
ROW = st.fixed_dictionaries(
    {
        "id": st.one_of(CELL, st.sampled_from(["NA", "nan"])),
        "n": st.one_of(
            st.floats(-LARGEST, LARGEST).map(repr),
            st.sampled_from(["", "NA", "null", "n/a", "TRUE", "false", "007", "1."]),
        ),
        "t": st.one_of(CELL, st.sampled_from(["NA", "null", "nan", "1", "True", "-"])),
        "note": CELL,
        "y": st.sampled_from(["", "0", "1", "Yes", "no", "TRUE", "1.0"]),
    }
)


def full(row):
    return any(row.values())


@pytest.mark.slow
@settings(quick, max_examples=80)
@given(st.lists(ROW.filter(full), max_size=6), st.lists(ROW.filter(full), min_size=1, max_size=6))
def test_the_table_read_back_is_the_frame_of_its_rows(before, after):
    with tempfile.TemporaryDirectory() as name:
        path, marks = Path(name) / "table.csv", []
        path.write_bytes(csv_line(SCHEMA.columns))
        for part in (before, after):
            with DuckDBEngine(SCHEMA.columns, Room(Path(name) / "spill"), reads=Path(name)) as engine:
                engine.add_rows(0, part)
                engine.write(Path(name) / "part.csv")
            path.write_bytes(path.read_bytes() + (Path(name) / "part.csv").read_bytes())
            marks.append(path.stat().st_size)
        for expected, start in ((before + after, 0), (after, marks[0])):
            X, y = read_table(path, SCHEMA, start=start, stop=marks[1])
            pd.testing.assert_frame_equal(X, to_frame(expected, SCHEMA))
            np.testing.assert_array_equal(y, to_target(expected, SCHEMA))


@settings(quick, max_examples=100)
@given(st.lists(ROW.filter(full), max_size=6))
def test_a_row_that_is_written_is_read_by_the_exact_reader_as_it_was(expected):
    data = csv_line(SCHEMA.columns)
    data += b"".join(csv_line(row[name] for name in SCHEMA.columns) for row in expected)
    parsed = csv_rows.parse_rows(io.StringIO(data.decode(), newline=""), SCHEMA.columns, ",")
    found = validation.sort_rows(parsed, SCHEMA.columns, SCHEMA.columns, SCHEMA)
    assert found.good == expected and found.rejected == []


def test_a_schema_comes_back_from_json():
    assert Schema.from_json(SCHEMA.to_json()) == SCHEMA
