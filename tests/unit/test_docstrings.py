"""The examples in docstrings are true."""

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WITH_EXAMPLES = [path for path in sorted((ROOT / "risk").rglob("*.py")) if ">>> " in path.read_text()]


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda path: path.stem)
def test_every_example_of_a_module_gives_what_it_shows(path):
    name = path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
    outcome = doctest.testmod(importlib.import_module(name))
    assert outcome.attempted > 0 and outcome.failed == 0


def test_there_are_examples():
    assert WITH_EXAMPLES
