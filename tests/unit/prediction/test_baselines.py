"""What is usual in a column, read from the model card."""

import pytest

from risk.prediction import baselines
from risk.prediction.baselines import Baseline

MIDDLE = Baseline(True, (3.0,), (1.0,))
NONE = Baseline(True, (None,), (1.0,))
SWITCH = Baseline(True, (0.0, 1.0), (0.7, 0.3))


def make_card(kind, facts, profile=None, n=100):
    return {
        "data": {"n_samples": n},
        "schema": {"kinds": {"x": kind}},
        "features": {"x": facts},
        "profiles": {"x": profile or {}},
    }


@pytest.mark.parametrize(
    ("facts", "profile", "found"),
    [
        ({"missing": 0, "median": 3.0}, {"grid": [1.0, 3.0, 9.0], "at": [9, 82, 9]}, MIDDLE),
        ({"missing": 50, "median": 3.0}, {}, MIDDLE),
        ({"missing": 51, "median": 3.0}, {}, NONE),
        ({"missing": 100}, {}, NONE),
        ({"missing": 0, "median": 0.0}, {"grid": [0.0, 1.0], "at": [70, 30]}, SWITCH),
        (
            {"missing": 60, "median": 0.0},
            {"grid": [0.0, 1.0], "at": [10, 30]},
            Baseline(True, (None, 1.0, 0.0), (0.6, 0.3, 0.1)),
        ),
        ({"missing": 0, "median": 0.0}, {"grid": [0.0, 1.0], "at": [60, 30]}, Baseline(True, (0.0,), (1.0,))),
    ],
    ids=[
        "median",
        "half missing",
        "mostly missing",
        "never filled",
        "two",
        "two and missing",
        "more than two",
    ],
)
def test_a_number_is_usually_its_median_and_two_values_are_a_mix(facts, profile, found):
    assert baselines.make_baselines(make_card("number", facts, profile))["x"] == found


@pytest.mark.parametrize(
    ("facts", "values", "shares"),
    [
        ({"missing": 0, "categories": {"a": 60, "b": 40}}, ("a", "b"), (0.6, 0.4)),
        ({"missing": 50, "categories": {"a": 30, "b": 20}}, (None, "a", "b"), (0.5, 0.3, 0.2)),
        ({"missing": 10, "categories": {"a": 30}}, ("a", None, baselines.UNLISTED), (0.3, 0.1, 0.6)),
        ({"missing": 100, "categories": {}}, (None,), (1.0,)),
    ],
    ids=["categories", "mostly missing", "many more categories", "never filled"],
)
def test_a_text_is_usually_a_mix_of_its_categories(facts, values, shares):
    assert baselines.make_baselines(make_card("text", facts))["x"] == Baseline(False, values, shares)


def test_only_a_number_with_a_middle_is_graded():
    assert Baseline(True, (3.0,), (1.0,)).is_graded
    assert not Baseline(True, (0.0, 1.0), (0.5, 0.5)).is_graded
    assert not Baseline(False, ("a",), (1.0,)).is_graded


def test_the_most_frequent_values_can_stand_for_all():
    one = Baseline(False, ("a", "b", None, baselines.UNLISTED), (0.4, 0.3, 0.1, 0.2))
    assert one.top(2).values == ("a", "b") and one.top(2).shares == pytest.approx((4 / 7, 3 / 7))
    assert one.top(9) == one and MIDDLE.top(1) == MIDDLE
