"""The words of labels as config.json names them.

Standard library only: config.json is read by a run with nothing new.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

REST = "rest"  # as negative_label: any word that is not positive
Label = str | Sequence[str] | None  # a word or several
_WHOLE = re.compile(r"[+-]?[0-9]+(\.0)?")


def is_label(value: Any) -> bool:
    """Say whether a value of config.json is a word, a whole number, true or false."""
    if isinstance(value, str):
        return bool(value.strip())
    return isinstance(value, int | float) and math.isfinite(value) and value == int(value)


def are_labels(value: Any) -> bool:
    """Say whether a value is a label, or a list of different ones."""
    if not isinstance(value, list):
        return is_label(value)
    return bool(value) and all(map(is_label, value)) and len({*map(_as_word, value)}) == len(value)


def as_labels(value: Any) -> str | tuple[str, ...] | None:
    """Give the words of a value as texts."""
    if isinstance(value, list):
        return tuple(map(_as_word, value))
    return None if value is None else _as_word(value)


def _as_word(value: str | int | float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value).strip()


def name_words(label: Label) -> tuple[str, ...]:
    """Give the words of a configured label in lower case; a whole number may be written 1 or 1.0."""
    words = (label,) if isinstance(label, str) else label or ()
    found: dict[str, None] = {}
    for word in map(str.lower, words):
        found[word] = None
        if _WHOLE.fullmatch(word):
            found |= dict.fromkeys((word.removesuffix(".0"), f"{word.removesuffix('.0')}.0"))
    return tuple(found)


def explain_conflict(positive: Any, negative: Any) -> str | None:
    """Say why two valid values cannot stand beside each other, or None."""
    if negative == REST:
        return None if positive is not None else '"rest" needs a positive_label, of which it is the rest'
    both = [word for word in name_words(as_labels(positive)) if word in name_words(as_labels(negative))]
    return f"{both[0]!r} is a positive_label already" if both else None
