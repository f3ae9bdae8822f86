"""A few rows without an engine: the same bytes and counts as with it."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from makers import make_clients

import ingestion
from config import load_config
from risk.engines.duckdb import DuckDBEngine
from risk.engines.memory import MemoryEngine
from risk.limits import Room

NAMES = ("a", "b", "left")
CELLS = st.sampled_from(
    [
        "",
        "1",
        "01",
        "a,b",
        'q"',
        "#",
        "x#",
        "'",
        " ",
        "a b",
        "two\nlines",
        "\r",
        "é",
        "\u2028",
        "-1",
        "NULL",
        "\\",
    ]
)
ROWS = st.lists(st.tuples(CELLS, CELLS, st.sampled_from(["", "1", "0"])), max_size=6)


@settings(max_examples=25)
@given(st.lists(ROWS, min_size=1, max_size=4), st.integers(0, 3))
def test_a_shelf_gives_what_the_engine_gives(files, dropped):
    with (
        tempfile.TemporaryDirectory() as name,
        DuckDBEngine(NAMES, Room(Path(name)), reads=Path(name)) as engine,
    ):
        told = []
        for keeper in (engine, MemoryEngine(NAMES)):
            for number, rows in enumerate(files):
                filled = [row for row in rows if any(row)]
                keeper.add_rows(number, [dict(zip(NAMES, row, strict=True)) for row in filled])
            keeper.drop_files({dropped})
            path = Path(name) / "out.csv"
            n_read = keeper.count_rows()
            keeper.deduplicate()
            keeper.write(path)
            numbers, unlabelled = keeper.row_facts("left")
            facts = list(numbers), bytes(unlabelled)
            told.append((n_read, path.read_bytes(), keeper.count_labelled("left"), facts))
        assert told[0] == told[1]


def test_a_small_file_gives_what_it_gives_through_the_engine(workspace):
    bytes_of = []
    bad = [
        ["x", "seven", "red", "1"],
        ["y", "7", "red", "maybe"],
        ["z", " 7 ", "NA", ""],
        ["z", "7", "NA", ""],
    ]
    workspace.put("sourcedata/a.csv", make_clients(20, "a"))
    workspace.run("ingestion")
    (workspace.root / "ingesteddata").rename(workspace.root / "before")
    for small_bytes in (0, 10**9):
        folder = workspace.root / "ingesteddata"
        if folder.exists():
            folder.rename(workspace.root / "with engine")
        (workspace.root / "before").rename(folder)
        (workspace.root / "before").mkdir()
        for path in folder.iterdir():
            (workspace.root / "before" / path.name).write_bytes(path.read_bytes())
        workspace.put("sourcedata/b.csv", make_clients(5, "b") + make_clients(3, "a") + bad)
        workspace.put(
            "sourcedata/c.csv", make_clients(8, "b"), ["corporation", "activity", "colour", "exited"]
        )
        counts = ingestion.run(load_config(workspace.config_path), small_bytes=small_bytes).to_json()
        files = sorted(path for path in folder.iterdir())
        bytes_of.append((counts, {path.name: path.read_bytes() for path in files}))
    assert bytes_of[0] == bytes_of[1]
    assert bytes_of[0][0]["rows_new"] == 9 and bytes_of[0][0]["rows_rejected"] == 2
