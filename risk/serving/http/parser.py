"""Parsing of HTTP requests: what exceeds a limit or could be read in two ways is refused."""

from __future__ import annotations

import io
import re
import time
from collections import defaultdict
from typing import Any

from waitress.parser import HTTPRequestParser, ParsingError
from waitress.utilities import BadRequest

from risk.serving.problems import Refusal

MIB = 1024 * 1024
LONGEST_LINE, LONGEST_HEADER, MOST_HEADERS, LARGEST_HEAD = 4094, 8190, 100, 32 * 1024
LONGEST_CHUNK_LINE = 256
_CHUNK_LINE = re.compile(rb"([0-9a-fA-F]{1,8})[ \t]*(?:;[\t\x20-\x7e]*)?")
SINGLE_HEADERS = (b"host", b"content-length", b"transfer-encoding")


class RequestParser(HTTPRequestParser):  # type: ignore[misc]  # waitress has no types
    """Parses one request; `refusal` says why it is not answered by the application."""

    def __init__(self, max_body: int, adj: Any) -> None:
        super().__init__(adj)
        self.max_body = max_body
        self.began = time.monotonic()
        self.refusal: Refusal | None = None

    def refuse(self, refusal: Refusal) -> None:
        """Complete the request with an error answer."""
        self.refusal, self.error = refusal, BadRequest(refusal.detail)
        self.completed, self.expect_continue = True, False

    def received(self, data: bytes) -> int:
        """Take the next bytes; return how many belong to this request."""
        consumed: int = super().received(data)
        if self.chunked and self.refusal is None:
            self.refusal = self.body_rcv.refusal
        return consumed

    def parse_header(self, header_plus: bytes) -> None:
        """Parse the head, unless it breaks a limit or could be read in two ways."""
        try:
            check_head(header_plus, self.max_body)
        except Refusal as refusal:
            self.refusal = refusal
            raise ParsingError(refusal.detail) from refusal
        super().parse_header(header_plus)
        if self.chunked:
            self.body_rcv = ChunkedBody(self.max_body)
        elif self.body_rcv is None:
            self.expect_continue = False


class ChunkedBody:
    """Decodes a body in chunks; the parser asks for what waitress calls a stream consumer."""

    def __init__(self, max_body: int) -> None:
        self.completed = False
        self.refusal: Refusal | None = None
        self.error: BadRequest | None = None
        self._max_body = max_body
        self._data = bytearray()  # what is not decoded yet
        self._body = bytearray()
        self._position = self._n_chunk = 0  # in `_data`; bytes of the present chunk with its line end

    def __len__(self) -> int:
        return len(self._body)

    def getfile(self) -> io.BytesIO:
        return io.BytesIO(self._body)

    def getbuf(self) -> ChunkedBody:
        return self

    def close(self) -> None:
        self._body = bytearray()

    def received(self, data: bytes) -> int:
        """Take the next bytes; return how many belong to the body."""
        self._data += data
        try:
            while self._take_chunk() if self._n_chunk else self._take_line():
                pass
        except Refusal as refusal:
            self.refusal, self.error = refusal, BadRequest(refusal.detail)
        del self._data[: self._position]
        self._position = 0
        return len(data) - len(self._data) if self.completed else len(data)

    def _take_chunk(self) -> bool:
        end = self._position + self._n_chunk
        if len(self._data) < end:
            return False
        if self._data[end - 2 : end] != b"\r\n":
            raise Refusal(400, "a chunk of the body does not end where it says")
        self._body += self._data[self._position : end - 2]
        self._position, self._n_chunk = end, 0
        return True

    def _take_line(self) -> bool:
        """Take the line before a chunk; behind the last one, trailers are passed over."""
        end = self._data.find(b"\r\n", self._position)
        if end < 0 and len(self._data) - self._position <= LONGEST_CHUNK_LINE:
            return False
        match = _CHUNK_LINE.fullmatch(self._data, self._position, max(end, self._position))
        if match is None:
            raise Refusal(400, "a chunk of the body has no proper length")
        size = int(match[1], 16)
        if size == 0:
            return self._take_trailers(end)
        if len(self._body) + size > self._max_body:
            raise Refusal(413, f"the body is over {self._max_body // MIB} MiB")
        self._position, self._n_chunk = end + 2, size + 2
        return True

    def _take_trailers(self, line_end: int) -> bool:
        end = self._data.find(b"\r\n\r\n", line_end)
        if end < 0 and len(self._data) - line_end > LARGEST_HEAD:
            raise Refusal(431, "the trailers of the request are too long")
        if end >= 0:
            self._position, self.completed = end + 4, True
        return False


def check_head(head: bytes, max_body: int) -> None:
    """Check the first line and the headers of a request.

    Raises
    ------
    Refusal
        When a limit is exceeded, or the length of the body or the host could be read in two ways.
    """
    first_line, *lines = head.rstrip(b"\r\n").split(b"\r\n")
    if len(first_line) > LONGEST_LINE:
        raise Refusal(414, f"the first line of the request is over {LONGEST_LINE} bytes")
    if len(lines) > MOST_HEADERS or any(len(line) > LONGEST_HEADER for line in lines):
        raise Refusal(431, f"over {MOST_HEADERS} headers, or one of over {LONGEST_HEADER} bytes")
    if not first_line.endswith((b" HTTP/1.1", b" HTTP/1.0")):
        raise Refusal(400, "the request is neither HTTP/1.1 nor HTTP/1.0")
    headers = defaultdict(list)
    for line in lines:
        name, _, value = line.partition(b":")
        headers[name.lower()].append(value.strip(b" \t"))
        if name[:1] in (b" ", b"\t"):
            raise Refusal(400, "a header is continued on a second line")
    if any(len(headers[name]) > 1 for name in SINGLE_HEADERS):
        raise Refusal(400, "the host or the length of the body is given twice")
    expected = headers[b"expect"]
    if expected and [value.lower() for value in expected] != [b"100-continue"]:
        raise Refusal(417, "the only expectation that can be met is 100-continue")
    _check_framing(headers[b"content-length"], headers[b"transfer-encoding"], first_line, max_body)


def _check_framing(lengths: list[bytes], codings: list[bytes], first_line: bytes, max_body: int) -> None:
    if lengths and codings:
        raise Refusal(400, "the length of the body is given twice")
    if codings and (codings[0].lower() != b"chunked" or first_line.endswith(b"1.0")):
        raise Refusal(400, "the only supported transfer coding is chunked, in HTTP/1.1")
    if lengths and not lengths[0].isdigit():
        raise Refusal(400, "Content-Length is not a number")
    if lengths and (len(lengths[0]) > 18 or int(lengths[0]) > max_body):
        raise Refusal(413, f"the body is over {max_body // MIB} MiB")
