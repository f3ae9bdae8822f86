"""Calculate a confusion matrix and draw it so that a person reads it at once; saves nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLASSES = ("stays", "leaves")
TOTAL = "#edf2f7"


def compute_confusion_matrix(y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
    """Count what was said of whom.

    Parameters
    ----------
    y_true, y_pred : ndarray of shape (n_samples,)
        1 leaves, 0 stays.

    Returns
    -------
    counts : ndarray of shape (2, 2)
        Rows are the truth, columns the prediction; both "stays" first.
    """
    truth, called = np.asarray(y_true) == 1, np.asarray(y_pred) == 1
    return np.array(
        [
            [int((~truth & ~called).sum()), int((~truth & called).sum())],
            [int((truth & ~called).sum()), int((truth & called).sum())],
        ]
    )


def describe_cells(counts: np.ndarray) -> list[list[str]]:
    """Say in each of 3 x 3 cells its count and shares; the last row and column hold the totals."""
    whole = int(counts.sum())
    cells = []
    for i in range(2):
        in_row = int(counts[i].sum())
        row = []
        for j in range(2):
            of_row, of_column = share(counts[i, j], in_row), share(counts[i, j], counts[:, j].sum())
            row.append(f"{counts[i, j]:,}\n{of_row} of row\n{of_column} of column")
        cells.append([*row, f"{in_row:,}\n{share(in_row, whole)} of all"])
    totals = [int(counts[:, j].sum()) for j in range(2)]
    right = share(counts[0, 0] + counts[1, 1], whole)
    last = [f"{total:,}\n{share(total, whole)} of all" for total in totals]
    return [*cells, [*last, f"{whole:,}\n{right} right"]]


def share(part: Any, whole: Any) -> str:
    """Say a share in percent; a dash where there is nothing to share."""
    return f"{100 * int(part) / int(whole):.1f} %" if whole else "-"


def draw_confusion_matrix(
    counts: np.ndarray, *, classes: Sequence[str] = CLASSES, title: str | None = None
) -> Figure:
    """Draw counts as a heat map with the share of row and column in each cell, and totals.

    Parameters
    ----------
    counts : ndarray of shape (2, 2)
        Rows are the truth, columns the prediction.
    classes : sequence of two str
        Names of the classes, in the order of `counts`.
    title : str, optional
        Printed above.
    """
    import seaborn as sns
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    figure = Figure(figsize=(6.0, 5.0), dpi=150)
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    rows = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, rows, out=np.zeros((2, 2)), where=rows > 0)
    shades = np.full((3, 3), np.nan)
    shades[:2, :2] = shares
    sns.heatmap(
        shades,
        ax=axes,
        mask=np.isnan(shades),
        cmap="Blues",
        vmin=0,
        vmax=1,
        cbar=False,
        square=False,
        linewidths=2,
        linecolor="white",
        xticklabels=[*classes, "total"],
        yticklabels=[*classes, "total"],
    )
    cells = describe_cells(counts)
    for i in range(3):
        for j in range(3):
            inner = i < 2 and j < 2
            if not inner:
                axes.add_patch(Rectangle((j, i), 1, 1, facecolor=TOTAL, edgecolor="white", linewidth=2))
            colour = "white" if inner and shares[i, j] > 0.55 else "#1a202c"
            count, _, rest = cells[i][j].partition("\n")
            axes.text(j + 0.5, i + 0.4, count, ha="center", va="center", size=15, weight="bold", color=colour)
            axes.text(j + 0.5, i + 0.68, rest, ha="center", va="center", size=8.5, color=colour)
    axes.set_xlabel("the model said", size=10, labelpad=10)
    axes.set_ylabel("what the client did", size=10, labelpad=8)
    axes.tick_params(length=0, labelsize=10)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_yticklabels(axes.get_yticklabels(), rotation=0)
    longest = max(map(len, classes))
    figure.subplots_adjust(
        left=min(0.11 + 0.012 * longest, 0.36), right=0.99, top=0.8 if title else 0.85, bottom=0.01
    )
    if title:
        figure.suptitle(title, size=11)
    return figure
