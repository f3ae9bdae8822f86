"""Worlds in which the truth is known: who leaves and why, what has been deployed, and what changes then.

Clients have four numbers (even, skewed, counted, with gaps) and a text. Who leaves is logistic in them,
with an AUC of about 0.8. The model is a plain logistic one; what a release keeps is made by the functions of
`training` and `risk` by which a tick makes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from scipy import optimize, special, stats
from sklearn.linear_model import LogisticRegression

from risk.data import profiles
from risk.metrics import classification, cross_validation
from risk.metrics.cross_validation import OutOfFold
from risk.model import estimators, pipeline, plan, training_rows
from risk.model.plan import TrainingPlan
from risk.model.selection import Choice
from risk.model.thresholds import ThresholdRule
from risk.model.training_rows import LabelledRows
from risk.monitoring import column_drift, evidence
from risk.monitoring.evidence import Evidence

NUMBERS = ("activity", "revenue", "visits", "tenure")
TEXTS = ("region",)
RECIPE = pipeline.Recipe(estimators.LINEAR, NUMBERS, TEXTS)
REGIONS = dict(zip("ABCDEFGH", (0.34, 0.25, 0.15, 0.1, 0.08, 0.05, 0.02, 0.01), strict=True))
WEIGHTS = np.array([1.0, 0.7, -0.5, 0.3])  # of the four numbers, each with mean 0 and variance 1
FEWEST, MOST = 300, 6_000  # rows of a release
TEST_ROWS = 500
MOVED = "activity"
MEANS = {"activity": 0.0, "tenure": 0.5}
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
    """Draw clients and whether they leave (1, 0); one in twenty has a gap that says nothing."""
    X = _draw_columns(rng, n, world.move)
    log_odds = _weigh(X, world.turn) + _intercept(world.share, world.turn)
    y = (rng.random(n) < special.expit(log_odds)).astype(float)
    return X.assign(tenure=X["tenure"].mask(rng.random(n) < 0.05)), y


def _draw_columns(rng: np.random.Generator, n: int, move: float) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "activity": rng.normal(move, 1, n),
            "revenue": np.exp(rng.normal(size=n)),
            "visits": rng.poisson(2, n).astype(float),
            "tenure": rng.random(n),
            "region": pd.Series(rng.choice(list(REGIONS), n, p=list(REGIONS.values())), dtype="str"),
        }
    )


def _weigh(X: pd.DataFrame, turn: float) -> np.ndarray:
    """Turn the weights towards others of the same length and at right angles to them, and apply them."""
    units = [X["activity"], np.log(X["revenue"]), (X["visits"] - 2) / 2**0.5, (X["tenure"] - 0.5) * 12**0.5]
    (a, b, c, d), angle = WEIGHTS, np.deg2rad(turn)
    weights = np.cos(angle) * WEIGHTS + np.sin(angle) * np.array([-b, a, -d, c])
    return weights @ np.array(units) + 0.4 * X["region"].isin(["B", "D"]).to_numpy()


@cache
def _intercept(share: float, turn: float) -> float:
    """Find the intercept that makes a share of clients leave, where no column has moved."""
    log_odds = _weigh(_draw_columns(np.random.default_rng(0), 100_000, 0.0), turn)
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
class Model:
    """A logistic model of the five columns with the threshold "balanced"; light, for it is fitted often."""

    fitted: LogisticRegression
    threshold: float

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        return self.fitted.predict_proba(encode(X))

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        return self.answer(X)[0]

    def answer(self, X: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """Say of each client whether it leaves, and how probably."""
        probability = self.predict_proba(X)[:, 1]
        return (probability >= self.threshold).astype(int), probability


def encode(X: pd.DataFrame) -> np.ndarray:
    """Turn the columns into numbers of about one size; a missing one is the mean."""
    activity, tenure = (np.nan_to_num(X[name].to_numpy(), nan=mean) for name, mean in MEANS.items())
    region = X["region"].to_numpy()
    regions = [region == name for name in list(REGIONS)[1:]]
    return np.column_stack([activity, tenure, np.log(X["revenue"]), X["visits"] - 2, *regions])


def fit(X: np.ndarray, y: np.ndarray) -> LogisticRegression:
    return LogisticRegression(solver="newton-cholesky").fit(X, y)


def fit_model(data: LabelledRows) -> Model:
    return Model(fit(encode(data.X), data.y), float(data.y.mean()))


@dataclass(frozen=True)
class Release:
    """A deployed model and what its model card keeps; `train` are its rows, for tests that need them."""

    model: Model
    kept: Mapping[str, Any]
    known: Mapping[str, profiles.Profile]
    recorded_score: float
    train: pd.DataFrame

    def judge(self, X: pd.DataFrame, y: np.ndarray) -> Evidence:
        """Look at new rows as a tick does."""
        return evidence.compute_evidence(
            y,
            *self.model.answer(X),
            recorded_score=self.recorded_score,
            release_reference=self.kept,
            shifts=column_drift.compare_columns(self.known, profiles.count_columns(self.known, X)),
        )


def draw_size(rng: np.random.Generator) -> int:
    """Draw the number of rows of a release: small and large references occur."""
    return int(np.exp(rng.uniform(np.log(FEWEST), np.log(MOST))))


def deploy(
    rng: np.random.Generator,
    world: World,
    n: int,
    *,
    gated: bool = False,
    change: Callable[[Rows], Rows] | None = None,
) -> Release:
    """Train a release on `n` rows, to which something may have happened, as a tick does.

    The first release is held against cross-validated answers. One that passed a gate (`gated`: half of
    its rows are new) is held against those of its candidate on the rows held back, where they suffice.
    """
    X, y = draw(rng, n, world)
    X_test, y_test = draw(rng, TEST_ROWS, world)
    X, y = change((X, y)) if change else (X, y)
    is_new = np.arange(n) >= (n // 2 if gated else 0)
    everything = LabelledRows(X, y.astype(int), is_new, digests=np.empty(0), n_labelled=n)
    data, held_back = training_rows.split_for_gate(everything, gated)
    kept = keep_reference(data)
    if gated:
        made = TrainingPlan(None, "all", None, {"reference": kept})
        kept = plan.measure_held_back(fit_model(data), held_back, made).get("reference", kept)
    model = fit_model(everything)
    known = profiles.make_profiles(X[everything.newest], NUMBERS, TEXTS)
    recorded = classification.compute_score(y_test, *model.answer(X_test)).f1 or 0.0
    return Release(model, kept, known, recorded, X[everything.newest])


def keep_reference(data: LabelledRows) -> dict[str, Any]:
    """Cross-validate, and keep what training keeps of it."""
    fold = cross_validation.draw_folds(data.y, random_state=0)[:1]
    found, X = OutOfFold(data.y, fold, np.empty(fold.shape)), encode(data.X)
    for repeat, out in found.parts():
        found.log_odds[repeat, out] = fit(X[~out], data.y[~out]).decision_function(X[out])
    choice = Choice(RECIPE, float(data.y.mean()), {}, found)
    return plan.compute_reference(choice, data, ThresholdRule("balanced"))


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
