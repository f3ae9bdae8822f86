"""Whole or absent, appended or cut off, locked or told who holds it."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk import digests, files, locks
from risk.data import inputs
from risk.errors import ArtifactError, BusyError, MissingArtifactError

ROOT = Path(__file__).resolve().parents[2]


def test_put_writes_the_whole_file_and_makes_its_folder(tmp_path):
    files.put_text(tmp_path / "new" / "a.txt", "Ł\n")
    assert (tmp_path / "new" / "a.txt").read_bytes() == "Ł\n".encode()


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "a.txt"
    files.put_text(path, "old")
    with pytest.raises(ZeroDivisionError), files.put(path) as handle:
        handle.write("new")
        1 / 0  # noqa: B018
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_library_may_fill_the_file_by_its_path(tmp_path):
    with files.put(tmp_path / "a.bin", "wb") as handle:
        Path(handle.name).write_bytes(b"by path")
    assert (tmp_path / "a.bin").read_bytes() == b"by path" and len(list(tmp_path.iterdir())) == 1


def test_a_rename_that_fails_leaves_no_litter(tmp_path):
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(IsADirectoryError):
        files.put_text(tmp_path / "a.txt", "x")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_put_keeps_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        files.put_text(tmp_path / "a.txt", "x")
    finally:
        os.umask(before)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o640


def test_a_kill_before_the_rename_leaves_the_old_file_and_sweep_takes_the_litter(tmp_path):
    path = tmp_path / "a.csv"
    files.put_text(path, "old")
    code = f"""
import os, signal
from pathlib import Path
from risk import files
with files.put(Path({str(path)!r})) as handle:
    handle.write("half")
    handle.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    (litter,) = [entry for entry in tmp_path.iterdir() if entry != path]
    assert litter.read_text() == "half" and not inputs.is_input_name(litter.name)
    files.sweep(tmp_path)
    assert list(tmp_path.iterdir()) == [path]


def test_sweep_takes_folders_too_and_leaves_what_a_link_points_to(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / f"{files.TEMPORARY}folder").mkdir()
    (tmp_path / f"{files.TEMPORARY}link").symlink_to(tmp_path / "kept")
    files.sweep(tmp_path, tmp_path / "none")
    assert [entry.name for entry in tmp_path.iterdir()] == ["kept"]


def test_append_cuts_off_what_was_never_committed(tmp_path):
    path = tmp_path / "t.csv"
    assert files.append(path, [b"a\n", b"b\n"], committed=0) == 4
    path.write_bytes(b"a\nb\ntorn")
    assert files.append(path, [b"c\n"], committed=4) == 6
    assert path.read_bytes() == b"a\nb\nc\n"


def test_append_refuses_a_file_shorter_than_its_record(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"a")
    with pytest.raises(ArtifactError, match="--rebuild"):
        files.append(tmp_path / "t.csv", [b"c"], committed=4)


@given(st.lists(st.binary(max_size=50)), st.integers(1, 40))
def test_a_table_digest_depends_on_the_bytes_not_on_how_they_come(parts, block):
    before, digests.BLOCK = digests.BLOCK, block
    try:
        whole, pieces = digests.TableDigest(), digests.TableDigest()
        whole.update(b"".join(parts))
        for part in parts:
            pieces.update(part)
        assert whole.hexdigest() == pieces.hexdigest()
        resumed = digests.TableDigest(whole.blocks)
        resumed.update(b"".join(parts)[resumed.length :])
        assert resumed.hexdigest() == whole.hexdigest()
    finally:
        digests.BLOCK = before


@given(data=st.binary(max_size=100), cut=st.integers(0, 120), block=st.integers(1, 40))
def test_a_prefix_digest_is_that_of_the_prefix(tmp_path_factory, data, cut, block):
    path = tmp_path_factory.mktemp("digest") / "t"
    path.write_bytes(data)
    before, digests.BLOCK = digests.BLOCK, block
    try:
        whole, prefix = digests.TableDigest(), digests.TableDigest()
        whole.update(data)
        prefix.update(data[:cut])
        for known in ([], whole.blocks):
            found = digests.prefix_digest(path, cut, known)
            assert found == (prefix.hexdigest() if cut <= len(data) else None)
    finally:
        digests.BLOCK = before


def test_a_prefix_of_no_file_has_no_digest(tmp_path):
    assert digests.prefix_digest(tmp_path / "none", 0, []) is None


@contextmanager
def holder(path):
    """Another process that holds the lock until its stdin ends."""
    code = f"""
import sys
from pathlib import Path
from risk import locks
with locks.lock(Path({str(path)!r}), wait_s=0):
    print("held", flush=True)
    sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_an_error_of_the_work_under_the_lock_is_not_said_of_the_lock(tmp_path):
    with pytest.raises(OSError) as told, locks.lock(tmp_path / "lock", wait_s=0):
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    assert told.value.filename is None
    with pytest.raises(OSError) as told, locks.lock(tmp_path / "lock", wait_s=0):
        (tmp_path / "none").read_bytes()
    assert told.value.filename == str(tmp_path / "none")


def test_a_held_lock_names_its_holder_and_dies_with_it(tmp_path):
    path = tmp_path / "lock"
    with holder(path) as process:
        with pytest.raises(BusyError, match=f"pid {process.pid}"), locks.lock(path, wait_s=0.1):
            pass
        process.kill()
        process.wait()
        with locks.lock(path, wait_s=0):
            pass


def test_a_held_lock_is_waited_for(tmp_path):
    path = tmp_path / "lock"
    with holder(path) as process:
        with pytest.raises(BusyError), locks.lock(path, wait_s=0):
            pass
        timer = threading.Timer(0.2, process.stdin.close)
        timer.start()
        with locks.lock(path, wait_s=60):
            assert process.wait() == 0
        timer.join()


def test_damaged_json_says_how_it_is_mended(tmp_path):
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(ArtifactError, match="run it again"):
        files.read_json(tmp_path / "a.json", "run it again")
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(ArtifactError, match="no JSON object"):
        files.read_json(tmp_path / "a.json", "run it again")
    with pytest.raises(MissingArtifactError, match="run it again"):
        files.read_json(tmp_path / "none.json", "run it again")


def test_json_holds_no_nan():
    with pytest.raises(ValueError, match="Out of range"):
        files.render_json({"a": float("nan")})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=9,
)


@given(JSON)
def test_a_long_document_says_the_same_and_is_as_strict(value):
    assert json.loads(files.render_json(value, is_long=True)) == value
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.render_json([value, float("nan")], is_long=True)


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("a.csv", True),
        ("A.CSV", True),
        (".a.csv", False),
        ("~a.csv", False),
        ("a.csv.part", False),
        ("a.csv.tmp", False),
        ("a.txt", False),
        ("csv", False),
    ],
)
def test_which_names_are_inputs(name, taken):
    assert inputs.is_input_name(name) is taken


def test_only_regular_files_are_listed(tmp_path):
    (tmp_path / "b.csv").write_text("x")
    (tmp_path / "a.csv").write_text("xy")
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "link.csv").symlink_to(tmp_path / "a.csv")
    os.mkfifo(tmp_path / "pipe.csv")
    listing = inputs.list_inputs(tmp_path)
    assert list(listing) == ["a.csv", "b.csv"] and listing["a.csv"][0] == 2
