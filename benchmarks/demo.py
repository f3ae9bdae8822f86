"""The walk of the project document, in a scratch copy: practice, production, drift, a new release.

    python benchmarks/demo.py [FOLDER]

Runs the real scripts as separate processes, as a person would, and prints the result of each. The workspace
stays in FOLDER (default: build/demo) for you to look at.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))

import make_data  # noqa: E402

PRACTICE = {
    "input_folder_path": "practicedata",
    "output_folder_path": "ingesteddata",
    "test_data_path": "testdata",
    "output_model_path": "practicemodels",
    "prod_deployment_path": "production_deployment",
}
SHOWN = (bool, int, float, str)
PRODUCTION = PRACTICE | {"input_folder_path": "sourcedata", "output_model_path": "models"}


class Demo:
    """A scratch workspace, worked by the real scripts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "config.json"
        self.failed = False

    def announce(self, text: str) -> None:
        print(f"\n{text}", flush=True)

    def configure(self, keys: dict[str, str]) -> None:
        self.config.write_text(json.dumps(keys, indent=2) + "\n", encoding="utf-8")

    def run(self, script: str) -> dict[str, Any]:
        """Run one script and print its result."""
        command = [sys.executable, str(ROOT / f"{script}.py"), "--config", str(self.config), "--json"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        result: dict[str, Any] = json.loads(done.stdout) if done.stdout.strip() else {}
        shown = ", ".join(f"{key} {value}" for key, value in result.items() if isinstance(value, SHOWN))
        print(f"  {script}.py  {shown}", flush=True)
        if done.returncode:
            print(f"  {script}.py ended with {done.returncode}", flush=True)
            self.failed = True
        return result


def play(folder: Path) -> int:
    """Play the demo; 0 if every script did what is expected of it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    make_data.make_sample(folder, further=1)
    demo = Demo(folder)

    demo.announce("1. Practice: the stages by hand, on practicedata/")
    demo.configure(PRACTICE)
    for script in ("ingestion", "training", "scoring", "deployment", "diagnostics", "reporting", "apicalls"):
        demo.run(script)

    demo.announce("2. Production: config.json points to sourcedata/, cron fires fullprocess.py")
    demo.configure(PRODUCTION)
    tick = demo.run("fullprocess")
    expected = tick.get("drift") is True and tick.get("deployed") is True

    demo.announce("3. Another file from the same world arrives")
    for path in sorted((folder / "further").glob("*.csv")):
        shutil.copy(path, folder / "sourcedata")
    demo.run("fullprocess")

    demo.announce("4. Nothing new: the run ends at once")
    idle = demo.run("fullprocess")
    expected &= idle.get("new_data") is False

    print(f"\nreport: {folder / 'models' / 'summary_report.pdf'}")
    if demo.failed or not expected:
        print("the demo did not end as expected", file=sys.stderr)
        return 1
    return 0


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "build" / "demo")
    return play(parser.parse_args(argv).folder)


if __name__ == "__main__":
    raise SystemExit(main())
