"""What does a row of the history hold, in whichever database?

A row's `id` is made of what the row says, so writing it again changes nothing. Standard library only.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

VERSION = 4  # of the tables
PRUNED_AT_ONCE = 10_000
Lengths = Mapping[str, int | None]


def complete(name: str, columns: Lengths, rows: Iterable[Mapping[str, Any]], at: str) -> list[dict[str, Any]]:
    """Make whole rows of a table, each once, in the order of their keys.

    In that order two writers never wait for each other in a ring.

    Parameters
    ----------
    columns : mapping of str to int or None
        The columns of the table; of a text how many characters fit.
    rows : iterable of mapping
        A row may bring its own `key` (what makes it unique); otherwise its values and `at` do.

    Raises
    ------
    ValueError
        When a row has a value for which there is no column.
    """
    values = {value["id"]: value for value in (_complete(name, columns, row, at) for row in rows)}
    return [values[key] for key in sorted(values)]


def _complete(name: str, columns: Lengths, given: Mapping[str, Any], at: str) -> dict[str, Any]:
    """Make a whole row: its id, every column, texts that fit, nothing that is not finite."""
    row = dict(given)
    key = row.pop("key", None) or [at, row]
    text = json.dumps([name, key], sort_keys=True, default=str)
    values: dict[str, Any] = {"id": hashlib.sha256(text.encode()).hexdigest(), "at": at}
    for column in columns.keys() - values.keys():
        value = row.pop(column, None)
        if isinstance(value, float) and not math.isfinite(value):
            value = None
        if isinstance(value, str):
            # No database holds half a character, and PostgreSQL no NUL.
            value = value.encode(errors="replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
            value = value[: columns[column]]
        values[column] = value
    if row:
        raise ValueError(f"{name} has no column {', '.join(row)}")
    return values
