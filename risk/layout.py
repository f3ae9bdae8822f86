"""How does a table look on a terminal of 80 columns? Standard library only."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

WIDTH = 80
_EXPONENT = re.compile(r"e(-?)\+?0*")


def short(value: float | int | None) -> str:
    """Shorten a number to what fits a column: 4 digits, 1.235e6 for what is large."""
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else _EXPONENT.sub(r"e\1", f"{value:.4g}")


def align(table: Sequence[Sequence[str]]) -> str:
    """Align a table: figures right, names left and cut to 24 letters, or to fewer that fit the line."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    room = WIDTH - sum(width + 2 for width in widths[1:])
    widths[0] = min(widths[0], 24, max(room, 6))
    lines = []
    for name, *figures in table:
        cut = name if len(name) <= widths[0] else name[: widths[0] - 1] + "…"
        cells = [cut.ljust(widths[0]), *(f.rjust(w) for f, w in zip(figures, widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def fit(text: str, width: int) -> str:
    """Cut or fill a text to a width in the cells of a terminal; some signs take two, some none."""
    fitted, used = "", 0
    cells = [_cells(sign if sign.isprintable() else "?") for sign in text]
    room = width if sum(n for _, n in cells) <= width else width - 1
    for sign, n in cells:
        if used + n > room:
            break
        fitted, used = fitted + sign, used + n
    if room < width:
        fitted, used = fitted + "…", used + 1
    return fitted + " " * (width - used)


def _cells(sign: str) -> tuple[str, int]:
    if unicodedata.combining(sign):
        return sign, 0
    return sign, 2 if unicodedata.east_asian_width(sign) in ("W", "F") else 1
