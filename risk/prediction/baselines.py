"""What is usual in a column: what the training rows held there, as the model card tells it.

Everything that is said of a client is said against this: a number against its median, a category or a
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
class Usual:
    """What stands for one column.

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
        """Say whether one value stands for the whole column: a number that has a middle."""
        return self.is_number and len(self.values) == 1

    def shortened(self, n: int) -> Usual:
        """Give the `n` most frequent values alone."""
        total = sum(self.shares[:n])
        return Usual(self.is_number, self.values[:n], tuple(share / total for share in self.shares[:n]))


def to_cells(values: Any, *, is_number: bool) -> pd.Series[Any]:
    """Make a column of a model's frame; None is missing."""
    import pandas as pd

    return pd.Series(list(values), dtype="float64" if is_number else "str")


def read_card(card: Mapping[str, Any]) -> dict[str, Usual]:
    """Read what is usual in each feature from a model card."""
    n, profiles = card["data"]["n_samples"], card.get("profiles", {})
    kinds = card["schema"]["kinds"]
    return {
        name: _of_number(facts, profiles.get(name, {}), n) if kinds[name] == "number" else _of_text(facts, n)
        for name, facts in card["features"].items()
    }


def _of_number(facts: Mapping[str, Any], profile: Mapping[str, Any], n: int) -> Usual:
    grid, at = profile.get("grid", ()), profile.get("at", ())
    if len(grid) == 2 and sum(at) == n - facts["missing"]:
        return _of_counts(True, dict(zip(grid, at, strict=True)), facts["missing"], n)
    middle = None if 2 * facts["missing"] > n else facts.get("median")
    return Usual(True, (middle,), (1.0,))


def _of_text(facts: Mapping[str, Any], n: int) -> Usual:
    return _of_counts(False, facts["categories"], facts["missing"], n)


def _of_counts(is_number: bool, counts: Mapping[Any, int], missing: int, n: int) -> Usual:
    rest = n - missing - sum(counts.values())
    listed = [(None, missing), *counts.items()]
    listed.sort(key=lambda one: -one[1])
    kept = [*((value, count) for value, count in listed if count), *([(UNLISTED, rest)] if rest else [])]
    return Usual(is_number, tuple(value for value, _ in kept), tuple(count / n for _, count in kept))
