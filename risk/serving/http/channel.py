"""Connections: a request arrives, is answered and taken in a limited time and memory, or is refused."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any

from waitress.channel import HTTPChannel
from waitress.task import ErrorTask

from risk.serving import access_log
from risk.serving.http.parser import RequestParser
from risk.serving.problems import Refusal

MIB = 1024 * 1024
LARGE = MIB
RenderRefusal = Callable[[Refusal], tuple[list[tuple[str, str]], bytes]]
LINGER_S = 5.0
SLOW_READER_S = 5.0


@dataclass(frozen=True)
class ServerLimits:
    """What one process accepts.

    `timeout_s` is the time a request may take to arrive, and its answer to be computed and taken.
    """

    max_body: int
    timeout_s: float
    n_threads: int
    max_connections: int

    @property
    def max_arriving(self) -> int:
        """Bytes of all requests that have not arrived whole."""
        return 4 * self.max_body

    @property
    def max_untaken(self) -> int:
        """Bytes of all answers that have not been taken."""
        return 16 * self.max_body


class ProblemTask(ErrorTask):  # type: ignore[misc]
    """Answers what never reached the application as every other error, and closes the connection."""

    def execute(self) -> None:
        """Write the problem."""
        refusal = self.request.refusal
        if refusal is None:
            code = self.request.error.code
            refusal = Refusal(code, "internal error" if code >= 500 else "the request is not proper HTTP")
        access_log.LOG.info("refused before the application: status=%d", refusal.status)
        headers, body = self.channel.render_refusal(refusal)
        self.channel.lingers = True
        self.status = f"{refusal.status} {HTTPStatus(refusal.status).phrase}"
        self.response_headers.extend(headers)
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class Channel(HTTPChannel):  # type: ignore[misc]
    """A connection: at most one request arrives or is answered, each in its time."""

    error_task_class = ProblemTask

    def __init__(
        self,
        limits: ServerLimits,
        render_refusal: RenderRefusal,
        server: Any,
        *args: Any,
        **options: Any,
    ) -> None:
        self.request: RequestParser | None
        self.will_close: bool
        self.limits = limits
        self.render_refusal = render_refusal
        self.parser_class = partial(RequestParser, limits.max_body)
        self.answer_began: float | None = None
        self.closing_since: float | None = None
        self.lingers = self.is_sending = False
        super().__init__(server, *args, **options)
        if len(server.active_channels) > limits.max_connections:
            _evict(server.active_channels.values())

    @property
    def is_answering(self) -> bool:
        return bool(self.requests or self.total_outbufs_len)

    @property
    def n_arriving(self) -> int:
        """Bytes of a body that has not arrived whole."""
        request = self.request
        return request.body_bytes_received if request else 0

    def received(self, data: bytes) -> bool:
        """Take the next bytes of a request; none come while one is answered."""
        if self.closing_since is not None:
            return False
        self.answer_began = None
        result: bool = super().received(data)
        if self.n_arriving > LARGE:
            arriving = self.server.active_channels.values()
            if sum(one.n_arriving for one in arriving) > self.limits.max_arriving:
                largest = max(arriving, key=lambda one: one.n_arriving)
                largest.refuse(503, "too much is being sent at once; try again later")
        return result

    def service(self) -> None:
        """Answer one request; called in a thread."""
        self.answer_began = time.monotonic()
        super().service()

    def write_soon(self, data: Any) -> int:
        """Send from the thread what the socket takes; the loop sends the rest."""
        self.is_sending = True
        try:
            n_taken: int = super().write_soon(data)
        finally:
            self.is_sending = False
        if self.total_outbufs_len:
            self.server.pull_trigger()
        return n_taken

    def refuse(self, status: int, detail: str) -> None:
        """Refuse the request that is arriving."""
        with self.requests_lock:
            if self.request is None or self.requests:
                return
            self.request.refuse(Refusal(status, detail))
            self.requests.append(self.request)
            self.request = None
            self.server.add_task(self)

    def readable(self) -> bool:
        return self.closing_since is not None or super().readable()

    def writable(self) -> bool:
        if self.closing_since is not None:
            return False
        # The loop could not have the lock of a thread that sends, and would turn without a rest till it is
        # free: beside 64 clients that took more time than their requests. A thread that waits for room in
        # the buffer (waitress's high watermark) needs the loop.
        if self.is_sending and self.total_outbufs_len <= self.adj.outbuf_high_watermark:
            return False
        return bool(super().writable())

    def handle_close(self) -> None:
        """Close; behind a refusal wait for the client to do so first, or it may lose the answer."""
        if not (self.lingers and self.will_close and self.connected) or self.closing_since is not None:
            self.close_now()
            return
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            self.close_now()
        else:
            self.closing_since, self.will_close = time.monotonic(), False

    def close_now(self) -> None:
        super().handle_close()

    def check_time(self, threads_are_short: bool) -> None:
        """End what has taken too long."""
        now, timeout_s = time.monotonic(), self.limits.timeout_s
        if self.closing_since is not None:
            if now - self.closing_since > LINGER_S:
                self.close_now()
        elif self.is_answering:
            is_late = self.answer_began is not None and now - self.answer_began > timeout_s
            is_slow = self.total_outbufs_len and time.time() - self.last_activity > SLOW_READER_S
            if is_late or (threads_are_short and self.requests and is_slow):
                self.close_now()
        elif self.request is not None and now - self.request.began > timeout_s:
            self.refuse(408, "the request took too long to arrive")


def _evict(channels: Iterable[Channel]) -> None:
    """Make a place for a new connection: close one that waits for nothing, or refuse the oldest request."""
    waiting = [one for one in channels if not one.is_answering][:-1]  # the last one is the new one
    for one in waiting:
        if one.closing_since is not None or one.request is None:
            one.close_now()
            return
    if waiting:
        waiting[0].refuse(503, "too many clients at once; try again later")
