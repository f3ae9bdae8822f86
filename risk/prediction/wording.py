"""How is a reason said, so that nobody needs a legend?

One table of words turns columns into names and units: `{"column": {"name": ..., "unit": ...}}`. A column
without an entry is called by its own name, underscores and humps as spaces.

    lastmonth activity 3, usually 156
    Contract: Month-to-month rather than Two year
    Total Charges is missing, usually 1397
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from risk.prediction.baselines import Usual, Value

MOST_LETTERS = 40
WHOLE = 1e15  # beyond it a double no longer tells whole numbers apart
MAJORITY = 0.5
KEPT = 10_000  # names and numbers that were written already: those of a large file are mostly the same
_HUMP = re.compile(r"(?<=[a-z][a-z])(?=[A-Z][a-z])")


@dataclass(frozen=True)
class Words:
    """The table of words, as config.json has it."""

    table: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def name(self, column: str) -> str:
        """Give the name of a column for a reader."""
        given = self.table.get(column, {}).get("name")
        return shorten(given or _HUMP.sub(" ", column.replace("_", " ")), 2 * MOST_LETTERS)

    def unit(self, column: str) -> str:
        """Give the unit of a column with the blank before it, or nothing."""
        unit = self.table.get(column, {}).get("unit")
        return f" {unit}" if unit else ""

    def say(self, column: str, usual: Usual, value: Value, contrast: Value) -> str:
        """Say why a value counts.

        Parameters
        ----------
        value : float, str or None
            The cell of the client; None is missing.
        contrast : float, str or None
            What it is set against: what is usual, or `value` itself when there is nothing to name.
        """
        name, unit = self.name(column), self.unit(column)
        if value is None:
            said = f"{name} is missing"
        elif isinstance(value, str):
            said = f"{name}: {say_value(value)}"
        else:
            said = f"{name} {say_value(value, contrast)}{unit}"
        return said + _against(usual, value, contrast, unit if value is None else "")

    def say_usual(self, column: str, usual: Usual) -> str:
        """Say what is usual in a column: its middle, or the most frequent value with its share."""
        said = f"{say_value(usual.values[0])}{self.unit(column) if usual.is_number else ''}"
        return said if usual.is_graded else f"{said} ({100 * usual.shares[0]:.0f} %)"


def _against(usual: Usual, value: Value, contrast: Value, unit: str) -> str:
    if contrast == value:
        return ""
    if contrast is None:
        return ", usually missing"
    named = f"{say_value(contrast, value)}{unit}"
    if usual.is_graded or (contrast == usual.values[0] and usual.shares[0] >= MAJORITY):
        return f", usually {named}"
    return ", usually given" if value is None else f" rather than {named}"


def say_value(value: Value, beside: Value = None) -> str:
    """Write a value for a reader; a number so that it can be told from the one beside it."""
    if value is None:
        return "missing"
    if isinstance(value, str):
        return shorten(value, MOST_LETTERS)
    said = say_number(value)
    if isinstance(beside, float) and beside != value and say_number(beside) == said:
        return repr(value)
    return said


@lru_cache(KEPT)
def say_number(value: float) -> str:
    """Write a number with the four digits that matter, whole ones whole; thousands apart from 10,000 on."""
    if value == round(value) and abs(value) < WHOLE:
        return f"{int(value):,}" if abs(value) >= 10_000 else str(int(value))
    if 1000 <= abs(value) < WHOLE:
        return say_number(float(round(value)))
    return f"{value:.4g}"


@lru_cache(KEPT)
def shorten(text: str, letters: int) -> str:
    """Put a text on one line and cut it."""
    if not text.isprintable():
        text = "".join(sign if sign.isprintable() else " " for sign in text)
    text = " ".join(text.split())
    return text if len(text) <= letters else text[: letters - 1].rstrip() + "…"
