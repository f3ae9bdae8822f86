"""Sessions on a Spark cluster, and the proof that every executor is fit for the work.

A session is started once in a process and lives to its end. pyspark is imported here and in `spark_launch`
alone, and only when a session is asked for.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import os
import re
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from risk import digests
from risk.engines.base import EngineSettings
from risk.engines.spark_launch import ClusterSettings, check_master, find_java, launch, pack_code, shut_down
from risk.errors import ServiceError

LOOK_S = 1.0
SETTLE_S = 0.1  # a probe stays so long, so that the next one goes to another executor
SECRET = re.compile("secret|password|passwd|token|credential|key", re.IGNORECASE)
_OWN_ERROR = re.compile(r"risk\.errors\.ServiceError: (.*)")
_OTHER_PYTHON = re.compile(r"PYTHON_VERSION_MISMATCH\]? *(.*)")


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
                why = explain(self.settings, error)
        if watch.lost:
            why = ServiceError(
                f"{self.settings.master}: all executors were lost, and none joined within "
                f"{self.settings.wait_s:.0f} s; check the cluster, then run again"
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

    def n_executors(self) -> int:
        """Count the executors that are there; the driver is none, unless it does the work."""
        n_known = len(self.context._jsc.sc().statusTracker().getExecutorInfos())
        return n_known if self.settings.is_local else n_known - 1

    def await_executors(self) -> None:
        """Wait for the first executor."""
        until = time.monotonic() + self.settings.wait_s
        while self.n_executors() < 1:
            if time.monotonic() > until:
                raise ServiceError(
                    f"{self.settings.master}: provided no executor within {self.settings.wait_s:.0f} s; "
                    "check its workers and what engine.conf requests of them"
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
        shut_down(self._gateway)
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
    answer: dict[str, Any] = {"versions": versions, "digest": None, "why": None}
    mark = f"{socket.gethostname()}-{os.getppid()}"
    try:
        with open(probe, "rb") as handle:  # noqa: PTH123
            answer["digest"] = hashlib.sha256(handle.read()).hexdigest()
        with open(f"{probe}-{mark}", "w") as handle:  # noqa: PTH123
            handle.write("seen")
    except OSError as error:
        answer["why"] = error.strerror or str(error)
    answer["mark"] = mark
    yield (socket.gethostname(), os.getppid()), answer


def _judge(host: str, answer: Mapping[str, Any], probe: Path, digest: str, wanted: Mapping[str, str]) -> None:
    for name, version in wanted.items():
        if answer["versions"][name] != version:
            raise ServiceError(
                f"the executor on {host} has {name} {answer['versions'][name]}, here it is {version}; "
                "install the same on every worker (spark.pyspark.python in engine.conf names their Python)"
            )
    seen = answer["digest"] == digest and probe.with_name(f"{probe.name}-{answer['mark']}").exists()
    if not seen:
        raise ServiceError(
            f"the executor on {host} does not share {probe.parent.parent} with this machine "
            f"({answer['why'] or 'other content'}); the whole workspace must be on storage that every "
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

    gateway = launch(settings)
    cluster: Cluster | None = None
    try:
        pyspark.SparkContext._ensure_initialized(gateway=gateway)
        context = pyspark.SparkContext(gateway=gateway, conf=pyspark.SparkConf())
        cluster = Cluster(settings, gateway, SparkSession(context))
        cluster.await_executors()
        context.addPyFile(str(pack_code(Path(cluster.scratch.name))))
    except (Py4JError, PySparkException, ConnectionError, EOFError, ServiceError) as error:
        if isinstance(error, ServiceError):
            explained = error
        else:
            explained = ServiceError(f"{explain(settings, error).text}; the cluster cannot be used")
        active = pyspark.SparkContext._active_spark_context
        if active is not None:
            with contextlib.suppress(Py4JError, ConnectionError, EOFError):
                active.stop()
        shut_down(gateway)
        if cluster is not None:
            cluster.scratch.cleanup()
        raise explained from None
    return cluster


def explain(settings: ClusterSettings, error: BaseException) -> ServiceError:
    """Explain an error of Spark in one line and without a secret."""
    text = str(error)
    own = _OWN_ERROR.search(text)
    if own:
        return ServiceError(own[1])
    other = _OTHER_PYTHON.search(text)
    if other:
        return ServiceError(
            f"the workers run another Python than this {_version(sys.version_info)} "
            f"({_hide(settings, other[1])}); name the right one in engine.conf as spark.pyspark.python"
        )
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("\tat ")]
    causes = [line for line in lines if re.match(r"(Caused by: )?[\w.$]+(Exception|Error)\b", line)]
    reason = (causes or lines or ["no reason given"])[-1][:500]
    return ServiceError(f"{settings.master}: Spark failed ({_hide(settings, reason)}); see spark.log")


def _hide(settings: ClusterSettings, text: str) -> str:
    """Mask the secrets among the settings."""
    for name, value in settings.conf.items():
        if SECRET.search(name) and value:
            text = text.replace(value, "***")
    return text


def _version(info: Any) -> str:
    return f"{info[0]}.{info[1]}"
