"""What are scores worth where each client comes back every month?

Clients keep their traits; each month adds noise, a share of the spread between clients. The label belongs
to the client: it follows the traits (signal), or nothing at all (noise). The truth is the AUC on fresh
clients. Every figure stands beside the one that takes rows for clients, as if nobody had an id.
"""

from __future__ import annotations

from collections import Counter
from functools import partial

import numpy as np
import pandas as pd
from scipy import special
from tables import Aim, Run, Share, Table, wrong_at_most
from threadpoolctl import threadpool_limits

from risk.metrics import cross_validation, significance
from risk.model import gate, pipeline, plan
from risk.model.pipeline import Recipe
from risk.model.thresholds import ThresholdRule
from risk.model.training_rows import LabelledRows

N_CLIENTS, N_MONTHS, N_FRESH = 120, 6, 3_000
NAMES = ("a", "b", "c", "d")
WEIGHTS = {"signal": np.array([0.9, 0.9, 0.5, 0.0]), "noise": np.zeros(4)}
NOISE = (0.1, 0.3, 0.6, 1.0)
BALANCED = ThresholdRule("balanced")
BY_CLIENT, BY_ROW = "clients", "rows"
CLOSE, COVERED = 0.02, 0.93


def draw(
    rng: np.random.Generator, n: int, n_months: int, noise: float, world: str
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Draw the rows of clients: columns, labels, and whose they are."""
    traits = rng.normal(size=(n, len(NAMES)))
    leaves = (rng.random(n) < special.expit(1.5 * traits @ WEIGHTS[world] - 0.7)).astype(int)
    client = np.repeat(np.arange(n), n_months)
    X = traits[client] + noise * rng.normal(size=(len(client), len(NAMES)))
    return pd.DataFrame(X, columns=[*NAMES]), leaves[client], client


def measure(noise: float, world: str, by: str, seed: int, number: int) -> Counter[str]:
    """Train on a panel as a first run does, and compare what it reports with the truth."""
    rng = np.random.default_rng([seed, 5, number, int(10 * noise), len(world)])
    X, y, client = draw(rng, N_CLIENTS, N_MONTHS, noise, world)
    keys = client if by == BY_CLIENT else np.empty(0, dtype=np.int64)
    data = LabelledRows(X, y, np.ones(len(y), dtype=bool), np.empty(0), len(y), keys)
    with threadpool_limits(1):
        made = plan.make_plan(data, Recipe("", NAMES, ()), "auto", BALANCED, None)
        model = pipeline.fit_model(made.choice.recipe, 0.5, X, y, data.clients)
        X_fresh, y_fresh, _ = draw(rng, N_FRESH, 1, noise, world)
        truth = cross_validation.auc(y_fresh, model.predict_proba(X_fresh)[:, 1])
    auc, kept = made.facts["cross_validation"]["auc"], made.facts["reference"]
    return Counter(
        {
            "truth": truth,
            "cross-validated": auc["mean"],
            "reference": kept["auc"],
            "cv covers": float(auc["low"] <= truth <= auc["high"]),
            "covers": float(kept["auc_low"] <= truth <= kept["auc_high"]),
            "boosting": float(made.choice.recipe.estimator != "logistic_regression"),
        }
    )


def ask_gate(noise: float, by: str, seed: int, number: int) -> Counter[str]:
    """Let the gate compare two models of the same AUC on clients with many rows."""
    rng = np.random.default_rng([seed, 6, number, int(10 * noise)])
    X, y, client = draw(rng, N_CLIENTS, N_MONTHS, noise, "signal")
    score = {side: X[list(side)].to_numpy() @ np.array([1.0, 0.4, 0.3]) for side in ("acd", "bcd")}
    both = [special.expit(values) for values in score.values()]
    flagged = [(probability >= 0.5).astype(int) for probability in both]
    whose = client if by == BY_CLIENT else None
    found = gate.apply_gate(y, both[0], flagged[0], both[1], flagged[1], whose, random_state=number)
    promoted = found.auc is not None and found.auc.p_better <= significance.ALPHA
    return Counter({"held": int(found.decision == gate.HOLD), "promoted": int(promoted)})


def tabulate(run: Run, seed: int, n: int = 50) -> list[Table]:
    """Compare what a first run reports with the AUC on fresh clients, in the mean of `n` panels."""
    rows, aims = [], []
    for world in WEIGHTS:
        for noise in NOISE:
            for by in (BY_CLIENT, BY_ROW):
                total = run(partial(measure, noise, world, by, seed), n)
                mean = {
                    name: total[name] / n for name in ("truth", "cross-validated", "reference", "boosting")
                }
                covered = [Share(int(total[name]), n) for name in ("cv covers", "covers")]
                figures = [f"{mean[name]:.3f}" for name in ("truth", "cross-validated", "reference")]
                rows.append((world, f"{noise:.1f}", by, *figures, *map(str, covered)))
                if by == BY_CLIENT:
                    off = max(abs(mean[name] - mean["truth"]) for name in ("cross-validated", "reference"))
                    aims.append((f"{world} {noise:.1f}", off, min(one.hits / n for one in covered)))
    worst, least = max(aim[1] for aim in aims), min(aim[2] for aim in aims)
    targets = (
        Aim(f"reported AUC within {CLOSE} of the truth", f"{worst:.3f}", worst <= CLOSE),
        Aim(f"95 % intervals cover in {100 * COVERED:.0f} %", f"{100 * least:.0f} %", least >= COVERED),
    )
    title = f"AUC reported of a panel ({N_CLIENTS} clients, {N_MONTHS} months), mean of {n}"
    header = ("world", "noise", "counted", "truth", "cross-validated", "reference", "covers, %")
    return [Table(title, (*header, "reference covers, %"), tuple(rows), targets)]


def tabulate_gate(run: Run, seed: int, n: int = 1_000) -> list[Table]:
    """Count wrong decisions between equal models on a panel."""
    rows, bounded = [], []
    for noise in NOISE:
        for by in (BY_CLIENT, BY_ROW):
            hits = run(partial(ask_gate, noise, by, seed), n)
            shares = [Share(hits[what], n) for what in ("held", "promoted")]
            bounded += [shares] if by == BY_CLIENT else []
            rows.append((f"{noise:.1f}", by, *map(str, shares)))
    aims = tuple(
        wrong_at_most(f"wrong {what}", [shares[i] for shares in bounded], significance.ALPHA)
        for i, what in enumerate(("HOLD", "PROMOTE"))
    )
    title = f"Wrong decisions of the gate on a panel of {N_CLIENTS} clients, % of {n:,} pairs of equal models"
    return [Table(title, ("noise", "counted", "HOLD by not_worse", "PROMOTE by better"), tuple(rows), aims)]
