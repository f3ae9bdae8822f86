"""How is text from outside shown, so that it can be read and nothing else?

A terminal obeys escapes, a log believes line ends, a spreadsheet runs formulas. What goes into files
of our own, whose bytes are the truth, is not changed. Standard library only.
"""

from __future__ import annotations

import re

# Where a spreadsheet may see a cell begin: at the start, and behind whatever it may take for a separator
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
