"""The Java process of Spark: what it needs, how it is started and ended, and the code packed for executors.

Settings reach Spark through a file that only we can read, never through arguments of a process; what Java
says goes to a log file, not to cron's mail.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from risk.errors import ServiceError

OLDEST_JAVA = 17
ANSWER_S = 5.0  # for a master to take a connection
LOG_BYTES = 5_000_000
OURS = {"spark.app.name": "dynamic-risk-assessment", "spark.ui.showConsoleProgress": "false"}


@dataclass(frozen=True)
class ClusterSettings:
    """Where a cluster is, and how long it is waited for.

    `conf` is handed to Spark as it is. `log` takes what Java says.
    """

    master: str
    conf: Mapping[str, str] = field(repr=False)
    wait_s: float
    log: Path = field(compare=False)

    @property
    def is_local(self) -> bool:
        return self.master.startswith("local") and not self.master.startswith("local-cluster")


def find_java() -> None:
    """Make sure that there is a Java that Spark can use."""
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    if java is None:
        raise ServiceError(f"Spark needs Java {OLDEST_JAVA}, and there is none; install it, or set JAVA_HOME")
    try:
        done = subprocess.run([java, "-version"], capture_output=True, text=True, check=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError) as error:
        why = f"JAVA_HOME is {home}" if home else java
        raise ServiceError(f"Spark needs Java {OLDEST_JAVA}, and {why} does not run ({error})") from error
    version = re.search(r'version "(?:1\.)?(\d+)', done.stderr)
    if version and int(version[1]) < OLDEST_JAVA:
        raise ServiceError(
            f"Spark needs Java {OLDEST_JAVA}, and {java} is {version[1]}; set JAVA_HOME to a newer one"
        )


def check_master(master: str) -> None:
    """Make sure that a standalone master takes connections: Spark itself would try for a minute."""
    if not master.startswith("spark://"):
        return
    why = "no address in it"
    for address in master.removeprefix("spark://").split(","):
        host, _, port = address.rpartition(":")
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_S):
                return
        except (OSError, ValueError, OverflowError) as error:
            why = getattr(error, "strerror", None) or str(error)
    raise ServiceError(f"{master}: the master does not answer ({why}); start it, or correct engine.master")


def launch(settings: ClusterSettings) -> Any:
    """Start Java with the settings in a file that only we can read, and that is gone at once."""
    from pyspark.errors import PySparkException
    from pyspark.java_gateway import launch_gateway

    settings.log.parent.mkdir(parents=True, exist_ok=True)
    fresh = settings.log.exists() and settings.log.stat().st_size > LOG_BYTES
    conf = {**OURS, **settings.conf, "spark.master": settings.master}
    with (
        tempfile.NamedTemporaryFile("w", prefix="risk-", suffix=".conf", encoding="utf-8") as file,
        settings.log.open("wb" if fresh else "ab") as log,
        _environment(
            PYSPARK_SUBMIT_ARGS=f"--properties-file {shlex.quote(file.name)} pyspark-shell",
            PYSPARK_PYTHON=conf.get("spark.pyspark.python")
            or os.environ.get("PYSPARK_PYTHON")
            or sys.executable,
        ),
    ):
        file.writelines(f"{_escape(name)}={_escape(value)}\n" for name, value in conf.items())
        file.flush()
        try:
            return launch_gateway(popen_kwargs={"stdout": log, "stderr": log})
        except PySparkException as error:
            raise ServiceError(
                f"{settings.master}: Spark does not start ({str(error).splitlines()[0]}); see spark.log"
            ) from None


@contextlib.contextmanager
def _environment(**values: str) -> Iterator[None]:
    """Set variables for a child. PYSPARK_PYTHON stays: the context that is made next asks for it."""
    before = os.environ.get("PYSPARK_SUBMIT_ARGS")
    os.environ.update(values)
    try:
        yield
    finally:
        del os.environ["PYSPARK_SUBMIT_ARGS"]
        if before is not None:
            os.environ["PYSPARK_SUBMIT_ARGS"] = before


def _escape(text: str) -> str:
    """Write a name or a value for a properties file of Java."""
    text = text.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
    return re.sub(r"([=:#! ])", r"\\\1", text)


def shut_down(gateway: Any) -> None:
    from pyspark import SparkContext

    SparkContext._gateway = SparkContext._jvm = None
    gateway.shutdown()
    if gateway.proc is not None:
        gateway.proc.stdin.close()
        try:
            gateway.proc.wait(10)
        except subprocess.TimeoutExpired:
            gateway.proc.kill()
            gateway.proc.wait()


def pack_code(folder: Path) -> Path:
    """Pack the modules that executors import."""
    path = folder / "risk_code.zip"
    with zipfile.ZipFile(path, "w") as packed:
        package = Path(__file__).resolve().parents[1]
        for module in sorted(package.rglob("*.py")):
            packed.write(module, module.relative_to(package.parent))
    return path
