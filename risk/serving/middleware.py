"""What surrounds every route: access control, common headers, the access log and error answers."""

from __future__ import annotations

import io
import time
from http import HTTPStatus
from typing import IO, Any

from flask import Flask, Request, Response, g, request
from werkzeug.exceptions import HTTPException

from risk import errors
from risk.errors import PipelineError
from risk.serving import access_log, auth, model_cache
from risk.serving.auth import Caller
from risk.serving.problems import SAFE_HEADERS, Refusal, hide_paths
from risk.serving.responses import StrictJSON, render_problem
from risk.serving.settings import ServingSettings


class InMemoryRequest(Request):
    """A request whose uploads stay in memory; their size is limited before."""

    def _get_file_stream(self, *_: Any, **__: Any) -> IO[bytes]:
        return io.BytesIO()


def install(app: Flask, settings: ServingSettings) -> None:
    """Give the application its limits, access control, headers and error answers."""
    app.request_class = InMemoryRequest
    app.json = StrictJSON(app)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes + 1
    _check_and_log_requests(app, settings)
    _answer_refusals(app, settings)
    _answer_failures(app, settings)


def _check_and_log_requests(app: Flask, settings: ServingSettings) -> None:
    """Check the caller before anything else; log and mark every answer."""

    @app.before_request
    def check_caller() -> None:
        g.started = time.perf_counter()
        caller = Caller(request.method, request.remote_addr, request.host, _read_header)
        auth.check(caller, settings.token)

    @app.after_request
    def mark_and_log(answer: Response) -> Response:
        headers = answer.headers
        present = {name.lower() for name, _ in headers}  # the page has some of its own
        headers.extend([(name, value) for name, value in SAFE_HEADERS if name.lower() not in present])
        headers["X-Release"] = g.get("release") or model_cache.current_id(settings.prod_deployment)
        rule, duration_ms = request.url_rule, 1000 * (time.perf_counter() - g.started)
        access_log.log_request(request.method, rule.rule if rule else "-", answer.status_code, duration_ms)
        return answer


def _read_header(name: str) -> str | None:
    """Read a header of the present request; most that are asked for are not there."""
    value: str | None = request.environ.get(f"HTTP_{name.upper().replace('-', '_')}")
    return value


def _answer_refusals(app: Flask, settings: ServingSettings) -> None:
    """Answer what is the client's fault with a problem that says what is wrong."""

    @app.errorhandler(Refusal)
    def refused(error: Refusal) -> Response:
        return render_problem(error.status, error.detail, **error.members)

    @app.errorhandler(HTTPException)
    def refused_by_flask(error: HTTPException) -> Response:
        detail, status = error.description or "", error.code or 500
        if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            detail = f"the body is over {settings.max_body_mb} MiB, or the form has too many parts"
        answer = render_problem(status, detail)
        answer.headers.extend([(k, v) for k, v in error.get_headers() if k.lower() != "content-type"])
        return answer


def _answer_failures(app: Flask, settings: ServingSettings) -> None:
    """Answer expected failures with their text, and internal errors without one."""

    @app.errorhandler(PipelineError)
    def unavailable(error: PipelineError) -> Response:
        return render_problem(503, hide_paths(str(error), settings))

    @app.errorhandler(OSError)
    def unreadable(error: OSError) -> Response:
        detail = hide_paths(str(errors.from_os_error(error)), settings, str(error.filename or ""))
        return render_problem(503, detail)

    @app.errorhandler(Exception)
    def broken(error: Exception) -> Response:
        access_log.note_bug(f"{request.method} {request.url_rule}", error)
        return render_problem(500, "internal error; the server log has the details")
