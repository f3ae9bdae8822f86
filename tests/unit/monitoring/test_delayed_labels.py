"""Rows without a label are known again when their label comes."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from risk.errors import ArtifactError
from risk.metrics import classification
from risk.metrics.reliability import measure_reliability
from risk.monitoring import delayed_labels, estimate_audit, performance_estimation
from risk.monitoring.delayed_labels import PendingPredictions

RNG = np.random.default_rng(0)
N = 400
X = pd.DataFrame(
    {"activity": RNG.normal(0, 1, N), "colour": pd.Series(["red", None] * (N // 2), dtype="str")}
)
IDS = pd.DataFrame({"corporation": pd.Series([f"client-{i}" for i in range(N)], dtype="str")})
TRUTH = expit(1.5 * X["activity"].to_numpy() - 0.5)
CALLED = (TRUTH > 0.4).astype(int)
Y = (RNG.random(N) < TRUTH).astype(float)
KEYS = delayed_labels.compute_row_keys(IDS, X)
KNOWN = measure_reliability(Y, TRUTH)


def keep(before, rows, release="0001", reliability=KNOWN, probability=TRUTH, **limits):
    return delayed_labels.add_predictions(
        before, KEYS[rows], probability[rows], CALLED[rows], release, reliability, **limits
    )


def same(one, other):
    return (one.rows == other.rows).all() and one.releases == other.releases


def answers(kept, rows, labels=Y):
    return list(delayed_labels.audit_labelled(kept, KEYS[rows], labels[rows]))


ALL, SOME, REST = np.arange(N), np.arange(100), np.arange(100, N)


# --- what identifies a row ---------------------------------------------------------------------------------


def test_a_row_is_the_same_when_ids_and_features_are_and_only_then():
    assert len(set(KEYS)) == N and (delayed_labels.compute_row_keys(IDS.copy(), X.copy()) == KEYS).all()
    moved = delayed_labels.compute_row_keys(IDS, X.assign(activity=X["activity"].where(X.index != 3, 9.0)))
    renamed = delayed_labels.compute_row_keys(IDS.replace("client-3", "client-x"), X)
    for other in (moved, renamed):
        assert np.flatnonzero(other != KEYS).tolist() == [3]


def test_an_id_is_a_text_and_a_feature_is_what_the_model_sees():
    rows = X.iloc[:2]
    written = [
        pd.DataFrame({"corporation": pd.Series(ids, dtype="str")}) for ids in (["7", "8"], ["07", "8"])
    ]
    one, other = (delayed_labels.compute_row_keys(ids, rows) for ids in written)
    assert (one == other).tolist() == [False, True]


def test_a_row_without_an_id_cannot_be_told_from_another():
    ids = IDS.copy()
    ids.loc[5, "corporation"] = None
    keys = delayed_labels.compute_row_keys(ids, X)
    assert np.flatnonzero(keys == 0).tolist() == [5]
    two = ids.assign(branch=pd.Series(["north"] * N, dtype="str"))
    assert (delayed_labels.compute_row_keys(two, X) != 0).all()
    kept = delayed_labels.add_predictions(PendingPredictions(), keys, TRUTH, CALLED, "0001", KNOWN)
    assert len(kept.rows) == N - 1
    assert sum(found.score.n for found in delayed_labels.audit_labelled(kept, keys, Y)) == N - 1


def test_an_id_column_may_be_called_like_a_feature():
    ids = IDS.set_axis(["activity"], axis=1)
    assert len(set(delayed_labels.compute_row_keys(ids, X))) == N


def test_rows_whose_label_is_beside_them_are_not_open():
    keys = np.array([1, 2, 1, 0, 0], dtype=np.uint64)
    y = np.array([np.nan, np.nan, 1.0, np.nan, 0.0])
    assert delayed_labels.find_unlabelled(keys, y).tolist() == [False, True, False, True, False]


# --- what is kept ------------------------------------------------------------------------------------------


def test_keeping_twice_is_keeping_once():
    once = keep(PendingPredictions(), ALL)
    assert same(keep(once, ALL), once)
    later = keep(once, SOME, "0002")
    assert same(keep(later, SOME, "0002"), later)


def test_the_last_release_that_spoke_of_a_row_counts_and_one_without_rows_is_forgotten():
    kept = keep(keep(PendingPredictions(), ALL), SOME, "0002", None)
    assert list(kept.releases) == ["0001", "0002"] and len(kept.rows) == N
    assert {found.release: found.score.n for found in answers(kept, ALL)} == {"0001": N - 100, "0002": 100}
    assert list(keep(kept, ALL, "0003").releases) == ["0003"]


def test_only_the_newest_rows_are_kept():
    kept = keep(keep(PendingPredictions(), SOME), REST, "0002", most_rows=150)
    assert len(kept.rows) == 150 and list(kept.releases) == ["0002"]
    assert answers(kept, SOME) == [] and answers(kept, REST)[0].score.n == 150


def test_200_000_rows_are_kept_in_under_5_mb(tmp_path):
    n = 200_000
    keys = np.random.default_rng(1).integers(1, 2**63, n, dtype=np.uint64)
    kept = delayed_labels.add_predictions(
        PendingPredictions(), keys, np.full(n, 0.5), np.ones(n), "0001", KNOWN
    )
    delayed_labels.write_pending(tmp_path / "awaited.bin", kept)
    assert (tmp_path / "awaited.bin").stat().st_size < 5_000_000
    assert same(delayed_labels.load_pending(tmp_path / "awaited.bin"), kept)


def test_what_is_kept_comes_back_from_disk_and_has_the_same_bytes_each_time(tmp_path):
    kept = keep(keep(PendingPredictions(), SOME, reliability=None), REST, "0002")
    for name in ("a", "b"):
        delayed_labels.write_pending(tmp_path / name, kept)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert same(delayed_labels.load_pending(tmp_path / "a"), kept)
    assert same(delayed_labels.load_pending(tmp_path / "not there"), PendingPredictions())


@pytest.mark.parametrize("damage", [b"", b"[]\n", b'{"format": 1}\n', b'{"format": 1, "n": 2}\nfew'])
def test_a_damaged_file_is_named_with_what_mends_it(tmp_path, damage):
    path = tmp_path / "awaited.bin"
    path.write_bytes(damage)
    with pytest.raises(ArtifactError, match=r"damaged .*; remove it and run again"):
        delayed_labels.load_pending(path)


def test_a_file_of_another_version_is_begun_anew(tmp_path):
    path = tmp_path / "awaited.bin"
    path.write_bytes(b'{"format": 0}\n')
    assert same(delayed_labels.load_pending(path), PendingPredictions())


# --- what became of it -------------------------------------------------------------------------------------


def test_exactly_the_rows_that_have_labels_now_are_scored_by_the_release_that_spoke_of_them():
    (found,) = answers(keep(PendingPredictions(), ALL), SOME)
    assert found.release == "0001"
    assert found.score == classification.compute_score(Y[SOME], CALLED[SOME], TRUTH[SOME])
    assert found.estimate == performance_estimation.estimate_performance(TRUTH[SOME], CALLED[SOME], KNOWN)
    assert found.audit == estimate_audit.audit_estimate(found.estimate, found.score)
    assert "100 rows estimated before have labels now" in found.audit.sentence


def test_the_order_of_the_rows_changes_no_score():
    kept = keep(PendingPredictions(), ALL)
    (one,), (other,) = answers(kept, ALL), answers(kept, ALL[::-1])
    assert one == other


def test_rows_that_nobody_waits_for_and_rows_still_without_a_label_are_no_answer():
    kept = keep(PendingPredictions(), SOME)
    assert answers(kept, REST) == [] and answers(PendingPredictions(), ALL) == []
    assert answers(kept, SOME, np.full(N, np.nan)) == []


def test_of_two_labels_of_a_row_the_last_counts():
    kept = keep(PendingPredictions(), SOME[:1])
    twice = [KEYS[0], KEYS[0]]
    for last in (0.0, 1.0):
        (found,) = delayed_labels.audit_labelled(kept, np.array(twice), np.array([1 - last, last]))
        assert (found.score.n, found.score.n_positive) == (1, int(last))


def test_a_release_without_known_outcomes_has_a_score_and_no_estimate():
    (found,) = answers(keep(PendingPredictions(), ALL, reliability=None), ALL)
    assert found.estimate.f1 is None and found.score.f1 == found.audit.f1
    assert found.audit.f1_error is None
