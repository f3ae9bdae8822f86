"""The worker of gunicorn that runs the server: preloading, restarts and sockets stay gunicorn's."""

from __future__ import annotations

import os
import time
from functools import partial
from types import FrameType
from typing import ClassVar

from gunicorn.workers import base

from risk.serving import responses
from risk.serving.http.channel import ServerLimits
from risk.serving.http.server import Server
from risk.serving.settings import ServingSettings


class Worker(base.Worker):  # type: ignore[misc]  # gunicorn has no types
    """Serves in one process; `make_worker` sets what."""

    settings: ClassVar[ServingSettings]

    def run(self) -> None:
        """Serve until the arbiter says so, or is gone; called by gunicorn."""
        limits = ServerLimits(
            self.settings.max_body_bytes,
            self.settings.timeout_s,
            self.cfg.threads,
            self.cfg.worker_connections,
        )
        render = partial(responses.render_refusal, self.settings.prod_deployment)
        self.server = Server(self.wsgi, [one.sock for one in self.sockets], limits, render)
        noticed = 0.0
        while self.alive and self.ppid == os.getppid():
            self.server.run_once()
            if time.monotonic() - noticed >= 1.0:
                noticed = time.monotonic()
                self.notify()
        self.server.drain(self.cfg.graceful_timeout)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Finish what has begun, on SIGTERM; called by gunicorn."""
        super().handle_exit(sig, frame)
        if hasattr(self, "server"):
            self.server.wake()


def make_worker(settings: ServingSettings) -> type[Worker]:
    """Make the class that gunicorn is to use."""
    return type("Worker", (Worker,), {"settings": settings})
