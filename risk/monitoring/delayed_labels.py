"""Which answers are we waiting for, and which have come?

What a release said of a row without a label is kept until its label comes, in a later file. A row is the
same when its ids are equal as texts and its features as the model sees them: a client whose features have
changed is another row, and the earlier prediction was not about it. Without id columns nothing can be
recognised.
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
from risk.metrics.calibration import Reliability
from risk.metrics.classification import Score
from risk.monitoring import performance_estimation
from risk.monitoring.performance_estimation import EstimateAudit, PerformanceEstimate

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 1
MOST_ROWS = 200_000  # about 4 MB; the newest stay
ROW_DTYPE = np.dtype([("key", "<u8"), ("probability", "<f8"), ("called", "?"), ("release", "<u4")])


@dataclass(frozen=True)
class PendingPredictions:
    """What was said of rows without a label, the oldest first.

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
    """What is probably true of rows without a label, and what became of those estimated before."""

    estimate: PerformanceEstimate | None
    answers: tuple[LabelledEstimate, ...]

    def to_json(self) -> dict[str, Any]:
        estimate = self.estimate.to_json() if self.estimate else None
        audits = [{"release": answer.release, **answer.audit.to_json()} for answer in self.answers]
        return {"estimate": estimate, "audits": audits}

    @property
    def sentences(self) -> tuple[str, ...]:
        own = (self.estimate.sentence,) if self.estimate else ()
        return (*own, *(answer.audit.sentence for answer in self.answers))

    def records(self, release: str) -> list[dict[str, Any]]:
        """Give what the history keeps: the estimate of a release, and each audit with the realised scores."""
        rows = [_record(release, self.estimate, self.estimate.sentence)] if self.estimate else []
        for found in self.answers:
            realised = {
                "n_labelled": found.score.n,
                "realised_f1": found.score.f1,
                "realised_auc": found.score.auc,
            }
            rows.append(_record(found.release, found.estimate, found.audit.sentence) | realised)
        return rows


NOTHING = UnlabelledOutlook(None, ())


def _record(release: str, estimate: PerformanceEstimate, told: str) -> dict[str, Any]:
    names = ("n", "f1", "f1_low", "f1_high", "auc", "auc_low", "auc_high")
    return {"release": release, "told": told, **{name: getattr(estimate, name) for name in names}}


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
    """Estimate new rows without a label, keep what was said of them, and audit those that have one now.

    Parameters
    ----------
    keys, y, y_pred, probability : ndarray of shape (n_samples,)
        What `identify` says of the new rows; 1 leaves, 0 stays, NaN no label; what the release says.
    """
    is_open = find_unlabelled(keys, y)
    estimate, after = None, before
    if is_open.any():
        said = probability[is_open], y_pred[is_open]
        estimate = performance_estimation.estimate_performance(*said, reliability)
        after = add_predictions(before, keys[is_open], *said, release, reliability)
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
    """Find the rows without a label whose label is not beside them either; bool, shape (n_samples,)."""
    labelled = y == y
    return np.asarray(~labelled & ((keys == 0) | ~np.isin(keys, keys[labelled])))


def add_predictions(
    before: PendingPredictions,
    keys: np.ndarray,
    probability: np.ndarray,
    y_pred: np.ndarray,
    release: str,
    reliability: Reliability | None,
) -> PendingPredictions:
    """Keep what a release says of rows; of the same row the last word, of too many the newest.

    Doing it twice is doing it once, so a tick that is run again ends in the same bytes.
    """
    releases = {**before.releases, release: reliability}
    rows = np.zeros(len(keys), ROW_DTYPE)
    rows["key"], rows["probability"], rows["called"] = keys, probability, y_pred == 1
    rows["release"] = list(releases).index(release)
    both = np.concatenate([before.rows, rows[keys != 0]])
    last = len(both) - 1 - np.unique(both["key"][::-1], return_index=True)[1]
    kept = both[np.sort(last)[-MOST_ROWS:]]
    used, kept["release"] = np.unique(kept["release"], return_inverse=True)
    names = list(releases)
    return PendingPredictions(kept, {names[number]: releases[names[number]] for number in used})


def audit_labelled(
    awaited: PendingPredictions, keys: np.ndarray, y: np.ndarray
) -> Iterator[LabelledEstimate]:
    """Set what was estimated for rows that have labels now beside their scores, release by release.

    Parameters
    ----------
    keys, y : ndarray of shape (n_samples,)
        Of new rows; NaN is no label. Of several labels of one row the last counts.
    """
    labelled = np.flatnonzero((y == y) & (keys != 0))
    newest = labelled[::-1][np.unique(keys[labelled][::-1], return_index=True)[1]]
    _, ours, theirs = np.intersect1d(
        awaited.rows["key"], keys[newest], assume_unique=True, return_indices=True
    )
    rows, labels = awaited.rows[ours], y[newest[theirs]]
    for number, (release, reliability) in enumerate(awaited.releases.items()):
        mine = rows["release"] == number
        if mine.any():
            yield _answer(release, reliability, rows[mine], labels[mine])


def _answer(
    release: str, reliability: Reliability | None, rows: np.ndarray, y: np.ndarray
) -> LabelledEstimate:
    said, called = rows["probability"], rows["called"].astype(np.int64)
    estimate = performance_estimation.estimate_performance(said, called, reliability)
    score = classification.compute_score(y, called, said)
    return LabelledEstimate(release, estimate, score, performance_estimation.audit_estimate(estimate, score))


# --- on disk -----------------------------------------------------------------------------------------------


def write_pending(path: Path, awaited: PendingPredictions) -> None:
    """Put what is awaited: one line of JSON, then the rows as they lie in memory."""
    releases = {name: found and found.to_json() for name, found in awaited.releases.items()}
    head = {"format": FORMAT, "n": len(awaited.rows), "releases": releases}
    with files.put(path, "wb") as handle:
        handle.write(json.dumps(head).encode() + b"\n" + awaited.rows.tobytes())


def load_pending(path: Path) -> PendingPredictions:
    """Read what is awaited; nothing when there is no such file, or another version wrote it.

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
