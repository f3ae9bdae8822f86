"""Call every endpoint of the API and write its answers for people to read."""

from __future__ import annotations

import contextlib
import json
import os
import socketserver
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import requests

from app import create_app
from config import Config
from risk.data.inputs import list_inputs
from risk.errors import ServiceError
from risk.files import put_text
from risk.runtime import logs, runner
from risk.serving import auth
from risk.serving.settings import workspace_id

LOG = logs.log("apicalls")
TIMEOUT_S = (3.0, 60.0)  # to connect, and between two bytes
HEALTH_TIMEOUT_S = (1.0, 5.0)
WIDTH = 98
MAX_ROWS = 10
RUNNING, OWN = "running API", "own server"
ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  (who listens everywhere listens here)
PATHS = ("/scoring", "/summarystats", "/diagnostics")


@dataclass(frozen=True)
class ApiCallsResult:
    """How many calls were made, how many were answered by an error, and who answered."""

    n_calls: int
    n_failed: int
    served_by: str


@dataclass(frozen=True)
class Call:
    """One request and its answer; `status` is None when none came."""

    method: str
    path: str
    sent: Mapping[str, Any] | None
    status: int | None
    body: Any

    @property
    def failed(self) -> bool:
        return self.status is None or self.status >= 400

    @property
    def broken(self) -> bool:
        return self.status is None or self.status >= 500


# --- compute ---------------------------------------------------------------------------------------------


def render_calls(calls: Iterable[Call]) -> str:
    """Render apireturns.txt: a section a call; the same answers give the same text.

    Durations are left out: they differ between two runs that found the same.
    """
    return "\n".join(_render_call(call) for call in calls)


def _render_call(call: Call) -> str:
    sent = f" {json.dumps(call.sent, ensure_ascii=False)}" if call.sent else ""
    title = plain(f"{call.method} {call.path}{sent}")
    status = "no answer" if call.status is None else f"status {call.status}"
    if call.failed or not isinstance(call.body, dict):
        shown = _render_error(call.body)
    else:
        shown = RENDERERS[call.path](call.body)
    return "\n".join([title, "=" * min(len(title), WIDTH), status, *shown, ""])


def _render_error(body: Any) -> list[str]:
    if not isinstance(body, dict):
        return [plain(str(body))[:WIDTH]]
    return [f"{plain(str(body.get('title')))}: {plain(str(body.get('detail')))}"]


def _render_prediction(body: Mapping[str, Any]) -> list[str]:
    found, rejected = body["predictions"], body.get("rejected", [])
    n_leave = sum(one["class"] for one in found)
    lines = [
        f"release {body['release']}",
        f"{len(found):,} predictions: {n_leave:,} leave (class 1), {len(found) - n_leave:,} stay (class 0); "
        f"{len(rejected):,} rows rejected",
    ]
    return [*lines, *_render_rows(found), *_render_rows(rejected)]


def _render_rows(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Render the first of some rows that all have the same members."""
    if not found:
        return []
    names = [name for name in found[0] if name != "line"]
    table = [names, *([text_of(one.get(name)) for name in names] for one in found[:MAX_ROWS])]
    more = [f"… and {len(found) - MAX_ROWS:,} more"] if len(found) > MAX_ROWS else []
    return ["", *align(table), *more]


def _render_scoring(body: Mapping[str, Any]) -> list[str]:
    return align([[name, text_of(value)] for name, value in body.items() if name != "model_sha256"])


def _render_summarystats(body: Mapping[str, Any]) -> list[str]:
    figures = ("n", "mean", "median", "mode", "std", "min", "max")
    table = [["column", *figures]]
    table += [[name, *(text_of(one[key]) for key in figures)] for name, one in body["statistics"].items()]
    return [f"{body['n_rows']:,} rows, {body['n_unlabelled']:,} of them unlabelled", "", *align(table)]


def _render_diagnostics(body: Mapping[str, Any]) -> list[str]:
    missing = [["column", "missing", "percent"]]
    missing += [[k, f"{v['count']:,}", f"{v['percent']:.2f}"] for k, v in body["missing"].items()]
    timings = [["timing of", ""]]
    timings += [[name, "recorded" if one else "none yet"] for name, one in body["timings"].items()]
    modules = [["module", "installed", "latest"]]
    modules += [[m["module"], m["installed"], m["latest"]] for m in body["dependencies"]]
    rows = f"{body['n_rows']:,} rows"
    return [rows, "", *align(missing), "", *align(timings), "", *align(modules)]


RENDERERS = {
    "/prediction": _render_prediction,
    "/scoring": _render_scoring,
    "/summarystats": _render_summarystats,
    "/diagnostics": _render_diagnostics,
}


def text_of(value: Any) -> str:
    """Shorten one value for a reader."""
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def plain(text: str) -> str:
    """Make text from data safe to print: no line breaks, no control characters."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def align(table: Sequence[Sequence[str]]) -> list[str]:
    """Align columns, figures right, and cut the widest ones until a line fits."""
    cells = [[plain(cell) for cell in row] for row in table]
    columns = [*zip(*cells, strict=True)]
    widths = [max(map(len, column)) for column in columns]
    while sum(widths) + 2 * (len(widths) - 1) > WIDTH and max(widths) > 4:
        widths[widths.index(max(widths))] -= 1
    right = [all(_is_figure(cell) for cell in column[1:]) for column in columns]
    lines = []
    for row in cells:
        cut = [c if len(c) <= w else c[: w - 1] + "…" for c, w in zip(row, widths, strict=True)]
        shown = [
            c.rjust(w) if to_right else c.ljust(w) for c, w, to_right in zip(cut, widths, right, strict=True)
        ]
        lines.append("  ".join(shown).rstrip())
    return lines


def _is_figure(cell: str) -> bool:
    return cell == "-" or cell.lstrip("-").replace(",", "", 3).replace(".", "", 1).isdigit()


# --- run -------------------------------------------------------------------------------------------------


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
    put_text(config.api_returns, render_calls(calls))
    broken = [call for call in calls if call.broken]
    if broken:
        first = broken[0]
        said = " ".join(_render_error(first.body))
        raise ServiceError(
            f"{len(broken)} of {len(calls)} calls failed, first {first.method} {first.path} ({said}); "
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
