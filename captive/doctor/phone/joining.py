"""How a phone gets its addresses; and how the box asks, in its place, who else gives any."""

import os
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import NamedTuple

from captive.advertise.advertisement import ALL_ROUTERS, HOP_LIMIT
from captive.doctor.phone import dhcp
from captive.doctor.phone.advertisements import SOLICIT, Advertisement, read_advertisement
from captive.doctor.phone.handset import (
    ALL_FRAMES,
    EXPERIMENTAL_FRAMES,
    IPV4_FRAMES,
    IPV6_FRAMES,
    NEIGHBOUR,
    WIFI,
    Handset,
    open_packets,
)
from captive.doctor.phone.resolving import MakeSocket

GATHER_SECONDS = 4.5
"""For which others are waited for: many servers first ping for three seconds the address that they will offer."""
OFFER_SECONDS = 4.0
ROUTER_SECONDS = 2.0
"""A router answers within half a second (RFC 4861, 6.2.6)."""
_AGAIN_SECONDS = 0.9
_OUTGOING = 4
_BROADCAST = b"\xff" * 6
_ICMP6_FILTER = 1

Sender = tuple[str, int, int, int, bytes]


class Heard(NamedTuple):
    """Another server of addresses, another router: by what it is known."""

    mac: str
    address: str


def ask_for_address(phone: Handset, own: str, number: int) -> tuple[bool, dhcp.Message | None]:
    """Whether anything was offered, and the lease that was taken: of the server *own* if it offers."""
    offers: dict[str, dhcp.Message] = {}
    asked: set[str] = set()
    began = time.monotonic()
    with phone.open_packets(WIFI, IPV4_FRAMES) as sock:
        for packet, _ in _packets(sock, began + OFFER_SECONDS, _discover(sock, phone.mac, number, WIFI)):
            message = dhcp.answer(packet) if packet else None
            if message and message.number == number and message.kind == dhcp.OFFER:
                offers.setdefault(message.address_of(dhcp.SERVER), message)
            elif message and message.number == number and message.kind == dhcp.ACK:
                return True, message
            late = time.monotonic() - began > _AGAIN_SECONDS
            chosen = own if own in offers else next(iter(offers), "") if late else ""
            if chosen and chosen not in asked:
                asked.add(chosen)
                _request(sock, phone.mac, number, offers[chosen])
    return bool(offers), None


def hear_servers(phone: Handset, number: int) -> set[str]:
    """Every server that offers the phone an address in the exchange *number*, however late."""
    until = time.monotonic() + GATHER_SECONDS
    with phone.open_packets(WIFI, IPV4_FRAMES) as sock:
        said = [dhcp.answer(packet) for packet, _ in _packets(sock, until, lambda: None) if packet]
    return {each.address_of(dhcp.SERVER) for each in said if each and each.number == number}


def release(phone: Handset, lease: dhcp.Message) -> None:
    """Give the address back, so that doctors do not use up the pool. Raises OSError."""
    server = lease.address_of(dhcp.SERVER)
    number = int.from_bytes(os.urandom(4), "big")
    message = dhcp.question(dhcp.RELEASE, phone.mac, number, server=server, own=lease.address)
    with phone.make_socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((lease.address, dhcp.CLIENT_PORT))
        sock.sendto(message, (server, dhcp.SERVER_PORT))


def ask_for_routers(phone: Handset, *, every: bool) -> list[Advertisement]:
    """The router that answers the phone first, or *every* one that does."""
    found: dict[str, Advertisement] = {}
    until = time.monotonic() + ROUTER_SECONDS
    with phone.open_packets(WIFI, IPV6_FRAMES) as sock, _raw(phone.make_socket, WIFI) as raw:
        for packet, _ in _packets(sock, until, lambda: _solicit(raw)):
            said = read_advertisement(packet) if packet else None
            if said and said.lifetime:
                found[said.source] = said
                if not every:
                    break
    return list(found.values())


