"""No package may be older than the fix of its last known vulnerability: looked up on 2026-11-25."""

import re
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
FILES = [*sorted(ROOT.glob("requirements*.txt")), ROOT / "constraints.txt"]
# The first version without a known vulnerability, and the advisories that say so; None where none is known
# of a version that anybody may still have.
FLOORS = {
    "certifi": ("2024.7.4", ["CVE-2024-39689"]),
    "duckdb": ("1.1.0", ["CVE-2024-41672"]),
    "flask": ("3.1.3", ["CVE-2026-27205", "CVE-2023-30861"]),
    "fonttools": ("4.60.2", ["CVE-2025-66034"]),
    "gunicorn": ("27.0.0", ["CVE-2026-134820", "CVE-2024-6827", "CVE-2024-1135"]),
    "idna": ("3.15", ["CVE-2026-45409", "CVE-2024-3651"]),
    "jinja2": ("3.1.6", ["CVE-2025-27516"]),
    "joblib": ("1.2.0", ["CVE-2022-21797"]),
    "mysql-connector-python": ("9.2.0", ["CVE-2025-21548", "CVE-2024-21272"]),
    "numpy": ("1.22.0", ["CVE-2021-41496", "CVE-2021-41495"]),
    "pillow": ("12.3.0", ["CVE-2026-59199", "CVE-2026-59205", "CVE-2026-59197", "CVE-2026-40192"]),
    "playwright": ("1.56.0", ["CVE-2025-59288"]),
    "pypdf": ("6.21.4", [f"CVE-2026-{number}" for number in range(119203, 119210)]),
    "pyspark": ("4.0.0", ["CVE-2025-55039"]),
    "pytest": ("9.0.3", ["CVE-2025-71176"]),
    "reportlab": ("3.6.13", ["CVE-2023-33733", "CVE-2019-17626"]),
    "requests": ("2.33.0", ["CVE-2026-25645", "CVE-2024-47081"]),
    "scikit-learn": ("1.5.0", ["CVE-2024-5206"]),
    "sqlalchemy": ("1.3.0", ["CVE-2019-7164"]),
    "urllib3": ("2.8.0", ["CVE-2026-97687", "CVE-2026-97689", "CVE-2026-44431", "CVE-2026-21441"]),
    "werkzeug": ("3.1.6", ["CVE-2026-27199", "CVE-2026-21860", "CVE-2024-49767"]),
    "waitress": ("3.0.1", ["CVE-2024-49768", "CVE-2024-49769"]),
    **dict.fromkeys(
        [
            "blinker", "charset-normalizer", "click", "cloudpickle", "contourpy", "cycler", "hypothesis",
            "import-linter",
            "itsdangerous", "kiwisolver", "markupsafe", "matplotlib", "mypy", "narwhals", "packaging",
            "pandas", "pandas-stubs", "psycopg", "psycopg-binary", "pyparsing", "pytest-xdist",
            "python-dateutil", "ruff", "schemathesis", "scipy", "seaborn", "six", "threadpoolctl",
            "treelite", "types-requests", "typing-extensions", "tzdata",
        ]
    ),
}  # fmt: skip


def requirements():
    """Read every requirement that we name, with the file it stands in."""
    for path in FILES:
        for line in path.read_text(encoding="utf-8").splitlines():
            if line and not line.startswith(("#", "-")):
                yield path.name, Requirement(line)


def brought_along():
    """Name what is installed because requirements.txt asks for it, at whatever distance."""
    left = [canonicalize_name(asked.name) for name, asked in requirements() if name == "requirements.txt"]
    found = set()
    while left:
        name = left.pop()
        if name in found:
            continue
        found.add(name)
        for line in metadata.requires(name) or []:
            asked = Requirement(line)
            if asked.marker is None or asked.marker.evaluate({"extra": ""}):
                left.append(canonicalize_name(asked.name))
    return found


@pytest.mark.parametrize(("file", "asked"), list(requirements()), ids=lambda value: str(value).split(">")[0])
def test_no_version_with_a_known_vulnerability_is_allowed(file, asked):
    name = canonicalize_name(asked.name)
    assert name in FLOORS, f"{file}: look up the advisories of {name}, and give it a row"
    if FLOORS[name]:
        floors = [Version(part.version) for part in asked.specifier if part.operator == ">="]
        assert floors and max(floors) >= Version(FLOORS[name][0]), f"{file}: {FLOORS[name]}"


@pytest.mark.parametrize("name", sorted(brought_along()))
def test_what_is_installed_is_no_older(name):
    assert name in FLOORS, f"look up the advisories of {name}, and give it a row"
    if FLOORS[name]:
        assert Version(metadata.version(name)) >= Version(FLOORS[name][0]), FLOORS[name]


def test_what_packages_bring_along_is_held_by_constraints():
    named = {canonicalize_name(asked.name) for _, asked in requirements()}
    assert {name for name in brought_along() if FLOORS[name]} <= named
    assert (ROOT / "requirements.txt").read_text().splitlines()[0] == "-c constraints.txt"


def test_every_floor_names_its_advisories():
    for floor in filter(None, FLOORS.values()):
        assert floor[1] and all(re.fullmatch(r"CVE-\d{4}-\d{4,}|GHSA(-\w{4}){3}", name) for name in floor[1])
