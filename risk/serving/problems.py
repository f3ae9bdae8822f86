"""Error answers by RFC 9457: a status, a detail in words, and members that locate the problem.

Standard library only.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from pathlib import Path
from typing import Any

from risk.serving.settings import ServingSettings

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 60
SAFE_HEADERS = (
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
)
_HEADERS = {
    HTTPStatus.UNAUTHORIZED: [
        ("WWW-Authenticate", 'Bearer realm="risk"'),
        ("WWW-Authenticate", 'Basic realm="risk", charset="UTF-8"'),
    ],
    HTTPStatus.SERVICE_UNAVAILABLE: [("Retry-After", str(RETRY_AFTER_S))],
}


class Refusal(Exception):
    """A refused request: the status of its answer, what is wrong, and members that locate it."""

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
    """Return the headers that belong to a status."""
    return _HEADERS.get(HTTPStatus(status), [])


_ABSOLUTE = re.compile(r"(?<![\w./])/(?:[^\s/:'\"]+/)+")


def hide_paths(text: str, settings: ServingSettings, path: str = "") -> str:
    """Shorten the configured folders to their names, and remove every other folder.

    `path` is one that the text names; outside the workspace only its last part is shown.
    """
    if path and not path.startswith(tuple(map(str, [settings.root, *settings.folders]))):
        text = text.replace(path, Path(path).name)
    for folder in sorted(map(str, settings.folders), key=len, reverse=True):
        text = text.replace(folder, Path(folder).name)
    return _ABSOLUTE.sub("", text.replace(f"{settings.root}/", ""))
