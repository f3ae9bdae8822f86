"""How gunicorn serves the API: few processes, in each of which waitress gathers the requests.

`app.py` hands it over; `RISK_CONFIG=/srv/risk/config.json gunicorn wsgi:app` in this folder reads it too.
"""

import gc
import os
import resource
import sys
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before anything loads numpy
sys.path.insert(0, str(Path(__file__).resolve().parent))  # gunicorn adds it only after this file

from gunicorn.workers import gthread

from app import check_reachable, load_served_config, serving_settings
from risk import text
from risk.errors import ConfigError
from risk.serving import access_log
from risk.serving.http import worker

try:
    _config = load_served_config()
    check_reachable(_config)
except ConfigError as error:
    print(f"ERROR app: {text.escape_lines_for_terminal(str(error))}", file=sys.stderr)
    raise SystemExit(error.exit_code) from error

bind = f"[{_config.host}]:{_config.port}" if ":" in _config.host else f"{_config.host}:{_config.port}"
worker_class = worker.make_worker(serving_settings(_config))
workers = _config.workers
preload_app = True  # workers share what was loaded before them, and one that dies is replaced at once
threads = 4
# A connection more than there are files would end the worker.
worker_connections = min(1000, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 100)
timeout = 60
graceful_timeout = 30
accesslog = None  # risk/serving/access_log.py writes one without contents
errorlog = "-"
loglevel = "info" if sys.stderr.isatty() else "warning"
forwarded_allow_ips = ""  # no header of a client makes it somebody else
forwarder_headers = ""
control_socket_disable = True
if Path("/dev/shm").is_dir():  # noqa: S108  (the heartbeat of a worker must not wait for a disk)
    worker_tmp_dir = "/dev/shm"  # noqa: S108


def on_starting(arbiter: Any) -> None:
    """Leave TLS (`--certfile`), which waitress does not speak, to gunicorn's own threads."""
    if arbiter.cfg.is_ssl:
        arbiter.cfg.set("threads", 64)
        arbiter.worker_class = gthread.ThreadWorker


def when_ready(arbiter: Any) -> None:
    """Load the deployed model before the workers are forked; none deployed is no error.

    Nothing runs in a thread yet, and the libraries are told to start none: forking is safe.
    """
    arbiter.app.wsgi().test_client().get("/ready")
    gc.collect()
    gc.freeze()  # a collection in a worker would write to what it shares


def post_fork(arbiter: Any, worker: Any) -> None:
    """Let each worker log by itself."""
    access_log.set_up(_config.request_log, interactive=sys.stderr.isatty())
