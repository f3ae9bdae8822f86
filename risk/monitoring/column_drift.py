"""How far has a column moved since training?

New rows, counted by the profile of a column, are compared with what it kept of the training rows. The tests
count the noise of both.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
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
        return _compare_numbers(profile, now, column)
    if isinstance(profile, TextProfile) and isinstance(now, TextCounts):
        return _compare_texts(profile, now, column)
    raise TypeError(f"{column}: counted by a profile of another kind")


def _compare_numbers(profile: NumberProfile, now: NumberCounts, column: str) -> ColumnShift:
    at, now_at = np.array(profile.at, dtype=int), np.array(now.at, dtype=int)
    upto = np.cumsum(at + np.array(profile.between, dtype=int))
    now_upto = np.cumsum(now_at + np.array(now.between[:-1], dtype=int))
    now_below = now_upto - now_at
    n, n_reference, missing = now.n - now.missing, profile.n - profile.missing, now.missing
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
    counts = [_bins_of(upto, upto - at, bins, profile.n, n_reference)]
    counts += [_bins_of(now_upto, now_below, bins, now.n, n)]
    p_missing = two_sample.compare_shares(profile.missing, profile.n, missing, now.n)
    return ColumnShift(
        column=column,
        kind="number",
        n_reference=profile.n,
        n=now.n,
        **_stability(*counts),
        ks=ks,
        p_value=_either(p_value, p_missing, profile.missing + missing, now.n),
        p_adjusted=None,
        missing_reference=profile.missing,
        missing=missing,
        unseen=None,
        out_of_range=out,
        change=_tell_numbers(profile, now, upto),
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


def _compare_texts(profile: TextProfile, now: TextCounts, column: str) -> ColumnShift:
    n, missing, unseen = now.n, now.missing, None
    if profile.categories is None:
        reference = np.append(profile.buckets or (), profile.missing).astype(int)
        current = np.append(now.buckets or (), missing).astype(int)
        p_value = two_sample.chi_square(reference, current)[2]
    else:
        known, counts = profile.categories, now.categories or {}
        unseen = now.others + sum(count for name, count in counts.items() if name not in known)
        names = _shuffle({*known, *counts})
        reference = np.array([profile.missing, *(known.get(name, 0) for name in names)])
        current = np.array([missing, *(counts.get(name, 0) for name in names)])
        is_known = np.array([name in known for name in names], dtype=bool)
        if now.others:
            reference, current = np.append(reference, 0), np.append(current, now.others)
            is_known = np.append(is_known, False)
        p_value = two_sample.categories_p_value(reference, current)
        reference, current = _list_few(reference, current, is_known)
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
        change=_tell_texts(profile, now),
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
    psi = two_sample.stability_of_counts(reference, current)
    noise, critical = two_sample.stability_noise(reference, current)
    return {"psi": psi, "psi_critical": critical, "material": psi - noise >= MODERATE}


def _tell_numbers(profile: NumberProfile, now: NumberCounts, upto: np.ndarray) -> str:
    """Say in words what moved: the middle, the missing share."""
    parts = []
    if now.middle is not None and len(upto):
        middle = profile.grid[int(np.searchsorted(upto * 2, upto[-1]))]
        parts.append(f"median {middle:.4g} → {now.middle:.4g}")
    return ", ".join(parts + _tell_missing(profile, now.missing, now.n))


def _tell_texts(profile: TextProfile, now: TextCounts) -> str:
    """Say in words what moved: the category that changed most, the missing share."""
    known, counts, n, parts = profile.categories or {}, now.categories or {}, now.n, []
    if n and known:

        def gap(name: str) -> float:
            return abs(counts.get(name, 0) / n - known.get(name, 0) / profile.n)

        most = max(sorted({*known, *counts}), key=gap)
        before, after = known.get(most, 0) / profile.n, counts.get(most, 0) / n
        parts.append(f"{most!r} {100 * before:.0f} % → {100 * after:.0f} %")
    return ", ".join(parts + _tell_missing(profile, now.missing, n))


def _tell_missing(profile: Profile, missing: int, n: int) -> list[str]:
    if not n or not profile.n or not missing + profile.missing:
        return []
    return [f"missing {100 * profile.missing / profile.n:.0f} % → {100 * missing / n:.0f} %"]
