"""What becomes of every kind of input: accepted, rows rejected, or refused, each with its reason."""

import csv
import json
import os
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

HEADER = "corporation,activity,exited"
N_GOOD = 120
GOOD = "".join(f"good{i},{i},{i % 2}\n" for i in range(N_GOOD))
THREE = "c1,1,0\nc2,2,1\nc3,3,0\n"
NO_ROW = ("", "", "", "")


@dataclass(frozen=True)
class Case:
    """One file beside a good one: its bytes, what is counted, and what the operator reads."""

    content: bytes
    new: int = 3
    duplicate: int = 0
    unlabelled: int = 0
    rejected: tuple[tuple[str, str, str, str], ...] = ()  # line, column, value, reason
    refused: str | None = None
    says: str = ""


def text(body, header=HEADER):
    return f"{header}\n{body}".encode()


def refused(content, reason):
    return Case(content, new=0, refused=reason, rejected=(("", "", "", reason),))


def bad_number(value):
    reason = "is not a number"
    return Case(
        text(f"{THREE}c4,{value},1\n"),
        rejected=(("5", "activity", value, reason),),
        says=rf"1 of 4 rows rejected, first at line 5 \(activity {reason}\)",
    )


TABLE = {
    "an empty file": refused(b"", "is empty"),
    "blanks and nothing else": refused(b" \n\t\n\r\n", "holds nothing but blanks"),
    "a byte order mark and nothing else": refused(b"\xef\xbb\xbf", "holds nothing but blanks"),
    "header only": Case(text(""), new=0),
    "header only, without a line end": Case(HEADER.encode(), new=0),
    "no line end at the end": Case(text(THREE).rstrip(b"\n")),
    "a missing column": refused(b"corporation,exited\nc1,1\n", "lacks the column 'activity'"),
    "two missing columns": refused(b"exited,x\n1,1\n", "lacks the columns 'corporation', 'activity'"),
    "an extra column": Case(
        b"corporation,activity,colour,exited\nc1,1,red,0\nc2,2,,1\nc3,3,red,0\n",
        says="extra column ignored: 'colour'",
    ),
    "an exported index without a name": Case(
        b",corporation,activity,exited\n0,c1,1,0\n1,c2,2,1\n2,c3,3,0\n",
        says=r"extra column ignored: '\(no name\)'",
    ),
    "a separator at the end of each line": Case(
        b"corporation,activity,exited,\nc1,1,0,\nc2,2,1,\nc3,3,0,\n", says="no name"
    ),
    "empty cells behind the last column": Case(text("c1,1,0,,\nc2,2,1,\nc3,3,0\n")),
    "reordered columns": Case(b"exited,corporation,activity\n0,c1,1\n1,c2,2\n0,c3,3\n"),
    "duplicated columns": refused(
        b"corporation,activity,activity,exited\nc1,1,1,0\n", "has the column 'activity' twice"
    ),
    "names that blanks alone tell apart": refused(
        b"corporation,activity, activity,exited\nc1,1,1,0\n", "has the column 'activity' twice"
    ),
    "names that case alone tells apart": Case(
        b"Activity,corporation,activity,exited\n9,c1,1,0\n8,c2,2,1\n7,c3,3,0\n", says="'Activity'"
    ),
    "a header without names": refused(b",,\n1,2,3\n", "has a first line without column names"),
    "a header with a broken quote": refused(b'"corporation"x,activity,exited\nc1,1,0\n', "header"),
    "a header with a quote never closed": refused(b'"corporation,activity,exited\nc1,1,0\n', "header"),
    "a quoted header": Case(b'"corporation","activity","exited"\nc1,1,0\nc2,2,1\nc3,3,0\n'),
    "a header below blank lines": Case(b"\n \n\r\n" + text(THREE)),
    "semicolons": Case(text(THREE, HEADER).replace(b",", b";")),
    "tabs": Case(text(THREE, HEADER).replace(b",", b"\t")),
    "pipes": Case(text(THREE, HEADER).replace(b",", b"|")),
    "UTF-16": refused(text(THREE).decode().encode("utf-16"), "UTF-16"),
    "UTF-16 without a mark": refused(text(THREE).decode().encode("utf-16-le"), "NUL bytes"),
    "latin-1": refused(text("Café,1,0\n").decode().encode("latin-1"), "is not UTF-8"),
    "a character cut at the end": refused(text(THREE + "é").rstrip(b"\xa9"), "is not UTF-8|UTF-8 character"),
    "a byte order mark": Case(b"\xef\xbb\xbf" + text(THREE)),
    "a byte order mark and a quoted header": Case(
        b'\xef\xbb\xbf"corporation",activity,exited\n' + THREE.encode()
    ),
    "NUL bytes": refused(text("c1,1\0,0\n"), "NUL bytes"),
    "an HTML page": refused(b"<!DOCTYPE html>\n<html><body>502</body></html>\n", "HTML"),
    "merge-conflict markers": refused(
        text("<<<<<<< ours\nc1,1,0\n=======\nc1,2,0\n>>>>>>> theirs\n"), "merge-conflict markers"
    ),
    "two header rows": Case(
        text(f"{HEADER}\n{THREE}"), rejected=(("2", "", "", "repeats the header"),), says="1 of 4 rows"
    ),
    "quoted newlines": Case(text('"c\n1",1,0\n"c\r\n2",2,1\n"a ""b"", c",3,0\n')),
    "a bad row below a quoted newline": Case(
        text('"c\n1",1,0\nc2,many,1\nc3,3,0\nc4,4,1\n'),
        rejected=(("4", "activity", "many", "is not a number"),),
    ),
    "CRLF": Case(text(THREE).replace(b"\n", b"\r\n")),
    "CRLF and LF mixed": Case(text("c1,1,0\r\nc2,2,1\nc3,3,0\r\n")),
    "lone carriage returns": Case(text(THREE).replace(b"\n", b"\r")),
    "blank lines in the middle": Case(text("c1,1,0\n\n  \nc2,2,1\n\nc3,3,0\n\n\n")),
    "a row of separators": Case(
        text(f"{THREE},,\n"), rejected=(("5", "", "", "has no filled cell"),), says="1 of 4 rows rejected"
    ),
    "blanks round cells": Case(text(" c1 , 1,0 \n\tc2\t,2,1\nc3,\u00a03,0\n")),
    "a short row": Case(
        text(f"{THREE}c4,4\n"), rejected=(("5", "", "", "has 2 cells where the header has 3"),)
    ),
    "a long row": Case(
        text(f"{THREE}c4,4,1,5\n"), rejected=(("5", "", "", "has 4 cells where the header has 3"),)
    ),
    "a quote never closed": refused(
        text(THREE + '"c4,4,1\nc5,5,1\n'), "a quote opened near line 5 is never closed"
    ),
    "text behind a closed quote": Case(
        text(THREE + '"c4" x,4,1\n'),
        rejected=(("5", "", "", "has a quote inside an unquoted or after a quoted cell"),),
    ),
    "a cell of two million letters": Case(
        text(f"{THREE}{'x' * 2_000_000},4,1\n"),
        rejected=(("5", "", "", "has a cell of over 1048576 characters"),),
    ),
    "letters in a number column": bad_number("many"),
    "inf": bad_number("inf"),
    "1e999": bad_number("1e999"),
    "an underscore in a number": bad_number("1_000"),
    "a hexadecimal number": bad_number("0x10"),
    "a number with a comma": Case(
        b"corporation;activity;exited\nc1;1;0\nc2;2;1\nc3;3;0\nc4;3,5;1\n",
        rejected=(("5", "activity", "3,5", "is not a number"),),
    ),
    "missing words in a number column": Case(text("c1,NA,0\nc2,null,1\nc3,NaN,0\n")),
    "missing cells": Case(text('c1,,0\nc2,"",1\n,3,0\n')),
    "true and false in a number column": Case(text("c1,true,0\nc2,FALSE,1\nc3,3,0\n")),
    "label Yes and No": Case(text("c1,1,Yes\nc2,2,No\nc3,3,no\n")),
    "label TRUE and True mixed": Case(text("c1,1,TRUE\nc2,2,True\nc3,3,false\n")),
    "label 1 and 1.0 mixed": Case(text("c1,1,1\nc2,2,1.0\nc3,3,0.0\n")),
    "label neither": Case(
        text(f"{THREE}c4,4,maybe\n"), rejected=(("5", "exited", "maybe", "is neither '1' nor '0'"),)
    ),
    "label NA": Case(text(f"{THREE}c4,4,NA\n"), rejected=(("5", "exited", "NA", "is neither '1' nor '0'"),)),
    "label missing in a row": Case(text("c1,1,0\nc2,2,\nc3,3, \n"), unlabelled=2),
    "label column missing": Case(b"corporation,activity\nc1,1\nc2,2\nc3,3\n", unlabelled=3),
    "one class only": Case(text("c1,1,1\nc2,2,1\nc3,3,1\n")),
    "client ids spelled NA and null": Case(text("NA,1,0\nnull,2,1\nnan,3,0\n")),
    "duplicates inside and across": Case(text(f"{THREE}c1,1,0\n c1 ,1,0\ngood5,5,1\n"), duplicate=3),
    "every row rejected": Case(
        text("c1,many,0\nc2,2\n"),
        new=0,
        rejected=(
            ("2", "activity", "many", "is not a number"),
            ("3", "", "", "has 2 cells where the header has 3"),
        ),
        says="2 of 2 rows rejected",
    ),
}


