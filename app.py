"""Serve the deployed model and the last artifacts over HTTP, through gunicorn."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import socket
import sys
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import IO, Any, NoReturn

from flask import Flask, Request, Response, g, jsonify, request
from flask.json.provider import DefaultJSONProvider
from werkzeug.exceptions import HTTPException, NotFound, RequestEntityTooLarge

from config import Config, load_config
from risk import errors
from risk.data.schema import Schema
from risk.errors import ArtifactError, ConfigError, PipelineError, ServiceError
from risk.history import outbox
from risk.prediction import client_list_reader
from risk.runtime import logs, runner
from risk.serving import access_log, auth, model_cache, parsing, problems, prometheus, responses
from risk.serving.auth import Asker
from risk.serving.file_access import Confined
from risk.serving.page import FILES, HEADERS, View, read_list, render_page
from risk.serving.parsing import Asked
from risk.serving.problems import Refusal

LOG = logs.log("app")
HERE = Path(__file__).resolve().parent
OPENAPI = HERE / "static" / "openapi.json"
SAFE_HEADERS = (
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
)
_ABSOLUTE = re.compile(r"(?<![\w./])/(?:[^\s/:'\"]+/)+")


# --- answers ---------------------------------------------------------------------------------------------


def render_json(value: Any) -> str:
    """Render JSON as its standard has it: no NaN, keys in our order, text as it is."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


class StrictJSON(DefaultJSONProvider):
    """The JSON of every answer."""

    def dumps(self, obj: Any, **_: Any) -> str:
        return render_json(obj)


class InMemoryRequest(Request):
    """A request whose uploads stay in memory; their size is limited before."""

    def _get_file_stream(self, *_: Any, **__: Any) -> IO[bytes]:
        return io.BytesIO()


def render_problem(status: int, detail: str, **members: Any) -> Response:
    """Render an error by RFC 9457."""
    answer = jsonify(problems.describe(status, detail, **members))
    answer.status_code = status
    answer.mimetype = problems.MEDIA_TYPE
    answer.headers.extend(problems.headers_of(status))
    return answer


def hide_paths(text: str, config: Config, path: str = "") -> str:
    """Name folders as a reader of config.json does: where they lie on this machine is no one's business.

    Of `path`, which the text names, only the name is told where it is in none of them.
    """
    folders = [
        config.input_folder,
        config.output_folder,
        config.test_data,
        config.output_model,
        config.prod_deployment,
        config.state_folder,
    ]
    if path and not path.startswith(tuple(map(str, [config.root, *folders]))):
        text = text.replace(path, Path(path).name)
    for folder in sorted(map(str, folders), key=len, reverse=True):
        text = text.replace(folder, Path(folder).name)
    return _ABSOLUTE.sub("", text.replace(f"{config.root}/", ""))


def workspace_id(config: Config) -> str:
    """Name this workspace without saying where it is."""
    return hashlib.sha256(os.path.realpath(config.path).encode()).hexdigest()[:16]


# --- what is asked ---------------------------------------------------------------------------------------


def read_question(config: Config, files: Confined, schema: Schema) -> Asked:
    """Read the clients of the present request, whichever way they came."""
    body = request.get_data()
    if len(body) > config.max_body_bytes:  # of a body without a length, werkzeug only cuts off the rest
        raise Refusal(413, f"the body is over {config.max_body_mb} MiB")
    if request.mimetype == "text/csv":
        if request.mimetype_params.get("charset", "utf-8").lower() not in ("utf-8", "us-ascii"):
            raise Refusal(415, "a CSV must be UTF-8")
        return parsing.read_csv(body, schema, config.separator, config.max_rows)
    if request.mimetype == "multipart/form-data":
        uploads = [upload for field in request.files.listvalues() for upload in field]
        if len(uploads) != 1:
            raise Refusal(400, f"the form must hold one file, it holds {len(uploads)}")
        return parsing.read_csv(uploads[0].read(), schema, config.separator, config.max_rows)
    if not request.is_json:
        raise Refusal(
            415, "Content-Type must be application/json, text/csv or multipart/form-data with a file"
        )
    return read_json_question(parsing.parse_json(body, config.max_rows), config, files, schema)


