"""The server of one process: its loop, its threads, and the connections it holds."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from waitress import create_server, wasyncore
from waitress.server import BaseWSGIServer
from waitress.task import ThreadedTaskDispatcher

from risk.serving import access_log
from risk.serving.http.channel import LARGE, Channel, RenderRefusal, ServerLimits
from risk.serving.http.parser import LARGEST_HEAD
from risk.serving.problems import Refusal

MIB = 1024 * 1024
LARGE_AT_ONCE, LARGE_WAITING, MOST_WAITING = 2, 8, 256
IN_MEMORY = 1 << 40
SMALL_ANSWER = 64 * 1024  # whoever is owed less, or waits for a thread, is not who fills the memory


class TaskQueues:
    """Threads for small requests, and few for large ones, which take many times their size in memory."""

    def __init__(self, n_threads: int) -> None:
        self.small, self.large = ThreadedTaskDispatcher(), ThreadedTaskDispatcher()
        self.small.set_thread_count(n_threads)
        self.large.set_thread_count(LARGE_AT_ONCE)

    @property
    def are_short(self) -> bool:
        """Whether a request waits for a thread."""
        return bool(self.small.queue or self.large.queue)

    def add_task(self, channel: Channel) -> None:
        """Queue the first request of a connection, or refuse it when too many wait."""
        request, queue, most = channel.requests[0], self.small, MOST_WAITING
        if request.body_bytes_received > LARGE:
            queue, most = self.large, LARGE_WAITING
        if request.error is None and len(queue.queue) >= most:
            request.refuse(Refusal(503, "too many requests at once; try again later"))
        (self.small if request.error else queue).add_task(channel)

    def shutdown(self) -> None:
        self.small.shutdown()
        self.large.shutdown()


class Server:
    """Serves an application on sockets that listen already; `run_once` is a turn of its loop."""

    def __init__(
        self,
        application: Any,
        sockets: Sequence[socket.socket],
        limits: ServerLimits,
        render_refusal: RenderRefusal,
    ) -> None:
        self._map: dict[int, Any] = {}
        self._queues = TaskQueues(limits.n_threads)
        self._limits = limits
        self._checked = 0.0
        _log_without_contents()
        create_server(
            application,
            map=self._map,
            sockets=sockets,
            threads=0,
            ident=None,
            server_name=sockets[0].getsockname()[0],
            clear_untrusted_proxy_headers=False,  # they show that a request comes from elsewhere
            connection_limit=limits.max_connections + 50,
            max_request_header_size=LARGEST_HEAD,
            max_request_body_size=2 * limits.max_body + MIB,  # with the frames of its chunks
            inbuf_overflow=IN_MEMORY,
            outbuf_overflow=IN_MEMORY,
            outbuf_high_watermark=MIB,
            recv_bytes=64 * 1024,
            channel_timeout=int(limits.timeout_s) + 3,  # of connections without a request
            cleanup_interval=1,
            log_socket_errors=False,
        )
        self._servers = [one for one in self._map.values() if isinstance(one, BaseWSGIServer)]
        for one in self._servers:
            one.task_dispatcher = self._queues
            one.channel_class = partial(Channel, limits, render_refusal)

    @property
    def channels(self) -> list[Channel]:
        """The open connections."""
        return [channel for one in self._servers for channel in one.active_channels.values()]

    def run_once(self, timeout_s: float = 1.0) -> None:
        """Wait for something to happen, do it, and once a second end what has taken too long."""
        wasyncore.loop(timeout=timeout_s, use_poll=True, map=self._map, count=1)
        now = time.monotonic()
        if now - self._checked >= 1.0:
            self._checked = now
            for channel in self.channels:
                channel.check_time(self._queues.are_short)
            self._bound_answers()

    def _bound_answers(self) -> None:
        """Close the slowest readers while untaken answers hold too much memory."""
        holding = [one for one in self.channels if one.total_outbufs_len > SMALL_ANSWER]
        holding.sort(key=lambda one: one.last_activity, reverse=True)
        while sum(one.total_outbufs_len for one in holding) > self._limits.max_untaken:
            holding.pop().close_now()

    def wake(self) -> None:
        """End the wait of `run_once`; safe in a signal handler."""
        self._servers[0].pull_trigger()

    def drain(self, timeout_s: float) -> None:
        """Accept no more, finish what has begun, and close."""
        for one in self._servers:
            one.accepting = False
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            for channel in self.channels:
                if not channel.is_answering and channel.request is None:
                    channel.close_now()
            if not self.channels:
                break
            self.run_once(0.1)
        self._queues.shutdown()
        wasyncore.close_all(self._map, ignore_all=True)


class _BugHandler(logging.Handler):
    """Logs internal errors of the server by their kind; other messages quote requests and are dropped."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1]:
            access_log.note_bug("a request", record.exc_info[1])


def _log_without_contents() -> None:
    logger = logging.getLogger("waitress")
    logger.handlers, logger.propagate = [_BugHandler()], False
    logging.getLogger("waitress.queue").setLevel(logging.CRITICAL)  # else each request that waits is a line
