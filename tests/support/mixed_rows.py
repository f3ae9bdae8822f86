"""Rows of every kind for models: skewed, even and two-valued numbers, few and many categories, missing."""

import numpy as np
import pandas as pd
from scipy.special import expit

from risk.data.schema import Schema

NUMBERS, TEXTS = ("size", "age", "flag"), ("plan", "city")
KINDS = dict.fromkeys(NUMBERS, "number") | dict.fromkeys(TEXTS, "text")
SCHEMA = Schema((*KINDS, "left"), KINDS, "left", ("1",), ("0",), (), ())


def make_rows(n=400, seed=0, missing=0.1):
    """Draw features and labels; a large size raises the risk."""
    draw = np.random.default_rng(seed)
    size = np.where(draw.random(n) < missing, np.nan, draw.lognormal(3, 1.5, n))
    X = pd.DataFrame({"size": size, "age": draw.normal(40, 10, n), "flag": (draw.random(n) < 0.3) * 1.0})
    X["plan"] = pd.Series(draw.choice(["basic", "pro", "pro", None], n), dtype="str")
    X["city"] = pd.Series([f"city {k}" for k in np.minimum(draw.geometric(0.1, n), 60)], dtype="str")
    risk = expit(np.nan_to_num(size) / 40 + 2 * X["flag"] - 1.5 * (X["plan"] == "basic") - 1)
    y = (draw.random(n) < risk).to_numpy(dtype=np.int64)
    y[:2] = (0, 1)
    return X, y
