"""Is every CSV file, however broken, taken up by the rules or refused with its reason?

Mutated files go through the real ingestion, hundreds in a run. What became of each is held against a
second opinion that shares no code with it, and against the ledger, the list of rejected rows and the table.
"""

import contextlib
import csv
import io
import json
import os
import random
import re
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import ingestion
from config import load_config
from risk.text import escape_for_spreadsheet

HEADER = ["corporation", "activity", "colour", "exited"]
NEEDED = set(HEADER) - {"exited"}
WORDS = {"1", "1.0", "yes", "true", "0", "0.0", "no", "false"}
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
NO_NUMBER = {"", "na", "n/a", "null", "nan", "true", "false"}
BLANKS = " \t\r\n\f\v\u00a0"
KEYS = {
    "input_folder_path": "in",
    "output_folder_path": "out",
    "test_data_path": "test",
    "output_model_path": "models",
    "prod_deployment_path": "production",
}
FILES_A_RUN, RUNS_A_WORKSPACE = 200, 10


# --- broken files ------------------------------------------------------------------------------------------


def make_rows(draw, n):
    """Make rows of the shape of the table, a few of their cells dirty."""
    odd = [
        "",
        "NA",
        "inf",
        "1e999",
        "many",
        "-5",
        "=1+1",
        "0x10",
        "1_000",
        "é",
        "x\x1b[2J",
        "a;b",
        "a|b",
        "a\tb",
    ]
    rows = []
    for number in range(n):
        row = [
            f"c{draw.randrange(10**6)}-{number}",
            str(draw.randrange(100)),
            draw.choice(["red", ""]),
            str(number % 2),
        ]
        if draw.random() < 0.1:
            row[draw.randrange(4)] = draw.choice(odd)
        rows.append(row)
    return rows


