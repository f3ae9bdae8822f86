"""What does the data scientist's part of the report say: facts in, sentences and tables out.

Nothing here reads; what is said stands in report.json, and PDF and page only show it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from risk.data.ledger import FileEntry
from risk.history import trends
from risk.reporting import formats

MOST_FILES, MOST_COLUMNS = 500, 40


def describe_score(metrics: Mapping[str, Any]) -> list[str]:
    """Say how good the model is, with its interval and what it must beat."""
    said = [
        f"F1 {metrics['f1']:.3f} on {metrics['n']:,} test rows, {metrics['n_positive']:,} of them leavers. "
        f"With 95 % probability it lies between {metrics['f1_low']:.3f} and {metrics['f1_high']:.3f}; "
        f"calling everyone a leaver would reach {metrics['floor_f1']:.3f}."
    ]
    if metrics["auc"] is not None:
        said.append(
            f"AUC {metrics['auc']:.3f}: of a leaver and a stayer, the leaver is given the higher risk "
            f"{100 * metrics['auc']:.1f} % of the time (50 % is chance)."
        )
    return said


def describe_warnings(metrics: Mapping[str, Any], card: Mapping[str, Any]) -> list[str]:
    """Say in plain words what makes the score or the model say little, or too much."""
    found = [*metrics.get("warnings", ()), *card.get("warnings", ())]
    warnings = [f"{one['text'][0].upper()}{one['text'][1:]}." for one in found]
    if metrics["f1"] <= metrics["floor_f1"]:
        warnings.append("The model is no better than calling everyone a leaver.")
    return warnings


def describe_verdict(
    verdict: Mapping[str, Any] | None, release: str, manifest: Mapping[str, Any]
) -> list[str]:
    """Say what the drift check found, with both scores, and what became of the judged release."""
    if verdict is None:
        return ["Not judged yet: no new rows have come since a model was deployed."]
    if verdict["drift"] is None:
        return [f"Not judged: {verdict['reason']}.", *describe_advice(verdict)]
    word = "Drift" if verdict["drift"] else "No drift"
    judged, share, auc = verdict["release"], verdict["leaver_share"], verdict["auc"]
    if judged == release:
        after = f"Release {release} was judged, and is the one deployed."
    elif manifest["why"].get("verdict") == verdict:
        after = f"Release {judged} was judged; {release} was trained anew and took its place."
    else:
        after = f"Release {judged} was judged; it is not the one deployed now."
    leavers = f" Of the new rows {100 * share:.1f} % are leavers." if share is not None else ""
    order = f" AUC on them is {auc:.3f}." if auc is not None else ""
    said = [f"{word} by the rule {verdict['rule']!r}: {verdict['reason']}.{leavers}{order}"]
    said += [describe_gate(verdict["gate"])] if verdict.get("gate") else []
    return [*said, after, *describe_advice(verdict)]


def describe_advice(verdict: Mapping[str, Any]) -> list[str]:
    """Say what to do where rule and evidence disagree."""
    return [f"{verdict['advice'][0].upper()}{verdict['advice'][1:]}."] if verdict.get("advice") else []


def describe_gate(gate: Mapping[str, Any]) -> str:
    """Say whether the candidate was deployed, and why."""
    word = "was deployed" if gate["decision"] == "PROMOTE" else "was held, the deployed model stays"
    return f"The model trained anew {word}: {'; '.join(gate['reasons'])} (gate {gate['rule']!r})."


def make_evidence_tables(verdict: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Make the tables of what each rule says and how far each column has moved."""
    found = (verdict or {}).get("evidence")
    if not found:
        return []
    says = {True: "drift", False: "no drift", None: "cannot tell"}
    rules = [
        [
            rule,
            says[one["drift"]],
            "-" if one["p_value"] is None else f"{one['p_value']:.3f}",
            one["sentence"],
        ]
        for rule, one in found["rules"].items()
    ]
    moved = sorted(found["shifts"], key=lambda s: (-(s["psi"] or 0.0), s["column"]))
    columns = [
        [
            s["column"],
            *(formats.format_figure(s[name]) for name in ("psi", "psi_critical", "p_adjusted")),
            s["change"],
        ]
        for s in moved[:MOST_COLUMNS]
    ]
    cut = f" The {MOST_COLUMNS} of {len(moved):,} that moved most." if len(moved) > MOST_COLUMNS else ""
    said = (
        "PSI from 0.1 on is a moderate, from 0.25 on a large shift; the limit is what 5 % of columns exceed "
        f"without any. p is among all columns.{cut}"
    )
    return [
        make_part("What each rule says", "", ["rule", "says", "p", "because"], rules, [1.4, 1.2, -0.8, 7]),
        make_part(
            "Columns", said, ["column", "PSI", "limit", "p", "change"], columns, [2.8, -1.2, -1.4, -1.4, 4.6]
        ),
    ]


