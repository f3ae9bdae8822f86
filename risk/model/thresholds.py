"""From which probability on is a client called?

Each choice looks at rows that the model was not fitted on, never at test data.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Cuts:
    """Every way to part clients into called and not called by a probability, from few to many.

    Attributes
    ----------
    threshold : ndarray of shape (n_cuts,)
        Falling, each half way between two neighbouring probabilities; the first calls nobody.
    n_called, n_found : ndarray of shape (n_cuts,)
        Clients called, and leavers among them.
    n_positive : int
        Leavers in all.
    """

    threshold: np.ndarray
    n_called: np.ndarray
    n_found: np.ndarray
    n_positive: int


def list_cuts(y: np.ndarray, probability: np.ndarray) -> Cuts:
    """List the cuts of clients with labels `y` (1 leaves) and probabilities in (0, 1)."""
    values, where = np.unique(probability, return_inverse=True)
    n = np.bincount(where, minlength=len(values))[::-1]
    n_left = np.bincount(where, weights=y, minlength=len(values))[::-1].astype(np.int64)
    edges = np.concatenate([[0.0], values, [max(1.0, np.nextafter(values[-1], 2.0))]])
    middle = (edges[:-1] + edges[1:]) / 2
    middle = np.where(middle > edges[:-1], middle, edges[1:])  # neighbouring doubles have no middle
    return Cuts(
        middle[::-1],
        np.concatenate([[0], np.cumsum(n)]),
        np.concatenate([[0], np.cumsum(n_left)]),
        int(n_left.sum()),
    )


def choose_by_f1(y: np.ndarray, probability: np.ndarray) -> float:
    """Choose the cut of the largest F1 = 2 TP / (called + leavers); of equal ones that with fewest calls."""
    cuts = list_cuts(y, probability)
    return float(cuts.threshold[np.argmax(2 * cuts.n_found / (cuts.n_called + cuts.n_positive))])


def choose_by_cost(y: np.ndarray, probability: np.ndarray, call_cost: float, loss_cost: float) -> float:
    """Choose the cut of the least total cost; of equal ones the nearest to `call_cost / loss_cost`."""
    cuts = list_cuts(y, probability)
    cost = call_cost * cuts.n_called + loss_cost * (cuts.n_positive - cuts.n_found)
    least = cuts.threshold[cost == cost.min()]
    return float(least[np.argmin(np.abs(least - call_cost / loss_cost))])


def cost_per_client(y: np.ndarray, called: np.ndarray, call_cost: float, loss_cost: float) -> float:
    """Compute what a client costs: each call, and each leaver whom nobody called.

    A client is worth a call when probability * loss_cost > call_cost, so with honest probabilities the
    least expected cost lies at call_cost / loss_cost [1]_.

    References
    ----------
    .. [1] C. Elkan, "The foundations of cost-sensitive learning", IJCAI 2001, pp. 973-978.
    """
    return float(np.mean(np.where(called, call_cost, loss_cost * y)))


def f1_score(y: np.ndarray, called: np.ndarray) -> float:
    """Compute F1 of the leavers: 2 TP / (called + leavers); 0 where there are neither."""
    return float(2 * (called & (y == 1)).sum() / max(called.sum() + (y == 1).sum(), 1))
