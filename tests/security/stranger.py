"""A stranger: a device with an address of its own that sends whatever bytes it likes."""

import contextlib
import http.client
import re
import socket
import sqlite3
from typing import Any, NamedTuple
from urllib.parse import urlencode

from tests.lab.loopback import Portal
from tests.lab.page import Page

FORM = "application/x-www-form-urlencoded"
TOUCHED = "/tmp/wificrm-was-here"
SHELL = [
    f"$(touch {TOUCHED})",
    f"`touch {TOUCHED}`",
    f"; touch {TOUCHED}",
    f"| touch {TOUCHED}",
    f"&& touch {TOUCHED} &&",
    f"'\"; touch {TOUCHED} #",
    f"\n touch {TOUCHED}\n",
    "${IFS}%0a",
    "{{7919*104729}}",
    "%(secret)s {0.__class__} %n%n%n",
    "' OR 1=1 --",
    '"); DROP TABLE response; --',
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
]
"""What a shell, a template, SQL or a browser would act on."""


class Reply(NamedTuple):
    """What came back; status 0 when the connection was closed without an answer."""

    status: int
    headers: http.client.HTTPMessage
    body: str

    @property
    def location(self) -> str:
        """Where it sends the browser, or ""."""
        return self.headers.get("Location") or ""


class Stranger:
    """One device in front of *portal*, at *address* of 127.0.0.0/8."""

    def __init__(self, portal: Portal, address: str) -> None:
        self.portal = portal
        self.address = address

    def connect(self, port: int = 0) -> socket.socket:
        """A connection to the portal, or to another of its ports."""
        return socket.create_connection(("127.0.0.1", port or self.portal.port), 60, (self.address, 0))

    def raw(self, data: bytes, *, end: bool = False, port: int = 0) -> Reply:
        """Send *data* as it is (and then hang up on that side when *end*), read one reply."""
        with self.connect(port) as sock:
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
        self,
        method: str,
        target: str,
        *,
        headers: str = "",
        body: bytes = b"",
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> Reply:
        """A well-framed request with anything inside; *headers* are lines that end with CRLF."""
        length = f"Content-Length: {len(body)}\r\n" if body or method == "POST" else ""
        head = f"{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{length}{headers}\r\n"
        return self.raw(head.encode("utf-8", "surrogateescape") + body, port=port)

    def get(self, target: str, **options: Any) -> Reply:
        """GET; options as in `ask`."""
        return self.ask("GET", target, **options)

    def post(self, target: str, form: dict[str, str] | bytes = b"", *, kind: str = FORM) -> Reply:
        """A form as a browser sends it, with any content type."""
        body = form if isinstance(form, bytes) else urlencode(form).encode()
        return self.ask("POST", target, headers=f"Content-Type: {kind}\r\n" if kind else "", body=body)

    def first_page(self) -> Page:
        """The first page, as it is served to this device."""
        reply = self.get("/en")
        assert reply.status == 200
        return Page("http://127.0.0.1/en", reply.body)

    def token(self) -> str:
        """The response token that this device is given."""
        survey = self.first_page().survey
        assert survey
        return survey.fields["r"]


def assert_told(reply: Reply, *statuses: int) -> None:
    """A page in the guest's language that says what is wrong, and nothing about the inside."""
    assert reply.status in statuses, (reply.status, reply.body[:200])
    page = Page("http://127.0.0.1/", reply.body)
    assert page.language in ("vi", "en")
    assert "<h1" in reply.body
    assert len(page.text) > 20
    assert_silent(reply)


def assert_refused(reply: Reply) -> None:
    """Refused before it was a request: by a short 4xx, or by hanging up."""
    assert reply.status == 0 or 400 <= reply.status < 500, (reply.status, reply.body[:200])
    assert_silent(reply)


def assert_silent(reply: Reply) -> None:
    """Nothing about the inside is told: neither where it failed, nor what it is made of."""
    assert not re.search(
        r"Traceback|aiohttp|Python|\.py\b|[a-z]Error\b|Exception|[Ii]nvalid .*:",
        f"{reply.headers}{reply.body}",
    )


def stored(portal: Portal, query: str) -> list[tuple[Any, ...]]:
    """What the crm store says to *query*."""
    with contextlib.closing(sqlite3.connect(f"file:{portal.home / 'crm.db'}?mode=ro", uri=True)) as store:
        return store.execute(query).fetchall()
