#!/usr/bin/env bash
# waitress 3.0.2 (its design page: one thread handles the sockets, others run the application).
# The guess: while a worker thread is busy the main loop sleeps in poll(); a request costs it two or three
#   turns: bytes came, the thread is done, the answer goes out.
# What happens: the worker sends by itself, under the lock of the output buffer. As long as it does, the
#   connection counts as writable, so poll() returns at once, the loop cannot have the lock, and polls again,
#   holding the interpreter lock that the worker needs back: many turns a request. A turn asks every open
#   connection in Python, so what it costs grows with the number of clients.
# What to do: a channel class whose writable() is false while its thread sends (second line of the output).
set -euo pipefail; work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check waitress==3.0.2
cat > "$work/serve.py" <<'PY'
import logging, os, socket, sys, threading, waitress
from waitress import wasyncore
from waitress.channel import HTTPChannel
logging.getLogger("waitress.queue").setLevel(logging.ERROR)
turns, poll2 = [], wasyncore.poll2
wasyncore.poll2 = lambda *args: (turns.append(1), poll2(*args))
class Calm(HTTPChannel):
    sends = False
    def writable(self):
        return not self.sends and super().writable()
    def write_soon(self, data):
        self.sends = True
        n_taken = super().write_soon(data)
        self.sends = False
        return n_taken
def app(environ, start_response):
    sum(i * i for i in range(15_000))  # about a millisecond of work in Python
    start_response("200 OK", [("Content-Length", "9")])
    return [b"%9d" % len(turns)]
listener = socket.create_server(("127.0.0.1", 0))
server = waitress.create_server(app, sockets=[listener], threads=4, asyncore_use_poll=True)
if sys.argv[1] == "calm":
    server.channel_class = Calm
print(listener.getsockname()[1], flush=True)
threading.Timer(30, os._exit, [0]).start()
server.run()
PY
cat > "$work/ask.py" <<'PY'
import http.client, subprocess, sys, threading
def measure(kind, n_clients=8, n_requests=500):
    server = subprocess.Popen([sys.executable, sys.argv[1], kind], stdout=subprocess.PIPE, text=True)
    port, turns = int(server.stdout.readline()), []
    def ask():
        link = http.client.HTTPConnection("127.0.0.1", port)
        for _ in range(n_requests):
            link.request("GET", "/")
            turns.append(int(link.getresponse().read()))
    crowd = [threading.Thread(target=ask) for _ in range(n_clients)]
    _ = [one.start() for one in crowd] + [one.join() for one in crowd]
    server.kill()
    print(f"{kind}: {(each := (max(turns) - min(turns)) / len(turns)):.1f} turns of the loop a request")
    return each
sys.exit(not measure("as it is") > 2 * measure("calm"))
PY
"$work/venv/bin/python" "$work/ask.py" "$work/serve.py"
