"""What is too large is refused before it is parsed; what is opened is what was checked, or nothing."""

import json
import os
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest
from input_cases import GOOD, HEADER, N_GOOD, THREE, put, text

from risk.data import csv_check, csv_rows, validation
from risk.engines.duckdb import DuckDBEngine
from risk.limits import Limits, Room
from risk.runtime import state

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def good(workspace):
    put(workspace, "good.csv", f"{HEADER}\n{GOOD}")
    return workspace


WIDE = "corporation,activity,exited," + ",".join(f"x{n}" for n in range(40))
CASES = {
    "max_file_mb": (b"corporation,activity,exited\n" + b"\n" * 1024**2, "has 1,048,604 bytes", 1),
    "max_header_kb": (text(THREE, f"{HEADER},{'x' * 2048}"), "has a longer first line", 1),
    "max_columns": (text("c1,1,0" + "," * 40, WIDE), "has 43 columns", 42),
    "max_rows": (text("".join(f"c{n},1,0\n" for n in range(200))), "has more lines", 199),
}


@pytest.mark.parametrize("name", CASES)
def test_a_file_beyond_a_limit_is_refused_with_the_limit_and_taken_up_when_that_is_raised(good, name):
    content, shown, limit = CASES[name]
    good.run("ingestion")
    good.configure(limits={name: limit})
    put(good, "large.csv", content)
    assert good.run("ingestion", expect=65)["files_refused"] == 1
    assert f"large.csv: refused: {shown}, limits.{name} in config.json allows {limit:,};" in good.said
    assert good.run("ingestion")["files_refused"] == 0 and good.said == ""
    good.configure(limits={name: limit + 1 + (name == "max_header_kb")})
    assert good.run("ingestion")["files"] == 1


@pytest.mark.parametrize("name", [name for name in CASES if name != "max_file_mb"])
def test_a_file_at_a_limit_is_taken_up(good, name):
    content, _, limit = CASES[name]
    good.configure(limits={name: limit + (2 if name == "max_header_kb" else 1)})
    put(good, "large.csv", content)
    assert good.run("ingestion")["files_refused"] == 0


def test_a_cell_beyond_the_limit_rejects_its_row_alone(good):
    good.configure(limits={"max_cell_kb": 1})
    put(good, "more.csv", text(f"{THREE}{'x' * 1025},4,1\n{'x' * 1024},5,0\n"))
    result = good.run("ingestion")
    assert (result["rows_rejected"], result["rows_new"]) == (1, N_GOOD + 4)
    assert "has a cell of over 1024 characters" in good.said


def test_a_file_too_large_is_never_read_and_idle_ticks_stay_idle(good):
    put(good, "more.csv", text(THREE))
    good.put("testdata/t.csv", [line.split(",") for line in GOOD.split()], HEADER.split(","))
    good.tick()
    good.configure(limits={"max_file_mb": 1})
    with (good.root / "sourcedata" / "vast.csv").open("wb") as handle:
        handle.truncate(2**40)  # a hole: reading it would take hours
    good.tick(expect=65)
    assert "vast.csv: refused: has 1,099,511,627,776 bytes" in good.said
    assert good.state()["files"]["vast.csv"][4] == state.TOO_LARGE
    assert good.tick() and good.said == ""


