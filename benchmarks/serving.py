"""Measure the API side by side, in one run: our path, our path through a frame, and `mlflow models serve`.

    python benchmarks/serving.py [--repeats 3] [--mlflow /tmp/venv/bin/python] [--only rate|gets|csv|slow]

One worker each, the same model, the same client, alternately; the median of the runs is taken. The client
is a process of its own on the same cores. Every answer is read whole and must be a success. mlflow is
measured where it can be had: an environment of its own with the same scikit-learn, named by its python.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import selectors
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import make_data  # noqa: E402
import run as other  # noqa: E402

ROW = {"lastmonth_activity": 20.0, "lastyear_activity": 2400.0, "number_of_employees": 700.0}
CSV_ROWS = 100_000
FRAMES = """
import sys
sys.path.insert(0, sys.argv[1])
from risk.prediction import fast_path
fast_path.load_fast_path = lambda *_: None
from gunicorn.app.wsgiapp import run
sys.argv = ["gunicorn", "--config", sys.argv[1] + "/gunicorn.conf.py", "--chdir", sys.argv[1], "wsgi:app"]
run()
"""
SAVE = """
import pickle, sys
import mlflow.sklearn, pandas as pd
with open(sys.argv[1], "rb") as handle:
    model = pickle.load(handle)
names = ("lastmonth_activity", "lastyear_activity", "number_of_employees")
frame = pd.DataFrame([dict.fromkeys(names, 1.0)])
signature = mlflow.models.infer_signature(frame, model.predict_proba(frame))
mlflow.sklearn.save_model(
    model, sys.argv[2], signature=signature, pyfunc_predict_fn="predict_proba", serialization_format="pickle"
)
"""


# --- the client ------------------------------------------------------------------------------------------


def load(port: int, raw: bytes, n_clients: int, duration_s: float) -> dict[str, float]:
    """Ask again and again over a few connections; give requests per second and latencies in ms."""
    selector, took = selectors.DefaultSelector(), []
    for _ in range(n_clients):
        connection = socket.create_connection(("127.0.0.1", port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(connection, selectors.EVENT_READ, [time.perf_counter(), b""])
        connection.sendall(raw)
    started = time.perf_counter()
    while (now := time.perf_counter()) < started + duration_s:
        for key, _ in selector.select(1.0):
            asked, held = key.data
            held += key.fileobj.recv(1 << 16)
            key.data[1] = held
            if is_whole(held):
                if not held.startswith(b"HTTP/1.1 200"):
                    raise SystemExit(f"not answered: {held[:500]!r}")
                now = time.perf_counter()
                took.append(now - asked)
                key.data[:] = [now, b""]
                key.fileobj.sendall(raw)
    took.sort()
    return {
        "n": len(took),
        "rate": len(took) / (now - started),
        "p50_ms": 1000 * took[len(took) // 2],
        "p99_ms": 1000 * took[int(len(took) * 0.99)],
    }


def is_whole(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    if not end:
        return False
    _, _, length = head.lower().partition(b"content-length:")
    return len(body) >= int(length.split(b"\r\n")[0])


def write_request(method: str, path: str, body: bytes = b"") -> bytes:
    kind = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
    return f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{kind}\r\n".encode() + body


def measure(port: int, raw: bytes, n_clients: int, duration_s: float = 3.0) -> dict[str, float]:
    """Run the client in a process of its own."""
    command = [sys.executable, __file__, "--client", str(port), str(n_clients), str(duration_s)]
    done = subprocess.run(command, input=raw, capture_output=True, check=True)
    return json.loads(done.stdout)


# --- the servers -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Server:
    """How a server is started, and which path says that it is there."""

    command: list[object]
    port: int
    path: str
    environment: dict[str, str] = field(default_factory=dict)

    @contextlib.contextmanager
    def run(self) -> Iterator[int]:
        """Start it, wait for its answer, give its process id, and end it with everything below it."""
        process = subprocess.Popen(
            [str(part) for part in self.command],
            env={**os.environ, **self.environment, "NO_PROXY": "*"},
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        try:
            while status_of(self.port, self.path) != 200:
                if process.poll() is not None:
                    raise SystemExit(f"{self.command} ended with {process.returncode}")
                time.sleep(0.1)
            yield process.pid
        finally:
            for pid in reversed(other.tree(process.pid)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
            process.wait(60)


def status_of(port: int, path: str) -> int | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return None
    finally:
        connection.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def make_ours(config: Path, *, frames: bool = False) -> Server:
    """Serve by one worker on a free port, through frames if wanted."""
    port = free_port()
    keys = json.loads(config.read_text())
    mine = config.with_name(f"config{port}.json")
    mine.write_text(json.dumps({**keys, "api": {"port": port, "workers": 1}}))
    command = [sys.executable, ROOT / "app.py", "--config", mine]
    if frames:
        command = [sys.executable, "-c", FRAMES, ROOT]
    return Server(command, port, "/ready", {"RISK_CONFIG": str(mine)})


def make_mlflow(python: Path, model: Path, saved: Path) -> Server:
    """Save the model for mlflow, and serve it by one worker."""
    subprocess.run([python, "-c", SAVE, model, saved], check=True, capture_output=True)
    port = free_port()
    command = [python, "-m", "mlflow", "models", "serve", "-m", saved, "-p", port, "-w", "1"]
    environment = {"PATH": f"{python.parent}:{os.environ['PATH']}", "MLFLOW_DISABLE_TELEMETRY": "true"}
    return Server([*command, "--env-manager", "local"], port, "/ping", environment)


def cpu_ms(pid: int) -> float:
    """Read how long a process tree has worked; less disturbed by other work than any clock."""
    total = 0
    for one in other.tree(pid):
        with contextlib.suppress(OSError):
            total += sum(map(int, Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()[11:13]))
    return 1000 * total / os.sysconf("SC_CLK_TCK")


# --- what is measured ------------------------------------------------------------------------------------


def measure_rate(folder: Path, config: Path, python: Path | None, repeats: int) -> None:
    """One row in JSON, whole validation: requests per second of each server, alternately."""
    asked = write_request("POST", "/prediction", json.dumps([{"corporation": "x", **ROW}]).encode())
    servers = {"ours": (make_ours(config), asked), "frames": (make_ours(config, frames=True), asked)}
    if python is not None:
        model = config.parent / "production_deployment" / "trainedmodel.pkl"
        body = json.dumps({"dataframe_records": [ROW]}).encode()
        mlflow = make_mlflow(python, model, folder / f"{config.parent.name}-mlflow")
        servers["mlflow"] = (mlflow, write_request("POST", "/invocations", body))
    found: dict[tuple[str, int], list[dict[str, float]]] = {}
    for _ in range(repeats):
        for name, (server, raw) in servers.items():
            with server.run() as pid:
                measure(server.port, raw, 1, 1.0)
                for n_clients in (1, 8):
                    before = cpu_ms(pid)
                    one = measure(server.port, raw, n_clients)
                    one["cpu_ms"] = (cpu_ms(pid) - before) / one["n"]
                    found.setdefault((name, n_clients), []).append(one)
    for n_clients in (1, 8):
        told = {
            name: {key: statistics.median(one[key] for one in found[name, n_clients]) for key in one}
            for name in servers
        }
        for name, one in told.items():
            ratio = "" if name == "ours" else f"   ours: {told['ours']['rate'] / one['rate']:.1f} x"
            rate = f"{one['rate']:>7.0f} requests/s   p99 {one['p99_ms']:6.1f} ms"
            print(f"1 row, {n_clients} clients, {name:<7}{rate}   {one['cpu_ms']:5.2f} ms of CPU each{ratio}")


def measure_gets(config: Path, repeats: int) -> None:
    """What is told: latency of each GET."""
    server = make_ours(config)
    with server.run():
        for asked in ("/scoring", "/summarystats", "/diagnostics", "/clients", "/metrics", "/health"):
            runs = [measure(server.port, write_request("GET", asked), 1) for _ in range(repeats)]
            p50, p99 = (statistics.median(one[name] for one in runs) for name in ("p50_ms", "p99_ms"))
            print(
                f"GET {asked:<16}p50 {p50:6.2f} ms   p99 {p99:6.2f} ms   (aim: p99 under 20 ms)", flush=True
            )


def measure_csv(folder: Path, config: Path, repeats: int) -> None:
    """A large CSV, answered in CSV: time to the last byte, and the largest memory of the worker."""
    make_data.make_table(folder / "csv", n_rows=CSV_ROWS, n_files=1, duplicate_share=0.0, seed=5, drift=False)
    (path,) = (folder / "csv").glob("*.csv")
    body, took, server = path.read_bytes(), [], make_ours(config)
    with server.run() as pid:
        before = cpu_ms(pid)
        for _ in range(repeats):
            started = time.perf_counter()
            n_lines = post_csv(server.port, body)
            took.append(time.perf_counter() - started)
        worked = (cpu_ms(pid) - before) / repeats / 1000
        status = Path(f"/proc/{other.tree(pid)[-1]}/status").read_text()
        peak = int(status.partition("VmHWM:")[2].split()[0]) / 1000
    print(
        f"CSV of {n_lines - 1:,} rows, {len(body) / 1e6:.1f} MB: {statistics.median(took):.2f} s (aim: 1.5), "
        f"{worked:.2f} s of CPU, peak of the worker {peak:.0f} MB (aim: 300)",
        flush=True,
    )


def post_csv(port: int, body: bytes) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/prediction", body, {"Content-Type": "text/csv", "Accept": "text/csv"})
    answer = connection.getresponse()
    if answer.status != 200:
        raise SystemExit(f"not answered: {answer.read(500)!r}")
    n_lines = answer.read().count(b"\n")
    connection.close()
    return n_lines


def measure_beside_slow(port: int, asked: bytes, n_slow: int, duration_s: float) -> dict[str, float]:
    """Measure four healthy clients while others send a byte a second, or nothing."""
    done = threading.Event()
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(n_slow)]

        def drip() -> None:
            for position in range(len(asked) - 1):
                for connection in slow[: n_slow * 2 // 3]:
                    with contextlib.suppress(OSError):
                        connection.sendall(asked[position : position + 1])
                if done.wait(1.0):
                    return

        dripping = threading.Thread(target=drip)
        dripping.start()
        measured = measure(port, asked, 4, duration_s)
        done.set()
        dripping.join()
    return measured


def measure_slow(config: Path, n_slow: int = 40) -> None:
    """Healthy clients beside slow ones, which send a byte a second of a head or a body, or nothing."""
    asked = write_request("POST", "/prediction", json.dumps([{"corporation": "x", **ROW}]).encode())
    server = make_ours(config)
    with server.run():
        alone = measure(server.port, asked, 4)
        beside = measure_beside_slow(server.port, asked, n_slow, 10.0)
    print(
        f"4 healthy clients beside {n_slow} slow ones: {beside['rate']:.0f} requests/s, "
        f"p99 {beside['p99_ms']:.1f} ms (aim: 250); alone {alone['rate']:.0f}, p99 {alone['p99_ms']:.1f} ms"
    )


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--mlflow", type=Path, metavar="PYTHON", help="python of an environment with mlflow")
    parser.add_argument("--only", choices=("rate", "gets", "csv", "slow"))
    parser.add_argument("--client", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.client:
        port, n_clients, duration_s = arguments.client
        print(json.dumps(load(int(port), sys.stdin.buffer.read(), int(n_clients), float(duration_s))))
        return 0
    started, (all_before, own_before) = time.perf_counter(), other.cpu_seconds()
    with tempfile.TemporaryDirectory(prefix="risk-serving-") as scratch:
        folder = Path(scratch)
        make_data.make_sample(folder)
        for estimator in ("hist_gradient_boosting", "logistic_regression"):
            keys = {"test_data_path": "../testdata", "model": {"estimator": estimator}}
            config = other.workspace(folder / estimator, "../sourcedata", **keys)
            other.run(sys.executable, ROOT / "fullprocess.py", "--config", config)
            if arguments.only in (None, "rate"):
                print(f"{estimator}:")
                measure_rate(folder, config, arguments.mlflow, arguments.repeats)
        if arguments.only in (None, "gets"):
            measure_gets(config, arguments.repeats)
        if arguments.only in (None, "csv"):
            measure_csv(folder, config, arguments.repeats)
        if arguments.only in (None, "slow"):
            measure_slow(config)
    all_after, own_after = other.cpu_seconds()
    busy = (all_after - all_before - own_after + own_before) / (time.perf_counter() - started)
    print(f"meanwhile other work kept {max(busy, 0):.2f} of {os.cpu_count()} cores busy (a free machine: 0)")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
