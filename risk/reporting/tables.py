"""Tables of the report, and the lines of the list of clients: facts in, rows of texts out.

A table is a title, a note (`said`), a header, rows and relative widths; a negative width marks a column of
figures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from risk.data.ledger import FileEntry
from risk.data.schema import ROW
from risk.history import trends
from risk.reporting.formats import format_change, format_figure, format_percent, format_rank_change

MOST_FILES, MOST_COLUMNS = 500, 40
LEAST_P = 0.001
NAMELESS = "without a name"

Facts = Mapping[str, Any]


def make_table(title: str, note: str, header: Any = (), rows: Any = (), widths: Any = ()) -> dict[str, Any]:
    """Make one table of the report."""
    return {"title": title, "said": note, "header": list(header), "rows": list(rows), "widths": list(widths)}


# --- clients -----------------------------------------------------------------------------------------------


def describe_clients(listed: Mapping[str, Any] | None) -> dict[str, Any]:
    """Describe the top of the list: how much of it this is, and its lines.

    Parameters
    ----------
    listed : mapping or None
        As `atrisk.write_list` gives it; None when there is no list yet.
    """
    if listed is None:
        return {"said": "There is no list yet; run diagnostics.py.", "has_loss": False, "lines": []}
    lines = [describe_client(line) for line in listed["clients"]]
    by = "by expected loss" if listed["value_column"] else "by risk"
    note = (
        f"The first {len(lines):,} of {listed['n_clients']:,} clients, {by}; atrisk.csv holds all of them. "
        "Reasons are what raises a client's risk most, compared with typical values."
    )
    return {"said": note, "has_loss": listed["value_column"] is not None, "lines": lines}


def describe_client(line: Mapping[str, Any]) -> dict[str, Any]:
    """Describe one line of the list; reasons are texts, or objects with one."""
    low, high = line["probability_low"], line["probability_high"]
    loss = line["expected_loss"]
    return {
        "rank": f"{line['rank']:,}",
        "name": name_client(line["id"]),
        "probability": format_percent(line["probability"]),
        "band": "" if low is None else f"{format_percent(low, '')} to {format_percent(high)}",
        "risk": line["risk"],
        "loss": "" if loss is None else f"{loss:,.0f}",
        "change": format_rank_change(line["rank_change"]),
        "reasons": [one if isinstance(one, str) else one["text"] for one in line["reasons"]],
    }


def name_client(ids: Mapping[str, str | None]) -> str:
    """Name a client by its ids; without any by its row."""
    if list(ids) == [ROW]:
        return f"row {ids[ROW]}"
    return " · ".join(filter(None, ids.values())) or NAMELESS


# --- the model and the drift check -------------------------------------------------------------------------


def make_confusion_matrix(metrics: Facts) -> dict[str, Any]:
    """Make the table of actual against predicted classes."""
    counts = {
        "stayed": ("true_negative", "false_positive"),
        "left": ("false_negative", "true_positive"),
    }
    rows = [[actual, *(f"{metrics[name]:,}" for name in names)] for actual, names in counts.items()]
    header = ["actual", "predicted to stay", "predicted to leave"]
    return make_table("Confusion matrix", f"On {metrics['n']:,} test rows.", header, rows, [2, -1, -1])


def make_evidence_tables(verdict: Facts | None) -> list[dict[str, Any]]:
    """Make the tables of the result of each drift rule and the shift of each column."""
    evidence = (verdict or {}).get("evidence")
    return [_make_rules(evidence["rules"]), _make_shifts(evidence["shifts"])] if evidence else []


def _make_rules(rules: Mapping[str, Facts]) -> dict[str, Any]:
    words = {True: "drift", False: "no drift", None: "undecided"}
    rows = [
        [rule, words[one["drift"]], _format_p(one["p_value"]), one["sentence"]] for rule, one in rules.items()
    ]
    return make_table("Drift rules", "", ["rule", "result", "p", "reason"], rows, [1.4, 1.2, -0.9, 7])


def _make_shifts(shifts: Sequence[Facts]) -> dict[str, Any]:
    largest = sorted(shifts, key=lambda s: (-(s["psi"] or 0.0), s["column"]))
    rows = [
        [
            s["column"],
            format_figure(s["psi"]),
            format_figure(s["psi_critical"]),
            _format_p(s["p_adjusted"]),
            s["change"],
        ]
        for s in largest[:MOST_COLUMNS]
    ]
    cut = f" The {MOST_COLUMNS} of {len(largest):,} that drifted most." if len(largest) > MOST_COLUMNS else ""
    note = (
        "PSI (population stability index) from 0.1 on is a moderate, from 0.25 on a large shift; the limit "
        f"is what 5 % of columns exceed without any. p is adjusted for all columns (Benjamini-Hochberg).{cut}"
    )
    header = ["column", "PSI", "limit", "p", "change"]
    return make_table("Column drift", note, header, rows, [2.8, -1.2, -1.4, -1.1, 4.9])


def _format_p(p_value: float | None) -> str:
    if p_value is None:
        return "-"
    return f"< {LEAST_P}" if p_value < LEAST_P else f"{p_value:.3f}"


# --- the data ----------------------------------------------------------------------------------------------


def make_tables(files: Sequence[FileEntry], diagnostics: Facts, release: str) -> list[dict[str, Any]]:
    """Make the tables of files, predictions, statistics, missing data, timings and packages."""
    tables = [
        _make_files([e for e in files if not e.refused], diagnostics),
        _make_refused([e for e in files if e.refused]),
        make_table("Predictions on the test data", describe_predictions(diagnostics["predictions"], release)),
        _make_statistics(diagnostics["statistics"]),
        _make_missing(diagnostics["missing"]),
        _make_timings(diagnostics["timings"]),
        _make_packages(diagnostics),
    ]
    return [table for table in tables if table["rows"] or (table["said"] and not table["header"])]


def _make_files(taken: Sequence[FileEntry], diagnostics: Facts) -> dict[str, Any]:
    rows = [
        [e.name, *(f"{count:,}" for count in (e.read, e.new, e.duplicate, e.rejected))]
        for e in taken[-MOST_FILES:]
    ]
    header = ["file", "rows", "new", "duplicate", "rejected"]
    return make_table("Ingested files", describe_files(taken, diagnostics), header, rows, [4, -1, -1, -1, -1])


def _make_refused(refused: Sequence[FileEntry]) -> dict[str, Any]:
    note = (
        f"No row of these {len(refused):,} files was ingested.{describe_cut(len(refused), '.finaldata.json')}"
    )
    rows = [[e.name, e.refused] for e in refused[-MOST_FILES:]]
    return make_table("Refused files", note, ["file", "reason"], rows, [2, 3])


def _make_statistics(statistics: Mapping[str, Facts]) -> dict[str, Any]:
    keys = ("n", "mean", "median", "mode", "std", "min", "max")
    rows = [[name, *(format_figure(column[key]) for key in keys)] for name, column in statistics.items()]
    note = "Missing cells are left out; std is the sample standard deviation."
    return make_table("Summary statistics", note, ["column", *keys], rows, [3, *[-1.2] * len(keys)])


def _make_missing(missing: Mapping[str, Facts]) -> dict[str, Any]:
    rows = [[name, format_figure(one["count"]), f"{one['percent']:.2f} %"] for name, one in missing.items()]
    return make_table("Missing data", "", ["column", "missing cells", "percent"], rows, [3, -1, -1])


def _make_timings(timings: Mapping[str, Facts | None]) -> dict[str, Any]:
    rows = [
        [stage, f"{t['duration_s']:.2f} s", f"{t['n_runs']:,}", f"{t['at'][:16].replace('T', ' ')} UTC"]
        if t
        else [stage, "never", "0", "-"]
        for stage, t in timings.items()
    ]
    return make_table("Timings", "", ["stage", "last run", "runs", "when"], rows, [3, -1, -1, -2])


def _make_packages(diagnostics: Facts) -> dict[str, Any]:
    rows = [
        [p["module"], p["installed"], p["latest"] + describe_version(p["installed"], p["latest"])]
        for p in diagnostics["dependencies"]
    ]
    note = f"Latest versions in the package index on {diagnostics['dependencies_at'][:10]}."
    return make_table("Packages", note, ["module", "installed", "latest"], rows, [2, 1, 2])


def describe_predictions(predictions: Facts | None, release: str) -> str:
    """Describe how many clients are predicted to leave, and by which release."""
    if predictions is None:
        return "None yet; run diagnostics.py."
    by = predictions["release"]
    other = "" if by == release else ", which is not the one deployed; run diagnostics.py"
    n_leaving, n = predictions["n_leaving"], predictions["n"]
    return f"{n_leaving:,} of {n:,} clients are predicted to leave, by release {by}{other}."


def describe_files(taken: Sequence[FileEntry], diagnostics: Facts) -> str:
    """Describe how many rows and files there are."""
    counts = (
        f"{diagnostics['n_rows']:,} unique rows, {diagnostics['n_unlabelled']:,} without a label, "
        f"from {sum(e.read for e in taken):,} rows of {len(taken):,} files."
    )
    return counts + describe_cut(len(taken), "ingestedfiles.txt")


def describe_cut(n_files: int, whole: str) -> str:
    """Describe, when not every file is listed, where all of them are."""
    if n_files <= MOST_FILES:
        return ""
    return f" The latest {MOST_FILES} are listed here, all of them in {whole}."


def describe_version(installed: str, latest: str) -> str:
    """Mark a package of which there is another version."""
    return "" if latest in (installed, "unknown") else " (another is installed)"


# --- trends ------------------------------------------------------------------------------------------------


def make_trends_table(history: Facts) -> dict[str, Any]:
    """Make the table of last values and changes.

    Parameters
    ----------
    history : mapping
        trends.json.
    """
    rows = [
        [
            key,
            f"{one['n']:,}",
            format_figure(one["last"]),
            format_change(one["change_previous"]),
            format_change(one["change_first"]),
        ]
        for key, one in trends.latest(history).items()
    ]
    header = ["trend", "points", "last", "since previous", "since first"]
    return make_table("Latest values", "", header, rows, [3, -1, -1.3, -1.6, -1.6])
