"""Serve the deployed model and the last artifacts over HTTP, on loopback, through gunicorn."""

from __future__ import annotations

import hashlib
import io
import ipaddress
import json
import math
import os
import socket
import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NoReturn, TypeGuard, TypeVar
from urllib.parse import urlsplit

from flask import Flask, Request, Response, jsonify, request
from flask.json.provider import DefaultJSONProvider
from werkzeug.exceptions import HTTPException

import stage
from config import Config, load_config
from risk import artifacts, csvfile, dataset, outbox, releases, rows
from risk.dataset import Schema
from risk.errors import ArtifactError, PipelineError, ServiceError
from risk.releases import Release

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

T = TypeVar("T")
LOG = stage.log("app")
HERE = Path(__file__).resolve().parent
MIB = 1024 * 1024
MAX_PROBLEMS = 20
RETRY_AFTER_S = 60
SAFE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


# --- answers ---------------------------------------------------------------------------------------------


class Refusal(HTTPException):
    """An answer that is no success: its status, what is wrong, and members that say where."""

    def __init__(self, code: int, detail: str, **members: Any) -> None:
        super().__init__(detail)
        self.code = code
        self.members = members


class StrictJSON(DefaultJSONProvider):
    """JSON as its standard has it: no NaN, keys in our order, text as it is."""

    def dumps(self, obj: Any, **_: Any) -> str:
        return json.dumps(obj, ensure_ascii=False, allow_nan=False)


class InMemoryRequest(Request):
    """A request whose uploads stay in memory; their size is limited before."""

    def _get_file_stream(self, *_: Any, **__: Any) -> IO[bytes]:
        return io.BytesIO()


def render_problem(status: int, detail: str, **members: Any) -> Response:
    """Render an error by RFC 9457."""
    title = HTTPStatus(status).phrase
    answer = jsonify({"type": "about:blank", "title": title, "status": status, "detail": detail, **members})
    answer.status_code = status
    answer.mimetype = "application/problem+json"
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        answer.headers["Retry-After"] = str(RETRY_AFTER_S)
    return answer


def hide_paths(text: str, config: Config) -> str:
    """Name folders as a reader of config.json does: where they lie on this machine is no one's business."""
    folders = [
        config.input_folder,
        config.output_folder,
        config.test_data,
        config.output_model,
        config.prod_deployment,
        config.state_folder,
    ]
    for folder in sorted(map(str, folders), key=len, reverse=True):
        text = text.replace(folder, Path(folder).name)
    return text.replace(f"{config.root}/", "")


def workspace_id(config: Config) -> str:
    """Name this workspace without saying where it is."""
    return hashlib.sha256(os.path.realpath(config.path).encode()).hexdigest()[:16]


# --- who may ask -----------------------------------------------------------------------------------------


