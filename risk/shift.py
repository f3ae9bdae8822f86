"""How far has a column moved since training?

A profile is what is kept of a column at training time: a few kilobytes that stand for its rows ever
after. A test that compares later rows with it needs no second look at the training rows. Nothing here
depends on the size of a value, so that one absurd cell neither hides a shift nor makes one.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from risk import samples

if TYPE_CHECKING:
    import pandas as pd

MODERATE, LARGE = 0.1, 0.25  # the rule of thumb for PSI
N_BINS = samples.N_BINS
N_GRID = 250  # a multiple of N_BINS: every tenth of the rows ends at a grid point
FEW_VALUES = 5
N_LISTED = 40
MOST_CATEGORIES, MOST_LETTERS = 200, 6_000
N_BUCKETS = 40


@dataclass(frozen=True)
class NumberProfile:
    """A number column at training time.

    `grid` holds all its distinct values, or about 250 of its order statistics where there are more;
    `at` counts the rows that hold a grid value, `between` those behind the grid value before.
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
class ColumnShift:
    """How far one column has moved; `p_value`, `psi` and `ks` are None where they are not defined.

    `unseen` counts rows with a category that training did not have (None: too many to tell, or a
    number); `out_of_range` rows below the lowest or above the highest number of training.
    `p_adjusted` is the p-value among all columns tested with this one (Benjamini-Hochberg).
    """

    column: str
    kind: str
    n_reference: int
    n: int
    psi: float | None
    psi_critical: float | None
    ks: float | None
    p_value: float | None
    p_adjusted: float | None
    missing_reference: int
    missing: int
    unseen: int | None
    out_of_range: int | None
    material: bool
    change: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


# --- profiles ----------------------------------------------------------------------------------------------


def make_profiles(X: pd.DataFrame, numbers: Iterable[str], texts: Iterable[str]) -> dict[str, Profile]:
    """Profile each feature of the training rows.

    Parameters
    ----------
    X : DataFrame of shape (n_samples, n_features)
        Numbers as float64, missing NaN; text with NaN, as `dataset.read_table` gives it.
    """
    profiles: dict[str, Profile] = {name: profile_numbers(X[name].to_numpy()) for name in numbers}
    return profiles | {name: profile_texts(X[name]) for name in texts}


def profile_numbers(values: np.ndarray) -> NumberProfile:
    """Profile a number column of shape (n_samples,); NaN is missing."""
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
    return TextProfile(n, missing, None, tuple(map(int, _count_buckets(counts))))


def _count_texts(values: Any) -> tuple[dict[str, int], int]:
    """Count rows by category, most frequent first, and the missing ones."""
    import pandas as pd

    column = pd.Series(values)
    counts = {str(name): int(count) for name, count in column.value_counts().items()}
    ordered = dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
    return ordered, int(column.isna().sum())


def _count_buckets(counts: Mapping[str, int]) -> np.ndarray:
    places = [zlib.crc32(name.encode()) % N_BUCKETS for name in counts]
    return np.bincount(places, weights=list(counts.values()), minlength=N_BUCKETS).astype(int)


def from_json(raw: Mapping[str, Any]) -> Profile:
    """Read a profile that `to_json` wrote."""
    if raw["kind"] == "number":
        lists = {name: tuple(raw[name]) for name in ("grid", "at", "between")}
        return NumberProfile(n=raw["n"], missing=raw["missing"], **lists)
    buckets = None if raw["buckets"] is None else tuple(raw["buckets"])
    return TextProfile(raw["n"], raw["missing"], raw["categories"], buckets)


# --- comparison --------------------------------------------------------------------------------------------


