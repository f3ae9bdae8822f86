"""How is text from outside shown, so that it can be read and nothing else?

A terminal obeys escapes, a log believes line ends, a spreadsheet runs formulas. What goes into files
of our own, whose bytes are the truth, is not changed. Standard library only.
"""

from __future__ import annotations

import re

# Where a spreadsheet may see a cell begin: at the start, and behind whatever it may take for a separator
# or a line end. The wide signs are read like the narrow ones.
_FORMULA = re.compile("(^|[;|\t\r\n])(?=[=+\\-@\t\r\uff1d\uff0b\uff0d\uff20])")


def for_spreadsheet(cell: object) -> str:
    """Write a cell for a file that a spreadsheet may open: a number as it is, a formula as text.

    Examples
    --------
    >>> for_spreadsheet("-5"), for_spreadsheet("=1+1"), for_spreadsheet(None)
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


def for_screen(text: str) -> str:
    r"""Write a text on one line, with every sign that is not printed as an escape: ESC, BEL, line ends,
    signs that turn the direction of writing, C1 controls.

    Examples
    --------
    >>> print(for_screen("café\x1b[2J\n"))
    café\x1b[2J\n
    """
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else _escape(sign) for sign in text)


def _escape(sign: str) -> str:
    return sign.encode("unicode_escape").decode("ascii")


def for_screen_lines(text: str) -> str:
    """Write a text of several lines of ours: line ends stay, all else is as on one line."""
    return "\n".join(map(for_screen, text.split("\n")))
