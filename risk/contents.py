"""What do the columns of the compiled table hold?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from risk import dataset
from risk.dataset import Schema

if TYPE_CHECKING:
    import pandas as pd

CHUNK_ROWS = 500_000


def compute_statistics(values: pd.Series[float]) -> dict[str, float | int | None]:
    """Describe one numeric column.

    Parameters
    ----------
    values : Series of float64
        NaN is missing and counts nowhere.

    Returns
    -------
    statistics : dict
        n, mean, median, mode (the smallest of the most frequent), std (ddof 1), min, max; None where
        it is not defined (no value; std of one value) or no finite double.
    """
    import math

    import numpy as np

    filled = values.to_numpy(dtype="float64")
    filled = filled[~np.isnan(filled)]
    if not len(filled):
        return {"n": 0, "mean": None, "median": None, "mode": None, "std": None, "min": None, "max": None}
    distinct, counts = np.unique(filled, return_counts=True)
    with np.errstate(over="ignore", invalid="ignore"):
        found = {
            "mean": float(filled.mean()),
            "median": float(np.median(filled)),
            "mode": float(distinct[counts.argmax()]),
            "std": float(filled.std(ddof=1)) if len(filled) > 1 else math.nan,
            "min": float(distinct[0]),
            "max": float(distinct[-1]),
        }
    return {"n": len(filled), **{k: v if math.isfinite(v) else None for k, v in found.items()}}


def describe_columns(
    path: Path, schema: Schema, length: int
) -> tuple[dict[str, dict[str, float | int | None]], dict[str, dict[str, float | int]]]:
    """Read the table once, in chunks; only the numbers are held.

    Returns
    -------
    statistics : dict
        What `compute_statistics` says of each number column.
    missing : dict
        Count and percent of every column. Blank is missing everywhere, the words NA, null and nan in
        number columns only.
    """
    import numpy as np
    import pandas as pd

    numbers: dict[str, list[np.ndarray]] = {name: [] for name in schema.numbers}
    counts = dict.fromkeys(schema.columns, 0)
    n_rows = 0
    for part in dataset.read_texts(path, schema, stop=length, chunk_rows=CHUNK_ROWS):
        n_rows += len(part)
        for name in schema.columns:
            cells = part[name]
            if name in numbers:
                cells = dataset.numbers_of(cells)
                numbers[name].append(cells.to_numpy())
            counts[name] += int(cells.isna().sum())
    statistics = {
        name: compute_statistics(pd.Series(np.concatenate(parts) if parts else [], dtype="float64"))
        for name, parts in numbers.items()
    }
    missing = {
        name: {"count": count, "percent": 100 * count / n_rows if n_rows else 0.0}
        for name, count in counts.items()
    }
    return statistics, missing