def read_json_question(value: Any, config: Config, files: Confined, schema: Schema) -> Asked:
    """Read the clients of a JSON document: rows, or the name of a file of them."""
    if isinstance(value, dict) and value.keys() == {"filepath"}:
        data = files.read(value["filepath"])
        return parsing.read_csv(data, schema, config.separator, config.max_rows)
    if isinstance(value, dict) and value.keys() == {"rows"}:
        value = value["rows"]
    if not isinstance(value, list):
        raise Refusal(400, 'the body must be a list of rows, {"rows": [...]} or {"filepath": "..."}')
    return parsing.read_rows(value, schema, config.max_rows)


# --- routes ----------------------------------------------------------------------------------------------


def create_app(config: Config) -> Flask:
    """Make the application; the whole door to it.

    Nothing is read before the first request, and no request writes.
    """
    app = Flask(__name__, static_folder=None, template_folder=None)
    app.request_class = InMemoryRequest
    app.json = StrictJSON(app)
    app.config["MAX_CONTENT_LENGTH"] = config.max_body_bytes + 1
    _open_and_close(app, config)
    _answer_errors(app, config)
    key = config.secrets.get("RISK_MODEL_KEY")
    deployed = model_cache.Deployed(config.prod_deployment, key, lambda text: LOG.error("%s", text))
    diagnosed = model_cache.Facts(config.diagnostics, "run diagnostics.py")
    clients = client_list_reader.Latest(config.at_risk)
    files = Confined(config.root, (config.input_folder, config.test_data), config.max_body_bytes)

    @app.post("/prediction")
    def prediction() -> Response:
        served = deployed.get()
        asked = read_question(config, files, served.schema)
        if wants_csv():
            return answer_csv(served.release.id, responses.to_csv(served, asked))
        return answer_of(served.release.id, responses.to_json(served, asked))

    @app.get("/scoring")
    def scoring() -> Response:
        release = deployed.release()
        score = float(release.files["latestscore.txt"])
        return answer_of(release.id, {"latest_score": score, **release.json("metrics.json")})

    @app.get("/summarystats")
    def summarystats() -> Response:
        return jsonify(choose(diagnosed.read(), "n_rows", "n_unlabelled", "statistics"))

    @app.get("/diagnostics")
    def diagnostics() -> Response:
        names = ("n_rows", "missing", "timings", "dependencies", "dependencies_at")
        return jsonify(choose(diagnosed.read(), *names, trends={}, verdict=None))

    @app.get("/clients")
    def list_clients() -> Response:
        page = clients.get().page(**parsing.read_slice(request.args))
        if wants_csv():
            return Response(page.to_csv(), mimetype="text/csv")
        return jsonify(page.to_json())

    @app.get("/health")
    def health() -> Response:
        queues = {target: outbox.tell(queue) for target, queue in config.alerts.queues.items()}
        facts = {"workspace": workspace_id(config), "outbox": outbox.tell(config.outbox), "alerts": queues}
        return jsonify({"status": "ok", **facts, **told_damage(deployed, config)})

    @app.get("/metrics")
    def metrics() -> Response:
        where = config.prod_deployment, config.diagnostics, config.tick_state, config.outbox
        return Response(
            prometheus.render(prometheus.collect(*where, time.time())), content_type=prometheus.MEDIA_TYPE
        )

    @app.get("/openapi.json")
    def openapi() -> Response:
        return Response(OPENAPI.read_bytes(), mimetype="application/json")

    @app.get("/ready")
    def ready() -> Response:
        release = deployed.get().release.id
        return answer_of(release, {"status": "ready", **told_damage(deployed, config)})

    _add_page(app, config, deployed, files, clients)
    return app


