"""The watch's ears: two packet sockets on each port of the guests' bridges, and what is the box's own there.

One hears what only servers, routers and liars send; the other the first octets of what is counted. Both
hold little, and are read a little at a time: what does not fit the kernel drops and counts, which costs less
than to hear it.
"""

import contextlib
import ctypes
import socket
import struct
from collections.abc import Iterator, Sequence
from ipaddress import IPv6Address
from pathlib import Path
from typing import NamedTuple

from captive.kernel.isolation import list_ports
from captive.watch.claims import Own
from captive.watch.filters import claims_filter, headers_filter
from captive.watch.roaming import Place
from crm.settings import Network

ETH_P_ALL = 3
SO_ATTACH_FILTER = 26
SOL_PACKET, PACKET_STATISTICS = 263, 6
BUFFER = 208 * 1024
"""Octets that the kernel holds per socket, and as many for itself: some hundred frames, what it gives by default."""
LONGEST = 2_048
MAX_TAPS = 128
"""Ports that are listened at, at most."""
INTERFACES = Path("/sys/class/net")
ADDRESSES = Path("/proc/self/net/if_inet6")


class Spot(NamedTuple):
    """A port as it is now. What changes in it makes it another."""

    network: Network
    number: int
    port: str
    own: Own
    addresses6: frozenset[IPv6Address]

    @property
    def place(self) -> Place:
        """How it is called."""
        return Place(self.network.name, self.port)


def find_spots(networks: Sequence[Network]) -> list[Spot]:
    """Every port of the bridges of *networks* that is up; an interface that is no bridge is its own only port.

    Interfaces that are not there have none. Raises `OSError` when the kernel does not answer.
    """
    ports: dict[str, list[tuple[int, str]]] = {each.interface: [] for each in networks}
    for port in list_ports(ports):
        ports[port.bridge].append((port.number, port.name))
    link_locals = _link_locals()
    spots = []
    for network in networks:
        found = ports[network.interface]
        with contextlib.suppress(OSError):
            index = socket.if_nametoindex(network.interface)
            if not found and not INTERFACES.joinpath(network.interface, "bridge").exists():
                found = [(index, network.interface)]
            mac = _mac(network.interface)
            six = frozenset(
                [*link_locals.get(network.interface, ()), *([network.net6.ip] if network.net6 else [])]
            )
            addresses = frozenset([str(network.net4.ip), *map(str, six)])
            for number, name in found:
                with contextlib.suppress(OSError):
                    if not _is_up(name):
                        continue
                    own = Own(frozenset([mac, _mac(name)]), addresses)
                    spots.append(Spot(network, number, name, own, six))
    return spots[:MAX_TAPS]


class Tap:
    """Hears one port. Raises `OSError` where it cannot."""

    def __init__(self, spot: Spot) -> None:
        self.spot = spot
        with contextlib.ExitStack() as stack:
            four = spot.network.net4.ip
            self._claims = _hear(spot.port, claims_filter(four, sorted(spot.addresses6)))
            stack.callback(self._claims.close)
            self._headers = _hear(spot.port, headers_filter())
            stack.pop_all()

    def claims(self, most: int) -> Iterator[bytes]:
        """Up to *most* packets of servers, routers and liars."""
        return _read(self._claims, most)

    def headers(self, most: int) -> Iterator[bytes]:
        """Up to *most* frames' first octets."""
        return _read(self._headers, most)

    def unread(self) -> int:
        """How many frames the kernel has dropped since it was asked last, because they were not read in time."""
        return _dropped(self._headers)

    def send(self, frame: bytes) -> None:
        """Send *frame* out of this port, past the bridge: nobody on the box hears it. Raises `OSError`."""
        self._claims.send(frame)

    def close(self) -> None:
        """Stop hearing."""
        self._claims.close()
        self._headers.close()


def _hear(interface: str, program: bytes) -> socket.socket:
    """A packet socket that hears what *program* passes on *interface*, and has heard nothing before."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0)
    try:
        held = ctypes.create_string_buffer(program, len(program))
        sock.setsockopt(
            socket.SOL_SOCKET,
            SO_ATTACH_FILTER,
            struct.pack("@HP", len(program) // 8, ctypes.addressof(held)),
        )
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        sock.bind((interface, ETH_P_ALL))
    except BaseException:
        sock.close()
        raise
    return sock


def _read(sock: socket.socket, most: int) -> Iterator[bytes]:
    for _ in range(most):
        try:
            yield sock.recv(LONGEST)
        except BlockingIOError:
            return
        except OSError:  # the port went down; the kernel says so once
            continue


def _dropped(sock: socket.socket) -> int:
    dropped: int = struct.unpack("=II", sock.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))[1]
    return dropped


def _is_up(interface: str) -> bool:
    return INTERFACES.joinpath(interface, "operstate").read_text().strip() in ("up", "unknown")


def _mac(interface: str) -> bytes:
    return bytes.fromhex(INTERFACES.joinpath(interface, "address").read_text().strip().replace(":", ""))


def _link_locals() -> dict[str, list[IPv6Address]]:
    found: dict[str, list[IPv6Address]] = {}
    with contextlib.suppress(OSError):
        for line in ADDRESSES.read_text("ascii").splitlines():
            digits, _, _, _, _, name = line.split()
            if digits.startswith("fe80"):
                found.setdefault(name, []).append(IPv6Address(bytes.fromhex(digits)))
    return found
