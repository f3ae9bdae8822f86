"""Which files a request may name, while somebody swaps links under it."""

import os
import threading

import pytest

from risk.serving.file_access import DataFiles
from risk.serving.problems import Refusal

SECRET, HARMLESS = b"secret", b"harmless"


@pytest.fixture
def root(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "x.csv").write_bytes(SECRET)
    root = tmp_path / "root"
    (root / "data").mkdir(parents=True)
    (root / "data" / "x.csv").write_bytes(HARMLESS)
    return root


def confine(root, max_bytes=1000):
    return DataFiles(root, (root / "data",), max_bytes)


def refused(files, path):
    with pytest.raises(Refusal) as caught:
        files.read(path)
    assert str(files._root) not in caught.value.detail
    return caught.value.status


def test_a_regular_file_is_read_up_to_the_limit(root):
    assert confine(root).read("data/x.csv") == HARMLESS
    assert confine(root, len(HARMLESS)).read(str(root / "data" / "x.csv")) == HARMLESS
    assert refused(confine(root, len(HARMLESS) - 1), "data/x.csv") == 413


def test_a_folder_that_the_operator_linked_before_the_start_is_followed(root):
    (root / "data").rename(root / "elsewhere")
    (root / "data").symlink_to(root / "elsewhere")
    assert confine(root).read("data/x.csv") == HARMLESS


def test_a_folder_that_becomes_a_link_later_is_not(root, tmp_path):
    files = confine(root)
    (root / "data").rename(root / "elsewhere")
    (root / "data").symlink_to(tmp_path / "outside")
    assert refused(files, "data/x.csv") == 403


def test_a_folder_above_that_becomes_a_link_later_is_not(root, tmp_path):
    (tmp_path / "outside" / "data").mkdir()
    (tmp_path / "outside" / "data" / "x.csv").write_bytes(SECRET)
    files = confine(root)
    root.rename(tmp_path / "old")
    root.symlink_to(tmp_path / "outside")
    assert refused(files, "data/x.csv") == 403


def test_what_is_not_there_is_404_and_a_folder_made_later_is_found(root):
    files = DataFiles(root, (root / "later",), 1000)
    assert refused(files, "later/x.csv") == 404
    (root / "data").rename(root / "later")
    assert files.read("later/x.csv") == HARMLESS


@pytest.mark.parametrize("what", ["file", "folder"])
def test_no_swap_of_links_however_quick_lets_anything_out(root, tmp_path, what):
    """One thread swaps the real thing and a link to the secret, by renames, thousands of times."""
    place, aside = (
        (root / "data" / "x.csv", root / "aside") if what == "file" else (root / "data", root / "aside")
    )
    target = tmp_path / "outside" / "x.csv" if what == "file" else tmp_path / "outside"
    files, stop, swaps = confine(root), threading.Event(), []

    def swap():
        while not stop.is_set():
            os.rename(place, aside)  # noqa: PTH104
            os.symlink(target, place)  # noqa: PTH211
            os.unlink(place)  # noqa: PTH108
            os.rename(aside, place)  # noqa: PTH104
            swaps.append(1)

    swapper = threading.Thread(target=swap)
    swapper.start()
    found = []
    try:
        while len(swaps) < 2000 or len(found) < 2000:
            try:
                found.append(files.read("data/x.csv"))
            except Refusal as refusal:
                found.append(refusal.status)
    finally:
        stop.set()
        swapper.join()
    assert {*found} <= {HARMLESS, 403, 404} and HARMLESS in found and {403, 404} & {*found}
