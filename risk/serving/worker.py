"""Which request is answered next, and what becomes of clients that are slow?

A worker of gunicorn in which a thread never waits for a request: the main loop gathers each one and hands
it over whole. A slow client costs a socket and the bytes it has sent, and when those run short, the slowest
ones go first; whoever sends at once is answered at once.
"""

from __future__ import annotations

import fcntl
import re
import socket
import ssl
import struct
import sys
import termios
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from selectors import EVENT_READ
from typing import Any, ClassVar

from gunicorn import http
from gunicorn.http import errors
from gunicorn.workers.gthread import TConn, ThreadWorker

from risk.serving import access_log
from risk.serving.problems import Refusal

LOG = access_log.LOG
RECEIVE = 64 * 1024
LARGE = 1024 * 1024
LARGE_AT_ONCE, LARGE_WAITING = 2, 8
MOST_WAITING = 256
LINGER_S = 5.0
SWITCH_S = 0.001  # a thread that computes is asked that often to let the main loop go on
SLOW_READER_S = 5.0
_OURS = errors.InvalidResponseHeader, errors.InvalidResponseHeaderName, errors.ConfigurationProblem
_STATUS = {errors.LimitRequestLine: 414, errors.LimitRequestHeaders: 431, errors.ExpectationFailed: 417}


