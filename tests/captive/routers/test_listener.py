"""The routers' listener has bounds of its own: strangers neither fill it nor keep routers out."""

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest

import captive.connection_limits
import captive.portal.listening
import captive.routers.listener
from tests.captive.routers.thin_portal import NAME, ThinPortal
from tests.waiting import LONG, until


@asynccontextmanager
async def raw(portal: ThinPortal) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A TLS connection to the routers' port."""
    context = ssl.create_default_context(cafile=str(portal.authority.certificate))
    port = portal.settings.portal.router_port
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=NAME)
    try:
        yield reader, writer
    finally:
        writer.close()


async def said(reader: asyncio.StreamReader, seconds: float = LONG) -> bytes:
    """All that comes until the connection ends."""
    found = b""
    async with asyncio.timeout(seconds):
        try:
            while data := await reader.read(65_536):
                found += data
        except OSError:
            pass
    return found


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks and lingers briefly; deadlines are far away, so that each test meets the one that it is about."""
    monkeypatch.setattr(captive.connection_limits, "LOOK_EVERY", 0.1)
    monkeypatch.setattr(captive.routers.listener, "LINGER_SECONDS", 0.2)
    for name in ("LIFE", "HEAD_SECONDS", "BODY_SECONDS"):
        monkeypatch.setattr(captive.routers.listener, name, 20 * LONG)


@pytest.fixture
def short_lived(short: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captive.routers.listener, "LIFE", 2.0)  # time for a handshake on a busy machine
    monkeypatch.setattr(captive.portal.listening, "LIFE", 2.0)


async def test_a_stream_outlives_what_ends_other_connections(short_lived: None, portal: ThinPortal) -> None:
    router = portal.router()
    await router.connect()
    async with raw(portal) as (reader, writer):
        writer.write(b"GET /router/v1/chall")
        assert await said(reader) == b""
    assert router.ended == ""
    await router.report()
    assert router.ended == ""


async def test_a_body_that_dribbles_is_cut(
    short: None, portal: ThinPortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captive.routers.listener, "BODY_SECONDS", 0.5)
    async with raw(portal) as (reader, writer):
        writer.write(
            b"POST /router/v1/stream HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 300\r\n\r\nhall1"
        )
        assert (await said(reader)).startswith(b"HTTP/1.1 408")


async def test_a_strangers_report_is_not_read(short: None, portal: ThinPortal) -> None:
    """A hundred megabytes are announced; it is told at the first bytes that nobody wants them."""
    router = portal.router()
    await router.connect()
    for beginning in (b"0" * 32, b"\0" * 100, b"f" * 4_000):
        async with raw(portal) as (reader, writer):
            writer.write(
                b"POST /router/v1/report HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 100000000\r\n\r\n"
                + beginning
            )
            assert (await said(reader)).startswith(b"HTTP/1.1 403")


async def test_too_long_a_line_and_too_long_a_report_are_refused(short: None, portal: ThinPortal) -> None:
    router = portal.router()
    await router.connect()
    for path, beginning, size in (("stream", b"x" * 600, 600), ("report", router.session.encode(), 300_000)):
        async with raw(portal) as (reader, writer):
            head = f"POST /router/v1/{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {size}\r\n\r\n"
            writer.write(head.encode() + beginning.ljust(size, b"x"))
            assert (await said(reader)).startswith(b"HTTP/1.1 413")


@pytest.fixture
def few(short: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captive.routers.listener, "MAX_CONNECTIONS", 20)


async def test_a_crowd_of_strangers_keeps_no_router_out(few: None, portal: ThinPortal) -> None:
    first, second = portal.router(), portal.router("hall2")
    await first.connect()
    crowd = [socket.create_connection(("127.0.0.1", portal.settings.portal.router_port)) for _ in range(20)]
    context = ssl.create_default_context(cafile=str(portal.authority.certificate))
    loop = asyncio.get_running_loop()
    shaken = [
        await loop.run_in_executor(None, partial(context.wrap_socket, each, server_hostname=NAME))
        for each in crowd
    ]
    await second.connect()
    for each in shaken:
        each.setblocking(False)
    await until(lambda: sum(map(is_over, shaken)) >= 2)
    assert (first.ended, second.ended) == ("", "")
    await first.report()
    for each in shaken:
        each.close()


def is_over(connection: ssl.SSLSocket) -> bool:
    """Whether the other side has hung up."""
    try:
        return connection.recv(1) == b""
    except ssl.SSLWantReadError:
        return False
    except OSError:
        return True


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET / HTTP/1.1", b"404"),
        (b"GET /vi HTTP/1.1", b"404"),
        (b"GET /enter HTTP/1.1", b"404"),
        (b"GET /router/v1/stream HTTP/1.1", b"405"),
        (b"HEAD /router/v1/challenge HTTP/1.1", b"405"),
        (b"GET /router/v1/../v1/challenge HTTP/1.1", b"404"),
        (b"\x00\x01\x02", b"400"),
    ],
)
async def test_nothing_else_is_served_here(portal: ThinPortal, request_line: bytes, status: bytes) -> None:
    async with raw(portal) as (reader, writer):
        writer.write(request_line + b"\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = await said(reader)
    assert answer[:12] in (b"HTTP/1.1 " + status, b"HTTP/1.0 " + status)
    assert b"Server: wificrm\r\n" in answer
    assert not re.search(b"aiohttp|Python|nvalid", answer), "of what it is made is no stranger's business"


async def test_there_is_no_plain_http_and_no_old_tls_here(portal: ThinPortal) -> None:
    port = portal.settings.portal.router_port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /router/v1/challenge HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"HTTP" not in await said(reader)
    writer.close()
