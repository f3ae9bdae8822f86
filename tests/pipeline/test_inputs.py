"""What becomes of every kind of input: accepted, rows rejected, or refused, each with its reason."""

import csv
import json
import os
import re
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
from input_cases import (
    GOOD,
    HEADER,
    N_GOOD,
    RARE_LABEL,
    TABLE,
    THREE,
    add_test_data,
    balance,
    check_beside_a_good_one,
    put,
    rejections,
    text,
)


@pytest.mark.parametrize("arrival", ["together", "later"])
@pytest.mark.parametrize("case", TABLE.values(), ids=TABLE)
def test_a_file_beside_a_good_one_is(workspace, case, arrival):
    check_beside_a_good_one(workspace, case, arrival)


@pytest.mark.parametrize("arrival", ["together", "later"])
def test_a_label_in_a_hundred_that_is_neither_rejects_its_row_alone(workspace, arrival):
    check_beside_a_good_one(workspace, RARE_LABEL, arrival)


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
    assert "the old table stays" in good.said
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
        ({"id_columns": ["client"]}, "config.json names 'client', which the data do not have"),
        ({"ignore_columns": ["age"]}, "config.json names 'age', which the data do not have"),
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


def test_rejected_rows_that_were_removed_are_begun_again(good):
    put(good, "more.csv", text("c1,many,0\n"))
    good.run("ingestion")
    (good.root / "ingesteddata" / "rejectedrows.csv").unlink()
    put(good, "later.csv", text("c2,lots,0\n"))
    good.run("ingestion")
    assert rejections(good) == [("later.csv", "2", "activity", "lots", "is not a number")]
    assert "starting a new one" in good.said


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
