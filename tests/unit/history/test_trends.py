"""How things have moved: points by rules that can be read, thinned without losing a peak."""

import json
import math
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from moments import moment

from risk.history import trends
from risk.reporting import terminal


def day(number):
    return f"2026-01-{number:02d}T08:00:00.000001Z"


def values(trend, key):
    return [point["value"] for point in trend["series"][key]["points"]]


def test_a_release_has_the_score_of_its_model_before_it_was_deployed():
    rows = {
        "scores": [
            {"at": day(1), "data": "test", "model_sha256": "m", "f1": 0.4, "auc": 0.6},
            {
                "at": day(2),
                "data": "test",
                "model_sha256": "m",
                "f1": 0.5,
                "f1_low": 0.45,
                "f1_high": 0.55,
                "auc": 0.7,
            },
            {"at": day(4), "data": "test", "model_sha256": "m", "f1": 0.9, "auc": 0.9},
            {"at": day(2), "data": "test", "model_sha256": "other", "f1": 0.1, "auc": 0.1},
        ],
        "releases": [{"at": day(3), "release": "r", "action": "deployed", "model_sha256": "m", "score": 0.5}],
    }
    found = trends.build(rows)
    (point,) = found["series"]["f1/release"]["points"]
    assert point == {"at": day(3), "value": 0.5, "low": 0.45, "high": 0.55, "release": "r"}
    assert values(found, "auc/release") == [0.7]
    assert found["marks"] == [{"at": day(3), "kind": "deployed", "release": "r"}]


BAND = {"f1": 0.6, "f1_low": 0.5, "f1_high": 0.7, "auc": 0.8, "auc_low": 0.7, "auc_high": 0.9}


def test_an_estimate_is_a_point_and_once_labels_came_its_error_is_another():
    rows = {
        "estimates": [
            {"at": day(1), "release": "r", **BAND},
            {"at": day(2), "release": "r", **BAND, "n_labelled": 9, "realised_f1": 0.7, "realised_auc": None},
            {"at": day(3), "release": "r", **BAND, "n_labelled": 9, "realised_f1": 0.4, "realised_auc": 0.9},
            {"at": day(4), "release": "r", "n_labelled": 9, "realised_f1": 0.4},
        ]
    }
    found = trends.build(rows)
    assert values(found, "f1/estimate") == [0.6] and values(found, "auc/estimate") == [0.8]
    assert values(found, "f1/estimate_error") == [pytest.approx(0.1), pytest.approx(-0.2)]
    (point,) = found["series"]["auc/estimate_error"]["points"]
    assert point == {"at": day(3), "value": 0.9 - 0.8, "low": 0.7 - 0.8, "high": 0.9 - 0.8, "release": "r"}
    held = "the interval of an estimate held for F1 in 1 of 2 (mean error -0.050), for AUC in 1 of 1"
    assert held in trends.count_held(found) and held in " ".join(terminal.render_text(found).split())
    assert "F1 0.600 (0.500-0.700) of new rows, estimated" in terminal.render_text(found)


def test_before_any_label_came_nothing_is_said_of_estimates_that_held():
    assert trends.count_held(trends.build({"estimates": [{"at": day(1), **BAND}]})) is None


def test_a_release_of_an_earlier_version_has_its_score_without_interval():
    rows = {"releases": [{"at": day(3), "release": "r", "action": "deployed", "score": 0.5}]}
    found = trends.build(rows)
    assert found["series"]["f1/release"]["points"] == [{"at": day(3), "value": 0.5, "release": "r"}]
    assert "auc/release" not in found["series"]


def test_new_rows_have_the_score_of_their_verdict_and_alarms_are_marked():
    rows = {
        "drift": [
            {
                "at": day(1),
                "release": "r",
                "drift": False,
                "new_score": 0.6,
                "new_low": 0.5,
                "new_high": 0.7,
                "auc": 0.8,
            },
            {"at": day(2), "release": "r", "drift": True, "new_score": 0.3, "auc": 0.5},
            {"at": day(3), "release": "r", "drift": None, "new_score": None, "auc": None},
        ]
    }
    found = trends.build(rows)
    assert values(found, "f1/batch") == [0.6, 0.3] and values(found, "auc/batch") == [0.8, 0.5]
    assert found["marks"] == [{"at": day(2), "kind": "alarm", "release": "r"}]


