"""Who may ask?

This machine only: not the network, a proxy for it, or a web page in a browser here.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from risk.problems import Refusal


def is_loopback(host: str | None) -> bool:
    """Say whether a host or an address is this machine itself."""
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def host_of(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def refuse_strangers(address: str | None, host: str, headers: Mapping[str, str]) -> None:
    """Answer this machine only: not the network, a proxy for it, or a web page in a browser here."""
    origin = headers.get("Origin")
    if not is_loopback(address) or {"X-Forwarded-For", "Forwarded"} & {*headers.keys()}:
        raise Refusal(403, "only requests from this machine are answered in this version")
    if not is_loopback(host_of(f"//{host}")):
        raise Refusal(403, "the Host header must be localhost, 127.0.0.1 or [::1]")
    if origin is not None and not is_loopback(host_of(origin)):
        raise Refusal(403, "requests of web pages from elsewhere are not answered")
