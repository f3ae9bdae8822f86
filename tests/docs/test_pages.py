"""README, docs, --help, config and code agree; every link leads somewhere."""

import ast
import functools
import json
import os
import re
import subprocess
import sys

import pytest
from pages import ALL_PAGES, PAGES, ROOT, drop_blocks, list_blocks, list_rows, name_of, read

import app
import config
from risk import errors
from risk.history import tables
from risk.runtime import settings_schema

SCRIPTS = ["ingestion", "training", "scoring", "deployment", "diagnostics", "reporting", "app", "apicalls",
           "fullprocess", "dbsetup"]  # fmt: skip
MOST_BYTES = 12_000
SHORTEST_FRAGMENT = 6


def make_anchor(heading):
    """Name a heading as GitHub does."""
    return re.sub(r"[^\w -]", "", heading.strip().lower()).replace(" ", "-")


@functools.cache
def list_literals():
    """List every text in the code, the constant parts of f-strings too, one after another."""
    paths = [*ROOT.glob("*.py"), *(ROOT / "risk").rglob("*.py")]
    trees = (ast.parse(path.read_text(encoding="utf-8")) for path in paths)
    nodes = (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return [node.value for node in nodes if isinstance(node.value, str)]


# --- the pages ---------------------------------------------------------------------------------------------


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_bytes()) <= MOST_BYTES


@pytest.mark.parametrize("page", ALL_PAGES, ids=name_of)
def test_every_link_leads_to_a_file_and_a_heading(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", drop_blocks(page.read_text(encoding="utf-8"))):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.*)$", drop_blocks(target.read_text(encoding="utf-8")), re.MULTILINE)
            assert anchor in map(make_anchor, headings), link


def test_the_readme_links_every_page():
    links = set(re.findall(r"\]\(([^)\s#]+)", read("README.md")))
    assert {name_of(page) for page in PAGES} - {"README.md"} <= links


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_path_that_a_page_names_exists(page):
    text = drop_blocks(page.read_text(encoding="utf-8"))
    for name in re.findall(r"`((?:risk|tests|benchmarks|docs|templates|static)/[\w./-]*)`", text):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"`(\w+\.py)`", text):
        assert list(ROOT.glob(name)) or list(ROOT.glob(f"benchmarks/{name}")) or page.stem == "architecture"


def test_every_test_file_that_environments_sh_names_exists():
    names = re.findall(r"tests/\w+/[\w/]+\.py", read("tests/environments.sh"))
    assert names and not [name for name in names if not (ROOT / name).exists()]


# --- what the README says of the scripts -------------------------------------------------------------------