def test_files_of_one_run_are_one_point():
    rows = {
        "ingested_files": [
            {"at": day(1), "rows_new": 10, "rows_total": 10},
            {"at": day(1), "rows_new": 5, "rows_total": 15},
            {"at": day(2), "rows_new": 1, "rows_total": 16},
            {"at": day(3), "rows_new": None, "rows_total": None},
        ]
    }
    found = trends.build(rows)
    assert values(found, "rows/new") == [15, 1] and values(found, "rows/total") == [15, 16]


def test_only_ingestion_and_training_are_timed():
    rows = {
        "timings": [
            {"at": day(n), "stage": s, "duration_s": 1.0}
            for n, s in enumerate(["ingestion", "training", "scoring", None], start=1)
        ]
    }
    assert set(trends.build(rows)["series"]) == {"duration_s/ingestion", "duration_s/training"}


def columns(table, value, **moves):
    return {
        table: [
            {"at": day(n + 1), "column_name": name, value: v}
            for name, vs in moves.items()
            for n, v in enumerate(vs)
        ]
    }


@pytest.mark.parametrize(
    ("table", "value", "panel"), [("missing_values", "percent", "missing"), ("column_drift", "psi", "psi")]
)
def test_the_columns_that_moved_most_are_shown_and_the_others_counted(table, value, panel):
    rows = columns(table, value, calm=[5.0, 5.0], wild=[0.0, 9.0], some=[1.0, 2.0], never=[0.0, 0.0])
    found = trends.build(rows, max_columns=2)
    assert list(found["series"]) == [f"{panel}/wild", f"{panel}/some"] and found["others"][panel] == 2


def test_columns_that_never_missed_a_cell_are_shown_only_when_none_did():
    assert list(trends.build(columns("missing_values", "percent", a=[0.0], b=[1.0]))["series"]) == [
        "missing/b"
    ]
    assert list(trends.build(columns("missing_values", "percent", a=[0.0], b=[0.0]))["series"]) == [
        "missing/a",
        "missing/b",
    ]


def test_only_what_was_deployed_or_taken_back_is_a_release():
    rows = {
        "releases": [
            {"at": day(n + 1), "release": "r", "action": action, "score": 0.5}
            for n, action in enumerate(["deployed", "held", "rollback", None])
        ]
    }
    found = trends.build(rows)
    assert [point["at"] for point in found["series"]["f1/release"]["points"]] == [day(1), day(3)]
    assert [mark["kind"] for mark in found["marks"]] == ["deployed", "rollback"]


@pytest.mark.parametrize("value", [None, math.nan, math.inf, "word", True, [], 10**400])
def test_a_value_that_is_no_number_has_no_point(value):
    rows = {
        "drift": [{"at": day(1), "new_score": value, "auc": value}],
        "timings": [{"at": day(1), "stage": "training", "duration_s": value}, {"stage": "training"}],
        "missing_values": [{"at": day(1), "column_name": "a", "percent": value}],
        "ingested_files": [{"at": None, "rows_new": 5}, {"at": day(1), "rows_new": value}],
        "releases": [{"at": day(1), "action": "deployed", "score": value}],
    }
    assert trends.build(rows)["series"] == {}


@pytest.mark.parametrize("bad", [None, math.nan, "word"])
def test_an_end_of_an_interval_that_is_no_number_is_left_out(bad):
    rows = {"drift": [{"at": day(1), "new_score": 0.5, "new_low": bad, "new_high": 0.6}]}
    assert trends.build(rows)["series"]["f1/batch"]["points"] == [{"at": day(1), "value": 0.5, "high": 0.6}]


def test_a_score_without_a_value_leaves_the_release_the_score_it_was_deployed_with():
    score = {"at": day(1), "data": "test", "model_sha256": "m", "f1": None, "auc": 0.7}
    release = {"at": day(2), "action": "deployed", "model_sha256": "m", "score": 0.5}
    found = trends.build({"scores": [score], "releases": [release]})
    assert found["series"]["f1/release"]["points"] == [{"at": day(2), "value": 0.5}]
    assert values(found, "auc/release") == [0.7]


ANY = st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=3) | st.just([])
CELLS = ANY | st.sampled_from([day(1), day(2), "test", "m", "deployed", "training", 0.5])
USED = {
    "scores": ["at", "data", "model_sha256", "f1", "f1_low", "f1_high", "auc"],
    "releases": ["at", "release", "action", "score", "model_sha256"],
    "drift": ["at", "release", "drift", "new_score", "new_low", "new_high", "auc"],
    "ingested_files": ["at", "rows_new", "rows_total"],
    "timings": ["at", "stage", "duration_s"],
    "missing_values": ["at", "column_name", "percent"],
    "column_drift": ["at", "column_name", "psi"],
}
ROWS = {
    name: st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(used, CELLS)), max_size=4)
    for name, used in USED.items()
}


