"""A request is whole when it is, however it comes in pieces."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.serving import worker
from risk.serving.problems import Refusal
from risk.serving.worker import Arrival

MAX_BODY = 1000


def arrive(*pieces, max_body=MAX_BODY):
    arrival = Arrival(max_body)
    for piece in pieces:
        assert not arrival.is_whole
        arrival.feed(piece)
    return arrival


def head(*lines, first=b"POST /x HTTP/1.1"):
    return b"\r\n".join([first, b"Host: x", *lines, b"", b""])


def chunked(body, size):
    parts = [body[i : i + size] for i in range(0, len(body), size)]
    return b"".join(b"%X\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def whole(arrival):
    assert arrival.is_whole
    return b"".join(arrival.pieces())


def test_a_request_without_a_body_ends_with_its_head():
    arrival = arrive(b"GET / HTTP/1.1\r\n", b"Host: x\r", b"\n\r", b"\n")
    assert whole(arrival) == b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" and arrival.rest == b""


def test_what_comes_behind_is_the_next_request():
    arrival = arrive(head(b"Content-Length: 3") + b"abcGET ")
    assert whole(arrival).endswith(b"abc") and arrival.rest == b"GET "
    arrival = arrive(head(b"Transfer-Encoding: chunked") + chunked(b"abc", 2) + b"GET ")
    assert whole(arrival).endswith(b"\r\n\r\nabc") and arrival.rest == b"GET "


@given(body=st.binary(max_size=MAX_BODY), size=st.integers(1, 300), data=st.data())
@settings(max_examples=150, deadline=None)
def test_a_body_arrives_the_same_in_chunks_with_a_length_and_cut_anywhere(body, size, data):
    for raw in (
        head(b"content-LENGTH:  %d " % len(body)) + body,
        head(b"transfer-encoding: Chunked") + chunked(body, size),
    ):
        cuts = sorted(data.draw(st.sets(st.integers(1, len(raw) - 1), max_size=8)))
        pieces = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
        arrival = Arrival(MAX_BODY)
        for piece in pieces:
            arrival.feed(piece)
        found_head, _, found = whole(arrival).partition(b"\r\n\r\n")
        assert found == body
        assert re.findall(rb"(?i)content-length: *(\d+)", found_head) == [b"%d" % len(body)]
        assert b"ransfer" not in found_head
        assert len(arrival) == len(whole(arrival))


PARTS = st.sampled_from(
    [
        b"POST / HTTP/1.1\r\n",
        b"Content-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"\r\n",
        b"5\r\n",
        b"abcde",
        b"0\r\n",
        b"\n",
        b" ",
        b"ffffffff\r\n",
        b";x\r\n",
    ]
)


@given(raw=st.binary(max_size=200) | st.lists(PARTS, max_size=12).map(b"".join))
@settings(max_examples=300, deadline=None)
def test_any_bytes_end_in_a_request_a_refusal_or_a_wait(raw):
    arrival = Arrival(MAX_BODY)
    try:
        for byte in raw:
            if arrival.is_whole:
                break
            arrival.feed(bytes([byte]))
    except Refusal as refusal:
        assert refusal.status in (400, 413, 431)
    if arrival.is_whole:
        assert b"".join(arrival.pieces()).count(b"\r\n\r\n") >= 1


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (head(b"Content-Length: %d" % (MAX_BODY + 1)), 413),
        (head(b"Content-Length: " + b"9" * 5000), 413),
        (head(b"Content-Length: 1", b"Content-Length: 1"), 400),
        (head(b"Content-Length: 1", b"Transfer-Encoding: chunked"), 400),
        (head(b"Content-Length: 0x10"), 400),
        (head(b"Content-Length:"), 400),
        (head("Content-Length: ١".encode()), 400),
        (head(b"Content-Length : 1"), 400),
        (head(b"Transfer-Encoding: identity"), 400),
        (head(b"Transfer-Encoding: chunked, chunked"), 400),
        (head(b"Transfer-Encoding: chunked", first=b"POST /x HTTP/1.0"), 400),
        (head(b"Transfer-Encoding: chunked") + b"\r\n", 400),
        (head(b"Transfer-Encoding: chunked") + b"-1\r\n", 400),
        (head(b"Transfer-Encoding: chunked") + b"fffffffff\r\n", 400),
        (head(b"Transfer-Encoding: chunked") + b"1" * 300, 400),
        (head(b"Transfer-Encoding: chunked") + b"1\r\nab\r\n", 400),
        (head(b"Transfer-Encoding: chunked") + b"3E9\r\n", 413),
        (head(b"Transfer-Encoding: chunked") + b"0\r\n" + b"x: y\r\n" * worker.HEAD_LIMIT, 431),
        (b"x" * (worker.HEAD_LIMIT + 1), 431),
        (head(b"x: " + b"y" * worker.HEAD_LIMIT), 431),
    ],
    ids=lambda value: repr(value[:90]) if isinstance(value, bytes) else str(value),
)
def test_what_can_become_no_request_is_refused_at_once(raw, status):
    with pytest.raises(Refusal) as caught:
        arrive(raw)
    assert caught.value.status == status


@pytest.mark.parametrize(("n", "refused"), [(MAX_BODY, False), (MAX_BODY + 1, True)])
def test_the_limit_itself_is_allowed(n, refused):
    for raw in (
        head(b"Content-Length: %d" % n) + b"x" * n,
        head(b"Transfer-Encoding: chunked") + chunked(b"x" * n, 300),
    ):
        if refused:
            with pytest.raises(Refusal):
                arrive(raw)
        else:
            assert whole(arrive(raw)).endswith(b"x" * n)


def test_a_client_that_waits_for_a_word_is_known_and_nobody_else_has_to_say_it():
    arrival = arrive(head(b"Expect: 100-Continue", b"Content-Length: 3"))
    assert arrival.asks_to_go_on
    arrival.feed(b"abc")
    assert b"xpect" not in whole(arrival)
    assert not arrive(head(b"Expect: 100-continue", b"Content-Length: 3") + b"abc").asks_to_go_on
    assert not arrive(head(b"Expect: 100-continue")).asks_to_go_on