@dataclass(frozen=True)
class Terms:
    """What a worker puts up with.

    `max_held` are the bytes of all requests that have not arrived whole; `timeout_s` is the time a request
    may take to arrive, and its answer to be computed and taken; `refuse` renders a whole answer of a
    status and a reason.
    """

    max_body: int
    max_held: int
    timeout_s: float
    refuse: Callable[[int, str], bytes]


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """Answers whole requests in threads; `make_worker` sets its terms."""

    terms: ClassVar[Terms]

    def init_process(self) -> None:
        self.arriving: dict[TConn, tuple[Arrival, float]] = {}
        self.large_waiting: deque[TConn] = deque()
        self.answering: dict[TConn, float] = {}
        self.large: set[TConn] = set()
        self.leaving: dict[TConn, float] = {}
        self.rests: dict[TConn, bytes] = {}
        self.held = 0
        self.noticed = 0.0
        sys.setswitchinterval(SWITCH_S)
        super().init_process()

    def notify(self) -> None:
        """Show that the main loop is alive; once a second, for each time it may wait for a thread."""
        now = time.monotonic()
        if now - self.noticed >= 1.0:
            self.noticed = now
            super().notify()

    # --- a request arrives -------------------------------------------------------------------------------

    def enqueue_req(self, conn: TConn) -> None:
        """Begin to gather a request; called by gunicorn when a connection is new or has something to say."""
        if self.cfg.is_ssl:
            super().enqueue_req(conn)
            return
        conn.sock.setblocking(False)
        self.arriving[conn] = (Arrival(self.terms.max_body), time.monotonic())
        self.poller.register(conn.sock, EVENT_READ, partial(self._receive, conn))
        rest = self.rests.pop(conn, b"")
        if rest:
            self._feed(conn, rest)
        else:
            self._receive(conn)

    def _receive(self, conn: TConn, _: object = None) -> None:
        if conn not in self.arriving:  # it was parted from in this very round of the main loop
            return
        try:
            data = conn.sock.recv(RECEIVE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._feed(conn, data)
        else:
            self._close(conn)

    def _feed(self, conn: TConn, data: bytes) -> None:
        arrival, _ = self.arriving[conn]
        before, refusal = len(arrival), None
        try:
            arrival.feed(data)
        except Refusal as error:
            refusal = error
        self.held += len(arrival) - before
        if refusal is not None:
            self._refuse(conn, refusal.status, refusal.detail)
        elif arrival.is_whole:
            self._unregister(conn)
            self._hand_over(conn, arrival)
        elif arrival.asks_to_go_on:
            arrival.asks_to_go_on = False
            self._send(conn, b"HTTP/1.1 100 Continue\r\n\r\n")
        if self.held > self.terms.max_held and self.arriving:
            largest = max(self.arriving, key=lambda one: len(self.arriving[one][0]))
            self._refuse(largest, 503, "too much is being sent at once; try again later")

    def _hand_over(self, conn: TConn, arrival: Arrival) -> None:
        """Let a thread answer a whole request, or say that there are too many."""
        if len(self.answering) >= self.cfg.threads + MOST_WAITING:
            self._refuse(conn, 503, "too many requests at once; try again later")
        elif len(arrival) <= LARGE or len(self.large) < LARGE_AT_ONCE:
            self._answer(conn, arrival)
        elif len(self.large_waiting) < LARGE_WAITING:
            self.large_waiting.append(conn)
        else:
            self._refuse(conn, 503, "too many large requests at once; try again later")

    def _answer(self, conn: TConn, arrival: Arrival) -> None:
        self._forget(conn)
        if len(arrival) > LARGE:
            self.large.add(conn)
        if arrival.rest:
            self.rests[conn] = arrival.rest
        self.answering[conn] = time.monotonic()
        conn.parser = http.get_parser(self.cfg, arrival.pieces(), conn.client)
        conn.initialized = True
        super().enqueue_req(conn)

    def _forget(self, conn: TConn) -> None:
        """Count a request no more among those that arrive."""
        arrival, _ = self.arriving.pop(conn)
        self.held -= len(arrival)

    # --- a request is answered ---------------------------------------------------------------------------

    def finish_request(self, conn: TConn, fs: Future[bool]) -> None:
        """Wait for the next request of a connection, or part from it; called in the main loop."""
        self.answering.pop(conn, None)
        self.large.discard(conn)
        if fs.cancelled() or fs.exception() is not None or not fs.result():
            self._part(conn)
        elif conn in self.rests:
            self.enqueue_req(conn)
        else:
            super().finish_request(conn, fs)
        while self.large_waiting and len(self.large) < LARGE_AT_ONCE:
            waiting = self.large_waiting.popleft()
            if waiting in self.arriving:
                self._answer(waiting, self.arriving[waiting][0])

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: BaseException) -> None:
        """Answer what is no HTTP as every other error, and log its kind, never what it says."""
        ours = isinstance(exc, _OURS) or not isinstance(exc, errors.ParseException | ssl.SSLError)
        status = 500 if ours else next((s for kind, s in _STATUS.items() if isinstance(exc, kind)), 400)
        if ours:
            access_log.note_bug("a request", exc)
        else:
            LOG.info("malformed request: %s", type(exc).__name__)
        detail = "internal error" if ours else "the request is not proper HTTP"
        try:
            client.setblocking(False)
            client.send(self.terms.refuse(status, detail))
        except OSError:
            LOG.debug("the client was gone")

    # --- a connection ends -------------------------------------------------------------------------------

    def _send(self, conn: TConn, data: bytes) -> None:
        try:
            conn.sock.send(data)
        except OSError:
            LOG.debug("the client was gone")

    def _refuse(self, conn: TConn, status: int, detail: str) -> None:
        self._unregister(conn)
        self._forget(conn)
        LOG.info("refused: status=%d", status)
        self._send(conn, self.terms.refuse(status, detail))
        self._part(conn)

    def _part(self, conn: TConn) -> None:
        """Close our side and wait a little for the other one, or it may lose the answer on its way."""
        self.rests.pop(conn, None)
        try:
            conn.sock.setblocking(False)
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._close(conn)
            return
        self.leaving[conn] = time.monotonic()
        self.poller.register(conn.sock, EVENT_READ, partial(self._discard, conn))

    def _discard(self, conn: TConn, _: object) -> None:
        if conn not in self.leaving:
            return
        try:
            if conn.sock.recv(RECEIVE):
                return
        except BlockingIOError:
            return
        except OSError:
            LOG.debug("the client was gone")
        self._close(conn)

    def _close(self, conn: TConn) -> None:
        self._unregister(conn)
        if conn in self.arriving:
            self._forget(conn)
        self.leaving.pop(conn, None)
        self.nr_conns -= 1
        conn.close()

    def _unregister(self, conn: TConn) -> None:
        try:
            self.poller.unregister(conn.sock)
        except (KeyError, ValueError, OSError):
            LOG.debug("the connection was not waited for")

    # --- time passes -------------------------------------------------------------------------------------

    def murder_pending(self) -> None:
        """Part from clients whose time is over; called at the end of every round of the main loop."""
        super().murder_pending()
        while self.nr_conns >= self.worker_connections and self._make_room():
            LOG.debug("a client went, for there are too many")
        now = time.monotonic()
        for conn in _older(self.arriving, now - self.terms.timeout_s, lambda value: value[1]):
            if self.arriving[conn][0].has_begun:
                self._refuse(conn, 408, "the request took too long to arrive")
            else:
                self._close(conn)
        for conn in _older(self.leaving, now - (LINGER_S if self.alive else 0.0)):
            self._close(conn)
        for conn in _older(self.answering, now - self.terms.timeout_s):
            self._cut_off(conn)
        if len(self.answering) > self.cfg.threads:
            for conn in _older(self.answering, now - SLOW_READER_S):
                if _unread(conn.sock):
                    self._cut_off(conn)
        if not self.alive:
            for conn in [one for one, (arrival, _) in self.arriving.items() if not arrival.has_begun]:
                self._close(conn)

    def _make_room(self) -> bool:
        """Part from one client, so that another can come: first from those that wait for nothing."""
        if self.leaving:
            self._close(next(iter(self.leaving)))
        elif self.keepalived_conns:
            self.keepalived_conns[0].timeout = 0.0
            self.murder_keepalived()
        elif self.arriving:
            oldest = next(iter(self.arriving))
            self._send(oldest, self.terms.refuse(503, "too many clients at once; try again later"))
            self._close(oldest)
        else:
            return False
        return True

    def _cut_off(self, conn: TConn) -> None:
        """End the sending of an answer that nobody takes; its thread finds a closed connection."""
        try:
            conn.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            LOG.debug("the client was gone")


