"""Who sends an answer: the thread that wrote it, and the loop only what the socket did not take."""

import socket
from types import SimpleNamespace

import pytest
from waitress.adjustments import Adjustments

from risk.serving.http.channel import Channel, ServerLimits

LIMITS = ServerLimits(max_body=1024, timeout_s=30, n_threads=1, max_connections=5)


class WatchedChannel(Channel):
    """Notes at each send whether the loop would want to send as well."""

    def send(self, data, do_close=True):
        self.seen = [*getattr(self, "seen", []), self.writable()]
        return super().send(data, do_close)


@pytest.fixture
def channel():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        server = SimpleNamespace(active_channels={}, n_pulled=0)
        server.pull_trigger = lambda: setattr(server, "n_pulled", server.n_pulled + 1)
        adjustments = Adjustments(outbuf_high_watermark=1 << 20, outbuf_overflow=1 << 40)
        adjustments.socket_options = []  # a pair of sockets has no options of TCP
        yield WatchedChannel(LIMITS, None, server, ours, None, adjustments, map={})


def test_the_loop_rests_while_a_thread_sends(channel):
    channel.write_soon(b"x" * 100)
    assert channel.seen == [False] and not channel.writable()
    assert channel.server.n_pulled == 0, "all was sent: nothing is left for the loop"


def test_the_loop_sends_what_the_socket_did_not_take(channel):
    channel.write_soon(b"x" * (1 << 20))
    assert not any(channel.seen)
    assert channel.total_outbufs_len and channel.writable()
    assert channel.server.n_pulled >= 1, "else the loop would learn of it a second later"


def test_a_thread_that_waits_for_room_is_helped_by_the_loop(channel):
    channel.write_soon(b"x" * (2 << 20))
    assert channel.seen[0], "above the watermark a thread waits until the loop has sent"
