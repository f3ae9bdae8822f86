"""Strict parsing of JSON rows; all are good, or the request is refused."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from typing import Any, NoReturn

from risk.data import csv_check
from risk.data.frames import to_columns
from risk.data.schema import Schema
from risk.serving import requested
from risk.serving.problems import Refusal

MAX_DEPTH = 32


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


def read_rows(rows: list[Any], schema: Schema, max_rows: int) -> requested.RequestedClients:
    """Read JSON rows; all are good, or the request is refused with what is wrong in which row."""
    if len(rows) > max_rows:
        raise Refusal(413, f"the request holds over {max_rows:,} rows")
    names = (*schema.ids, *schema.features)
    texts: list[Mapping[str, str]] = []
    malformed: list[dict[str, Any]] = []
    bad: list[dict[str, Any]] = []
    for number, row in enumerate(rows, start=1):
        if max(len(malformed), len(bad)) > requested.MAX_PROBLEMS:
            break
        if not isinstance(row, dict):
            malformed.append({"row": number, "reason": "is not an object of columns"})
            continue
        missing = [name for name in schema.features if name not in row]
        malformed += [{"row": number, "column": name, "reason": "is missing"} for name in missing]
        cells = {name: text_of(row.get(name)) for name in names}
        problem = requested.find_problem(cells, schema)
        if problem:
            bad.append({"row": number, **problem})
        texts.append({name: text or "" for name, text in cells.items()})
    refuse_problems(400, malformed)
    refuse_problems(422, bad)

    def label(k: int) -> dict[str, Any]:
        return {"row": k + 1, **{name: rows[k].get(name) for name in schema.ids}}

    cells_of_all = [[row[name] for row in texts] for name in names]
    return requested.RequestedClients(
        names, iter([requested.ClientChunk(to_columns(texts, schema), label, cells_of_all)])
    )


def refuse_problems(status: int, problems: list[dict[str, Any]]) -> None:
    """Refuse when there are problems: the first in words, some more in a list."""
    if problems:
        first = problems[0]
        column = f": {first['column']!r}" if "column" in first else ""
        more = f" (and {len(problems) - 1} more)" if 1 < len(problems) <= requested.MAX_PROBLEMS else ""
        more = " (and many more)" if len(problems) > requested.MAX_PROBLEMS else more
        detail = f"row {first['row']}{column} {first['reason']}{more}"
        raise Refusal(status, detail, problems=problems[: requested.MAX_PROBLEMS])


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
