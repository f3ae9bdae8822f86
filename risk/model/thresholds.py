"""The decision threshold: from which probability on a client is predicted to leave.

Each choice looks at rows that the model was not fitted on, never at test data.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from risk.model.choices import BALANCED as BALANCED
from risk.model.choices import COST as COST
from risk.model.choices import F1 as F1


@dataclass(frozen=True)
class ThresholdRule:
    """How the threshold is chosen: "balanced", "f1", "cost" with its two costs, or a number."""

    threshold: str | float
    call_cost: float | None = None
    loss_cost: float | None = None

    @property
    def costs(self) -> tuple[float, float]:
        """The two costs of the rule "cost": of a call, and of a lost client.

        Raises
        ------
        ValueError
            When either is missing.
        """
        if self.call_cost is None or self.loss_cost is None:
            raise ValueError("the threshold rule 'cost' needs call_cost and loss_cost")
        return self.call_cost, self.loss_cost

    def choose(self, y: np.ndarray, probability: np.ndarray, share: float) -> float:
        """Choose a threshold on rows that the model was not fitted on.

        Parameters
        ----------
        y, probability : ndarray of shape (n_samples,)
            Labels (1 leaves, 0 stays) and probabilities of leaving.
        share : float
            Of leavers in training.
        """
        if self.threshold == BALANCED:
            return share
        if self.threshold == F1:
            return choose_by_f1(y, probability)
        if self.threshold == COST:
            return choose_by_cost(y, probability, *self.costs)
        return float(self.threshold)

    def resolve(self, chosen: float, y: np.ndarray) -> float:
        """Give the threshold of a model that was fitted on other rows than the threshold was chosen for.

        Parameters
        ----------
        chosen : float
            What `choose` gave.
        y : ndarray of shape (n_samples,)
            Labels of the rows that the model is fitted on: 1 leaves, 0 stays.

        Returns
        -------
        threshold : float
            By the rule "balanced" the share of leavers in `y`, by every other `chosen`.
        """
        return float(y.mean()) if self.threshold == BALANCED else chosen


@dataclass(frozen=True)
class Cuts:
    """Every way to split clients into flagged and not flagged by a probability, from few to many.

    Attributes
    ----------
    threshold : ndarray of shape (n_cuts,)
        Falling, each half way between two neighbouring probabilities; the first flags nobody.
    n_flagged, n_true_positive : ndarray of shape (n_cuts,)
        Clients flagged, and leavers among them.
    n_positive : int
        Leavers in all.
    """

    threshold: np.ndarray
    n_flagged: np.ndarray
    n_true_positive: np.ndarray
    n_positive: int


def list_cuts(y: np.ndarray, probability: np.ndarray) -> Cuts:
    """List the cuts of clients.

    Parameters
    ----------
    y : ndarray of shape (n_samples,)
        1 leaves, 0 stays.
    probability : ndarray of shape (n_samples,)
        Of leaving, between 0 and 1, both excluded.
    """
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
    """Choose the cut of the largest F1 = 2 TP / (flagged + leavers); of equal ones that with fewest flagged.

    Parameters
    ----------
    y, probability : ndarray of shape (n_samples,)
        See `list_cuts`.
    """
    cuts = list_cuts(y, probability)
    return float(cuts.threshold[np.argmax(2 * cuts.n_true_positive / (cuts.n_flagged + cuts.n_positive))])


def choose_by_cost(y: np.ndarray, probability: np.ndarray, call_cost: float, loss_cost: float) -> float:
    """Choose the cut of the least total cost; of equal ones the nearest to `call_cost / loss_cost`.

    Parameters
    ----------
    y, probability : ndarray of shape (n_samples,)
        See `list_cuts`.
    """
    cuts = list_cuts(y, probability)
    cost = call_cost * cuts.n_flagged + loss_cost * (cuts.n_positive - cuts.n_true_positive)
    least = cuts.threshold[cost == cost.min()]
    return float(least[np.argmin(np.abs(least - call_cost / loss_cost))])


def cost_per_client(y: np.ndarray, flagged: np.ndarray, call_cost: float, loss_cost: float) -> float:
    """Compute the mean cost of a client: each call, and each leaver whom nobody called.

    A client is worth a call when probability * loss_cost > call_cost, so with honest probabilities the
    least expected cost lies at call_cost / loss_cost [1]_.

    Parameters
    ----------
    y : ndarray of shape (n_samples,)
        1 leaves, 0 stays.
    flagged : ndarray of bool, shape (n_samples,)
        Predicted to leave, and called therefore.

    References
    ----------
    .. [1] C. Elkan, "The foundations of cost-sensitive learning", IJCAI 2001, pp. 973-978.
    """
    return float(np.mean(np.where(flagged, call_cost, loss_cost * y)))


def f1_score(y: np.ndarray, flagged: np.ndarray) -> float:
    """Compute F1 of the leavers: 2 TP / (flagged + leavers); 0 where there are neither.

    Parameters
    ----------
    y : ndarray of shape (n_samples,)
        1 leaves, 0 stays.
    flagged : ndarray of bool, shape (n_samples,)
        Predicted to leave.
    """
    return float(2 * (flagged & (y == 1)).sum() / max(flagged.sum() + (y == 1).sum(), 1))
