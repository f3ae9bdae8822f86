"""Would the harness notice? The mechanisms that it tests, each taken away in a child.

A harness that does not fail under these has no teeth.
"""

import contextlib
import os
from pathlib import Path

from risk import digests
from risk import files as files_
from risk.model import publishing, registry


def no_fsync() -> None:
    """Rename without writing through: the classic zero-length file after a power cut."""
    os.fsync = lambda descriptor: None


def no_digest() -> None:
    """Read a release without comparing a byte."""
    registry.read = read_blindly


def overwrite() -> None:
    """Write every artifact, and every release, in its place."""
    files_.put = put_in_place
    publishing.publish = publish_in_place


def read_blindly(folder: Path, name: str, key: str | None = None) -> registry.Release:
    files = {name_: (folder / name / name_).read_bytes() for name_ in registry.NAMES}
    manifest = files_.read_json(folder / name / registry.MANIFEST, "run deployment.py")
    return registry.Release(registry.release_id(name), files, manifest)


@contextlib.contextmanager
def put_in_place(path: Path, mode: str = "w"):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open(mode, **({} if "b" in mode else {"encoding": "utf-8", "newline": ""})) as handle:
        yield handle


def publish_in_place(folder: Path, files: dict, facts: dict, *, keep: int, key: str | None = None) -> str:
    """Copy the files of a release over those of the one before, as three `cp` would."""
    manifest = {**facts, "files": {name: digests.sha256(files[name]) for name in registry.NAMES}}
    raw = files_.render_json(manifest).encode()
    name = f"..r0001-{digests.sha256(raw)[:12]}"
    before = registry.current(folder)
    if before is not None and before != name:
        (folder / before).rename(folder / name)
    (folder / name).mkdir(parents=True, exist_ok=True)
    publishing.switch(folder, name)
    for file_name, data in {**files, registry.MANIFEST: raw}.items():
        (folder / name / file_name).unlink(missing_ok=True)
        (folder / name / file_name).write_bytes(data)
    return registry.release_id(name)


ALL = {"no-fsync": no_fsync, "no-digest": no_digest, "overwrite": overwrite}
