"""The rule of the project document, both sides of its threshold."""

import math

import numpy as np
import pytest

from risk import drift, scores


def score_of(truth, called):
    return scores.compute_score(np.array(truth), np.array(called), np.array(called, dtype=float))


HALF = score_of([1, 1, 0, 0], [1, 0, 1, 0])  # F1 = 0.5


@pytest.mark.parametrize(
    ("recorded", "fires"), [(0.5, False), (0.49, False), (0.51, True), (math.nextafter(0.5, 1), True)]
)
def test_lower_than_recorded_is_drift_and_equal_is_not(recorded, fires):
    verdict = drift.judge_score(recorded, HALF, "r")
    assert verdict.drift is fires
    assert verdict.new_score == 0.5 and verdict.recorded_score == recorded
    assert verdict.n == 4 and verdict.leaver_share == 0.5 and verdict.auc == 0.5
    assert verdict.new_low < 0.5 < verdict.new_high
    assert ("is lower than" in verdict.reason) is fires


@pytest.mark.parametrize(
    ("new", "said"),
    [
        (None, "no new row has a label"),
        (score_of([0, 0], [0, 1]), "all 2 labelled new rows stayed"),
        (score_of([1, 1, 1], [1, 1, 0]), "all 3 labelled new rows left"),
    ],
)
def test_rows_without_both_classes_are_not_judged(new, said):
    verdict = drift.judge_score(0.5, new, "r")
    assert verdict.drift is None and verdict.new_score is None and said in verdict.reason
