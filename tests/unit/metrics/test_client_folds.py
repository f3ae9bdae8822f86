"""Folds keep a client together, and lack no class."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from risk.metrics import client_folds, cross_validation


def make_panel(n_leave, n_stay, n_months=4):
    client = np.repeat(np.arange(n_leave + n_stay), n_months)
    return (client < n_leave).astype(int), client


@pytest.mark.parametrize(("n_leave", "n_folds"), [(2, 2), (3, 3), (4, 4), (5, 5), (30, 5)])
def test_there_are_no_more_folds_than_leaving_clients_and_each_has_both_classes(n_leave, n_folds):
    y, client = make_panel(n_leave, 60)
    fold = cross_validation.draw_folds(y, client, random_state=0)
    assert fold.shape == (3, len(y))
    for row in fold:
        assert len(np.unique(row)) == n_folds and client_folds.has_both_classes(y, row, n_folds)
        assert all(len(np.unique(row[client == one])) == 1 for one in np.unique(client))
    assert not np.array_equal(fold[0], fold[1]), "each shuffle is another"


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=4, max_size=25), st.integers(0, 10_000)
)
def test_clients_dealt_in_turn_leave_no_fold_without_a_class(counts, seed):
    """Whatever rows of each class clients have, as long as there are clients enough of both."""
    counts = [one for one in counts if sum(one)]
    client = np.repeat(np.arange(len(counts)), [sum(one) for one in counts])
    y = np.concatenate([np.repeat([1, 0], one) for one in counts]) if counts else np.empty(0, dtype=int)
    n_folds = min(5, cross_validation.smaller_class(y, client))
    assume(n_folds >= 2)
    fold = client_folds.deal_in_turn(y, client, n_folds, seed)
    assert client_folds.has_both_classes(y, fold, n_folds)
    assert all(len(np.unique(fold[client == one])) == 1 for one in np.unique(client))


def test_one_client_of_many_rows_does_not_take_a_class_from_the_others():
    sizes = np.array([500, *[10] * 20])
    client = np.repeat(np.arange(21), sizes)
    y = (client % 3 == 0).astype(int)
    fold = client_folds.deal(y, client, 5, 0)
    assert client_folds.has_both_classes(y, fold, 5)


def test_where_each_row_is_a_client_folds_are_those_of_rows():
    y = np.arange(100) % 3 == 0
    one, other = (cross_validation.draw_folds(y.astype(int), None, random_state=seed) for seed in (0, 0))
    assert np.array_equal(one, other) and one.shape == (3, 100)
