"""A cluster that cannot be used is an error with its reason, and nothing happens without it."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from risk.engines import spark_launch
from risk.errors import ServiceError

ROOT = Path(__file__).resolve().parents[2]


def spark(master, **more):
    return {"name": "spark", "master": master, **more}


@pytest.fixture
def closed_port():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # bound, and never listening
        yield bound.getsockname()[1]


@pytest.mark.parametrize("script", ["ingestion", "fullprocess"])
def test_a_master_that_does_not_answer_is_69_and_nothing_changes(old_world, closed_port, script):
    old_world.tick()
    old_world.put("sourcedata/c.csv", [["new", "1", "red", "1"]])
    before = old_world.bytes()
    old_world.configure(engine=spark(f"spark://127.0.0.1:{closed_port}"))
    old_world.run(script, expect=os.EX_UNAVAILABLE)
    assert f"127.0.0.1:{closed_port}: the master does not answer" in old_world.said
    assert {**old_world.bytes(), "config.json": b""} == {**before, "config.json": b""}
    old_world.configure(engine={"name": "duckdb"})
    assert old_world.run("ingestion")["rows_new"] == 1


@pytest.mark.parametrize("home", [None, "nowhere"])
def test_without_java_it_says_so(old_world, monkeypatch, home):
    monkeypatch.setenv("PATH", "/nowhere")
    if home:
        monkeypatch.setenv("JAVA_HOME", f"/{home}")
    else:
        monkeypatch.delenv("JAVA_HOME", raising=False)
    old_world.configure(engine=spark("local[2]"))
    old_world.run("ingestion", expect=os.EX_UNAVAILABLE)
    assert "Spark needs Java 17" in old_world.said and "JAVA_HOME" in old_world.said


def test_an_old_java_is_named(tmp_path, monkeypatch):
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(ServiceError, match=r"17.*is 11"):
        spark_launch.find_java()


def test_an_idle_tick_with_spark_configured_does_not_touch_it(old_world, closed_port):
    old_world.tick()
    old_world.configure(engine=spark(f"spark://127.0.0.1:{closed_port}"))
    program = (
        "import sys, fullprocess\n"
        f"code = fullprocess.main(['--config', {str(old_world.config_path)!r}])\n"
        "assert not {'pyspark', 'py4j', 'pandas', 'risk.engines.spark_session'} & sys.modules.keys()\n"
        "sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_what_is_in_conf_is_not_repeated_when_config_is_wrong(workspace):
    workspace.configure(engine=spark("local", conf={"spark.a.secret": ["canary"], "spark.master": "canary"}))
    workspace.run("ingestion", expect=os.EX_CONFIG)
    assert "engine.conf" in workspace.said and "canary" not in workspace.said
