"""Texts of reasons that a reader understands without a legend.

A table turns columns into names and units: `{"column": {"name": ..., "unit": ...}}`. A column without an
entry goes by its own name, underscores and humps as spaces.

    lastmonth activity 3, usually 156
    Contract: Month-to-month rather than Two year
    Total Charges is missing, usually 1397
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from risk.prediction.baselines import Baseline, Value

MAX_LETTERS = 40
WHOLE = 1e15  # beyond it a double no longer tells whole numbers apart
MAJORITY = 0.5
MAX_CACHED = 10_000  # names and numbers: those of a large file are mostly the same
_HUMP = re.compile(r"(?<=[a-z][a-z])(?=[A-Z][a-z])")


@dataclass(frozen=True)
class Words:
    """The reader's names and units of columns, as config.json has them."""

    table: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def name(self, column: str) -> str:
        """Name a column for a reader."""
        name = self.table.get(column, {}).get("name")
        return shorten(name or _HUMP.sub(" ", column.replace("_", " ")), 2 * MAX_LETTERS)

    def unit(self, column: str) -> str:
        """Give the unit of a column with the blank before it, or nothing."""
        unit = self.table.get(column, {}).get("unit")
        return f" {unit}" if unit else ""

    def describe_value(self, column: str, baseline: Baseline, value: Value, contrast: Value) -> str:
        """Describe why a value counts.

        Parameters
        ----------
        value : float, str or None
            The cell of the client; None is missing.
        contrast : float, str or None
            The value of the baseline to set it against, or `value` itself when there is nothing to name.
        """
        name, unit = self.name(column), self.unit(column)
        if value is None:
            described = f"{name} is missing"
        elif isinstance(value, str):
            described = f"{name}: {format_value(value)}"
        else:
            described = f"{name} {format_value(value, contrast)}{unit}"
        return described + _format_contrast(baseline, value, contrast, unit if value is None else "")

    def describe_baseline(self, column: str, baseline: Baseline, value: Value) -> str:
        """Describe a value of the baseline of a column: its median, or another value with its share."""
        described = f"{format_value(value)}{self.unit(column) if baseline.is_number else ''}"
        share = baseline.shares[baseline.values.index(value)]
        return described if baseline.is_graded else f"{described} ({100 * share:.0f} %)"


def _format_contrast(baseline: Baseline, value: Value, contrast: Value, unit: str) -> str:
    if contrast == value:
        return ""
    if contrast is None:
        return ", usually missing"
    formatted = f"{format_value(contrast, value)}{unit}"
    if baseline.is_graded or (contrast == baseline.values[0] and baseline.shares[0] >= MAJORITY):
        return f", usually {formatted}"
    return ", usually given" if value is None else f" rather than {formatted}"


def format_value(value: Value, beside: Value = None) -> str:
    """Format a value for a reader; a number so that it can be told from the one beside it."""
    if value is None:
        return "missing"
    if isinstance(value, str):
        return shorten(value, MAX_LETTERS)
    formatted = format_number(value)
    if isinstance(beside, float) and beside != value and format_number(beside) == formatted:
        return repr(value)
    return formatted


@lru_cache(MAX_CACHED)
def format_number(value: float) -> str:
    """Format a number with the four digits that matter, whole ones whole; thousands apart from 10,000 on."""
    if value == round(value) and abs(value) < WHOLE:
        return f"{int(value):,}" if abs(value) >= 10_000 else str(int(value))
    if 1000 <= abs(value) < WHOLE:
        return format_number(float(round(value)))
    return f"{value:.4g}"


@lru_cache(MAX_CACHED)
def shorten(text: str, letters: int) -> str:
    """Put a text on one line and cut it."""
    if not text.isprintable():
        text = "".join(sign if sign.isprintable() else " " for sign in text)
    text = " ".join(text.split())
    return text if len(text) <= letters else text[: letters - 1].rstrip() + "…"
