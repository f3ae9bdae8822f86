"""How is a request refused?

By RFC 9457: a status, what is wrong in words, and members that say where. Standard library only.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 60
_HEADERS = {
    HTTPStatus.UNAUTHORIZED: [
        ("WWW-Authenticate", 'Bearer realm="risk"'),
        ("WWW-Authenticate", 'Basic realm="risk", charset="UTF-8"'),
    ],
    HTTPStatus.SERVICE_UNAVAILABLE: [("Retry-After", str(RETRY_AFTER_S))],
}


class Refusal(Exception):
    """An answer that is no success: its status, what is wrong, and members that say where."""

    def __init__(self, status: int, detail: str, **members: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.members = members


def describe(status: int, detail: str, **members: Any) -> dict[str, Any]:
    """Describe a problem; `members` are its own."""
    title = HTTPStatus(status).phrase
    return {"type": "about:blank", "title": title, "status": status, "detail": detail, **members}


def headers_of(status: int) -> list[tuple[str, str]]:
    """Give the headers that belong to a status."""
    return _HEADERS.get(HTTPStatus(status), [])
