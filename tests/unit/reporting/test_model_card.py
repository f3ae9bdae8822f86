"""The model card: what a release is for, made of, and worth."""

import pytest

from risk.reporting import model_card

INTERVAL = {"mean": 0.8, "std": 0.1, "low": 0.75, "high": 0.85}
CARD = {
    "estimator": "hist_gradient_boosting",
    "threshold": 0.41667,
    "threshold_rule": "balanced",
    "random_state": 0,
    "params": {},
    "schema": {"target": "exited", "positive": ["1"], "kinds": {"activity": "number", "colour": "text"}},
    "data": {
        "digest": "d" * 64, "source": "sourcedata", "n_files": 2,
        "n_rows": 310, "n_samples": 300, "n_positive": 75,
    },
    "calibration": {"used": True},
    "cross_validation": {
        "n_folds": 15, "auc": INTERVAL, "f1": INTERVAL, "brier": INTERVAL, "floor": {"auc": 0.5, "f1": 0.4},
    },
    "rows": {"used": "new"},
    "features": {
        "activity": {"missing": 3, "median": 1234.5},
        "colour": {"missing": 0, "categories": {"red": 9, "blue": 8, "green": 7, "grey": 1}},
    },
    "versions": {"python": "3.11.7"},
}  # fmt: skip
METRICS = {"n": 200, "f1": 0.7, "f1_low": 0.6, "f1_high": 0.8, "auc": 0.9, "auc_low": 0.85, "auc_high": 0.95,
           "floor_f1": 0.4}  # fmt: skip
TRENDS = {"series": {"rows/new": {"points": [{"at": f"2026-0{m}-05T08:00:00Z", "value": 1} for m in (1, 3)]}}}
GATE = {
    "decision": "PROMOTE", "rule": "not_worse", "reasons": ["not worse"],
    "judged_on": "rows held back", "n": 417,
    "auc": {"candidate": 0.761, "deployed": 0.76, "delta": 0.001, "low": -0.01, "high": 0.012}, "f1": None,
}  # fmt: skip


def made(**changes):
    return {one["title"]: one for one in model_card.make_model_card(CARD | changes, METRICS, TRENDS)}


def rows(part):
    return {row[0]: row[1] for row in part["rows"]}


def test_it_says_what_it_is_for_and_what_not():
    said = made()["Intended use"]["said"]
    assert "exited = 1" in said and "not made to decide anything about a client without a person" in said


def test_what_a_card_itself_says_is_what_is_told():
    card = made(intended_use="It sorts.", limits=["Only here."], readers={"auditor": "everything"})
    assert card["Intended use"]["said"] == "It sorts. Only here."
    assert rows(card["Readers"]) == {"auditor": "everything"}


def test_it_says_what_it_is_made_of():
    found = rows(made()["Training"])
    assert found["data"] == "300 labelled rows of 310, 25.0% of them leavers"
    assert found["files"] == "2 of sourcedata, received from 2026-01-05 to 2026-03-05"
    assert found["method"] == "hist gradient boosting" and found["rows used"] == "only the new ones"
    assert found["threshold"] == "0.417 (balanced)" and found["probabilities"] == "calibrated"
    assert found["digest of the table"] == "d" * 64 and found["versions"] == "python 3.11.7"


@pytest.mark.parametrize(
    ("days", "said"),
    [([], ""), ([1], ", received on 2026-01-01"), ([1, 1], ", received on 2026-01-01")],
    ids=str,
)
def test_the_period_is_told_where_the_history_knows_it(days, said):
    points = [{"at": f"2026-01-0{day}T08:00:00Z"} for day in days]
    assert model_card.describe_period({"series": {"rows/new": {"points": points}}}) == said


def test_every_score_stands_with_its_interval_and_its_floor():
    assert made()["Performance"]["rows"] == [
        ["AUC", "15 folds", "0.800", "0.750", "0.850", "0.500"],
        ["F1", "15 folds", "0.800", "0.750", "0.850", "0.400"],
        ["Brier loss", "15 folds", "0.800", "0.750", "0.850", "-"],
        ["AUC", "200 test rows", "0.900", "0.850", "0.950", "0.500"],
        ["F1", "200 test rows", "0.700", "0.600", "0.800", "0.400"],
    ]


def test_a_card_of_an_earlier_version_lacks_what_it_lacks():
    old = {
        name: value for name, value in CARD.items() if name not in ("cross_validation", "calibration", "rows")
    }
    found = {one["title"]: one for one in model_card.make_model_card(old, METRICS, {"series": {}})}
    assert len(found["Performance"]["rows"]) == 2 and "Gate" not in found
    assert "Slices with worse performance" not in found


def test_the_gate_is_told_with_its_numbers():
    gate = made(gate=GATE)["Gate"]
    assert "was deployed: not worse" in gate["said"] and "417 rows" in gate["said"]
    assert gate["rows"] == [["AUC", "0.761", "0.760", "0.001", "-0.010", "0.012"]]


def test_slices_are_told_and_so_is_that_there_is_none():
    one = {
        "text": "colour red: leavers and stayers are told apart less well",
        "n": 120,
        "found": 0.6,
        "promised": 0.8,
    }
    (row,) = made(slices=[one])["Slices with worse performance"]["rows"]
    assert row[1:] == ["120", "0.600", "0.800"]
    assert "None among" in made(slices=[])["Slices with worse performance"]["said"]


def test_features_are_told_as_they_usually_are():
    assert made()["Features"]["rows"] == [
        ["activity", "number", "3", "median 1,234"],
        ["colour", "text", "0", "red, blue, green"],
    ]
