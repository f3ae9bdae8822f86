"""The list of clients at risk, and how it has changed.

`atrisk.csv` (columns: `client_list_reader`) holds every client of the table who has not left
(`client_ranking`), and is written whole at each run. A change is against the list before: the last one that
was made by another release, or of another state of the table. Made twice of the same, the list has the same
bytes. A list that is damaged, or of a table with other id columns, is no list before; without id columns,
rows must still have the numbers they had.
"""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from risk import files, text
from risk.data import csv_check
from risk.data.ledger import Ledger, has_prefix
from risk.engines import frame_reader, table_reader
from risk.engines.duckdb_session import name_of, scan_csv
from risk.engines.sql import literal
from risk.engines.table_reader import Source
from risk.errors import ArtifactError
from risk.limits import Room
from risk.prediction import client_list_reader, client_ranking, csv_output, intervals
from risk.prediction.predictor import Predictor
from risk.prediction.reasons import Reason

DATA_DIGITS = 12
COUNTED = ("n_clients", "n_at_risk", "share_at_risk", "value_at_risk")


@dataclass(frozen=True)
class ListOptions:
    """What the list and its summary hold.

    Attributes
    ----------
    top_n : int
        How many clients the summary holds.
    value_column : str, optional
        The column that the expected loss is computed from.
    n_explained : int
        How many clients have reasons.
    """

    top_n: int = 20
    value_column: str | None = None
    n_explained: int = client_ranking.MAX_EXPLAINED


