"""Case 4: whatever is long is refused with a sentence or by hanging up; nothing dies, nothing is lost.

CVE-2023-41101 (openNDS), nodogsplash 5.0.2 (crash by a long query), wifidog (long address), coova (a
setting longer than the 255 octets of a DHCP option).
"""

import gzip
import socket
import time

import pytest

from captive.certificate import API_PATH
from crm.errors import SetupError
from crm.settings_file import parse_settings
from tests.lab.loopback import Portal
from tests.security.stranger import FORM, Stranger, assert_refused, assert_told, stored

LONG = "x" * 10_000
NAMES = ("Cookie", "User-Agent", "Referer", "X-Forwarded-For", "Authorization", "If-None-Match", "X" * 9_000)


@pytest.mark.parametrize("place", ["portal", "console"])
def test_a_long_address(stranger: Stranger, place: str) -> None:
    port = stranger.portal.console if place == "console" else 0
    for target in (
        f"/en/{LONG}",
        f"/en?{LONG}",
        f"/{'%41' * 4_000}",
        f"/en/survey/A0?r={LONG}",
        "/" * 10_000,
    ):
        assert_refused(stranger.get(target, port=port))
    assert_refused(stranger.get("/", host=LONG, port=port))


@pytest.mark.parametrize("name", NAMES, ids=lambda name: name[:20])
def test_a_long_header(stranger: Stranger, name: str) -> None:
    assert_refused(stranger.get("/en", headers=f"{name}: {LONG}\r\n"))


def test_too_many_headers(stranger: Stranger) -> None:
    assert_refused(stranger.get("/en", headers="".join(f"X-{n}: {n}\r\n" for n in range(5000))))


def test_a_long_list_of_languages_is_read_as_far_as_it_goes(stranger: Stranger) -> None:
    assert stranger.get("/en", headers=f"Accept-Language: {'vi;q=0.1,' * 500}en\r\n").status == 200


def test_long_fields(stranger: Stranger) -> None:
    token = stranger.token()
    assert_told(stranger.post("/en/survey/A0", {"r": token, "value": LONG}), 400)
    assert_told(stranger.post("/en/survey/A0", {"r": LONG, "value": "done"}), 400)
    assert stranger.post("/en/survey/A0", {"r": token, "value": "done", LONG: "1"}).status in (303, 400, 413)
    assert_told(stranger.post("/en/survey/A0", {"r": token, "value": "x" * 200_000}), 413)
    assert_told(stranger.post("/en/survey/A0", b"&".join(b"f%d=1" % n for n in range(500))), 400)


def pour(sock: socket.socket, piece: bytes, seconds: float) -> None:
    """Send *piece* again and again."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        sock.sendall(piece)
        time.sleep(0.0002)


@pytest.mark.parametrize("framing", ["Content-Length: 1000000000", "Transfer-Encoding: chunked"])
def test_a_body_without_end_is_cut(stranger: Stranger, portal: Portal, framing: str) -> None:
    """Its length is told as a gigabyte, or not at all: the portal hangs up, and keeps none of it."""
    before, piece = portal.peak_memory(), b"1000\r\n" + b"x" * 4096 + b"\r\n"
    head = f"POST /en/survey/A0 HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {FORM}\r\n{framing}\r\n\r\n"
    with stranger.connect() as sock:
        sock.sendall(head.encode())
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            pour(sock, piece, seconds=60)
    assert portal.peak_memory() - before < 5_000


def test_a_form_that_unpacks_to_a_gigabyte_is_refused(stranger: Stranger) -> None:
    """A few octets that gzip makes a hundred thousand of."""
    body = gzip.compress(b"value=" + b"x" * 50_000_000)
    headers = f"Content-Type: {FORM}\r\nContent-Encoding: gzip\r\n"
    assert_told(stranger.ask("POST", "/en/survey/A0", headers=headers, body=body), 400, 413)


def test_skip_asks_nothing_of_its_form(stranger: Stranger) -> None:
    assert stranger.post("/en/skip", b"&" * 17_000).status == 303


def test_a_comment_that_is_too_long_comes_back_to_be_shortened(stranger: Stranger, portal: Portal) -> None:
    token = stranger.token()
    for question, value in (("A0", "done"), ("A1", "5"), ("A2", "nothing")):
        assert stranger.post(f"/en/survey/{question}", {"r": token, "value": value}).status == 303
    typed = "Tôi đã chờ rất lâu. " * 100 + "<script>alert(1)</script>"
    reply = stranger.post("/en/survey/A4", {"r": token, "value": typed})
    assert_told(reply, 400)
    assert "Tôi đã chờ rất lâu. Tôi đã chờ rất lâu." in reply.body
    assert "<script>" not in reply.body
    assert stranger.post("/en/survey/A4", {"r": token, "value": "Tôi đã chờ."}).status == 303
    comments = [text for (text,) in stored(portal, "SELECT json_extract(answers, '$.A4') FROM response")]
    assert "Tôi đã chờ." in comments


@pytest.mark.parametrize("length", [100, 228, 229, 253])
def test_the_apis_address_fits_into_a_dhcp_option(length: int) -> None:
    """Option 114 holds 255 octets (RFC 2132): a name too long for it is told at start, not cut."""
    name = ("a" * 49 + ".") * 5
    name = name[: length - 8].rstrip(".").ljust(length - 8, "b") + ".example"
    text = f'[portal]\nname = "{name}"\ncertificate = "/c"\nkey = "/k"\n'
    if len(f"https://{name}{API_PATH}") <= 255:
        assert parse_settings(text).portal.name == name
    else:
        with pytest.raises(SetupError, match=r"portal\.name"):
            parse_settings(text)
