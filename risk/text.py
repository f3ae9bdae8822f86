"""Text for people, terminals, spreadsheets and CSV files: shown so that it can be read and nothing else.

A terminal obeys escapes, a log believes line ends, a spreadsheet runs formulas. What goes into files
of our own, whose bytes are the truth, is not changed. Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

WIDTH = 80

# Where a spreadsheet may see a cell begin: at the start, and after whatever it may take for a separator
# or a line end; quotes there may be no part of the cell. The wide signs are read like the narrow ones.
_FORMULA = re.compile('(^|[;|\t\r\n])(?="*[=+\\-@\t\r\uff1d\uff0b\uff0d\uff20])')


def escape_for_spreadsheet(cell: object) -> str:
    """Write a cell for a file that a spreadsheet may open: a number as it is, a formula as text.

    Examples
    --------
    >>> escape_for_spreadsheet("-5"), escape_for_spreadsheet("=1+1"), escape_for_spreadsheet(None)
    ('-5', "'=1+1", '')
    """
    text = "" if cell is None else str(cell)
    if _FORMULA.search(text) is None or _is_number(text):
        return text
    return _FORMULA.sub(r"\1'", text)


def _is_number(text: str) -> bool:
    """What Python reads as a number holds digits and signs, and is a number to a spreadsheet too."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def quote_cell(text: str, *, quote_hash: bool = False) -> str:
    """Quote a cell of a CSV with commas, where a comma, a quote or a line end in it says so.

    Parameters
    ----------
    quote_hash : bool, default=False
        Whether a # does, too: DuckDB quotes it, and rows of the compiled table have one spelling.

    Examples
    --------
    >>> quote_cell("plain"), quote_cell("a, b")
    ('plain', '"a, b"')
    """
    if "," not in text and _is_plain(text, quote_hash):
        return text
    return '"' + text.replace('"', '""') + '"'


def _is_plain(text: str, quote_hash: bool) -> bool:
    return not ('"' in text or "\n" in text or "\r" in text or (quote_hash and "#" in text))


def render_csv_row(cells: Sequence[str], *, quote_hash: bool = False) -> str:
    """Render a row of a CSV: commas, LF, least quoting."""
    line = ",".join(cells)
    if line.count(",") < len(cells) and _is_plain(line, quote_hash):  # one look instead of one a cell
        return line + "\n"
    return ",".join([quote_cell(cell, quote_hash=quote_hash) for cell in cells]) + "\n"


def escape_for_terminal(text: str) -> str:
    r"""Write a text on one line, with every sign that is not printed as an escape: ESC, BEL, line ends,
    signs that turn the direction of writing, C1 controls.

    Examples
    --------
    >>> print(escape_for_terminal("café\x1b[2J\n"))
    café\x1b[2J\n
    """
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else _escape(sign) for sign in text)


def _escape(sign: str) -> str:
    return sign.encode("unicode_escape").decode("ascii")


def escape_lines_for_terminal(text: str) -> str:
    """Write a text of several lines of ours: line ends stay, all else is as on one line."""
    return "\n".join(map(escape_for_terminal, text.split("\n")))


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
    import unicodedata  # an idle run writes no table

    if unicodedata.combining(sign):
        return sign, 0
    return sign, 2 if unicodedata.east_asian_width(sign) in ("W", "F") else 1
