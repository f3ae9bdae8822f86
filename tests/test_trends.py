"""How things have moved: points by rules that can be read, thinned without losing a peak."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk import trends


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
            for n, s in enumerate(["ingestion", "training", "scoring", None])
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


@pytest.mark.parametrize("value", [None, math.nan, math.inf, "word", True])
def test_a_value_that_is_no_number_has_no_point(value):
    rows = {
        "drift": [{"at": day(1), "new_score": value, "auc": value}],
        "timings": [{"at": day(1), "stage": "training", "duration_s": value}, {"stage": "training"}],
        "missing_values": [{"at": day(1), "column_name": None, "percent": value}],
        "ingested_files": [{"at": None, "rows_new": 5}, {"at": day(1), "rows_new": value}],
        "releases": [{"at": day(1), "action": "other", "score": value}],
    }
    assert trends.build(rows)["series"] == {}


# --- thinning and merging -------------------------------------------------------------------------------

POINTS = st.lists(st.floats(-1e9, 1e9), max_size=400).map(
    lambda vs: [{"at": f"{n:06d}", "value": v} for n, v in enumerate(vs)]
)


@given(POINTS, st.integers(4, 60))
def test_thinning_keeps_first_last_lowest_and_highest_and_repeats_nothing(points, most):
    thinned = trends.thin(points, most)
    assert len(thinned) <= most and thinned == sorted(thinned, key=lambda p: p["at"])
    assert all(point in points for point in thinned)
    if points:
        assert thinned[0] == points[0] and thinned[-1] == points[-1]
        for extreme in (min, max):
            assert extreme(p["value"] for p in thinned) == extreme(p["value"] for p in points)


@given(POINTS, st.integers(4, 60))
def test_thinning_twice_changes_nothing(points, most):
    once = trends.thin(points, most)
    assert trends.thin(once, most) == once


def make(numbers):
    return trends.build(
        {
            "timings": [{"at": f"{n:06d}", "stage": "training", "duration_s": float(n % 7)} for n in numbers],
            "drift": [{"at": f"{n:06d}", "drift": True, "release": "r"} for n in numbers],
        }
    )


SETS = st.sets(st.integers(0, 150), max_size=100)


@given(SETS)
def test_merging_with_itself_or_nothing_changes_nothing(numbers):
    one = make(numbers)
    assert trends.merge(one, one) == trends.merge(one, make([])) == trends.merge(make([]), one) == one


@given(SETS, SETS)
def test_merging_says_the_same_in_any_order_and_as_building_at_once(first, second):
    merged = trends.merge(make(first), make(second))
    assert merged == trends.merge(make(second), make(first)) == make(first | second)


def test_how_many_points_there_were_is_told_after_thinning_and_merging():
    many = trends.build(
        {"timings": [{"at": f"{n:06d}", "stage": "training", "duration_s": 1.0 * n} for n in range(1000)]}
    )
    one = many["series"]["duration_s/training"]
    assert one["n"] == 1000 and len(one["points"]) == 200
    later = trends.build({"timings": [{"at": "900000", "stage": "training", "duration_s": 5.0}]})
    merged = trends.merge(many, later)["series"]["duration_s/training"]
    assert merged["n"] == 1001 and merged["points"][-1]["value"] == 5.0 and len(merged["points"]) <= 200


# --- telling --------------------------------------------------------------------------------------------


def test_the_last_value_is_told_with_its_changes():
    rows = {
        "timings": [
            {"at": day(n + 1), "stage": "training", "duration_s": v} for n, v in enumerate([1.0, 5.0, 3.0])
        ]
    }
    told = trends.latest(trends.build(rows))["duration_s/training"]
    assert told == {"last": 3.0, "at": day(3), "n": 3, "change_previous": -2.0, "change_first": 2.0}


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
        {"at": day(1), "drift": True, "new_score": 0.5, "new_low": 0.4, "new_high": 0.6, "release": "abc"}
    ]
    text = trends.render_text(trends.build(rows))
    assert max(map(len, text.splitlines())) <= 80 and "\x1b" not in text
    assert "2026-01-01 08:00:00  DRIFT of abc" in text and "F1 0.500 (0.400-0.600) of new rows" in text
    assert trends.render_text(trends.build({}), since="2026-01-01") == "nothing is known since 2026-01-01\n"
