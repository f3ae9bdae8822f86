"""Explanation of one prediction: what each column adds, which model predicts it, fitted on what.

From one client to its newest row and the file that brought it; from the row to the probability, with the
effect of every column; from the probability to the release, the digest of its model, the digest of the
data it was fitted on, and their files. Every digest is checked on the way: the release's by reading it,
the data's by computing the digest of the table up to the mark of the training again.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from risk.data.ledger import Ledger, has_prefix
from risk.data.schema import ROW
from risk.engines import frame_reader, table_reader
from risk.engines.frame_reader import Rows
from risk.engines.table_reader import Source
from risk.errors import UsageError
from risk.limits import Room
from risk.model.pipeline import one_thread
from risk.model.registry import Release
from risk.prediction import client_ranking
from risk.prediction.effects import Explainer
from risk.prediction.file_prediction import open_scratch
from risk.prediction.predictor import Predictor
from risk.prediction.reasons import find_contrasts
from risk.text import WIDTH, fit

MAX_SUGGESTIONS, MAX_FILES = 3, 20
ROUNDING = 5e-4
FILE_FACTS = ("rows", "new", "duplicate", "rejected")


@dataclass(frozen=True)
class ExplanationResult:
    """Where a client's prediction comes from."""

    facts: Mapping[str, Any] = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        return dict(self.facts)

    def text(self) -> str:
        return render(self.facts)


def explain_client(
    client: str, data: Path, ledger: Ledger, release: Release, predictor: Predictor, room: Room
) -> ExplanationResult:
    """Gather everything about one client's prediction; of the workspace only the spill folder is used.

    Parameters
    ----------
    client : str
        The id of the client; several id columns as one line of CSV; the number of the row, from 1, where
        there is none.

    Returns
    -------
    result : ExplanationResult
        `client` (id, row, file, label), `prediction`, `reasons`, `effects` (of every column, the strongest
        first, in log-odds, with `base`, `rest` and their sum), `release`, `data`, `files`.

    Raises
    ------
    UsageError
        When there is no such client.
    """
    with open_scratch(room.spill) as scratch, one_thread():
        row, described = read_client(client, data, ledger, predictor, room._replace(spill=scratch))
        facts = {
            "client": described,
            **describe_prediction(predictor, row),
            "release": describe_release(release),
            "data": describe_data(release, data, ledger),
            "files": parse_files(release.files["ingestedfiles.txt"].decode()),
        }
    return ExplanationResult(facts)


def read_client(
    client: str, data: Path, ledger: Ledger, predictor: Predictor, room: Room
) -> tuple[Rows, dict[str, Any]]:
    """Read the newest row of a client, with its cells as texts, and describe where it stands."""
    with table_reader.open_table(data, ledger, room) as source:
        client_ranking.check_table(source.schema, predictor, None)
        row_no = find_row(source, client)
        texts = list(dict.fromkeys([*source.ids, source.schema.target, *predictor.schema.features]))
        rows = f"select * from ({source.rows}) where row_no = {row_no}"
        (row,) = frame_reader.read(source.connection, rows, source.cells, predictor.schema, texts=texts)
    return row, {
        "id": {name: row.texts[name][0] for name in source.ids} or {ROW: str(row_no)},
        "row": row_no,
        "file": file_of(ledger, row_no),
        "label": row.texts[source.schema.target][0],
    }


def find_row(source: Source, client: str) -> int:
    """Find the newest row of a client."""
    names = source.ids
    if not names:
        return _number_of(source, client)
    cells = [client] if len(names) == 1 else next(csv.reader([client]), [])
    if len(cells) != len(names):
        raise UsageError(f"--explain: name the client by {','.join(names)}, in this order, as in a CSV")
    same = " and ".join(f"{source.cells[name]} is not distinct from ?" for name in names)
    newest = source.connection.execute(
        f"select max(row_no) from ({source.rows}) where {same}", [cell or None for cell in cells]
    ).fetchone()
    if newest is None or newest[0] is None:
        raise UsageError(f"--explain: the table has no client {client!r}{_suggest(source, cells[0])}")
    return int(newest[0])