def test_a_row_without_an_end_is_held_in_bounds_and_refuses_its_file(good):
    """Every physical line is short, every cell too: only the row never ends."""
    put(good, "endless.csv", f'{HEADER}\nc1,1,0\n"' + '","\n' * 4_300_000)
    code = f"""
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (3 * 2**30,) * 2)
sys.path.insert(0, {str(ROOT)!r})
import ingestion
sys.exit(ingestion.main(["--config", {str(good.config_path)!r}]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "a row begun at line 3 is without an end for 16,777,216 characters" in done.stderr
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 1_500_000


@pytest.mark.parametrize("row", ['"x",' * 300_000, '"' + '","\n' * 300_000 + '"'], ids=["one line", "many"])
def test_a_row_of_very_many_cells_costs_the_engine_no_more_than_its_bytes(tmp_path, row):
    path = tmp_path / "wide.csv"
    path.write_bytes(text(f"{THREE}{row}\n"))
    checked = csv_check.check(path, HEADER.split(","), None, Limits(max_cell_kb=8192))
    started = time.perf_counter()
    with DuckDBEngine(HEADER.split(","), Room(tmp_path / "spill"), reads=tmp_path) as engine:
        assert engine.read([(0, checked)]) == {0}
    assert time.perf_counter() - started < 30  # with a list of errors asked for: hours


def test_a_long_bad_value_is_cut_where_it_is_told(good):
    put(good, "more.csv", text(f"c1,{'x' * 5000},0\n"))
    good.run("ingestion")
    assert (good.root / "ingesteddata" / "rejectedrows.csv").read_text().count(
        "x"
    ) == validation.LONGEST_SHOWN


# --- one handle ------------------------------------------------------------------------------------------

SECRET = text("secret,1,1\n")


def swap_for_link(path, outside):
    path.unlink()
    path.symlink_to(outside)


def swap_for_file(path, outside):
    outside.rename(path)


def swap_for_pipe(path, outside):
    path.unlink()
    os.mkfifo(path)


def remove(path, outside):
    path.unlink()


def write_again(path, outside):
    status = path.stat()
    path.write_bytes(path.read_bytes().swapcase())
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


SWAPS = [swap_for_link, swap_for_file, swap_for_pipe, remove, write_again]


@pytest.mark.parametrize("swap", SWAPS)
def test_what_was_swapped_after_its_check_is_not_read(tmp_path, swap):
    path, outside = tmp_path / "in" / "a.csv", tmp_path / "outside.csv"
    path.parent.mkdir()
    path.write_bytes(text(THREE))
    outside.write_bytes(SECRET)
    checked = csv_check.check(path, HEADER.split(","))
    swap(path, outside)
    with pytest.raises(csv_check.ChangedError, match="changed while it was read"):
        csv_check.reopen(checked)
    with pytest.raises(csv_check.ChangedError):
        list(csv_rows.read_rows(checked))
    with DuckDBEngine(HEADER.split(","), Room(tmp_path / "spill"), reads=path.parent) as engine:
        assert engine.read([(0, checked)]) == {0}
        assert engine.count_rows() == {}


@pytest.mark.parametrize("odd", [False, True], ids=["engine", "exact reader"])
def test_a_file_that_is_swapped_and_swapped_back_is_left_and_nothing_of_the_other_taken(
    good, odd, monkeypatch
):
    """The name points elsewhere only between the check and the end of reading."""
    path = put(good, "more.csv", text(THREE) + (b'"c4" x,4,1\n' if odd else b""))
    (good.root / "outside.csv").write_bytes(SECRET)
    real = DuckDBEngine.read

    def swapped(self, files):
        path.rename(good.root / "kept.csv")
        path.symlink_to(good.root / "outside.csv")
        try:
            return real(self, files)
        finally:
            if not odd:
                path.unlink()
                (good.root / "kept.csv").rename(path)

    monkeypatch.setattr(DuckDBEngine, "read", swapped)
    result = good.run("ingestion")
    assert (result["files"], result["rows_total"]) == (1, N_GOOD)
    assert "more.csv: changed while it was read; left for the next run" in good.said
    assert b"secret" not in good.table()


def test_a_pipe_in_place_of_a_listed_file_does_not_hold_the_tick(good, monkeypatch):
    path = put(good, "more.csv", text(THREE))
    real = state.digest_input

    def swapped(found, limit):
        if found == path and path.is_file():
            swap_for_pipe(path, None)
        return real(found, limit)

    monkeypatch.setattr(state, "digest_input", swapped)
    listing = state.list_files(good.root / "sourcedata", {}, 2**30)
    assert list(listing) == ["good.csv"]


def test_archives_are_no_inputs_and_are_never_unpacked(good):
    import bz2
    import gzip
    import io
    import lzma
    import zipfile

    content = text(THREE)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.csv", content)
    for number, data in enumerate(
        [gzip.compress(content), bz2.compress(content), lzma.compress(content), packed.getvalue()]
    ):
        put(good, f"packed{number}.csv", data)
        put(good, f"packed{number}.csv.gz", data)
    result = good.run("ingestion")
    assert (result["files"], result["files_refused"], result["rows_total"]) == (1, 4, N_GOOD)
    assert len(re.findall(r"packed\d\.csv: refused: ", good.said)) == 4
    assert ".csv.gz" not in good.said


@pytest.mark.parametrize(
    "name",
    ["http:__127.0.0.1:9_a.csv", "s3:__a.csv", "*.csv", "a[0-9].csv", "{a,b}.csv", "it's '' quoted.csv",
     "year=2024.csv", "--config.csv", "%s%n.csv", "$(touch owned).csv", "a.csv;b.csv"],
)  # fmt: skip
def test_a_name_that_is_a_pattern_or_a_url_is_a_name(good, name):
    put(good, name, text(THREE))
    result = good.run("ingestion")
    assert (result["files"], result["rows_total"], good.said) == (2, N_GOOD + 3, "")
    assert not (good.root / "owned").exists() and not Path("owned").exists()


# --- the engine stays in its folders -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "sql",
    [
        "select * from read_csv('/etc/passwd')",
        "select * from read_text('/etc/hostname')",
        "select * from read_csv('http://127.0.0.1:9/a.csv')",
        "copy (select 1) to '{root}/elsewhere.csv'",
        "attach '{root}/elsewhere.db'",
        "install httpfs",
        "load httpfs",
        "set enable_external_access = true",
        "set autoload_known_extensions = true",
        "set allowed_directories = ['/']",
    ],
)
def test_the_engine_opens_nothing_outside_and_cannot_be_told_to(tmp_path, sql):
    (tmp_path / "in").mkdir()
    with (
        DuckDBEngine(["a"], Room(tmp_path / "spill"), reads=tmp_path / "in") as engine,
        pytest.raises(duckdb.Error),
    ):
        engine.connection.execute(sql.format(root=tmp_path)).fetchall()
    assert not list(tmp_path.glob("elsewhere*"))


def test_more_files_than_may_be_open_are_read_in_parts(tmp_path):
    names = HEADER.split(",")
    files = []
    for number in range(450):
        path = tmp_path / f"{number:03d}.csv"
        path.write_bytes(text(f"c{number},{number},0\n"))
        files.append((number, csv_check.check(path, names)))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (300 + len(list(Path("/proc/self/fd").iterdir())), hard))
    try:
        with DuckDBEngine(names, Room(tmp_path / "spill"), reads=tmp_path) as engine:
            assert engine.read(files) == set()
            assert engine.count_rows() == dict.fromkeys(range(450), 1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_ledger_of_a_refused_file_has_no_digest_it_did_not_compute(good):
    good.configure(limits={"max_columns": 3})
    put(good, "wide.csv", text("c1,1,0,5\n", f"{HEADER},more"))
    good.run("ingestion")
    ledger = json.loads((good.root / "ingesteddata" / ".finaldata.json").read_text())
    (entry,) = [entry for entry in ledger["files"] if entry["name"] == "wide.csv"]
    assert (entry["sha256"], entry["read"]) == ("", 0)


def test_limits_hold_for_open_files_too(tmp_path):
    import io

    content = text("".join(f"c{n},1,0\n" for n in range(10)))
    limits = Limits(max_rows=5)
    checked = csv_check.check_open(io.BytesIO(content), Path("body.csv"), HEADER.split(","), None, limits)
    assert "limits.max_rows" in checked.refusal
