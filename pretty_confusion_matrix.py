"""Compute a confusion matrix and draw it as a heat map; saves nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CLASSES = ("stays", "leaves")
TOTAL = "#edf2f7"
DARK = 0.55  # the share of a row from which a cell is so dark that its text is white


def compute_confusion_matrix(y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
    """Count actual classes against predicted ones.

    Parameters
    ----------
    y_true, y_pred : ndarray of shape (n_samples,)
        1 leaves, 0 stays.

    Returns
    -------
    counts : ndarray of shape (2, 2)
        Rows are actual, columns predicted classes; both "stays" first.
    """
    left, flagged = np.asarray(y_true) == 1, np.asarray(y_pred) == 1
    return np.array(
        [
            [int((~left & ~flagged).sum()), int((~left & flagged).sum())],
            [int((left & ~flagged).sum()), int((left & flagged).sum())],
        ]
    )


def describe_cells(counts: np.ndarray) -> list[list[str]]:
    """Describe in each of 3 x 3 cells its count and shares; the last row and column hold the totals.

    Parameters
    ----------
    counts : ndarray of shape (2, 2)
        Rows are actual, columns predicted classes.
    """
    whole = int(counts.sum())
    cells = []
    for i in range(2):
        in_row = int(counts[i].sum())
        row = []
        for j in range(2):
            of_row, of_column = (
                format_share(counts[i, j], in_row),
                format_share(counts[i, j], counts[:, j].sum()),
            )
            row.append(f"{counts[i, j]:,}\n{of_row} of row\n{of_column} of column")
        cells.append([*row, f"{in_row:,}\n{format_share(in_row, whole)} of all"])
    totals = [int(counts[:, j].sum()) for j in range(2)]
    accuracy = format_share(counts[0, 0] + counts[1, 1], whole)
    last = [f"{total:,}\n{format_share(total, whole)} of all" for total in totals]
    return [*cells, [*last, f"{whole:,}\n{accuracy} accuracy"]]


def format_share(part: Any, whole: Any) -> str:
    """Write a share in percent; a dash where the whole is 0."""
    return f"{100 * int(part) / int(whole):.1f} %" if whole else "-"


def draw_confusion_matrix(
    counts: np.ndarray, *, classes: Sequence[str] = CLASSES, title: str | None = None
) -> Figure:
    """Draw counts as a heat map with the share of row and column in each cell, and totals.

    Parameters
    ----------
    counts : ndarray of shape (2, 2)
        Rows are actual, columns predicted classes.
    classes : sequence of two str
        Names of the classes, in the order of `counts`.
    title : str, optional
        Printed above.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.0, 5.0), dpi=150)
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    rows = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, rows, out=np.zeros((2, 2)), where=rows > 0)
    _draw_heat_map(axes, shares, [*classes, "total"])
    _draw_cells(axes, describe_cells(counts), shares)
    axes.set_xlabel("predicted", size=10, labelpad=10)
    axes.set_ylabel("actual", size=10, labelpad=8)
    axes.tick_params(length=0, labelsize=10)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_yticklabels(axes.get_yticklabels(), rotation=0)
    longest = max(map(len, classes))
    left = min(0.11 + 0.012 * longest, 0.36)
    figure.subplots_adjust(left=left, right=0.99, top=0.8 if title else 0.85, bottom=0.01)
    if title:
        figure.suptitle(title, size=11)
    return figure


def _draw_heat_map(axes: Axes, shares: np.ndarray, labels: list[str]) -> None:
    """Shade the four cells by their share of the row; totals stay bare."""
    import seaborn as sns

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
        xticklabels=labels,
        yticklabels=labels,
    )


def _draw_cells(axes: Axes, cells: list[list[str]], shares: np.ndarray) -> None:
    """Write the text of each cell, light on dark shades, and give totals their ground."""
    from matplotlib.patches import Rectangle

    for i in range(3):
        for j in range(3):
            inner = i < 2 and j < 2
            if not inner:
                axes.add_patch(Rectangle((j, i), 1, 1, facecolor=TOTAL, edgecolor="white", linewidth=2))
            colour = "white" if inner and shares[i, j] > DARK else "#1a202c"
            count, _, rest = cells[i][j].partition("\n")
            axes.text(j + 0.5, i + 0.4, count, ha="center", va="center", size=15, weight="bold", color=colour)
            axes.text(j + 0.5, i + 0.68, rest, ha="center", va="center", size=8.5, color=colour)
