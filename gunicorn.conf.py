"""How gunicorn serves the API: few processes of many threads, which gather no request themselves.

`app.py` hands it over; `RISK_CONFIG=/srv/risk/config.json gunicorn wsgi:app` in this folder reads it too.
"""

import functools
import gc
import os
import resource
import sys
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before anything loads numpy
sys.path.insert(0, str(Path(__file__).resolve().parent))  # gunicorn adds it only after this file

from app import check_reachable, load_served_config, render_refusal
from risk import text
from risk.errors import ConfigError
from risk.serving import access_log, worker
from risk.serving.worker import Terms

try:
    _config = load_served_config()
    check_reachable(_config)
except ConfigError as error:
    print(f"ERROR app: {text.escape_lines_for_terminal(str(error))}", file=sys.stderr)
    raise SystemExit(error.exit_code) from error

bind = f"[{_config.host}]:{_config.port}" if ":" in _config.host else f"{_config.host}:{_config.port}"
worker_class = worker.make_worker(
    Terms(
        max_body=_config.max_body_bytes,
        max_held=4 * _config.max_body_bytes,
        timeout_s=_config.timeout_s,
        refuse=functools.partial(render_refusal, _config),
    )
)
workers = _config.workers
preload_app = True  # workers share what was loaded before them, and one that dies is replaced at once
threads = 64  # one is held by an answer that is being taken, never by a request that arrives
# A connection more than there are files would end the worker.
worker_connections = min(1000, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 100)
timeout = 60
graceful_timeout = 30
keepalive = 5
accesslog = None  # risk/serving/access_log.py writes one without contents
errorlog = "-"
loglevel = "info" if sys.stderr.isatty() else "warning"
forwarded_allow_ips = ""  # no header of a client makes it somebody else
forwarder_headers = ""
control_socket_disable = True
if Path("/dev/shm").is_dir():  # noqa: S108  (the heartbeat of a worker must not wait for a disk)
    worker_tmp_dir = "/dev/shm"  # noqa: S108


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