@given(st.fixed_dictionaries(ROWS))
@example({name: [{"at": moment(1), "rows_new": -1.3405e154}] * (name == "ingested_files") for name in USED})
def test_whatever_a_row_holds_the_trends_can_be_written_continued_and_told(tables):
    found = trends.build(tables)
    json.dumps(found, allow_nan=False)
    assert trends.merge(found, found) == found
    assert max(map(len, terminal.render_text(found).splitlines()), default=0) <= 80


# --- merging ---------------------------------------------------------------------------------------------


def make(numbers, **options):
    return trends.build(
        {
            "timings": [
                {"at": moment(n), "stage": "training", "duration_s": float(n * 7919 % 101)} for n in numbers
            ],
            "drift": [{"at": moment(n), "drift": True, "release": "r"} for n in numbers],
            "missing_values": [
                {"at": moment(n), "column_name": name, "percent": float(n * k % 11)}
                for n in numbers
                for k, name in enumerate("abcdefghi")
            ],
        },
        **options,
    )


KEY = "duration_s/training"
SETS = st.sets(st.integers(0, 150), max_size=100)
LONG = st.sets(st.integers(0, 2000), min_size=201, max_size=400)


@given(SETS | LONG)
def test_merging_with_itself_or_nothing_changes_nothing(numbers):
    one = make(numbers)
    assert trends.merge(one, one) == one
    assert trends.merge(one, make([])) == trends.merge(make([]), one) == one


@given(SETS, SETS)
def test_merging_says_the_same_in_any_order_and_as_building_at_once(first, second):
    one, two = (make(numbers, max_columns=None) for numbers in (first, second))
    merged = trends.merge(one, two)
    assert merged == trends.merge(two, one) == make(first | second)
    assert list(merged["series"]) == list(make(first | second)["series"]), "colours go by the order"


@pytest.mark.slow
@given(LONG, SETS)
def test_merging_long_series_says_the_same_in_any_order_and_loses_no_peak(first, second):
    one, two = make(first), make(second)
    merged = trends.merge(one, two)
    assert merged == trends.merge(two, one)
    told = values(merged, KEY)
    known = values(one, KEY) + (values(two, KEY) if second else [])
    assert len(told) <= 200 and (min(told), max(told)) == (min(known), max(known))
    assert len(first) <= merged["series"][KEY]["n"] <= len(first) + len(second)


@pytest.mark.slow
@given(LONG, st.sets(st.integers(2001, 5000), max_size=300))
def test_what_comes_later_is_counted_to_the_point(first, later):
    merged = trends.merge(make(first), make(later))
    assert merged["series"][KEY]["n"] == len(first | later)


def test_a_series_that_is_continued_often_keeps_its_peak_its_count_and_its_length():
    known = make([])
    for n in range(1000):
        row = {"at": moment(n), "stage": "training", "duration_s": 99.0 if n == 500 else n % 3}
        known = trends.merge(known, trends.build({"timings": [row]}))
    assert known["series"][KEY]["n"] == 1000 and len(known["series"][KEY]["points"]) <= 200
    assert 99.0 in values(known, KEY)


def test_of_a_point_that_is_in_both_the_one_that_says_more_stays():
    row = {"at": day(2), "action": "deployed", "release": "r", "score": 0.5, "model_sha256": "m"}
    score = {"at": day(1), "data": "test", "model_sha256": "m", "f1": 0.5, "f1_low": 0.4, "f1_high": 0.6}
    bare, full = trends.build({"releases": [row]}), trends.build({"releases": [row], "scores": [score]})
    assert trends.merge(bare, full) == trends.merge(full, bare) == full


def test_which_columns_moved_most_is_chosen_again_after_merging():
    before = trends.build(columns("missing_values", "percent", a=[0.0, 1.0], b=[0.0, 2.0], c=[5.0, 5.0]))
    jump = {"missing_values": [{"at": day(9), "column_name": "c", "percent": 90.0}]}
    merged = trends.merge(before, trends.build(jump, max_columns=None), max_columns=2)
    assert list(merged["series"]) == ["missing/c", "missing/b"] and merged["others"]["missing"] == 1


