"""What do the rules say of batches from a world that stays, and from one that changes?

Every repetition has a release of its own, so that the noise of the recorded side counts, and within one
cell of a table all batches are independent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import worlds
from tables import Run, Share, Table, right_at_least, wrong_at_most
from worlds import World

from risk.data import profiles
from risk.metrics import significance, two_sample
from risk.monitoring import column_drift, rules

ALPHA, RULES = significance.ALPHA, rules.RULES
KS, NAMED = "plain KS", "named"
BATCHES, BALANCES = (50, 200, 1_000, 10_000), (0.5, 0.1)
CHANGED_BATCHES, SHARE, NEW_SHARE, RELEASE_ROWS = (200, 1_000, 10_000), 0.25, 0.4, 3_000
POWER, FROM = 0.9, 1_000  # wanted of `auto` from so many rows on
CHANGES = {
    "moved 0.25": "+0.25 σ",
    "moved 0.5": "+0.5 σ",
    "moved 1": "+1 σ",
    "turned 30": "turned 30°",
    "turned 60": "turned 60°",
    "share": "leavers",
    "unit": "× 1,000",
    "empty": "third empty",
    "cell": "a cell 1e6",
    "cell now": "+1 σ, 1e6",
    "cell then": "+1 σ, old 1e6",
}
SEEN = ("moved 1", "turned 60", "unit", "empty")


def judge(release: worlds.Release, rows: worlds.Rows) -> dict[str, bool]:
    """Ask every rule, and the plain KS test, whether there is drift."""
    found = release.judge(*rows)
    said = {rule: found.rules[rule].drift is True for rule in RULES}
    return {**said, KS: worlds.plain_ks(release.train, rows[0], ALPHA), NAMED: found.label_share_alone}


def count(said: Mapping[Any, Mapping[str, bool]]) -> Counter[Any]:
    return Counter((case, what) for case, answers in said.items() for what, yes in answers.items() if yes)


# --- a world that stays ------------------------------------------------------------------------------------


def watch_stable(gated: bool, share: float, seed: int, number: int) -> Counter[Any]:
    """Let one release judge one batch of each size from its own world."""
    rng = np.random.default_rng([seed, 1, number, int(100 * share), gated])
    world = World(share)
    release = worlds.deploy(rng, world, worlds.draw_size(rng), gated=gated)
    return count({n: judge(release, worlds.draw(rng, n, world)) for n in BATCHES})


def tabulate_stable(run: Run, seed: int, n: int = 1_000) -> list[Table]:
    rows, bounded = [], []
    for gated, words in ((False, "cross-validated"), (True, "held back")):
        for balance in BALANCES:
            hits = run(partial(watch_stable, gated, balance, seed), n)
            for size in BATCHES:
                shares = {rule: Share(hits[size, rule], n) for rule in RULES}
                bounded.append(shares)
                rows.append((words, f"{100 * balance:.0f} %", f"{size:,}", *map(str, shares.values())))
    aims = [wrong_at_most(f"`{r}` alarms", [s[r] for s in bounded], ALPHA) for r in ("score_margin", "auto")]
    title = f"False alarms without drift, % of {n:,} batches, each with a release of its own"
    return [Table(title, ("reference", "leavers", "rows", *RULES), tuple(rows), tuple(aims))]


# --- a world that changes ----------------------------------------------------------------------------------


def watch_changed(seed: int, number: int) -> Counter[Any]:
    """Let a release judge batches from changed worlds; those with an absurd cell have the same other rows."""
    old, moved = World(SHARE), World(SHARE, move=1)

    def start(part: int) -> np.random.Generator:
        return np.random.default_rng([seed, 2, number, part])

    release = worlds.deploy(start(0), old, RELEASE_ROWS)
    other = worlds.deploy(start(0), old, RELEASE_ROWS, change=worlds.set_absurd_cell)
    said = {}
    for n in CHANGED_BATCHES:
        rng, same = start(n), worlds.draw(start(n + 1), n, moved)
        batches = {
            "moved 0.25": worlds.draw(rng, n, World(SHARE, move=0.25)),
            "moved 0.5": worlds.draw(rng, n, World(SHARE, move=0.5)),
            "moved 1": same,
            "turned 30": worlds.draw(rng, n, World(SHARE, turn=30)),
            "turned 60": worlds.draw(rng, n, World(SHARE, turn=60)),
            "share": worlds.draw_at_share(rng, n, old, NEW_SHARE),
            "unit": worlds.change_unit(worlds.draw(rng, n, old)),
            "empty": worlds.empty_cells(worlds.draw(rng, n, old)),
            "cell": worlds.set_absurd_cell(worlds.draw(rng, n, old)),
            "cell now": worlds.set_absurd_cell(same),
        }
        said |= {(kind, n): judge(release, rows) for kind, rows in batches.items()}
        said["cell then", n] = judge(other, same)
    return count(said)


def tabulate_changed(run: Run, seed: int, n: int = 200) -> list[Table]:
    hits = run(partial(watch_changed, seed), n)

    def take(what: str, kind: str, least_rows: int = 0) -> list[Share]:
        return [Share(hits[(kind, size), what], n) for size in CHANGED_BATCHES if size >= least_rows]

    rows = [
        (words, f"{size:,}", *(str(Share(hits[(kind, size), what], n)) for what in (*RULES, KS)))
        for kind, words in CHANGES.items()
        for size in CHANGED_BATCHES
    ]
    seen = [share for kind in SEEN for share in take("auto", kind, FROM)]
    without = min(share.hits for share in take("auto", "moved 1")) / n
    with_cell = take("auto", "cell now") + take("auto", "cell then")
    aims = (
        right_at_least(
            f"`auto` detects the changes by 1 σ, 60°, unit and gaps from {FROM:,} rows on", seen, POWER
        ),
        wrong_at_most("`auto` alarms at a new share of leavers alone", take("auto", "share"), ALPHA),
        right_at_least(
            f"and the change is reported as such from {FROM:,} rows on", take(NAMED, "share", FROM), POWER
        ),
        wrong_at_most("`auto` alarms at an absurd cell alone", take("auto", "cell"), ALPHA),
        right_at_least(
            "an absurd cell hides no shift by 1 σ: `auto` detects it as often as without", with_cell, without
        ),
    )
    title = (
        f"Alarms after a change, % of {n:,} batches, releases of {RELEASE_ROWS:,} rows and "
        f"{100 * SHARE:.0f} % leavers"
    )
    return [Table(title, ("change", "rows", *RULES, KS), tuple(rows), aims)]


# --- one absurd cell ---------------------------------------------------------------------------------------

ROWS = 20_000
CELLS = {
    "no shift": (0.0, None),
    "no shift, 1e6 now": (0.0, "current"),
    "1 σ": (1.0, None),
    "1 σ, 1e6 now": (1.0, "current"),
    "1 σ, 1e6 then": (1.0, "reference"),
}
METHODS = ("equal bins", "PSI > 0.1", "PSI > critical", "KS", "shifted")


def watch_cell(seed: int, number: int) -> Counter[Any]:
    """Compare 20,000 numbers with 20,000 by several methods, with and without one cell of a million."""
    said = {}
    for case, (sigma, where) in CELLS.items():
        rng = np.random.default_rng([seed, 5, number])
        columns = {"reference": rng.normal(size=ROWS), "current": rng.normal(sigma, 1, ROWS)}
        if where:
            columns[where][0] = worlds.ABSURD
        said[case] = ask_methods(columns["reference"], columns["current"])
    return count(said)


def ask_methods(before: np.ndarray, now: np.ndarray) -> dict[str, bool]:
    """Ask who sees a shift; `equal bins`: PSI as the best-known monitor bins it, over both samples."""
    profile = profiles.profile_numbers(before)
    found = column_drift.compare_column(profile, profiles.count(profile, now))
    edges = np.histogram_bin_edges(np.concatenate([before, now]), "sturges")
    binned = (np.histogram(values, edges)[0] for values in (before, now))
    significant = found.p_value <= ALPHA
    answers = (
        two_sample.stability_of_counts(*binned) >= column_drift.MODERATE,
        found.psi >= column_drift.MODERATE,
        found.psi > found.psi_critical,
        significant,
        significant and found.material,
    )
    return dict(zip(METHODS, answers, strict=True))


def tabulate_cell(run: Run, seed: int, n: int = 200) -> list[Table]:
    hits = run(partial(watch_cell, seed), n)
    shares = {(case, method): Share(hits[case, method], n) for case in CELLS for method in METHODS}
    rows = [(case, *(str(shares[case, method]) for method in METHODS)) for case in CELLS]
    held = ("PSI > 0.1", "KS", "shifted")
    quiet = [shares[case, m] for case, (sigma, _) in CELLS.items() if not sigma for m in held]
    loud = [shares[case, m] for case, (sigma, _) in CELLS.items() if sigma for m in held]
    aims = (
        wrong_at_most("quantile PSI, KS and both (`shifted`) alarm without shift", quiet, ALPHA),
        right_at_least("and detect every shift by 1 σ", loud, 1.0),
    )
    title = f"One cell of a million among {ROWS:,}, % of {n:,} columns reported as shifted"
    return [Table(title, ("column", *METHODS), tuple(rows), aims)]
