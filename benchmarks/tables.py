"""How often did something happen, how sure is that, and is it what was aimed at?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from scipy import stats

LEVEL = 0.99
Run = Callable[[Callable[[int], Counter[Any]], int], Counter[Any]]  # counts of so many repetitions
MANY = 1_000  # repetitions from which on tenths of a per cent are told


@dataclass(frozen=True)
class Share:
    """`hits` of `n` repetitions."""

    hits: int
    n: int

    @property
    def percent(self) -> float:
        return 100 * self.hits / self.n

    def range(self) -> tuple[float, float]:
        """Compute the 99 % range of the true share in per cent, exactly (Clopper and Pearson)."""
        found = stats.binomtest(self.hits, self.n).proportion_ci(LEVEL, "exact")
        return 100 * float(found.low), 100 * float(found.high)

    def __str__(self) -> str:
        low, high = self.range()
        digits = 1 if self.n >= MANY else 0
        return f"{self.percent:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


@dataclass(frozen=True)
class Aim:
    """What was wanted, the worst that was found, and whether that will do."""

    wanted: str
    found: str
    reached: bool

    def __str__(self) -> str:
        return f"{'pass' if self.reached else 'MISSED'}: {self.wanted}; {self.found}"


def wrong_at_most(what: str, shares: Iterable[Share], alpha: float) -> Aim:
    """Aim at no share of errors beyond alpha, within its 99 % range (67 of 1,000 at 5 %)."""
    worst = max(shares, key=lambda share: share.hits)
    most = int(stats.binom.ppf(LEVEL, worst.n, alpha))
    return Aim(f"{what} at most {most} of {worst.n:,}", f"most: {worst.hits}", worst.hits <= most)


def least_allowed(n: int, level: float) -> int:
    """Count how many of `n` must be right: `level` of them, within the 99 % range."""
    return int(stats.binom.ppf(1 - LEVEL, n, level))


def right_at_least(what: str, shares: Iterable[Share], wanted: float) -> Aim:
    """Aim at a share of right answers in every case."""
    worst = min(shares, key=lambda share: share.hits)
    least = f"least: {worst.percent:.4g} %"
    return Aim(f"{what} at least {100 * wanted:.4g} %", least, worst.hits >= wanted * worst.n)


@dataclass(frozen=True)
class Table:
    """One table of the report with what was aimed at; shares are in per cent with their 99 % range."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    aims: tuple[Aim, ...] = ()

    def to_text(self) -> str:
        """Lay it out for a terminal."""
        lines: Sequence[Sequence[str]] = [self.header, *self.rows]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.header))]
        laid = ("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)
        return "\n".join([self.title, *laid, *map(str, self.aims)])

    def to_markdown(self) -> str:
        """Lay it out for a page, folded below its title."""
        lines = [self.header, tuple("---" for _ in self.header), *self.rows]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        aims = "\n".join(f"- {aim}" for aim in self.aims)
        reached = f"{sum(aim.reached for aim in self.aims)} of {len(self.aims)} targets met"
        summary = f"<details><summary>{self.title}: {reached}</summary>"
        return "\n\n".join([summary, table, aims, "</details>"])
