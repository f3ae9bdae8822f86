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
    from risk.data.profiles import Counts
    from risk.engines.base import EngineSettings
    from risk.engines.table_reader import Taken
    from risk.model.registry import Release
    from risk.monitoring.delayed_labels import UnlabelledOutlook
    from risk.monitoring.evidence import Evidence
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
    """Judge a release on the rows of the table behind an offset, and note what still needs a label.

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
    predicted = registry.predict(model, taken.X)
    found = compute_evidence(release, card, ledger, start, taken, predicted, settings)
    outlook = estimate_unlabelled(release, card, taken, ids, predicted, settings.pending_labels)
    return verdict.judge(settings.rule, found, release.id, outlook)


def compute_evidence(
    release: Release,
    card: dict[str, Any],
    ledger: Ledger,
    start: int,
    taken: Taken,
    predicted: tuple[np.ndarray, np.ndarray],
    settings: CheckSettings,
) -> Evidence:
    """Compute the evidence of new rows; an earlier version kept no reference and no profiles."""
    known = {name: profiles.from_json(raw) for name, raw in card.get("profiles", {}).items()}
    counts: Mapping[str, Counts] = {}
    if known:
        with base.open_table(settings.engine, settings.data, ledger, start=start) as table:
            counts = table.count_by(known, taken)
    computed = evidence.compute_evidence(
        taken.y,
        *predicted,
        recorded_score=float(release.files["latestscore.txt"]),
        release_reference=card.get("reference"),
        shifts=column_drift.compare_columns(known, counts),
        alpha=settings.alpha,
    )
    if not taken.is_sample:
        return computed
    all_counted = bool(counts) and all(column.n == taken.n_rows for column in counts.values())
    sample = f"judged on a sample, by digest, of {settings.most_rows:,} of {taken.n_rows:,} new rows"
    sample += "; columns on all of them" if all_counted else ""
    return replace(computed, sentences=(*computed.sentences, sample))


def estimate_unlabelled(
    release: Release,
    card: dict[str, Any],
    taken: Taken,
    ids: list[str],
    predicted: tuple[np.ndarray, np.ndarray],
    pending_labels: Path,
) -> UnlabelledOutlook:
    """Estimate the rows without a label, and audit earlier estimates of rows that have one now."""
    import pandas as pd

    before = delayed_labels.load_pending(pending_labels)
    if not len(before.rows) and not np.isnan(taken.y).any():
        return delayed_labels.NOTHING
    names = pd.DataFrame(
        {name: pd.Series(taken.texts[name], dtype="str") for name in ids}, index=taken.X.index
    )
    outlook, after = delayed_labels.estimate_and_audit(
        before,
        delayed_labels.compute_row_keys(names, taken.X),
        taken.y,
        *predicted,
        release=release.id,
        reliability=performance_estimation.get_reliability(card.get("reference"), card),
    )
    if outlook.estimate:
        delayed_labels.write_pending(pending_labels, after)
    return outlook