def _number_of(source: Source, client: str) -> int:
    ((n_rows,),) = source.connection.execute(f"select count(*) from ({source.rows})").fetchall()
    if not client.isdecimal() or not 1 <= int(client) <= n_rows:
        raise UsageError(
            f"--explain: without id columns a client is a row from 1 to {n_rows:,}, not {client!r}"
        )
    return int(client)


def _suggest(source: Source, text: str) -> str:
    """Suggest some clients whose first id holds a text, in any case."""
    cell = source.cells[source.ids[0]]
    names = source.connection.execute(
        f"select distinct {cell} from ({source.rows}) where contains(lower({cell}), lower(?)) "
        f"order by {cell} limit {MAX_SUGGESTIONS}",
        [text],
    ).fetchall()
    return f"; did you mean {' or '.join(repr(name) for (name,) in names)}?" if names else ""


def file_of(ledger: Ledger, row_no: int) -> str | None:
    """Name the file that brought a row: files stand in the order of their rows."""
    ends = accumulate(entry.new for entry in ledger.files)
    return next((e.name for e, end in zip(ledger.files, ends, strict=True) if row_no <= end), None)


# --- facts ------------------------------------------------------------------------------------------------


def describe_prediction(predictor: Predictor, row: Rows) -> dict[str, Any]:
    """Describe the prediction of one row, and what each column adds."""
    predictions = predictor.predict(row.X)
    low, high = (float(end[0]) for end in predictor.compute_intervals(predictions.log_odds))
    facts = {
        "probability": float(predictions.probability[0]),
        "probability_low": None if np.isnan(low) else low,
        "probability_high": None if np.isnan(high) else high,
        "class": int(predictions.flagged[0]),
        "threshold": predictor.threshold,
        "risk": str(predictions.risk[0]),
        "log_odds": float(predictions.log_odds[0]),
    }
    (reasons,) = predictor.find_reasons(row.X, predictions.flagged, client_ranking.N_REASONS)
    effects = describe_effects(predictor.explainer, row) if predictor.explainer else None
    return {"prediction": facts, "reasons": [one.to_json() for one in reasons], "effects": effects}


def describe_effects(explainer: Explainer, row: Rows) -> dict[str, Any]:
    """Describe the effect of every column, the strongest first; `rest` belongs to no single one."""
    effects = explainer.compute_effects(row.X)
    by_name = dict(zip(effects.columns, effects.values[0].tolist(), strict=True))
    columns = [
        {
            "column": name,
            "value": row.texts[name][0],
            "usual": _describe_baseline(explainer, name, row.X[name].iloc[0], by_name[name]),
            "effect": by_name[name],
        }
        for name in sorted(by_name, key=lambda name: -abs(by_name[name]))
    ]
    total = effects.base + float(effects.values[0].sum())
    log_odds = float(effects.log_odds[0])
    return {"base": effects.base, "columns": columns, "rest": log_odds - total, "log_odds": log_odds}


def _describe_baseline(explainer: Explainer, column: str, cell: Any, effect: float) -> str:
    """Describe what a cell is compared with, as its reason does; the most frequent value without one."""
    value = None if cell != cell else cell
    baseline = explainer.baselines[column]
    (contrast,) = find_contrasts(explainer, column, [value], raises=effect > 0)
    return explainer.words.describe_baseline(
        column, baseline, baseline.values[0] if contrast == value else contrast
    )


def describe_release(release: Release) -> dict[str, Any]:
    """Describe the release; reading it has checked every digest."""
    manifest = release.manifest
    return {
        "id": release.id,
        "deployed_by": manifest["deployed_by"],
        "estimator": manifest["estimator"],
        "score": manifest["score"],
        "versions": manifest["versions"],
        "model_sha256": manifest["files"]["trainedmodel.pkl"],
        "files": manifest["files"],
    }


def describe_data(release: Release, data: Path, ledger: Ledger) -> dict[str, Any]:
    """Describe the training data; `unchanged` is whether the table still begins with them."""
    facts = release.json("modelcard.json")["data"]
    names = ("source", "n_rows", "n_samples", "n_positive", "length", "digest", "files_sha256")
    mark = release.manifest["training_mark"]
    return {name: facts.get(name) for name in names} | {"unchanged": has_prefix(data, ledger, mark)}


