"""Which clients does a request ask about, and are their cells such as the model can take?

JSON is all or nothing; a CSV gives its good rows and lists the bad ones.
"""

from __future__ import annotations

import io
import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from risk import csvfile, dataset, rows
from risk.dataset import Schema
from risk.problems import Refusal

MAX_PROBLEMS = 20
MAX_DEPTH = 32


@dataclass
class Asked:
    """The clients a request asks about: where each stands with its ids, and its cells as text.

    `rejected` holds the bad rows of a CSV; it is None for JSON, which is all or nothing.
    """

    labels: list[dict[str, Any]] = field(default_factory=list)
    texts: list[Mapping[str, str]] = field(default_factory=list)
    rejected: list[dict[str, Any]] | None = None


def parse_json(data: bytes) -> Any:
    """Parse strict JSON: no NaN, no key twice, no number beyond the doubles, not too deep."""
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
    level = [value]
    for _ in range(MAX_DEPTH):
        lists = [
            one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list)
        ]
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
    asked = Asked()
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
        cells = {name: text_of(row.get(name)) for name in (*schema.features, *schema.ids)}
        problem = find_problem(cells, schema)
        if problem:
            bad.append({"row": number, **problem})
        asked.labels.append({"row": number, **{name: row.get(name) for name in schema.ids}})
        asked.texts.append({name: text or "" for name, text in cells.items()})
    refuse_problems(400, malformed)
    refuse_problems(422, bad)
    return asked


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
    if not isinstance(value, str) or not csvfile.is_encodable(value):
        return None
    return value.strip(csvfile.BLANKS)


def find_problem(cells: Mapping[str, str | None], schema: Schema) -> dict[str, str] | None:
    """Find the first cell that the model cannot take."""
    texts = {}
    for name, text in cells.items():
        if text is None:
            return {"column": name, "reason": "is neither text, a number, true, false nor null"}
        texts[name] = text
    problem = dataset.find_problem(texts, schema)
    return {"column": problem.column, "reason": problem.reason} if problem else None


def read_csv(data: bytes, schema: Schema, separator: str | None, max_rows: int) -> Asked:
    """Read a CSV text: its good rows are answered, its bad ones listed."""
    binary = io.BytesIO(data)
    checked = csvfile.check_open(binary, Path("body.csv"), schema.columns, separator)
    reason = checked.refusal or rows.refuse_header(checked.header, schema.features)
    if reason:
        lacking = [] if checked.refusal else [name for name in schema.features if name not in checked.header]
        problems = [{"column": name, "reason": "is missing"} for name in lacking[:MAX_PROBLEMS]]
        raise Refusal(400, f"the CSV {reason}", **({"problems": problems} if problems else {}))
    if data.count(b"\n") > max_rows + 1:
        raise Refusal(413, f"the CSV has over {max_rows:,} lines")
    position = {name: index for index, name in enumerate(checked.header) if name}
    wanted = [name for name in (*schema.features, *schema.ids) if name in position]
    rejected: list[dict[str, Any]] = []
    asked = Asked(rejected=rejected)
    binary.seek(0)
    for number, row in enumerate(csvfile.read_open_rows(binary, checked.header, checked.separator), start=1):
        where = {"row": number, "line": row.line}
        if row.problem:
            rejected.append({**where, "column": None, "reason": row.problem})
            continue
        cells = {name: row.cells[position[name]] for name in wanted}
        problem = find_problem(cells, schema)
        if problem:
            rejected.append({**where, **problem})
        else:
            asked.labels.append({**where, **{name: cells.get(name) or None for name in schema.ids}})
            asked.texts.append(cells)
    return asked
