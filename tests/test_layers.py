"""Imports fall: a room of `risk/` imports only from rooms below it, a script only what comes before it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# A script may import those before it; the scripts of one floor never import each other.
FLOORS = [
    {"config", "pretty_confusion_matrix"},
    {"ingestion", "training", "scoring", "deployment", "diagnostics", "reporting", "dbsetup"},
    {"app"},
    {"wsgi", "apicalls"},
    {"fullprocess"},
]
FLOOR_OF = {name: number for number, names in enumerate(FLOORS) for name in names}
TOOLS = {"gunicorn.conf"}
ROOMS = {
    "metrics",
    "data",
    "engines",
    "model",
    "history",
    "monitoring",
    "prediction",
    "reporting",
    "serving",
    "runtime",
}
MOST_MODULES = 16
IDLE = (
    "config.py",
    "fullprocess.py",
    "risk/errors.py",
    "risk/limits.py",
    "risk/text.py",
    "risk/files.py",
    "risk/locks.py",
    "risk/digests.py",
    "risk/data/inputs.py",
    "risk/data/label_words.py",
    "risk/engines/base.py",
    "risk/model/estimators.py",
    "risk/model/publishing.py",
    "risk/runtime/settings.py",
    "risk/runtime/runner.py",
    "risk/runtime/arguments.py",
    "risk/runtime/deliveries.py",
    "risk/runtime/logs.py",
    "risk/runtime/permissions.py",
    "risk/runtime/signals.py",
    "risk/timeouts.py",
    "risk/model/registry.py",
    "risk/model/choices.py",
    "risk/history/outbox.py",
    "risk/history/dialects.py",
    "risk/monitoring/rules.py",
    "risk/monitoring/alarms.py",
    "risk/monitoring/alerts.py",
    "risk/monitoring/alert_channels.py",
    "risk/runtime/settings_schema.py",
    "risk/runtime/state.py",
    "risk/runtime/changes.py",
    "risk/runtime/steps.py",
)


def scripts():
    return [path for path in ROOT.glob("*.py") if path.stem not in TOOLS]


def modules():
    return [path for path in (ROOT / "risk").rglob("*.py") if path.stem != "__init__"]


def name_of(path):
    return path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")


def imports_of(tree, *, at_import_only=False):
    """Name every imported module, inside functions too unless only those at import are asked for."""
    for node in tree.body if at_import_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_imports_between_the_rooms_fall():
    """The contracts of import-linter in pyproject.toml; in its own process, for it disables our loggers."""
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", scripts(), ids=name_of)
def test_a_script_imports_only_from_floors_below_its_own(path):
    name = name_of(path)
    assert name in FLOOR_OF, f"{name} has no floor"
    for imported in imports_of(ast.parse(path.read_text())):
        if imported in FLOOR_OF:
            assert FLOOR_OF[imported] < FLOOR_OF[name], f"{name} imports {imported}"


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_no_module_imports_a_script(path):
    assert not set(imports_of(ast.parse(path.read_text()))) & FLOOR_OF.keys()


def test_the_rooms_are_those_of_the_plan_and_none_is_crowded():
    sizes = {}
    for path in (ROOT / "risk").glob("*/*.py"):
        sizes[path.parent.name] = sizes.get(path.parent.name, 0) + (path.stem != "__init__")
    assert sizes.keys() == ROOMS
    assert max(sizes.values()) <= MOST_MODULES, sizes


@pytest.mark.parametrize(
    "room", [ROOT / "risk", *(ROOT / "risk" / room for room in sorted(ROOMS))], ids=name_of
)
def test_an_init_holds_a_docstring_and_nothing_else(room):
    (docstring,) = ast.parse((room / "__init__.py").read_text()).body
    assert isinstance(docstring, ast.Expr)


@pytest.mark.parametrize("name", IDLE)
def test_the_head_of_an_idle_run_stays_on_the_standard_library(name):
    ours = {file.removesuffix(".py").replace("/", ".") for file in IDLE}
    for node in ast.parse((ROOT / name).read_text()).body:
        for imported in imports_of(ast.Module([node], []), at_import_only=True):
            top = imported.split(".")[0]
            inside = any(imported == one or imported.startswith(f"{one}.") for one in ours)
            package = any(one.startswith(f"{imported}.") for one in ours)
            assert top in sys.stdlib_module_names or inside or package, imported


def test_no_script_hides_a_module_of_the_standard_library():
    assert not {path.stem for path in scripts()} & sys.stdlib_module_names


def test_every_floor_names_only_scripts_that_exist():
    assert set(FLOOR_OF) == {name_of(path) for path in scripts()}