def ask_around(bridge: str, mac: str, *, six: bool) -> tuple[list[Heard], list[Heard]]:
    """Who else than this box gives addresses on its *bridge*, and who says there that it is a router.

    The box itself asks, as the phone *mac*: ports are isolated, so what another server says need not reach a
    phone on the bridge, though it reaches those on the same radio or switch as that server.
    """
    number = int.from_bytes(os.urandom(4), "big")
    servers: dict[str, Heard] = {}
    routers: dict[str, Heard] = {}
    with ExitStack() as stack:
        sock4 = stack.enter_context(open_packets(bridge, IPV4_FRAMES))
        sock6 = stack.enter_context(open_packets(bridge, IPV6_FRAMES))
        if six:
            _solicit(stack.enter_context(_raw(socket.socket, bridge)))
        _discover(sock4, mac, number, bridge)()
        until = time.monotonic() + GATHER_SECONDS
        while (left := until - time.monotonic()) > 0:
            for sock in select.select([sock4, sock6], [], [], left)[0]:
                packet, sender = sock.recvfrom(2048)
                if sender[2] == _OUTGOING:
                    continue
                by = sender[4].hex(":")
                if sock is sock4 and (message := dhcp.answer(packet)) and message.number == number:
                    servers[by] = Heard(by, message.address_of(dhcp.SERVER))
                elif sock is sock6 and (said := read_advertisement(packet)) and said.lifetime:
                    routers[by] = Heard(by, said.source)
    return list(servers.values()), list(routers.values())


def hears(phone: Handset, seconds: float) -> bool:
    """Whether what the phone says to all comes to the port of another guest within *seconds*."""
    own = bytes.fromhex(phone.mac.replace(":", ""))
    until = time.monotonic() + seconds
    with (
        phone.open_packets(NEIGHBOUR, ALL_FRAMES) as other,
        phone.open_packets(WIFI, EXPERIMENTAL_FRAMES) as sock,
    ):
        for _, sender in _packets(other, until, lambda: _send(sock, bytes(46), WIFI, EXPERIMENTAL_FRAMES)):
            if sender and sender[4] == own:
                return True
    return False


def _discover(sock: socket.socket, mac: str, number: int, interface: str) -> Callable[[], None]:
    packet = dhcp.as_packet(dhcp.question(dhcp.DISCOVER, mac, number))
    return lambda: _send(sock, packet, interface)


def _request(sock: socket.socket, mac: str, number: int, offer: dhcp.Message) -> None:
    server = offer.address_of(dhcp.SERVER)
    question = dhcp.question(dhcp.REQUEST, mac, number, server=server, address=offer.address)
    _send(sock, dhcp.as_packet(question), WIFI)


def _send(sock: socket.socket, packet: bytes, interface: str, kind: int = IPV4_FRAMES) -> None:
    sock.sendto(packet, (interface, kind, 0, 0, _BROADCAST))


def _solicit(raw: socket.socket) -> None:
    with suppress(OSError):  # no address of the link yet: the kernel asks, too
        raw.sendto(SOLICIT, (ALL_ROUTERS, 0))


def _raw(make: MakeSocket, interface: str) -> socket.socket:
    sock = make(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, HOP_LIMIT)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
    sock.setsockopt(
        socket.IPPROTO_ICMPV6, _ICMP6_FILTER, struct.pack("=8I", *[0xFFFF_FFFF] * 8)
    )  # it only speaks
    return sock


def _packets(
    sock: socket.socket, until: float, say: Callable[[], None]
) -> Iterator[tuple[bytes, Sender | None]]:
    """What comes in *until* then, with its sender; *say* it at first and now and then again.

    An empty packet now and then lets the reader look at its watch.
    """
    again = 0.0
    while (now := time.monotonic()) < until:
        if now >= again:
            say()
            again = now + _AGAIN_SECONDS
        if select.select([sock], [], [], 0.05)[0]:
            packet, sender = sock.recvfrom(2048)
            if sender[2] != _OUTGOING:
                yield packet, sender
                continue
        yield b"", None
