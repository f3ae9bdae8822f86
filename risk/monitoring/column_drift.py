"""Drift of columns: new rows against what the profile of a column keeps of the training rows.

Statistics and tests count the noise of both sides. To add a statistic, write a function of `BinnedColumn`,
a row of `STATISTICS` and a field of `ColumnShift`; the history has a column for it, the report a place.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from risk.data.profiles import Counts, NumberCounts, NumberProfile, Profile, TextCounts, TextProfile
from risk.metrics import significance, two_sample

MODERATE, LARGE = 0.1, 0.25  # the rule of thumb for PSI
N_BINS = two_sample.N_BINS
FEW_VALUES = 5
N_LISTED = 40


@dataclass(frozen=True)
class ColumnShift:
    """The shift of one column; `p_value`, `psi` and `ks` are None where they are not defined.

    `unseen` counts rows with a category that training did not have (None: too many to count, or a
    number); `out_of_range` rows below the lowest or above the highest number of training.
    `p_adjusted` is the p-value among all columns tested with this one (Benjamini-Hochberg). `material`:
    PSI exceeds its mean under noise alone by a moderate shift.
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


@dataclass(frozen=True)
class BinnedColumn:
    """Training rows and new rows of one column, counted in the same bins.

    Parameters
    ----------
    reference, current : ndarray of int, shape (n_bins,)
        Rows in each bin then and now; missing cells are a bin.
    ks : float or None
        The largest gap between the distribution functions, of a column of numbers.
    p_value : float or None
        Of the test that both are samples of one distribution.
    unseen, out_of_range : int or None
        As `ColumnShift` has them.
    """

    reference: np.ndarray
    current: np.ndarray
    ks: float | None
    p_value: float | None
    unseen: int | None
    out_of_range: int | None

    @cached_property
    def noise(self) -> tuple[float, float] | None:
        """The mean of PSI without any shift, and what 5 % exceed; None where a side has no row."""
        if not self.reference.sum() or not self.current.sum():
            return None
        return two_sample.stability_noise(self.reference, self.current)


# --- statistics --------------------------------------------------------------------------------------------


def compute_psi(column: BinnedColumn) -> float | None:
    """Compute the population stability index; None where a side has no row."""
    return two_sample.stability_of_counts(column.reference, column.current) if column.noise else None


def compute_critical_psi(column: BinnedColumn) -> float | None:
    """Compute the PSI that 5 % of columns exceed without any shift."""
    return column.noise[1] if column.noise else None


STATISTICS: dict[str, Callable[[BinnedColumn], float | None]] = {
    "psi": compute_psi,
    "psi_critical": compute_critical_psi,
    "ks": lambda column: column.ks,
}
# The fields of a shift that the history keeps in a row of their own.
RECORDED = ("n", *STATISTICS, "p_value", "p_adjusted", "missing", "unseen", "out_of_range", "material")


# --- comparing ---------------------------------------------------------------------------------------------


def compare_columns(profiles: Mapping[str, Profile], now: Mapping[str, Counts]) -> tuple[ColumnShift, ...]:
    """Compare each profiled column of new rows; p-values adjusted over all of them."""
    shifts = [compare_column(profile, now[name], column=name) for name, profile in profiles.items()]
    tested = [i for i, shift in enumerate(shifts) if shift.p_value is not None]
    adjusted = significance.benjamini_hochberg([float(shifts[i].p_value or 0.0) for i in tested])
    for i, p in zip(tested, adjusted, strict=True):
        shifts[i] = replace(shifts[i], p_adjusted=float(p))
    return tuple(shifts)


def compare_column(profile: Profile, now: Counts, *, column: str = "") -> ColumnShift:
    """Compare new rows of a column with its profile.

    Raises
    ------
    TypeError
        When they were counted by a profile of another kind.
    """
    if isinstance(profile, NumberProfile) and isinstance(now, NumberCounts):
        kind, binned, change = "number", _bin_numbers(profile, now), _describe_numbers(profile, now)
    elif isinstance(profile, TextProfile) and isinstance(now, TextCounts):
        kind, binned, change = "text", _bin_texts(profile, now), _describe_texts(profile, now)
    else:
        raise TypeError(f"{column}: counted by a profile of another kind")
    statistics: dict[str, Any] = {name: compute(binned) for name, compute in STATISTICS.items()}
    return ColumnShift(
        column=column,
        kind=kind,
        n_reference=profile.n,
        n=now.n,
        **statistics,
        p_value=binned.p_value,
        p_adjusted=None,
        missing_reference=profile.missing,
        missing=now.missing,
        unseen=binned.unseen,
        out_of_range=binned.out_of_range,
        material=binned.noise is not None and statistics["psi"] - binned.noise[0] >= MODERATE,
        change=change,
    )