def compare_columns(profiles: Mapping[str, Profile], X: pd.DataFrame) -> tuple[ColumnShift, ...]:
    """Compare each profiled column of new rows; p-values adjusted over all of them."""
    shifts = [compare(profile, X[name], column=name) for name, profile in profiles.items()]
    tested = [i for i, shift in enumerate(shifts) if shift.p_value is not None]
    adjusted = samples.benjamini_hochberg([float(shifts[i].p_value or 0.0) for i in tested])
    for i, p in zip(tested, adjusted, strict=True):
        shifts[i] = replace(shifts[i], p_adjusted=float(p))
    return tuple(shifts)


def compare(profile: Profile, values: Any, *, column: str = "") -> ColumnShift:
    """Compare new values of a column, of shape (n_samples,), with its profile."""
    if isinstance(profile, NumberProfile):
        return _compare_numbers(profile, np.asarray(values, dtype="float64"), column)
    return _compare_texts(profile, values, column)


def _compare_numbers(profile: NumberProfile, values: np.ndarray, column: str) -> ColumnShift:
    filled = np.sort(values[~np.isnan(values)])
    grid, at = np.array(profile.grid), np.array(profile.at, dtype=int)
    upto = np.cumsum(at + np.array(profile.between, dtype=int))
    now_upto, now_below = np.searchsorted(filled, grid, "right"), np.searchsorted(filled, grid, "left")
    n, n_reference, missing = len(filled), profile.n - profile.missing, len(values) - len(filled)
    ks, p_value, out = None, None, None
    if n and n_reference:
        gaps = [upto / n_reference - now_upto / n, (upto - at) / n_reference - now_below / n]
        ks = float(np.abs(gaps).max())
        out = int(now_below[0] + n - now_upto[-1])
        p_value = samples.ks_p_value(ks, n_reference, n)
        if len(grid) <= FEW_VALUES:
            others = n - int((now_upto - now_below).sum())
            p_value = samples.categories_p_value(np.append(at, 0), np.append(now_upto - now_below, others))
    bins = _bin_ends(upto, n_reference)
    counts = [_bins_of(upto, upto - at, bins, profile.n, n_reference)]
    counts += [_bins_of(now_upto, now_below, bins, len(values), n)]
    p_missing = samples.compare_shares(profile.missing, profile.n, missing, len(values))
    return ColumnShift(
        column=column,
        kind="number",
        n_reference=profile.n,
        n=len(values),
        **_stability(*counts),
        ks=ks,
        p_value=_either(p_value, p_missing, profile.missing + missing, len(values)),
        p_adjusted=None,
        missing_reference=profile.missing,
        missing=missing,
        unseen=None,
        out_of_range=out,
        change=_tell_numbers(profile, filled, missing, upto),
    )


def _bin_ends(upto: np.ndarray, n_reference: int) -> np.ndarray:
    """Find the grid points that end the bins: the first with k tenths of the rows at or below it."""
    if not n_reference:
        return np.array([], dtype=int)
    return np.unique(np.searchsorted(upto * N_BINS, n_reference * np.arange(1, N_BINS + 1)))


def _bins_of(upto: np.ndarray, below: np.ndarray, ends: np.ndarray, n: int, n_filled: int) -> np.ndarray:
    """Count rows below, up to each end, above, missing."""
    first = below[:1] if len(ends) else [0]
    return np.diff(np.concatenate([[0], first, upto[ends], [n_filled, n]])).astype(int)


def _either(p_value: float | None, p_missing: float, n_missing: int, n: int) -> float | None:
    """Join the test of the values with that of the missing share; with no missing cell there is one only."""
    if not n:
        return None
    if not n_missing:
        return p_value
    if p_value is None:
        return p_missing
    return min(1.0, 2 * min(p_value, p_missing))


