"""A file whose last line has no line end may grow: its cut row goes when the whole file comes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from input_cases import GOOD, HEADER, N_GOOD, put
from makers import make_clients

import ingestion

ROWS = "".join(f"c{i},{i * 10 + 0.5},{i % 2}\n" for i in range(1, 21))
WHOLE = "corporation,exited,activity\n" + "".join(f"c{i},{i % 2},{i * 10 + 0.5}\n" for i in range(1, 21))
KILLED = 9
CHILD = """
import itertools, os, sys
sys.path.insert(0, sys.argv[1])
import ingestion
renames = itertools.count()

def kill(event, arguments):
    if event == "os.rename" and next(renames) == int(sys.argv[3]):
        os._exit(9)

sys.addaudithook(kill)
raise SystemExit(ingestion.main(["--config", sys.argv[2], "-q"]))
"""


def cut(text, *, lines, signs):
    """Keep the header, some rows, and of the next one some signs."""
    complete = text.split("\n")[: lines + 1]
    return "\n".join([*complete, text.split("\n")[lines + 1][:signs]])


def ingest(workspace, *contents, name="b.csv"):
    for content in contents:
        put(workspace, name, content)
        result = workspace.run("ingestion")
    return result


def rebuild(workspace):
    """Give the table before and after it is compiled again."""
    before = workspace.table()
    workspace.run("ingestion", "--rebuild")
    return before, workspace.table()


@pytest.fixture
def good(workspace):
    put(workspace, "a.csv", f"{HEADER}\n{GOOD}")
    workspace.run("ingestion")
    return workspace


@pytest.mark.parametrize(
    "signs", [7, 8, 6, 3], ids=["in a number", "before the label", "at a comma", "in the id"]
)
def test_the_cut_row_goes_when_the_whole_file_comes(good, signs):
    ingest(good, cut(WHOLE, lines=9, signs=signs))
    result = ingest(good, WHOLE)
    assert result["rows_total"] == N_GOOD + 20
    assert good.table().decode() == f"{HEADER}\n{GOOD}{ROWS}"
    before, after = rebuild(good)
    assert before == after


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(",", ";"),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("c9,", '"c\n9",'),
        lambda text: text.replace("c11,", '"c ""11"",\nrear",'),
        lambda text: text.replace("100.5", '"100.5"').replace("c9,", '"c9",'),
    ],
    ids=["semicolons", "CRLF", "a cell of two lines before", "a cell of two lines in it", "quoted cells"],
)
def test_however_the_file_is_written(good, change):
    whole = change(WHOLE)
    ingest(good, whole[: whole.index("110.5") + 2])
    put(good, "b.csv", whole)
    result = good.run("ingestion")
    assert "that row is dropped" in good.said
    assert result["rows_total"] == N_GOOD + 20
    before, after = rebuild(good)
    assert before == after


def test_a_file_may_grow_many_times(good):
    for lines in (2, 5, 5, 11):
        ingest(good, cut(WHOLE, lines=lines, signs=6))
    assert ingest(good, WHOLE)["rows_total"] == N_GOOD + 20
    assert len(set(good.table().splitlines())) == 1 + N_GOOD + 20


def test_a_row_that_only_lacked_its_line_end_stays_where_it_is(good):
    ingest(good, WHOLE[:-1])
    before = good.table()
    assert ingest(good, f"{WHOLE}c99,1,9\n")["rows_new"] == 1
    assert "given up" not in good.said
    assert good.table() == before + b"c99,9,1\n"


def test_a_cut_row_that_another_file_has_whole_stays(good):
    ingest(good, cut(WHOLE, lines=9, signs=8))
    row = "c10,10,0"
    put(good, "c.csv", f"{HEADER}\n{row}\nc77,7,1\n")
    good.run("ingestion")
    ingest(good, WHOLE)
    assert f"\n{row}\n" in good.table().decode()
    assert good.table().count(b"\n") == 1 + N_GOOD + 20 + 2


def test_files_that_are_gone_and_files_between_keep_their_rows(good):
    ingest(good, cut(WHOLE, lines=9, signs=8))
    put(good, "c.csv", f"{HEADER}\nc77,7,\n")
    good.run("ingestion")
    (good.root / "sourcedata" / "a.csv").unlink()
    (good.root / "sourcedata" / "c.csv").unlink()
    assert ingest(good, WHOLE)["rows_total"] == N_GOOD + 20 + 1
    assert sorted(good.table().split(b"\n")) == sorted(
        f"{HEADER}\n{GOOD}{ROWS}c77,7,\n".encode().split(b"\n")
    )


def test_a_file_that_comes_as_another_one_gives_up_nothing(good):
    ingest(good, cut(WHOLE, lines=9, signs=8))
    total = ingest(good, WHOLE.replace("c1,", "d1,"))["rows_total"]
    assert total == N_GOOD + 10 + 1 + 11
    assert "given up" not in good.said


def test_an_unlabelled_cut_row_is_counted_out_again(good):
    whole = f"{HEADER}\n{ROWS}"
    assert ingest(good, cut(whole, lines=9, signs=10))["rows_unlabelled"] == 1
    ingest(good, whole)
    before = (good.root / "ingesteddata" / "ingestedfiles.txt").read_text().split("\n")[2].split()
    assert before[1:4] == ["9", "9", "0"]
    assert '"rows_unlabelled": 0' in (good.root / "ingesteddata" / ".finaldata.json").read_text()


def test_a_damaged_table_is_not_rewritten(good):
    ingest(good, cut(WHOLE, lines=9, signs=8))
    path = good.root / "ingesteddata" / "finaldata.csv"
    path.write_bytes(path.read_bytes().replace(b"good7,7", b"good7,8"))
    put(good, "b.csv", WHOLE)
    good.run("ingestion", expect=os.EX_DATAERR)
    assert "was modified outside this pipeline" in good.said


@pytest.mark.slow
def test_killed_at_any_rename_the_next_run_ends_in_the_same_bytes(good, tmp_path):
    ingest(good, cut(WHOLE, lines=9, signs=8))
    put(good, "c.csv", f"{HEADER}\nc77,7,1\n")
    good.run("ingestion")
    put(good, "b.csv", WHOLE)
    shutil.copytree(good.root, tmp_path / "copy")
    good.run("ingestion")
    wanted = good.table(), (good.root / "ingesteddata" / ".finaldata.json").read_bytes()
    root = Path(ingestion.__file__).parent
    for number in range(20):
        killed = tmp_path / f"killed{number}"
        shutil.copytree(tmp_path / "copy", killed)
        command = [sys.executable, "-c", CHILD, root, killed / "config.json", str(number)]
        done = subprocess.run(command, check=False)
        subprocess.run([*command[:-1], "-1"], check=True)
        folder = killed / "ingesteddata"
        assert (folder / "finaldata.csv").read_bytes() == wanted[0]
        assert (folder / ".finaldata.json").read_bytes() == wanted[1]
        assert not [path for path in folder.iterdir() if path.name.startswith(".tmp-")]
        if done.returncode == 0:
            break
        assert done.returncode == KILLED
    assert number >= 5


def test_a_tick_takes_the_table_for_a_changed_one(workspace):
    workspace.put("sourcedata/a.csv", make_clients(150, "a"))
    workspace.put("testdata/t.csv", make_clients(200, "t"))
    path = workspace.put("sourcedata/b.csv", make_clients(150, "b"))
    whole = path.read_text()
    path.write_text(whole[: whole.rindex("\n", 0, len(whole) // 2) - 3])
    workspace.tick()
    path.write_text(whole)
    workspace.tick()
    assert "Traceback" not in workspace.said
    assert sorted(workspace.table().splitlines()[1:]) == sorted(
        line
        for name in ("a.csv", "b.csv")
        for line in (workspace.root / "sourcedata" / name).read_bytes().splitlines()[1:]
    )
    assert workspace.state()["marks"]["sourcedata"]["length"] == len(workspace.table())
    assert workspace.tick()["reason"] in (None, "nothing new")
