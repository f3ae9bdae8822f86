"""The code stays such that a newcomer finds a way through it."""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LONGEST_FUNCTION, LONGEST_MODULE = 40, 450
FILES = [*ROOT.glob("*.py"), *(ROOT / "risk").rglob("*.py")]
TREES = {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text()) for path in FILES}
FUNCTIONS = [
    (name, node)
    for name, tree in TREES.items()
    for node in ast.walk(tree)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
]


@pytest.mark.parametrize("name", TREES)
def test_a_module_says_what_it_does_in_a_statement(name):
    first, *_ = (ast.get_docstring(TREES[name]) or "").split("\n\n")
    assert first.rstrip().endswith(".") and "?" not in first, (
        f"{name}: the docstring is to be a statement, with a full stop"
    )


@pytest.mark.parametrize("name", TREES)
def test_no_module_is_too_long_to_be_read_at_once(name):
    assert len((ROOT / name).read_text().splitlines()) <= LONGEST_MODULE


def test_no_function_is_longer_than_a_page():
    lengths = {f"{name}:{one.name}": one.end_lineno - one.lineno + 1 for name, one in FUNCTIONS}
    assert {name: n for name, n in lengths.items() if n > LONGEST_FUNCTION} == {}


def test_one_class_name_is_one_class():
    names = Counter(
        node.name for tree in TREES.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)
    )
    assert [name for name, n in names.items() if n > 1] == []


def test_no_private_attribute_of_scikit_learn_is_read():
    """Names such as `_predictors` are free to change with every release of the library."""
    private = re.compile(r"\b(model|estimator|pipeline|classifier|step|tree|encoder)\._[a-z]")
    assert [path.name for path in FILES if private.search(path.read_text())] == []
