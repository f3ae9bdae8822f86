"""Scripts on paper: letters from right to left, joined, and in a font that has them.

A PDF knows no direction and joins no letters: both are done here, for one line. What has to be known of
each letter is in Python's own Unicode tables.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Callable, Iterator
from itertools import groupby, pairwise

RIGHT_TO_LEFT = ("R", "AL")
DIGITS = ("EN", "AN")
FORMS = (range(0xFB50, 0xFE00), range(0xFE70, 0xFF00))  # Arabic presentation forms, A and B
ISOLATED, FINAL, INITIAL, MEDIAL = "<isolated>", "<final>", "<initial>", "<medial>"
CODECS = {"STSong-Light": "gbk", "HYSMyeongJo-Medium": "euc_kr"}  # fonts that every PDF reader brings


def find_font(sign: str) -> str | None:
    """Name the font of East Asia that has a sign, or None."""
    if unicodedata.east_asian_width(sign) not in ("W", "F"):
        return None
    for font, codec in CODECS.items():
        try:
            sign.encode(codec)
        except UnicodeEncodeError:
            continue
        return font
    return None


def split_by_font(text: str, has: Callable[[str], bool]) -> Iterator[tuple[str | None, str]]:
    """Part a text into runs of one font; None is that of the page, where a sign it has not is a code."""
    for font, signs in groupby(text, key=lambda sign: None if has(sign) else find_font(sign)):
        run = "".join(signs)
        yield font, run if font else "".join(sign if has(sign) else ascii(sign)[1:-1] for sign in run)


def is_right_to_left(text: str) -> bool:
    """Say whether a text has a letter of a script that is written from right to left."""
    return any(unicodedata.bidirectional(sign) in RIGHT_TO_LEFT for sign in text)


def break_lines(text: str, fits: Callable[[str], bool]) -> list[str]:
    """Break a text between words, before it is put into visual order: its first words are the first line."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if lines[-1] and not fits(longer):
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def find_direction(text: str, *, sentence: bool = False) -> int:
    """Find the direction of a text: 0 left to right, 1 right to left.

    The first letter of a name decides. A sentence of ours is read from left to right, whatever name it
    begins with, unless there is nothing but such a name.
    """
    strong = [unicodedata.bidirectional(sign) for sign in text]
    strong = [one for one in strong if one in (*RIGHT_TO_LEFT, "L")]
    if sentence and "L" in strong:
        return 0
    return int(bool(strong) and strong[0] != "L")


def to_visual(text: str, direction: int | None = None) -> str:
    """Put a line of logical order into the order in which it stands on paper.

    `direction` is that of the text of which this is a line; None where it is the whole text.

    Notes
    -----
    Of the bidirectional algorithm [1]_ this is what names need: words of both directions, numbers, brackets;
    no embeddings.

    References
    ----------
    .. [1] M. Davis et al., "Unicode Bidirectional Algorithm", Unicode Standard Annex 9.
    """
    line = find_direction(text) if direction is None else direction
    if not line and not is_right_to_left(text):
        return text
    levels = _find_levels([unicodedata.bidirectional(sign) for sign in text], line)
    signs = list(_join(text))
    for level in (2, 1):
        signs, levels = _reverse(signs, levels, level)
    return "".join(signs)


def _find_levels(directions: list[str], line: int) -> list[int]:
    """Give each sign its level: 0 left to right, 1 right to left, 2 a word or number inside of that."""
    level_of = {"L": 2 * line, "R": 1, "N": 2}
    kinds = _find_kinds(directions, "LR"[line])
    sides = ["R" if kind == "N" else kind for kind in kinds]
    for k, kind in enumerate(kinds):
        if not kind:
            left = next(filter(None, reversed(sides[:k])), "LR"[line])
            right = next(filter(None, sides[k + 1 :]), "LR"[line])
            kinds[k] = left if left == right else "LR"[line]
    return [level_of[kind] for kind in kinds]


def _find_kinds(directions: list[str], strong: str) -> list[str]:
    """Call each sign L, R or N (a number among R); a number after L is L, what has no direction is empty."""
    kinds = []
    for one in directions:
        kind = "R" if one in RIGHT_TO_LEFT else "L" if one == "L" else "N" if one in DIGITS else ""
        kinds.append("L" if kind == "N" and strong == "L" else kind)
        strong = kind if kind in ("L", "R") else strong
    return kinds


def _reverse(signs: list[str], levels: list[int], least: int) -> tuple[list[str], list[int]]:
    """Reverse every run of signs of a level and above."""
    done: list[tuple[str, int]] = []
    for high, run in groupby(zip(signs, levels, strict=True), key=lambda one: one[1] >= least):
        signs_of_run = list(run)
        if high:
            signs_of_run = [(_mirror(s) if level % 2 else s, level) for s, level in reversed(signs_of_run)]
        done += signs_of_run
    return [sign for sign, _ in done], [level for _, level in done]


def _mirror(sign: str) -> str:
    return sign.translate(str.maketrans("()[]{}<>«»", ")(][}{><»«"))


# --- Arabic ------------------------------------------------------------------------------------------------


@functools.cache
def _forms() -> dict[tuple[str, str], str]:
    """Read from Unicode which sign an Arabic letter is at which place of its word."""
    forms: dict[tuple[str, str], str] = {}
    for code in (code for some in FORMS for code in some):
        place, *letters = unicodedata.decomposition(chr(code)).split() or [""]
        wanted = len(letters) == 1 or (len(letters) == 2 and code in FORMS[1])  # of ligatures lam with alef
        if place in (ISOLATED, FINAL, INITIAL, MEDIAL) and wanted and "0020" not in letters:
            forms.setdefault((place, "".join(chr(int(letter, 16)) for letter in letters)), chr(code))
    return forms


def _join(text: str) -> Iterator[str]:
    """Give each letter the form it has between its neighbours; a ligature leaves no gap."""
    forms = _forms()
    letters = [k for k, sign in enumerate(text) if unicodedata.category(sign) != "Mn"]
    follower = dict(pairwise(letters))
    joined, skipped = False, -1
    for k, sign in enumerate(text):
        if k == skipped:
            yield ""
            continue
        if k not in follower and k not in letters[-1:]:
            yield sign  # a vowel sign above or below joins nothing and parts nothing
            continue
        pair = text[k : k + 2]
        if (ISOLATED, pair) in forms and len(pair) == 2:
            sign, skipped = pair, k + 1
        after = text[follower[k]] if k in follower and skipped != k + 1 else ""
        onward = (INITIAL, sign) in forms and (FINAL, after) in forms
        place = (MEDIAL if joined else INITIAL) if onward else (FINAL if joined else ISOLATED)
        yield forms.get((place, sign), sign)
        joined = onward
