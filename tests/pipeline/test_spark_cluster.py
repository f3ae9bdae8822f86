"""A real small cluster: a master and two workers as processes of their own, on loopback."""

import ctypes
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pyspark
import pytest
from makers import make_clients

from risk.engines import spark_session

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
HOME = Path(pyspark.__file__).parent
DEADLINE_S = 240
CONF = {
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.ui.enabled": False,
    "spark.sql.shuffle.partitions": 4,
    "spark.executor.memory": "512m",
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    "spark.executor.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    "spark.pyspark.python": sys.executable,
}


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def free_port():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]


def wait_for(found, what):
    until = time.monotonic() + DEADLINE_S
    while not (answer := found()):
        assert time.monotonic() < until, what
        time.sleep(0.02)
    return answer


def children(pid, named):
    """Name the processes below one whose command line holds a word."""
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, path.read_text().split()):
            try:
                line = Path(f"/proc/{child}/cmdline").read_text()
            except OSError:
                continue
            found += [child] if named in line else children(child, named)
    return found


class Standalone:
    def __init__(self, folder):
        self.folder, self.port, self.processes = folder, free_port(), []
        self.url = f"spark://127.0.0.1:{self.port}"
        self.start("master.Master", "--port", str(self.port))
        wait_for(self.answers, "the master does not come up")
        self.workers = [self.start_worker() for _ in range(2)]

    def start(self, kind, *arguments):
        log = (self.folder / f"{kind}-{len(self.processes)}.log").open("wb")
        quick = {"SPARK_HOME": str(HOME), "SPARK_DAEMON_JAVA_OPTS": "-XX:TieredStopAtLevel=1"}
        with log:
            process = subprocess.Popen(
                [HOME / "bin" / "spark-class", f"org.apache.spark.deploy.{kind}", "--host", "127.0.0.1",
                 "--webui-port", "0", *arguments],
                stdout=log, stderr=log, env={**os.environ, **quick}, cwd=self.folder,
                preexec_fn=die_with_parent,
            )  # fmt: skip
        self.processes.append(process)
        return process

    def start_worker(self):
        work = self.folder / f"work-{len(self.processes)}"
        return self.start(
            "worker.Worker", "--cores", "1", "--memory", "1g", "--work-dir", str(work), self.url
        )

    def answers(self):
        with socket.socket() as tried:
            return tried.connect_ex(("127.0.0.1", self.port)) == 0

    def executors(self):
        return [
            pid for worker in self.workers for pid in children(worker.pid, "CoarseGrainedExecutorBackend")
        ]

    def engine(self, *, wait_s=60, **conf):
        return {"name": "spark", "master": self.url, "conf": {**CONF, **conf}, "wait_s": wait_s}

    def end(self):
        for process in reversed(self.processes):
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def standalone(tmp_path_factory):
    made = Standalone(tmp_path_factory.mktemp("standalone"))
    yield made
    spark_session.stop()
    made.end()


@pytest.fixture
def large(workspace):
    """Enough for seconds of reading: half with quotes, duplicates across files, and bad rows."""
    for number in range(10):
        rows = make_clients(6_000, f"f{number // 2}")
        rows[7][1] = "many"
        rows[8][2] = "a, b" if number % 2 else "a b"
        workspace.put(f"sourcedata/{number:02d}.csv", rows)
    return workspace


def wanted_of(workspace, tmp_path):
    """Give what DuckDB makes of the same files."""
    root = tmp_path / "same"
    shutil.copytree(workspace.root, root)
    other = type(workspace).__new__(type(workspace))
    other.__dict__ |= {**workspace.__dict__, "root": root, "config_path": root / "config.json"}
    other.configure(engine={"name": "duckdb"})
    other.run("ingestion")
    return results(root)


def results(root):
    folder = root / "ingesteddata"
    names = ("finaldata.csv", "ingestedfiles.txt", "rejectedrows.csv", ".finaldata.json")
    return {name: (folder / name).read_bytes() for name in names if (folder / name).exists()}


