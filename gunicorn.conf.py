"""How gunicorn serves the API: on loopback, by two processes of many threads each.

`app.py` hands it over; `RISK_CONFIG=/srv/risk/config.json gunicorn wsgi:app` in this folder reads it too.
"""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))  # gunicorn adds it only after this file

from app import load_served_config
from risk import escapes
from risk.errors import ConfigError

try:
    _config = load_served_config()
except ConfigError as error:
    print(f"ERROR app: {escapes.for_screen_lines(str(error))}", file=sys.stderr)
    raise SystemExit(error.exit_code) from error

bind = f"[{_config.host}]:{_config.port}" if ":" in _config.host else f"{_config.host}:{_config.port}"
worker_class = "gthread"
workers = 2
threads = 32  # slow clients hold a thread, not the server
timeout = 60
graceful_timeout = 30
keepalive = 5
accesslog = None
errorlog = "-"
loglevel = "info" if sys.stderr.isatty() else "warning"
control_socket_disable = True
if Path("/dev/shm").is_dir():  # noqa: S108  (the heartbeat of a worker must not wait for a disk)
    worker_tmp_dir = "/dev/shm"  # noqa: S108


def post_worker_init(worker: Any) -> None:
    """Load the deployed model before the first request waits for it; none deployed is no error."""
    worker.wsgi.test_client().get("/ready")
