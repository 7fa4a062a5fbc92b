"""One HTTP request on a connection of its own, redirects not followed, bounded in size and time."""

import http.client
import io
import socket
import ssl
import time
from typing import NamedTuple
from urllib.parse import urlsplit

from captive.doctor.phone.resolving import MakeSocket

SECONDS = 3.0
"""For the whole exchange."""
MAX_ANSWER = 256 * 1024
"""Octets that are read of an answer."""


class Page(NamedTuple):
    """An answer: *status* and headers as they stand, the body as text."""

    status: int
    headers: http.client.HTTPMessage
    body: str

    def header(self, name: str) -> str:
        """The header *name*; "" without one."""
        return self.headers.get(name) or ""


class _Received(io.BytesIO):
    """What a connection brought, in the shape that `http.client` reads from."""

    def makefile(self, *_: object, **__: object) -> "_Received":
        """Itself."""
        return self


def ask(
    make: MakeSocket,
    address: str,
    url: str,
    *,
    agent: str = "",
    accept: str = "*/*",
    form: str | None = None,
    trust: ssl.SSLContext | None = None,
) -> Page:
    """GET *url* at *address*, or POST *form* to it; *trust* is what vouches for https.

    Raises `ssl.SSLError`, TimeoutError, OSError (ConnectionRefusedError, ...), ValueError for no HTTP.
    """
    until = time.monotonic() + SECONDS
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    with make(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM, 0) as plain:
        plain.settimeout(SECONDS)
        plain.connect((address, port))
        if parts.scheme != "https":
            return _exchange(plain, _request(url, agent, accept, form), until)
        context = trust or ssl.create_default_context()
        with context.wrap_socket(plain, server_hostname=parts.hostname) as secure:
            return _exchange(secure, _request(url, agent, accept, form), until)


def _request(url: str, agent: str, accept: str, form: str | None) -> bytes:
    parts = urlsplit(url)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [
        f"{'GET' if form is None else 'POST'} {path} HTTP/1.1",
        f"Host: {parts.netloc}",
        *([f"User-Agent: {agent}"] if agent else []),
        f"Accept: {accept}",
        "Accept-Encoding: identity",
        "Connection: close",
        *(
            ["Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(form)}"]
            if form is not None
            else []
        ),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n" + (form or "")).encode("ascii", "replace")


def _exchange(sock: socket.socket, request: bytes, until: float) -> Page:
    sock.sendall(request)
    data = bytearray()
    while len(data) < MAX_ANSWER and not _is_whole(data):
        sock.settimeout(max(0.01, until - time.monotonic()))
        try:
            more = sock.recv(16_384)
        except (TimeoutError, ssl.SSLEOFError, ConnectionResetError):
            if data:
                break  # who says all and does not hang up has said all
            raise
        if not more:
            break
        data += more
    return _read(bytes(data))


def _is_whole(data: bytearray) -> bool:
    head, found, body = data.partition(b"\r\n\r\n")
    if not found:
        return False
    if bytes(head[9:12]) in (b"204", b"304"):
        return True
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return len(body) >= int(line[15:].strip() or b"0") if line[15:].strip().isdigit() else False
    return False


def _read(data: bytes) -> Page:
    try:
        response = http.client.HTTPResponse(_Received(data))  # type: ignore[arg-type]
        response.begin()
        try:
            body = response.read()
        except http.client.IncompleteRead as short:
            body = short.partial
    except http.client.HTTPException as error:
        raise ValueError(f"no HTTP ({type(error).__name__})") from None
    return Page(response.status, response.headers, body.decode("utf-8", "replace"))