def ingest_later(workspace):
    """Ingest the good file in a run of its own and give a run's counts of nothing."""
    (workspace.root / "sourcedata" / "odd.csv").rename(workspace.root / "odd")
    workspace.run("ingestion")
    (workspace.root / "odd").rename(workspace.root / "sourcedata" / "odd.csv")


def put(workspace, name, content):
    path = workspace.root / "sourcedata" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def add_test_data(workspace):
    workspace.put("testdata/t.csv", [line.split(",") for line in GOOD.split()], HEADER.split(","))


def rejections(workspace):
    path = workspace.root / "ingesteddata" / "rejectedrows.csv"
    with path.open(newline="", encoding="utf-8") as handle:
        first, *others = csv.reader(handle)
    assert first == ["file", "line", "column", "value", "reason"]
    return [tuple(row) for row in others]


def balance(result):
    return result["rows_read"] == result["rows_new"] + result["rows_duplicate"] + result["rows_rejected"]


@pytest.mark.parametrize("arrival", ["together", "later"])
@pytest.mark.parametrize("case", TABLE.values(), ids=TABLE)
def test_a_file_beside_a_good_one_is(workspace, case, arrival):
    check_beside_a_good_one(workspace, case, arrival)


def check_beside_a_good_one(workspace, case, arrival):
    """Ingest a file with a good one, or after it, and compare with what its case promises."""
    put(workspace, "good.csv", f"{HEADER}\n{GOOD}")
    put(workspace, "odd.csv", case.content)
    together = arrival == "together"
    if not together:
        ingest_later(workspace)
    alone_refused = case.refused and not together
    result = workspace.run("ingestion", expect=os.EX_DATAERR if alone_refused else 0)
    n_good = N_GOOD if together else 0
    n_rejected = 0 if case.refused else len(case.rejected)
    assert result == {
        "files": together + (not case.refused),
        "files_refused": int(bool(case.refused)),
        "rows_read": n_good + case.new + case.duplicate + n_rejected,
        "rows_new": n_good + case.new,
        "rows_duplicate": case.duplicate,
        "rows_rejected": n_rejected,
        "rows_unlabelled": case.unlabelled,
        "rows_total": N_GOOD + case.new,
    }
    assert balance(result)
    found = rejections(workspace)
    assert [row[:4] for row in found] == [("odd.csv", *row[:3]) for row in case.rejected]
    for row, wanted in zip(found, case.rejected, strict=True):
        assert any(reason in row[4] for reason in wanted[3].split("|"))
    if case.refused:
        assert "WARNING ingestion: odd.csv: refused: " in workspace.said
    assert "Traceback" not in workspace.said
    assert bool(workspace.said) == bool(case.refused or case.rejected or case.says)
    assert re.search(case.says, workspace.said)


