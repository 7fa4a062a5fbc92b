"""Case 8: nobody is led to a page that a stranger chose.

OPNsense CVE-2020-23015 (thread 4061): the portal goes wherever ``redirurl`` says.
"""

import re

import pytest

from captive.portal.probes import wanted_page
from tests.lab.page import Page
from tests.security.conftest import NewStranger
from tests.security.stranger import Stranger

EVIL = [
    "//evil.example/",
    "///evil.example/",
    "/\\evil.example/",
    "/%5cevil.example/",
    "/%2f%2fevil.example/",
    "/en//evil.example/",
    "/en@evil.example/",
    "/.evil.example",
    "http://evil.example/",
    "http://127.0.0.1@evil.example/",
    "http:///evil.example/",
    "@evil.example/",
    "evil.example:443",
    "javascript:alert(1)",
]
PARAMETERS = [
    "next",
    "url",
    "redirurl",
    "redirect",
    "continue",
    "return",
    "userurl",
    "originurl",
    "r",
    "target",
]
INJECTED = [
    "/en%0d%0aLocation:%20http://evil.example/",
    "/%0d%0aSet-Cookie:%20a=b",
    "/en?x=%0d%0aX-Evil:%201",
]


def assert_stays(location: str, host: str = "127.0.0.1") -> None:
    """*location* is a path of ours, or in full on *host*; nothing that a browser mends into something else."""
    assert re.fullmatch(rf"(http://{re.escape(host)}(:\d+)?)?(/(?!/)[\x21-\x7e]*)?", location), location
    assert "\\" not in location


@pytest.mark.parametrize("target", EVIL)
def test_a_path_leads_nowhere_else(stranger: Stranger, target: str) -> None:
    for port in (0, stranger.portal.console):
        reply = stranger.get(target, port=port)
        assert reply.status in (0, 200, 302, 303, 400, 404)
        assert_stays(reply.location)


@pytest.mark.parametrize("parameter", PARAMETERS)
def test_no_parameter_leads_away(stranger: Stranger, parameter: str) -> None:
    """The first page, *Skip* and the last answer, with all that other portals take such an address from."""
    token, console = stranger.token(), stranger.portal.console
    for evil in EVIL:
        for reply in (
            stranger.get(f"/?{parameter}={evil}"),
            stranger.get(f"/en/online?{parameter}={evil}"),
            stranger.post("/en/skip", {parameter: evil}),
            stranger.post("/en/survey/A0", {"r": token, "value": "done", parameter: evil}),
            stranger.get(f"/sign-in?{parameter}={evil}", port=console),
        ):
            assert_stays(reply.location)
            assert "evil.example" not in reply.location


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80@127.0.0.1", "127.0.0.1.evil.example", "xn--evl-qla.example"]
)
def test_a_host_of_somebody_else_is_answered_with_our_own_address(stranger: Stranger, host: str) -> None:
    for path in ("/", "//evil.example/", "/en", "/generate_204"):
        reply = stranger.get(path, host=host)
        assert reply.status == 302
        assert reply.location == f"http://127.0.0.1:{stranger.portal.port}/"


@pytest.mark.parametrize("path", INJECTED)
def test_no_line_breaks_out_of_a_header(stranger: Stranger, path: str) -> None:
    for host in ("127.0.0.1", "neverssl.example"):
        reply = stranger.get(path, host=host, headers="Accept: text/html\r\n")
        assert reply.headers.get("Set-Cookie") is None
        assert reply.headers.get("X-Evil") is None
        assert "evil.example" not in reply.location


PAGE = "text/html"
HOSTS_THAT_ARE_NONE = [
    "evil.example\r\nX: y",
    "user:password@evil.example",
    "evil.example/path?",
    "evil.example#",
    "evil.example\\",
    "evíl.example",
    "ｅｖｉｌ.example",
    "evil.example\u202e",
    "evil example",
    "evil.example:80:80",
    "evil.example:port",
    "javascript:alert(1)//",
    "[::1",
    "]",
    "[javascript]",
    "a" * 300,
    "",
]


@pytest.mark.parametrize("host", HOSTS_THAT_ARE_NONE)
def test_a_wanted_page_has_a_plain_host(host: str) -> None:
    assert wanted_page("GET", host, "/", PAGE) == ""


@pytest.mark.parametrize(
    "path", ["http://evil.example/", "@evil.example/", ":80@evil.example/", ".evil.example", "*", ""]
)
def test_a_wanted_page_has_a_path(path: str) -> None:
    """``GET @evil.example/`` must not become ``http://neverssl.example@evil.example/``."""
    assert wanted_page("GET", "neverssl.example", path, PAGE) == ""


def test_only_the_devices_own_wish_is_offered(new_stranger: NewStranger) -> None:
    """What one device asked for is offered to no other, and only as a link to tap."""
    one, other = new_stranger(), new_stranger()
    one.get("/news", host="one.example", headers="Accept: text/html\r\n")
    other.get("/news", host="other.example", headers="Accept: text/html\r\n")
    for device, host in ((one, "one.example"), (other, "other.example")):
        device.token()
        assert_stays(device.post("/en/skip").location)
        links = Page("http://127.0.0.1/", device.get("/en/online").body).links
        assert {link for link in links if link.startswith("http:")} == {f"http://{host}/news"}


def test_what_a_phone_asked_for_is_offered_back_unharmed(stranger: Stranger) -> None:
    """Case 8 and 9: or not at all."""
    for host, path in (
        ('evil.example"onclick=alert(1)', "/"),
        ("evil.example", "/'><script>alert(1)</script>"),
        ("evil.example", "/javascript:alert(1)"),
        ("user:password@evil.example", "/"),
    ):
        stranger.get(path, host=host, headers="Accept: text/html\r\n")
    stranger.token()
    assert stranger.post("/en/skip").status == 303
    body = stranger.get("/en/online").body
    assert "<script>" not in body
    assert "onclick" not in body
    assert "password" not in body
    for link in Page("http://127.0.0.1/en/online", body).links:
        assert re.match(r"(http://|/)", link), link
