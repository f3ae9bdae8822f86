"""Frames and targets of a model, made of checked rows."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from risk.data.schema import Schema, parse_label, parse_number

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


def to_frame(rows: Sequence[Mapping[str, str]], schema: Schema) -> pd.DataFrame:
    """Make the model's frame of checked rows: numbers as float64 with NaN, the rest as text with NaN."""
    return frame_of(to_columns(rows, schema), schema)


def to_columns(rows: Sequence[Mapping[str, str]], schema: Schema) -> dict[str, list[Any]]:
    """Make columns of checked rows: numbers as floats with NaN, texts with None where there is none."""
    columns: dict[str, list[Any]] = {}
    for name in schema.features:
        cells = [row.get(name, "") for row in rows]
        is_number = schema.kinds[name] == "number"
        columns[name] = [parse_number(cell) if is_number else cell or None for cell in cells]
    return columns


def frame_of(columns: Mapping[str, Any], schema: Schema) -> pd.DataFrame:
    """Make the model's frame of such columns."""
    import pandas as pd

    data = {
        name: pd.Series(columns[name], dtype="float64" if schema.kinds[name] == "number" else "str")
        for name in schema.features
    }
    return pd.DataFrame(data, columns=schema.features)


def to_target(rows: Iterable[Mapping[str, str]], schema: Schema) -> np.ndarray:
    """Make the label of checked rows: 1.0 leaves, 0.0 stays, NaN unlabelled."""
    import numpy as np

    labels = (row.get(schema.target, "") for row in rows)
    values = [parse_label(text, schema) if text else math.nan for text in labels]
    return np.array(values, dtype="float64")


def read_texts(
    path: Path,
    schema: Schema,
    *,
    start: int = 0,
    stop: int,
    usecols: Sequence[str] | None = None,
    chunk_rows: int | None = None,
) -> Iterator[pd.DataFrame]:
    """Read rows of the compiled table as text, missing NaN, in one frame or in chunks."""
    import pandas as pd

    with path.open("rb") as handle:
        handle.seek(start)
        whole = start == 0 and path.stat().st_size == stop
        source: Any = handle if whole else io.BytesIO(handle.read(stop - start))
        settings: dict[str, Any] = {"usecols": usecols, "chunksize": chunk_rows}
        result: Any = pd.read_csv(
            source,
            dtype="str",
            names=list(schema.columns),
            header=0 if start == 0 else None,
            keep_default_na=False,
            na_values=[""],
            encoding="utf-8",
            **settings,
        )
        yield from [result] if chunk_rows is None else result


def numbers_of(cells: pd.Series[Any]) -> pd.Series[Any]:
    """Turn checked text cells of a number column into float64 with NaN.

    Parameters
    ----------
    cells : Series of shape (n_samples,)
        Texts as `read_texts` gives them, NaN where missing.
    """
    import numpy as np
    import pandas as pd

    texts = cells.to_numpy(dtype=object, na_value=math.nan)
    try:
        values = texts.astype("float64")
    except ValueError:
        values = np.array([parse_number(t) if isinstance(t, str) else t for t in texts], dtype="float64")
    return pd.Series(values, index=cells.index, name=cells.name)
