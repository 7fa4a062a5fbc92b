"""Whatever a stranger sends: a clear answer, never a 500, never a traceback, and nothing of anybody's is lost."""

import contextlib
import http.client
import random
import re
import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, urlencode

import pytest

from tests.lab.journey import BROWSER
from tests.lab.loopback import Portal
from tests.lab.page import Page

FORM = "application/x-www-form-urlencoded"
TOUCHED = "wificrm-was-here"
SHELL = [
    f"$(touch /tmp/{TOUCHED})",
    f"`touch /tmp/{TOUCHED}`",
    f"; touch /tmp/{TOUCHED}",
    f"| touch /tmp/{TOUCHED}",
    f"&& touch /tmp/{TOUCHED} &&",
    f"'\"; touch /tmp/{TOUCHED} #",
    "${IFS}%0a",
    "{{7*191}}",
    "%(secret)s {0.__class__} %n%n%n",
    "' OR 1=1 --",
    '"); DROP TABLE response; --',
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
]


class Reply(NamedTuple):
    """What came back; status 0 when the connection was closed without an answer."""

    status: int
    headers: http.client.HTTPMessage
    body: str


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    """One portal for all of it: whatever one case breaks, the next ones find."""
    made = Portal(tmp_path_factory.mktemp("portal"))
    made.start()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def nothing_happened(portal: Portal) -> Iterator[None]:
    """After every case: nothing was executed, no error was logged, and a guest is served as ever."""
    Path("/tmp", TOUCHED).unlink(missing_ok=True)
    before = len(portal.log)
    yield
    assert not Path("/tmp", TOUCHED).exists()
    said = portal.log[before:]
    assert "Traceback" not in said
    assert "File " not in said
    assert "a guest page failed" not in said
    assert first_page(portal, "127.0.0.99").survey


def raw(portal: Portal, data: bytes, *, source: str = "127.0.0.2", end: bool = False, port: int = 0) -> Reply:
    """Send *data* as it is (and then hang up on that side when *end*), read one reply."""
    with socket.create_connection(("127.0.0.1", port or portal.port), 10, (source, 0)) as sock:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            sock.sendall(data)
            if end:
                sock.shutdown(socket.SHUT_WR)
        reply = http.client.HTTPResponse(sock, method="HEAD" if data.startswith(b"HEAD") else None)
        try:
            reply.begin()
            return Reply(reply.status, reply.headers, reply.read().decode(errors="replace"))
        except (http.client.HTTPException, ConnectionResetError):
            return Reply(0, http.client.HTTPMessage(), "")


def ask(
    portal: Portal,
    method: str,
    target: str,
    *,
    headers: str = "",
    body: bytes = b"",
    host: str = "127.0.0.1",
    source: str = "127.0.0.2",
) -> Reply:
    """A well-framed request with anything inside; *headers* are lines that end with CRLF."""
    length = f"Content-Length: {len(body)}\r\n" if body or method == "POST" else ""
    head = f"{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{length}{headers}\r\n"
    return raw(portal, head.encode("utf-8", "surrogateescape") + body, source=source)


def post(
    portal: Portal, target: str, form: dict[str, str] | bytes, *, kind: str = FORM, source: str = "127.0.0.2"
) -> Reply:
    """A form as a browser sends it, with any content type."""
    body = form if isinstance(form, bytes) else urlencode(form).encode()
    return ask(
        portal, "POST", target, headers=f"Content-Type: {kind}\r\n" if kind else "", body=body, source=source
    )


def first_page(portal: Portal, source: str) -> Page:
    """The first page of the guest at *source*."""
    reply = ask(portal, "GET", "/en", source=source)
    assert reply.status == 200
    return Page("http://127.0.0.1/en", reply.body)


def token_of(portal: Portal, source: str) -> str:
    """The response token that the guest at *source* has."""
    survey = first_page(portal, source).survey
    assert survey
    return survey.fields["r"]


def assert_told(reply: Reply, *statuses: int) -> None:
    """A page in the guest's language that says what is wrong, and nothing about the inside."""
    assert reply.status in statuses, (reply.status, reply.body[:200])
    page = Page("http://127.0.0.1/", reply.body)
    assert page.language in ("vi", "en")
    assert "<h1" in reply.body
    assert len(page.text) > 20
    assert not re.search(r"Traceback|aiohttp|\.py\b|[a-z]Error\b|Exception", reply.body)