def start_ingestion(workspace):
    """Start an ingestion, and give it when its executors have shown that they are fit and read."""
    child = subprocess.Popen(
        [sys.executable, ROOT / "ingestion.py", "--config", workspace.config_path, "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=die_with_parent,
    )  # fmt: skip
    spill = workspace.root / ".state" / "spill"
    wait_for(lambda: list(spill.glob("probe-*")) or child.poll() is not None, "no probe came")
    wait_for(lambda: not list(spill.glob("probe-*")), "the probe does not go")
    assert child.poll() is None, child.communicate()
    return child


def test_two_workers_give_the_bytes_of_duckdb(standalone, large, tmp_path):
    wanted = wanted_of(large, tmp_path)
    large.configure(engine=standalone.engine())
    large.run("ingestion")
    assert results(large.root) == wanted
    spark_session.stop()


def test_a_tick_judges_and_retrains_with_two_workers(standalone, old_world):
    old_world.tick()
    old_world.put("sourcedata/new.csv", make_clients(400, "new", "new"))
    old_world.configure(engine=standalone.engine(), drift={"rule": "auto"})
    told = old_world.tick()
    assert told["drift"] is True and told["deployed"] is True
    assert {found["n"] for found in told["verdict"]["evidence"]["shifts"]} == {400}
    spark_session.stop()


def test_without_the_cluster_nothing_is_decided_and_the_next_tick_decides(old_world):
    """What was ingested stays; verdict, release and the mark up to which rows were judged do not move."""
    old_world.tick()
    old_world.put("sourcedata/new.csv", make_clients(400, "new", "new"))
    old_world.run("ingestion")
    watched = [
        old_world.root / ".state" / "tick.json",
        *(old_world.root / "production_deployment").rglob("*"),
    ]
    before = {path: path.read_bytes() for path in watched if path.is_file()}
    assert watched[0] in before and len(before) > 5
    nobody = {"name": "spark", "master": f"spark://127.0.0.1:{free_port()}", "conf": CONF, "wait_s": 3}
    old_world.configure(engine=nobody)
    old_world.tick(expect=os.EX_UNAVAILABLE)
    assert {path: path.read_bytes() for path in before} == before
    old_world.configure(engine={"name": "duckdb"})
    told = old_world.tick()
    assert told["drift"] is True and told["verdict"]["evidence"]["n"] == 400


def test_an_executor_that_is_killed_changes_nothing(standalone, large, tmp_path):
    wanted = wanted_of(large, tmp_path)
    large.configure(engine=standalone.engine())
    child = start_ingestion(large)
    killed = wait_for(standalone.executors, "no executor")[0]
    os.kill(killed, signal.SIGKILL)
    out, said = child.communicate(timeout=DEADLINE_S)
    assert child.returncode == 0, said
    assert results(large.root) == wanted
    assert not list((large.root / ".state" / "spill").iterdir()) and '"rows_rejected": 10' in out


@pytest.mark.parametrize(
    ("wrapped", "script", "said"),
    [
        ("python", "ingestion", r"the workers run another Python than this 3\.\d+ .*spark.pyspark.python"),
        (
            "package",
            "diagnostics",
            r"has scikit-learn 0\.1, here it is 1\..*install the same on every worker",
        ),
    ],
)
def test_another_version_on_the_workers_is_named(standalone, old_world, tmp_path, wrapped, script, said):
    old_world.tick()
    before = results(old_world.root)
    old_world.put("sourcedata/c.csv", make_clients(5, "c"))
    fake = tmp_path / "fake"
    (fake / "scikit_learn-0.1.dist-info").mkdir(parents=True)
    if wrapped == "package":
        (fake / "scikit_learn-0.1.dist-info" / "METADATA").write_text(
            "Metadata-Version: 2.1\nName: scikit-learn\nVersion: 0.1\n"
        )
    else:
        (fake / "sitecustomize.py").write_text(
            "import sys\n"
            "class Info(tuple):\n"
            "    major, minor, micro, releaselevel, serial = 3, 99, 0, 'final', 0\n"
            "sys.version_info = Info((3, 99, 0, 'final', 0))\n"
        )
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={fake}:$PYTHONPATH exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    old_world.configure(engine=standalone.engine(**{"spark.pyspark.python": str(python)}))
    more = ["--predict", str(old_world.root / "testdata" / "t.csv")] if script == "diagnostics" else []
    old_world.run(script, *more, expect=os.EX_UNAVAILABLE)
    assert re.search(said, old_world.said), old_world.said
    assert results(old_world.root) == before
    spark_session.stop()


def test_a_folder_that_an_executor_does_not_see_is_named(standalone, old_world, monkeypatch, tmp_path):
    """The probe is asked for under a path that is not there: as on a worker without the storage."""
    live = spark_session.connect(
        spark_session.ClusterSettings(
            standalone.url, {k: str(v).lower() for k, v in CONF.items() if k != "spark.pyspark.python"}
            | {"spark.pyspark.python": sys.executable}, 60, tmp_path / "spark.log",
        )
    )  # fmt: skip
    seen = live._ask_each(str(tmp_path / "nowhere" / "probe"), [])
    assert len(seen) == 2
    for (host, _), found in seen.items():
        with pytest.raises(spark_session.ServiceError, match=f"{host} does not share .*No such file"):
            spark_session._judge(host, found, tmp_path / "nowhere" / "probe", "", {})
    spark_session.stop()


def test_without_any_executor_left_it_ends_in_69_and_the_workspace_is_as_it_was(standalone, large, tmp_path):
    wanted = wanted_of(large, tmp_path)
    before = large.bytes()
    large.configure(engine=standalone.engine(wait_s=3))
    child = start_ingestion(large)
    wait_for(standalone.executors, "no executor")
    for pid in [worker.pid for worker in standalone.workers] + standalone.executors():
        os.kill(pid, signal.SIGKILL)
    _, said = child.communicate(timeout=DEADLINE_S)
    assert child.returncode == os.EX_UNAVAILABLE, said
    assert "all executors were lost" in said
    assert {**large.bytes(), "config.json": b""} == {**before, "config.json": b""}
    large.configure(engine=standalone.engine(wait_s=3))
    large.run("ingestion", expect=os.EX_UNAVAILABLE)
    assert "provided no executor within 3 s" in large.said
    large.configure(engine={"name": "duckdb"})
    large.run("ingestion")
    assert results(large.root) == wanted