def is_loopback(host: str | None) -> bool:
    """Say whether a host or an address is this machine itself."""
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def host_of(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def refuse_strangers() -> None:
    """Answer this machine only: not the network, a proxy for it, or a web page in a browser here."""
    origin = request.headers.get("Origin")
    if not is_loopback(request.remote_addr) or {"X-Forwarded-For", "Forwarded"} & {*request.headers.keys()}:
        raise Refusal(403, "only requests from this machine are answered in this version")
    if not is_loopback(host_of(f"//{request.host}")):
        raise Refusal(403, "the Host header must be localhost, 127.0.0.1 or [::1]")
    if origin is not None and not is_loopback(host_of(origin)):
        raise Refusal(403, "requests of web pages from elsewhere are not answered")


# --- what is deployed ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Served:
    """A release as this process serves it."""

    release: Release
    model: Any
    schema: Schema
    threads: ThreadpoolController


class Deployed:
    """The deployed release: read once, and again only when it changes; safe between threads."""

    def __init__(self, folder: Path, key: str | None) -> None:
        self._folder = folder
        self._key = key
        self._loading = threading.Lock()
        self._served: Served | None = None

    def get(self) -> Served:
        """Give the release deployed now.

        Raises
        ------
        ArtifactError
            When nothing is deployed, or it is damaged, or of another scikit-learn.
        """
        served = self._served
        if self._is_current(served):
            return served
        with self._loading:
            served = self._served
            if not self._is_current(served):
                served = self._served = self._load()
            return served

    def _load(self) -> Served:
        from threadpoolctl import ThreadpoolController

        release, model = read_steadily(self._folder, lambda: releases.load_deployed(self._folder, self._key))
        schema = Schema.from_json(release.json("modelcard.json")["schema"])
        return Served(release, model, schema, ThreadpoolController())

    def _is_current(self, served: Served | None) -> TypeGuard[Served]:
        name = releases.current(self._folder)
        return served is not None and name is not None and served.release.id == releases.release_id(name)


def read_steadily(folder: Path, read: Callable[[], T]) -> T:
    """Read what is deployed; again, when it was swapped and swept away meanwhile."""
    while True:
        name = releases.current(folder)
        try:
            return read()
        except ArtifactError:
            if releases.current(folder) == name:
                raise


_PREDICTING = threading.Lock()  # limits on threads hold for the whole process


def compute_predictions(served: Served, texts: list[Mapping[str, str]]) -> list[dict[str, Any]]:
    """Predict class and probability of checked rows, in their order."""
    if not texts:
        return []
    frame = dataset.to_frame(texts, served.schema)
    with _PREDICTING, served.threads.limit(limits=1):
        classes = served.model.predict(frame).tolist()
        risk = served.model.predict_proba(frame)[:, 1].tolist()
    return [{"class": int(c), "probability": p} for c, p in zip(classes, risk, strict=True)]


# --- what is asked ---------------------------------------------------------------------------------------


@dataclass
class Asked:
    """The clients a request asks about: where each stands with its ids, and its cells as text.

    `rejected` holds the bad rows of a CSV; it is None for JSON, which is all or nothing.
    """

    labels: list[dict[str, Any]] = field(default_factory=list)
    texts: list[Mapping[str, str]] = field(default_factory=list)
    rejected: list[dict[str, Any]] | None = None


def read_request(config: Config, schema: Schema) -> Asked:
    """Read the clients of the present request, whichever way they came."""
    body = request.get_data()
    if len(body) > config.max_body_mb * MIB:  # of a body without a length, werkzeug only cuts off the rest
        raise Refusal(413, f"the body is over {config.max_body_mb} MiB")
    if request.mimetype == "text/csv":
        if request.mimetype_params.get("charset", "utf-8").lower() not in ("utf-8", "us-ascii"):
            raise Refusal(415, "a CSV must be UTF-8")
        return read_csv(body, schema, config.separator)
    if request.mimetype == "multipart/form-data":
        files = [upload for field in request.files.listvalues() for upload in field]
        if len(files) != 1:
            raise Refusal(400, f"the form must hold one file, it holds {len(files)}")
        return read_csv(files[0].read(), schema, config.separator)
    if not request.is_json:
        raise Refusal(
            415, "Content-Type must be application/json, text/csv or multipart/form-data with a file"
        )
    value = parse_json(body)
    if isinstance(value, dict) and value.keys() == {"filepath"}:
        return read_csv(read_data_file(config, value["filepath"]), schema, config.separator)
    if isinstance(value, dict) and value.keys() == {"rows"}:
        value = value["rows"]
    if not isinstance(value, list):
        raise Refusal(400, 'the body must be a list of rows, {"rows": [...]} or {"filepath": "..."}')
    return read_rows(value, schema)


def parse_json(data: bytes) -> Any:
    """Parse strict JSON: no NaN, no key twice, no number beyond the doubles."""
    try:
        return json.loads(
            data.decode("utf-8-sig"),
            object_pairs_hook=_refuse_repeated_key,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except RecursionError as error:
        raise Refusal(400, "the body is nested too deeply") from error
    except UnicodeDecodeError as error:
        raise Refusal(400, "the body is not UTF-8") from error
    except ValueError as error:
        raise Refusal(400, f"the body is not valid JSON ({error})") from error


def _refuse_repeated_key(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        twice = next(name for name, n in counts.items() if n > 1)
        raise ValueError(f"the key {twice[:60]!r} appears twice")
    return result


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"the number {text[:60]} is out of range")
    return value


def read_rows(found: list[Any], schema: Schema) -> Asked:
    """Read JSON rows; all are good, or the request is refused with what is wrong in which row."""
    asked = Asked()
    malformed: list[dict[str, Any]] = []
    bad: list[dict[str, Any]] = []
    for number, row in enumerate(found, start=1):
        if max(len(malformed), len(bad)) > MAX_PROBLEMS:
            break
        if not isinstance(row, dict):
            malformed.append({"row": number, "reason": "is not an object of columns"})
            continue
        lacking = [name for name in schema.features if name not in row]
        malformed += [{"row": number, "column": name, "reason": "is missing"} for name in lacking]
        cells = {name: text_of(row.get(name)) for name in (*schema.features, *schema.ids)}
        problem = find_problem(cells, schema)
        if problem:
            bad.append({"row": number, **problem})
        asked.labels.append({"row": number, **{name: row.get(name) for name in schema.ids}})
        asked.texts.append({name: text or "" for name, text in cells.items()})
    refuse_problems(400, malformed)
    refuse_problems(422, bad)
    return asked


def refuse_problems(status: int, problems: list[dict[str, Any]]) -> None:
    """Refuse when there are problems: the first in words, some more in a list."""
    if problems:
        first = problems[0]
        column = f": {first['column']!r}" if "column" in first else ""
        more = f" (and {len(problems) - 1} more)" if 1 < len(problems) <= MAX_PROBLEMS else ""
        more = " (and many more)" if len(problems) > MAX_PROBLEMS else more
        detail = f"row {first['row']}{column} {first['reason']}{more}"
        raise Refusal(status, detail, problems=problems[:MAX_PROBLEMS])


def text_of(value: Any) -> str | None:
    """Write a JSON cell as a CSV would hold it; None when no cell can hold it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if not isinstance(value, str) or not _is_encodable(value):
        return None
    return value.strip(csvfile.BLANKS)


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can write and no file can hold
        return False
    return True


def find_problem(cells: Mapping[str, str | None], schema: Schema) -> dict[str, str] | None:
    """Find the first cell that the model cannot take."""
    texts = {}
    for name, text in cells.items():
        if text is None:
            return {"column": name, "reason": "is neither text, a number, true, false nor null"}
        texts[name] = text
    problem = dataset.find_problem(texts, schema)
    return {"column": problem.column, "reason": problem.reason} if problem else None


def read_csv(data: bytes, schema: Schema, separator: str | None) -> Asked:
    """Read a CSV text: its good rows are answered, its bad ones listed."""
    binary = io.BytesIO(data)
    checked = csvfile.check_open(binary, Path("body.csv"), schema.columns, separator)
    reason = checked.refusal or rows.refuse_header(checked.header, schema.features)
    if reason:
        lacking = [] if checked.refusal else [name for name in schema.features if name not in checked.header]
        problems = [{"column": name, "reason": "is missing"} for name in lacking[:MAX_PROBLEMS]]
        raise Refusal(400, f"the CSV {reason}", **({"problems": problems} if problems else {}))
    position = {name: index for index, name in enumerate(checked.header) if name}
    wanted = [name for name in (*schema.features, *schema.ids) if name in position]
    rejected: list[dict[str, Any]] = []
    asked = Asked(rejected=rejected)
    binary.seek(0)
    for number, row in enumerate(csvfile.read_open_rows(binary, checked.header, checked.separator), start=1):
        where = {"row": number, "line": row.line}
        if row.problem:
            rejected.append({**where, "column": None, "reason": row.problem})
            continue
        cells = {name: row.cells[position[name]] for name in wanted}
        problem = find_problem(cells, schema)
        if problem:
            rejected.append({**where, **problem})
        else:
            asked.labels.append({**where, **{name: cells.get(name) or None for name in schema.ids}})
            asked.texts.append(cells)
    return asked


def read_data_file(config: Config, path: Any) -> bytes:
    """Read a CSV file of the two data folders: nothing else of this machine can be named.

    The folder is compared as text, before the disk is asked; the file is opened without following a
    link, and must be a regular one.
    """
    if not isinstance(path, str) or not path or "\0" in path or text_of(path) is None:
        raise Refusal(400, "filepath must be the name of a file")
    named = Path(os.path.normpath(config.root / path))
    folders = (config.input_folder, config.test_data)
    if named.parent not in folders or not artifacts.is_input_name(named.name):
        shown = " or ".join(dict.fromkeys(folder.name for folder in folders))
        raise Refusal(403, f"filepath must name a CSV file in {shown}")
    limit = config.max_body_mb * MIB
    try:
        with csvfile.open_regular(named) as handle:
            data = handle.read(limit + 1)
    except FileNotFoundError as error:
        raise Refusal(404, "filepath: there is no such file") from error
    except OSError as error:
        raise Refusal(403, "filepath: not a regular file that may be read") from error
    if len(data) > limit:
        raise Refusal(413, f"the file is over {config.max_body_mb} MiB")
    return data


# --- routes ----------------------------------------------------------------------------------------------


def create_app(config: Config) -> Flask:
    """Make the application; the whole door to it.

    Nothing is read before the first request, and no request writes.
    """
    app = Flask(__name__, static_folder=None, template_folder=None)
    app.request_class = InMemoryRequest
    app.json = StrictJSON(app)
    app.config["MAX_CONTENT_LENGTH"] = config.max_body_mb * MIB + 1
    app.before_request(refuse_strangers)
    app.after_request(_add_safe_headers)
    _answer_errors(app, config)
    folder, key = config.prod_deployment, config.secrets.get("RISK_MODEL_KEY")
    deployed = Deployed(folder, key)

    @app.post("/prediction")
    def prediction() -> Response:
        served = deployed.get()
        asked = read_request(config, served.schema)
        found = compute_predictions(served, asked.texts)
        answers = [{**label, **one} for label, one in zip(asked.labels, found, strict=True)]
        bad = {} if asked.rejected is None else {"rejected": asked.rejected}
        return jsonify({"release": served.release.id, "predictions": answers, **bad})

    @app.get("/scoring")
    def scoring() -> Response:
        release = read_steadily(folder, lambda: releases.load(folder, key))
        score = float(release.files["latestscore.txt"])
        return jsonify({"release": release.id, "latest_score": score, **release.json("metrics.json")})

    @app.get("/summarystats")
    def summarystats() -> Response:
        return jsonify(read_diagnostics(config, "n_rows", "n_unlabelled", "statistics"))

    @app.get("/diagnostics")
    def diagnostics() -> Response:
        names = ("n_rows", "missing", "timings", "dependencies", "dependencies_at")
        return jsonify(read_diagnostics(config, *names, trends={}, verdict=None))

    @app.get("/health")
    def health() -> Response:
        return jsonify(
            {"status": "ok", "workspace": workspace_id(config), "outbox": outbox.tell(config.outbox)}
        )

    @app.get("/ready")
    def ready() -> Response:
        return jsonify({"status": "ready", "release": deployed.get().release.id})

    return app


def read_diagnostics(config: Config, *names: str, **newer: Any) -> dict[str, Any]:
    """Read some facts of the last diagnosis; `newer` are those that an earlier version did not write."""
    facts = artifacts.read_json(config.diagnostics, "run diagnostics.py")
    if missing := [name for name in names if name not in facts]:
        raise ArtifactError(f"{config.diagnostics}: lacks {missing[0]!r}; run diagnostics.py")
    return {name: facts[name] for name in names} | {name: facts.get(name, newer[name]) for name in newer}


def _add_safe_headers(answer: Response) -> Response:
    answer.headers.update(SAFE_HEADERS)
    return answer


def _answer_errors(app: Flask, config: Config) -> None:
    """Answer every error as a problem: what we expect by its text, a bug without one."""

    @app.errorhandler(HTTPException)
    def refused(error: HTTPException) -> Response:
        detail, status = error.description or "", error.code or 500
        if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE and not isinstance(error, Refusal):
            detail = f"the body is over {config.max_body_mb} MiB, or the form has too many parts"
        answer = render_problem(status, detail, **getattr(error, "members", {}))
        answer.headers.extend([(k, v) for k, v in error.get_headers() if k.lower() != "content-type"])
        return answer

    @app.errorhandler(PipelineError)
    def unavailable(error: PipelineError) -> Response:
        return render_problem(503, hide_paths(str(error), config))

    @app.errorhandler(OSError)
    def unreadable(error: OSError) -> Response:
        return unavailable(stage.of_system(error))

    @app.errorhandler(Exception)
    def broken(error: Exception) -> Response:
        LOG.error("%s %s: a bug of ours", request.method, request.path, exc_info=error)
        return render_problem(500, "this is a bug of ours; the log of the server has the details")


# --- serving ---------------------------------------------------------------------------------------------


def load_served_config() -> Config:
    """Load the config.json that `RISK_CONFIG` names, else the one beside the scripts."""
    return load_config(os.environ.get("RISK_CONFIG") or HERE / "config.json")


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
    return stage.main("app", run, argv, description=__doc__, locks=False)


if __name__ == "__main__":
    raise SystemExit(main())
