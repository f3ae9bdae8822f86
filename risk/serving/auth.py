"""Access control of the API: loopback, token and origin.

This machine needs no token; whoever comes from elsewhere does. A web page may only send
something when it came from here itself: a browser carries the rights of whoever sits before it to any page.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from risk.serving.problems import Refusal

READING = ("GET", "HEAD", "OPTIONS")
# A proxy says with one of these for whom it asks; none of them can make anybody nearer.
FORWARDING = (
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Real-Ip",
    "Forwarded",
    "Via",
)


@dataclass(frozen=True)
class Caller:
    """Where a request comes from, and what it says about itself; `header` gives one by its name."""

    method: str
    address: str | None
    host: str
    header: Callable[[str], str | None]


def check(asker: Caller, token: str | None) -> None:
    """Refuse who may not ask.

    Parameters
    ----------
    token : str or None
        What a request from elsewhere must show; None answers this machine alone.

    Raises
    ------
    Refusal
        401 without the token where it is needed, or with a wrong one; 403 where none would help.
    """
    shown = asker.header("Authorization")
    if token is not None and shown is not None:
        if not is_token(shown, token):
            raise Refusal(401, "the token is wrong")
    elif not is_near(asker):
        if token is not None:
            raise Refusal(401, "requests from another machine need the token")
        raise Refusal(403, "without a token, only requests from this machine to its own name are accepted")
    _refuse_foreign_page(asker)


def is_near(asker: Caller) -> bool:
    """Say whether a request comes from this machine itself, and was meant for it.

    A name in `Host` that only points here is the trick of a page elsewhere (DNS rebinding).
    """
    if not is_loopback(asker.address) or not is_loopback(host_of(f"//{asker.host}")):
        return False
    return not any(asker.header(name) for name in FORWARDING)


def is_token(shown: str, token: str) -> bool:
    """Compare what `Authorization` shows with the token, in a time that says nothing about it.

    `Bearer TOKEN`, or Basic with the token as the password, which a browser can ask its user for.
    """
    scheme, _, value = shown.partition(" ")
    given = value.strip().encode("latin-1", "replace")
    if scheme.lower() == "basic":
        try:
            given = base64.b64decode(given, validate=True).partition(b":")[2]
        except binascii.Error:
            return False
    elif scheme.lower() != "bearer":
        return False
    return hmac.compare_digest(hashlib.sha256(given).digest(), hashlib.sha256(token.encode()).digest())


def _refuse_foreign_page(asker: Caller) -> None:
    """Let a browser send only what comes from a page of this very address."""
    origin = asker.header("Origin")
    if origin is None and (asker.method in READING or asker.header("Sec-Fetch-Site") is None):
        return
    same = origin is not None and _place_of(origin) == asker.host.lower()
    if not same and not (asker.method in READING and is_near(asker) and is_loopback(host_of(origin or ""))):
        raise Refusal(403, "requests from web pages of other sites are refused")


@lru_cache(maxsize=256)
def is_loopback(host: str | None) -> bool:
    """Say whether a host or an address is this machine itself, written as IPv4, as IPv6 or as both."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host or "")
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def host_of(url: str) -> str | None:
    """Give the name or the address in a URL, without a port."""
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _place_of(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None