def describe_estimates(verdict: Mapping[str, Any] | None, moved: Mapping[str, Any]) -> list[str]:
    """Say what is probably true of new rows without a label, and how such estimates have done so far."""
    found = verdict or {}  # an earlier version kept neither
    told = [found["estimate"]["sentence"]] if found.get("estimate") else []
    told += [audit["sentence"] for audit in found.get("audits", ())]
    held = trends.count_held(moved)
    return [f"{sentence}." for sentence in [*told, *([held] if held else [])]]


def describe_predictions(predictions: Mapping[str, Any] | None, release: str) -> str:
    """Say how many clients are called leavers, and by which release."""
    if predictions is None:
        return "None yet; run diagnostics.py."
    by = predictions["release"]
    other = "" if by == release else ", which is not the one deployed; run diagnostics.py"
    n_leaving, n = predictions["n_leaving"], predictions["n"]
    return f"{n_leaving:,} of {n:,} clients are called leavers, said release {by}{other}."


def describe_files(taken: Sequence[FileEntry], diagnostics: Mapping[str, Any]) -> str:
    """Count rows and files."""
    said = (
        f"{diagnostics['n_rows']:,} unique rows, {diagnostics['n_unlabelled']:,} without a label, "
        f"from {sum(e.read for e in taken):,} rows of {len(taken):,} files."
    )
    return said + describe_cut(len(taken), "ingestedfiles.txt")


def describe_cut(n_files: int, whole: str) -> str:
    """Say when not every file is listed, and where all of them are."""
    if n_files <= MOST_FILES:
        return ""
    return f" The latest {MOST_FILES} are listed here, all of them in {whole}."


def make_tables(
    files: Sequence[FileEntry], diagnostics: Mapping[str, Any], release: str
) -> list[dict[str, Any]]:
    """Make the tables of the report; a negative width marks a column of figures."""
    taken = [e for e in files if not e.refused]
    listed = [
        [e.name, *(f"{count:,}" for count in (e.read, e.new, e.duplicate, e.rejected))]
        for e in taken[-MOST_FILES:]
    ]
    refused = [[e.name, e.refused] for e in files if e.refused]
    refused_said = (
        f"Not one row of these {len(refused):,} was taken.{describe_cut(len(refused), '.finaldata.json')}"
    )
    statistics = diagnostics["statistics"]
    keys = ("n", "mean", "median", "mode", "std", "min", "max")
    timings = [
        [name, f"{t['duration_s']:.2f} s", f"{t['n_runs']:,}", f"{t['at'][:16].replace('T', ' ')} UTC"]
        if t
        else [name, "never", "0", "-"]
        for name, t in diagnostics["timings"].items()
    ]
    packages = [
        [p["module"], p["installed"], p["latest"] + describe_version(p["installed"], p["latest"])]
        for p in diagnostics["dependencies"]
    ]
    missing = [
        [k, formats.format_figure(v["count"]), f"{v['percent']:.2f} %"]
        for k, v in diagnostics["missing"].items()
    ]
    tables = [
        make_part(
            "Ingested files",
            describe_files(taken, diagnostics),
            ["file", "rows", "new", "duplicate", "rejected"],
            listed,
            [4, -1, -1, -1, -1],
        ),
        make_part("Refused files", refused_said, ["file", "reason"], refused[-MOST_FILES:], [2, 3]),
        make_part("Predictions on the test data", describe_predictions(diagnostics["predictions"], release)),
        make_part(
            "Summary statistics",
            "Missing cells count nowhere; std is that of a sample.",
            ["column", *keys],
            [
                [name, *(formats.format_figure(found[key]) for key in keys)]
                for name, found in statistics.items()
            ],
            [3, *[-1.2] * len(keys)],
        ),
        make_part("Missing data", "", ["column", "missing cells", "percent"], missing, [3, -1, -1]),
        make_part("Timings", "", ["stage", "last run", "runs", "when"], timings, [3, -1, -1, -2]),
        make_part(
            "Packages",
            f"As the package index said on {diagnostics['dependencies_at'][:10]}.",
            ["module", "installed", "latest"],
            packages,
            [2, 1, 2],
        ),
    ]
    return [table for table in tables if table["rows"] or (table["said"] and not table["header"])]


