"""Imports fall: each module imports only what lies on a lower floor."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# A floor may import those before it; the modules of one floor never import each other.
FLOORS = [
    {"risk.errors", "risk.limits", "risk.escapes", "risk.layout"},
    {
        "risk.folds",
        "risk.samples",
        "risk.thresholds",
        "risk.ranking",
        "risk.anatomy",
        "risk.usual",
        "risk.echoes",
        "risk.bands",
        "risk.deadline",
        "risk.entries",
        "risk.profiles",
    },
    {
        "risk.artifacts",
        "risk.csvfile",
        "risk.dataset",
        "risk.scores",
        "risk.databases",
        "risk.trends",
        "risk.charts",
        "risk.shift",
        "risk.models",
        "risk.calibration",
        "risk.trees",
        "risk.candidates",
        "risk.learning",
        "risk.suspicions",
        "risk.gate",
        "risk.problems",
        "risk.requestlog",
        "risk.summary",
        "risk.listing",
        "risk.sketch",
        "risk.scripts",
        "risk.words",
        "risk.slices",
        "risk.purpose",
        "risk.unpickling",
    },
    {
        "risk.paper",
        "risk.webpage",
        "risk.releases",
        "risk.rows",
        "risk.table",
        "risk.ticks",
        "risk.packages",
        "risk.reference",
        "risk.estimates",
        "risk.timeline",
        "risk.engine",
        "risk.selection",
        "risk.outbox",
        "risk.history",
        "risk.access",
        "risk.confined",
        "risk.arrivals",
        "risk.direct",
        "risk.reasons",
        "risk.pipes",
        "risk.parts",
        "risk.cluster",
        "risk.alerts",
    },
    {
        "risk.keys",
        "risk.couriers",
        "risk.records",
        "risk.copies",
        "risk.evidence",
        "risk.awaited",
        "risk.questions",
        "risk.serving",
        "risk.worker",
        "risk.gauges",
        "risk.appendix",
        "risk.pages",
        "risk.frames",
        "risk.shelf",
        "risk.known",
        "risk.predictions",
        "risk.roster",
        "risk.spark",
        "risk.lite",
    },
    {"risk.compiled"},
    {
        "risk.contents",
        "risk.delivery",
        "risk.drift",
        "risk.answers",
        "risk.cards",
        "risk.screen",
        "risk.batches",
        "risk.clients",
        "risk.remote",
    },
    {"risk.atrisk", "risk.lineage"},
    {"config", "pretty_confusion_matrix"},
    {"stage"},
    {"intake"},
    {"ingestion", "training", "scoring", "deployment", "diagnostics", "reporting", "dbsetup"},
    {"app"},
    {"wsgi", "apicalls"},
    {"tick"},
    {"fullprocess"},
]
STANDARD_ONLY = (
    "risk/errors.py",
    "risk/limits.py",
    "risk/escapes.py",
    "risk/artifacts.py",
    "risk/releases.py",
    "risk/ticks.py",
    "risk/outbox.py",
    "risk/alerts.py",
    "risk/couriers.py",
    "risk/deadline.py",
    "risk/entries.py",
    "risk/lite.py",
    "risk/keys.py",
    "config.py",
    "stage.py",
    "tick.py",
)
TOOLS = {"gunicorn.conf"}
FLOOR_OF = {name: number for number, names in enumerate(FLOORS) for name in names}


def files():
    return [*ROOT.glob("*.py"), *(ROOT / "risk").glob("*.py")]


def name_of(path):
    return path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")


def imports_of(tree, *, at_import_only=False):
    """Name every imported module, inside functions too unless only those at import are asked for."""
    nodes = tree.body if at_import_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.module == "risk":
                yield from (f"risk.{alias.name}" for alias in node.names)
            else:
                yield node.module


@pytest.mark.parametrize("path", files(), ids=name_of)
def test_a_module_imports_only_from_floors_below_its_own(path):
    name = name_of(path)
    if name == "risk.__init__":
        assert path.read_text() == ""
        return
    if name in TOOLS:
        return
    assert name in FLOOR_OF, f"{name} has no floor; name its question and give it one"
    for imported in imports_of(ast.parse(path.read_text())):
        if imported in FLOOR_OF:
            assert FLOOR_OF[imported] < FLOOR_OF[name], f"{name} imports {imported}"
        else:
            assert imported.split(".")[0] != "risk", f"{imported} has no floor"


@pytest.mark.parametrize("name", [*STANDARD_ONLY, "fullprocess.py"])
def test_the_head_of_an_idle_tick_stays_on_the_standard_library(name):
    for imported in imports_of(ast.parse((ROOT / name).read_text()), at_import_only=True):
        top = imported.split(".")[0]
        assert top in sys.stdlib_module_names or f"{imported.replace('.', '/')}.py" in STANDARD_ONLY


def test_no_module_of_ours_hides_one_of_the_standard_library():
    assert not {path.stem for path in ROOT.glob("*.py")} & sys.stdlib_module_names


def test_every_floor_names_only_modules_that_exist():
    assert set(FLOOR_OF) - {name_of(path) for path in files()} == set()