def _older(since: dict[TConn, Any], limit: float, moment: Callable[[Any], float] = float) -> list[TConn]:
    """List those that began before a moment; the oldest stand first."""
    found = []
    for conn, value in since.items():
        if moment(value) > limit:
            break
        found.append(conn)
    return found


def _unread(sock: socket.socket) -> int:
    """Count the bytes that were sent and that the other side has not taken."""
    return int(struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, struct.pack("i", 0)))[0])


def make_worker(terms: Terms) -> type[Worker]:
    """Make the class that gunicorn is to use."""
    return type("Worker", (Worker,), {"terms": terms})


HEAD_LIMIT = 32 * 1024


CHUNK_LINE_LIMIT = 256


PIECE = 1024 * 1024


MIB = 1024 * 1024


_LENGTH = re.compile(rb"\r\ncontent-length[ \t]*:[ \t]*([^\r\n]*?)[ \t]*(?=\r\n)", re.IGNORECASE)


_CODING = re.compile(rb"\r\ntransfer-encoding[ \t]*:[ \t]*([^\r\n]*?)[ \t]*(?=\r\n)", re.IGNORECASE)


_EXPECT = re.compile(rb"\r\nexpect:[ \t]*100-continue[ \t]*(?=\r\n)", re.IGNORECASE)


_SPACED = re.compile(rb"\r\n[^\r\n:]*[ \t]:")


_CHUNK = re.compile(rb"([0-9a-fA-F]{1,8})[ \t]*(?:;[\t\x20-\x7e]*)?")


