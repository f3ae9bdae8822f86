"""Whatever order things happen in: no row is lost, the deployed model answers, the next tick mends the rest.

A machine of random days: files are added, changed, removed and broken, ticks run and are killed at any of
their writes, people deploy and roll back by hand, a byte of the deployed model rots.
"""

import contextlib
import io
import json
import os
import random
import shutil
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from csvs import mutate
from faults import child
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from makers import HEADER, make_clients
from workspaces import SCRIPTS, Workspace

import app
from config import load_config
from risk.errors import ArtifactError
from risk.model import registry

COUNTS = Counter()
STEPS = 8
MANY = 50
ROW = {"activity": 20, "colour": "red"}
NAMES = st.sampled_from(["a.csv", "b.csv", "c.csv", "d.csv"])
WORLDS = st.sampled_from(["old", "old", "new"])
NUMBERS = st.integers(0, 10**6)


class Screen:
    """Both outputs of a script, as pytest's capsys has them."""

    def __init__(self):
        self.out, self.err = io.StringIO(), io.StringIO()

    def readouterr(self):
        said = self.out.getvalue(), self.err.getvalue()
        self.out, self.err = io.StringIO(), io.StringIO()
        return said


class Office(Workspace):
    """A workspace whose scripts may end with any of some exit codes."""

    def do(self, script, *arguments, allowed=(os.EX_OK,)):
        self.capsys.readouterr()
        with contextlib.redirect_stdout(self.capsys.out), contextlib.redirect_stderr(self.capsys.err):
            code = SCRIPTS[script].main(["--config", str(self.config_path), "--json", *arguments])
        out, self.said = self.capsys.readouterr()
        assert code in allowed and "Traceback" not in self.said, (script, code, self.said)
        COUNTS[f"runs of {script}"] += 1
        return json.loads(out) if out.strip() else None


def make_template(root):
    """Make a workspace in which two ticks have run and two releases are there."""
    office = Office(root, Screen())
    office.configure(model={"estimator": "logistic_regression"}, api={"port": 0})
    office.put("testdata/t.csv", make_clients(60, "t"))
    office.put("sourcedata/first.csv", make_clients(80, "first"))
    office.do("fullprocess")
    office.put("sourcedata/second.csv", make_clients(60, "second", "new"))
    office.do("fullprocess")
    assert len(registry.list_names(root / "production_deployment")) == 2
    return root