def _add_page(
    app: Flask,
    config: Config,
    deployed: model_cache.Deployed,
    files: Confined,
    clients: client_list_reader.Latest,
) -> None:
    """Add the page for people; what refuses an upload is said on it."""
    reported = model_cache.Facts(config.report, "run fullprocess.py, or reporting.py")

    def show(problem: str | None = None, status: int = 200) -> Response:
        view = View.of(request.args)
        told, listed = tell(reported.read, config), tell(lambda: read_list(clients, view), config)
        where = config.prod_deployment, config.diagnostics, config.tick_state, config.outbox
        found = prometheus.collect(*where, time.time())
        html = render_page(told, listed, view, config.prod_deployment, found, problem)
        return Response(html, status, HEADERS)

    @app.get("/")
    def page() -> Response:
        return show()

    @app.post("/")
    def upload() -> Response:
        try:
            served = deployed.get()
            asked = read_question(config, files, served.schema)
        except Refusal as error:
            return show(error.detail, error.status)
        except RequestEntityTooLarge as error:
            return show(f"the file is over {config.max_body_mb} MiB", error.code)
        except ArtifactError as error:
            return show(hide_paths(str(error), config), 503)
        return answer_csv(served.release.id, responses.to_csv(served, asked))

    @app.get("/static/<name>")
    def static_file(name: str) -> Response:
        if name not in FILES:
            raise NotFound
        return Response((HERE / "static" / name).read_bytes(), mimetype=FILES[name])


def tell(read: Callable[[], dict[str, Any]], config: Config) -> dict[str, Any] | str:
    """Read an artifact for the page, or say why it cannot be read."""
    try:
        return read()
    except ArtifactError as error:
        return hide_paths(str(error), config)


def told_damage(deployed: model_cache.Deployed, config: Config) -> dict[str, str]:
    """Say that an earlier release is served in place of a damaged one, and what is wrong with that."""
    damage = deployed.damage
    return {} if damage is None else {"status": "degraded", "problem": hide_paths(damage, config)}


def answer_of(release: str, members: dict[str, Any]) -> Response:
    """Answer what one release says, and name it in body and header."""
    g.release = release
    return jsonify({"release": release, **members})


def wants_csv() -> bool:
    """Say whether the client would rather have a CSV."""
    if "csv" not in request.headers.get("Accept", ""):
        return False
    wanted = request.accept_mimetypes
    return wanted["text/csv"] > wanted["application/json"]


def answer_csv(release: str, pieces: Iterator[bytes]) -> Response:
    """Answer a CSV while it is made."""
    g.release = release
    answer = Response(pieces, mimetype="text/csv")
    answer.headers["Content-Disposition"] = 'attachment; filename="predictions.csv"'
    return answer


def choose(facts: dict[str, Any], *names: str, **newer: Any) -> dict[str, Any]:
    """Choose facts of the last diagnosis; `newer` are those that an earlier version did not write."""
    if missing := [name for name in names if name not in facts]:
        raise ArtifactError(f"diagnostics.json: lacks {missing[0]!r}; run diagnostics.py")
    return {name: facts[name] for name in names} | {name: facts.get(name, newer[name]) for name in newer}


def _open_and_close(app: Flask, config: Config) -> None:
    """Look at who asks before anything else; log and mark every answer."""
    token = config.secrets.get("RISK_API_TOKEN")

    @app.before_request
    def look_at_asker() -> None:
        g.started = time.perf_counter()
        who = Asker(request.method, request.remote_addr, request.host, request.headers.get)
        auth.check(who, token)

    @app.after_request
    def mark(answer: Response) -> Response:
        release = g.get("release") or model_cache.current_id(config.prod_deployment)
        own = answer.headers  # the page has some of these
        own.extend([(name, value) for name, value in SAFE_HEADERS if name not in own])
        own["X-Release"] = release
        rule, duration_ms = request.url_rule, 1000 * (time.perf_counter() - g.started)
        access_log.note(request.method, rule.rule if rule else "-", answer.status_code, duration_ms)
        return answer


