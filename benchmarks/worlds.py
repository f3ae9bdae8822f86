"""Worlds in which the truth is known: who leaves and why, what has been deployed, and what changes then.

Clients have four numbers (even, skewed, counted, with gaps) and a text. Who leaves is logistic in them,
with an AUC of about 0.8. A release is made as a tick makes one: a third of its rows is held back by
digest, a candidate fitted on the others gives the reference, and the model is refitted on all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from scipy import optimize, special, stats

from risk import candidates, evidence, models, reference, scores, shift
from risk.evidence import Evidence

NUMBERS = ("activity", "revenue", "visits", "tenure")
TEXTS = ("region",)
RECIPE = models.Recipe(models.LINEAR, NUMBERS, TEXTS, logged=("revenue",))
REGIONS = dict(zip("ABCDEFGH", (0.34, 0.25, 0.15, 0.1, 0.08, 0.05, 0.02, 0.01), strict=True))
WEIGHTS = np.array([1.0, 0.7, -0.5, 0.3])  # of the four numbers, each with mean 0 and variance 1
FEWEST, MOST = 300, 6_000  # rows of a release
TEST_ROWS = 500
MOVED = "activity"
ABSURD = 1e6

Rows = tuple[pd.DataFrame, np.ndarray]


@dataclass(frozen=True)
class World:
    """`share` of leavers; `turn` of the weights in degrees; `move` of one column in its standard deviations.

    `share` is that before the move. A turned world has the same share and about the same AUC for who
    knows it: other clients leave, no column shows it.
    """

    share: float
    move: float = 0.0
    turn: float = 0.0


def draw(rng: np.random.Generator, n: int, world: World) -> Rows:
    """Draw clients and whether they leave (1, 0)."""
    activity = rng.normal(world.move, 1, n)
    log_revenue, visits = rng.normal(size=n), rng.poisson(2, n)
    tenure = rng.random(n)
    region = rng.choice(list(REGIONS), n, p=list(REGIONS.values()))
    units = [activity, log_revenue, (visits - 2) / 2**0.5, (tenure - 0.5) * 12**0.5]
    log_odds = _weights(world.turn) @ units + 0.4 * np.isin(region, ["B", "D"])
    y = (rng.random(n) < special.expit(log_odds + _intercept(world.share, world.turn))).astype(float)
    columns = {
        "activity": activity,
        "revenue": np.exp(log_revenue),
        "visits": visits.astype(float),
        "tenure": np.where(rng.random(n) < 0.05, np.nan, tenure),
        "region": pd.Series(region, dtype="str"),
    }
    return pd.DataFrame(columns), y


def _weights(turn: float) -> np.ndarray:
    """Turn the weights towards others of the same length and at right angles to them."""
    a, b, c, d = WEIGHTS
    angle = np.deg2rad(turn)
    return np.cos(angle) * WEIGHTS + np.sin(angle) * np.array([-b, a, -d, c])


@cache
def _intercept(share: float, turn: float) -> float:
    """Find the intercept that makes a share of clients leave, where no column has moved."""
    rng = np.random.default_rng(0)
    units = [*rng.normal(size=(2, 100_000)), (rng.poisson(2, 100_000) - 2) / 2**0.5, rng.random(100_000)]
    units[3] = (units[3] - 0.5) * 12**0.5
    log_odds = _weights(turn) @ units + 0.4 * (rng.random(100_000) < REGIONS["B"] + REGIONS["D"])
    return float(optimize.brentq(lambda a: special.expit(log_odds + a).mean() - share, -10, 10))


def draw_at_share(rng: np.random.Generator, n: int, world: World, share: float) -> Rows:
    """Draw another share of leavers from the same two classes: only their share has changed."""
    n_left = int(rng.binomial(n, share))
    wanted, parts = {1.0: n_left, 0.0: n - n_left}, []
    while any(wanted.values()):
        X, y = draw(rng, 2 * n + 50, world)
        for label, count in wanted.items():
            rows = np.flatnonzero(y == label)[:count]
            parts.append((X.iloc[rows], y[rows]))
            wanted[label] -= len(rows)
    order = rng.permutation(n)
    X = pd.concat([X for X, _ in parts], ignore_index=True)
    return X.iloc[order].reset_index(drop=True), np.concatenate([y for _, y in parts])[order]


# --- a release ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Release:
    """A deployed model and what was kept of its rows; `train` are these rows, for tests that need them."""

    model: Any
    kept: Mapping[str, Any]
    profiles: Mapping[str, shift.Profile]
    recorded_score: float
    train: pd.DataFrame

    def judge(self, X: pd.DataFrame, y: np.ndarray) -> Evidence:
        """Look at new rows as a tick does."""
        return evidence.compute_evidence(
            X,
            y,
            *ask(self.model, X),
            recorded_score=self.recorded_score,
            kept=self.kept,
            profiles=self.profiles,
        )


def draw_size(rng: np.random.Generator) -> int:
    """Draw the number of rows of a release: small and large references occur."""
    return int(np.exp(rng.uniform(np.log(FEWEST), np.log(MOST))))


def deploy(
    rng: np.random.Generator, world: World, n: int, change: Callable[[Rows], Rows] | None = None
) -> Release:
    """Train a release on `n` rows, to which something may have happened, and record its score."""
    X, y = draw(rng, n, world)
    X_test, y_test = draw(rng, TEST_ROWS, world)
    if change:
        X, y = change((X, y))
    held = candidates.hold_back(X, y)
    candidate = fit(X[~held], y[~held])
    kept = reference.make_reference(y[held], *ask(candidate, X[held]), y_train=y)
    model = fit(X, y)
    recorded = scores.compute_score(y_test, *ask(model, X_test)).f1
    return Release(model, kept, shift.make_profiles(X, NUMBERS, TEXTS), float(recorded or 0.0), X)


def fit(X: pd.DataFrame, y: np.ndarray) -> Any:
    """Fit the project's linear model with its threshold "balanced"."""
    return models.make_estimator(RECIPE, threshold=float(y.mean()), n_rows=len(y)).fit(X, y)


def ask(model: Any, X: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Ask a model for its answers and probabilities."""
    probability = model.predict_proba(X)[:, 1]
    return (probability >= model.threshold).astype(int), probability


def plain_ks(train: pd.DataFrame, X: pd.DataFrame, alpha: float) -> bool:
    """Apply the rule of many monitors: any number column with a KS p-value below alpha by Bonferroni."""
    return any(
        stats.ks_2samp(train[name].dropna(), X[name].dropna(), method="asymp").pvalue <= alpha / len(NUMBERS)
        for name in NUMBERS
        if X[name].notna().any()
    )


# --- what happens to rows ----------------------------------------------------------------------------------


def set_absurd_cell(rows: Rows) -> Rows:
    """Set one cell to a million."""
    X, y = rows
    X = X.copy()
    X.loc[0, MOVED] = ABSURD
    return X, y


def change_unit(rows: Rows) -> Rows:
    """Write a column in a unit a thousand times smaller."""
    X, y = rows
    return X.assign(**{MOVED: X[MOVED] * 1_000}), y


def empty_cells(rows: Rows) -> Rows:
    """Lose a third of a column's cells."""
    X, y = rows
    return X.assign(**{MOVED: X[MOVED].where(np.arange(len(X)) % 3 > 0)}), y
