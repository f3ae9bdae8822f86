"""Which clients does a request ask about, and are their cells such as the model can take?

JSON is all or nothing; a CSV gives its good rows and lists the bad ones, a chunk at a time.
"""

from __future__ import annotations

import io
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from risk.data import csv_check, csv_rows, validation
from risk.data import schema as schema_
from risk.data.csv_check import Checked
from risk.data.frames import to_columns
from risk.data.schema import LARGEST, Schema, parse_number
from risk.serving.problems import Refusal

MAX_PROBLEMS = 20
MAX_DEPTH = 32
CHUNK_ROWS = 5_000
_PLAIN = frozenset("0123456789+-.eE")


@dataclass(frozen=True)
class Clients:
    """Some clients of a request, in order.

    Attributes
    ----------
    columns : dict of str to sequence
        The features of the good ones: numbers with NaN, texts with None where a cell is missing.
    labels : callable
        Says of the k-th good client where it stood, with its ids.
    cells : list of sequence of str
        Every column of the header as text, of all of them, bad ones too.
    problems : dict of int to dict
        What is wrong with a bad one, by its place in each of `cells`.
    """

    columns: Mapping[str, Any]
    labels: Callable[[int], dict[str, Any]]
    cells: Sequence[Sequence[str]]
    problems: Mapping[int, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    """The clients a request asks about, a chunk at a time; of `is_partial` ones the bad are listed."""

    header: tuple[str, ...]
    chunks: Iterator[Clients]
    is_partial: bool = False


# --- JSON ------------------------------------------------------------------------------------------------


def parse_json(data: bytes, max_rows: int) -> Any:
    """Parse strict JSON: no NaN, no key twice, no number beyond the doubles, not too deep or too many.

    Before it is parsed, lists and objects are counted by their signs: each takes many times the memory of
    the two bytes that it can be written in.
    """
    if data.count(b"{") + data.count(b"[") > max_rows + 2:
        raise Refusal(413, f"the request holds over {max_rows:,} rows, or as many lists and objects")
    try:
        value = json.loads(
            data.decode("utf-8-sig"),
            object_pairs_hook=_refuse_repeated_key,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except RecursionError as error:
        raise Refusal(400, "the body is nested too deeply") from error
    except UnicodeDecodeError as error:
        raise Refusal(400, "the body is not UTF-8") from error
    except ValueError as error:
        raise Refusal(400, f"the body is not valid JSON ({error})") from error
    if _is_deep(value):
        raise Refusal(400, "the body is nested too deeply")
    return value


def _is_deep(value: Any) -> bool:
    level: list[Any] = [[value]]
    for _ in range(MAX_DEPTH + 1):
        lists = (one.values() if isinstance(one, dict) else one for one in level)
        level = [inner for one in lists for inner in one if isinstance(inner, dict | list)]
        if not level:
            return False
    return True


def _refuse_repeated_key(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        twice = next(name for name, n in counts.items() if n > 1)
        raise ValueError(f"the key {twice[:60]!r} appears twice")
    return result


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"the number {text[:60]} is out of range")
    return value


def read_rows(found: list[Any], schema: Schema, max_rows: int) -> Asked:
    """Read JSON rows; all are good, or the request is refused with what is wrong in which row."""
    if len(found) > max_rows:
        raise Refusal(413, f"the request holds over {max_rows:,} rows")
    names = (*schema.ids, *schema.features)
    texts: list[Mapping[str, str]] = []
    malformed: list[dict[str, Any]] = []
    bad: list[dict[str, Any]] = []
    for number, row in enumerate(found, start=1):
        if max(len(malformed), len(bad)) > MAX_PROBLEMS:
            break
        if not isinstance(row, dict):
            malformed.append({"row": number, "reason": "is not an object of columns"})
            continue
        lacking = [name for name in schema.features if name not in row]
        malformed += [{"row": number, "column": name, "reason": "is missing"} for name in lacking]
        cells = {name: text_of(row.get(name)) for name in names}
        problem = find_problem(cells, schema)
        if problem:
            bad.append({"row": number, **problem})
        texts.append({name: text or "" for name, text in cells.items()})
    refuse_problems(400, malformed)
    refuse_problems(422, bad)

    def label(k: int) -> dict[str, Any]:
        return {"row": k + 1, **{name: found[k].get(name) for name in schema.ids}}

    cells_of_all = [[row[name] for row in texts] for name in names]
    return Asked(names, iter([Clients(to_columns(texts, schema), label, cells_of_all)]))


def refuse_problems(status: int, problems: list[dict[str, Any]]) -> None:
    """Refuse when there are problems: the first in words, some more in a list."""
    if problems:
        first = problems[0]
        column = f": {first['column']!r}" if "column" in first else ""
        more = f" (and {len(problems) - 1} more)" if 1 < len(problems) <= MAX_PROBLEMS else ""
        more = " (and many more)" if len(problems) > MAX_PROBLEMS else more
        detail = f"row {first['row']}{column} {first['reason']}{more}"
        raise Refusal(status, detail, problems=problems[:MAX_PROBLEMS])


def text_of(value: Any) -> str | None:
    """Write a JSON cell as a CSV would hold it; None when no cell can hold it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if not isinstance(value, str) or not csv_check.is_encodable(value):
        return None
    return value.strip(csv_check.BLANKS)


def find_problem(cells: Mapping[str, str | None], schema: Schema) -> dict[str, str] | None:
    """Find the first cell that the model cannot take."""
    texts = {}
    for name, text in cells.items():
        if text is None:
            return {"column": name, "reason": "is neither text, a number, true, false nor null"}
        texts[name] = text
    problem = schema_.find_problem(texts, schema)
    return {"column": problem.column, "reason": problem.reason} if problem else None


# --- CSV -------------------------------------------------------------------------------------------------


def read_csv(data: bytes, schema: Schema, separator: str | None, max_rows: int) -> Asked:
    """Read a CSV text: its good rows are answered, its bad ones listed."""
    checked = csv_check.check_open(io.BytesIO(data), Path("body.csv"), schema.columns, separator)
    reason = checked.refusal or validation.refuse_header(checked.header, schema.features)
    if reason:
        lacking = [] if checked.refusal else [name for name in schema.features if name not in checked.header]
        problems = [{"column": name, "reason": "is missing"} for name in lacking[:MAX_PROBLEMS]]
        raise Refusal(400, f"the CSV {reason}", **({"problems": problems} if problems else {}))
    if data.count(b"\n") > max_rows + 1:
        raise Refusal(413, f"the CSV has over {max_rows:,} lines")
    return Asked(checked.header, _read_chunks(data, checked, schema), is_partial=True)


def _read_chunks(data: bytes, checked: Checked, schema: Schema) -> Iterator[Clients]:
    """Read blocks in which nothing is odd at once, and from the first other one on row by row."""
    header, separator, n_read = checked.header, checked.separator, 0
    if not checked.odd:
        for plain in csv_rows.read_plain(io.BytesIO(data), header, separator, CHUNK_ROWS):
            if plain is None:
                break
            lines = range(n_read + 2, n_read + 2 + len(plain[0]))
            yield _read_chunk(plain, lines, {}, n_read, header, schema)
            n_read += len(plain[0])
        else:
            return
    found = islice(csv_rows.read_open_rows(io.BytesIO(data), header, separator), n_read, None)
    while chunk := list(islice(found, CHUNK_ROWS)):
        width = len(header)
        cells = [*map(list, zip(*((*row.cells, *[""] * width)[:width] for row in chunk), strict=True))]
        wrong = {k: {"column": None, "reason": row.problem} for k, row in enumerate(chunk) if row.problem}
        yield _read_chunk(cells, [row.line for row in chunk], wrong, n_read, header, schema)
        n_read += len(chunk)


def _read_chunk(
    cells: list[list[str]],
    lines: Sequence[int],
    problems: dict[int, dict[str, Any]],
    n_before: int,
    header: tuple[str, ...],
    schema: Schema,
) -> Clients:
    """Sort the rows of some columns into good and bad ones; `problems` are of rows that are none."""
    place = {name: index for index, name in enumerate(header) if name}
    features = {name: cells[place[name]] for name in schema.features}
    columns = _read_columns(features, problems, schema)
    if columns is None:  # the exact way names what is wrong
        for k in range(len(lines)):
            row = {name: texts[k] for name, texts in features.items()}
            if k not in problems and (problem := find_problem(row, schema)):
                problems[k] = problem
        columns = _read_columns(features, problems, schema) or {}
    good = [k for k in range(len(lines)) if k not in problems] if problems else range(len(lines))
    ids = {name: cells[place[name]] if name in place else None for name in schema.ids}

    def label(n: int) -> dict[str, Any]:
        k = good[n]
        named = {name: texts[k] or None if texts else None for name, texts in ids.items()}
        return {"row": n_before + k + 1, "line": lines[k], **named}

    told = {k: {"row": n_before + k + 1, "line": lines[k], **problems[k]} for k in sorted(problems)}
    return Clients(columns, label, cells, told)


def _read_columns(
    features: Mapping[str, list[str]], problems: Mapping[int, Any], schema: Schema
) -> dict[str, Any] | None:
    """Read features, a whole column of good rows at once; None when a cell is not such as its column."""
    columns: dict[str, Any] = {}
    for name, texts in features.items():
        good = [text for k, text in enumerate(texts) if k not in problems] if problems else texts
        if schema.kinds[name] == "number":
            columns[name] = read_numbers(good)
            if columns[name] is None:
                return None
        else:
            columns[name] = [text or None for text in good]
    return columns


def read_numbers(texts: Sequence[str]) -> np.ndarray | None:
    """Read a number column as `dataset.parse_number` reads each cell; None when it could not read one.

    Plain numbers, which most columns hold alone, are read by the interpreter's own C: of those signs it
    reads what our pattern matches, and nothing else.
    """
    if _PLAIN.issuperset("".join(texts)):
        try:
            values = np.array([float(text) if text else math.nan for text in texts])
        except ValueError:
            return None
        return None if (np.abs(values) > LARGEST).any() else values
    parsed = [parse_number(text) for text in texts]
    return None if None in parsed else np.array(parsed, dtype="float64")


# --- a part of the list ------------------------------------------------------------------------------------

WORDS = {"risk": ("high", "medium", "low"), "sort": ("moved", "name")}
MOST = {"offset": 10**9, "limit": 1000}
LONGEST_SEARCH = 200


def read_slice(arguments: Mapping[str, str]) -> dict[str, Any]:
    """Read which clients of the list are asked for, as `roster.Roster.page` takes it."""
    wanted: dict[str, Any] = {}
    for name, most in MOST.items():
        text = arguments.get(name, "")
        if text and not (text.isascii() and text.isdecimal() and len(text) < 11 and int(text) <= most):
            raise Refusal(400, f"{name} must be a whole number from 0 to {most}")
        wanted |= {name: int(text)} if text else {}
    for name, words in WORDS.items():
        word = arguments.get(name, "")
        if word and word not in words:
            raise Refusal(400, f"{name} must be one of {', '.join(words)}")
        wanted |= {"order" if name == "sort" else name: word} if word else {}
    search = arguments.get("search", "").strip()
    if len(search) > LONGEST_SEARCH:
        raise Refusal(400, f"search must be no longer than {LONGEST_SEARCH} letters")
    return wanted | ({"search": search} if search else {})