def _answer_errors(app: Flask, config: Config) -> None:
    """Answer every error as a problem: what we expect by its text, a bug without one."""

    @app.errorhandler(Refusal)
    def refused(error: Refusal) -> Response:
        return render_problem(error.status, error.detail, **error.members)

    @app.errorhandler(HTTPException)
    def refused_by_flask(error: HTTPException) -> Response:
        detail, status = error.description or "", error.code or 500
        if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            detail = f"the body is over {config.max_body_mb} MiB, or the form has too many parts"
        answer = render_problem(status, detail)
        answer.headers.extend([(k, v) for k, v in error.get_headers() if k.lower() != "content-type"])
        return answer

    @app.errorhandler(PipelineError)
    def unavailable(error: PipelineError) -> Response:
        return render_problem(503, hide_paths(str(error), config))

    @app.errorhandler(OSError)
    def unreadable(error: OSError) -> Response:
        detail = hide_paths(str(errors.from_os_error(error)), config, str(error.filename or ""))
        return render_problem(503, detail)

    @app.errorhandler(Exception)
    def broken(error: Exception) -> Response:
        access_log.note_bug(f"{request.method} {request.url_rule}", error)
        return render_problem(500, "this is a bug of ours; the log of the server has the details")


def render_refusal(config: Config, status: int, detail: str) -> bytes:
    """Render the whole answer to a request that never reached the application, and close with it."""
    body = render_json(problems.describe(status, detail)).encode()
    headers = [
        *SAFE_HEADERS,
        *problems.headers_of(status),
        ("X-Release", model_cache.current_id(config.prod_deployment)),
        ("Content-Type", problems.MEDIA_TYPE),
        ("Content-Length", str(len(body))),
        ("Connection", "close"),
    ]
    head = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n{head}\r\n".encode() + body


# --- serving ---------------------------------------------------------------------------------------------


def load_served_config() -> Config:
    """Load the config.json that `RISK_CONFIG` names, else the one beside the scripts."""
    return load_config(os.environ.get("RISK_CONFIG") or HERE / "config.json")


def check_reachable(config: Config) -> None:
    """Refuse to listen to other machines while there is no token they could show.

    Raises
    ------
    ConfigError
        When it is so.
    """
    if not auth.is_loopback(config.host) and "RISK_API_TOKEN" not in config.secrets:
        raise ConfigError(
            f"{config.path}: api.host: {config.host} is reached from other machines, which needs a token; "
            "set RISK_API_TOKEN (in risk.env beside it), or use 127.0.0.1"
        )


def listen(host: str, port: int) -> socket.socket:
    """Take the address before the server starts, so that a taken one is said at once.

    Raises
    ------
    ServiceError
        When it cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()
    except PermissionError:
        listener.close()
        raise
    except OSError as error:
        listener.close()
        raise ServiceError(
            f"{host}:{port}: {error.strerror}; is the API running already? "
            "Stop it, or choose another api.port in config.json"
        ) from error
    return listener


def run(config: Config) -> NoReturn:
    """Become gunicorn, on the address of config.json; ends with SIGTERM or Ctrl-C."""
    check_reachable(config)
    listener = listen(config.host, config.port)
    host, port = listener.getsockname()[:2]
    LOG.info("address=http://%s:%s pid=%s", f"[{host}]" if ":" in host else host, port, os.getpid())
    listener.set_inheritable(True)
    os.environ["RISK_CONFIG"] = str(config.path)
    sys.stdout.flush()
    command = [sys.executable, "-P", "-m", "gunicorn", "--config", str(HERE / "gunicorn.conf.py")]
    command += ["--chdir", str(HERE), "--bind", f"fd://{listener.fileno()}", "wsgi:app"]
    os.execv(sys.executable, command)  # noqa: S606  (no shell wanted)


def main(argv: list[str] | None = None) -> int:
    """Run from the shell."""
    return runner.main("app", run, argv, description=__doc__, locks=False)


if __name__ == "__main__":
    raise SystemExit(main())
