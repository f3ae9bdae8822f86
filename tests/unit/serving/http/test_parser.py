"""A request is whole when it is, however it comes in pieces, and only if it can be read in one way."""

from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.serving.http.parser import LARGEST_HEAD, RequestParser

MAX_BODY = 1000
ADJUSTMENTS = SimpleNamespace(
    max_request_header_size=LARGEST_HEAD, max_request_body_size=10**6, inbuf_overflow=10**6, url_scheme="http"
)


def parse(*pieces):
    """Feed pieces; give the parser and what lies behind the request."""
    parser, rest = RequestParser(MAX_BODY, ADJUSTMENTS), b""
    for piece in pieces:
        assert not parser.completed
        rest = feed_whole(parser, piece)
    return parser, rest


def head(*lines, first=b"POST /x HTTP/1.1"):
    return b"\r\n".join([first, b"Host: x", *lines, b"", b""])


def chunked(body, size):
    parts = [body[i : i + size] for i in range(0, len(body), size)]
    return b"".join(b"%X\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def feed_whole(parser, raw):
    """Feed bytes as a connection does; give what is behind the request."""
    while raw and not parser.completed:
        raw = raw[parser.received(raw) :]
    return raw


def body_of(parser):
    assert parser.completed and parser.error is None
    return parser.get_body_stream().read()


def test_a_request_without_a_body_ends_with_its_head():
    parser, rest = parse(b"GET / HTTP/1.1\r\n", b"Host: x\r", b"\n\r", b"\n")
    assert parser.path == "/" and body_of(parser) == b"" and rest == b""


@pytest.mark.parametrize(
    "raw",
    [head(b"Content-Length: 3") + b"abc", head(b"Transfer-Encoding: chunked") + chunked(b"abc", 2)],
    ids=["length", "chunks"],
)
def test_what_comes_behind_is_the_next_request(raw):
    parser = RequestParser(MAX_BODY, ADJUSTMENTS)
    assert feed_whole(parser, raw + b"GET ") == b"GET "
    assert body_of(parser) == b"abc"


@given(body=st.binary(max_size=MAX_BODY), size=st.integers(1, 300), data=st.data())
@settings(max_examples=150, deadline=None)
def test_a_body_arrives_the_same_in_chunks_with_a_length_and_cut_anywhere(body, size, data):
    for raw in (
        head(b"content-LENGTH:  %d " % len(body)) + body,
        head(b"transfer-encoding: Chunked") + chunked(body, size),
    ):
        cuts = sorted(data.draw(st.sets(st.integers(1, len(raw) - 1), max_size=8)))
        parser = RequestParser(MAX_BODY, ADJUSTMENTS)
        for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True):
            assert feed_whole(parser, raw[a:b]) == b""
        assert body_of(parser) == body
        assert parser.headers["CONTENT_LENGTH"] == str(len(body))
        assert "TRANSFER_ENCODING" not in parser.headers


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
    parser = RequestParser(MAX_BODY, ADJUSTMENTS)
    for byte in raw:
        if parser.completed:
            break
        parser.received(bytes([byte]))
    if parser.error is not None:
        assert (parser.refusal.status if parser.refusal else parser.error.code) in (400, 413, 431)


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
        (head(b"Transfer-Encoding: chunked") + b"2\n\r\nab\r\n", 400),
        (head(b"Transfer-Encoding: chunked") + b"-1\r\n", 400),
        (head(b"Transfer-Encoding: chunked") + b"fffffffff\r\n", 400),
        (head(b"Transfer-Encoding: chunked") + b"1" * 300, 400),
        (head(b"Transfer-Encoding: chunked") + b"1\r\nab\r\n", 400),
        (head(b"Transfer-Encoding: chunked") + b"3E9\r\n", 413),
        (head(b"Transfer-Encoding: chunked") + b"0\r\n" + b"x: y\r\n" * LARGEST_HEAD, 431),
        (b"x" * (LARGEST_HEAD + 1), 431),
        (head(b"x: " + b"y" * LARGEST_HEAD), 431),
        (head(b"Expect: 200-ok"), 417),
        (head(first=b"GET /" + b"x" * 5000 + b" HTTP/1.1"), 414),
    ],
    ids=lambda value: repr(value[:90]) if isinstance(value, bytes) else str(value),
)
def test_what_can_become_no_request_is_refused_at_once(raw, status):
    parser = RequestParser(MAX_BODY, ADJUSTMENTS)
    feed_whole(parser, raw)
    assert parser.completed and parser.error is not None
    assert (parser.refusal.status if parser.refusal else parser.error.code) == status


@pytest.mark.parametrize(("n", "refused"), [(MAX_BODY, False), (MAX_BODY + 1, True)])
def test_the_limit_itself_is_allowed(n, refused):
    for raw in (
        head(b"Content-Length: %d" % n) + b"x" * n,
        head(b"Transfer-Encoding: chunked") + chunked(b"x" * n, 300),
    ):
        parser = RequestParser(MAX_BODY, ADJUSTMENTS)
        feed_whole(parser, raw)
        assert (parser.refusal is not None and parser.refusal.status == 413) == refused
        if not refused:
            assert body_of(parser) == b"x" * n


def test_only_a_client_that_has_a_body_to_send_waits_for_a_word():
    parser, _ = parse(head(b"Expect: 100-Continue", b"Content-Length: 3"))
    assert parser.expect_continue and not parser.completed
    parser, _ = parse(head(b"Expect: 100-continue"))
    assert not parser.expect_continue and parser.completed