def test_a_column_that_misses_nothing_any_more_is_continued():
    before = trends.build(columns("missing_values", "percent", a=[5.0, 5.0], b=[1.0, 1.0]))
    calm = {
        "missing_values": [
            {"at": day(9), "column_name": c, "percent": p} for c, p in (("a", 0.0), ("b", 1.0))
        ]
    }
    merged = trends.merge(before, trends.build(calm, max_columns=None))
    assert values(merged, "missing/a") == [5.0, 5.0, 0.0]


# --- telling --------------------------------------------------------------------------------------------


def test_the_last_value_is_told_with_its_changes():
    rows = {
        "timings": [
            {"at": day(n + 1), "stage": "training", "duration_s": v} for n, v in enumerate([1.0, 5.0, 3.0])
        ]
    }
    told = trends.latest(trends.build(rows))["duration_s/training"]
    assert told == {"last": 3.0, "at": day(3), "n": 3, "change_previous": -2.0, "change_first": 2.0}


def test_the_change_is_against_the_point_before_also_when_many_are_left_out():
    numbers = [float(n * 7919 % 997) for n in range(1000)]
    for last in range(900, 1000):
        rows = [{"at": moment(n), "stage": "training", "duration_s": v} for n, v in enumerate(numbers[:last])]
        told = trends.latest(trends.build({"timings": rows}))[KEY]
        assert told["change_previous"] == numbers[last - 1] - numbers[last - 2]


def test_of_a_single_point_there_is_no_change():
    told = trends.latest(trends.build({"timings": [{"at": day(1), "stage": "training", "duration_s": 1.0}]}))
    assert told["duration_s/training"]["change_previous"] is None
    assert told["duration_s/training"]["change_first"] is None


def test_since_is_inclusive_and_drops_series_that_end_before():
    rows = {
        "timings": [{"at": day(n), "stage": "training", "duration_s": 1.0} for n in (1, 2, 3)],
        "drift": [{"at": day(1), "drift": True, "new_score": 0.5}],
    }
    cut = trends.cut(trends.build(rows), "2026-01-02")
    assert values(cut, "duration_s/training") == [1.0, 1.0] and cut["marks"] == []
    assert "f1/batch" not in cut["series"]


def test_the_text_fits_80_columns_and_prints_no_control_sign():
    rows = columns("missing_values", "percent", **{"\x1b[31m" + "long name " * 20: [1e-9, 1.23456e17]})
    rows["drift"] = [
        {"at": day(1), "drift": True, "new_score": 0.5, "new_low": 0.4, "new_high": 0.6, "release": "abc"},
        {"at": day(2), "drift": True, "release": "\x1b[31m" + "r" * 250},
    ]
    text = terminal.render_text(trends.build(rows))
    assert max(map(len, text.splitlines())) <= 80 and "\x1b" not in text
    assert "2026-01-01 08:00:00  DRIFT of abc" in text and "F1 0.500 (0.400-0.600) of new rows" in text
    assert (
        terminal.render_text(trends.build({}), since="2026-01-01") == "nothing is recorded since 2026-01-01\n"
    )


@pytest.mark.parametrize(
    "name", ["plain", "客户名称" * 6, "e\u0301" * 20, "Umsatz €" * 9, "n" * 18, "n" * 19]
)
def test_figures_stand_below_each_other_whatever_the_name(name):
    rows = columns("missing_values", "percent", **{name: [-1.2345678e-5, -1.2345e17]})
    head, line, *_ = terminal.render_text(trends.build(rows)).splitlines()
    cells = [0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF") for c in line]
    assert sum(cells) == len(head) <= 80
    assert ("…" in line) == (len(unicodedata.normalize("NFC", name)) > 18)


def test_the_text_of_a_few_trends():
    rows = {
        "releases": [{"at": day(1), "release": "a1", "action": "deployed", "score": 0.5}],
        "timings": [{"at": day(n), "stage": "training", "duration_s": n / 4} for n in (1, 2, 3)],
        "ingested_files": [{"at": day(n), "rows_new": 10 * n, "rows_total": 12000} for n in (1, 2)],
    }
    assert terminal.render_text(trends.build(rows)).splitlines() == [
        "trend                            n       first   previous       last   vs first",
        "f1/release                       1         0.5          -        0.5          -",
        "rows/total                       2      12,000     12,000     12,000         +0",
        "rows/new                         2          10         10         20        +10",
        "duration_s/training              3        0.25        0.5       0.75       +0.5",
        "",
        "2026-01-01 08:00:00  F1 0.500 of release",
        "2026-01-01 08:00:00  deployed a1",
    ]
