"""Who listens in the tests: a web server that takes webhooks, and a mail server, both real, on loopback."""

import email
import email.policy
import json
import socketserver
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class _Hook(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append((self.path, dict(self.headers), json.loads(body)))
        if self.server.before_answer:
            self.server.before_answer(self)
        self.send_response(self.server.status)
        if self.server.location:
            self.send_header("Location", self.server.location)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST

    def log_message(self, *_):
        pass


class Webhook:
    """A web server; `asked` holds (path, headers, body) of each request, `status` is what it answers."""

    def __init__(self, port=0):
        self.server = ThreadingHTTPServer(("127.0.0.1", port), _Hook)
        self.server.daemon_threads = True
        self.server.asked, self.server.status = [], 200
        self.server.before_answer = self.server.location = None
        self.port = self.server.server_port
        self.url = f"http://127.0.0.1:{self.port}/services/s3cret-T00"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    @property
    def texts(self):
        return [body["text"] for _, _, body in self.server.asked]

    def close(self):
        if self.thread.is_alive():
            self.server.shutdown()
            self.thread.join()
            self.server.server_close()


class _Mail(socketserver.StreamRequestHandler):
    """The few words of RFC 5321 that one message needs."""

    def handle(self):
        self.say(220, "loopback")
        recipients = []
        while line := self.rfile.readline():
            verb = line.split()[0].upper() if line.strip() else b""
            if verb == b"DATA":
                self.say(354, "go on")
                self.server.mails.append((recipients, self.read_mail()))
            elif verb == b"RCPT":
                recipients.append(line.decode().partition(":")[2].strip().strip("<>"))
            if verb == b"QUIT":
                return self.say(221, "bye")
            self.say(250, "fine")
        return None

    def read_mail(self):
        lines = []
        while (line := self.rfile.readline()) != b".\r\n":
            lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
        return email.message_from_bytes(b"".join(lines), policy=email.policy.default)

    def say(self, code, text):
        self.wfile.write(f"{code} {text}\r\n".encode())


@contextmanager
def mail_server():
    """Run a mail server; `mails` holds (recipients, message) of each mail."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Mail) as server:
        server.daemon_threads, server.mails = True, []
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