class Arrival:
    """One request, as far as it has come.

    `asks_to_go_on` is true once for a client that waits for a word before it sends its body.
    """

    def __init__(self, max_body: int) -> None:
        self.asks_to_go_on = False
        self._max_body = max_body
        self._data = bytearray()  # what is not understood yet
        self._head = b""
        self._body = bytearray()
        self._lacking = 0  # bytes of the body, or of the present chunk with its line end
        self._chunked = self._in_chunk = False
        self.is_whole = False

    def __len__(self) -> int:
        return len(self._head) + len(self._body) + len(self._data)

    @property
    def has_begun(self) -> bool:
        return len(self) > 0

    @property
    def rest(self) -> bytes:
        """Bytes behind the request: the beginning of the next one."""
        return bytes(self._data)

    def pieces(self) -> Iterator[bytes]:
        """Give the whole request, first its head, then its body."""
        yield self._head
        for start in range(0, len(self._body), PIECE):
            yield bytes(self._body[start : start + PIECE])

    def feed(self, data: bytes) -> None:
        """Take in the next bytes.

        Raises
        ------
        Refusal
            When this can become no request, or none of a size that is answered.
        """
        searched = max(len(self._data) - 3, 0)
        self._data += data
        if not self._head:
            self._take_head(self._data.find(b"\r\n\r\n", searched))
        if self._head and not self.is_whole:
            (self._take_chunks if self._chunked else self._take_body)()

    def _take_head(self, end: int) -> None:
        if max(end, len(self._data) if end < 0 else 0) > HEAD_LIMIT:
            raise Refusal(431, f"the head of the request is over {HEAD_LIMIT // 1024} KiB")
        if end < 0:
            return
        head = bytes(self._data[: end + 4])
        del self._data[: end + 4]
        self._frame(head)
        patient = _EXPECT.sub(b"", head)
        self.asks_to_go_on = patient != head and (self._chunked or self._lacking > len(self._data))
        self._head = patient

    def _frame(self, head: bytes) -> None:
        """Find out how the body is framed; what could be read in two ways is refused."""
        lengths, codings = _LENGTH.findall(head), _CODING.findall(head)
        if len(lengths) + len(codings) > 1:
            raise Refusal(400, "the length of the body is given twice")
        if _SPACED.search(head):
            raise Refusal(400, "a header has a blank before its colon")
        if codings:
            if codings[0].lower() != b"chunked" or b" HTTP/1.1\r\n" not in head:
                raise Refusal(400, "the only transfer coding that is understood is chunked, in HTTP/1.1")
            self._chunked = True
        elif lengths:
            if not lengths[0].isdigit():
                raise Refusal(400, "Content-Length is not a number")
            if len(lengths[0]) > 18 or int(lengths[0]) > self._max_body:
                self._refuse_size()
            self._lacking = int(lengths[0])

    def _take_body(self) -> None:
        taken = self._data[: self._lacking]
        del self._data[: self._lacking]
        self._body += taken
        self._lacking -= len(taken)
        self.is_whole = self._lacking == 0

    def _take_chunks(self) -> None:
        while not self.is_whole:
            if self._in_chunk:
                if len(self._data) < self._lacking:
                    return
                if self._data[self._lacking - 2 : self._lacking] != b"\r\n":
                    raise Refusal(400, "a chunk of the body does not end where it says")
                self._body += self._data[: self._lacking - 2]
                del self._data[: self._lacking]
                self._in_chunk = False
            elif not self._take_chunk_line():
                return

    def _take_chunk_line(self) -> bool:
        """Take the line before a chunk; behind the last one, trailers are passed over."""
        end = self._data.find(b"\r\n")
        if end < 0 and len(self._data) <= CHUNK_LINE_LIMIT:
            return False
        match = _CHUNK.fullmatch(self._data[: max(end, 0)])
        if match is None:
            raise Refusal(400, "a chunk of the body has no proper length")
        size = int(match[1], 16)
        if size == 0:
            return self._take_trailers(end)
        if len(self._body) + size > self._max_body:
            self._refuse_size()
        del self._data[: end + 2]
        self._lacking, self._in_chunk = size + 2, True
        return True

    def _take_trailers(self, line_end: int) -> bool:
        end = self._data.find(b"\r\n\r\n", line_end)
        if end < 0:
            if len(self._data) > HEAD_LIMIT:
                raise Refusal(431, "the trailers of the request are too long")
            return False
        del self._data[: end + 4]
        self._head = _CODING.sub(b"\r\nContent-Length: %d" % len(self._body), self._head)
        self.is_whole = True
        return True

    def _refuse_size(self) -> None:
        raise Refusal(413, f"the body is over {self._max_body // MIB} MiB")
