"""The compiled table read by pandas alone, to compare our readers with."""

import pandas as pd

from risk.data.frames import numbers_of, read_texts


def read_table(path, schema, *, start=0, stop):
    """Read features and labels (1.0, 0.0, NaN) between two offsets at which rows begin."""
    words = dict.fromkeys(schema.positive, 1.0) | dict.fromkeys(schema.negative, 0.0)
    wanted = [*schema.features, schema.target]
    (raw,) = read_texts(path, schema, start=start, stop=stop, usecols=wanted)
    frame = {}
    for name in schema.features:
        frame[name] = numbers_of(raw[name]) if schema.kinds[name] == "number" else raw[name]
    y = raw[schema.target].str.lower().map(words).to_numpy(dtype="float64")
    return pd.DataFrame(frame, columns=schema.features), y
