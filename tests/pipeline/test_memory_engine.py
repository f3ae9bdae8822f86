"""A few rows read in memory end in the same table as through DuckDB."""

from makers import make_clients

import ingestion
from config import load_config


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
        workspace.put("sourcedata/b.csv", make_clients(105, "b") + make_clients(3, "a") + bad)
        workspace.put(
            "sourcedata/c.csv", make_clients(108, "b"), ["corporation", "activity", "colour", "exited"]
        )
        counts = ingestion.run(load_config(workspace.config_path), small_bytes=small_bytes).to_json()
        files = sorted(path for path in folder.iterdir())
        bytes_of.append((counts, {path.name: path.read_bytes() for path in files}))
    assert bytes_of[0] == bytes_of[1]
    assert bytes_of[0][0]["rows_new"] == 109 and bytes_of[0][0]["rows_rejected"] == 2
