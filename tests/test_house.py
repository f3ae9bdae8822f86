"""The code stays such that a newcomer finds a way through it."""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

from risk.engines.base import ENGINES

ROOT = Path(__file__).resolve().parents[1]
LONGEST_FUNCTION, LONGEST_MODULE = 40, 380
FILES = [*ROOT.glob("*.py"), *(ROOT / "risk").rglob("*.py")]
TREES = {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text()) for path in FILES}
FUNCTIONS = [
    (name, node)
    for name, tree in TREES.items()
    for node in ast.walk(tree)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
]
ARRAYS = {"ndarray", "NDArray", "DataFrame", "Series"}


def names_in(annotation):
    """Name all types of an annotation, those in quotation marks too."""
    for node in ast.walk(annotation):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from names_in(ast.parse(node.value, mode="eval"))


ALIASES = {
    node.targets[0].id
    for tree in TREES.values()
    for node in tree.body
    if isinstance(node, ast.Assign)
    and isinstance(node.value, ast.Subscript | ast.BinOp | ast.Attribute)
    and isinstance(node.targets[0], ast.Name)
    and not node.targets[0].id.isupper()  # a constant
    and ARRAYS & {*names_in(node.value)}
}


def public_functions(body, owner=""):
    """Give the public functions of a module and the public methods of its public classes."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public_functions(node.body, f"{node.name}.")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            yield f"{owner}{node.name}", node


def array_parameters(function):
    given = function.args
    listed = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    annotated = [one for one in listed if one is not None and one.annotation is not None]
    return {one.arg for one in annotated if {*names_in(one.annotation)} & (ARRAYS | ALIASES)}


def documented_parameters(function):
    """Name what the section "Parameters" of a numpy docstring has an entry for."""
    _, _, section = (ast.get_docstring(function) or "").partition("Parameters\n----------\n")
    entries = re.split(r"\n\n[A-Z][a-z]+\n-{3,}\n", section)[0].splitlines()
    return {
        name.strip(" *")
        for entry in entries
        if not entry.startswith(" ")
        for name in entry.split(" : ")[0].split(",")
    }


TAKE_ARRAYS = {
    f"{path}:{name}": function
    for path, tree in TREES.items()
    for name, function in public_functions(tree.body)
    if array_parameters(function)
}


def test_what_takes_arrays_is_found_under_every_name():
    assert len(TAKE_ARRAYS) > 100
    assert {
        "scoring.py:score_model",  # np.ndarray, pd.DataFrame
        "risk/metrics/cross_validation.py:OutOfFold.scores",  # a method; an alias
        "risk/model/gate.py:decide",  # an alias of a tuple with a quoted name
        "risk/model/leakage.py:find_leak",  # pd.Series[Any]
    } <= TAKE_ARRAYS.keys()


@pytest.mark.parametrize("name", TAKE_ARRAYS)
def test_a_function_that_takes_arrays_says_what_is_in_them(name):
    missing = array_parameters(TAKE_ARRAYS[name]) - documented_parameters(TAKE_ARRAYS[name])
    assert not missing, f"{name}: the docstring needs a section Parameters with {', '.join(sorted(missing))}"


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


def test_no_engine_is_asked_for_by_name_outside_its_room():
    """What an engine can is in its row of ENGINES; the check of config.json knows which keys are whose."""
    allowed = {"risk/runtime/settings_schema.py"}
    found = {
        name
        for name, tree in TREES.items()
        if not name.startswith("risk/engines/")
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare)
        and any(isinstance(one, ast.Constant) and one.value in ENGINES for one in ast.walk(node))
    }
    assert found <= allowed


def test_no_private_attribute_of_scikit_learn_is_read():
    """Names such as `_predictors` are free to change with every release of the library."""
    private = re.compile(r"\b(model|estimator|pipeline|classifier|step|tree|encoder)\._[a-z]")
    assert [path.name for path in FILES if private.search(path.read_text())] == []
