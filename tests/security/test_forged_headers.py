"""Case 12: a device is known by its connection; no header makes it another one, or a guest.

OPNsense believes ``X-Forwarded-For`` from 127.* only; anirut's limiter counted by it (460efd9).
"""

import asyncio

import pytest

from crm.web import MAX_FORM
from tests.lab.loopback import Portal
from tests.security.conftest import NewStranger
from tests.security.stranger import FORM, Stranger

FORGED = [
    "X-Forwarded-For: {0}",
    "X-Forwarded-For: {0}, 127.0.0.1",
    "Forwarded: for={0}",
    "Forwarded: for={0};host=127.0.0.1;proto=https",
    "X-Real-IP: {0}",
    "X-Client-IP: {0}",
    "Client-IP: {0}",
    "True-Client-IP: {0}",
    "CF-Connecting-IP: {0}",
    "X-Cluster-Client-IP: {0}",
    "X-Remote-Addr: {0}",
    "X-MAC: 02:00:00:00:00:01",
    "Via: 1.1 {0}",
]


@pytest.mark.parametrize("line", FORGED)
def test_no_header_makes_a_device_another_one(new_stranger: NewStranger, line: str) -> None:
    """Not to read another's page, not to answer as another, not to go online for another."""
    victim, thief = new_stranger(), new_stranger()
    header = line.format(victim.address) + "\r\n"
    theirs, own = victim.token(), thief.token()
    page = thief.get("/en", headers=header).body
    assert own in page
    assert theirs not in page
    kind = f"Content-Type: {FORM}\r\n{header}"
    body = f"r={theirs}&value=done".encode()
    assert thief.ask("POST", "/en/survey/A0", headers=kind, body=body).status in (400, 409)
    assert thief.ask("POST", "/en/skip", headers=kind, body=b"").status == 303
    assert victim.get("/en").status == 200
    assert thief.get("/en").location == "/en/online"


def test_no_header_makes_the_portal_somebody_else(stranger: Stranger) -> None:
    """Neither its own name nor whether it was asked over TLS is taken from a header."""
    lines = "X-Forwarded-Host: evil.example\r\nX-Forwarded-Proto: https\r\nForwarded: host=evil.example;proto=https\r\n"
    assert stranger.get("/captive-portal/api", headers=lines).status == 404
    for path, host in (("/", "neverssl.example"), ("/en/online", "127.0.0.1")):
        assert "evil.example" not in stranger.get(path, host=host, headers=lines).location


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_no_header_changes_the_method(stranger: Stranger, method: str) -> None:
    for name in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
        assert stranger.ask(method, "/en/skip?_method=POST", headers=f"{name}: POST\r\n").status in (
            0,
            404,
            405,
            400,
        )
    assert stranger.get("/en").status == 200


def test_repeated_headers(stranger: Stranger) -> None:
    """Two lengths, or a length and chunks, are two requests in one: refused."""
    assert stranger.get("/en", headers="Host: evil.example\r\n").status in (200, 302, 400)
    for lines in (
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    ):
        head = f"POST /en/survey/A0 HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {FORM}\r\n{lines}\r\n"
        reply = stranger.raw(head.encode() + b"r=abc", end=True)
        assert reply.status == 0 or 400 <= reply.status < 500
    twice = f"Content-Type: {FORM}\r\nContent-Type: application/json\r\n"
    assert stranger.ask("POST", "/en/survey/A0", headers=twice, body=b"r=x&value=done").status in (400, 415)


async def test_guessing_passwords_is_slowed_down_whatever_address_is_claimed(portal: Portal) -> None:
    """anirut's mistake: with another header each time, the limiter never counts to five."""
    assert MAX_FORM
    guesser = Stranger(portal, "127.12.0.1")
    statuses = []
    for number in range(8):
        page = await asyncio.to_thread(guesser.get, "/sign-in", port=portal.console)
        cookie = page.headers["Set-Cookie"].partition(";")[0]
        key = page.body.partition('name="key" value="')[2].partition('"')[0]
        headers = f"Content-Type: {FORM}\r\nCookie: {cookie}\r\nX-Forwarded-For: 10.0.0.{number}\r\n"
        body = f"name=mai&password=guess{number}&key={key}".encode()
        reply = await asyncio.to_thread(
            guesser.ask, "POST", "/sign-in", headers=headers, body=body, port=portal.console
        )
        statuses.append(reply.status)
    assert statuses[:5] == [403] * 5
    assert set(statuses[5:]) == {429}
