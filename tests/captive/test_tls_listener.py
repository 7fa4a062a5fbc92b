"""Handshakes under way are few, whoever comes, and what is agreed on is served."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import captive.tls_listener
from captive.tls_listener import bind, listening
from tests.lab.certificates import Authority

NAME = "portal.lab.example"
FEW = 8
BEGUN = bytes.fromhex("16030100c8010000c40303")
"""The first octets of a ClientHello that never ends."""


class Echo(asyncio.Protocol):
    """Says the same again."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class Listener:
    def __init__(self, port: int, client: ssl.SSLContext) -> None:
        self.port, self._client = port, client

    @contextlib.asynccontextmanager
    async def guest(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Somebody honest."""
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=self._client, server_hostname=NAME
        )
        try:
            yield reader, writer
        finally:
            writer.close()

    async def stranger(self, says: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Somebody who says this much and no more."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(says)
        return reader, writer


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """(the listener's, a guest's)."""
    authority = Authority(tmp_path_factory.mktemp("authority"))
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(*authority.issue("portal", NAME))
    return server, ssl.create_default_context(cafile=str(Path(authority.certificate)))


@pytest.fixture
async def listener(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Listener]:
    monkeypatch.setattr(captive.tls_listener, "MOST", FEW)
    bound = bind("127.0.0.1", 0, 100)
    async with listening(bound, Echo, contexts[0]):
        yield Listener(bound[0].getsockname()[1], contexts[1])


async def echoed(listener: Listener) -> bytes:
    async with listener.guest() as (reader, writer):
        writer.write(b"hello")
        return await asyncio.wait_for(reader.readexactly(5), 10)


@pytest.mark.parametrize("says", [b"", BEGUN], ids=["nothing", "half a hello"])
async def test_who_never_agrees_gives_way_and_keeps_nobody_out(listener: Listener, says: bytes) -> None:
    silent = [await listener.stranger(says) for _ in range(3 * FEW)]
    assert await echoed(listener) == b"hello"
    for reader, _ in silent[: 2 * FEW]:  # the deadline would come after ten seconds
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(1), 5) == b""
    late = silent[-1][0]
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(late.read(1), 0.2)  # there was room for the latest
    for _, writer in silent:
        writer.close()


async def test_who_agreed_is_not_counted_any_more(listener: Listener) -> None:
    async with contextlib.AsyncExitStack() as stack:
        guests = [await stack.enter_async_context(listener.guest()) for _ in range(2 * FEW)]
        for reader, writer in guests:
            writer.write(b"still here")
            assert await asyncio.wait_for(reader.readexactly(10), 10) == b"still here"


async def test_what_is_not_tls_ends_and_is_nobodys_error(
    listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = await listener.stranger(b"GET / HTTP/1.1\r\nHost: portal\r\n\r\n")
    with contextlib.suppress(ConnectionResetError):
        await asyncio.wait_for(reader.read(), 5)
    writer.close()
    for _ in range(20):  # and who hangs up at once
        (await listener.stranger())[1].close()
    assert await echoed(listener) == b"hello"
    assert caplog.records == []


async def test_at_the_end_the_port_is_free_and_who_was_agreeing_is_let_go(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    bound = bind("127.0.0.1", 0, 100)
    port = bound[0].getsockname()[1]
    async with listening(bound, Echo, contexts[0]):
        listener = Listener(port, contexts[1])
        reader, writer = await listener.stranger(BEGUN)
        assert await echoed(listener) == b"hello"
    with contextlib.suppress(ConnectionResetError):
        assert await asyncio.wait_for(reader.read(1), 5) == b""
    writer.close()
    for each in bind("127.0.0.1", port, 1):
        each.close()


def test_every_address_is_of_both_families() -> None:
    bound = bind(None, 0, 1)
    families = {each.family for each in bound}
    for each in bound:
        each.close()
    assert families == {socket.AF_INET, socket.AF_INET6}
