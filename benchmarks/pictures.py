"""The pictures of the documentation: page 1 of the PDF, and the page of the server, from the shipped data.

    python benchmarks/pictures.py

Needs Debian's packages chromium and poppler-utils, and playwright (requirements-dev.txt). Works in a
scratch folder and writes docs/pictures/.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import apicalls  # noqa: E402
import fullprocess  # noqa: E402
from config import load_config  # noqa: E402

PICTURES = ROOT / "docs" / "pictures"
WIDTH, HEIGHT = 1000, 1100


def make_workspace(folder: Path) -> Path:
    """Let two ticks run: on the practice data, then on the production data beside them."""
    config = folder / "config.json"
    raw = json.loads((ROOT / "config.json").read_text())
    config.write_text(json.dumps(raw | {"drift": {"rule": "auto"}}))
    shutil.copytree(ROOT / "testdata", folder / "testdata")
    for source in ("practicedata", "sourcedata"):
        (folder / "sourcedata").mkdir(exist_ok=True)
        for path in sorted((ROOT / source).glob("*.csv")):
            shutil.copy(path, folder / "sourcedata" / f"{source}-{path.name}")
        assert fullprocess.main(["--config", str(config), "-q"]) == 0
    return config


def take_paper(report: Path) -> None:
    """Take page 1 of the PDF."""
    command = ["pdftoppm", "-f", "1", "-l", "1", "-r", "80", "-singlefile", "-png"]
    subprocess.run([*command, report, PICTURES / "page1"], check=True)


def take_screen(address: str) -> None:
    """Take the upper part of the page of the server."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as running:
        browser = running.chromium.launch(executable_path=shutil.which("chromium"))
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(f"{address}/")
        page.screenshot(path=PICTURES / "page.png")
        browser.close()


def main() -> None:
    """Take both."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="risk-pictures-") as scratch:
        config = make_workspace(Path(scratch))
        take_paper(Path(scratch) / "models" / "summary_report.pdf")
        with apicalls.serve(load_config(config)) as address:
            take_screen(address)


if __name__ == "__main__":
    main()