# --- the folder ------------------------------------------------------------------------------------------


def make_folder(path, outside):
    path.mkdir()
    (path / "inside.csv").write_bytes(text(THREE))


def make_link(path, outside):
    path.symlink_to(outside)


def make_pipe(path, outside):
    os.mkfifo(path)


def make_odd_name(path, outside):
    Path(os.fsdecode(os.fsencode(path.parent) + b"/caf\xe9.csv")).write_bytes(text(THREE))


@pytest.fixture
def good(workspace):
    put(workspace, "good.csv", f"{HEADER}\n{GOOD}")
    return workspace


@pytest.mark.parametrize(
    "make, name, reason",
    [
        (make_folder, "more.csv", "is a folder"),
        (make_link, "more.csv", "is a link"),
        (make_pipe, "more.csv", "is a pipe"),
        (make_odd_name, r"caf\\udce9.csv", "has a name that is not UTF-8"),
    ],
    ids=["a sub-folder", "a symlink out of the folder", "a FIFO", "a name that is not UTF-8"],
)
def test_what_is_named_like_an_input_and_is_none_is_told_and_left_alone(good, tmp_path, make, name, reason):
    (tmp_path / "outside.csv").write_bytes(text(THREE))
    make(good.root / "sourcedata" / "more.csv", tmp_path / "outside.csv")
    result = good.run("ingestion")
    assert result["files"] == 1 and result["rows_total"] == N_GOOD
    assert re.search(f"WARNING ingestion: {name}: refused: {reason}", good.said)