def assert_refused(reply: Reply) -> None:
    """Refused before it was a request: by a short 4xx, or by hanging up."""
    assert reply.status == 0 or 400 <= reply.status < 500, (reply.status, reply.body[:200])
    assert not re.search(r"Traceback|\.py\b", reply.body)


def test_questions_that_nobody_asks(portal: Portal) -> None:
    token = token_of(portal, "127.0.0.2")
    for key in ("A9", "a0", "A0x", "_", "0", "A" * 32):
        assert_told(ask(portal, "GET", f"/en/survey/{key}?r={token}"), 404)
        assert_told(post(portal, f"/en/survey/{key}", {"r": token, "value": "done"}), 404)
    for key in ("A" * 33, "A-0", "A0/A1", "", "A0%00", "A0%2fA1", "%F0%9F%98%80"):
        assert_told(post(portal, f"/en/survey/{key}", {"r": token, "value": "done"}), 404)


def test_options_that_are_not_offered(portal: Portal) -> None:
    token = token_of(portal, "127.0.0.2")
    for value in ("", "Done", "done ", "5", "xyz", "d\x00ne", "done\r\n", "x" * 33, *SHELL):
        assert_told(post(portal, "/en/survey/A0", {"r": token, "value": value}), 400)
    assert_told(post(portal, "/en/survey/A0", {"r": token}), 400)


def test_languages_that_are_not_spoken(portal: Portal) -> None:
    for language in ("km", "fr", "xx", "vie", "VI", "v", "toolong"):
        assert_told(ask(portal, "GET", f"/{language}"), 404)
        assert_told(post(portal, f"/{language}/skip", {"r": "x"}), 404)


def test_forged_tokens_open_nothing(portal: Portal) -> None:
    own, other = token_of(portal, "127.0.0.2"), token_of(portal, "127.0.0.3")
    assert post(portal, "/en/survey/A0", {"r": other, "value": "done"}, source="127.0.0.3").status == 303
    flipped = [own[:at] + ("A" if own[at] != "A" else "B") + own[at + 1 :] for at in range(40)]
    forged = [
        "",
        "x",
        own[:-1],
        own + "=",
        own[::-1],
        "A" * 40,
        "=" * 40,
        "é" * 40,
        "x" * 5000,
        *flipped,
        *SHELL,
    ]
    for token in forged:
        assert_told(post(portal, "/en/survey/A0", {"r": token, "value": "waiting"}), 400, 409)
        assert_told(ask(portal, "GET", f"/en/survey/A0?r={quote(token)}"), 400, 409)
    for _ in range(100):
        token = "".join(
            random.choices("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_", k=40)
        )
        assert_told(post(portal, "/en/survey/A0", {"r": token, "value": "waiting"}), 400, 409)
    with contextlib.closing(sqlite3.connect(f"file:{portal.home / 'crm.db'}?mode=ro", uri=True)) as store:
        assert {a for (a,) in store.execute("SELECT json_extract(answers, '$.A0') FROM response")} == {"done"}


def test_too_long(portal: Portal) -> None:
    token, long = token_of(portal, "127.0.0.2"), "x" * 10_000
    assert_told(post(portal, "/en/survey/A0", {"r": token, "value": long}), 400)
    assert_told(post(portal, "/en/survey/A0", {"r": long, "value": "done"}), 400)
    assert post(portal, "/en/survey/A0", {"r": token, "value": "done", long: "1"}).status in (303, 400, 413)
    assert_told(post(portal, "/en/survey/A0", {"r": token, "value": "x" * 200_000}), 413)
    assert_told(post(portal, "/en/skip", b"&" * 17_000), 413)
    assert_refused(ask(portal, "GET", f"/en/{long}"))
    assert_refused(ask(portal, "GET", f"/en?{long}"))
    assert_refused(ask(portal, "GET", "/en", headers=f"Cookie: {long}\r\n"))
    assert_refused(ask(portal, "GET", "/en", headers=f"User-Agent: {long}\r\n"))
    assert_refused(ask(portal, "GET", "/", host=long))
    assert_refused(ask(portal, "GET", "/en", headers="".join(f"X-{n}: {n}\r\n" for n in range(5000))))
    assert ask(portal, "GET", "/en", headers=f"Accept-Language: {'vi;q=0.1,' * 500}en\r\n").status == 200


