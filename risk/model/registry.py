"""What is deployed: immutable releases, one rename to swap them, and a verified load.

Layout of kubelet's AtomicWriter: the deployment folder stays a real folder; its visible files are
constant links to `..data/NAME`; `..data` is a link to an immutable release folder; renaming a new
link over `..data` is the commit. Standard library only; scikit-learn loads inside `load_model`.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from risk.digests import sha256
from risk.errors import ArtifactError, MissingArtifactError, VersionError
from risk.files import render_json

DATA = "..data"
MANIFEST = "manifest.json"
SIGNATURE = "manifest.hmac"
MODEL = "trainedmodel.pkl"
NAMES = (MODEL, "latestscore.txt", "ingestedfiles.txt", "modelcard.json", "metrics.json")
T = TypeVar("T")
REMEDY = "run deployment.py --rollback, or training.py, scoring.py and deployment.py"
_FOLDER = re.compile(r"\.\.r([0-9]+)-")


class Release(NamedTuple):
    """One release, read through one open folder and verified against its manifest."""

    name: str
    files: dict[str, bytes]
    manifest: dict[str, Any]

    @property
    def id(self) -> str:
        return release_id(self.name)

    def json(self, name: str) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.files[name])
        return value


def current(folder: Path) -> str | None:
    """Name the release folder that `..data` points to, or None when nothing is deployed."""
    try:
        return os.readlink(folder / DATA)  # noqa: PTH115
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ArtifactError(
            f"{folder / DATA}: is not the link it must be (copied without links?); "
            f"remove {folder} and {REMEDY}"
        ) from error


def list_names(folder: Path) -> list[str]:
    """Name the release folders, oldest first."""
    folders = [entry.name for entry in folder.glob("..r*-*") if _FOLDER.match(entry.name) and entry.is_dir()]
    return sorted(folders, key=lambda name: (release_number(name), name))


def release_number(folder_name: str) -> int:
    """Read the number in `..r0001-ID`; a folder named otherwise counts as newer than any."""
    match = _FOLDER.match(folder_name)
    return int(match.group(1)) if match else sys.maxsize


def release_id(folder_name: str) -> str:
    """Read the id in `..r0001-ID`."""
    return folder_name.partition("-")[2]


def load(folder: Path, key: str | None = None) -> Release:
    """Open the deployed release once and verify every byte of it.

    Raises
    ------
    MissingArtifactError
        When nothing is deployed.
    ArtifactError
        When a digest, the signature or a visible link is not what it must be.
    """
    while True:
        name = current(folder)
        if name is None:
            raise MissingArtifactError(
                f"{folder}: nothing is deployed yet; run fullprocess.py or deployment.py"
            )
        _check_visible(folder)
        try:
            return read(folder, name, key)
        except ArtifactError:
            if current(folder) == name:
                raise  # else it was replaced and pruned while we read: the new one counts


def load_good(folder: Path, key: str | None, use: Callable[[Release], T]) -> tuple[T, str | None]:
    """Load the deployed release, or the newest good one before it when it is damaged.

    Parameters
    ----------
    use : callable
        Makes of a release what the reader needs of it; it is not good either when that is an ArtifactError.

    Returns
    -------
    made : T
        What `use` made of it.
    damage : str or None
        What is wrong with the deployed release; None when nothing is.

    Raises
    ------
    ArtifactError
        When there is no good one; or the deployed one is whole, and of another scikit-learn.
    """
    try:
        return use(load(folder, key)), None
    except (MissingArtifactError, VersionError):
        raise
    except ArtifactError as error:
        deployed = release_number(current(folder) or "")
        for name in reversed(list_names(folder)):
            if release_number(name) <= deployed:
                try:
                    return use(read(folder, name, key)), str(error)
                except ArtifactError:
                    continue
        raise


def list_file_facts(folder: Path) -> list[list[int] | None]:
    """List for each visible file what changes when it does; None for one that is not there."""
    return [_list_facts(folder / name) for name in (*NAMES, MANIFEST)]


def _list_facts(path: Path) -> list[int] | None:
    try:
        link, file = path.lstat(), path.stat()
    except OSError:
        return None
    return [link.st_ino, file.st_size, file.st_mtime_ns, file.st_ctime_ns, file.st_ino]


def find_writable_by_all(folders: Iterable[Path]) -> list[Path]:
    """Name the folders that any user of the machine may write, or whose place any user may take."""
    writable = []
    for folder in folders:
        for path in (folder, *folder.parents):
            mode = path.stat().st_mode if path.exists() else 0
            if mode & stat.S_IWOTH and (path == folder or not mode & stat.S_ISVTX):
                writable.append(path)
    return list(dict.fromkeys(writable))


def read(folder: Path, name: str, key: str | None = None) -> Release:
    """Read and verify the release folder `name` through one directory handle."""
    try:
        handle = os.open(folder / name, os.O_RDONLY | os.O_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ArtifactError(f"{folder / name}: the release is missing; {REMEDY}") from error
    try:
        raw = _read_at(handle, MANIFEST, folder / name)
        _check_signature(handle, raw, folder / name, key)
        try:
            manifest = json.loads(raw)
            digests = manifest["files"]
        except (ValueError, KeyError, TypeError) as error:
            raise ArtifactError(f"{folder / name / MANIFEST}: is damaged; {REMEDY}") from error
        if sha256(raw)[:12] != release_id(name):
            raise ArtifactError(f"{folder / name / MANIFEST}: was changed after deployment; {REMEDY}")
        files = {}
        for file_name in NAMES:
            files[file_name] = _read_at(handle, file_name, folder / name)
            if sha256(files[file_name]) != digests.get(file_name):
                raise ArtifactError(f"{folder / name / file_name}: was changed after deployment; {REMEDY}")
    finally:
        os.close(handle)
    return Release(name, files, manifest)


def verify(release: Release, digest: str) -> None:
    """Check every byte of a release that came another way than from its folder.

    Parameters
    ----------
    digest : str
        sha256 of the manifest, known from elsewhere.
    """
    computed = sha256(render_json(release.manifest).encode())
    if computed != digest or computed[:12] != release.id:
        raise ArtifactError(f"release {release.id}: its manifest is not the deployed one")
    for name in NAMES:
        if sha256(release.files[name]) != release.manifest["files"].get(name):
            raise ArtifactError(f"release {release.id}: {name} was changed in transit")


def _read_at(folder_handle: int, name: str, folder: Path) -> bytes:
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=folder_handle)
        with open(descriptor, "rb") as handle:  # noqa: PTH123
            return handle.read()
    except FileNotFoundError as error:
        raise ArtifactError(f"{folder / name}: is missing from the release; {REMEDY}") from error
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise ArtifactError(f"{folder / name}: is a link, not the file of a release; {REMEDY}") from error


def _check_signature(handle: int, raw: bytes, folder: Path, key: str | None) -> None:
    if key is None:
        return
    from hmac import compare_digest

    signature = _read_at(handle, SIGNATURE, folder).decode("ascii", "replace").strip()
    if not compare_digest(signature, sign(raw, key)):
        raise ArtifactError(f"{folder / SIGNATURE}: is not signed with RISK_MODEL_KEY; {REMEDY}")


def sign(manifest: bytes, key: str) -> str:
    """Compute the HMAC-SHA256 of a manifest."""
    import hmac  # here, because an idle run signs nothing

    return hmac.new(key.encode(), manifest, "sha256").hexdigest()


def _check_visible(folder: Path) -> None:
    for name in (*NAMES, MANIFEST):
        path = folder / name
        try:
            target = os.readlink(path)  # noqa: PTH115
        except OSError:
            target = None
        if target != f"{DATA}/{name}":
            raise ArtifactError(
                f"{path}: is not the link to the release it must be (a file copied over it?); "
                f"remove it and run deployment.py --rollback {release_id(current(folder) or '')} "
                f"(a model of your own is deployed from the model folder, by scoring.py and deployment.py)"
            )


def is_intact(folder: Path, name: str, key: str | None) -> bool:
    """Check that every byte of a release is what was deployed."""
    try:
        read(folder, name, key)
    except ArtifactError:
        return False
    return True


# --- verified load ---------------------------------------------------------------------------------


def load_deployed(folder: Path, key: str | None = None) -> tuple[Release, Any]:
    """Load the deployed release and its fitted model.

    Raises
    ------
    MissingArtifactError
        When nothing is deployed.
    ArtifactError
        When a byte was changed, or the model was fitted by another scikit-learn.
    """
    release = load(folder, key)
    return release, unpickle(release, folder)


def unpickle(release: Release, folder: Path) -> Any:
    """Load the model of a verified release; `folder` only names where it is deployed."""
    check_versions(release)
    card = release.json("modelcard.json")
    where = folder / MODEL
    from risk.model import pickling

    return pickling.load_model(release.files[MODEL], card["model_sha256"], where)


def predict(model: Any, X: Any) -> tuple[Any, Any]:
    """Predict class and probability of each row; on one thread, beside an API."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        return model.predict(X), model.predict_proba(X)[:, 1]


def check_versions(release: Release) -> None:
    """Refuse a model of another scikit-learn: its predictions could differ."""
    fitted = release.manifest.get("versions", {}).get("scikit-learn")
    installed = installed_scikit_learn()
    if fitted != installed:
        raise VersionError(
            f"release {release.id}: fitted with scikit-learn {fitted}, installed is {installed}; "
            "run training.py, scoring.py and deployment.py (the next run of fullprocess.py does it "
            "automatically)"
        )


def installed_scikit_learn() -> str:
    """Name the installed version without importing it."""
    from importlib import metadata

    return metadata.version("scikit-learn")
