"""Who is answered: this machine, the token, and no page from elsewhere."""

import base64

import pytest

from risk.serving import auth
from risk.serving.auth import Caller
from risk.serving.problems import Refusal

TOKEN = "päss:word"  # noqa: S105
HERE, FAR = "127.0.0.1", "203.0.113.9"


def ask(address=HERE, host="127.0.0.1:8000", method="GET", token=None, **headers):
    """Give the status of the refusal, 200 when there is none."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        auth.check(Caller(method, address, host, given.get), token)
    except Refusal as refusal:
        return refusal.status
    return 200


def basic(password, user="anyone"):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def wire(text):
    """Write text as a header carries its bytes."""
    return text.encode().decode("latin-1")


@pytest.mark.parametrize("token", [None, TOKEN], ids=["no token set", "token set"])
def test_this_machine_needs_no_token(token):
    assert ask(token=token) == 200
    assert ask("::1", "[::1]:8000", token=token) == 200
    assert ask("::ffff:127.0.0.1", token=token) == 200
    assert ask(method="POST", token=token) == 200


@pytest.mark.parametrize(
    "shown", [wire(f"Bearer {TOKEN}"), wire(f"bearer  {TOKEN} "), basic(TOKEN), basic(TOKEN, "")]
)
def test_the_token_opens_the_way_from_elsewhere(shown):
    assert ask(FAR, "risk.example", token=TOKEN, Authorization=shown) == 200
    assert ask(FAR, "risk.example", "POST", token=TOKEN, Authorization=shown) == 200


@pytest.mark.parametrize(
    "shown",
    [
        "",
        "Bearer",
        "Bearer ",
        wire(f"Bearer {TOKEN}x"),
        wire(f"Bearer {TOKEN[:-1]}"),
        wire(f"Token {TOKEN}"),
        wire(TOKEN),
        basic(TOKEN[:-1]),
        "Basic !!!",
        "Basic " + base64.b64encode(TOKEN.encode()).decode(),
        "Basic",
        "Bearer \u20ac",
    ],
)
@pytest.mark.parametrize("address", [HERE, FAR])
def test_a_wrong_token_is_401_wherever_it_comes_from(address, shown):
    assert ask(address, token=TOKEN, Authorization=shown) == 401


def test_from_elsewhere_without_the_token_is_401_and_403_where_there_is_none():
    assert ask(FAR, token=TOKEN) == 401
    assert ask(FAR) == 403
    assert ask(FAR, Authorization="Bearer anything") == 403


@pytest.mark.parametrize("name", auth.FORWARDING)
def test_a_proxy_on_this_machine_asks_for_somebody_else(name):
    header = {name.replace("-", "_"): "127.0.0.1"}
    assert ask(token=TOKEN, **header) == 401
    assert ask(**header) == 403
    assert ask(token=TOKEN, Authorization=basic(TOKEN), **header) == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.nip.io", "", "[::1", "10.0.0.1", "localhost@evil"]
)
def test_a_name_that_only_points_here_needs_the_token(host):
    assert ask(host=host) == 403
    assert ask(host=host, token=TOKEN) == 401
    assert ask(host=host, token=TOKEN, Authorization=basic(TOKEN)) == 200


@pytest.mark.parametrize("address", [None, "", "unix:", "::ffff:203.0.113.9", "127.0.0.1.evil"])
def test_an_address_that_is_not_clearly_ours_is_elsewhere(address):
    assert ask(address) == 403


@pytest.mark.parametrize(
    ("origin", "host", "status"),
    [
        ("http://127.0.0.1:8000", "127.0.0.1:8000", 200),
        ("http://LOCALHOST:8000", "localhost:8000", 200),
        ("https://risk.example", "risk.example", 200),
        ("http://localhost:3000", "localhost:8000", 403),
        ("http://127.0.0.1", "127.0.0.1:8000", 403),
        ("http://localhost:8000", "127.0.0.1:8000", 403),
        ("https://evil.example", "127.0.0.1:8000", 403),
        ("https://risk.example.evil.example", "risk.example", 403),
        ("https://evil.example/@risk.example", "risk.example", 403),
        ("http://[", "risk.example", 403),
        ("null", "127.0.0.1:8000", 403),
        ("", "127.0.0.1:8000", 403),
    ],
)
def test_a_page_may_post_to_its_own_origin_alone_even_with_the_token(origin, host, status):
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert ask(HERE, host, method, TOKEN, Origin=origin, Authorization=basic(TOKEN)) == status


def test_a_browser_that_hides_its_origin_may_not_post():
    assert ask(method="POST", Sec_Fetch_Site="same-origin") == 403
    assert ask(method="POST", Sec_Fetch_Site="cross-site") == 403
    assert ask(method="GET", Sec_Fetch_Site="none") == 200


def test_a_page_of_this_machine_may_read_and_one_from_elsewhere_not():
    assert ask(Origin="http://localhost:3000") == 200
    assert ask(Origin="https://evil.example") == 403
    assert (
        ask(FAR, "risk.example", token=TOKEN, Authorization=basic(TOKEN), Origin="http://localhost:1") == 403
    )