def parse_files(text: str) -> list[dict[str, Any]]:
    """Parse ingestedfiles.txt: a line a file, the name first."""
    files = []
    for line in text.splitlines()[1:]:
        name, *counts, sha256 = line.rsplit(None, len(FILE_FACTS) + 1)
        figures = dict(zip(FILE_FACTS, map(int, counts), strict=True))
        files.append({"name": name, **figures, "sha256": sha256})
    return files


# --- for a reader ------------------------------------------------------------------------------------------


def render(facts: Mapping[str, Any]) -> str:
    """Render the facts in 80 columns."""
    blocks = [render_client(facts), render_effects(facts["effects"]), render_origin(facts)]
    return "\n\n".join("\n".join(lines) for lines in blocks if lines) + "\n"


def render_client(facts: Mapping[str, Any]) -> list[str]:
    client, prediction = facts["client"], facts["prediction"]
    named = ", ".join(f"{name} {value or 'missing'}" for name, value in client["id"].items())
    label = client["label"] or "none yet"
    interval = ""
    if prediction["probability_low"] is not None:
        low, high = (_percent(prediction[f"probability_{end}"]) for end in ("low", "high"))
        interval = f" (95 % interval {low} to {high})"
    comparison = "at or above" if prediction["class"] else "below"
    lines = [
        ("client", named),
        ("row", f"{client['row']:,} of the table, its newest, from {client['file']}; label {label}"),
        ("leaves", f"{_percent(prediction['probability'])}{interval}, risk {prediction['risk']}"),
        (
            "flagged",
            f"{'yes' if prediction['class'] else 'no'}, {comparison} the threshold of "
            f"{_percent(prediction['threshold'])}",
        ),
        *(("because" if not k else "", one["text"]) for k, one in enumerate(facts["reasons"])),
    ]
    return [_line(name, text) for name, text in lines]


def render_effects(effects: Mapping[str, Any] | None) -> list[str]:
    if effects is None:
        return ["The model was not built by training.py: the effects of its columns are not known."]
    rows = [("log-odds", "column", "this client", "compared with")]
    rows.append((_signed(effects["base"]), "baseline: the median or the mix of every column", "", ""))
    rows += [
        (_signed(one["effect"]), one["column"], one["value"] or "missing", one["usual"])
        for one in effects["columns"]
    ]
    if abs(effects["rest"]) > ROUNDING:
        rows.append((_signed(effects["rest"]), "interactions that belong to no single column", "", ""))
    rows.append((_signed(effects["log_odds"]), "sum: the log-odds of the probability", "", ""))
    lines = []
    for figure, name, value, usual in rows:
        cells = f"{fit(name, 22)} {fit(value, 20)} {fit(usual, 25)}" if value else fit(name, 60)
        lines.append(f"{figure:>9}  {cells}".rstrip())
    return lines


def render_origin(facts: Mapping[str, Any]) -> list[str]:
    release, data, files = facts["release"], facts["data"], facts["files"]
    state = "still begins with these rows" if data["unchanged"] else "no longer begins with these rows"
    fitted = f"{data['n_samples']:,} labelled of {data['n_rows']:,} rows, {data['n_positive']:,} leavers"
    lines = [
        ("release", f"{release['id']}, {release['estimator']}, deployed by {release['deployed_by']}"),
        ("model", release["model_sha256"]),
        ("fitted on", f"{fitted}, of {data['source']}"),
        ("data", data["digest"]),
        ("", f"the table {state}"),
        *(("files" if not k else "", _format_file(one)) for k, one in enumerate(files[:MAX_FILES])),
    ]
    if len(files) > MAX_FILES:
        lines.append(("", f"and {len(files) - MAX_FILES:,} more; --json lists all"))
    return [_line(name, text) for name, text in lines]


def _format_file(one: Mapping[str, Any]) -> str:
    return f"{fit(one['name'], 30)} {one['new']:>11,} new rows  {one['sha256'][:16]}"


def _line(name: str, text: str) -> str:
    return fit(f"{name:10} {text}", WIDTH).rstrip()


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _signed(value: float) -> str:
    return f"{value:+.3f}"
