"""The table grows by what is new, whatever happens between two commits."""

import csv
import io
import json
import random
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ingestion
from risk.data import ledger

ROOT = Path(__file__).resolve().parents[3]
quick = settings(deadline=None, database=None, derandomize=True)
HEADER = ["corporation", "activity", "colour", "exited"]
CELL = st.one_of(st.text(st.sampled_from('a1,"\n é'), max_size=3), st.sampled_from(["NA", "7", "0.1", ""]))
RECORDS = st.lists(st.tuples(CELL, CELL, CELL), max_size=8)


def render(rows):
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


@settings(quick, max_examples=200)
@given(RECORDS, st.lists(st.integers(1, 9), min_size=1, max_size=60))
def test_records_are_split_alike_whatever_the_borders_of_blocks(records, sizes):
    data, blocks, start = render(records), [], 0
    while start < len(data):
        blocks.append(data[start : start + sizes[len(blocks) % len(sizes)]])
        start += len(blocks[-1])
    found = [record for part in ledger.split_records(blocks) for record in part]
    assert found == [render([row])[:-1] for row in records]


# --- ingesting in parts ------------------------------------------------------------------------------------

ROW = st.tuples(
    st.sampled_from(["c1", "c2", 'c"3', "c\n4", " c5", "NA"]),
    st.sampled_from(["1", "2.50", "", "many", "NA", "1e999", "true"]),
    st.sampled_from(["red", "", "bl,ue", "null"]),
    st.sampled_from(["0", "1", "", "Yes", "maybe"]),
).map(list)
FILE = st.one_of(
    st.lists(ROW, max_size=6).map(lambda rows: render([HEADER, *rows])),
    st.lists(ROW, max_size=4).map(lambda rows: render([HEADER[::-1], *(row[::-1] for row in rows)])),
    st.lists(ROW, max_size=4).map(lambda rows: render([HEADER[:3], *(row[:3] for row in rows)])),
    st.lists(ROW, max_size=4).map(lambda rows: render([HEADER, *(row[:3] for row in rows)])),
    st.sampled_from([b"", b"<html>", b"a,b\n1,2\n", b'corporation,activity,colour,exited\n"open,1,red,0\n']),
)
FIRST = render([HEADER, *([f"f{n}", str(n), "red", str(n % 2)] for n in range(9))])


class Folder:
    """A workspace of ingestion alone."""

    def __init__(self, root, **keys):
        self.root = Path(root)
        self.config = self.root / "config.json"
        keys |= {
            "input_folder_path": "in",
            "output_folder_path": "out",
            "test_data_path": "test",
            "output_model_path": "models",
            "prod_deployment_path": "production",
        }
        self.config.write_text(json.dumps(keys))
        (self.root / "in").mkdir()

    def put(self, name, data):
        (self.root / "in" / name).write_bytes(data)

    def ingest(self, *arguments):
        return ingestion.main(["--config", str(self.config), "-q", *arguments])

    def bytes(self):
        return {path.name: path.read_bytes() for path in (self.root / "out").iterdir()}


@pytest.mark.slow
@settings(quick, max_examples=25)
@given(st.lists(st.tuples(FILE, st.booleans()), min_size=1, max_size=5))
def test_files_taken_up_in_parts_give_the_bytes_of_a_rebuild(files):
    with tempfile.TemporaryDirectory() as name:
        folder = Folder(name)
        folder.put("b first.csv", FIRST)
        for number, (data, runs) in enumerate(files):
            if runs:
                folder.ingest()
            folder.put(f"{'azbyc'[number]}.csv", data)
        folder.ingest()
        before = folder.bytes()
        assert folder.ingest() == 0
        assert folder.bytes() == before
        assert folder.ingest("--rebuild") == 0
        assert folder.bytes() == before
        entries = json.loads(before[".finaldata.json"])["files"]
        assert all(e["read"] == e["new"] + e["duplicate"] + e["rejected"] for e in entries)
        found = [record for part in ledger.split_records([before["finaldata.csv"]]) for record in part][1:]
        assert len(found) == len(set(found)) == sum(entry["new"] for entry in entries)


