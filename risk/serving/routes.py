"""The application and its routes: each parses, asks one module, and answers."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import NotFound, RequestEntityTooLarge

from risk.errors import ArtifactError
from risk.history import outbox
from risk.prediction import client_list_reader
from risk.serving import middleware, model_cache, page, parsing, prometheus, responses
from risk.serving.file_access import DataFiles
from risk.serving.problems import Refusal, hide_paths
from risk.serving.prometheus import Gauge
from risk.serving.responses import answer_csv, answer_json, prefers_csv
from risk.serving.settings import ServingSettings, workspace_id

LOG = logging.getLogger("risk.app")
ROOT = Path(__file__).resolve().parents[2]
STATIC = ROOT / "static"


class Artifacts:
    """What the routes answer from: artifacts of the last runs, read again when they change."""

    def __init__(self, settings: ServingSettings) -> None:
        self.settings = settings
        self.deployed = model_cache.DeployedModel(
            settings.prod_deployment, settings.model_key, lambda text: LOG.error("%s", text)
        )
        self.diagnostics = model_cache.CachedJSON(settings.diagnostics, "run diagnostics.py")
        self.report = model_cache.CachedJSON(settings.report, "run fullprocess.py, or reporting.py")
        self.clients = client_list_reader.ClientListCache(settings.at_risk)
        self.files = DataFiles(
            settings.root, (settings.input_folder, settings.test_data), settings.max_body_bytes
        )

    def gauges(self) -> list[Gauge]:
        """Collect what a monitoring system is given."""
        where = self.settings
        return prometheus.collect(
            where.prod_deployment, where.diagnostics, where.tick_state, where.outbox, time.time()
        )

    def degradation(self) -> dict[str, str]:
        """Describe why an earlier release is served in place of a damaged one; empty when it is not."""
        damage = self.deployed.damage
        return {} if damage is None else {"status": "degraded", "problem": hide_paths(damage, self.settings)}


def create_app(settings: ServingSettings) -> Flask:
    """Create the application; nothing is read before the first request, and no request writes."""
    app = Flask("app", root_path=str(ROOT), static_folder=None, template_folder=None)
    middleware.install(app, settings)
    artifacts = Artifacts(settings)
    _add_predictions(app, artifacts)
    _add_facts(app, artifacts)
    _add_state(app, artifacts)
    _add_page(app, artifacts)
    return app


def _add_predictions(app: Flask, artifacts: Artifacts) -> None:
    @app.post("/prediction")
    def prediction() -> Response:
        served = artifacts.deployed.get()
        clients = parsing.parse_clients(request, artifacts.settings, artifacts.files, served.schema)
        if prefers_csv():
            return answer_csv(served.release.id, responses.to_csv(served, clients))
        return answer_json(served.release.id, responses.to_json(served, clients))

    @app.get("/clients")
    def list_clients() -> Response:
        lines = artifacts.clients.get().page(**parsing.parse_slice(request.args))
        if prefers_csv():
            return Response(lines.to_csv(), mimetype="text/csv")
        return jsonify(lines.to_json())


def _add_facts(app: Flask, artifacts: Artifacts) -> None:
    @app.get("/scoring")
    def scoring() -> Response:
        release = artifacts.deployed.release()
        score = float(release.files["latestscore.txt"])
        return answer_json(release.id, {"latest_score": score, **release.json("metrics.json")})

    @app.get("/summarystats")
    def summarystats() -> Response:
        return jsonify(choose(artifacts.diagnostics.read(), "n_rows", "n_unlabelled", "statistics"))

    @app.get("/diagnostics")
    def diagnostics() -> Response:
        names = ("n_rows", "missing", "timings", "dependencies", "dependencies_at")
        return jsonify(choose(artifacts.diagnostics.read(), *names, trends={}, verdict=None))

    @app.get("/openapi.json")
    def openapi() -> Response:
        return Response((STATIC / "openapi.json").read_bytes(), mimetype="application/json")


def _add_state(app: Flask, artifacts: Artifacts) -> None:
    settings = artifacts.settings

    @app.get("/health")
    def health() -> Response:
        queues = {name: outbox.describe(queue) for name, queue in settings.alert_queues.items()}
        facts = {"workspace": workspace_id(settings.config_path), "outbox": outbox.describe(settings.outbox)}
        return jsonify({"status": "ok", **facts, "alerts": queues, **artifacts.degradation()})

    @app.get("/ready")
    def ready() -> Response:
        release = artifacts.deployed.get().release.id
        return answer_json(release, {"status": "ready", **artifacts.degradation()})

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(prometheus.render(artifacts.gauges()), content_type=prometheus.MEDIA_TYPE)


def _add_page(app: Flask, artifacts: Artifacts) -> None:
    """Add the page for people, which shows why an upload was refused."""
    settings = artifacts.settings

    @app.get("/")
    def show_page() -> Response:
        return render_page(artifacts)

    @app.post("/")
    def upload() -> Response:
        try:
            served = artifacts.deployed.get()
            clients = parsing.parse_clients(request, settings, artifacts.files, served.schema)
        except Refusal as error:
            return render_page(artifacts, error.detail, error.status)
        except RequestEntityTooLarge as error:
            return render_page(artifacts, f"the file is over {settings.max_body_mb} MiB", error.code)
        except ArtifactError as error:
            return render_page(artifacts, hide_paths(str(error), settings), 503)
        return answer_csv(served.release.id, responses.to_csv(served, clients))

    @app.get("/static/<name>")
    def static_file(name: str) -> Response:
        if name not in page.FILES:
            raise NotFound
        return Response((STATIC / name).read_bytes(), mimetype=page.FILES[name])


def render_page(artifacts: Artifacts, problem: str | None = None, status: int = 200) -> Response:
    """Render the page; `problem` is why an upload was refused."""
    settings, view = artifacts.settings, page.View.of(request.args)
    report = _read_or_explain(artifacts.report.read, settings)
    clients = _read_or_explain(lambda: page.read_list(artifacts.clients, view), settings)
    html = page.render_page(report, clients, view, settings.prod_deployment, artifacts.gauges(), problem)
    return Response(html, status, page.HEADERS)


def _read_or_explain(read: Callable[[], dict[str, Any]], settings: ServingSettings) -> dict[str, Any] | str:
    """Read an artifact for the page, or return why it cannot be read."""
    try:
        return read()
    except ArtifactError as error:
        return hide_paths(str(error), settings)


def choose(facts: dict[str, Any], *names: str, **newer: Any) -> dict[str, Any]:
    """Select facts of the last diagnosis; `newer` are those that an earlier version did not write."""
    if missing := [name for name in names if name not in facts]:
        raise ArtifactError(f"diagnostics.json: lacks {missing[0]!r}; run diagnostics.py")
    return {name: facts[name] for name in names} | {name: facts.get(name, newer[name]) for name in newer}
