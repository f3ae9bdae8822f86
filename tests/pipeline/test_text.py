"""What comes from outside can be read on a terminal, in a log and in a spreadsheet, and nothing else."""

import csv
import io
import json
import re
import sqlite3
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from makers import make_clients

from risk.text import escape_for_spreadsheet, escape_for_terminal, escape_lines_for_terminal

quick = settings(deadline=None, database=None, derandomize=True)
HOSTILE = {
    "an escape that clears the screen": "\x1b[2J\x1b[H",
    "an escape that sets the title": "\x1b]0;owned\x07",
    "a bell": "\x07",
    "a line end and a false line": "\n2026-11-25T09:50:00+0000 ERROR training: all is lost",
    "a carriage return": "\rERROR",
    "a backspace": "ok\x08\x08",
    "a sign that turns the direction": "\u202excel.csv",
    "a C1 control": "\x9b31m",
    "a next line of C1": "\x85",
    "a line separator": "\u2028",
    "a delete": "\x7f",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_sign_is_shown_as_an_escape_on_one_line(text):
    shown = escape_for_terminal(f"a{text}b")
    assert shown.isprintable() and shown.startswith("a") and shown.endswith("b")
    assert shown.encode().decode("unicode_escape").encode("latin-1", "replace") != b""


@pytest.mark.parametrize("text", ["café 漢字 🙂 ½", "plain", "", "back\\slash"])
def test_what_can_be_read_is_shown_as_it_is(text):
    assert escape_for_terminal(text) == text


@quick
@given(st.text(max_size=20))
def test_nothing_but_printable_signs_is_ever_shown(text):
    shown = escape_lines_for_terminal(text)
    assert shown.count("\n") == text.count("\n")
    assert not {unicodedata.category(sign) for sign in shown if sign != "\n"} & {"Cc", "Cf", "Cs", "Zl", "Zp"}


@pytest.mark.parametrize(
    "cell",
    ["-5", "+3.5", "-1e-7", "+.5", "-0", "5", "", "client", "a=b", "a-b", "x@y.org", "1;2", "2026-11-25"],
)
def test_numbers_and_plain_words_are_left_alone(cell):
    assert escape_for_spreadsheet(cell) == cell


@pytest.mark.parametrize(
    "cell, shown",
    [
        ("=1+1", "'=1+1"),
        ('=cmd|" /C calc"!A0', '\'=cmd|" /C calc"!A0'),
        ("+1+1", "'+1+1"),
        ("-2+3", "'-2+3"),
        ("@SUM(1)", "'@SUM(1)"),
        ("\t=1", "'\t'=1"),
        ("\r=1", "'\r'=1"),
        ("x;=1+1", "x;'=1+1"),
        ("x\n=1+1", "x\n'=1+1"),
        ("\uff1d1+1", "'\uff1d1+1"),
        ("--5", "'--5"),
        ('"=1+1', "'\"=1+1"),
        ('x;"=1+1;y', "x;'\"=1+1;y"),
        ("-5%", "'-5%"),
    ],
)
def test_a_cell_that_a_spreadsheet_would_run_begins_with_an_apostrophe(cell, shown):
    assert escape_for_spreadsheet(cell) == shown


@quick
@given(st.text("=+-@\t\r\n;,|\"' a1.e\uff1d", max_size=8), st.sampled_from(",;\t"))
def test_however_a_spreadsheet_splits_a_line_no_cell_of_it_is_a_formula(text, separator):
    line = io.StringIO(newline="")
    csv.writer(line, lineterminator="\n").writerow(["x", escape_for_spreadsheet(text), "y"])
    for cells in csv.reader(io.StringIO(line.getvalue(), newline=""), delimiter=separator):
        for cell in cells:
            bare = cell.strip('"')
            assert not re.match(r"[=+\-@\t\r\uff1d]", bare) or is_number(bare) or "," in bare


def is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


# --- where it counts ---------------------------------------------------------------------------------------

FORMULA = '=HYPERLINK("http://x")'


def rejected_cells(world):
    with (world.root / "ingesteddata" / "rejectedrows.csv").open(newline="") as handle:
        return list(csv.reader(handle))


def test_formulas_are_neutral_in_rejected_rows_and_kept_in_the_table(old_world):
    rows = make_clients(50, "c")
    rows[0][0] = rows[1][2] = FORMULA
    rows[2][1], rows[3][1] = "=1+1", "-5"
    rows[4][1] = "-5x"
    old_world.put("sourcedata/+c.csv", rows)
    result = old_world.run("ingestion")
    assert result["rows_rejected"] == 2
    _, *found = rejected_cells(old_world)
    assert [row[0] for row in found] == ["'+c.csv"] * 2
    assert [row[3] for row in found] == ["'=1+1", "'-5x"]
    table = old_world.table().decode()
    assert '"=HYPERLINK(""http://x"")"' in table and ",-5," in table and "'=" not in table


def test_formulas_are_neutral_in_exported_tables_of_the_history(old_world, tmp_path):
    old_world.put("sourcedata/=1+1.csv", make_clients(50, "c"))
    old_world.tick()
    old_world.run("diagnostics", "--export", str(tmp_path / "out"))
    with (tmp_path / "out" / "ingested_files.csv").open(newline="") as handle:
        names = [row["name"] for row in csv.DictReader(handle)]
    assert "'=1+1.csv" in names
    with sqlite3.connect(old_world.root / "records.db") as database:
        assert ("=1+1.csv",) in database.execute("select name from ingested_files").fetchall()


def hostile_world(world):
    """Put hostile signs where a stranger can: file names, column names, cells."""
    for number, text in enumerate(HOSTILE.values()):
        name = f"{number}{text.replace('/', '')}.csv"
        world.put(f"sourcedata/{name}", make_clients(3, f"n{number}"))
        header = ["corporation", f"activity{text}", "colour", "exited"]
        world.put(f"sourcedata/header{number}.csv", make_clients(3, f"h{number}"), header)
        extra = ["corporation", "activity", "colour", "exited", f"extra{text}"]
        world.put(f"sourcedata/extra{number}.csv", [[*r, "1"] for r in make_clients(3, f"e{number}")], extra)
    rows = make_clients(60, "cells")
    for number, text in enumerate(HOSTILE.values()):
        rows[number][1] = f"5{text}5"
        rows[20 + number][3] = f"1{text}"
    world.put("sourcedata/cells.csv", rows)
    world.put("sourcedata/lines.csv", [["x" + HOSTILE["an escape that clears the screen"], "many", "", "1"]])
    return world


def assert_plain(text):
    assert [line for line in text.split("\n") if not line.isprintable()] == []


def test_no_hostile_sign_reaches_the_log_or_the_terminal_raw(old_world, capsys):
    old_world.tick()
    hostile_world(old_world)
    capsys.readouterr()
    import deployment
    import diagnostics
    import fullprocess

    for script, arguments in (
        (fullprocess, ["--dry-run"]),
        (fullprocess, ["-v"]),
        (deployment, ["--list"]),
        (deployment, ["--rollback", "\x1b[31m"]),
        (diagnostics, ["--history"]),
        (fullprocess, ["--\x1b[31m\nx"]),
    ):
        script.main(["--config", str(old_world.config_path), *arguments])
        for text in capsys.readouterr():
            assert_plain(text)
    log = (old_world.root / "logs" / "pipeline.log").read_text()
    assert_plain(log)
    lines = log.splitlines()
    assert len([line for line in lines if "refused" in line]) >= len(HOSTILE)
    stamped = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} (DEBUG|INFO|WARNING|ERROR) [a-z]+: ")
    assert [line for line in lines if not stamped.match(line) and not line.startswith("  ")] == []
    assert not [
        line for line in lines if "all is lost" in line and line.split(" ", 2)[2].startswith("training")
    ]
    files = (old_world.root / "ingesteddata" / "ingestedfiles.txt").read_text()
    assert_plain(files)
    assert len(files.splitlines()) == 1 + sum(
        entry["refused"] is None
        for entry in json.loads((old_world.root / "ingesteddata" / ".finaldata.json").read_text())["files"]
    )


def test_a_traceback_cannot_be_taken_for_lines_of_the_log(old_world, monkeypatch):

    def broken(*_, **__):
        raise RuntimeError("\x1b[2J\n2026-11-25T09:50:00+0000 INFO training: f1=1.0")

    monkeypatch.setattr("risk.data.input_batch.collect", broken)
    old_world.run("ingestion", expect=70)
    assert_plain(old_world.said)
    assert "\n  RuntimeError: \\x1b[2J\n  2026-11-25" in old_world.said


def test_every_problem_of_config_json_has_its_own_line_and_none_is_forged(workspace):
    workspace.configure(**{"sep\x1b[2J\nERROR": 1, "drifd": 2})
    workspace.run("ingestion", expect=78)
    assert_plain(workspace.said)
    first, *problems = workspace.said.splitlines()
    assert first.startswith("ERROR ingestion: ") and "2 problems" in first
    assert [line[:5] for line in problems] == ["  sep", "  dri"] and "\\x1b[2J\\nERROR" in problems[0]
