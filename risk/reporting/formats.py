"""Numbers and names as people read them: pure, one function a format; standard library only."""

from __future__ import annotations

import re

MOST_LETTERS = 60  # of a name in a sentence
CELL_LETTERS = 10  # of a number in a column of a terminal
_EXPONENT = re.compile(r"e(-?)\+?0*")


def format_figure(value: float | int | None, n_digits: int = 4) -> str:
    """Write a figure for a reader: four digits that matter, thousands apart."""
    if value is None:
        return "-"
    if isinstance(value, int) or (value == int(value) and abs(value) < 1e15):
        return f"{int(value):,}"
    if 1000 <= abs(value) < 1e15:
        return f"{value:,.0f}"
    return f"{value:.{n_digits}g}"


def format_change(value: float | int | None) -> str:
    """Write a change with its sign."""
    return "-" if value is None else f"{'+' if value > 0 else ''}{format_figure(value)}"


def format_tick(value: float) -> str:
    """Write a figure beside an axis, in few letters.

    Examples
    --------
    >>> format_tick(1_500.0), format_tick(20_000.0), format_tick(1_500_000.0), format_tick(0.25)
    ('1,500', '20k', '1.5M', '0.25')
    """
    for size, unit, letter in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if abs(value) >= size:
            return f"{value / unit:g}{letter}"
    return f"{value:,.0f}" if value == int(value) else f"{value:g}"


def format_cell(value: float | int | None, *, signed: bool = False) -> str:
    """Write a figure for a column of a terminal: four digits, 1.235e6 for what is large.

    Examples
    --------
    >>> format_cell(5_000_000), format_cell(-1234567.8), format_cell(3, signed=True)
    ('5,000,000', '-1.235e6', '+3')
    """
    if value is None:
        return "-"
    sign = "+" if signed else ""
    whole = f"{value:{sign},}" if isinstance(value, int) else ""
    if 0 < len(whole) <= CELL_LETTERS:
        return whole
    cell = _EXPONENT.sub(r"e\1", f"{value:{sign}.4g}")
    return cell if len(cell) <= CELL_LETTERS else _EXPONENT.sub(r"e\1", f"{value:{sign}.3g}")


def format_score(value: float | None) -> str:
    """Write a score with three decimals."""
    return "-" if value is None else f"{value:.3f}"


def format_percent(share: float, sign: str = " %") -> str:
    """Write a share in whole percent; none is certain."""
    percent = round(100 * share)
    return f"{'over 99' if percent >= 100 else 'under 1' if percent < 1 else percent}{sign}"


def format_rank_change(change: int | None) -> str:
    """Write how many places a client went up or down in the list."""
    if change is None:
        return "new"
    return "same" if not change else f"{abs(change):,} {'up' if change > 0 else 'down'}"


def shorten(text: str, n_letters: int = MOST_LETTERS) -> str:
    """Cut a text from data to `n_letters`, the last of which is then an ellipsis."""
    return text if len(text) <= n_letters else f"{text[: n_letters - 1]}…"