def test_the_readme_names_every_script_that_runs():
    rows = list_rows(read("README.md"), "## The stages")
    assert [row[0].strip("`") for row in rows] == [f"{name}.py" for name in SCRIPTS]
    for name in SCRIPTS:
        assert (ROOT / f"{name}.py").exists()


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_works_from_any_folder_and_has_an_example(name, tmp_path):
    done = subprocess.run(
        [sys.executable, ROOT / f"{name}.py", "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "example:" in done.stdout and "--config" in done.stdout and "exit codes" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert done.stderr == ""


def test_the_exit_codes_of_the_readme_are_those_of_the_code():
    part = read("README.md").split("| exit code | meaning |")[1].split("\n\n")[0]
    stated = {
        int(code) for code in re.findall(r"^\| ([\d, ]+) \|", part, re.MULTILINE) for code in code.split(",")
    }
    known = {kind.exit_code for kind in vars(errors).values() if isinstance(kind, type)}
    assert errors.EXIT_CODES.keys() == known | {os.EX_OK, os.EX_SOFTWARE, 130, 143}
    assert stated == errors.EXIT_CODES.keys()


@pytest.mark.parametrize(("page", "heading"), [
    ("README.md", "## Operation and troubleshooting"), ("docs/operations.md", "## Messages"),
])  # fmt: skip
def test_the_messages_of_the_troubleshooting_tables_are_those_of_the_code(page, heading):
    literals = list_literals()
    for row in list_rows(read(page), heading):
        for message in re.findall(r"`([^`]+)`", row[0]):
            assert len(message) >= SHORTEST_FRAGMENT
            assert any(message in literal for literal in literals), message


def test_make_targets_and_variables_of_the_pages_exist():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    variables = set(re.findall(r"^([A-Z]+) [:?]?=", makefile, re.MULTILINE))
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert set(re.findall(r"`make ([a-z]+)", text)) <= targets, page
        assert set(re.findall(r"^\$ make ([a-z]+)", text, re.MULTILINE)) <= targets, page
        assert set(re.findall(r"make [a-z]+ ([A-Z]+)=", text)) <= variables, page


def test_the_two_figures_of_the_readme_are_those_of_the_simulation():
    text, page = read("README.md"), read("docs/decisions.md")
    stable = list_rows(page, "False alarms without drift")
    assert f"at or below {max(float(row[5].split()[0]) for row in stable)} %" in text
    assert all(45 < float(row[3].split()[0]) < 55 for row in stable) and "in about half" in text
    changed = list_rows(page, "Alarms after a change")
    assert (
        all(row[4].startswith("100 ") for row in changed if row[0] == "+1 σ") and "from 200 rows on" in text
    )
    equal = list_rows(page, "Wrong decisions of the gate")
    assert f"at most {max(float(row[3].split()[0]) for row in equal)} %" in text
    unequal = list_rows(page, "Right decisions of the gate")
    assert next(row for row in unequal if row[:2] == ["0.10", "1,000"])[2].startswith("100 ")


# --- tables ------------------------------------------------------------------------------------------------


def test_every_config_key_has_a_row_with_its_default():
    text = read("docs/configuration.md")
    rows = {
        name: row[1]
        for row in list_rows(text, "reported at once")
        for name in re.findall(r"`([a-z_.]+)`", row[0])
    }
    known = {}
    for key, default in settings_schema.DEFAULTS.items():
        if isinstance(default, dict):
            known |= {f"{key}.{name}": value for name, value in default.items()}
        else:
            known[key] = default
    assert set(rows) == set(known)
    for key, shown in rows.items():
        values = [json.loads(text) for text in re.findall(r"`([^`]+)`", shown) if text[0] in '"[{0123456789']
        assert not values or known[key] in values, key


def test_the_config_of_the_page_on_configuration_is_the_shipped_one():
    shown = json.loads(list_blocks(read("docs/configuration.md"), "json")[0])
    assert shown == json.loads((ROOT / "config.json").read_text())


def test_the_endpoints_of_the_page_on_the_api_are_those_of_the_app(workspace):
    stated = set(re.findall(r"`(?:GET|POST) (/[a-z.]*)`", read("docs/api.md"))) | {"/static/<name>"}
    rules = app.create_app(config.load_config(workspace.config_path)).url_map.iter_rules()
    assert stated == {rule.rule for rule in rules}
    four = set(re.findall(r"`(?:GET|POST) (/[a-z.]*)`", read("README.md")))
    assert four == {"/prediction", "/scoring", "/summarystats", "/diagnostics"}


def test_the_tables_of_the_page_on_history_are_those_of_the_schema():
    rows = list_rows(read("docs/history.md"), "# History")
    stated = {name for row in rows for name in re.findall(r"`(\w+)`", row[0])}
    assert stated == set(tables.TABLES)


def test_the_rooms_of_the_page_on_architecture_are_those_of_the_tree():
    stated = {row[0].strip("`/"): set(re.findall(r"`(\w+)`", row[2])) for row in
              list_rows(read("docs/architecture.md"), "## The rooms")}  # fmt: skip
    found = {}
    for path in (ROOT / "risk").rglob("*.py"):
        if path.stem != "__init__":
            found.setdefault(path.parent.relative_to(ROOT).as_posix(), set()).add(path.stem)
    assert stated == found
