"""Data checks: what in the data makes a score mean little, or promise too much.

Each function checks one thing and answers in plain words. What shows on a sample is checked on all rows
before it is reported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from risk.metrics import clustering, cross_validation, two_sample
from risk.model import leakage

if TYPE_CHECKING:
    import pandas as pd

    from risk.metrics.classification import Score

SAMPLE_ROWS = 20_000
ID_ROWS, ID_SHARE, ID_SHARE_OF_SAMPLE = 30, 0.95, 0.99
GRID_SHARE, SORTED_GRID_SHARE = 0.9, 0.1
EXACT = 2.0**53  # up to here every whole number is a double
MIN_TEST_CLIENTS_OF_CLASS = 30
SHARE_APART, AUC_APART, CHANCE_APART = 0.05, 0.05, 0.001
OVERLAP_CHANCE = 0.001
OVERLAP_SHARE = 0.01


@dataclass(frozen=True)
class DataCheck:
    """One finding: a word for machines, a sentence for people, the columns it is about."""

    code: str
    text: str
    columns: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {"code": self.code, "text": self.text, "columns": list(self.columns)}


# --- features ------------------------------------------------------------------------------------------


def check_features(X: pd.DataFrame, y: np.ndarray, rows: np.ndarray) -> list[DataCheck]:
    """Look at every feature: constant, like an id, or knowing the answer.

    Parameters
    ----------
    X : DataFrame of shape (n_samples, n_features)
        Numbers as float64 with NaN, text with NaN, in order of arrival.
    y : ndarray of shape (n_samples,)
        1 leaves, 0 stays.
    rows : ndarray of int
        Positions of a sample, rising; at most 20,000 of them are looked at.

    Returns
    -------
    checks : list of DataCheck
        In order of the columns, at most three of each.
    """
    rows = rows[:: -(-len(rows) // SAMPLE_ROWS)]
    found = []
    for name in X.columns:
        checks = (check_constant(X[name], rows), check_id(X[name], rows), check_leak(X[name], y, rows))
        found += [one for one in checks if one is not None]
    return found


def check_constant(column: pd.Series[Any], rows: np.ndarray) -> DataCheck | None:
    """Find a column that says the same of every row; missing is something to say, too.

    Parameters
    ----------
    column : Series of shape (n_samples,)
        Numbers as float64 or text, missing NaN.
    rows : ndarray of int
        Positions of a sample: where two cells of it differ, the others are not looked at.

    Returns
    -------
    check : DataCheck or None
    """
    if column.iloc[rows].nunique(dropna=False) > 1 or column.nunique(dropna=False) > 1:
        return None
    said = "is empty" if column.isna().iloc[0] else f"is {leakage.shown(column.iloc[0])}"
    text = f"column {column.name!r} {said} in every row: it can tell nobody apart"
    return DataCheck("constant", text, (str(column.name),))


def check_id(column: pd.Series[Any], rows: np.ndarray) -> DataCheck | None:
    """Find a column that names clients rather than describing them.

    Parameters
    ----------
    column : Series of shape (n_samples,)
        Numbers as float64 or text, missing NaN, in order of arrival; missing cells are left out.
    rows : ndarray of int
        Positions of a sample, rising: what does not look like an id in it is not looked at in all rows.

    Returns
    -------
    check : DataCheck or None
        None, too, where fewer than 30 cells of the sample are filled.
    """
    sample = column.iloc[rows].dropna()
    if len(sample) < ID_ROWS:
        return None
    if leakage.is_number(column):
        how = "counts the rows"
        found = looks_counted(sample.to_numpy()) and counts_up(column.dropna().to_numpy(), sample.to_numpy())
    else:
        how = "is different in nearly every row"
        share = ID_SHARE if len(rows) == len(column) else ID_SHARE_OF_SAMPLE
        found = _is_distinct(sample, share) and _is_distinct(column.dropna(), ID_SHARE)
    if not found:
        return None
    text = (
        f"column {column.name!r} {how}, as an id does: what a model learns from it does not last; "
        "if it is one, name it in id_columns or ignore_columns"
    )
    return DataCheck("like_an_id", text, (str(column.name),))


def _is_distinct(column: pd.Series[Any], share: float) -> bool:
    return bool(column.nunique() >= share * len(column))


def looks_counted(values: np.ndarray) -> bool:
    """Say whether numbers are whole and no two are equal.

    Parameters
    ----------
    values : ndarray of float, shape (n_values,)
        At least one, none missing. Beyond 2 to the power of 53 a double is not known to be whole.
    """
    whole = not (values % 1).any() and np.abs(values).max() <= EXACT
    return bool(whole and len(np.unique(values)) == len(values))


def counts_up(values: np.ndarray, sample: np.ndarray) -> bool:
    """Say whether whole numbers are unique and nearly fill a grid, or rise with the rows on part of one.

    Honest whole numbers (a turnover, a number of employees) repeat themselves long before they fill a
    tenth of the places between their least and greatest.

    Parameters
    ----------
    values : ndarray of float, shape (n_values,)
        In order of arrival, none missing.
    sample : ndarray of float, shape (n_sampled,)
        Some of them, for which `looks_counted` holds; their greatest common step is that of the grid.

    Returns
    -------
    counts_up : bool
        At least 90 % of the places are filled; 10 % are enough where the numbers only rise or only fall.
    """
    step = np.gcd.reduce((sample - sample[0]).astype(np.int64))
    share = len(values) / ((values.max() - values.min()) / step + 1)
    gaps = np.diff(values)
    is_sorted = bool((gaps > 0).all() or (gaps < 0).all())
    return bool(share >= (SORTED_GRID_SHARE if is_sorted else GRID_SHARE)) and looks_counted(values)


def check_leak(column: pd.Series[Any], y: np.ndarray, rows: np.ndarray) -> DataCheck | None:
    """Find a column that knows the label.

    Parameters
    ----------
    column, y, rows : Series, ndarray, ndarray
        See `leakage.find_leak`.

    Returns
    -------
    check : DataCheck or None
    """
    leak = leakage.find_leak(column, y, rows)
    if leak is None:
        return None
    text = f"{leak}: is it known before the client leaves? If not, name it in ignore_columns"
    return DataCheck("leak", text, (str(column.name),))


# --- scores --------------------------------------------------------------------------------------------


def check_signal(auc: Mapping[str, float]) -> DataCheck | None:
    """Find a model no better than chance: the interval of its cross-validated AUC reaches 0.5."""
    if auc["low"] > cross_validation.CHANCE_AUC:
        return None
    text = (
        f"the model may be no better than chance: cross-validated AUC {auc['mean']:.2f} "
        f"({auc['low']:.2f} to {auc['high']:.2f}) reaches {cross_validation.CHANCE_AUC}; "
        "its predictions say little"
    )
    return DataCheck("no_signal", text)


def check_test_size(score: Score, n_left: int, n_stayed: int) -> DataCheck | None:
    """Find test data too small for a score, and show how far the score may be off.

    Parameters
    ----------
    score : Score
        Of the model on them.
    n_left, n_stayed : int
        Labelled test clients of each class; under 30 of either are too few.
    """
    if min(n_left, n_stayed) >= MIN_TEST_CLIENTS_OF_CLASS:
        return None
    auc = ""
    if score.auc is not None:
        auc = f", AUC {score.auc:.2f} ({score.auc_low:.2f} to {score.auc_high:.2f})"
    noun = "clients" if "n_clients" in score.values else "rows"
    text = (
        f"the score says little: {n_left + n_stayed:,} test {noun}, {n_left:,} of them left; F1 "
        f"{score.f1 or 0.0:.2f} may be anything from {score.f1_low or 0.0:.2f} to {score.f1_high or 1.0:.2f}"
        f"{auc}"
    )
    return DataCheck("few_test_rows", text)


def check_test_world(score: Score, card: Mapping[str, Any]) -> list[DataCheck]:
    """Find test data from another world than the training data: another share of leavers, another AUC.

    Parameters
    ----------
    score : Score
        Of the model on the test data.
    card : mapping
        modelcard.json of the model: its training rows and its cross-validated AUC.

    Returns
    -------
    checks : list of DataCheck
        What is apart both by more than chance and by 0.05 or more.
    """
    trained, validated = card["data"], card["cross_validation"]["auc"]
    design = score.values.get("share_design") or 1.0
    n_left, n = (clustering.deflate(count, design) for count in (score.n_positive, score.n))
    shares = trained["n_positive"] / trained["n_samples"], score.n_positive / score.n
    p_value = two_sample.compare_shares(trained["n_positive"], trained["n_samples"], n_left, n)
    found = []
    if p_value <= CHANCE_APART and abs(shares[0] - shares[1]) >= SHARE_APART:
        text = (
            f"{100 * shares[1]:.1f} % of the test data left, {100 * shares[0]:.1f} % of the training data: "
            "F1 depends on this share, so it is not the F1 to expect of clients like those in training"
        )
        found.append(DataCheck("test_share_differs", text))
    if score.auc is None or score.auc_low is None or score.auc_high is None:
        return found
    apart = score.auc_low > validated["high"] or score.auc_high < validated["low"]
    if apart and abs(score.auc - validated["mean"]) >= AUC_APART:
        text = (
            f"AUC is {score.auc:.2f} ({score.auc_low:.2f} to {score.auc_high:.2f}) on the test data and "
            f"{validated['mean']:.2f} ({validated['low']:.2f} to {validated['high']:.2f}) cross-validated: "
            "the test data are not like the training data, or rows of one client have different ids"
        )
        found.append(DataCheck("test_auc_differs", text))
    return found


def check_overlap(train: np.ndarray, test: np.ndarray, n_common: int | None = None) -> DataCheck | None:
    """Find test rows that are training rows, more of them than equal rows come by chance.

    Parameters
    ----------
    train, test : ndarray of shape (n_samples,)
        Digests of rows, of the same columns (`cross_validation.row_digests`); of many training rows, all
        those of some digests.
    n_common : int, optional
        How many test rows are training rows, where that is known.

    Notes
    -----
    Where clients have few features, others with the same cells are no surprise. The share of rows seen
    before that chance makes is about the share of rows with a twin [1]_.

    References
    ----------
    .. [1] I. J. Good, "The population frequencies of species and the estimation of population
       parameters", Biometrika 40 (1953), pp. 237-264.
    """
    from scipy.special import bdtrc

    n_common = int(np.isin(test, train).sum()) if n_common is None else n_common
    by_chance = max(share_of_twins(train), share_of_twins(test))
    if not n_common or by_chance >= 1 or bdtrc(n_common - 1, len(test), by_chance) > OVERLAP_CHANCE:
        return None
    text = (
        f"{n_common:,} of {len(test):,} test rows are training rows, too: the score counts what the model "
        "remembers; take them out of the test data"
    )
    return DataCheck("test_rows_in_training", text)


def check_client_overlap(n_common: int, n_clients: int) -> DataCheck | None:
    """Find test clients that are training clients: a model may remember them, whatever row they bring.

    Parameters
    ----------
    n_common, n_clients : int
        Test clients with a labelled row in the training data, and all test clients; one in a hundred is
        let pass.
    """
    if n_common <= OVERLAP_SHARE * n_clients:
        return None
    text = (
        f"{n_common:,} of {n_clients:,} test clients are training clients, too: the score counts what the "
        "model remembers of them; test on other clients"
    )
    return DataCheck("test_clients_in_training", text)


def share_of_twins(digests: np.ndarray) -> float:
    """Compute the share of rows that stand more than once.

    Parameters
    ----------
    digests : ndarray of shape (n_samples,)
        Equal for rows of equal content.

    Returns
    -------
    share : float
        Between 0 and 1; 0 without a row.
    """
    if not len(digests):
        return 0.0
    counts = np.unique(digests, return_counts=True)[1]
    return float(1 - (counts == 1).sum() / len(digests))
