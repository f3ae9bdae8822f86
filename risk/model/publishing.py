"""Publishing a release: a set of files that appears together, by one rename.

Standard library only.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from risk.digests import sha256
from risk.files import TEMPORARY, remove_tree, render_json, sync_folder, write_synced
from risk.model import registry

ASIDE = ".aside"
DEPLOYED, ROLLBACK = "deployed", "rollback"


def mend(folder: Path, key: str | None = None) -> tuple[registry.Release, str | None]:
    """Load a good release, and let the links point to it; only called while the lock is held."""
    release, damage = registry.load_good(folder, key, lambda release: release)
    if damage is not None:
        switch(folder, release.name)
    return release, damage


def publish(
    folder: Path, files: dict[str, bytes], facts: dict[str, Any], *, keep: int, key: str | None = None
) -> str:
    """Make `files` the deployed release, all together or not at all, and return its id.

    A release that is there already is not written again; the `keep` newest stay.
    """
    manifest = {**facts, "files": {name: sha256(files[name]) for name in registry.NAMES}}
    raw = render_json(manifest).encode()
    new_id = sha256(raw)[:12]
    copies = [name for name in registry.list_names(folder) if registry.release_id(name) == new_id]
    whole = next((name for name in copies if registry.is_intact(folder, name, key)), None)
    if whole is None:
        newest = max(map(registry.release_number, registry.list_names(folder)), default=0)
        whole = f"..r{newest + 1:04d}-{new_id}"
        everything = {**files, registry.MANIFEST: raw}
        if key is not None:
            everything[registry.SIGNATURE] = (registry.sign(raw, key) + "\n").encode()
        _write_release(folder, whole, everything)
    switch(folder, whole)
    prune(folder, keep=keep)
    return new_id


def describe_release(
    release: str | None, manifest: Mapping[str, Any], action: str, model_sha256: str | None
) -> dict[str, Any]:
    """Give the row of the history; what one run deployed has one key, however often it comes."""
    origin = manifest.get("why", {}).get("origin")
    key = {"key": [release, action, origin]} if origin and action == DEPLOYED else {}
    facts = {name: manifest.get(name) for name in ("deployed_by", "estimator", "score")}
    return {**key, "release": release, "action": action, "model_sha256": model_sha256, **facts}


def prune(folder: Path, *, keep: int) -> None:
    """Remove damaged copies of the deployed release, and all others but the newest."""
    deployed = registry.current(folder)
    if deployed is None:
        return
    copies = [
        name
        for name in registry.list_names(folder)
        if registry.release_id(name) == registry.release_id(deployed)
    ]
    others = [name for name in registry.list_names(folder) if name not in copies]
    doomed = [name for name in [*copies, *others[: -max(keep - 1, 0) or None]] if name != deployed]
    for name in doomed:
        _remove_release(folder, name)
    if doomed:
        sync_folder(folder)


def _remove_release(folder: Path, name: str) -> None:
    """Remove a release by a rename first: killed half way, `sweep` ends it, and none is left torn."""
    doomed = folder / f"{TEMPORARY}{name}"
    remove_tree(doomed)
    (folder / name).rename(doomed)
    remove_tree(doomed)


def _write_release(folder: Path, name: str, files: dict[str, bytes]) -> None:
    staging = folder / f"{TEMPORARY}{name}"
    folder.mkdir(parents=True, exist_ok=True)
    remove_tree(staging)
    staging.mkdir()
    for file_name, data in files.items():
        write_synced(staging / file_name, data, mode=0o444)
    sync_folder(staging)
    staging.rename(folder / name)
    sync_folder(folder)


def switch(folder: Path, name: str) -> None:
    """Point `..data` at the release folder `name`: the commit."""
    for visible in (*registry.NAMES, registry.MANIFEST):
        _link(folder / visible, f"{registry.DATA}/{visible}")
    _link(folder / registry.DATA, name)
    sync_folder(folder)


def _link(path: Path, target: str) -> None:
    if path.is_symlink() and os.readlink(path) == target:  # noqa: PTH115
        return
    temporary = path.parent / f"{TEMPORARY}link-{path.name}"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    if path.is_dir() and not path.is_symlink():
        remove_tree(path)
    elif path.exists() and not path.is_symlink():  # somebody's own file: it is out of place, not ours to lose
        path.replace(path.with_name(path.name + ASIDE))
    os.replace(temporary, path)  # noqa: PTH105
