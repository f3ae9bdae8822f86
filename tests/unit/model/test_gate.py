"""The gate: two models on the same rows, both sides of each threshold, and honest errors."""

import json
import time

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import f1_score, roc_auc_score

from risk.metrics import paired_comparison
from risk.model import gate


def make_pair(rng, n=400, share=0.3, noise=(1.0, 1.0), n_positive=None):
    """Labels, and what two models see of them: the same truth, each through noise of its own."""
    y = (rng.random(n) < share).astype(int)
    if n_positive is not None:
        y = (np.arange(n) < n_positive).astype(int)
    truth = rng.normal(1.6 * y, 1)
    views = [truth + rng.normal(0, sd, n) for sd in noise]
    return y, [part for view in views for part in (view, (view > 0.8).astype(int))]


def decide(y, answers, **settings):
    return gate.apply_gate(y, *answers, **settings)


BETTER, WORSE = (0.2, 2.0), (2.0, 0.2)


@pytest.mark.parametrize(
    ("noise", "rule", "decision", "why"),
    [
        (WORSE, "not_worse", "HOLD", "significantly worse"),
        (BETTER, "not_worse", "PROMOTE", "not significantly worse"),
        (WORSE, "better", "HOLD", "not significantly better"),
        (BETTER, "better", "PROMOTE", "significantly better"),
        (WORSE, "none", "PROMOTE", "no gate"),
    ],
)
def test_a_clearly_better_or_worse_candidate(noise, rule, decision, why):
    found = decide(*make_pair(np.random.default_rng(0), noise=noise), rule=rule)
    assert found.decision == decision and why in found.reasons[0]
    assert "AUC" in found.reasons[1] and "neither has seen" in found.reasons[1]


def test_a_model_against_itself_passes_not_worse_and_fails_better():
    y, answers = make_pair(np.random.default_rng(1))
    same = answers[:2] * 2
    held, passed = decide(y, same, rule="better"), decide(y, same)
    assert (held.decision, passed.decision) == ("HOLD", "PROMOTE")
    assert (passed.auc.delta, passed.auc.p_worse, passed.auc.p_better) == (0.0, 1.0, 1.0)
    assert (passed.f1.delta, passed.f1.p_worse, passed.answers.p_value) == (0.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("n", "n_positive", "enough"),
    [(30, 5, True), (29, 5, False), (30, 4, False), (30, 25, True), (30, 26, False), (0, 0, False)],
)
def test_under_30_rows_or_5_of_a_class_not_worse_cannot_tell_and_better_holds(n, n_positive, enough):
    y, answers = make_pair(np.random.default_rng(2), n=n, n_positive=n_positive)
    found = {rule: decide(y, answers, rule=rule) for rule in gate.GATES}
    assert (found["not_worse"].decision is not None) is enough
    assert (found["not_worse"].auc is not None) is enough
    assert found["none"].decision == "PROMOTE"
    if not enough:
        assert found["better"].decision == "HOLD"
        assert "too few" in found["not_worse"].reasons[0]


def test_an_unknown_rule_is_refused():
    with pytest.raises(ValueError, match="there is no gate 'best'"):
        decide(*make_pair(np.random.default_rng(0)), rule="best")


def test_alpha_is_the_threshold_of_the_p_value():
    y, answers = make_pair(np.random.default_rng(3), n=150, noise=(1.6, 0.6))
    p_worse = decide(y, answers).auc.p_worse
    assert 0 < p_worse < 0.5
    assert decide(y, answers, alpha=p_worse).decision == "HOLD"
    assert decide(y, answers, alpha=p_worse * 0.999).decision == "PROMOTE"


def test_the_same_seed_gives_the_same_decision_as_json():
    y, answers = make_pair(np.random.default_rng(4))
    one = json.dumps(decide(y, answers, random_state=5).to_json(), allow_nan=False)
    assert one == json.dumps(decide(y, answers, random_state=5).to_json())
    assert one != json.dumps(decide(y, answers, random_state=6).to_json())


