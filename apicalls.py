"""Call every endpoint of the API and write its answers for people to read."""

from __future__ import annotations

import contextlib
import os
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import requests

from app import create_app
from config import Config
from risk.data.inputs import list_inputs
from risk.errors import ServiceError
from risk.files import put_text
from risk.reporting import api_answers
from risk.reporting.api_answers import Call
from risk.runtime import logs, runner
from risk.serving import auth
from risk.serving.settings import workspace_id

LOG = logs.log("apicalls")
TIMEOUT_S = (3.0, 60.0)  # to connect, and between two bytes
HEALTH_TIMEOUT_S = (1.0, 5.0)
RUNNING, OWN = "running API", "own server"
ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  (who listens everywhere listens here)
PATHS = ("/scoring", "/summarystats", "/diagnostics")


@dataclass(frozen=True)
class ApiCallsResult:
    """How many calls were made, how many were answered by an error, and who answered."""

    n_calls: int
    n_failed: int
    served_by: str


def run(config: Config) -> ApiCallsResult:
    """Call the running API, or our own for the time of the calls, and write apireturns.txt.

    Raises
    ------
    ServiceError
        When a call was answered by an error of the server, or not at all; what came is written.
    """
    with requests.Session() as session:
        session.trust_env = False  # a proxy would be somebody else
        running = find_running(config, session)
        with contextlib.nullcontext(running) if running else serve(config) as address:
            calls = [make_call(session, address, *wanted) for wanted in list_calls(config)]
    put_text(config.api_returns, api_answers.render_calls(calls))
    broken = [call for call in calls if call.broken]
    if broken:
        first = broken[0]
        reason = " ".join(api_answers.render_error(first.body))
        raise ServiceError(
            f"{len(broken)} of {len(calls)} calls failed, first {first.method} {first.path} ({reason}); "
            f"see {config.api_returns}"
        )
    failed = [call for call in calls if call.failed]
    if failed:
        LOG.warning("%s of %s calls were refused; see %s", len(failed), len(calls), config.api_returns)
    return ApiCallsResult(len(calls), len(failed), RUNNING if running else OWN)


def list_calls(config: Config) -> list[tuple[str, str, dict[str, Any] | None]]:
    """List the calls: a prediction for each file of the test data, then what can be asked."""
    names = list_inputs(config.test_data)
    files = [os.path.relpath(config.test_data / name, config.root) for name in names]
    return [
        *(("POST", "/prediction", {"filepath": file}) for file in files),
        *(("GET", path, None) for path in PATHS),
    ]


def make_call(
    session: requests.Session,
    address: str,
    method: str,
    path: str,
    sent: dict[str, Any] | None,
    timeout: tuple[float, float] = TIMEOUT_S,
) -> Call:
    """Make one call; an answer that is no JSON is kept as text."""
    try:
        answer = session.request(method, address + path, json=sent, timeout=timeout, allow_redirects=False)
    except requests.RequestException as error:
        return Call(method, path, sent, None, type(error).__name__)
    try:
        body = answer.json()
    except ValueError:
        body = answer.text
    return Call(method, path, sent, answer.status_code, body)


def find_running(config: Config, session: requests.Session) -> str | None:
    """Find the API of this very workspace where config.json says it listens on this machine.

    Elsewhere it would ask for the token, and that is shown to nobody who only happens to listen there.
    """
    host = ANY.get(config.host, config.host)
    if not auth.is_loopback(host):
        return None
    address = f"http://[{host}]:{config.port}" if ":" in host else f"http://{host}:{config.port}"
    found = make_call(session, address, "GET", "/health", None, HEALTH_TIMEOUT_S)
    ours = isinstance(found.body, dict) and found.body.get("workspace") == workspace_id(config.path)
    return address if ours else None


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    """A server for our own calls; asks no name service who it is."""

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]
        self.setup_environ()


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def serve(config: Config) -> Iterator[str]:
    """Serve the API on a free loopback port; only as long as the calls take."""
    with _Server(("127.0.0.1", 0), _Quiet) as server:
        server.set_app(create_app(config))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def main(argv: list[str] | None = None) -> int:
    """Run from the shell."""
    return runner.main("apicalls", run, argv, description=__doc__)


if __name__ == "__main__":
    raise SystemExit(main())
