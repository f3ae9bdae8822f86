"""The rows that a model is fitted on: all, or those alone that came since the last one.

Old rows teach more, new ones teach the present. Cross-validation inside the training rows says which
counts for more; the clients that the gate will judge on are held back from all of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from risk.errors import DatasetError
from risk.metrics import clustering, cross_validation

if TYPE_CHECKING:
    import pandas as pd

GATE_PARTS = 3
SURE = 2.0  # standard errors
ALL, NEW = "all", "new"
MIN_PER_CLASS = 2
NEWEST_ROWS = 1_000  # the reference and the profiles describe at least so many of the newest


@dataclass(frozen=True)
class LabelledRows:
    """Labelled rows of the table in their order.

    Attributes
    ----------
    X : DataFrame of shape (n_samples, n_features)
    y : ndarray of int, shape (n_samples,)
        1 leaves, 0 stays.
    is_new : ndarray of bool, shape (n_samples,)
        Behind the training mark of the deployed model; all rows where there is none.
    digests : ndarray of shape (n_samples,)
        Of whole rows, where these are a sample of `n_labelled`; else empty.
    keys : ndarray of shape (n_samples,)
        Whose row it is (`table_reader.Taken.clients`); empty where nothing names a client.
    """

    X: pd.DataFrame
    y: np.ndarray
    is_new: np.ndarray
    digests: np.ndarray
    n_labelled: int
    keys: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    @property
    def is_sample(self) -> bool:
        return len(self.digests) > 0

    @cached_property
    def clients(self) -> np.ndarray | None:
        """Whose row it is, shape (n_samples,); None where each row is a client of its own."""
        return clustering.only_if_repeated(self.keys)

    @property
    def n_clients(self) -> int:
        return len(self.y) if self.clients is None else len(np.unique(self.clients))

    def clients_of(self, rows: np.ndarray) -> np.ndarray | None:
        """Give whose some of the rows are.

        Parameters
        ----------
        rows : ndarray of int or bool
            Positions, or a mask of shape (n_samples,).
        """
        return None if self.clients is None else self.clients[rows]

    @property
    def newest(self) -> np.ndarray:
        """Mark the rows that came since the last training, and 1,000 of the newest at least."""
        newest = self.is_new.copy()
        newest[-NEWEST_ROWS:] = True
        return newest

    def take(self, rows: np.ndarray) -> LabelledRows:
        """Select rows.

        Parameters
        ----------
        rows : ndarray of bool, shape (n_samples,)
            True for the rows to keep; `n_labelled` stays what it is.
        """
        if rows.all():
            return self
        return replace(
            self,
            X=self.X[rows].reset_index(drop=True),
            y=self.y[rows],
            is_new=self.is_new[rows],
            digests=self.digests[rows] if self.is_sample else self.digests,
            keys=self.keys[rows] if len(self.keys) else self.keys,
        )


def check_classes(y: np.ndarray, target: str, clients: np.ndarray | None = None) -> None:
    """Refuse to fit where there is nothing to tell apart.

    Parameters
    ----------
    y : ndarray of shape (n_samples,)
        1 leaves, 0 stays.
    target : str
        Name of the label column, for the message.
    clients : ndarray of shape (n_samples,), optional
        Whose row it is; by default each row is a client of its own.

    Raises
    ------
    DatasetError
        When the labelled rows do not hold two clients of each class.
    """
    if not len(y):
        raise DatasetError(f"no row has a label in {target!r}; the deployed model stays")
    for label, done, awaited in ((1, "stay", "leave"), (0, "leave", "stay")):
        if not (y == label).any():
            raise DatasetError(
                f"all {len(y):,} rows {done}; waiting for rows that {awaited} (one class cannot be learned)"
            )
    noun = "rows" if clients is None else "clients"
    whose = np.arange(len(y)) if clients is None else clients
    n = len(np.unique(whose))
    for label, word in ((1, "leaves"), (0, "stays")):
        count = len(np.unique(whose[y == label]))
        if count < MIN_PER_CLASS:
            raise DatasetError(
                f"only {count} of {n} labelled {noun} {word} (one class cannot be learned); "
                "the deployed model stays"
            )


# --- held back for the gate ----------------------------------------------------------------------------


def hold_back(X: pd.DataFrame, y: np.ndarray, clients: np.ndarray | None = None) -> np.ndarray:
    """Select about a third of the clients for the gate, by a digest.

    Parameters
    ----------
    X : DataFrame of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,)
    clients : ndarray of shape (n_samples,), optional
        Digests that say whose row it is. By default each row is a client of its own, and the digest is
        that of its content.

    Returns
    -------
    held_back : ndarray of bool, shape (n_samples,)
        A client is on the same side whatever stands beside it, and so are rows of equal content.
    """
    digests = cross_validation.row_digests(X, y) if clients is None else clients
    return np.asarray(digests % GATE_PARTS == 0)


def split_for_gate(data: LabelledRows, gated: bool) -> tuple[LabelledRows, LabelledRows]:
    """Split rows into those to learn from and those held back for the gate.

    The new rows of a third of the clients are held back, and no older row of these clients is learned from;
    none without a gate, or where too few would be left to learn from.
    """
    held_back, taken = np.zeros(len(data.y), dtype=bool), np.ones(len(data.y), dtype=bool)
    if gated and data.is_new.any():
        new, clients = data.is_new, data.clients_of(data.is_new)
        held_back[new] = hold_back(data.X[new], data.y[new], clients)
        taken = ~held_back
        if data.clients is not None:
            taken = ~np.isin(data.clients, data.clients[held_back])
        if cross_validation.smaller_class(data.y[taken], data.clients_of(taken)) < MIN_PER_CLASS:
            held_back[:], taken[:] = False, True
    return data.take(taken), data.take(held_back)


# --- all rows or the new ones --------------------------------------------------------------------------


def choose_rows(estimator: Any, data: LabelledRows, *, random_state: int) -> tuple[str, dict[str, Any]]:
    """Compare a model of all rows with one of the new rows alone, on new rows that neither has seen.

    All rows are taken unless the new ones alone are better, by AUC, by more than two standard errors:
    whoever gives up rows must be sure. On 11 public sets all rows were at least as good in 34 of 44 cases;
    by one standard error chance chose the new ones on a set where the gate then had to hold them.

    Parameters
    ----------
    estimator : estimator of scikit-learn
        Unfitted; a pipeline whose last step takes `sample_weight`.
    data : LabelledRows
        Without those held back for the gate.

    Returns
    -------
    used : {"all", "new"}
        Which rows the gate's candidate is fitted on.
    facts : dict
        Counts, mean AUC of both, the gain of the new rows alone and its standard error.
    """
    is_new = data.is_new
    n_new, n_old = int(is_new.sum()), int((~is_new).sum())
    facts: dict[str, Any] = {"n_old": n_old, "n_new": n_new}
    if not n_old:
        return ALL, {**facts, "reason": "there is no older row"}
    if cross_validation.smaller_class(data.y[is_new], data.clients_of(is_new)) < cross_validation.ENOUGH:
        noun = "rows" if data.clients is None else "clients"
        few = f"under {cross_validation.ENOUGH} new {noun} of a class: too few to learn from alone"
        return ALL, {**facts, "reason": few}
    old, new = (sample((data.X[rows], data.y[rows]), data.clients_of(rows)) for rows in (~is_new, is_new))
    auc, n_folds = score_both(estimator, old, new, random_state)
    gain = cross_validation.compare(auc[NEW], auc[ALL], n_folds)
    facts |= {"n_folds": len(auc[ALL]), "auc": {name: float(s.mean()) for name, s in auc.items()}}
    is_sure = gain.gain > SURE * gain.standard_error
    return (NEW if is_sure else ALL), {**facts, **gain.to_json()}


@dataclass(frozen=True)
class SampledRows:
    """Rows of which each stands for `weight` rows; `clients` is None where each is a client of its own."""

    X: pd.DataFrame
    y: np.ndarray
    weight: float
    clients: np.ndarray | None = None


def sample(rows: tuple[pd.DataFrame, np.ndarray], clients: np.ndarray | None = None) -> SampledRows:
    """Sample rows by a digest of their content.

    Parameters
    ----------
    rows : DataFrame of shape (n_samples, n_features), ndarray of shape (n_samples,)
        Features and labels, 1 leaves, 0 stays.
    clients : ndarray of shape (n_samples,), optional
        Whose row it is; by default each row is a client of its own.

    Returns
    -------
    sampled : SampledRows
        At most 50,000 rows, more where one class is rare; in their order.
    """
    X, y = rows
    positions = cross_validation.sample_to_try(X, y, clients)
    of_whom = None if clients is None else clients[positions]
    return SampledRows(X.iloc[positions], y[positions], len(y) / len(positions), of_whom)


def score_both(
    estimator: Any, old: SampledRows, new: SampledRows, random_state: int
) -> tuple[dict[str, np.ndarray], int]:
    """Score models of all rows and of the new rows alone, fold by fold of the new rows.

    The new rows are dealt into folds. For each, one model is fitted on the old rows and the other folds,
    the other on the other folds alone.

    Returns
    -------
    auc : dict of str to ndarray of shape (n_repeats * n_folds,)
        By "all" and "new".
    n_folds : int
    """
    fold = cross_validation.draw_folds(new.y, new.clients, random_state=random_state)
    alone = cross_validation.leave_out(estimator, new.X, new.y, fold, new.clients)
    together = leave_out_with(estimator, new, fold, old)
    auc = {ALL: together.scores(cross_validation.auc), NEW: alone.scores(cross_validation.auc)}
    return auc, alone.n_folds


def leave_out_with(
    estimator: Any, new: SampledRows, fold: np.ndarray, old: SampledRows
) -> cross_validation.OutOfFold:
    """Predict each fold of the new rows by a model of the other folds and the old rows of other clients.

    Sample weights keep the share of old and new rows what it is in the table.

    Parameters
    ----------
    fold : ndarray of shape (n_repeats, n_samples)
        Of the new rows.
    """
    import pandas as pd
    from sklearn.base import clone

    left_out = cross_validation.OutOfFold(new.y, fold, np.empty(fold.shape), new.clients)
    last = estimator.steps[-1][0]
    for repeat, out in left_out.parts():
        others = _others(old, new, out)
        rows = pd.concat([old.X[others], new.X[~out]], ignore_index=True)
        labels = np.concatenate([old.y[others], new.y[~out]])
        old_weights = np.full(int(others.sum()), old.weight / new.weight)
        weights = np.concatenate([old_weights, np.ones(int((~out).sum()))])
        model = clone(estimator).fit(rows, labels, **{f"{last}__sample_weight": weights})
        left_out.log_odds[repeat, out] = model.decision_function(new.X[out])
    return left_out


def _others(old: SampledRows, new: SampledRows, out: np.ndarray) -> np.ndarray:
    """Mark the old rows of clients that are not left out."""
    if old.clients is None or new.clients is None:
        return np.ones(len(old.y), dtype=bool)
    return ~np.isin(old.clients, new.clients[out])
