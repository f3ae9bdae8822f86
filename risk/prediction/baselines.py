"""Baselines of columns: what the training rows held there, read from the model card.

Every effect and every reason is measured against the baseline: a number against its median, a category or a
number of two values against the mix of all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

UNLISTED = "\0"  # stands for the categories that the card does not list; no cell can hold it
Value = float | str | None


@dataclass(frozen=True)
class Baseline:
    """The values that stand for one column.

    Attributes
    ----------
    is_number : bool
    values : tuple
        The most frequent first, None is missing, `UNLISTED` a category that the card does not list. Of a
        number with more than two values the median alone, or None where most cells were missing.
    shares : tuple of float
        Of training rows, for each value; their sum is 1.
    """

    is_number: bool
    values: tuple[Value, ...]
    shares: tuple[float, ...]

    @property
    def is_graded(self) -> bool:
        """Whether one value stands for the whole column: a number that has a median."""
        return self.is_number and len(self.values) == 1

    def top(self, n: int) -> Baseline:
        """Keep the `n` most frequent values alone."""
        total = sum(self.shares[:n])
        return Baseline(self.is_number, self.values[:n], tuple(share / total for share in self.shares[:n]))


def make_column(values: Any, *, is_number: bool) -> pd.Series[Any]:
    """Make a column of a model's frame; None is missing."""
    import pandas as pd

    return pd.Series(list(values), dtype="float64" if is_number else "str")


def make_baselines(card: Mapping[str, Any]) -> dict[str, Baseline]:
    """Make the baseline of each feature from a model card."""
    n_rows, profiles = card["data"]["n_samples"], card.get("profiles", {})
    kinds = card["schema"]["kinds"]
    return {
        name: _make_for_number(facts, profiles.get(name, {}), n_rows)
        if kinds[name] == "number"
        else _make_from_counts(False, facts["categories"], facts["missing"], n_rows)
        for name, facts in card["features"].items()
    }


def _make_for_number(facts: Mapping[str, Any], profile: Mapping[str, Any], n_rows: int) -> Baseline:
    grid, at = profile.get("grid", ()), profile.get("at", ())
    if len(grid) == 2 and sum(at) == n_rows - facts["missing"]:
        return _make_from_counts(True, dict(zip(grid, at, strict=True)), facts["missing"], n_rows)
    median = None if 2 * facts["missing"] > n_rows else facts.get("median")
    return Baseline(True, (median,), (1.0,))


def _make_from_counts(is_number: bool, counts: Mapping[Any, int], n_missing: int, n_rows: int) -> Baseline:
    n_unlisted = n_rows - n_missing - sum(counts.values())
    listed = [(value, n) for value, n in [(None, n_missing), *counts.items()] if n]
    listed.sort(key=lambda one: -one[1])
    if n_unlisted:
        listed.append((UNLISTED, n_unlisted))
    return Baseline(is_number, tuple(value for value, _ in listed), tuple(n / n_rows for _, n in listed))
