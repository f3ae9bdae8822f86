"""benchmarks/decisions.py: its worlds are what they say; docs/decisions.md has its tables."""

import re
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

import decisions  # noqa: E402
import pairs  # noqa: E402
import streams  # noqa: E402
import worlds  # noqa: E402
from tables import Share, right_at_least, wrong_at_most  # noqa: E402
from worlds import World  # noqa: E402

PAGE = (ROOT / "docs" / "decisions.md").read_text(encoding="utf-8")


def run_here(find, n):
    with threadpool_limits(1):
        return decisions.add(map(find, range(n)))


def run_nothing(find, n):
    """Say of everything that it happened every second time."""
    return defaultdict(lambda: n // 2)


@pytest.fixture(scope="module")
def tables():
    """Every table with numbers that mean nothing."""
    makers = [make for part in decisions.PARTS.values() for make in part]
    few = {decisions.tabulate_million: (2_000,)}  # rows
    return [table for make in makers for table in make(run_nothing, 1, *few.get(make, ()))]


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def shape(lines, n_labels):
    return [cells(line)[:n_labels] for line in lines if line.startswith("|")]


# --- the page ---------------------------------------------------------------------------------------------


def test_the_page_on_decisions_has_the_tables_that_the_tool_prints_today(tables):
    block = PAGE.split(decisions.BEGIN)[1].split(decisions.END)[0]
    shown = [part.split("\n\n")[0].splitlines() for part in re.findall(r"(?:^\|.*\n)+", block, re.MULTILINE)]
    assert [cells(lines[0]) for lines in shown] == [list(table.header) for table in tables]
    for lines, table in zip(shown, tables, strict=True):
        assert len(lines) == 2 + len(table.rows)
        assert all(len(cells(line)) == len(table.header) for line in lines)
    aims = [line for line in block.splitlines() if line.startswith(("- pass", "- MISSED"))]
    assert len(aims) == sum(len(table.aims) for table in tables)
    n_passed = sum(line.startswith("- pass") for line in aims)
    assert f"{n_passed} of {len(aims)} targets met, seed " in block


def test_only_what_stands_between_the_markers_is_replaced(tables):
    block = decisions.render_block(tables, "1 of 1")
    text = f"before\n{decisions.BEGIN}\nold \\1\n{decisions.END}\nafter"
    assert decisions.replace_block(text, block) == f"before\n{block}\nafter"
    assert decisions.replace_block(f"before\n{block}\nafter", block) == f"before\n{block}\nafter"


def test_tables_fit_a_terminal(tables):
    for table in tables:
        lines = table.to_text().splitlines()[1 : 2 + len(table.rows)]
        assert max(map(len, lines)) <= 100, table.title


# --- counting ----------------------------------------------------------------------------------------------


def test_a_seed_gives_the_same_counts_and_another_one_others():
    one, again, other = (run_here(lambda i, s=seed: streams.watch_changed(s, i), 1) for seed in (1, 1, 2))
    assert one == again != other


def test_the_99_percent_range_is_that_of_clopper_and_pearson():
    expected = stats.beta.ppf([0.005, 0.995], [40, 41], [961, 960])
    assert Share(40, 1_000).range() == pytest.approx(tuple(100 * expected))
    assert str(Share(40, 1_000)) == "4.0 (2.6–5.9)" and str(Share(0, 200)) == "0 (0–3)"


@pytest.mark.parametrize(("hits", "reached"), [(67, True), (68, False)])
def test_of_1000_at_most_67_may_be_wrong(hits, reached):
    aim = wrong_at_most("alarms", [Share(3, 1_000), Share(hits, 1_000)], 0.05)
    assert aim.reached is reached
    assert str(aim) == f"{'pass' if reached else 'MISSED'}: alarms at most 67 of 1,000; most: {hits}"


@pytest.mark.parametrize(("hits", "reached"), [(180, True), (179, False)])
def test_the_case_that_is_seen_least_decides(hits, reached):
    assert right_at_least("seen", [Share(200, 200), Share(hits, 200)], 0.9).reached is reached


# --- worlds ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("turn", [0, 30, 60])
@pytest.mark.parametrize("share", [0.1, 0.5])
def test_a_world_has_its_share_of_leavers_also_when_it_is_turned(share, turn):
    _, y = worlds.draw(np.random.default_rng(0), 40_000, World(share, turn=turn))
    assert y.mean() == pytest.approx(share, abs=0.01)


def test_a_turned_world_shows_in_no_column_and_costs_the_model_what_it_knew():
    rng, old = np.random.default_rng(1), World(0.25)
    release = worlds.deploy(rng, old, 3_000)
    auc = []
    for turn in (0, 30, 60, 90):
        X, y = worlds.draw(rng, 20_000, World(0.25, turn=turn))
        auc.append(roc_auc_score(y, release.model.predict_proba(X)[:, 1]))
        assert not worlds.plain_ks(release.train, X, 1e-4)
    assert auc == sorted(auc, reverse=True) and auc[0] > 0.75 and auc[3] < 0.6


def test_another_share_leaves_both_classes_as_they_were():
    rng, old = np.random.default_rng(2), World(0.25)
    X, y = worlds.draw_at_share(rng, 20_000, old, 0.4)
    X_old, y_old = worlds.draw(rng, 20_000, old)
    assert y.mean() == pytest.approx(0.4, abs=0.01)
    for label in (0, 1):
        for name in ("activity", "visits"):
            assert stats.ks_2samp(X[name][y == label], X_old[name][y_old == label]).pvalue > 0.001


def test_a_release_after_a_gate_is_held_against_rows_that_its_candidate_did_not_see():
    rng = np.random.default_rng(3)
    first, gated = (worlds.deploy(rng, World(0.25), 3_000, gated=gated) for gated in (False, True))
    assert (first.kept["rows"], first.kept["n"]) == ("cross-validated", 3_000)
    assert gated.kept["rows"] == "held back from the candidate" and 400 < gated.kept["n"] < 600


def test_equal_models_have_the_same_auc_and_unequal_ones_are_apart_by_the_gap():
    rng = np.random.default_rng(4)
    X, y = pairs.draw(rng, 100_000, 0.25)
    seen = X @ pairs.WEIGHTS
    for weights in ([1, 0.5, 0.7], [1, 0, 0.7]):
        both = [roc_auc_score(y, columns @ weights) for columns in (X, X[:, pairs.EXCHANGED])]
        assert both[0] == pytest.approx(both[1], abs=0.006)
    for gap in pairs.GAPS:
        noisy = seen + rng.normal(0, pairs.find_noise(gap), len(y))
        assert roc_auc_score(y, seen) - roc_auc_score(y, noisy) == pytest.approx(gap, abs=0.005)
