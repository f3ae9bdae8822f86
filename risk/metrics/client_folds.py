"""Folds in which all rows of a client are together, and both classes in every fold."""

from __future__ import annotations

import numpy as np

N_TRIES = 5


def deal(y: np.ndarray, clients: np.ndarray, n_splits: int, random_state: int) -> np.ndarray:
    """Deal clients into folds of about equal rows and shares of leavers.

    scikit-learn's `StratifiedGroupKFold` balances rows and classes, and says nothing when a fold lacks a
    class (three leaving clients and five folds: two folds without a leaver). So every fold is looked at;
    where one lacks a class, other shuffles are tried, and at last clients of the rarer class are dealt one
    by one.

    Parameters
    ----------
    y : ndarray of shape (n_samples,)
        1 leaves, 0 stays.
    clients : ndarray of shape (n_samples,)
        Whose row it is; none missing.
    n_splits : int
        At most as many as there are clients of the smaller class.

    Returns
    -------
    fold : ndarray of int, shape (n_samples,)
        Both classes are in every fold.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    fold = np.empty(len(y), dtype=np.int64)
    for attempt in range(N_TRIES):
        seed = random_state + 1_000 * attempt
        splitter = StratifiedGroupKFold(n_splits, shuffle=True, random_state=seed)
        for number, (_, out) in enumerate(splitter.split(np.zeros(len(y)), y, clients)):
            fold[out] = number
        if has_both_classes(y, fold, n_splits):
            return fold
    return deal_in_turn(y, clients, n_splits, random_state)


def has_both_classes(y: np.ndarray, fold: np.ndarray, n_splits: int) -> bool:
    """Check that leavers and stayers are in every fold.

    Parameters
    ----------
    y, fold : ndarray of shape (n_samples,)
        1 leaves, 0 stays; the fold of each row.
    """
    return all(len(np.unique(fold[y == label])) == n_splits for label in (0, 1))


def deal_in_turn(y: np.ndarray, clients: np.ndarray, n_splits: int, random_state: int) -> np.ndarray:
    """Deal clients to folds one by one: first those of the rarer class, in turn, then whom a fold lacks.

    Parameters
    ----------
    y, clients : ndarray of shape (n_samples,)
        See `deal`.

    Returns
    -------
    fold : ndarray of int, shape (n_samples,)
    """
    names, code = np.unique(clients, return_inverse=True)
    has = np.stack([np.bincount(code[y == label], minlength=len(names)) > 0 for label in (0, 1)])
    rare = int(has[1].sum() <= has[0].sum())
    order = np.random.default_rng(random_state).permutation(len(names))
    # The rarer class first, and of it those first who are in no other class: the others fill gaps.
    order = order[np.lexsort((has[1 - rare][order], ~has[rare][order]))]
    n_rows, fold_of = np.bincount(code, minlength=len(names)), np.empty(len(names), dtype=np.int64)
    counts, sizes = np.zeros((2, n_splits)), np.zeros(n_splits)
    for client in order:
        first = rare if has[rare][client] else 1 - rare
        number = int(np.lexsort((sizes, counts[1 - first], counts[first]))[0])
        fold_of[client] = number
        counts[:, number] += has[:, client]
        sizes[number] += n_rows[client]
    return np.asarray(fold_of[code])
