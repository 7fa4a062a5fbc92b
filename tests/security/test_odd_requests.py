"""Whatever else a stranger sends: a clear answer, never a 500, and nothing of anybody's is lost."""

import pytest

from tests.lab.journey import BROWSER
from tests.lab.loopback import Portal
from tests.lab.page import Page
from tests.security.stranger import (
    FORM,
    SHELL,
    Stranger,
    assert_refused,
    assert_silent,
    assert_told,
    stored,
)


def test_questions_that_nobody_asks(stranger: Stranger) -> None:
    token = stranger.token()
    for key in ("A9", "a0", "A0x", "_", "0", "A" * 32):
        assert_told(stranger.ask("GET", f"/en/survey/{key}?r={token}"), 404)
        assert_told(stranger.post(f"/en/survey/{key}", {"r": token, "value": "done"}), 404)
    for key in ("A" * 33, "A-0", "A0/A1", "", "A0%00", "A0%2fA1", "%F0%9F%98%80"):
        assert_told(stranger.post(f"/en/survey/{key}", {"r": token, "value": "done"}), 404)


def test_options_that_are_not_offered(stranger: Stranger) -> None:
    token = stranger.token()
    for value in ("", "Done", "done ", "5", "xyz", "d\x00ne", "done\r\n", "x" * 33, *SHELL):
        assert_told(stranger.post("/en/survey/A0", {"r": token, "value": value}), 400)
    assert_told(stranger.post("/en/survey/A0", {"r": token}), 400)


