"""What is a release for, what is it made of, and where are its limits? The model card, as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from risk.model.card import describe_purpose
from risk.reporting import details, formats

MOST_FEATURES = 60
METRICS = {"auc": "AUC", "f1": "F1", "brier": "Brier loss"}

Facts = Mapping[str, Any]


def make_card(card: Facts, metrics: Facts, trends: Facts) -> list[dict[str, Any]]:
    """Make the tables of the model card.

    Parameters
    ----------
    card, metrics : mapping
        modelcard.json and metrics.json of the release.
    trends : mapping
        trends.json: when the rows came.
    """
    purpose = {**describe_purpose(card["schema"]), **card}  # the card of an earlier version has no such words
    readers = [[reader, told] for reader, told in purpose["readers"].items()]
    return [
        details.make_part("What it is for", " ".join([purpose["intended_use"], *purpose["limits"]])),
        details.make_part("Made of", "", ["", ""], list_making(card, trends), [1.4, 4]),
        details.make_part(
            "Measured",
            "Floor: what no model at all would reach. Intervals hold 95 %.",
            ["score", "on", "value", "from", "to", "floor"],
            list_scores(card, metrics),
            [2, 3, -1, -1, -1, -1],
        ),
        *make_gate(card.get("gate")),
        *make_slices(card.get("slices")),
        make_features(card),
        details.make_part("Who is told what", "", ["reader", "is told"], readers, [1.2, 4]),
    ]


def list_making(card: Facts, trends: Facts) -> list[list[str]]:
    """List data, method and versions."""
    data, fitted = card["data"], card.get("calibration", {})
    share = data["n_positive"] / data["n_samples"]
    rows = [
        ["data", f"{data['n_samples']:,} labelled rows of {data['n_rows']:,}, {share:.1%} of them leavers"],
        ["files", f"{data['n_files']:,} of {data['source']}{describe_period(trends)}"],
        ["digest of the table", data["digest"]],
        ["rows used", "the new ones alone" if card.get("rows", {}).get("used") == "new" else "all"],
        *([["sample", card["sample"]["text"]]] if "sample" in card else []),
        ["method", card["estimator"].replace("_", " ")],
        ["threshold", f"{card['threshold']:.3f} ({card['threshold_rule']})"],
        ["probabilities", "calibrated" if fitted.get("used") else "as the method gives them"],
        ["settings", ", ".join(f"{k} = {v}" for k, v in card["params"].items()) or "those of scikit-learn"],
        ["random state", str(card["random_state"])],
        ["versions", ", ".join(f"{name} {version}" for name, version in card["versions"].items())],
    ]
    return rows


def describe_period(trends: Facts) -> str:
    """Say when the rows came, where the history knows."""
    points = trends["series"].get("rows/new", {}).get("points", ())
    if not points:
        return ""
    first, last = points[0]["at"][:10], points[-1]["at"][:10]
    return f", which came on {first}" if first == last else f", which came from {first} to {last}"


def list_scores(card: Facts, metrics: Facts) -> list[list[str]]:
    """List every score with its interval and its floor."""
    rows = []
    folds = card.get("cross_validation") or {}
    for key, name in METRICS.items() if folds else ():
        found = folds[key]
        ends = [formats.format_score(found[end]) for end in ("mean", "low", "high")]
        rows.append(
            [name, f"{folds['n_folds']:,} folds", *ends, formats.format_score(folds["floor"].get(key))]
        )
    tested = f"{metrics['n']:,} test rows"
    for key, floor in (("auc", 0.5), ("f1", metrics["floor_f1"])):
        ends = [formats.format_score(metrics.get(f"{key}{end}")) for end in ("", "_low", "_high")]
        rows.append([METRICS[key], tested, *ends, formats.format_score(floor)])
    return rows


def make_gate(gate: Facts | None) -> list[dict[str, Any]]:
    """Make the table of how the model was held against the one before."""
    if not gate:
        return []
    rows = [
        [
            name,
            *(
                formats.format_score(gate[key][one])
                for one in ("candidate", "deployed", "delta", "low", "high")
            ),
        ]
        for key, name in (("auc", "AUC"), ("f1", "F1"))
        if gate.get(key)
    ]
    said = f"{details.describe_gate(gate)} Judged on {gate['judged_on']}, {gate['n']:,} rows."
    header = ["score", "this model", "the one before", "difference", "from", "to"]
    return [details.make_part("Gate", said, header, rows, [2, -1, -1.3, -1, -1, -1])]


def make_slices(found: Sequence[Facts] | None) -> list[dict[str, Any]]:
    """Make the table of slices in which the model does clearly worse; an earlier version sought none."""
    if found is None:
        return []
    title = "Where it does clearly worse"
    if not found:
        return [details.make_part(title, "In none of the slices of single columns that have enough rows.")]
    said = (
        "Of all slices of single columns with enough rows; chance alone would name one in 20 cards at most."
    )
    rows = [
        [
            one["text"],
            f"{one['n']:,}",
            formats.format_score(one["found"]),
            formats.format_score(one["promised"]),
        ]
        for one in found
    ]
    return [details.make_part(title, said, ["where", "rows", "found", "promised"], rows, [5, -1, -1, -1])]


def make_features(card: Facts) -> dict[str, Any]:
    """Make the table of features, as they were in the training rows."""
    kinds = card["schema"]["kinds"]
    rows = []
    for name, facts in list(card["features"].items())[:MOST_FEATURES]:
        if kinds[name] == "number":
            usual = f"median {formats.format_figure(facts['median'])}" if "median" in facts else "empty"
        else:
            usual = ", ".join(list(facts["categories"])[:3]) or "empty"
        rows.append([name, kinds[name], f"{facts['missing']:,}", usual])
    cut = f"The first {MOST_FEATURES} of {len(kinds):,}." if len(kinds) > MOST_FEATURES else ""
    return details.make_part("Features", cut, ["column", "kind", "missing", "usual"], rows, [3, 1, -1, 4])
