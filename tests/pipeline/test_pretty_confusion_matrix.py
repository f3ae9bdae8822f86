"""The one figure: its counts, its shares, and that it is drawn."""

import io

import matplotlib
import numpy as np
import pytest

import pretty_confusion_matrix as matrix


def test_counts_have_the_truth_in_rows_and_the_prediction_in_columns():
    y_true = np.array([0, 0, 0, 1, 1, 1, 1])
    y_pred = np.array([0, 0, 1, 0, 1, 1, 1])
    assert matrix.compute_confusion_matrix(y_true, y_pred).tolist() == [[2, 1], [1, 3]]


def test_each_cell_says_count_and_both_shares_and_the_totals_are_right():
    cells = matrix.describe_cells(np.array([[30, 10], [20, 40]]))
    assert cells[0][1] == "10\n25.0 % of row\n20.0 % of column"
    assert cells[1][2] == "60\n60.0 % of all"
    assert cells[2] == ["50\n50.0 % of all", "50\n50.0 % of all", "100\n70.0 % accuracy"]


@pytest.mark.parametrize("counts", [[[0, 0], [0, 0]], [[5, 0], [0, 0]], [[10**9, 1], [1, 10**9]]])
def test_empty_and_large_matrices_are_drawn(counts):
    figure = matrix.draw_confusion_matrix(np.array(counts), title="t")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    assert buffer.getvalue().startswith(b"\x89PNG")


def test_drawing_touches_no_global_figure_and_chooses_no_backend():
    from matplotlib import pyplot

    before = pyplot.get_fignums(), matplotlib.get_backend(auto_select=False)
    matrix.draw_confusion_matrix(np.array([[1, 2], [3, 4]]))
    assert (pyplot.get_fignums(), matplotlib.get_backend(auto_select=False)) == before