class Days(RuleBasedStateMachine):
    """One workspace and everything that happens to it; `template` is set before it runs."""

    template = None

    @initialize()
    def arrive(self):
        self.root = Path(tempfile.mkdtemp(dir=self.template.parent)) / "w"
        shutil.copytree(self.template, self.root, symlinks=True)
        self.office = Office.__new__(Office)
        self.office.root, self.office.capsys = self.root, Screen()
        self.office.config_path = self.root / "config.json"
        self.folder = self.root / "production_deployment"
        self.client = app.create_app(load_config(self.office.config_path)).test_client()
        self.committed = self.office.table()
        self.clean = False
        COUNTS["sequences"] += 1

    @rule(name=NAMES, world=WORLDS, number=NUMBERS, n=st.sampled_from([1, 20, 60]))
    def add_or_change(self, name, world, number, n):
        self.office.put(f"sourcedata/{name}", make_clients(n, number, world))
        self.clean = False

    @rule(name=NAMES)
    def remove(self, name):
        (self.root / "sourcedata" / name).unlink(missing_ok=True)
        self.clean = False

    @rule(name=NAMES, number=NUMBERS)
    def corrupt(self, name, number):
        text = io.StringIO()
        print(",".join(HEADER), *map(",".join, make_clients(9, number)), sep="\n", file=text)
        draw = random.Random(number)
        data = mutate(draw) if number % 2 else text.getvalue().encode()[: draw.randrange(300)]
        (self.root / "sourcedata" / name).write_bytes(data)
        self.clean = False

    @rule(name=NAMES)
    def half_uploaded(self, name):
        (self.root / "sourcedata" / f"{name}.part").write_text("corporation,acti")

    def _good_before_the_deployed(self):
        deployed = registry.release_number(registry.current(self.folder) or "")
        for name in registry.list_names(self.folder):
            if registry.release_number(name) < deployed:
                with contextlib.suppress(ArtifactError):
                    registry.read(self.folder, name)
                    return True
        return False

    @precondition(lambda self: self._good_before_the_deployed())
    @rule(number=NUMBERS)
    def rot(self, number):
        path = (self.folder / "trainedmodel.pkl").resolve()
        data = bytearray(path.read_bytes())
        data[number % len(data)] ^= 1 + number % 255
        path.chmod(0o644)
        path.write_bytes(data)
        self.clean = False
        COUNTS["rotten releases"] += 1

    @rule()
    def tick(self):
        result = self.office.do("fullprocess", allowed=(os.EX_OK, os.EX_DATAERR))
        self._check_counts()
        self._check_prefix()
        assert result["release"] is None or result["release"] == registry.load(self.folder).id
        before = self.office.bytes()
        again = self.office.do("fullprocess")
        assert not again["new_data"] and again["reason"] is None and self.office.said == "", again
        assert self.office.bytes() == before
        self.clean = True

    @rule(at=st.integers(1, 120))
    def killed_tick(self, at):
        """Run a tick in a child that is killed at its `at`th write."""
        child = os.fork()
        if child == 0:
            signal.alarm(120)
            self._count_writes(at)
            with contextlib.suppress(BaseException):
                self.office.do("fullprocess", allowed=range(256))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        COUNTS["kills" if os.WIFSIGNALED(status) else "ticks that outran the kill"] += 1
        self.clean = False

    def _count_writes(self, at):
        left = [at]

        def dying(real):
            def call(*arguments, **options):
                left[0] -= 1
                if left[0] <= 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*arguments, **options)

            return call

        os.fsync, os.replace, os.rename = map(dying, (os.fsync, os.replace, os.rename))

    @rule()
    def deploy(self):
        for script in ("training", "scoring", "deployment"):
            self.office.do(script)
        self.clean = False

    @precondition(lambda self: self._good_before_the_deployed())
    @rule()
    def roll_back(self):
        self.office.do("deployment", "--rollback", allowed=(os.EX_OK, os.EX_DATAERR))
        self.clean = False

    @invariant()
    def answers(self):
        """The API that has run all along, and one that starts now, answer."""
        if not hasattr(self, "client"):
            return
        fresh = app.create_app(load_config(self.office.config_path)).test_client()
        for client in (self.client, fresh):
            answer = client.post("/prediction", json=[ROW])
            assert answer.status_code == 200, answer.text
            assert 0 <= answer.get_json()["predictions"][0]["probability"] <= 1
            COUNTS["answers"] += 1

    def _check_counts(self):
        ledger = json.loads((self.root / "ingesteddata" / ".finaldata.json").read_text())
        for entry in ledger["files"]:
            assert entry["read"] == entry["new"] + entry["duplicate"] + entry["rejected"], entry
        assert ledger["rows"] == sum(entry["new"] for entry in ledger["files"])
        table = self.office.table()
        assert len(table) == ledger["length"]
        assert table.count(b"\n") == ledger["lines"]

    def _check_prefix(self):
        table = self.office.table()
        assert table.startswith(self.committed)
        self.committed = table

    def teardown(self):
        if hasattr(self, "root"):
            shutil.rmtree(self.root.parent)


def run(n, number=0, *, steps=STEPS):
    """Run `n` sequences of up to `steps` random events; very many without the drawing."""
    COUNTS.clear()
    with tempfile.TemporaryDirectory() as root, pytest.MonkeyPatch.context() as patch:
        if n >= MANY:
            child.draw_nothing(patch.setattr)
        Days.template = make_template(Path(root) / "template")
        wanted = settings(
            max_examples=n,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        run_state_machine_as_test(seed(number)(Days), settings=wanted)
    sys.stdout.flush()
    return COUNTS