def make_matrix(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Make the table of right and wrong answers."""
    counts = {
        "stayed": ("true_negative", "false_positive"),
        "left": ("false_negative", "true_positive"),
    }
    rows = [[word, *(f"{metrics[name]:,}" for name in names)] for word, names in counts.items()]
    header = ["the client", "said to stay", "said to leave"]
    said = f"On {metrics['n']:,} test rows."
    return make_part("Right and wrong on the test data", said, header, rows, [2, -1, -1])


def describe_calibration(card: Mapping[str, Any]) -> dict[str, Any]:
    """Say how honest probabilities are, with the curve: of those called 30 %, do 30 % leave?"""
    facts = card.get("calibration", {})
    curve = facts.get("curve_after" if facts.get("used") else "curve_before") or []
    if not curve:
        return {"said": "Not measured: too few training rows.", "curve": []}
    loss = facts["brier_after" if facts["used"] else "brier_before"]
    said = (
        "Of clients who were given a probability (across), the share that left (up), on rows the model was "
        f"not fitted on; on the dashed line both are equal. The larger the dot, the more clients. Brier loss "
        f"{loss:.3f}."
    )
    return {"said": said, "curve": curve}


def describe_marks(moved: Mapping[str, Any]) -> str:
    """Count what the marks in the picture of the trends stand for."""
    counts = Counter(mark["kind"] for mark in moved["marks"])
    words = {"deployed": "deployment", "rollback": "rollback", "alarm": "drift alarm"}
    told = [f"{counts[kind]:,} {word}{'s' * (counts[kind] != 1)}" for kind, word in words.items()]
    return (
        f"What the history knows, over time: {', '.join(told)}. "
        "Triangles on the time axis are deployments, crosses above are alarms."
    )


def make_trends_table(moved: Mapping[str, Any]) -> dict[str, Any]:
    """Make the table of last values and changes."""
    rows = [
        [
            key,
            f"{t['n']:,}",
            formats.format_figure(t["last"]),
            formats.format_change(t["change_previous"]),
            formats.format_change(t["change_first"]),
        ]
        for key, t in trends.latest(moved).items()
    ]
    header = ["trend", "points", "last", "against the one before", "against the first"]
    return make_part("Latest values", "", header, rows, [3, -1, -1.3, -1.6, -1.6])


def make_part(title: str, said: str, header: Any = (), rows: Any = (), widths: Any = ()) -> dict[str, Any]:
    """Make one table of the report."""
    return {"title": title, "said": said, "header": list(header), "rows": list(rows), "widths": list(widths)}


def describe_version(installed: str, latest: str) -> str:
    """Mark a package of which there is another version."""
    return "" if latest in (installed, "unknown") else " (installed is another)"