def test_the_scores_are_those_of_scikit_learn():
    y, answers = make_pair(np.random.default_rng(5))
    found = decide(y, answers)
    for i, name in enumerate(("candidate", "deployed")):
        assert getattr(found.auc, name) == pytest.approx(roc_auc_score(y, answers[2 * i]), abs=1e-12)
        assert getattr(found.f1, name) == pytest.approx(f1_score(y, answers[2 * i + 1]), abs=1e-12)
    assert found.auc.low < found.auc.delta < found.auc.high
    assert found.f1.low < found.f1.delta < found.f1.high


def test_the_bootstrap_and_delong_agree_on_many_rows(monkeypatch):
    y, answers = make_pair(np.random.default_rng(6), n=3_000, noise=(1.0, 0.9))
    both = paired_comparison.compare_auc(y, answers[0], answers[2])
    monkeypatch.setattr(paired_comparison, "MOST_DRAWS", 0)
    delong = paired_comparison.compare_auc(y, answers[0], answers[2])
    assert both.low == pytest.approx(delong.low, abs=0.0015)
    assert both.high == pytest.approx(delong.high, abs=0.0015)
    assert delong.p_worse <= both.p_worse <= delong.p_worse + 0.03


def test_delong_of_a_difference_is_that_of_all_pairs(monkeypatch):
    monkeypatch.setattr(paired_comparison, "MOST_DRAWS", 0)
    y, answers = make_pair(np.random.default_rng(7), n=120)
    kernels = [np.sign(p[y == 1][:, None] - p[y == 0][None, :]) / 2 + 0.5 for p in (answers[0], answers[2])]
    gaps = [(kernels[0] - kernels[1]).mean(axis=axis) for axis in (1, 0)]
    parts = [gap.var(ddof=1) / len(gap) for gap in gaps]
    freedom = sum(parts) ** 2 / sum(part**2 / (len(gap) - 1) for part, gap in zip(parts, gaps, strict=True))
    t = gaps[0].mean() / sum(parts) ** 0.5
    assert paired_comparison.compare_auc(y, answers[0], answers[2]).p_worse == pytest.approx(
        stats.t.cdf(t, freedom)
    )


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (3, 3), (8, 2), (2, 8), (0, 6), (60, 30)])
def test_mcnemar_is_the_exact_binomial_test(gained, lost):
    y = np.ones(gained + lost + 50, dtype=int)
    candidate, deployed = y.copy(), y.copy()
    deployed[:gained], candidate[gained : gained + lost] = 0, 0
    found = paired_comparison.compare_correctness(y, candidate, deployed)
    expected = stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert (found.only_candidate_right, found.only_deployed_right) == (gained, lost)
    assert found.p_value == pytest.approx(expected, rel=1e-9)


def test_the_f1_difference_scatters_as_resampled_rows_do():
    rng = np.random.default_rng(8)
    y, answers = make_pair(rng, n=300)
    by_hand = []
    for _ in range(3_000):
        rows = rng.integers(0, 300, 300)
        by_hand.append(f1_of(y[rows], answers[1][rows]) - f1_of(y[rows], answers[3][rows]))
    found = paired_comparison.compare_f1(y, answers[1], answers[3])
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(by_hand, [0.025, 0.975])), abs=0.015)


def f1_of(y, called):
    return 2 * (y & called).sum() / (y.sum() + called.sum())


@pytest.mark.parametrize(("n", "n_positive"), [(40, 5), (100, 50)])
def test_no_more_than_five_percent_of_equal_candidates_are_held_or_promoted_wrongly(
    n, n_positive, monkeypatch
):
    monkeypatch.setattr(paired_comparison, "N_RESAMPLES", 500)
    rng = np.random.default_rng(n)
    found = [
        paired_comparison.compare_auc(*pick(make_pair(rng, n=n, n_positive=n_positive)), random_state=i)
        for i in range(400)
    ]
    for name in ("p_worse", "p_better"):
        assert sum(getattr(one, name) <= 0.05 for one in found) <= 31  # 5 % of 400, within the 99 % range


def pick(pair):
    return pair[0], pair[1][0], pair[1][2]


def test_a_hundred_thousand_rows_take_seconds():
    y, answers = make_pair(np.random.default_rng(9), n=100_000)
    started = time.process_time()
    assert decide(y, answers).decision == "PROMOTE"
    assert time.process_time() - started < 10
