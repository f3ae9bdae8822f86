"""Kinds of input, each with what must become of it."""

import csv
import os
import re
from dataclasses import dataclass

HEADER = "corporation,activity,exited"


N_GOOD = 120


GOOD = "".join(f"good{i},{i},{i % 2}\n" for i in range(N_GOOD))


THREE = "c1,1,0\nc2,2,1\nc3,3,0\n"


NINETY_NINE = "".join(f"c{i},{i},{i % 2}\n" for i in range(99))


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
    "a stray quote that another closes rows later": refused(
        text(THREE + '"c4,4,1\nc5,5,1\nc6",6,0\nc7,7,1\n'), "a quote opened at line 5 closes at line 7"
    ),
    "a stray quote that another closes in the next line": refused(
        text(THREE + 'c4,"4,1\nc5,5",1\n'), "a quote opened at line 5 closes at line 6"
    ),
    "a stray quote that a quoted cell ends": refused(
        text(THREE + '"c4,4,1\nc5,5,1\n"c6",6,0\n'), "a quote opened at line 5 closes at line 7"
    ),
    "a stray quote behind a quote within a word": refused(
        text(THREE + 'c"4,"4,1\nc5,5,1\nc6,6",0\n'), "a quote opened at line 5 closes at line 7"
    ),
    "a stray quote in the header": refused(
        b'corporation,activity,"exited\nc1,1,0\nc2,2,1\nc3,3",0\n',
        "a quote opened at line 1 closes at line 4",
    ),
    "stray quotes among quoted cells": refused(
        b'corporation;activity;exited\r\n"c1";1;0\r\n"c2;2;1\r\nc3;3;0\r\nc4;4;1\r\nc5";5;0\r\n',
        "a quote opened at line 3 closes at line 6",
    ),
    "stray quotes and lone carriage returns": refused(
        text(THREE + '"c4,4,1\nc5,5,1\nc6",6,0\n').replace(b"\n", b"\r"),
        "a quote opened at line 5 closes at line 7",
    ),
    "stray quotes behind a cell of several lines": refused(
        text('"c\n1",1,0\n"c2,2,1\nc3,3,0\nc4",4,1\n'), "a quote opened at line 4 closes at line 6"
    ),
    "addresses of several lines": Case(
        text('"Elm Street 1, rear\nFloor 2, door 3\nBerlin",1,0\n"Oak Lane\n2",2,1\n"a\n\nb, ""c""\n",3,0\n')
    ),
    "notes of several lines behind a row": Case(
        b'exited,activity,corporation\n0,1,"first\nthen this, that, and more"\n1,2,"a\nb\nc"\n0,3,c3\n'
    ),
    "a quote within a word": Case(text('2" pipe,1,0\n5"pipe,2,1\nc3,3,0\n')),
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
    "two labels in 101 that are neither": refused(
        text(f"{NINETY_NINE}c99,4,maybe\nc100,4,MAYBE\n"),
        "2 of 101 labelled rows are neither '1' nor '0' in 'exited': 'maybe' 2; ",
    ),
    "label neither": refused(text(f"{THREE}c4,4,maybe\n"), '"positive_label": ["1", "maybe"] if they leave'),
    "label NA": refused(text(f"{THREE}c4,4,NA\n"), "1 of 4 labelled rows are neither '1' nor '0'"),
    "a label neither in a file that the exact reader takes": refused(
        text(f'{THREE}c4, "4",maybe\n'), "1 of 4 labelled rows are neither '1' nor '0'"
    ),
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


RARE_LABEL = Case(
    text(f"{NINETY_NINE}c99,4,maybe\n"),
    new=99,
    rejected=(("101", "exited", "maybe", "is neither '1' nor '0'"),),
    says="1 of 100 labelled rows are neither '1' nor '0' in 'exited': 'maybe' 1; these rows are rejected",
)


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
