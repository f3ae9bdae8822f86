"""The model card as tables: intended use, training, performance and limits of a release."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from risk.model.card import describe_purpose
from risk.reporting import details, formats, tables

MOST_FEATURES = 60
METRICS = {"auc": "AUC", "f1": "F1", "brier": "Brier loss"}

Facts = Mapping[str, Any]


def make_model_card(card: Facts, metrics: Facts, trends: Facts) -> list[dict[str, Any]]:
    """Make the tables of the model card.

    Parameters
    ----------
    card, metrics : mapping
        modelcard.json and metrics.json of the release.
    trends : mapping
        trends.json: when the rows came.
    """
    purpose = {**describe_purpose(card["schema"]), **card}  # the card of an earlier version has no such words
    readers = [[reader, content] for reader, content in purpose["readers"].items()]
    return [
        tables.make_table("Intended use", " ".join([purpose["intended_use"], *purpose["limits"]])),
        tables.make_table("Training", "", ["", ""], list_making(card, trends), [1.4, 4]),
        tables.make_table(
            "Performance",
            "Baseline: what a constant prediction reaches. Confidence intervals of 95 %.",
            ["score", "on", "value", "from", "to", "baseline"],
            list_scores(card, metrics),
            [2, 3, -1, -1, -1, -1],
        ),
        *make_gate(card.get("gate")),
        *make_slices(card.get("slices")),
        make_features(card),
        tables.make_table("Readers", "", ["reader", "reads"], readers, [1.2, 4]),
    ]


def list_making(card: Facts, trends: Facts) -> list[list[str]]:
    """List data, method and versions."""
    data, fitted = card["data"], card.get("calibration", {})
    share = data["n_positive"] / data["n_samples"]
    rows = [
        ["data", f"{data['n_samples']:,} labelled rows of {data['n_rows']:,}, {share:.1%} of them leavers"],
        ["files", f"{data['n_files']:,} of {data['source']}{describe_period(trends)}"],
        ["digest of the table", data["digest"]],
        ["rows used", "only the new ones" if card.get("rows", {}).get("used") == "new" else "all"],
        *([["sample", card["sample"]["text"]]] if "sample" in card else []),
        ["method", card["estimator"].replace("_", " ")],
        ["threshold", f"{card['threshold']:.3f} ({card['threshold_rule']})"],
        ["probabilities", "calibrated" if fitted.get("used") else "not calibrated"],
        [
            "settings",
            ", ".join(f"{k} = {v}" for k, v in card["params"].items()) or "defaults of scikit-learn",
        ],
        ["random state", str(card["random_state"])],
        ["versions", ", ".join(f"{name} {version}" for name, version in card["versions"].items())],
    ]
    return rows


def describe_period(trends: Facts) -> str:
    """Describe when the rows came, as far as the history knows."""
    points = trends["series"].get("rows/new", {}).get("points", ())
    if not points:
        return ""
    first, last = points[0]["at"][:10], points[-1]["at"][:10]
    return f", received on {first}" if first == last else f", received from {first} to {last}"


def list_scores(card: Facts, metrics: Facts) -> list[list[str]]:
    """List every score with its interval and its baseline."""
    rows = []
    folds = card.get("cross_validation") or {}
    for key, name in METRICS.items() if folds else ():
        scores = folds[key]
        ends = [formats.format_score(scores[end]) for end in ("mean", "low", "high")]
        rows.append(
            [name, f"{folds['n_folds']:,} folds", *ends, formats.format_score(folds["floor"].get(key))]
        )
    tested = f"{metrics['n']:,} test rows"
    for key, baseline in (("auc", 0.5), ("f1", metrics["floor_f1"])):
        ends = [formats.format_score(metrics.get(f"{key}{end}")) for end in ("", "_low", "_high")]
        rows.append([METRICS[key], tested, *ends, formats.format_score(baseline)])
    return rows


def make_gate(gate: Facts | None) -> list[dict[str, Any]]:
    """Make the table that compares the model with the one deployed before."""
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
    note = f"{details.describe_gate(gate)} Judged on {gate['judged_on']}, {gate['n']:,} rows."
    header = ["score", "this model", "previous model", "difference", "from", "to"]
    return [tables.make_table("Gate", note, header, rows, [2, -1, -1.3, -1, -1, -1])]


def make_slices(slices: Sequence[Facts] | None) -> list[dict[str, Any]]:
    """Make the table of slices in which the model does clearly worse; an earlier version had none."""
    if slices is None:
        return []
    title = "Slices with worse performance"
    if not slices:
        return [tables.make_table(title, "None among the slices of single columns that have enough rows.")]
    note = (
        "Of all slices of single columns with enough rows; by chance alone, at most one model card in 20 "
        "lists one."
    )
    rows = [
        [
            one["text"],
            f"{one['n']:,}",
            formats.format_score(one["found"]),
            formats.format_score(one["promised"]),
        ]
        for one in slices
    ]
    return [tables.make_table(title, note, ["slice", "rows", "observed", "expected"], rows, [5, -1, -1, -1])]


def make_features(card: Facts) -> dict[str, Any]:
    """Make the table of features, as they were in the training rows."""
    kinds = card["schema"]["kinds"]
    rows = []
    for name, facts in list(card["features"].items())[:MOST_FEATURES]:
        if kinds[name] == "number":
            typical = f"median {formats.format_figure(facts['median'])}" if "median" in facts else "empty"
        else:
            typical = ", ".join(list(facts["categories"])[:3]) or "empty"
        rows.append([name, kinds[name], f"{facts['missing']:,}", typical])
    cut = f"The first {MOST_FEATURES} of {len(kinds):,}." if len(kinds) > MOST_FEATURES else ""
    return tables.make_table("Features", cut, ["column", "kind", "missing", "typical"], rows, [3, 1, -1, 4])