def _compare_texts(profile: TextProfile, values: Any, column: str) -> ColumnShift:
    counts, missing = _count_texts(values)
    n, unseen = missing + sum(counts.values()), None
    if profile.categories is None:
        reference = np.append(profile.buckets or (), profile.missing).astype(int)
        current = np.append(_count_buckets(counts), missing)
        p_value = samples.chi_square(reference, current)[2]
    else:
        known = profile.categories
        unseen = sum(count for name, count in counts.items() if name not in known)
        names = _shuffle({*known, *counts})
        reference = np.array([profile.missing, *(known.get(name, 0) for name in names)])
        current = np.array([missing, *(counts.get(name, 0) for name in names)])
        p_value = samples.categories_p_value(reference, current)
        reference, current = _list_few(
            reference, current, np.array([name in known for name in names], dtype=bool)
        )
    return ColumnShift(
        column=column,
        kind="text",
        n_reference=profile.n,
        n=n,
        **_stability(reference, current),
        ks=None,
        p_value=p_value if n else None,
        p_adjusted=None,
        missing_reference=profile.missing,
        missing=missing,
        unseen=unseen,
        out_of_range=None,
        change=_tell_texts(profile, counts, missing, n),
    )


def _shuffle(names: Iterable[str]) -> list[str]:
    """Order names by checksum: whatever else orders them may tell the samples apart, and ties are joined."""
    return sorted(names, key=lambda name: (zlib.crc32(name.encode()), name))


def _list_few(reference: np.ndarray, current: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Keep the bins of the 40 largest known categories; missing, the rest and the unseen are one each.

    Some new rows are unseen without any shift, about as large a share as had a category to themselves at
    training time [1]_: these stand for the unseen then.

    References
    ----------
    .. [1] I. J. Good, "The Population Frequencies of Species and the Estimation of Population
       Parameters", Biometrika 40 (1953), pp. 237-264.
    """
    both = np.where(known, (reference + current)[1:], 0)
    listed = np.argsort(-both, kind="stable")[: min(N_LISTED, int(known.sum()))] + 1
    rest = np.setdiff1d(np.flatnonzero(known) + 1, listed)
    alone = int((reference[rest] == 1).sum())
    before = np.array([reference[0], *reference[listed], reference[rest].sum() - alone, alone])
    unseen = current[1:][~known].sum()
    return before, np.array([current[0], *current[listed], current[rest].sum(), unseen])


def _stability(reference: np.ndarray, current: np.ndarray) -> dict[str, Any]:
    """Compute PSI with its critical value; material is what exceeds the mean noise by a moderate shift."""
    if not reference.sum() or not current.sum():
        return {"psi": None, "psi_critical": None, "material": False}
    psi = samples.stability_of_counts(reference, current)
    noise, critical = samples.stability_noise(reference, current)
    return {"psi": psi, "psi_critical": critical, "material": psi - noise >= MODERATE}


def _tell_numbers(profile: NumberProfile, filled: np.ndarray, missing: int, upto: np.ndarray) -> str:
    """Say in words what moved: the middle, the missing share."""
    parts, n = [], len(filled) + missing
    if len(filled) and len(upto):
        middle = profile.grid[int(np.searchsorted(upto * 2, upto[-1]))]
        parts.append(f"median {middle:.4g} → {filled[(len(filled) - 1) // 2]:.4g}")
    return ", ".join(parts + _tell_missing(profile, missing, n))


def _tell_texts(profile: TextProfile, counts: Mapping[str, int], missing: int, n: int) -> str:
    """Say in words what moved: the category that changed most, the missing share."""
    known, parts = profile.categories or {}, []
    if n and known:

        def gap(name: str) -> float:
            return abs(counts.get(name, 0) / n - known.get(name, 0) / profile.n)

        most = max(sorted({*known, *counts}), key=gap)
        before, after = known.get(most, 0) / profile.n, counts.get(most, 0) / n
        parts.append(f"{most!r} {100 * before:.0f} % → {100 * after:.0f} %")
    return ", ".join(parts + _tell_missing(profile, missing, n))


def _tell_missing(profile: Profile, missing: int, n: int) -> list[str]:
    if not n or not profile.n or not missing + profile.missing:
        return []
    return [f"missing {100 * profile.missing / profile.n:.0f} % → {100 * missing / n:.0f} %"]
