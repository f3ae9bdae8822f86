"""Is there a Spark cluster to work on, and is every part of it fit for the work?

A session is started once in a process and lives to its end. Settings reach Spark through a file that only we
can read, never through arguments of a process; what Java says goes to a log file, not to cron's mail. pyspark
is imported here alone, and only when a session is asked for.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from risk import digests
from risk.engines.base import EngineSettings
from risk.errors import ServiceError

OLDEST_JAVA = 17
ANSWER_S = 5.0  # for a master to take a connection
LOOK_S = 1.0
SETTLE_S = 0.1  # a probe stays so long, so that the next one goes to another executor
LOG_BYTES = 5_000_000
OURS = {"spark.app.name": "dynamic-risk-assessment", "spark.ui.showConsoleProgress": "false"}
SECRET = re.compile("secret|password|passwd|token|credential|key", re.IGNORECASE)
_OWN_ERROR = re.compile(r"risk\.errors\.ServiceError: (.*)")
_OTHER_PYTHON = re.compile(r"PYTHON_VERSION_MISMATCH\]? *(.*)")


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


class Cluster:
    """A running session; what fails in it ends as ServiceError, in words without a secret."""

    def __init__(self, settings: ClusterSettings, gateway: Any, session: Any) -> None:
        self.settings = settings
        self.session = session
        self.context = session.sparkContext
        self.scratch = tempfile.TemporaryDirectory(prefix="risk-code-")  # executors fetch from it
        self._gateway = gateway
        self._closed = False
        self._proven: set[tuple[Path, tuple[str, ...]]] = set()

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """Run a query and give its rows."""
        rows: list[tuple[Any, ...]] = self.work(
            lambda: [tuple(row) for row in self.session.sql(sql).collect()]
        )
        return rows

    def work(self, do: Callable[[], Any]) -> Any:
        """Let the cluster do something, for as long as it has an executor."""
        from py4j.protocol import Py4JError, Py4JNetworkError
        from pyspark.errors import PySparkException

        if self._closed:
            raise ServiceError(f"{self.settings.master}: the session has ended")
        with _Watch(self) as watch:
            try:
                return do()
            except (Py4JNetworkError, ConnectionError, EOFError) as error:
                why = ServiceError(f"{self.settings.master}: Spark's driver ended ({error}); see spark.log")
            except (Py4JError, PySparkException) as error:
                why = self.explain(error)
        if watch.lost:
            why = ServiceError(
                f"{self.settings.master}: all executors are gone, and none came within "
                f"{self.settings.wait_s:.0f} s; look at the cluster, then run again"
            )
        if watch.lost or self.is_over():
            stop()
        raise why

    def forget(self, frames: Iterable[Any]) -> None:
        """Let executors forget what they keep, if there are any."""
        with contextlib.suppress(ServiceError):
            for frame in frames:
                self.work(frame.unpersist)

    def is_over(self) -> bool:
        """Say whether the session has ended, by whatever hand."""
        from py4j.protocol import Py4JError

        try:
            return bool(self.context._jsc.sc().isStopped())
        except (Py4JError, ConnectionError, EOFError, AttributeError):
            return True

    def explain(self, error: BaseException) -> ServiceError:
        """Say what an error of Spark means, in one line and without a secret."""
        text = str(error)
        own = _OWN_ERROR.search(text)
        if own:
            return ServiceError(own[1])
        other = _OTHER_PYTHON.search(text)
        if other:
            return ServiceError(
                f"the workers run another Python than this {_version(sys.version_info)} "
                f"({self._hide(other[1])}); name the right one in engine.conf as spark.pyspark.python"
            )
        lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("\tat ")]
        causes = [line for line in lines if re.match(r"(Caused by: )?[\w.$]+(Exception|Error)\b", line)]
        said = (causes or lines or ["no reason given"])[-1][:500]
        return ServiceError(f"{self.settings.master}: Spark failed ({self._hide(said)}); see spark.log")

    def _hide(self, text: str) -> str:
        for name, value in self.settings.conf.items():
            if SECRET.search(name) and value:
                text = text.replace(value, "***")
        return text

    def n_executors(self) -> int:
        """Count the executors that are there; the driver is none, unless it does the work."""
        found = len(self.context._jsc.sc().statusTracker().getExecutorInfos())
        return found if self.settings.is_local else found - 1

    def await_executors(self) -> None:
        """Wait for the first executor."""
        until = time.monotonic() + self.settings.wait_s
        while self.n_executors() < 1:
            if time.monotonic() > until:
                raise ServiceError(
                    f"{self.settings.master}: gave no executor within {self.settings.wait_s:.0f} s; look "
                    "at its workers and at what is asked of them in engine.conf"
                )
            time.sleep(SETTLE_S)

    def prove(self, folder: Path, packages: Sequence[str] = ()) -> None:
        """Make sure that every executor sees `folder`, may write there, and has our versions.

        Parameters
        ----------
        packages : sequence of str
            Of these every executor must have the version that is installed here.

        Raises
        ------
        ServiceError
            Naming the host, and what it sees or has instead.
        """
        if (folder, tuple(packages)) in self._proven:
            return
        folder.mkdir(parents=True, exist_ok=True)
        wanted = {name: metadata.version(name) for name in packages}
        secret = os.urandom(16).hex()
        with tempfile.TemporaryDirectory(prefix="probe-", dir=folder) as place:
            Path(place).chmod(0o700)
            probe = Path(place) / "probe"
            probe.write_text(secret)
            digest = digests.sha256(secret.encode())
            seen = self._ask_each(str(probe), list(packages))
            for host, of_executor in sorted(seen.items()):
                _judge(host[0], of_executor, probe, digest, wanted)
        self._proven.add((folder, tuple(packages)))

    def _ask_each(self, probe: str, packages: list[str]) -> dict[tuple[str, int], dict[str, Any]]:
        """Ask until every executor has answered."""
        seen: dict[tuple[str, int], dict[str, Any]] = {}
        until = time.monotonic() + self.settings.wait_s
        pause = 0.0 if self.settings.is_local else SETTLE_S
        while True:
            n_tasks = 2 * max(self.context.defaultParallelism, self.n_executors(), 1)

            def look(_: Iterable[int]) -> Iterator[tuple[tuple[str, int], dict[str, Any]]]:
                return report(probe, packages, pause)

            rdd = self.context.parallelize(range(n_tasks), n_tasks).mapPartitions(look)
            seen |= dict(self.work(rdd.collect))
            if len(seen) >= self.n_executors():
                return seen
            if time.monotonic() > until:
                raise ServiceError(
                    f"{self.settings.master}: only {len(seen)} of {self.n_executors()} executors took a task "
                    f"within {self.settings.wait_s:.0f} s"
                )

    def close(self) -> None:
        """End the session and its Java process."""
        from py4j.protocol import Py4JError
        from pyspark import SparkContext

        self._closed = True
        with contextlib.suppress(Py4JError, ConnectionError, EOFError):
            self.session.stop()
        SparkContext._active_spark_context = None
        _shut(self._gateway)
        self.scratch.cleanup()


class _Watch:
    """Looks whether there is an executor at all; a job without one would wait for ever."""

    def __init__(self, cluster: Cluster) -> None:
        self.lost = False
        self._cluster = cluster
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> _Watch:
        if not self._cluster.settings.is_local:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        if self._thread.is_alive():
            self._thread.join()

    def _look(self) -> None:
        from py4j.protocol import Py4JError

        last = time.monotonic()
        while not self._done.wait(LOOK_S):
            try:
                if self._cluster.n_executors() > 0:
                    last = time.monotonic()
                elif time.monotonic() - last > self._cluster.settings.wait_s:
                    self.lost = True
                    self._cluster.context.cancelAllJobs()  # again and again: more may be on their way
            except (Py4JError, ConnectionError, EOFError, AttributeError):
                return  # the session has ended; whoever waits for it is told


def report(
    probe: str, packages: Sequence[str], pause_s: float
) -> Iterator[tuple[tuple[str, int], dict[str, Any]]]:
    """Say on an executor which one it is, what it sees of the probe, and what is installed there."""
    time.sleep(pause_s)
    versions = {}
    for name in packages:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "missing"
    found: dict[str, Any] = {"versions": versions, "digest": None, "why": None}
    mark = f"{socket.gethostname()}-{os.getppid()}"
    try:
        with open(probe, "rb") as handle:  # noqa: PTH123
            found["digest"] = hashlib.sha256(handle.read()).hexdigest()
        with open(f"{probe}-{mark}", "w") as handle:  # noqa: PTH123
            handle.write("seen")
    except OSError as error:
        found["why"] = error.strerror or str(error)
    found["mark"] = mark
    yield (socket.gethostname(), os.getppid()), found


def _judge(host: str, found: Mapping[str, Any], probe: Path, digest: str, wanted: Mapping[str, str]) -> None:
    for name, version in wanted.items():
        if found["versions"][name] != version:
            raise ServiceError(
                f"the executor on {host} has {name} {found['versions'][name]}, here it is {version}; install "
                "the same on every worker (spark.pyspark.python in engine.conf names their Python)"
            )
    seen = found["digest"] == digest and probe.with_name(f"{probe.name}-{found['mark']}").exists()
    if not seen:
        raise ServiceError(
            f"the executor on {host} does not share {probe.parent.parent} with this machine "
            f"({found['why'] or 'other content'}); the whole workspace must be on storage that every "
            "executor may read and write under the same path"
        )


# --- start and end ---------------------------------------------------------------------------------------


class _Live:
    cluster: Cluster | None = None


def connect(settings: ClusterSettings) -> Cluster:
    """Give the session of this process, started when it is first asked for.

    Raises
    ------
    ServiceError
        When pyspark or Java is missing, or the cluster does not answer or has no executor to give.
    """
    live = _Live.cluster
    if live is not None and live.settings == settings and not live.is_over():
        return live
    stop()
    _Live.cluster = start(settings)
    return _Live.cluster


def connect_proven(settings: EngineSettings, packages: Sequence[str] = ()) -> Cluster:
    """Give the session on the cluster that config.json names, its executors proven by `Cluster.prove`."""
    wanted = ClusterSettings(settings.master, settings.conf, settings.wait_s, settings.log)
    connected = connect(wanted)
    connected.prove(settings.room.spill, packages)
    return connected


def stop() -> None:
    """End the session of this process, if there is one."""
    live, _Live.cluster = _Live.cluster, None
    if live is not None:
        live.close()


atexit.register(stop)


def start(settings: ClusterSettings) -> Cluster:
    """Start a session and wait for its first executor."""
    find_java()
    check_master(settings.master)
    try:
        import pyspark
    except ImportError as error:
        raise ServiceError(
            f"pyspark is not installed ({error}); run: pip install -r requirements-spark.txt"
        ) from error
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession

    gateway = _launch(settings)
    cluster: Cluster | None = None
    try:
        pyspark.SparkContext._ensure_initialized(gateway=gateway)
        context = pyspark.SparkContext(gateway=gateway, conf=pyspark.SparkConf())
        cluster = Cluster(settings, gateway, SparkSession(context))
        cluster.await_executors()
        context.addPyFile(str(_pack_code(Path(cluster.scratch.name))))
    except (Py4JError, PySparkException, ConnectionError, EOFError, ServiceError) as error:
        explained = error if isinstance(error, ServiceError) else _explain_start(settings, error)
        active = pyspark.SparkContext._active_spark_context
        if active is not None:
            with contextlib.suppress(Py4JError, ConnectionError, EOFError):
                active.stop()
        _shut(gateway)
        if cluster is not None:
            cluster.scratch.cleanup()
        raise explained from None
    return cluster


def _explain_start(settings: ClusterSettings, error: BaseException) -> ServiceError:
    explained = Cluster.explain(_Unstarted(settings), error)  # type: ignore[arg-type]
    return ServiceError(f"{explained.text}; the cluster cannot be used")


class _Unstarted:
    """Stands for a cluster whose start failed, where its error is explained."""

    def __init__(self, settings: ClusterSettings) -> None:
        self.settings = settings

    _hide = Cluster._hide


def find_java() -> None:
    """Make sure that there is a Java that Spark can use."""
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    if java is None:
        raise ServiceError(f"Spark needs Java {OLDEST_JAVA}, and there is none; install it, or set JAVA_HOME")
    try:
        told = subprocess.run([java, "-version"], capture_output=True, text=True, check=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError) as error:
        why = f"JAVA_HOME is {home}" if home else java
        raise ServiceError(f"Spark needs Java {OLDEST_JAVA}, and {why} does not run ({error})") from error
    found = re.search(r'version "(?:1\.)?(\d+)', told.stderr)
    if found and int(found[1]) < OLDEST_JAVA:
        raise ServiceError(
            f"Spark needs Java {OLDEST_JAVA}, and {java} is {found[1]}; set JAVA_HOME to a newer one"
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


def _launch(settings: ClusterSettings) -> Any:
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


def _shut(gateway: Any) -> None:
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


def _pack_code(folder: Path) -> Path:
    """Pack the modules that executors import."""
    path = folder / "risk_code.zip"
    with zipfile.ZipFile(path, "w") as packed:
        package = Path(__file__).resolve().parents[1]
        for module in sorted(package.rglob("*.py")):
            packed.write(module, module.relative_to(package.parent))
    return path


def _version(info: Any) -> str:
    return f"{info[0]}.{info[1]}"
