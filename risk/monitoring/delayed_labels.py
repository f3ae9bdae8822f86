"""Delayed labels: predictions of rows without a label are stored until their labels come in a later file.

A row is the same when its ids are equal as texts and its features as the model sees them: a client whose
features have changed is another row, and the earlier prediction was not about it. Without id columns no row
can be recognised.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from risk import files
from risk.errors import ArtifactError
from risk.metrics import classification, cross_validation
from risk.metrics.classification import Score
from risk.metrics.reliability import Reliability
from risk.monitoring import estimate_audit, performance_estimation
from risk.monitoring.estimate_audit import EstimateAudit
from risk.monitoring.performance_estimation import PerformanceEstimate

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 1
MOST_ROWS = 200_000  # about 4 MB; the newest stay
ROW_DTYPE = np.dtype([("key", "<u8"), ("probability", "<f8"), ("called", "?"), ("release", "<u4")])


@dataclass(frozen=True)
class PendingPredictions:
    """Predictions of rows without a label, the oldest first.

    `rows` has the fields of `ROW_DTYPE`; `release` is a position in `releases`, which holds by release what
    known outcomes said of its probabilities.
    """

    rows: np.ndarray = field(default_factory=lambda: np.empty(0, ROW_DTYPE))
    releases: Mapping[str, Reliability | None] = field(default_factory=dict)


@dataclass(frozen=True)
class LabelledEstimate:
    """Rows that one release estimated, and that have labels now."""

    release: str
    estimate: PerformanceEstimate
    score: Score
    audit: EstimateAudit


@dataclass(frozen=True)
class UnlabelledOutlook:
    """The estimate of rows without a label, and the audits of those estimated before."""

    estimate: PerformanceEstimate | None
    labelled: tuple[LabelledEstimate, ...]

    def to_json(self) -> dict[str, Any]:
        estimate = self.estimate.to_json() if self.estimate else None
        audits = [{"release": one.release, **one.audit.to_json()} for one in self.labelled]
        return {"estimate": estimate, "audits": audits}

    @property
    def sentences(self) -> tuple[str, ...]:
        own = (self.estimate.sentence,) if self.estimate else ()
        return (*own, *(one.audit.sentence for one in self.labelled))

    def records(self, release: str) -> list[dict[str, Any]]:
        """Give the rows of the history: the estimate of a release, each audit with the realised scores."""
        rows = [_record(release, self.estimate, self.estimate.sentence)] if self.estimate else []
        for one in self.labelled:
            realised = {
                "n_labelled": one.score.n,
                "realised_f1": one.score.f1,
                "realised_auc": one.score.auc,
            }
            rows.append(_record(one.release, one.estimate, one.audit.sentence) | realised)
        return rows


NOTHING = UnlabelledOutlook(None, ())


def _record(release: str, estimate: PerformanceEstimate, sentence: str) -> dict[str, Any]:
    names = ("n", "f1", "f1_low", "f1_high", "auc", "auc_low", "auc_high")
    return {"release": release, "told": sentence, **{name: getattr(estimate, name) for name in names}}


# --- compute -----------------------------------------------------------------------------------------------


def estimate_and_audit(
    before: PendingPredictions,
    keys: np.ndarray,
    y: np.ndarray,
    y_pred: np.ndarray,
    probability: np.ndarray,
    *,
    release: str,
    reliability: Reliability | None,
) -> tuple[UnlabelledOutlook, PendingPredictions]:
    """Estimate new rows without a label, store their predictions, and audit those that have one now.

    Parameters
    ----------
    before : PendingPredictions
        Predictions that wait for their labels.
    keys : ndarray of uint64, shape (n_samples,)
        Of the new rows, from `compute_row_keys`.
    y : ndarray of shape (n_samples,)
        1 leaves, 0 stays, NaN no label.
    y_pred, probability : ndarray of shape (n_samples,)
        Predictions of the deployed release.

    Returns
    -------
    outlook : UnlabelledOutlook
    after : PendingPredictions
    """
    is_open = find_unlabelled(keys, y)
    estimate, after = None, before
    if is_open.any():
        predictions = probability[is_open], y_pred[is_open]
        estimate = performance_estimation.estimate_performance(*predictions, reliability)
        after = add_predictions(before, keys[is_open], *predictions, release, reliability)
    return UnlabelledOutlook(estimate, tuple(audit_labelled(after, keys, y))), after


def compute_row_keys(ids: pd.DataFrame, X: pd.DataFrame) -> np.ndarray:
    """Digest ids and features of each row.

    Parameters
    ----------
    ids : DataFrame of str, shape (n_samples, n_ids)
        Missing NaN; there may be no column.
    X : DataFrame of shape (n_samples, n_features)

    Returns
    -------
    keys : ndarray of uint64, shape (n_samples,)
        0 for a row without any id: it cannot be told from another.
    """
    import pandas as pd

    named = ids.set_axis([f"id {name}" for name in ids.columns], axis=1)
    keys = cross_validation.row_digests(pd.concat([named, X], axis=1))
    return np.asarray(np.where(ids.notna().any(axis=1), keys, 0), dtype="uint64")


def find_unlabelled(keys: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Find the rows without a label whose label is not in another of these rows either.

    Parameters
    ----------
    keys, y : ndarray of shape (n_samples,)
        As `estimate_and_audit` takes them.

    Returns
    -------
    is_open : ndarray of bool, shape (n_samples,)
    """
    labelled = y == y
    return np.asarray(~labelled & ((keys == 0) | ~np.isin(keys, keys[labelled])))