@pytest.mark.parametrize(
    "name", [".DS_Store", "Icon\r", "notes.txt", ".hidden.csv", "~lock.csv", "a.csv.part"]
)
def test_what_is_not_named_like_an_input_is_passed_over_in_silence(good, name):
    put(good, name, b"\0\1Bud1")
    result = good.run("ingestion")
    assert (result["files"], result["files_refused"], good.said) == (1, 0, "")


def test_an_idle_tick_does_not_repeat_what_was_said_about_a_link(good, tmp_path):
    (good.root / "sourcedata" / "more.csv").symlink_to(tmp_path)
    add_test_data(good)
    good.tick()
    assert "more.csv: refused: is a link" in good.said
    good.tick()
    assert good.said == ""


def test_the_same_file_under_two_names_gives_duplicates(good):
    put(good, "again.csv", f"{HEADER}\n{GOOD}")
    result = good.run("ingestion")
    assert (result["rows_read"], result["rows_new"], result["rows_duplicate"]) == (2 * N_GOOD, N_GOOD, N_GOOD)
    before = good.table()
    put(good, "later.csv", f"{HEADER}\n{GOOD}")
    result = good.run("ingestion")
    assert (result["rows_read"], result["rows_new"], result["rows_duplicate"]) == (N_GOOD, 0, N_GOOD)
    assert good.table() == before


