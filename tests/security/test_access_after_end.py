"""Case 16: with the end of a grant everything under way ends, in both families, whoever began it.

wlan-ap PR 1151 and 1178, PyCaptive 8 (a kicked guest goes on), and every ruleset that accepts what is
``established``. The long flows of real phones are in `tests.lab.test_expiry`.
"""

import contextlib
import socket
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from captive.gateway import GateClient, Terms
from tests.captive.small_venue import MAC, WORLD4, WORLD6, SmallVenue, eventually, needs_root, small_venue

pytestmark = [needs_root, pytest.mark.lab]

DEVICE = f"guest {MAC}"
WORLD, RESET = "the world", "ConnectionRefusedError"
FAMILIES = pytest.mark.parametrize("world", [WORLD4, WORLD6], ids=["IPv4", "IPv6"])
SILENT = 0.6
"""Seconds without a datagram, of a stream that sends fifty a second, after which it has ended."""


@pytest.fixture(scope="module")
def wired(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallVenue]:
    with small_venue(tmp_path_factory.mktemp("venue")) as made:
        assert made.command("box.apply(settings)").returncode == 0
        made.serve(made.world, 443, WORLD)
        made.gate()
        yield made


@pytest.fixture
async def gate(wired: SmallVenue) -> AsyncIterator[GateClient]:
    """The gate, with the phone online."""
    client = GateClient(wired.settings.gate.socket)
    await client.allow({DEVICE: Terms(600)})
    yield client
    await client.close()


@contextlib.contextmanager
def talk(venue: SmallVenue, world: str) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A TCP connection that has spoken, and a UDP stream that runs by itself."""
    family = socket.AF_INET6 if ":" in world else socket.AF_INET
    with (
        venue.phone.socket(family, socket.SOCK_STREAM) as tcp,
        venue.phone.socket(family, socket.SOCK_DGRAM) as udp,
    ):
        tcp.connect((world, 443))
        assert tcp.recv(100) == WORLD.encode()
        udp.connect((world, 443))
        udp.send(b"stream")
        assert udp.recv(100) == b"x"
        yield tcp, udp


def falls_silent(udp: socket.socket) -> bool:
    """Whether the stream ends; refusals that the phone is told of do not count as an answer."""
    until = time.monotonic() + 10
    udp.settimeout(SILENT)
    while time.monotonic() < until:
        try:
            udp.recv(100)
        except TimeoutError:
            return True
        except OSError:
            continue
    return False


def is_reset(tcp: socket.socket) -> bool:
    """Whether the connection dies at the next word."""
    try:
        tcp.send(b"still here?")
        return tcp.recv(100) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


@FAMILIES
async def test_a_kick_ends_what_is_under_way(wired: SmallVenue, gate: GateClient, world: str) -> None:
    """Both ways, without waiting for anything; and nothing new begins."""
    with talk(wired, world) as (tcp, udp):
        await gate.deny([DEVICE])
        assert is_reset(tcp)
        assert falls_silent(udp)
    assert wired.ask_tcp(world, 443) == RESET
    assert wired.ask_udp(world, 443) != WORLD


@FAMILIES
async def test_a_lease_that_runs_out_ends_what_is_under_way(
    wired: SmallVenue, gate: GateClient, world: str
) -> None:
    """The kernel alone refuses what the phone sends; with the portal's next look nothing comes down either."""
    with talk(wired, world) as (tcp, udp):
        await gate.allow({DEVICE: Terms(1)})
        assert eventually(lambda: is_reset(tcp))
        await gate.deny([DEVICE])  # as `Grants.reconcile` does of whatever ran out
        assert falls_silent(udp)
    assert wired.ask_tcp(world, 443) == RESET


@FAMILIES
async def test_a_phone_that_keeps_sending_keeps_nothing_open(
    wired: SmallVenue, gate: GateClient, world: str
) -> None:
    """Datagrams sent all the while make no new entry that lets answers through."""
    with talk(wired, world) as (_, udp):
        await gate.deny([DEVICE])
        answers, until = 0, time.monotonic() + 2
        udp.settimeout(0.05)
        while time.monotonic() < until:
            with contextlib.suppress(OSError):
                udp.send(b"?")
            with contextlib.suppress(OSError):
                answers += udp.recv(100) == WORLD.encode()
        assert answers == 0
        assert falls_silent(udp)


@FAMILIES
async def test_who_comes_back_is_served(wired: SmallVenue, gate: GateClient, world: str) -> None:
    """The end is no lock: the next grant opens the same way again."""
    await gate.deny([DEVICE])
    assert wired.ask_tcp(world, 443) == RESET
    await gate.allow({DEVICE: Terms(60)})
    assert wired.ask_tcp(world, 443) == WORLD
    assert wired.ask_udp(world, 443) == WORLD