def make_file(draw):
    """Make a good file, in one of the dialects that are read."""
    rows = make_rows(draw, draw.choice([0, 1, 3, 10, 40]))
    columns = list(range(4))
    if draw.random() < 0.2:
        draw.shuffle(columns)
    text = io.StringIO(newline="")
    writer = csv.writer(
        text,
        delimiter=draw.choice(",,,;\t|"),
        lineterminator=draw.choice(["\n", "\n", "\r\n", "\r"]),
        quoting=draw.choice([csv.QUOTE_MINIMAL, csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    )
    writer.writerows([row[column] for column in columns] for row in [HEADER, *rows])
    data = text.getvalue().encode()
    return (b"\xef\xbb\xbf" if draw.random() < 0.1 else b"") + data


TOKENS = [
    b'"', b'""', b",", b";", b"\t", b"|", b"\n", b"\r", b"\r\n", b"\0", b"\xff", b"\xc3", b"\xef\xbb\xbf",
    b"\x1b[2J", b" ", b"\xc2\xa0", b"=cmd|'/C calc'!A0", b"<<<<<<< ours\n", b"\n=======\n", b"\n>>>>>>> x",
    b"<html>", b"NA", b"1e999", b"-inf", b"\xd9\xa1", b"\xe2\x80\xae", b"\x85", b"\xe2\x80\xa8", b"x" * 5000,
    b",,,,,,", b"corporation", b"exited", b"\n" + ",".join(HEADER).encode() + b"\n", b'"\n"', b"'", b"\\",
    b"#", b"\x1a", b"\f",
]  # fmt: skip


def change_byte(draw, data):
    at = draw.randrange(len(data) + 1)
    return data[:at] + bytes([draw.randrange(256)]) + data[at + 1 :]


def insert_token(draw, data):
    at = draw.randrange(len(data) + 1)
    return data[:at] + draw.choice(TOKENS) + data[at:]


def cut_piece(draw, data):
    a, b = sorted(draw.randrange(len(data) + 1) for _ in "ab")
    return data[:a] + data[b:]


def repeat_piece(draw, data):
    a, b = sorted(draw.randrange(len(data) + 1) for _ in "ab")
    return data[:b] + data[a:b] * draw.choice([1, 2, 5]) + data[b:]


def cut_off(draw, data):
    return data[: draw.randrange(len(data) + 1)]


def swap_lines(draw, data):
    lines = data.split(b"\n")
    draw.shuffle(lines)
    return b"\n".join(lines)


def splice(draw, data):
    other = make_file(draw)
    return data[: draw.randrange(len(data) + 1)] + other[draw.randrange(len(other) + 1) :]


def change_header(draw, data):
    first, line_end, rest = data.partition(b"\n")
    names = first.split(b",")
    at = draw.randrange(len(names))
    before, after = names[:at], names[at + 1 :]
    ways = [
        before + after,
        [*names, names[at]],
        [*names, b"more"],
        names[::-1],
        [name.upper() for name in names],
        [b" " + name for name in names],
        [*before, b"", *after],
    ]
    names = draw.choice(ways)
    return b",".join(names) + line_end + rest


def encode_otherwise(draw, data):
    text = data.decode("utf-8", "replace")
    return text.encode(
        draw.choice(["utf-16", "utf-16-le", "utf-32", "latin-1", "cp500", "utf-8-sig"]), "replace"
    )


def replace_sign(draw, data):
    old, new = (draw.choice([b",", b";", b"\n", b"\r\n", b'"', b"1", b"c", b" ", b"\t"]) for _ in "ab")
    return data.replace(old, new, draw.choice([1, 3, -1]))


CHANGES = [
    change_byte, change_byte, insert_token, insert_token, insert_token, cut_piece, repeat_piece, cut_off,
    swap_lines, splice, change_header, encode_otherwise, replace_sign,
]  # fmt: skip


def mutate(draw):
    """Break a good file in one to four ways."""
    data = make_file(draw)
    for _ in range(draw.choice([1, 1, 1, 1, 2, 2, 3, 4])):
        data = draw.choice(CHANGES)(draw, data)
    return data


# --- the second opinion ------------------------------------------------------------------------------------


def read_text(data):
    """Decode what may be a table; None when it cannot be one."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def has_our_columns(data):
    """Say whether under some separator a header names each needed column, and none of ours twice."""
    text = read_text(data)
    if text is None:
        return False
    for separator in ",;\t|":
        with contextlib.suppress(csv.Error):
            for cells in csv.reader(
                io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True
            ):
                names = Counter(cell.strip(BLANKS) for cell in cells)
                if any(names):
                    if names.keys() >= NEEDED and max(n for name, n in names.items() if name) == 1:
                        return True
                    break
    return False


def count_plainly(data):
    """Count good and bad rows of a file without quotes by splitting it; None where that is no opinion."""
    text = read_text(data)
    if text is None or '"' in text:
        return None
    lines = re.split("\r\n|\n|\r", text)
    while lines and not lines[0].strip(BLANKS):
        del lines[0]
    found = [[cell.strip(BLANKS) for cell in lines[0].split(s)] for s in ",;\t|"] if lines else []
    header = max(found, key=lambda names: (len(set(HEADER) & set(names)), len(names)), default=[])
    separator = ",;\t|"[found.index(header)] if found else ","
    good = bad = 0
    for line in lines[1:]:
        cells = [cell.strip(BLANKS) for cell in line.split(separator)]
        if len(cells) == 1 and not cells[0]:
            continue
        while len(cells) > len(header) and not cells[-1]:
            cells.pop()
        fits = any(cells) and len(cells) == len(header) and cells != header
        if fits and is_good(dict(zip(header, cells, strict=True))):
            good += 1
        else:
            bad += 1
    return good, bad


def is_good(row):
    number, label = row["activity"], row.get("exited", "")
    fits = number.lower() in NO_NUMBER or (NUMBER.fullmatch(number) and abs(float(number)) <= 1e100)
    return bool(fits) and (not label or label.lower() in WORDS)


# --- the run -----------------------------------------------------------------------------------------------


class Folder:
    """A workspace with a table of its own, into which files are thrown."""

    def __init__(self, root):
        self.root = root
        root.mkdir(parents=True)
        for name in ("in", "test"):
            (root / name).mkdir()
        (root / "config.json").write_text(json.dumps(KEYS))
        self.config = load_config(root / "config.json")
        rows = make_rows(random.Random(0), 400)
        rows = [row for row in rows if is_good(dict(zip(HEADER, row, strict=True)))]
        with (root / "in" / "good.csv").open("w", newline="") as handle:
            csv.writer(handle, lineterminator="\n").writerows([HEADER, *rows])
        ingestion.run(self.config)
        self.rejected, self.table = self._lengths()

    def _lengths(self):
        return [path.stat().st_size for path in (self.config.rejected_rows, self.config.final_data)]

    def throw(self, files, *, by_main):
        """Ingest some files; return what the ledger, the rejected rows and the table say of them."""
        for name, data in files.items():
            (self.root / "in" / name).write_bytes(data)
        if by_main:
            said = io.StringIO()
            with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
                code = ingestion.main(["--config", str(self.config.path)])
            assert code in (os.EX_OK, os.EX_DATAERR), (code, said.getvalue())
            assert "Traceback" not in said.getvalue()
            assert all(line.isprintable() for line in said.getvalue().split("\n"))
        else:
            ingestion.run(self.config)
        entries = json.loads(self.config.ledger.read_text())["files"][-len(files) :]
        before, (self.rejected, self.table) = (self.rejected, self.table), self._lengths()
        rejected = self._read(self.config.rejected_rows, before[0])
        added = self._read(self.config.final_data, before[1])
        for name in files:
            (self.root / "in" / name).unlink()
        return entries, rejected, added

    def _read(self, path, start):
        text = path.read_bytes()[start:].decode()
        return list(csv.reader(io.StringIO(text, newline=""), strict=True))


def judge(files, entries, rejected, added):
    """Hold what was told of some files against them; return how many were refused, and rows by fate."""
    assert {entry["name"] for entry in entries} == set(files)
    told = {name: [] for name in files}
    for name, line, column, value, reason in rejected:
        assert name in told and reason, (name, reason)
        told[name].append((line, column, value, reason))
    counts = Counter()
    for entry in entries:
        name, data = entry["name"], files[entry["name"]]
        counts["files"] += 1
        if entry["refused"]:
            reason = escape_for_spreadsheet(entry["refused"])  # it may show what stands in the file
            assert told[name] == [("", "", "", reason)], (data, told[name])
            assert not any(entry[part] for part in ("read", "new", "duplicate", "rejected"))
            counts["refused"] += 1
            continue
        assert has_our_columns(data), (data, entry)
        assert entry["read"] == entry["new"] + entry["duplicate"] + entry["rejected"]
        assert entry["rejected"] == len(told[name])
        n_lines = 1 + len(re.findall(b"\r\n|\n|\r", data))
        assert all(1 < int(line) <= n_lines for line, *_ in told[name]), (data, told[name])
        plain = count_plainly(data)
        if plain is not None:
            assert plain == (entry["read"] - entry["rejected"], entry["rejected"]), (data, plain, entry)
            counts["held against a second count"] += 1
        for part in ("read", "new", "duplicate", "rejected"):
            counts[f"rows {part}"] += entry[part]
    assert len(added) == counts["rows new"]
    for row in added:
        assert len(row) == len(HEADER) and is_good(dict(zip(HEADER, row, strict=True))), row
    return counts


def run(n, seed=0, *, main_every=10):
    """Throw `n` mutated files; every `main_every`th run goes through the script's own main."""
    draw, total = random.Random(seed), Counter()
    with tempfile.TemporaryDirectory() as root:
        folder = None
        for number, start in enumerate(range(0, n, FILES_A_RUN)):
            if number % RUNS_A_WORKSPACE == 0:
                folder = Folder(Path(root) / str(number))
            size = min(FILES_A_RUN, n - start)
            files = {f"m{start + i}.csv": mutate(draw) for i in range(size)}
            by_main = number % main_every == main_every - 1 or n <= FILES_A_RUN
            total += judge(files, *folder.throw(files, by_main=by_main))
            total["files through main"] += size * by_main
            if number % RUNS_A_WORKSPACE == RUNS_A_WORKSPACE - 1:
                shutil.rmtree(folder.root)
    return total
