"""A workspace in a temporary folder, worked by the scripts' own main."""

import csv
import json
import os
import time
from pathlib import Path

# Boosting on two threads waits in spins, and on a busy machine for minutes; the stages take one, too.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from makers import HEADER

import apicalls
import dbsetup
import deployment
import diagnostics
import fullprocess
import ingestion
import reporting
import scoring
import training
from risk.model import registry
from risk.runtime import dependencies

SCRIPTS = {
    m.__name__: m
    for m in (
        ingestion,
        training,
        scoring,
        deployment,
        diagnostics,
        reporting,
        apicalls,
        fullprocess,
        dbsetup,
    )
}


def keep_packages(root, ago_s=0.0):
    """Let the answers about packages be known already: no test asks an index."""
    path = root / ".state" / "packages.json"
    path.parent.mkdir(exist_ok=True)
    names = dependencies.read_names(Path(diagnostics.__file__).parent / "requirements.txt")
    path.write_text(json.dumps({name: {"latest": "1.0", "at": time.time() - ago_s} for name in names}))


class Workspace:
    """A folder with config.json, worked by the scripts' own main."""

    def __init__(self, root: Path, capsys):
        self.root = root
        root.mkdir()
        self.capsys = capsys
        self.config_path = root / "config.json"
        self.keys = {
            "input_folder_path": "sourcedata",
            "output_folder_path": "ingesteddata",
            "test_data_path": "testdata",
            "output_model_path": "models",
            "prod_deployment_path": "production_deployment",
            "model": {"estimator": "logistic_regression"},
        }
        self.configure()
        self.keep_packages()

    def configure(self, **changes):
        self.keys |= changes
        self.config_path.write_text(json.dumps(self.keys))

    def put(self, name, rows, header=HEADER):
        """Write a CSV file below the root."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8") as handle:
            csv.writer(handle, lineterminator="\n").writerows([header, *rows])
        return path

    def run(self, script, *arguments, expect=0):
        """Run a script's main with --json and return its object; `.said` holds stderr."""
        self.capsys.readouterr()
        code = SCRIPTS[script].main(["--config", str(self.config_path), "--json", *arguments])
        out, self.said = self.capsys.readouterr()
        assert code == expect, f"{script} ended with {code}: {self.said}"
        return json.loads(out) if out.strip() else None

    def tick(self, *arguments, expect=0):
        return self.run("fullprocess", *arguments, expect=expect)

    def walk(self):
        """Run the four stages by hand."""
        for script in ("ingestion", "training", "scoring", "deployment"):
            result = self.run(script)
        return result

    def keep_packages(self, ago_s=0.0):
        keep_packages(self.root, ago_s)

    def table(self):
        return (self.root / "ingesteddata" / "finaldata.csv").read_bytes()

    def state(self):
        return json.loads((self.root / ".state" / "tick.json").read_text())

    def release(self):
        return json.loads((self.root / "production_deployment" / "manifest.json").read_text())

    def release_id(self):
        return registry.release_id(registry.current(self.root / "production_deployment"))

    def bytes(self, *left_out):
        """Give the bytes of every artifact that has no time in it."""
        found = {}
        for path in sorted(self.root.rglob("*")):
            name = path.relative_to(self.root).as_posix()
            timed = (".state", "logs", "records", "models/trends")
            if path.is_file() and not name.startswith((*left_out, *timed)):
                found[name] = path.read_bytes()
        return found
