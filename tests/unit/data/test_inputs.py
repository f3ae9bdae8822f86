"""Which files are input files, and which functions read their format."""

from pathlib import Path

import pytest

from risk.data import csv_check, csv_rows, inputs
from risk.data.inputs import InputFormat


@pytest.mark.parametrize("name", ["a.csv", "A.CSV", "export", "a.csv.bak"])
def test_a_file_of_no_other_format_is_read_as_csv(name):
    assert inputs.find_checker(Path(name)) is csv_check.check_open
    assert inputs.find_reader(Path(name)) is csv_rows.read_open_rows


def test_every_row_of_the_registry_names_two_functions():
    for suffix in inputs.FORMATS:
        assert callable(inputs.find_checker(Path(f"a{suffix}")))
        assert callable(inputs.find_reader(Path(f"a{suffix}")))


def test_a_format_of_its_own_is_checked_and_read_by_its_own_functions(monkeypatch, tmp_path):
    """A newcomer touches a module and one row: here both functions are those of this test."""
    path = tmp_path / "a.lines"
    path.write_text("x")
    monkeypatch.setitem(inputs.FORMATS, ".lines", InputFormat(f"{__name__}:check", f"{__name__}:read"))
    checked = csv_check.check(path, ["name"])
    assert (checked.header, checked.odd) == (("name",), True)
    assert [row.cells for row in csv_rows.read_rows(checked)] == [("one",), ("two",)]


def check(handle, path, wanted, separator, limits):
    return csv_check.Checked(path, "digest", len(handle.read()), header=tuple(wanted), odd=True)


def read(handle, header, separator, limits):
    handle.close()
    yield from (csv_rows.Row(1, ("one",)), csv_rows.Row(2, ("two",)))
