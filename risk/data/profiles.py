"""Profiles of columns at training time, and counts of later rows by them.

A profile is a few kilobytes that stand for the rows of a column ever after: nobody needs a second look at
them. Later rows are counted at its places, here or on a cluster. Nothing depends on the size of a value, so
that one absurd cell neither hides a shift nor makes one.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

N_GRID = 250  # a multiple of the ten bins: every tenth of the rows ends at a grid point
MOST_CATEGORIES, MOST_LETTERS = 200, 6_000
N_BUCKETS = 40


@dataclass(frozen=True)
class NumberProfile:
    """A number column at training time.

    `grid` holds all its distinct values, or about 250 of its order statistics where there are more;
    `at` counts the rows that hold a grid value, `between` those after the previous grid value.
    """

    n: int
    missing: int
    grid: tuple[float, ...]
    at: tuple[int, ...]
    between: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        return {"kind": "number"} | {k: list(v) if isinstance(v, tuple) else v for k, v in vars(self).items()}


@dataclass(frozen=True)
class TextProfile:
    """A text column at training time: rows by category, or by bucket where there are too many.

    A bucket takes whole categories by a checksum of their name. Listing only the most frequent of many
    would choose those that happened to be frequent: each of them would seem to shrink later.
    """

    n: int
    missing: int
    categories: Mapping[str, int] | None
    buckets: tuple[int, ...] | None

    def to_json(self) -> dict[str, Any]:
        buckets = None if self.buckets is None else list(self.buckets)
        categories = None if self.categories is None else dict(self.categories)
        return {
            "kind": "text",
            "n": self.n,
            "missing": self.missing,
            "categories": categories,
            "buckets": buckets,
        }


Profile = NumberProfile | TextProfile


@dataclass(frozen=True)
class NumberCounts:
    """Later rows of a number column, counted by a profile.

    `at` and `between` are as in the profile, `between` with one place more: for rows above the last grid
    value. `middle` is the lower median; None where every cell is missing.
    """

    n: int
    missing: int
    at: tuple[int, ...]
    between: tuple[int, ...]
    middle: float | None


@dataclass(frozen=True)
class TextCounts:
    """Later rows of a text column: by category, also those that are new, or by bucket, as in the profile.

    `others` counts the rows of rare new categories where these are too many to be listed.
    """

    n: int
    missing: int
    categories: Mapping[str, int] | None
    buckets: tuple[int, ...] | None
    others: int = 0


Counts = NumberCounts | TextCounts


# --- training rows -----------------------------------------------------------------------------------------


def make_profiles(X: pd.DataFrame, numbers: Iterable[str], texts: Iterable[str]) -> dict[str, Profile]:
    """Profile each feature of the training rows.

    Parameters
    ----------
    X : DataFrame of shape (n_samples, n_features)
        Numbers as float64, missing NaN; text with NaN, as `frames.frame_of` gives it.
    """
    profiles: dict[str, Profile] = {name: profile_numbers(X[name].to_numpy()) for name in numbers}
    return profiles | {name: profile_texts(X[name]) for name in texts}


def profile_numbers(values: np.ndarray) -> NumberProfile:
    """Profile a number column.

    Parameters
    ----------
    values : ndarray of shape (n_samples,)
        NaN is missing.
    """
    values = np.asarray(values, dtype="float64")
    filled = np.sort(values[~np.isnan(values)])
    firsts = np.flatnonzero(np.diff(filled, prepend=np.nan) != 0)
    if len(firsts) > N_GRID + 1:
        steps = np.arange(1, N_GRID + 1)
        firsts = np.concatenate([[0], -(-len(filled) * steps // N_GRID) - 1])
    grid = np.unique(filled[firsts])
    upto = np.searchsorted(filled, grid, "right")
    below = np.searchsorted(filled, grid, "left")
    between = below - np.concatenate([[0], upto[:-1]])
    return NumberProfile(
        n=len(values),
        missing=len(values) - len(filled),
        grid=tuple(map(float, grid)),
        at=tuple(map(int, upto - below)),
        between=tuple(map(int, between)),
    )


def profile_texts(values: Any) -> TextProfile:
    """Profile a text column of shape (n_samples,); None and NaN are missing."""
    counts, missing = _count_texts(values)
    n = missing + sum(counts.values())
    if len(counts) <= MOST_CATEGORIES and sum(map(len, counts)) <= MOST_LETTERS:
        return TextProfile(n, missing, counts, None)
    return TextProfile(n, missing, None, _count_buckets(counts))


def _count_texts(values: Any) -> tuple[dict[str, int], int]:
    """Count rows by category, most frequent first, and the missing ones."""
    import pandas as pd

    column = pd.Series(values)
    counts = {str(name): int(count) for name, count in column.value_counts().items()}
    ordered = dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
    return ordered, int(column.isna().sum())


def _count_buckets(counts: Mapping[str, int]) -> tuple[int, ...]:
    places = [zlib.crc32(name.encode()) % N_BUCKETS for name in counts]
    counted = np.bincount(places, weights=list(counts.values()), minlength=N_BUCKETS)
    return tuple(map(int, counted))


def from_json(raw: Mapping[str, Any]) -> Profile:
    """Read a profile that `to_json` wrote."""
    if raw["kind"] == "number":
        lists = {name: tuple(raw[name]) for name in ("grid", "at", "between")}
        return NumberProfile(n=raw["n"], missing=raw["missing"], **lists)
    buckets = None if raw["buckets"] is None else tuple(raw["buckets"])
    return TextProfile(raw["n"], raw["missing"], raw["categories"], buckets)


# --- later rows --------------------------------------------------------------------------------------------


def count_columns(profiles: Mapping[str, Profile], X: pd.DataFrame) -> dict[str, Counts]:
    """Count later rows by the profile of each feature.

    Parameters
    ----------
    X : DataFrame of shape (n_samples, n_features)
        Numbers as float64, missing NaN; text with NaN.
    """
    return {name: count(profile, X[name]) for name, profile in profiles.items()}


def count(profile: Profile, values: Any) -> Counts:
    """Count later values of a column, of shape (n_samples,); None and NaN are missing."""
    if isinstance(profile, NumberProfile):
        return _count_numbers(profile, np.asarray(values, dtype="float64"))
    counts, missing = _count_texts(values)
    n = missing + sum(counts.values())
    if profile.categories is None:
        return TextCounts(n, missing, None, _count_buckets(counts))
    return TextCounts(n, missing, counts, None)


def _count_numbers(profile: NumberProfile, values: np.ndarray) -> NumberCounts:
    filled, grid = np.sort(values[~np.isnan(values)]), np.array(profile.grid)
    upto, below = np.searchsorted(filled, grid, "right"), np.searchsorted(filled, grid, "left")
    between = np.append(below, len(filled)) - np.concatenate([[0], upto])
    return NumberCounts(
        n=len(values),
        missing=len(values) - len(filled),
        at=tuple(map(int, upto - below)),
        between=tuple(map(int, between)),
        middle=float(filled[(len(filled) - 1) // 2]) if len(filled) else None,
    )