def _bin_numbers(profile: NumberProfile, now: NumberCounts) -> BinnedColumn:
    at, now_at = np.array(profile.at, dtype=int), np.array(now.at, dtype=int)
    upto = np.cumsum(at + np.array(profile.between, dtype=int))
    now_upto = np.cumsum(now_at + np.array(now.between[:-1], dtype=int))
    now_below = now_upto - now_at
    n, n_reference = now.n - now.missing, profile.n - profile.missing
    ks, p_value, out = None, None, None
    if n and n_reference:
        gaps = [upto / n_reference - now_upto / n, (upto - at) / n_reference - now_below / n]
        ks = float(np.abs(gaps).max())
        out = int(now_below[0] + n - now_upto[-1])
        p_value = two_sample.ks_p_value(ks, n_reference, n)
        if len(at) <= FEW_VALUES:
            others = n - int(now_at.sum())
            p_value = two_sample.categories_p_value(np.append(at, 0), np.append(now_at, others))
    bins = _bin_ends(upto, n_reference)
    p_missing = two_sample.compare_shares(profile.missing, profile.n, now.missing, now.n)
    return BinnedColumn(
        reference=_bins_of(upto, upto - at, bins, profile.n, n_reference),
        current=_bins_of(now_upto, now_below, bins, now.n, n),
        ks=ks,
        p_value=_either(p_value, p_missing, profile.missing + now.missing, now.n),
        unseen=None,
        out_of_range=out,
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


def _bin_texts(profile: TextProfile, now: TextCounts) -> BinnedColumn:
    unseen = None
    if profile.categories is None:
        reference = np.append(profile.buckets or (), profile.missing).astype(int)
        current = np.append(now.buckets or (), now.missing).astype(int)
        p_value = two_sample.chi_square(reference, current)[2]
    else:
        known, counts = profile.categories, now.categories or {}
        unseen = now.others + sum(count for name, count in counts.items() if name not in known)
        names = _shuffle({*known, *counts})
        reference = np.array([profile.missing, *(known.get(name, 0) for name in names)])
        current = np.array([now.missing, *(counts.get(name, 0) for name in names)])
        is_known = np.array([name in known for name in names], dtype=bool)
        if now.others:
            reference, current = np.append(reference, 0), np.append(current, now.others)
            is_known = np.append(is_known, False)
        p_value = two_sample.categories_p_value(reference, current)
        reference, current = _list_few(reference, current, is_known)
    return BinnedColumn(reference, current, None, p_value if now.n else None, unseen, None)


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


# --- sentences ---------------------------------------------------------------------------------------------


def _describe_numbers(profile: NumberProfile, now: NumberCounts) -> str:
    """Describe what changed: the median, the missing share."""
    parts = []
    upto = np.cumsum(np.array(profile.at, dtype=int) + np.array(profile.between, dtype=int))
    if now.middle is not None and len(upto):
        median = profile.grid[int(np.searchsorted(upto * 2, upto[-1]))]
        parts.append(f"median {median:.4g} → {now.middle:.4g}")
    return ", ".join(parts + _describe_missing(profile, now.missing, now.n))


def _describe_texts(profile: TextProfile, now: TextCounts) -> str:
    """Describe what changed: the category that changed most, the missing share."""
    known, counts, n, parts = profile.categories or {}, now.categories or {}, now.n, []
    if n and known:

        def gap(name: str) -> float:
            return abs(counts.get(name, 0) / n - known.get(name, 0) / profile.n)

        most = max(sorted({*known, *counts}), key=gap)
        before, after = known.get(most, 0) / profile.n, counts.get(most, 0) / n
        parts.append(f"{most!r} {100 * before:.0f} % → {100 * after:.0f} %")
    return ", ".join(parts + _describe_missing(profile, now.missing, n))


def _describe_missing(profile: Profile, missing: int, n: int) -> list[str]:
    if not n or not profile.n or not missing + profile.missing:
        return []
    return [f"missing {100 * profile.missing / profile.n:.0f} % → {100 * missing / n:.0f} %"]
