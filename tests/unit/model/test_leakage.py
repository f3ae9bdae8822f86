"""The AUC of groups; what is a leak and what is not stands in test_data_checks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from risk.model import leakage


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.sampled_from([0.1, 0.2, 0.5])), min_size=1)
)
def test_the_auc_of_groups_is_that_of_their_rows(groups):
    n_left, n_stayed, score = (np.array(column) for column in zip(*groups, strict=True))
    if not n_left.sum() or not n_stayed.sum():
        return
    y = np.repeat(np.tile([1, 0], len(score)), np.column_stack([n_left, n_stayed]).ravel())
    each = np.repeat(np.repeat(score, 2), np.column_stack([n_left, n_stayed]).ravel())
    assert leakage.auc_of_groups(score, n_left, n_stayed) == pytest.approx(roc_auc_score(y, each))
