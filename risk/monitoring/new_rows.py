"""The deployed model on rows that are new to it: evidence, estimates without labels, and the verdict."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from risk.data import profiles
from risk.data.schema import Schema
from risk.engines import base, table_reader
from risk.model import registry
from risk.monitoring import column_drift, delayed_labels, evidence, performance_estimation, verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from risk.data.ledger import Ledger
    from risk.engines.base import EngineSettings
    from risk.engines.table_reader import Taken
    from risk.model.registry import Release
    from risk.monitoring.column_drift import ColumnShift
    from risk.monitoring.delayed_labels import UnlabelledOutlook
    from risk.monitoring.verdict import Verdict


class CheckSettings(NamedTuple):
    """How new rows are judged.

    Attributes
    ----------
    data : Path
        The compiled table.
    pending_labels : Path
        Where predictions wait for their labels.
    most_rows : int
        Of more new rows, so many are taken, by digest.
    """

    rule: str
    alpha: float
    data: Path
    pending_labels: Path
    most_rows: int
    engine: EngineSettings


def judge(release: Release, model: Any, ledger: Ledger, start: int, settings: CheckSettings) -> Verdict:
    """Judge a release on the rows of the table after an offset, and note what still needs a label.

    Parameters
    ----------
    model : fitted model
        Of the release.
    start : int
        Offset in bytes at which the new rows begin.
    """
    card, table = release.json("modelcard.json"), Schema.from_json(ledger.schema or {})
    schema = replace(Schema.from_json(card["schema"]), columns=table.columns, ids=table.ids)
    ids = [name for name in schema.ids if name in table.columns]
    room, most = settings.engine.room, settings.most_rows
    taken = table_reader.read(settings.data, ledger, schema, room, start=start, texts=ids, most=most)
    predictions = registry.predict(model, taken.X)
    shifts, all_counted = compare_columns(card, ledger, start, taken, settings)
    result = evidence.compute_evidence(
        taken.y,
        *predictions,
        recorded_score=float(release.files["latestscore.txt"]),
        release_reference=card.get("reference"),
        shifts=shifts,
        alpha=settings.alpha,
        clients=taken.clients if len(taken.clients) else None,
    )
    if taken.is_sample:
        sample = f"judged on a sample, by digest, of {most:,} of {taken.n_rows:,} new rows"
        sample += "; columns on all of them" if all_counted else ""
        result = replace(result, sentences=(*result.sentences, sample))
    outlook = estimate_unlabelled(release, card, taken, predictions, settings.pending_labels)
    return verdict.judge(settings.rule, result, release.id, outlook)


def compare_columns(
    card: Mapping[str, Any], ledger: Ledger, start: int, taken: Taken, settings: CheckSettings
) -> tuple[tuple[ColumnShift, ...], bool]:
    """Compare each column of the new rows with its profile; an earlier version kept none.

    Returns
    -------
    shifts : tuple of ColumnShift
    all_counted : bool
        Whether all new rows were counted, not only those of the sample.
    """
    references = {name: profiles.from_json(raw) for name, raw in card.get("profiles", {}).items()}
    if not references:
        return (), False
    with base.open_table(settings.engine, settings.data, ledger, start=start) as table:
        counts = table.count_by(references, taken)
    all_counted = bool(counts) and all(column.n == taken.n_rows for column in counts.values())
    return column_drift.compare_columns(references, counts), all_counted


def estimate_unlabelled(
    release: Release,
    card: Mapping[str, Any],
    taken: Taken,
    predictions: tuple[np.ndarray, np.ndarray],
    pending_labels: Path,
) -> UnlabelledOutlook:
    """Estimate the rows without a label, and audit earlier estimates of rows that have one now.

    Parameters
    ----------
    taken : Taken
        The new rows; their `texts` are the id columns.
    predictions : two ndarrays of shape (n_samples,)
        Of the release: 1 leaves, 0 stays; the probability of leaving.
    pending_labels : Path
        Where predictions wait for their labels; written when a row has none.
    """
    import pandas as pd

    before = delayed_labels.load_pending(pending_labels)
    if not len(before.rows) and not np.isnan(taken.y).any():
        return delayed_labels.NOTHING
    ids = {name: pd.Series(cells, dtype="str") for name, cells in taken.texts.items()}
    outlook, after = delayed_labels.estimate_and_audit(
        before,
        delayed_labels.compute_row_keys(pd.DataFrame(ids, index=taken.X.index), taken.X),
        taken.y,
        *predictions,
        release=release.id,
        reliability=performance_estimation.get_reliability(card.get("reference"), card),
    )
    if outlook.estimate:
        delayed_labels.write_pending(pending_labels, after)
    return outlook