@settings(quick, max_examples=10)
@given(st.lists(st.lists(ROW, max_size=5), min_size=2, max_size=4))
def test_a_table_whose_first_files_hold_no_row_is_rebuilt_to_the_same_bytes(parts):
    with tempfile.TemporaryDirectory() as name:
        folder = Folder(name)
        for number, rows in enumerate([[], *parts]):
            folder.put(f"{9 - number}.csv", render([HEADER, *rows]))
            folder.ingest()
        before = folder.bytes()
        folder.ingest("--rebuild")
        assert folder.bytes() == before


# --- a crash between two commits ---------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    made = Folder(tmp_path)
    made.put("a.csv", FIRST)
    assert made.ingest() == 0
    return made


SECOND = render([HEADER, ["s1", "1", "red", "0"], ["s2", "many", "red", "0"], ["f1", "1", "red", "1"]])


@pytest.mark.parametrize("left", [b"half a li", b'"open\nquote', render([["s1", "1", "red", "0"]] * 3)])
@pytest.mark.parametrize("name", ["finaldata.csv", "rejectedrows.csv"])
def test_what_a_dead_run_left_behind_the_committed_length_is_cut_off(folder, tmp_path, name, left):
    (tmp_path / "twin").mkdir()
    twin = Folder(tmp_path / "twin")
    twin.put("a.csv", FIRST)
    twin.ingest()
    with (folder.root / "out" / name).open("ab") as handle:
        handle.write(left)
    for each in (folder, twin):
        each.put("b.csv", SECOND)
        assert each.ingest() == 0
    assert folder.bytes() == twin.bytes()


def test_a_run_that_died_between_append_and_commit_is_repeated(folder):
    older = (folder.root / "out" / ".finaldata.json").read_bytes()
    folder.put("b.csv", SECOND)
    folder.ingest()
    whole = folder.bytes()
    (folder.root / "out" / ".finaldata.json").write_bytes(older)
    folder.ingest()
    assert folder.bytes() == whole


def test_a_rebuild_that_died_is_done_again_by_the_next_run(folder):
    folder.put("b.csv", SECOND)
    folder.ingest()
    whole = folder.bytes()
    ledger = folder.root / "out" / ".finaldata.json"
    ledger.write_text(json.dumps(json.loads(ledger.read_text()) | {"rebuilding": True}))
    (folder.root / "out" / "finaldata.csv").write_bytes(b"corporation,act")
    assert folder.ingest() == 0
    assert folder.bytes() == whole


@pytest.mark.parametrize("rebuild", [False, True], ids=["", "--rebuild"])
@pytest.mark.parametrize("point", range(8))
def test_killed_at_any_write_the_next_run_ends_in_the_same_bytes(folder, rebuild, point):
    arguments = ["--config", str(folder.config), "-q", *(["--rebuild"] if rebuild else [])]
    code = f"""
import os, signal, sys
sys.path.insert(0, {str(ROOT)!r})
import ingestion
fsync, left = os.fsync, [{point}]
def die_or_sync(descriptor):
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    left[0] -= 1
    fsync(descriptor)
os.fsync = die_or_sync
ingestion.main({arguments!r})
"""
    folder.put("b.csv", SECOND)
    before = folder.bytes()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    folder.ingest(*(["--rebuild"] if rebuild else []))
    after = folder.bytes()
    assert not [name for name in after if name.startswith(".tmp-")]
    assert after["finaldata.csv"] == before["finaldata.csv"] + render([["s1", "1", "red", "0"]])
    folder.ingest("--rebuild")
    assert folder.bytes() == after


def test_many_rows_in_many_parts_are_the_rows_of_one(tmp_path):
    draw = random.Random(5)
    rows = [[f"c{draw.randint(0, 999)}", str(draw.randint(0, 3)), "red", "1"] for _ in range(6_000)]
    folder = Folder(tmp_path)
    for start in range(0, 6_000, 1_500):
        folder.put(f"{start:05}.csv", render([HEADER, *rows[start : start + 1_500]]))
        folder.ingest()
    unique = list(dict.fromkeys(map(tuple, rows)))
    assert folder.bytes()["finaldata.csv"] == render([HEADER, *unique])
    assert list((tmp_path / ".state" / "spill").iterdir()) == []
