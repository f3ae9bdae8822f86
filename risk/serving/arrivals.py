"""Has a request arrived whole, and is it one that may be looked at?

The bytes of one HTTP/1 request, gathered while nobody waits for them. A body in chunks leaves here as one
with a length: whoever parses the request finds nothing left to go wrong in its frame. Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from risk.serving.problems import Refusal

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