def add_predictions(
    before: PendingPredictions,
    keys: np.ndarray,
    probability: np.ndarray,
    y_pred: np.ndarray,
    release: str,
    reliability: Reliability | None,
    *,
    most_rows: int = MOST_ROWS,
) -> PendingPredictions:
    """Store predictions of a release: of the same row the last, of too many the newest.

    Doing it twice is doing it once, so a run that is repeated ends in the same bytes.

    Parameters
    ----------
    keys, probability, y_pred : ndarray of shape (n_samples,)
        Of rows without a label.
    release, reliability : str, Reliability or None
        Whose predictions these are, and what known outcomes say of its probabilities.
    """
    releases = {**before.releases, release: reliability}
    rows = np.zeros(len(keys), ROW_DTYPE)
    rows["key"], rows["probability"], rows["called"] = keys, probability, y_pred == 1
    rows["release"] = list(releases).index(release)
    both = np.concatenate([before.rows, rows[keys != 0]])
    last = len(both) - 1 - np.unique(both["key"][::-1], return_index=True)[1]
    newest = both[np.sort(last)[-most_rows:]]
    used, newest["release"] = np.unique(newest["release"], return_inverse=True)
    names = list(releases)
    return PendingPredictions(newest, {names[number]: releases[names[number]] for number in used})


def audit_labelled(
    pending: PendingPredictions, keys: np.ndarray, y: np.ndarray
) -> Iterator[LabelledEstimate]:
    """Compare the estimates of rows that have labels now with their scores, release by release.

    Parameters
    ----------
    keys, y : ndarray of shape (n_samples,)
        Of new rows; NaN is no label. Of several labels of one row the last counts.
    """
    labelled = np.flatnonzero((y == y) & (keys != 0))
    newest = labelled[::-1][np.unique(keys[labelled][::-1], return_index=True)[1]]
    _, ours, theirs = np.intersect1d(
        pending.rows["key"], keys[newest], assume_unique=True, return_indices=True
    )
    rows, labels = pending.rows[ours], y[newest[theirs]]
    for number, (release, reliability) in enumerate(pending.releases.items()):
        mine = rows["release"] == number
        if mine.any():
            yield _audit_release(release, reliability, rows[mine], labels[mine])


def _audit_release(
    release: str, reliability: Reliability | None, rows: np.ndarray, y: np.ndarray
) -> LabelledEstimate:
    probability, y_pred = rows["probability"], rows["called"].astype(np.int64)
    estimate = performance_estimation.estimate_performance(probability, y_pred, reliability)
    score = classification.compute_score(y, y_pred, probability)
    return LabelledEstimate(release, estimate, score, estimate_audit.audit_estimate(estimate, score))


# --- on disk -----------------------------------------------------------------------------------------------


def write_pending(path: Path, pending: PendingPredictions) -> None:
    """Write pending predictions: one line of JSON, then the rows as they lie in memory."""
    releases = {name: one and one.to_json() for name, one in pending.releases.items()}
    head = {"format": FORMAT, "n": len(pending.rows), "releases": releases}
    with files.put(path, "wb") as handle:
        handle.write(json.dumps(head).encode() + b"\n" + pending.rows.tobytes())


def load_pending(path: Path) -> PendingPredictions:
    """Load pending predictions; none when there is no such file, or another version wrote it.

    Raises
    ------
    ArtifactError
        When it is damaged.
    """
    if not path.exists():
        return PendingPredictions()
    line, _, data = path.read_bytes().partition(b"\n")
    try:
        head = json.loads(line)
        if head["format"] != FORMAT:
            return PendingPredictions()
        rows = np.frombuffer(data, ROW_DTYPE, count=head["n"])
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{path}: is damaged ({error}); remove it and run again") from error
    raw: Mapping[str, Any] = head["releases"]
    return PendingPredictions(
        rows, {name: facts and Reliability.from_json(facts) for name, facts in raw.items()}
    )
