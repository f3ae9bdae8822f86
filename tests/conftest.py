"""A workspace in a temporary folder, and clients to fill it with."""

import csv
import json
import os
import random
import shutil
import time
from pathlib import Path

# Boosting on two threads waits in spins, and on a busy machine for minutes; the stages take one, too.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import pytest
from servers import KINDS, PACKAGES, OwnServer, can_start, find_server

import apicalls
import dbsetup
import deployment
import diagnostics
import fullprocess
import ingestion
import reporting
import scoring
import training
from risk import packages, releases

# How long an example takes is a matter of what else the machine does. The same tree gets the same
# verdict: examples are drawn anew only where new ones are looked for (`make torture`).
hypothesis.settings.register_profile(
    "busy machine",
    deadline=None,
    derandomize="RISK_NEW_EXAMPLES" not in os.environ,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("busy machine")
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
HEADER = ["corporation", "activity", "colour", "exited"]


def make_clients(n, seed, world="old"):
    """Make rows of one world: quiet clients leave in the old one, busy ones in the new one."""
    draw = random.Random(f"{seed}-{world}")
    rows = []
    for number in range(n):
        activity = draw.randint(0, 100)
        risk = 0.9 if (activity < 40) == (world == "old") else 0.1
        colour = draw.choice(["red", "green", "blue", ""])
        rows.append([f"client-{seed}-{number}", str(activity), colour, str(int(draw.random() < risk))])
    return rows


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
        """Let the answers about packages be known already: no test asks an index."""
        path = self.root / ".state" / "packages.json"
        path.parent.mkdir(exist_ok=True)
        names = packages.read_names(Path(diagnostics.__file__).parent / "requirements.txt")
        path.write_text(json.dumps({name: {"latest": "1.0", "at": time.time() - ago_s} for name in names}))

    def table(self):
        return (self.root / "ingesteddata" / "finaldata.csv").read_bytes()

    def state(self):
        return json.loads((self.root / ".state" / "tick.json").read_text())

    def release(self):
        return json.loads((self.root / "production_deployment" / "manifest.json").read_text())

    def release_id(self):
        return releases.release_id(releases.current(self.root / "production_deployment"))

    def bytes(self, *left_out):
        """Give the bytes of every artifact that has no time in it."""
        found = {}
        for path in sorted(self.root.rglob("*")):
            name = path.relative_to(self.root).as_posix()
            timed = (".state", "logs", "records", "models/trends")
            if path.is_file() and not name.startswith((*left_out, *timed)):
                found[name] = path.read_bytes()
        return found


@pytest.fixture
def workspace(tmp_path, capsys):
    """A workspace with two files of the old world and test data of it."""
    made = Workspace(tmp_path / "workspace", capsys)
    return made


@pytest.fixture
def old_world(workspace):
    workspace.put("sourcedata/a.csv", make_clients(150, "a"))
    workspace.put("sourcedata/b.csv", make_clients(150, "b"))
    workspace.put("testdata/t.csv", make_clients(200, "t"))
    return workspace


@pytest.fixture(scope="session")
def served(tmp_path_factory):
    """A workspace in which a model is deployed; tests that change it take a copy."""
    from api_kit import make_workspace

    return make_workspace(tmp_path_factory.mktemp("served"))


@pytest.fixture
def copy(served, tmp_path):
    root = tmp_path / "copy"
    shutil.copytree(served, root, symlinks=True)
    return root


def pytest_sessionfinish(session, exitstatus):
    """Where RISK_NO_SKIPS is set, a skipped test is a failure: CI must not be green by leaving out.

    But for what needs file systems of its own, and a container may forbid to mount.
    """
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter is not None else []
    avoidable = [report for report in skipped if "not permitted here: " not in str(report.longrepr)]
    if os.environ.get("RISK_NO_SKIPS") and avoidable:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def servers():
    """The database servers of this run by kind, started when first asked for."""
    found = {}

    def get(kind, *, own=False):
        name = (kind, own)
        if name not in found:
            found[name] = start_own(kind) if own else find_server(kind)
        if isinstance(found[name], str):
            pytest.skip(found[name])
        return found[name]

    yield get
    for server in found.values():
        if isinstance(server, OwnServer):
            server.remove()


def start_own(kind):
    return OwnServer(kind) if can_start(kind) else f"no {kind} of our own: install {PACKAGES[kind]}"


@pytest.fixture(params=KINDS)
def database_url(request, tmp_path, servers):
    """The URL of an empty database, once for each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'records.db'}"
    else:
        with servers(request.param).fresh_database() as url:
            yield url


@pytest.fixture(params=KINDS[1:])
def own_server(request, servers):
    """A server that a test may stop; it runs again afterwards."""
    server = servers(request.param, own=True)
    yield server
    server.thaw()
    if server.process.poll() is not None:
        server.start()
