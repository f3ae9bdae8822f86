"""What does the gate say of two models of which it is known whether one is better?

The world has three columns of the same law, and the first two count alike. A model that mistakes the one
for the other is a different model with exactly the same AUC. A worse model sees its own log-odds through
noise of a size that costs a known AUC.
"""

from __future__ import annotations

from collections import Counter
from functools import cache, partial

import numpy as np
from scipy import optimize, special
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from tables import Run, Share, Table, right_at_least, wrong_at_most

from risk.metrics import significance
from risk.model import gate

WEIGHTS = np.array([0.8, 0.8, 0.6])
EXCHANGED = [1, 0, 2]
TRAIN_ROWS = 500
KINDS = {"alike": [0, 1, 2], "unlike": [0, 2]}  # the columns that both have seen, before the exchange
EQUAL_ROWS, BALANCES = (50, 200, 1_000), (0.5, 0.1)
GAPS, UNEQUAL_ROWS, SHARE = (0.02, 0.05, 0.1), (100, 300, 1_000), 0.25
HELD, PROMOTED = "HOLD by not_worse", "PROMOTE by better"


def draw(rng: np.random.Generator, n: int, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Draw columns and labels."""
    X = rng.normal(size=(n, len(WEIGHTS)))
    return X, (rng.random(n) < special.expit(X @ WEIGHTS + find_intercept(share))).astype(int)


@cache
def find_intercept(share: float) -> float:
    """Find the intercept that makes a share of clients leave."""
    log_odds = np.random.default_rng(0).normal(0, np.linalg.norm(WEIGHTS), 200_000)
    return float(optimize.brentq(lambda a: special.expit(log_odds + a).mean() - share, -10, 10))


def compare_equals(kind: str, share: float, n: int, seed: int, number: int) -> Counter[str]:
    """Let the gate compare a fitted model with the one that exchanges the first two columns."""
    rng = np.random.default_rng([seed, 3, number, n, int(100 * share), len(kind)])
    X, y = draw(rng, TRAIN_ROWS, share)
    model = LogisticRegression().fit(X[:, KINDS[kind]], y)
    X, y = draw(rng, n, share)
    both = [model.predict_proba(columns[:, KINDS[kind]])[:, 1] for columns in (X, X[:, EXCHANGED])]
    return ask_gate(y, *both, share, number)


def compare_unequals(gap: float, n: int, seed: int, number: int) -> Counter[str]:
    """Let the gate compare a model with one that is worse by a known AUC, both ways round."""
    rng = np.random.default_rng([seed, 4, number, n, int(100 * gap)])
    X, y = draw(rng, n, SHARE)
    log_odds = X @ WEIGHTS + find_intercept(SHARE)
    better, worse = (special.expit(v) for v in (log_odds, log_odds + rng.normal(0, find_noise(gap), n)))
    held, promoted = ask_gate(y, worse, better, SHARE, number), ask_gate(y, better, worse, SHARE, number)
    return Counter({HELD: held[HELD], PROMOTED: promoted[PROMOTED]})


@cache
def find_noise(gap: float) -> float:
    """Find the noise on the log-odds that costs this much AUC."""
    rng = np.random.default_rng(0)
    X, y = draw(rng, 100_000, SHARE)
    log_odds, drawn = X @ WEIGHTS, rng.normal(size=len(y))
    best = roc_auc_score(y, log_odds)

    def miss(deviation: float) -> float:
        return float(best - gap - roc_auc_score(y, log_odds + deviation * drawn))

    return float(optimize.brentq(miss, 0, 5, xtol=1e-3))


def ask_gate(
    y: np.ndarray, candidate: np.ndarray, deployed: np.ndarray, cut: float, seed: int
) -> Counter[str]:
    """Ask the gate once: the p-value by which `better` promotes stands beside the decision by `not_worse`."""
    called = [(probability >= cut).astype(int) for probability in (candidate, deployed)]
    found = gate.apply_gate(y, candidate, called[0], deployed, called[1], random_state=seed)
    promoted = found.auc is not None and found.auc.p_better <= significance.ALPHA
    return Counter({HELD: int(found.decision == "HOLD"), PROMOTED: int(promoted)})


def tabulate_equals(run: Run, seed: int, n: int = 1_000) -> list[Table]:
    rows, bounded = [], []
    for kind in KINDS:
        for balance in BALANCES:
            for size in EQUAL_ROWS:
                hits = run(partial(compare_equals, kind, balance, size, seed), n)
                shares = [Share(hits[what], n) for what in (HELD, PROMOTED)]
                bounded.append(shares)
                rows.append((kind, f"{100 * balance:.0f} %", f"{size:,}", *map(str, shares)))
    aims = [
        wrong_at_most(f"wrong {what}", [shares[i] for shares in bounded], significance.ALPHA)
        for i, what in enumerate((HELD, PROMOTED))
    ]
    title = f"Wrong decisions of the gate, % of {n:,} pairs of equal models"
    return [Table(title, ("models", "leavers", "rows", HELD, PROMOTED), tuple(rows), tuple(aims))]


def tabulate_unequals(run: Run, seed: int, n: int = 200) -> list[Table]:
    rows, clear = [], []
    for gap in GAPS:
        for size in UNEQUAL_ROWS:
            hits = run(partial(compare_unequals, gap, size, seed), n)
            shares = [Share(hits[what], n) for what in (HELD, PROMOTED)]
            clear += shares if gap == max(GAPS) and size == max(UNEQUAL_ROWS) else []
            rows.append((f"{gap:.2f}", f"{size:,}", *map(str, shares)))
    aims = (right_at_least(f"both detect {max(GAPS)} AUC on {max(UNEQUAL_ROWS):,} rows", clear, 0.95),)
    title = f"Right decisions of the gate, % of {n:,} pairs, {100 * SHARE:.0f} % leavers"
    header = ("AUC apart", "rows", f"worse: {HELD}", f"better: {PROMOTED}")
    return [Table(title, header, tuple(rows), aims)]
