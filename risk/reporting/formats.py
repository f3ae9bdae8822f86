"""Numbers and names as the report writes them: pure, one function a format."""

from __future__ import annotations

MOST_LETTERS = 60  # of a name in a sentence


def format_figure(value: float | int | None) -> str:
    """Write a figure for a reader: four digits that matter, thousands apart."""
    if value is None:
        return "-"
    if isinstance(value, int) or (value == int(value) and abs(value) < 1e15):
        return f"{int(value):,}"
    if 1000 <= abs(value) < 1e15:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def format_change(value: float | int | None) -> str:
    """Write a change with its sign."""
    return "-" if value is None else f"{'+' if value > 0 else ''}{format_figure(value)}"


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
