"""Tables and columns of the history, and whole rows for them, in whichever database.

A row's `id` is a digest of its content, so writing it again changes nothing. Standard library only.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any


class BigInteger(int):
    """The kind of whole numbers that may be beyond 2 to the power of 31."""


# What each version added; a new column or table needs its line here and no other code.
CHANGES = {
    2: "add rows_total to ingested_files, model_sha256 to releases, the table column_drift",
    3: "add the evidence to drift and column_drift, gate to ticks, tables gates, estimates",
    4: "add the table client_lists",
}
VERSION = max(CHANGES)
PRUNED_AT_ONCE = 10_000
NAME, DIGEST, TIME, SENTENCE = 255, 64, 32, 1000
Kind = int | type[int | float | bool]  # of a text how many characters fit
# Besides these, every table has `id`, a digest, and `at`, a time.
TABLES: Mapping[str, Mapping[str, Kind]] = {
    "ticks": {
        "listing_digest": DIGEST,
        "config_digest": DIGEST,
        "release_before": NAME,
        "release_after": NAME,
        "files_new": int,
        "rows_new": int,
        "drift": bool,
        "deployed": bool,
        "reason": SENTENCE,
        "gate": NAME,
    },
    "ingested_files": {
        "source": SENTENCE,
        "batch": int,
        "name": NAME,
        "sha256": DIGEST,
        "rows_read": int,
        "rows_new": int,
        "rows_duplicate": int,
        "rows_rejected": int,
        "rows_unlabelled": int,
        "refused": SENTENCE,
        "rows_total": BigInteger,
    },
    "scores": {
        "data": NAME,
        "model_sha256": DIGEST,
        "n": int,
        "n_positive": int,
        "f1": float,
        "f1_low": float,
        "f1_high": float,
        "auc": float,
        "average_precision": float,
    },
    "timings": {
        "stage": NAME,
        "duration_s": float,
        "n_rows": int,
    },
    "missing_values": {
        "table_digest": DIGEST,
        "column_name": NAME,
        "count": int,
        "percent": float,
    },
    "drift": {
        "release": NAME,
        "rule": NAME,
        "drift": bool,
        "recorded_score": float,
        "new_score": float,
        "new_low": float,
        "new_high": float,
        "n": int,
        "auc": float,
        "leaver_share": float,
        "reason": SENTENCE,
        "advice": SENTENCE,
        "told": SENTENCE,
        "n_rows": int,
        "auc_low": float,
        "auc_high": float,
        "score_says": bool,
        "score_margin_says": bool,
        "score_margin_p_value": float,
        "auto_says": bool,
        "auto_p_value": float,
        "reference_n": int,
        "reference_f1": float,
        "reference_auc": float,
        "leaver_share_reference": float,
        "leaver_share_p_value": float,
        "label_share_alone": bool,
        "moved": SENTENCE,
        "prediction_psi": float,
        "prediction_p_value": float,
    },
    "column_drift": {
        "release": NAME,
        "table_digest": DIGEST,
        "column_name": NAME,
        "n": int,
        "psi": float,
        "psi_critical": float,
        "p_value": float,
        "p_adjusted": float,
        "ks": float,
        "missing": int,
        "unseen": int,
        "out_of_range": int,
        "material": bool,
        "told": SENTENCE,
    },
    "gates": {
        "release": NAME,
        "model_sha256": DIGEST,
        "rule": NAME,
        "decision": NAME,
        "reason": SENTENCE,
        "rows_trained_on": NAME,
        "judged_on": NAME,
        "n": int,
        "n_positive": int,
        "auc": float,
        "deployed_auc": float,
        "auc_gain_low": float,
        "auc_gain_high": float,
        "auc_p_worse": float,
        "auc_p_better": float,
        "f1": float,
        "deployed_f1": float,
        "f1_gain_low": float,
        "f1_gain_high": float,
        "mcnemar_p_value": float,
    },
    "estimates": {
        "release": NAME,
        "table_digest": DIGEST,
        "n": int,
        "f1": float,
        "f1_low": float,
        "f1_high": float,
        "auc": float,
        "auc_low": float,
        "auc_high": float,
        "n_labelled": int,
        "realised_f1": float,
        "realised_auc": float,
        "told": SENTENCE,
    },
    "client_lists": {
        "release": NAME,
        "table_digest": DIGEST,
        "n_clients": int,
        "n_at_risk": int,
        "share_at_risk": float,
        "value_at_risk": float,
    },
    "releases": {
        "release": NAME,
        "action": NAME,
        "deployed_by": NAME,
        "estimator": NAME,
        "score": float,
        "model_sha256": DIGEST,
    },
}


def complete(name: str, rows: Iterable[Mapping[str, Any]], at: str) -> list[dict[str, Any]]:
    """Make whole rows of a table, each once, in the order of their keys.

    In that order two writers never wait for each other in a ring.

    Parameters
    ----------
    rows : iterable of mapping
        A row may bring its own `key` (what makes it unique); otherwise its values and `at` do.

    Raises
    ------
    KeyError
        When there is no such table.
    ValueError
        When a row has a value for which there is no column.
    """
    values = {value["id"]: value for value in (_complete(name, row, at) for row in rows)}
    return [values[key] for key in sorted(values)]


def _complete(name: str, given: Mapping[str, Any], at: str) -> dict[str, Any]:
    """Make a whole row: its id, every column, texts that fit, nothing that is not finite."""
    row = dict(given)
    key = row.pop("key", None) or [at, row]
    text = json.dumps([name, key], sort_keys=True, default=str)
    values: dict[str, Any] = {"id": hashlib.sha256(text.encode()).hexdigest(), "at": at}
    for column, kind in TABLES[name].items():
        value = row.pop(column, None)
        if isinstance(value, float) and not math.isfinite(value):
            value = None
        if isinstance(value, str):
            # No database holds half a character, and PostgreSQL no NUL.
            value = value.encode(errors="replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
            value = value if isinstance(kind, type) else value[:kind]
        values[column] = value
    if row:
        raise ValueError(f"{name} has no column {', '.join(row)}")
    return values