def test_languages_that_are_not_spoken(stranger: Stranger) -> None:
    for language in ("km", "fr", "xx", "vie", "VI", "v", "toolong"):
        assert_told(stranger.ask("GET", f"/{language}"), 404)
        assert_told(stranger.post(f"/{language}/skip", {"r": "x"}), 404)


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"])
def test_wrong_methods(stranger: Stranger, method: str) -> None:
    right = {
        "/": {"GET", "HEAD"},
        "/en": {"GET", "HEAD"},
        "/en/rules": {"GET", "HEAD"},
        "/en/online": {"GET", "HEAD"},
        "/en/skip": {"POST"},
        "/en/survey/A0": {"GET", "HEAD", "POST"},
        "/captive-portal/api": {"GET", "HEAD"},
    }
    for path, methods in right.items():
        if method not in methods:
            reply = stranger.ask(method, path)
            assert reply.status in (404, 405), (path, reply.status)
            if method != "HEAD":
                assert_told(reply, 404, 405)


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "ODD", "get", "GET\x00", "GÉT", ""])
def test_methods_that_do_not_exist(stranger: Stranger, method: str) -> None:
    assert_refused(stranger.raw(f"{method} / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()))


def test_repeated_and_foreign_fields(stranger: Stranger) -> None:
    token = stranger.token()
    assert_told(stranger.post("/en/survey/A0", f"r={token}&value=done&value=waiting".encode()), 400)
    assert_told(stranger.post("/en/survey/A0", f"r={token}&r={token}&value=done".encode()), 400)
    assert_told(stranger.post("/en/survey/A0", b"&&&;;;==="), 400)


@pytest.mark.parametrize(
    "kind",
    [
        "",
        "text/plain",
        "application/json",
        "multipart/form-data",
        "multipart/form-data; boundary=x",
        "x",
        "/;;=",
        "é/é",
    ],
)
def test_wrong_content_types(stranger: Stranger, kind: str) -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="r"; filename="../../x"\r\n\r\nx\r\n--x--\r\n'
    assert_told(stranger.post("/en/survey/A0", body, kind=kind), 400, 415)
    assert stranger.post("/en/skip", body, kind=kind).status == 303  # asks nothing of its form


@pytest.mark.parametrize(
    "charset", ["utf-16", "utf-7", "idna", "base64", "zip", "bogus", "é", "x" * 500, '"', ""]
)
def test_wrong_charsets(stranger: Stranger, charset: str) -> None:
    for body in (b"r=%C3%A9&value=done", b"r=x&value=\xff\xfe\xfd", "r=x&value=đã".encode("utf-16")):
        assert_told(stranger.post("/en/survey/A4", body, kind=f"{FORM}; charset={charset}"), 400, 409, 415)


def test_letters_that_are_none(stranger: Stranger) -> None:
    token = stranger.token()
    for value in (
        b"%FF%FE",
        b"%C3%28",
        b"%ED%A0%80",
        b"%F4%90%80%80",
        b"\xff",
        b"%C0%AF",
        b"%",
        b"%zz",
        b"%u1234",
    ):
        reply = stranger.post("/en/survey/A0", b"r=" + token.encode() + b"&value=" + value)
        assert_told(reply, 400)
    for path in (
        "/%",
        "/%zz",
        "/en/%C3%28",
        "/en/survey/%FF",
        "/%00",
        "/en%0d%0aSet-Cookie:%20x=y",
        "/en/rules%0a",
    ):
        assert_told(stranger.ask("GET", path), 400, 404)


def test_broken_frames(stranger: Stranger) -> None:
    host = b"Host: 127.0.0.1\r\n"
    kind = f"Content-Type: {FORM}\r\n".encode()
    for data in (
        b"",
        b"\r\n\r\n\r\n",
        b"\x00" * 1000,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /\r\n",
        b"GET / HTTP/9.9\r\n" + host + b"\r\n",
        b"GET /en HTTP/1.1\r\n" + host + b"No colon here\r\n\r\n",
        b"GET /en HTTP/1.1\r\n" + host + b" folded: x\r\n\r\n",
        b"GET /en HTTP/1.1\r\n" + host + b"X\x00Y: z\r\n\r\n",
        b"POST /en/skip HTTP/1.1\r\n" + host + kind + b"Content-Length: -5\r\n\r\nr=x",
        b"POST /en/skip HTTP/1.1\r\n" + host + kind + b"Content-Length: 99999999999999999999\r\n\r\nr=x",
        b"POST /en/skip HTTP/1.1\r\n"
        + host
        + kind
        + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nr=x\r\n0\r\n\r\n",
        b"POST /en/skip HTTP/1.1\r\n" + host + kind + b"Transfer-Encoding: gzip, odd\r\n\r\nr=x",
        b"POST /en/skip HTTP/1.1\r\n"
        + host
        + kind
        + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nr=x",
        b"POST /en/skip HTTP/1.1\r\n" + host + kind + b"Content-Length: 100\r\n\r\nr=x",
        b"GET /en HTTP/1.1\r\n" + host + b"Expect: the-unexpected\r\n\r\n",
    ):
        assert_refused(stranger.raw(data, end=True))


NO_REQUESTS = (
    b"ODD\x00 / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET /en HTTP/1.1\r\nNo colon here\r\n\r\n",
    b"GET /" + b"x" * 9_000 + b" HTTP/1.1\r\n\r\n",
    b"GET /en HTTP/1.1\r\nHost: 127.0.0.1\r\nExpect: the-unexpected\r\nConnection: close\r\n\r\n",
)


@pytest.mark.parametrize("door", ["port", "console"])
def test_what_is_no_request_learns_nothing_of_the_program(stranger: Stranger, door: str) -> None:
    """Neither aiohttp's name and version nor its parser's words."""
    for data in NO_REQUESTS:
        reply = stranger.raw(data, port=getattr(stranger.portal, door))
        assert 400 <= reply.status < 500, data
        assert reply.headers["Server"] == "wificrm"
        assert len(reply.body) < 40
        assert_silent(reply)


def test_the_journal_is_not_for_strangers_to_fill(stranger: Stranger) -> None:
    """A body that cannot be read, behind an answer that did not wait for it, is no fault of ours."""
    before = len(stranger.portal.log)
    for coding in ("gzip", "deflate", "br"):
        for host, target in (("neverssl.example", "/"), ("127.0.0.1", "/en"), ("127.0.0.1", "/en/skip")):
            headers = f"Content-Encoding: {coding}\r\n"
            stranger.ask("POST", target, host=host, headers=headers, body=b"ab")
    stranger.raw(b"\x00\x01\r\n\r\n")
    assert "level='error'" not in stranger.portal.log[before:]


def test_a_guest_in_between_loses_nothing(stranger: Stranger) -> None:
    """The same guest's good answers stand, whatever came between them."""
    token = stranger.token()
    assert stranger.post("/en/survey/A0", {"r": token, "value": "done"}).status == 303
    for bad in ({"r": token, "value": "odd"}, {"r": "forged", "value": "5"}, {"value": "5"}, {}):
        assert stranger.post("/en/survey/A1", bad).status in (400, 409)
    assert stranger.post("/en/survey/A1", {"r": token, "value": "4"}).status == 303
    page = Page("http://127.0.0.1/", stranger.ask("GET", f"/en/survey/A1?r={token}").body)
    assert "your answer" in page.text
    reply = stranger.ask("GET", "/en", headers="".join(f"{k}: {v}\r\n" for k, v in BROWSER.items()))
    assert reply.status == 200


def test_the_store_is_whole_and_holds_what_was_offered_only(portal: Portal) -> None:
    assert stored(portal, "PRAGMA integrity_check") == [("ok",)]
    values = {value for (value,) in stored(portal, "SELECT value FROM answer_fact")}
    assert values <= {"done", "waiting", "with", "1", "2", "3", "4", "5", "na", "nothing"}
