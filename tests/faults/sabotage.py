"""Would the harness notice? The mechanisms that it tests, each taken away in a child.

A harness that does not fail under these has no teeth.
"""

import contextlib
import os
from pathlib import Path

from risk import artifacts, releases


def no_fsync() -> None:
    """Rename without writing through: the classic zero-length file after a power cut."""
    os.fsync = lambda descriptor: None


def no_digest() -> None:
    """Read a release without comparing a byte."""
    releases.read = read_blindly


def overwrite() -> None:
    """Write every artifact, and every release, in its place."""
    artifacts.put = put_in_place
    releases.publish = publish_in_place


def read_blindly(folder: Path, name: str, key: str | None = None) -> releases.Release:
    files = {name_: (folder / name / name_).read_bytes() for name_ in releases.NAMES}
    manifest = artifacts.read_json(folder / name / releases.MANIFEST, "run deployment.py")
    return releases.Release(releases.release_id(name), files, manifest)


@contextlib.contextmanager
def put_in_place(path: Path, mode: str = "w"):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open(mode, **({} if "b" in mode else {"encoding": "utf-8", "newline": ""})) as handle:
        yield handle


def publish_in_place(folder: Path, files: dict, facts: dict, *, keep: int, key: str | None = None) -> str:
    """Copy the files of a release over those of the one before, as three `cp` would."""
    manifest = {**facts, "files": {name: artifacts.sha256(files[name]) for name in releases.NAMES}}
    raw = artifacts.render_json(manifest).encode()
    name = f"..r0001-{artifacts.sha256(raw)[:12]}"
    before = releases.current(folder)
    if before is not None and before != name:
        (folder / before).rename(folder / name)
    (folder / name).mkdir(parents=True, exist_ok=True)
    releases.switch(folder, name)
    for file_name, data in {**files, releases.MANIFEST: raw}.items():
        (folder / name / file_name).unlink(missing_ok=True)
        (folder / name / file_name).write_bytes(data)
    return releases.release_id(name)


ALL = {"no-fsync": no_fsync, "no-digest": no_digest, "overwrite": overwrite}
