"""Are scores that are estimated without labels what they turn out to be?

They must be, whatever the columns do, as long as clients leave for the same reasons; and they must be wrong
when the reasons change, for nothing in unlabelled rows can show that.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Any

import numpy as np
import worlds
from tables import Aim, Run, Share, Table, least_allowed, right_at_least
from worlds import Rows, World

from risk.metrics import classification, significance
from risk.monitoring import estimate_audit, performance_estimation
from risk.monitoring.performance_estimation import PerformanceEstimate

SHARE, BATCHES = 0.25, (200, 2_000)
WORLDS = {
    "no change": World(SHARE),
    "+0.5 σ": World(SHARE, move=0.5),
    "+1 σ": World(SHARE, move=1),
    "turned 60°": World(SHARE, turn=60),
}
TURNED = "turned 60°"
MOST_HELD = 0.5  # of what is no longer true, on the larger batches
N_RESAMPLES = 500
CLOSE = 1e-9


def watch(seed: int, number: int) -> Counter[Any]:
    """Let one release estimate its scores on batches of each world, and look at their labels then."""
    rng = np.random.default_rng([seed, 6, number])
    release = worlds.deploy(rng, World(SHARE), worlds.draw_size(rng))
    found: Counter[Any] = Counter()
    for name, world in WORLDS.items():
        for n in BATCHES:
            batch = worlds.draw(rng, n, world)
            found.update(
                {(name, n, what): float(value) for what, value in audit(release, batch, number).items()}
            )
    return found


def audit(release: worlds.Release, rows: Rows, seed: int) -> dict[str, float | bool]:
    """Estimate without labels; then say whether the bands held, by how much it was wrong, and the sums."""
    X, y = rows
    called, probability = release.model.answer(X)
    known = performance_estimation.get_reliability(release.kept, {})
    found = performance_estimation.estimate_performance(
        probability, called, known, n_resamples=N_RESAMPLES, random_state=seed
    )
    told = estimate_audit.audit_estimate(found, classification.compute_score(y, called, probability))
    return {
        "F1": told.f1_held,
        "AUC": told.auc_held,
        "F1 error": told.f1_error,
        "AUC error": told.auc_error,
        "sums": is_plain_sum(found, known.correct(probability), called, probability),
        "blind": performance_estimation.BLIND in found.sentence,
    }


def is_plain_sum(
    found: PerformanceEstimate, honest: np.ndarray, called: np.ndarray, score: np.ndarray
) -> bool:
    """Hold an estimate against the closed forms, summed row by row and pair by pair."""
    f1 = 2 * honest[called == 1].sum() / (called.sum() + honest.sum())
    if len(score) > BATCHES[0]:
        return abs(found.f1 - f1) < CLOSE
    pairs = honest[:, None] * (1 - honest)[None, :]
    np.fill_diagonal(pairs, 0.0)
    right = (np.sign(score[:, None] - score[None, :]) + 1) / 2
    return max(abs(found.f1 - f1), abs(found.auc - (pairs * right).sum() / pairs.sum())) < CLOSE


def tabulate(run: Run, seed: int, n: int = 1_000) -> list[Table]:
    hits, rows = run(partial(watch, seed), n), []
    shares = {key: Share(int(hits[key]), n) for key in make_keys("F1", "AUC", "sums", "blind")}
    for name in WORLDS:
        for size in BATCHES:
            held = [str(shares[name, size, what]) for what in ("F1", "AUC")]
            errors = [f"{hits[name, size, what] / n:+.3f}" for what in ("F1 error", "AUC error")]
            rows.append((name, f"{size:,}", *held, *errors))
    true = [shares[key] for key in make_keys("F1", "AUC") if key[0] != TURNED]
    nominal = least_allowed(n, significance.LEVEL)
    wrong = max((shares[TURNED, BATCHES[1], what] for what in ("F1", "AUC")), key=lambda share: share.hits)
    aims = (
        right_at_least(
            f"{100 * significance.LEVEL:.0f} % intervals hold while clients leave for the same reasons:",
            true,
            nominal / n,
        ),
        right_at_least(f"plain sums within {CLOSE:g}", [shares[key] for key in make_keys("sums")], 1.0),
        right_at_least(
            "the estimate is marked as blind to concept drift",
            [shares[key] for key in make_keys("blind")],
            1.0,
        ),
        Aim(
            f"wrong if clients leave for other reasons: on {BATCHES[1]:,} rows "
            f"at most {100 * MOST_HELD:.0f} %",
            f"most: {wrong.percent:.4g} %",
            wrong.hits <= MOST_HELD * n,
        ),
    )
    title = f"Scores estimated without labels, % of {n:,} batches within the 95 % interval, and mean error"
    header = ("change", "rows", "F1 in interval", "AUC in interval", "F1 error", "AUC error")
    return [Table(title, header, tuple(rows), aims)]


def make_keys(*what: str) -> list[tuple[str, int, str]]:
    return [(name, size, one) for name in WORLDS for size in BATCHES for one in what]
