"""How much less rows of the same client tell than as many clients."""

import numpy as np
import pytest
from scipy import special

from risk.metrics import auc, classification, clustering, paired_comparison, uncertainty


def draw_panel(rng, n_clients, n_months, slope=1.2, noise=0.2):
    """Draw labels, scores and clients: the label is the client's, the score follows a trait of its own."""
    trait = rng.normal(size=n_clients)
    leaves = rng.random(n_clients) < special.expit(slope * trait - 0.8)
    client = np.repeat(np.arange(n_clients), n_months)
    score = trait[client] + noise * rng.normal(size=len(client))
    return leaves[client].astype(float), special.expit(score), client


def test_one_row_a_client_is_no_cluster():
    influence = np.random.default_rng(0).normal(size=50)
    assert clustering.design_effect(influence, None) == 1.0
    assert clustering.design_effect(influence, np.arange(50)) == pytest.approx(1.0)


@pytest.mark.parametrize("n_copies", [2, 5, 12])
def test_the_same_row_so_many_times_tells_as_much_as_once(n_copies):
    influence = np.random.default_rng(0).normal(size=400)
    influence -= influence.mean()
    client = np.repeat(np.arange(400), n_copies)
    effect = clustering.design_effect(np.repeat(influence, n_copies), client)
    assert effect == pytest.approx(n_copies, rel=0.01)


def test_copies_of_every_row_change_no_interval():
    y, probability, _ = draw_panel(np.random.default_rng(3), 300, 1)
    flagged = (probability > 0.5).astype(float)
    once = classification.compute_score(y, flagged, probability)
    client = np.repeat(np.arange(300), 6)
    rows = (np.repeat(values, 6) for values in (y, flagged, probability))
    six = classification.compute_score(*rows, client)
    assert (six.n, six.values["n_clients"]) == (1800, 300)
    for name in ("f1", "f1_low", "f1_high", "auc", "auc_low", "auc_high"):
        assert six.values[name] == pytest.approx(once.values[name], abs=0.003), name


@pytest.mark.parametrize("n_clients", [60, 200])
def test_intervals_of_auc_and_f1_cover_the_truth_on_a_panel(n_clients):
    """Those that take rows for clients cover it in about half of the panels."""
    truth_rng, rng, n = np.random.default_rng(9), np.random.default_rng(n_clients), 200
    y, probability, _ = draw_panel(truth_rng, 200_000, 1)
    truth = classification.compute_score(y, (probability > 0.5).astype(float), probability)
    covered = {"auc": [0, 0], "f1": [0, 0]}
    for _ in range(n):
        y, probability, client = draw_panel(rng, n_clients, 6)
        flagged = (probability > 0.5).astype(float)
        for place, whose in enumerate((client, None)):
            score = classification.compute_score(y, flagged, probability, whose)
            for name, counts in covered.items():
                low, high = score.values[f"{name}_low"], score.values[f"{name}_high"]
                counts[place] += low <= truth.values[name] <= high
    for name, (by_client, by_row) in covered.items():
        assert by_client >= 0.91 * n, name  # 95 % less the noise of 200 panels
        assert by_row < 0.75 * n, name


@pytest.mark.slow
def test_two_models_that_are_equally_good_differ_by_chance_on_few_clients():
    rng, n, alarms = np.random.default_rng(1), 150, [0, 0]
    for number in range(n):
        y, _, client = draw_panel(rng, 80, 6)
        scores = [special.expit(0.5 * y + rng.normal(size=80)[client]) for _ in range(2)]
        for place, whose in enumerate((client, None)):
            found = paired_comparison.compare_auc(y, *scores, whose, random_state=number)
            alarms[place] += found.p_worse <= 0.05
    assert alarms[0] <= 15 and alarms[1] >= 25


def test_a_ranking_of_clients_survives_its_json():
    y, probability, client = draw_panel(np.random.default_rng(4), 50, 5)
    ranked = auc.compute_ranking(y, probability, client)
    again = auc.Ranking.from_json(ranked.to_json())
    assert again == ranked and again.design > 2
    assert "design" not in auc.compute_ranking(y, probability).to_json(), (
        "as it was before there were clients"
    )
    low, high = uncertainty.auc_interval(ranked)
    assert high - low > 1.5 * np.diff(uncertainty.auc_interval(auc.compute_ranking(y, probability)))[0]


def test_correctness_counts_a_client_once():
    y, client = np.zeros(40), np.repeat(np.arange(8), 5)
    candidate, deployed = np.zeros(40), np.where(client < 6, 1.0, 0.0)
    by_row = paired_comparison.compare_correctness(y, candidate, deployed)
    by_client = paired_comparison.compare_correctness(y, candidate, deployed, client)
    assert (by_row.only_candidate_right, by_client.only_candidate_right) == (30, 6)
    assert by_row.p_value < 1e-6 < 0.01 < by_client.p_value
