"""What clients together may hold: bytes that arrive, and answers that nobody takes."""

import contextlib
import select
import socket
import threading

import pytest

from risk.serving.http import server as http_server
from risk.serving.http.channel import ServerLimits
from risk.serving.http.server import Server

MIB = 1024 * 1024
ANSWER = b"x" * (8 * MIB)


def answer(environ, start_response):
    body = ANSWER if environ["PATH_INFO"] == "/large" else b"ok"
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


@pytest.fixture
def port():
    """Serve in a thread, with 8 MiB for what arrives and 32 for what is not taken."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        limits = ServerLimits(max_body=MIB * 2, timeout_s=30, n_threads=2, max_connections=50)
        server = Server(answer, [listener], limits, lambda refusal: ([], refusal.detail.encode()))
        stop = threading.Event()

        def serve():
            while not stop.is_set():
                server.run_once(0.05)
            server.drain(1.0)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        stop.set()
        thread.join()


def connect(stack, port):
    connection = stack.enter_context(socket.socket())
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 128 * 1024)
    connection.settimeout(20)
    connection.connect(("127.0.0.1", port))
    return connection


def read_all(connection):
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while data := connection.recv(65536):
            found += data
    return found


def test_when_too_much_arrives_at_once_the_largest_is_refused(port):
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2097152\r\n\r\n"
    with contextlib.ExitStack() as stack:
        crowd = [connect(stack, port) for _ in range(6)]
        for one in crowd:
            one.sendall(head + b"x" * (MIB * 2 - 10))
        refused = select.select(crowd, [], [], 20)[0]
        assert refused, "else they only wait for each other"
        small = connect(stack, port)
        small.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b"200 OK" in read_all(small)
        for one in crowd:
            with contextlib.suppress(OSError):
                one.sendall(b"x" * 10)
                one.shutdown(socket.SHUT_WR)
        statuses = sorted(read_all(one)[9:12] for one in crowd)
    assert statuses.count(b"503") >= 1 and statuses.count(b"200") >= 3


def test_when_too_many_answers_are_not_taken_the_slowest_readers_are_closed(port):
    with contextlib.ExitStack() as stack:
        crowd = [connect(stack, port) for _ in range(8)]
        for one in crowd:
            one.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        threading.Event().wait(2.5)
        lengths = [len(read_all(one)) for one in crowd]
    whole = [n for n in lengths if n > len(ANSWER)]
    assert 0 < len(whole) < len(crowd)


def test_a_request_too_many_is_refused_and_no_thread_waits_for_it():
    class Request:
        body_bytes_received = 0
        error = None

        def refuse(self, refusal):
            self.error = refusal

    class Connection:
        def __init__(self):
            self.requests = [Request()]

        def cancel(self):
            pass

        def service(self):
            pass

    queues = http_server.TaskQueues(0)
    for _ in range(http_server.MOST_WAITING):
        queues.add_task(Connection())
    late = Connection()
    queues.add_task(late)
    assert late.requests[0].error.status == 503 and queues.are_short
    queues.shutdown()