def test_a_changed_file_of_the_same_name_adds_what_is_new_in_it(good):
    path = put(good, "more.csv", text(THREE))
    good.run("ingestion")
    status = path.stat()
    path.write_bytes(text("c1,1,0\nc9,9,1\nc3,3,0\n"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # same size, same time: content decides
    result = good.run("ingestion")
    assert (result["rows_new"], result["rows_duplicate"], result["rows_total"]) == (1, 2, N_GOOD + 4)
    assert "more.csv: changed since it was ingested" in good.said
    assert good.table().endswith(b"c3,3,0\nc9,9,1\n")


def test_every_run_that_takes_files_up_is_a_batch_of_its_own(good):
    put(good, "more.csv", text(THREE))
    good.run("ingestion")
    put(good, "more.csv", text(THREE + "c9,9,1\n"))
    good.run("ingestion")
    put(good, "new.csv", text("n1,1,0\n"))
    good.run("ingestion")
    ledger = json.loads((good.root / "ingesteddata" / ".finaldata.json").read_text())
    batches = [entry["batch"] for entry in ledger["files"] if entry["name"] in ("more.csv", "new.csv")]
    assert len({*batches}) == 3 and batches == sorted(batches)


def test_a_removed_file_keeps_its_rows(good):
    path = put(good, "more.csv", text(THREE))
    good.run("ingestion")
    before = good.table()
    path.unlink()
    assert good.run("ingestion")["rows_total"] == N_GOOD + 3
    put(good, "new.csv", text("n1,1,0\n"))
    assert good.run("ingestion")["rows_total"] == N_GOOD + 4
    assert good.table() == before + b"n1,1,0\n"


@pytest.mark.parametrize("arguments", [[], ["--rebuild"]], ids=["by hand", "--rebuild"])
def test_an_emptied_folder_changes_nothing(good, arguments):
    good.run("ingestion")
    before = good.bytes()
    (good.root / "sourcedata" / "good.csv").unlink()
    before.pop("sourcedata/good.csv")
    assert good.run("ingestion", *arguments)["rows_total"] == N_GOOD
    assert good.bytes() == before


def test_a_rebuild_from_files_that_give_no_row_leaves_the_old_table(good):
    good.run("ingestion")
    before = good.bytes("sourcedata")
    put(good, "good.csv", b"<html>")
    good.run("ingestion", "--rebuild", expect=os.EX_DATAERR)
    assert "the old one stays" in good.said
    assert good.bytes("sourcedata") == before


@contextmanager
def meanwhile(act):
    """Do something over and over in another thread, at least once before and after."""
    begun, done = threading.Event(), threading.Event()

    def work():
        while not done.is_set():
            act()
            begun.set()

    worker = threading.Thread(target=work)
    worker.start()
    begun.wait()
    try:
        yield
    finally:
        done.set()
        worker.join()


def grow(path):
    with path.open("a") as handle:
        handle.write(f"g{path.stat().st_size},1,0\n")


def test_a_file_still_being_written_is_left_for_the_next_run(good):
    path = put(good, "growing.csv", text(THREE))
    with meanwhile(lambda: grow(path)):
        result = good.run("ingestion")
    assert "growing.csv: changed while it was read; left for the next run" in good.said
    assert (result["files"], result["rows_total"]) == (1, N_GOOD)
    assert b"growing" not in (good.root / "ingesteddata" / "ingestedfiles.txt").read_bytes()
    assert good.run("ingestion")["rows_read"] == len(path.read_bytes().splitlines()) - 1


@pytest.mark.slow
def test_a_file_that_was_left_is_met_again_by_the_next_tick_even_with_the_content_it_had(good):
    add_test_data(good)
    path = put(good, "touched.csv", text(THREE))
    with meanwhile(lambda: os.utime(path)):
        assert good.tick()["files_new"] == 1
    assert good.tick()["files_new"] == 1
    assert b"c3,3,0" in good.table()


# --- the first table -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content, rejected",
    [(text(""), 0), (text("c1,1\nc2,2,0,9\n"), 2), (text("\n"), 0)],
    ids=["header only", "no row of the right shape", "blank line"],
)
def test_a_first_file_without_a_row_teaches_nothing(workspace, content, rejected):
    put(workspace, "a.csv", content)
    result = workspace.run("ingestion")
    assert (result["files"], result["rows_read"], result["rows_total"]) == (1, rejected, 0)
    workspace.run("training", expect=os.EX_NOINPUT)
    put(workspace, "b.csv", f"{HEADER}\n{GOOD}x,many,1\n")
    result = workspace.run("ingestion")
    assert (result["rows_new"], result["rows_rejected"]) == (N_GOOD, 1)
    before = workspace.bytes()
    workspace.run("ingestion", "--rebuild")
    assert workspace.bytes() == before


def test_a_first_folder_of_refused_files_alone_is_65_once_and_then_nothing_new(workspace):
    put(workspace, "a.csv", b"<html>")
    assert workspace.run("ingestion", expect=os.EX_DATAERR)["files_refused"] == 1
    assert workspace.run("ingestion")["files_refused"] == 0
    assert workspace.said == ""
    put(workspace, "b.csv", f"{HEADER}\n{GOOD}")
    assert workspace.run("ingestion")["rows_new"] == N_GOOD


def test_a_first_folder_whose_only_file_ends_in_an_open_quote_is_refused(workspace):
    put(workspace, "a.csv", text(f'{THREE}"c4,4,1\n'))
    assert workspace.run("ingestion", expect=os.EX_DATAERR)["files_refused"] == 1
    put(workspace, "b.csv", f"{HEADER}\n{GOOD}")
    assert workspace.run("ingestion")["rows_total"] == N_GOOD


@pytest.mark.parametrize(
    "keys, reason",
    [
        ({"target_column": "churned"}, "no file has the label column 'churned'"),
        ({"id_columns": ["client"]}, "config.json names 'client', which the data lack"),
        ({"ignore_columns": ["age"]}, "config.json names 'age', which the data lack"),
        ({"ignore_columns": ["activity"]}, "no feature is left"),
        ({"positive_label": "gone"}, "must hold 'gone' and one other word"),
        ({"separator": ";"}, "no file has the label column 'exited'"),
    ],
    ids=["label", "id", "ignored", "no feature", "label word", "separator"],
)
def test_a_config_that_does_not_fit_the_first_table_is_65_and_writes_nothing(good, keys, reason):
    good.configure(**keys)
    good.run("ingestion", expect=os.EX_DATAERR)
    assert reason in good.said
    assert not (good.root / "ingesteddata" / ".finaldata.json").exists()


def test_other_label_words_must_be_named(workspace):
    put(workspace, "a.csv", text("c1,1,stayed\nc2,2,gone\nc3,3,stayed\nc4,4,GONE\n"))
    workspace.run("ingestion", expect=os.EX_DATAERR)
    assert "name the word for leaving" in workspace.said
    workspace.configure(positive_label="Gone")
    assert workspace.run("ingestion")["rows_new"] == 4


def test_the_header_of_most_files_makes_the_first_table(workspace):
    put(workspace, "a.csv", b"corporation,activity,colour,exited\nc1,1,red,0\n")
    put(workspace, "b.csv", f"{HEADER}\n{GOOD}")
    put(workspace, "c.csv", b"exited,activity,corporation\n1,7,c7\n")
    result = workspace.run("ingestion")
    assert (result["rows_new"], result["files_refused"]) == (N_GOOD + 2, 0)
    assert workspace.table().startswith(f"{HEADER}\n".encode())


# --- names and shapes of columns --------------------------------------------------------------------------


def test_columns_may_differ_by_case_and_bear_any_name(workspace):
    names = [
        "Age",
        "age",
        "file_no",
        "rowid",
        "select",
        'a "quoted" name',
        "it's",
        "c0",
        "naïve",
        "a,b",
        "",
        "x\ny",
    ]
    cells = [
        [f"{column}-{row}" if column % 2 else str(row) for column in range(len(names))] for row in range(9)
    ]
    for row in cells:
        row[names.index("")] = "gone"
    rows = [[*row, str(number % 2)] for number, row in enumerate(cells)]
    workspace.put("sourcedata/a.csv", rows, header=[*names, "exited"])
    workspace.put("sourcedata/b.csv", [row[::-1] for row in rows[:3]], header=[*names, "exited"][::-1])
    result = workspace.run("ingestion")
    assert (result["rows_new"], result["rows_duplicate"]) == (9, 3)
    with (workspace.root / "ingesteddata" / "finaldata.csv").open(newline="") as handle:
        header, *found = csv.reader(handle)
    kept = [position for position, name in enumerate([*names, "exited"]) if name]
    assert header == [[*names, "exited"][position] for position in kept]
    assert found == [[row[position] for position in kept] for row in rows]
    kinds = json.loads((workspace.root / "ingesteddata" / ".finaldata.json").read_text())["schema"]["kinds"]
    assert (kinds["Age"], kinds["age"]) == ("number", "text")


@pytest.mark.slow
def test_two_thousand_columns_are_a_table(workspace):
    names = [f"n{number}" for number in range(1_999)]
    rows = [[str(column * row) for column in range(1_999)] + [str(row % 2)] for row in range(6)]
    rows.append([*rows[0][:-2], "many", "1"])
    workspace.put("sourcedata/a.csv", [*rows, rows[2]], header=[*names, "exited"])
    workspace.put("sourcedata/b.csv", [*rows, rows[2]], header=[*names, "exited"])
    workspace.configure(id_columns=[])
    result = workspace.run("ingestion")
    assert result["rows_read"] == 16 and result["rows_new"] == 7 and balance(result)


def test_what_the_table_keeps_of_a_cell_is_its_text(workspace):
    cells = ["007", "0.1", "1.10", "1e2", "+5", "-0", "1.", ".5", "12345678901234567890.123456789"]
    put(workspace, "a.csv", text("".join(f"c{n}, {cell}\t,0\n" for n, cell in enumerate(cells))))
    workspace.run("ingestion")
    assert workspace.table().decode() == f"{HEADER}\n" + "".join(f"c{n},{c},0\n" for n, c in enumerate(cells))


# --- what an operator may do to our files -------------------------------------------------------------------


def test_rejected_rows_that_were_removed_are_begun_anew(good):
    put(good, "more.csv", text("c1,many,0\n"))
    good.run("ingestion")
    (good.root / "ingesteddata" / "rejectedrows.csv").unlink()
    put(good, "later.csv", text("c2,lots,0\n"))
    good.run("ingestion")
    assert rejections(good) == [("later.csv", "2", "activity", "lots", "is not a number")]
    assert "begun anew" in good.said


@pytest.mark.parametrize("change", ["gone", "cut", "edited"])
def test_a_table_changed_by_another_hand_is_an_error_that_names_the_remedy(good, change):
    good.run("ingestion")
    path = good.root / "ingesteddata" / "finaldata.csv"
    data = path.read_bytes()
    path.unlink() if change == "gone" else path.write_bytes(data[:99] if change == "cut" else data.swapcase())
    put(good, "more.csv", text(THREE))
    good.run("ingestion", expect=os.EX_DATAERR)
    assert "run ingestion.py --rebuild" in good.said
    good.run("ingestion", "--rebuild")
    assert good.table() == data + THREE.encode()


def test_a_memory_limit_that_is_too_small_is_said(good):
    good.configure(engine={"memory_limit": "1MB"})
    put(good, "more.csv", text("".join(f"{'x' * 500}{n},{n},0\n" for n in range(20_000))))
    good.run("ingestion", expect=os.EX_IOERR)
    assert "raise engine.memory_limit" in good.said
