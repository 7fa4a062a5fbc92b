"""Case 17: nobody who floods the portal shuts it for the others.

PacketFence PR 789 (``rate_limiting_threshold``); openNDS allows 10 connections for an address.
"""

import asyncio
import contextlib
import resource
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import captive.connection_limits
import captive.portal.listening
import crm.web
from tests.captive.portal_app import Clock, Guest, Portal, portal_at
from tests.security.conftest import NewStranger
from tests.security.stranger import FORM

PROBE = b"GET /generate_204 HTTP/1.1\r\nHost: connectivitycheck.gstatic.com\r\n\r\n"
HALF_HEAD = b"POST /en/skip HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Le"
FORM_HEAD = f"Host: 127.0.0.1\r\nContent-Type: {FORM}\r\nContent-Length: 999"
HALF_BODY = f"POST /en/survey/A0 HTTP/1.1\r\n{FORM_HEAD}\r\n\r\nr=".encode()
PAGE = b"GET /en HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
ROOM = 6_000
"""Files and sockets that this test may hold."""


@pytest.fixture
def room() -> None:
    """Sockets enough for a flood."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < ROOM:
        pytest.skip(f"a flood needs {ROOM} sockets, this process may have {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, ROOM), hard))


@pytest.mark.parametrize(
    "said", [b"", HALF_HEAD, HALF_BODY, PAGE], ids=["nothing", "half a head", "half a body", "all"]
)
@pytest.mark.usefixtures("room")
def test_a_thousand_sockets_of_one_device_hold_nobody_up(new_stranger: NewStranger, said: bytes) -> None:
    """nft gives one device a hundred; this is the portal alone, as if it had let all through."""
    flooding, guest = new_stranger(), new_stranger()
    with contextlib.ExitStack() as stack:
        for _ in range(1000):
            stack.enter_context(flooding.connect()).sendall(said)
        token = guest.token()
        assert guest.post("/en/survey/A0", {"r": token, "value": "done"}).status == 303
        assert guest.post("/en/skip").status == 303
    assert flooding.token()


@pytest.mark.usefixtures("room")
def test_five_thousand_sockets_cost_the_oldest(new_stranger: NewStranger) -> None:
    """More than the portal bears, of fifty devices: who has just come is served."""
    flooding, guest = [new_stranger() for _ in range(50)], new_stranger()
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(flooding[0].connect())
        for number in range(captive.portal.listening.MAX_CONNECTIONS + 500):
            stack.enter_context(flooding[number % 50].connect()).sendall(HALF_HEAD)
        first.settimeout(10)
        assert hung_up(first)
        assert guest.token()


def hung_up(sock: socket.socket) -> bool:
    """Whether the other side ends it, before the deadline for a head (15 s) would."""
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


@contextlib.asynccontextmanager
async def hurried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, life: float = 3.0
) -> AsyncIterator[Portal]:
    """A portal whose deadlines are those of the product, only shorter; a connection lives *life* seconds."""
    monkeypatch.setattr(crm.web, "BODY_SECONDS", 0.5)
    monkeypatch.setattr(captive.portal.listening, "HEAD_SECONDS", 0.5)
    monkeypatch.setattr(captive.portal.listening, "LINGER_SECONDS", 0.2)
    monkeypatch.setattr(captive.portal.listening, "LIFE", life)
    monkeypatch.setattr(captive.connection_limits, "LOOK_EVERY", 0.2)
    async with portal_at(tmp_path, Clock()) as portal:
        yield portal


@pytest.mark.parametrize("begun", [b"", HALF_HEAD, HALF_BODY], ids=["nothing", "half a head", "half a body"])
async def test_who_dribbles_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: bytes) -> None:
    """Slow-loris: a byte now and then keeps no connection."""
    async with hurried(tmp_path, monkeypatch, life=600) as portal:
        reader, writer = await asyncio.open_connection("127.0.0.1", portal.settings.portal.port)
        writer.write(begun)
        dribbling = asyncio.create_task(dribble(writer if begun else None))
        with contextlib.suppress(ConnectionResetError):
            async with asyncio.timeout(60):  # long before the connection's life ends
                await reader.read()
        dribbling.cancel()
        writer.close()


async def dribble(writer: asyncio.StreamWriter | None) -> None:
    """A byte ten times a second."""
    with contextlib.suppress(ConnectionError):
        while writer:
            writer.write(b"a")
            await writer.drain()
            await asyncio.sleep(0.1)


async def ask_for_ever(sock: socket.socket) -> None:
    """Requests without end, no answer read."""
    while True:
        await asyncio.get_running_loop().sock_sendall(sock, PAGE)


async def test_who_reads_nothing_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages asked for again and again and never read."""
    async with hurried(tmp_path, monkeypatch) as portal:
        with socket.create_connection(("127.0.0.1", portal.settings.portal.port)) as sock:
            sock.setblocking(False)
            with pytest.raises(ConnectionError):
                await asyncio.wait_for(ask_for_ever(sock), 90)


async def test_a_deadline_is_told_with_a_way_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A guest on a bad radio gets a page with a way on, not a dead connection."""
    async with hurried(tmp_path, monkeypatch) as portal:
        reader, writer = await asyncio.open_connection("127.0.0.1", portal.settings.portal.port)
        writer.write(HALF_BODY)
        answer = (await reader.read()).decode()
        assert answer.startswith("HTTP/1.1 408 ")
        assert "did not arrive in time" in answer
        assert "/en/skip" in answer
        writer.close()


async def test_five_hundred_devices_that_probe_every_second(tmp_path: Path) -> None:
    """For ten seconds' worth: each probe gets its redirect, and a guest in between is served."""
    async with portal_at(tmp_path, Clock()) as portal:
        guest, port = Guest(portal.origin, 250), portal.settings.portal.port
        portal.guests.append(guest)

        async def probe(number: int) -> bytes:
            local = (f"127.20.{number >> 8}.{number & 255}", 0)
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=local)
            writer.write(PROBE)
            answer = await reader.read()
            writer.close()
            return answer

        for _ in range(10):
            answers = asyncio.gather(*(probe(number) for number in range(500)))
            async with asyncio.timeout(120):
                token = (await guest.get("/vi")).token
                assert (await guest.post("/vi/survey/A0", r=token, value="done")).status == 303
                assert {answer[:12] for answer in await answers} == {b"HTTP/1.1 302"}