def test_a_comment_that_is_too_long_comes_back_to_be_shortened(portal: Portal) -> None:
    source = "127.0.0.4"
    token = token_of(portal, source)
    for question, value in (("A0", "done"), ("A1", "5"), ("A2", "nothing")):
        assert (
            post(portal, f"/en/survey/{question}", {"r": token, "value": value}, source=source).status == 303
        )
    typed = "Tôi đã chờ rất lâu. " * 100 + "<script>alert(1)</script>"
    reply = post(portal, "/en/survey/A4", {"r": token, "value": typed}, source=source)
    assert_told(reply, 400)
    assert "Tôi đã chờ rất lâu. Tôi đã chờ rất lâu." in reply.body
    assert "<script>" not in reply.body
    assert post(portal, "/en/survey/A4", {"r": token, "value": "Tôi đã chờ."}, source=source).status == 303
    with contextlib.closing(sqlite3.connect(f"file:{portal.home / 'crm.db'}?mode=ro", uri=True)) as store:
        found = [text for (text,) in store.execute("SELECT json_extract(answers, '$.A4') FROM response")]
    assert "Tôi đã chờ." in found


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"])
def test_wrong_methods(portal: Portal, method: str) -> None:
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
            reply = ask(portal, method, path)
            assert reply.status in (404, 405), (path, reply.status)
            if method != "HEAD":
                assert_told(reply, 404, 405)


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "ODD", "get", "GET\x00", "GÉT", ""])
def test_methods_that_do_not_exist(portal: Portal, method: str) -> None:
    assert_refused(raw(portal, f"{method} / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()))


def test_missing_headers(portal: Portal) -> None:
    for head in ("GET /en HTTP/1.1\r\n\r\n", "GET /en HTTP/1.0\r\n\r\n", "GET /en HTTP/1.1\r\nHost:\r\n\r\n"):
        reply = raw(portal, head.encode())
        assert reply.status in (302, 400)
        assert "127.0.0.1" in reply.headers.get("Location", "127.0.0.1")
    assert ask(portal, "GET", "/en").status == 200  # no User-Agent, no Accept, no Accept-Language
    assert_told(post(portal, "/en/survey/A0", b"value=done", kind=""), 400, 415)


def test_repeated_headers(portal: Portal) -> None:
    assert ask(portal, "GET", "/en", headers="Host: evil.example\r\n").status in (200, 302, 400)
    for lines in (
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    ):
        head = f"POST /en/skip HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {FORM}\r\n{lines}\r\n"
        assert_refused(raw(portal, head.encode() + b"r=abc", end=True, source="127.0.0.51"))
    twice = f"Content-Type: {FORM}\r\nContent-Type: application/json\r\n"
    assert ask(portal, "POST", "/en/survey/A0", headers=twice, body=b"r=x&value=done").status in (400, 415)
    many = "".join(
        f"Accept-Language: {language}\r\nCookie: a={n}\r\n" for n, language in enumerate(["en", "vi"] * 20)
    )
    assert ask(portal, "GET", "/", headers=many).status in (200, 303)


def test_repeated_and_foreign_fields(portal: Portal) -> None:
    token = token_of(portal, "127.0.0.2")
    assert_told(post(portal, "/en/survey/A0", f"r={token}&value=done&value=waiting".encode()), 400)
    assert_told(post(portal, "/en/survey/A0", f"r={token}&r={token}&value=done".encode()), 400)
    assert_told(post(portal, "/en/survey/A0", b"&&&;;;==="), 400)


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
def test_wrong_content_types(portal: Portal, kind: str) -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="r"; filename="../../x"\r\n\r\nx\r\n--x--\r\n'
    assert_told(post(portal, "/en/survey/A0", body, kind=kind), 400, 415)
    assert (
        post(portal, "/en/skip", body, kind=kind, source="127.0.0.50").status == 303
    )  # asks nothing of its form


@pytest.mark.parametrize(
    "charset", ["utf-16", "utf-7", "idna", "base64", "zip", "bogus", "é", "x" * 500, '"', ""]
)
def test_wrong_charsets(portal: Portal, charset: str) -> None:
    for body in (b"r=%C3%A9&value=done", b"r=x&value=\xff\xfe\xfd", "r=x&value=đã".encode("utf-16")):
        assert_told(post(portal, "/en/survey/A4", body, kind=f"{FORM}; charset={charset}"), 400, 409, 415)


def test_letters_that_are_none(portal: Portal) -> None:
    token = token_of(portal, "127.0.0.2")
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
        reply = post(portal, "/en/survey/A0", b"r=" + token.encode() + b"&value=" + value)
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
        assert_told(ask(portal, "GET", path), 400, 404)


@pytest.mark.parametrize(
    "path",
    [
        "/../../../../etc/passwd",
        "/.%2e/%2e%2e/%2e%2e/etc/passwd",
        "/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/..%5c..%5cetc%5cpasswd",
        "/..%252f..%252fetc%252fpasswd",
        "//etc/passwd",
        "/en/../../etc/passwd",
        "/en/rules/../../../../etc/passwd",
        "/static/../../../etc/passwd",
        "/static//etc/passwd",
        "/en/announcements/../../etc/passwd",
        "/en/announcements/-1",
        "/en/announcements/99999999999999999999",
        "/en/announcements/1e9",
        "/.git/config",
        "/crm.db",
        "/wificrm.toml",
    ],
)
def test_paths_out_of_the_house(portal: Portal, path: str) -> None:
    reply = ask(portal, "GET", path)
    assert_told(reply, 400, 404)
    assert "root:" not in reply.body


def test_addresses_in_full_and_odd_targets(portal: Portal) -> None:
    for target in (
        "http://evil.example/",
        "http://127.0.0.1@evil.example/",
        "*",
        "evil.example:443",
        "@evil.example/",
    ):
        reply = ask(portal, "GET", target)
        assert reply.status in (200, 302, 303, 400, 404)
        assert "evil.example" not in reply.headers.get("Location", "")


def test_metacharacters_everywhere(portal: Portal) -> None:
    token = token_of(portal, "127.0.0.2")
    for text in SHELL:
        encoded = quote(text, safe="")
        replies = [
            ask(portal, "GET", f"/en?{encoded}={encoded}"),
            ask(portal, "GET", f"/{encoded}"),
            ask(portal, "GET", f"/en/survey/A0?r={encoded}"),
            ask(
                portal,
                "GET",
                "/en",
                headers=f"User-Agent: {text}\r\nCookie: {text}\r\nX-Forwarded-For: {text}\r\n",
            ),
            ask(
                portal,
                "GET",
                "/",
                headers=f"Accept-Language: {text}\r\nAccept: {text}\r\nReferer: {text}\r\n",
            ),
            ask(portal, "GET", f"/generate_204?{encoded}", host=text, headers="Accept: text/html\r\n"),
            post(portal, "/en/survey/A0", {"r": token, "value": text}),
            post(portal, "/en/survey/A0", {"r": text, "value": "done"}),
            post(portal, "/en/survey/A0", {text: text}),
        ]
        for reply in replies:
            assert reply.status < 500
            assert "<script>alert" not in reply.body
            assert "<img src=x" not in reply.body
            assert "1337" not in reply.body  # 7 * 191, had a template evaluated it
            assert "script" not in reply.headers.get("Location", "")


def test_what_a_phone_asked_for_is_offered_back_unharmed(portal: Portal) -> None:
    source = "127.0.0.5"
    for host, path in (
        ('evil.example"onclick=alert(1)', "/"),
        ("evil.example", "/'><script>alert(1)</script>"),
        ("evil.example", "/javascript:alert(1)"),
        ("user:password@evil.example", "/"),
    ):
        ask(portal, "GET", path, host=host, headers="Accept: text/html\r\n", source=source)
    token = token_of(portal, source)
    assert post(portal, "/en/skip", {"r": token}, source=source).status == 303
    reply = ask(portal, "GET", "/en/online", source=source)
    assert "<script>" not in reply.body
    assert "onclick" not in reply.body
    for link in Page("http://127.0.0.1/en/online", reply.body).links:
        assert re.match(r"(http://|/)", link), link


def test_forged_forwarding_headers_make_nobody_somebody_else(portal: Portal) -> None:
    own = token_of(portal, "127.0.0.6")
    for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Client-IP", "Via"):
        value = "for=127.0.0.7" if name == "Forwarded" else "127.0.0.7"
        reply = ask(portal, "GET", "/en", headers=f"{name}: {value}\r\n", source="127.0.0.6")
        assert own in reply.body


def test_broken_frames(portal: Portal) -> None:
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
        assert_refused(raw(portal, data, end=True, source="127.0.0.51"))


CONSOLE_REQUESTS = [
    ("GET", "/sign-in", "", b""),
    ("GET", f"/sign-in?next={'x' * 5000}", "", b""),
    ("GET", "/sign-in?next=%FF%00//evil.example", "", b""),
    ("GET", "/reports?venue=%27%20OR%201=1&from=never&to=%FF", "", b""),
    ("GET", "/static/../../../../etc/passwd", "", b""),
    ("GET", "/no-such-page/%2e%2e/%00", "", b""),
    ("GET", "/", "Cookie: " + "a=b; " * 1000 + "\r\n", b""),
    ("POST", "/sign-in", f"Content-Type: {FORM}\r\n", b"name=%FF&password=%00&name=x"),
    ("POST", "/sign-in", f"Content-Type: {FORM}\r\n", b"name=" + b"x" * 9000 + b"&password=" + b"y" * 5000),
    ("POST", "/sign-in", f"Content-Type: {FORM}; charset=utf-7\r\n", b"name=x"),
    ("POST", "/sign-in", "Content-Type: application/json\r\n", b"{}"),
    ("POST", "/sign-in", "", b""),
    ("POST", "/sign-out", f"Content-Type: {FORM}\r\n", b"key=forged"),
    ("POST", "/language", f"Content-Type: {FORM}\r\n", b"language=<script>&key=x"),
    ("PUT", "/announcements", "", b""),
]


@pytest.mark.parametrize(("method", "target", "headers", "body"), CONSOLE_REQUESTS)
def test_the_console_keeps_its_head(
    portal: Portal, method: str, target: str, headers: str, body: bytes
) -> None:
    length = f"Content-Length: {len(body)}\r\n" if method == "POST" else ""
    head = f"{method} {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{length}{headers}\r\n"
    reply = raw(portal, head.encode() + body, port=portal.console)
    assert reply.status in (200, 302, 303, 400, 401, 403, 404, 405, 413, 415), reply.body[:300]
    assert "root:" not in reply.body
    assert "<script>" not in reply.body.replace("<script src", "")
    assert "evil.example" not in reply.headers.get("Location", "")


def test_half_requests_of_many_hold_nobody_up(portal: Portal) -> None:
    with contextlib.ExitStack() as stack:
        for number in range(300):
            source = (f"127.9.{number >> 8}.{number & 255}", 0)
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", portal.port), 5, source))
            sock.sendall(b"POST /en/skip HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Le")
        assert first_page(portal, "127.0.0.8").survey


def test_a_guest_in_between_loses_nothing(portal: Portal) -> None:
    """The same guest's good answers stand, whatever came between them."""
    source = "127.0.0.9"
    token = token_of(portal, source)
    assert post(portal, "/en/survey/A0", {"r": token, "value": "done"}, source=source).status == 303
    for bad in ({"r": token, "value": "odd"}, {"r": "forged", "value": "5"}, {"value": "5"}, {}):
        assert post(portal, "/en/survey/A1", bad, source=source).status in (400, 409)
    assert post(portal, "/en/survey/A1", {"r": token, "value": "4"}, source=source).status == 303
    page = Page("http://127.0.0.1/", ask(portal, "GET", f"/en/survey/A1?r={token}", source=source).body)
    assert "your answer" in page.text
    reply = ask(
        portal, "GET", "/en", headers="".join(f"{k}: {v}\r\n" for k, v in BROWSER.items()), source=source
    )
    assert reply.status == 200


def test_the_store_is_whole_and_holds_what_was_offered_only(portal: Portal) -> None:
    with contextlib.closing(sqlite3.connect(f"file:{portal.home / 'crm.db'}?mode=ro", uri=True)) as store:
        assert store.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        values = {v for (v,) in store.execute("SELECT value FROM answer_fact")}
    assert values <= {"done", "waiting", "with", "1", "2", "3", "4", "5", "na", "nothing"}