def write_list(
    path: Path,
    data: Path,
    room: Room,
    ledger: Ledger,
    predictor: Predictor,
    options: ListOptions,
    before: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write atrisk.csv and give its summary.

    Parameters
    ----------
    path, data : Path
        atrisk.csv and the compiled table.
    before : mapping, optional
        The summary of the last list, as diagnostics.json has it.

    Returns
    -------
    summary : dict
        `release`, `mark` (of the table), `threshold`, `value_column`; those of `count`; `before`: of the
        earlier list; `clients`: the first `top_n` lines, as `client_list_reader` gives them, with reasons.

    Raises
    ------
    DatasetError, ConfigError
        When the table lacks what is needed.
    """
    with table_reader.open_table(data, ledger, room) as source:
        n_known, reasons = rank(source, data, ledger, predictor, options)
        stamp = {"release": predictor.release, "data": ledger.digest[:DATA_DIGITS]}
        comparable = bool(source.ids) or has_prefix(data, ledger, (before or {}).get("mark"))
        read_before(source, path, stamp, comparable=comparable)
        lines = write_lines(source, path, stamp, room.spill, options.top_n)
        counts = count(source, n_known, has_value=options.value_column is not None)
    facts = {"release": predictor.release, "mark": ledger.mark, "threshold": predictor.threshold}
    facts |= {"value_column": options.value_column, **counts}
    top = [line | {"reasons": [one.to_json() for one in reasons.get(line["rank"], ())]} for line in lines]
    return {**facts, "before": counts_before(facts, before), "clients": top}


def read_summary(diagnostics: Path) -> Mapping[str, Any] | None:
    """Read the summary of the last list from diagnostics.json; None where there is none that can be read."""
    try:
        summary: Mapping[str, Any] | None = (files.read_json_or_none(diagnostics) or {}).get("clients")
    except ArtifactError:
        return None
    return summary


def history_row(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Make the row of the history: how many are at risk, once for each release and state of the table."""
    release, digest = summary["release"], summary["mark"]["digest"]
    counts = {name: summary[name] for name in COUNTED}
    return {"key": [release, digest], "release": release, "table_digest": digest, **counts}


def rank(
    source: Source, data: Path, ledger: Ledger, predictor: Predictor, options: ListOptions
) -> tuple[int, dict[int, list[Reason]]]:
    """Rank the clients in DuckDB and store their reasons; give how many are known, and reasons by rank."""
    client_ranking.check_table(source.schema, predictor, options.value_column)
    n_known = client_ranking.select_newest(source, data, ledger.rows)
    client_ranking.rank_clients(source, predictor, options.value_column)
    reasons = client_ranking.find_reasons(source, predictor, options.n_explained)
    store_reasons(source, reasons)
    return n_known, reasons


def count(source: Source, n_known: int, *, has_value: bool) -> dict[str, Any]:
    """Count clients.

    Returns
    -------
    counts : dict
        `n_clients`, `n_at_risk`, `share_at_risk`, `value_at_risk` (expected loss of the clients at risk, None
        without a value column), `risk` (clients by level), `n_left` (left out).
    """
    by_level = "select risk, count(*), coalesce(count_if(leaves), 0) from standing group by risk"
    counts = source.connection.execute(by_level).fetchall()
    n, n_at_risk = sum(one[1] for one in counts), sum(one[2] for one in counts)
    levels = {level: n_clients for level, n_clients, _ in counts}
    return {
        "n_clients": n,
        "n_at_risk": n_at_risk,
        "share_at_risk": n_at_risk / n if n else None,
        "value_at_risk": add_losses(source) if has_value else None,
        "risk": {level: levels.get(level, 0) for level in intervals.LEVELS},
        "n_left": n_known - n,
    }


def add_losses(source: Source) -> float:
    """Add the expected losses of the clients at risk, in the order of the list."""
    total = np.longdouble(0)
    losses = source.connection.execute("select loss from standing where leaves and loss is not null")
    while len(chunk := losses.fetch_df_chunk(frame_reader.VECTORS)):
        total += chunk["loss"].to_numpy().astype(np.longdouble).sum()
    return float(total)


def counts_before(facts: Mapping[str, Any], before: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Give the counts of the list before; a summary of the same list knows them itself."""
    if before is None:
        return None
    if all(before.get(name) == facts[name] for name in ("release", "mark")):
        known = before.get("before")
        return dict(known) if known else None
    return {name: before.get(name) for name in COUNTED}


# --- in DuckDB ---------------------------------------------------------------------------------------------


def store_reasons(source: Source, reasons: Mapping[int, list[Reason]]) -> None:
    """Put the reasons of clients, by rank, into `reasoned`."""
    texts = [[text.escape_for_spreadsheet(one.text) for one in own] for own in reasons.values()]
    columns = {
        name: [t[k] if k < len(t) else None for t in texts]
        for k, name in enumerate(client_list_reader.REASONS)
    }
    typed = ", ".join(f"{name}::varchar as {name}" for name in client_list_reader.REASONS)
    _keep(source, "reasoned", {"rank": np.array([*reasons], dtype=np.int64), **columns}, f"rank, {typed}")


def _keep(source: Source, name: str, columns: Mapping[str, Any], select: str) -> None:
    import pandas as pd

    source.connection.register("known", pd.DataFrame(columns))
    source.connection.execute(f"create temp table {name} as select {select} from known")
    source.connection.unregister("known")


def read_before(source: Source, path: Path, stamp: Mapping[str, str], *, comparable: bool) -> None:
    """Take rank and probability of each client from the list before, into `before`.

    A list with the same stamp is this one, made already: what was before it is read off its changes.
    """
    keys = ", ".join(f"{key} varchar" for key in source.keys)
    source.connection.execute(f"create temp table before ({keys}, rank bigint, probability double)")
    header = client_list_reader.make_header(source.ids)
    try:
        with csv_check.open_regular(path) as handle:
            if handle.readline() == client_list_reader.render_header(header):
                scanned = scan_csv([name_of(handle)], len(header), ",", "ignore_errors = true")
                source.connection.execute(
                    f"insert into before {_select_before(source, header, scanned, stamp, comparable)}"
                )
    except (OSError, duckdb.Error):  # gone or damaged: there is no earlier list
        source.connection.execute("delete from before")


def _select_before(
    source: Source, header: list[str], scanned: str, stamp: Mapping[str, str], comparable: bool
) -> str:
    cell = {name: f"c{position}" for position, name in enumerate(header)}
    keys = [f"c{1 + position}" for position in range(len(source.keys))]
    same = " and ".join(f"{cell[name]} = {literal(value)}" for name, value in stamp.items())
    rank, p = f"try_cast({cell['rank']} as bigint)", f"try_cast({cell['probability']} as double)"
    rank_change = f"try_cast({cell['rank_change']} as bigint)"
    p_change = f"try_cast({cell['probability_change']} as double)"
    rank = f"case when {same} then {rank} + {rank_change} else {rank} end"
    p = f"case when {same} then {p} - {p_change} else {p} end"
    return (
        f"select {', '.join(keys)}, any_value({rank}), any_value({p}) from {scanned} "
        f"where ({same} or {str(comparable).lower()}) and not ({' and '.join(f'{k} is null' for k in keys)}) "
        f"group by {', '.join(keys)}"
    )


def write_lines(
    source: Source, path: Path, stamp: Mapping[str, str], spill: Path, top_n: int
) -> list[dict[str, Any]]:
    """Write the list, and give its first lines as data."""
    header = client_list_reader.make_header(source.ids)
    matched = " and ".join(f"newest.{key} is not distinct from before.{key}" for key in source.keys)
    changes = {
        "rank_change": "before.rank - standing.rank",
        "probability_change": f"round(standing.probability - before.probability, {csv_output.DIGITS})",
    }
    numbers = [
        name
        for name in client_list_reader.NUMBERS
        if name not in client_list_reader.WHOLE and name not in changes
    ]
    texts = {
        **{name: f"format('{{:.{csv_output.DIGITS}f}}', standing.{name})" for name in numbers},
        "expected_loss": f"format('{{:.{client_ranking.LOSS_DIGITS}f}}', expected_loss)",
        "rank_change": _signed(changes["rank_change"], "d"),
        "probability_change": _signed(changes["probability_change"], f".{csv_output.DIGITS}f"),
        **{name: literal(value) for name, value in stamp.items()},
    }
    keys = [f"newest.{key}" for key in source.keys]
    listed = ", ".join(["standing.rank", *keys, *(texts.get(name, name) for name in client_list_reader.OWN)])
    select = (
        f"select {listed} from standing join newest using (row_no) left join before on {matched} "
        "left join reasoned on reasoned.rank = standing.rank order by standing.rank"
    )
    rows = spill / f"{files.TEMPORARY}{os.getpid()}-{path.name}.rows"  # swept away if we die here
    source.connection.execute(
        f"copy ({select}) to {literal(str(rows))} (format csv, header false, use_tmp_file false)"
    )
    with files.put(path, "wb") as handle, rows.open("rb") as written:
        handle.write(client_list_reader.render_header(header))
        shutil.copyfileobj(written, handle)
    with rows.open(encoding="utf-8", newline="") as written:
        top = [client_list_reader.read_line(header, cells) for cells in islice(csv.reader(written), top_n)]
    rows.unlink()
    return top


def _signed(change: str, kind: str) -> str:
    """Render in SQL how a change is written: with its sign, none as 0."""
    return f"case when {change} = 0 then '0' else format('{{:+{kind}}}', {change}) end"
