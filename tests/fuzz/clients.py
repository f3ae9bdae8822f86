"""Is every row counted, and every bad one named with its line, column, value and reason?

Rows are made with their fate known: new, a duplicate of one before, or bad in a known way. Cells with line
ends in them make lines and rows differ. What ingestion says must be that, to the row.
"""

import random
import tempfile
from collections import Counter
from pathlib import Path

from csvs import HEADER, Folder

ROWS_A_FILE = 5_000
SHAPES = {  # what a row looks like when it is bad, and what is to be said of it
    "not a number": (lambda r: f"{r[0]},many,{r[2]},{r[3]}", ("activity", "many", "is not a number")),
    "infinite": (lambda r: f"{r[0]},inf,{r[2]},{r[3]}", ("activity", "inf", "is not a number")),
    "hexadecimal": (lambda r: f"{r[0]},0x1F,{r[2]},{r[3]}", ("activity", "0x1F", "is not a number")),
    "grouped": (lambda r: f'{r[0]},"1,000",{r[2]},{r[3]}', ("activity", "1,000", "is not a number")),
    "underscored": (lambda r: f"{r[0]},1_000,{r[2]},{r[3]}", ("activity", "1_000", "is not a number")),
    "too large": (lambda r: f"{r[0]},1e101,{r[2]},{r[3]}", ("activity", "1e101", "is too large")),
    "a formula": (lambda r: f"{r[0]},=1+1,{r[2]},{r[3]}", ("activity", "'=1+1", "is not a number")),
    "another label": (lambda r: f"{r[0]},{r[1]},{r[2]},2", ("exited", "2", "is neither '1' nor '0'")),
    "a missing word for a label": (
        lambda r: f"{r[0]},{r[1]},{r[2]},NA",
        ("exited", "NA", "is neither '1' nor '0'"),
    ),
    "short": (lambda r: f"{r[0]},{r[1]}", ("", "", "has 2 cells where the header has 4")),
    "long": (lambda r: f"{r[0]},{r[1]},{r[2]},{r[3]},5", ("", "", "has 5 cells where the header has 4")),
    "empty": (lambda r: ",,,", ("", "", "has no filled cell")),
    "the header": (lambda r: ",".join(HEADER), ("", "", "repeats the header")),
    "a quote behind a quote": (
        lambda r: f'"{r[0]}"x,{r[1]},red,{r[3]}',
        ("", "", "has a quote inside an unquoted or after a quoted cell"),
    ),
}
WEIGHTS = [0.5 if "label" in shape else 1 for shape in SHAPES]  # above 1 % of them a file is refused
COLOURS = [
    "red",
    "green",
    "",
    "NA",
    "é",
    '"a, b"',
    '"two\nlines"',
    '"""quoted"""',
    "=1+1",
    "-5",
    "  padded  ",
]


def make_text(draw, n, seen, bad_share):
    """Make the text of a file of `n` rows, and what must be said of its bad ones."""
    lines, wanted, line = [",".join(HEADER)], [], 2
    for _ in range(n):
        row = [
            f"c{draw.randrange(10**7)}",
            str(draw.randrange(1000)),
            draw.choice(COLOURS),
            draw.choice("01"),
        ]
        row[1] = draw.choice([row[1], row[1], row[1], f"-{row[1]}.5", f"{row[1]}e2", "", "NA", "true"])
        if draw.random() < bad_share:
            (shape,) = draw.choices(list(SHAPES), WEIGHTS)
            render, said = SHAPES[shape]
            text = render(row)
            wanted.append((str(line), *said))
        elif seen and draw.random() < 0.02:
            text = draw.choice(seen)
        else:
            text = ",".join(row)
            seen.append(text)
        lines.append(text)
        line += 1 + text.count("\n")
    return "\n".join(lines) + "\n", wanted


def run(n, seed=0):
    """Ingest `n` generated rows in files, half of them with bad rows."""
    draw, total, seen = random.Random(seed), Counter(), []
    with tempfile.TemporaryDirectory() as root:
        folder = Folder(Path(root) / "w")
        n_table = 0
        for number, start in enumerate(range(0, n, ROWS_A_FILE)):
            size = min(ROWS_A_FILE, n - start)
            text, wanted = make_text(draw, size, seen, bad_share=0.05 * (number % 2))
            (entry,), rejected, added = folder.throw(
                {f"f{number}.csv": text.encode()}, by_main=number % 2 == 0
            )
            told = [(line, column, value, reason) for _, line, column, value, reason in rejected]
            assert told == wanted, next((a, b) for a, b in zip(told, wanted, strict=False) if a != b)
            assert entry["read"] == size and entry["rejected"] == len(wanted)
            assert entry["read"] == entry["new"] + entry["duplicate"] + entry["rejected"]
            n_table += entry["new"]
            assert len(added) == entry["new"]
            for part in ("read", "new", "duplicate", "rejected"):
                total[f"rows {part}"] += entry[part]
        trimmed = {",".join(part.strip() for part in text.split(",")) for text in seen}
        assert n_table == len(trimmed), (n_table, len(trimmed))
    return total
