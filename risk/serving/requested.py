"""The clients a request asks about, as the model takes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from risk.data import schema as schema_
from risk.data.schema import Schema

MAX_PROBLEMS = 20


@dataclass(frozen=True)
class ClientChunk:
    """Some clients of a request, in order.

    Attributes
    ----------
    columns : dict of str to sequence
        The features of the good ones: numbers with NaN, texts with None where a cell is missing.
    labels : callable
        Says of the k-th good client where it stood, with its ids.
    cells : list of sequence of str
        Every column of the header as text, of all of them, bad ones too.
    problems : dict of int to dict
        What is wrong with a bad one, by its place in each of `cells`.
    """

    columns: Mapping[str, Any]
    labels: Callable[[int], dict[str, Any]]
    cells: Sequence[Sequence[str]]
    problems: Mapping[int, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class RequestedClients:
    """The clients a request asks about, a chunk at a time; of `is_partial` ones the bad are listed."""

    header: tuple[str, ...]
    chunks: Iterator[ClientChunk]
    is_partial: bool = False


def find_problem(cells: Mapping[str, str | None], schema: Schema) -> dict[str, str] | None:
    """Find the first cell that the model cannot take."""
    texts = {}
    for name, text in cells.items():
        if text is None:
            return {"column": name, "reason": "is neither text, a number, true, false nor null"}
        texts[name] = text
    problem = schema_.find_problem(texts, schema)
    return {"column": problem.column, "reason": problem.reason} if problem else None
