"""Router advertisements as a phone reads them (RFC 4861). Rules only, no I/O."""

import socket
import struct
from ipaddress import IPv6Network
from typing import NamedTuple

from captive.advertise.advertisement import ADVERTISEMENT, CAPTIVE_PORTAL, HOP_LIMIT, PREFIX, SOLICITATION

SOLICIT = bytes([SOLICITATION]) + bytes(7)
"""A solicitation; its checksum is the kernel's to fill in."""
_ICMP6 = 58
_HEAD = 40


class Advertisement(NamedTuple):
    """What a router says of itself."""

    source: str
    lifetime: int
    prefixes: tuple[str, ...]
    api: str


def read_advertisement(packet: bytes) -> Advertisement | None:
    """The advertisement in an IPv6 *packet*; None when it is none that a phone would take (6.1.2)."""
    message = packet[_HEAD:]
    if len(message) < 16 or packet[0] >> 4 != 6 or packet[6] != _ICMP6 or packet[7] != HOP_LIMIT:
        return None
    if message[0] != ADVERTISEMENT or message[1] != 0:
        return None
    prefixes: list[str] = []
    api, at = "", 16
    while at + 2 <= len(message):
        kind, length = message[at], message[at + 1] * 8
        option = message[at : at + length]
        if length == 0 or len(option) < length:
            return None
        if kind == PREFIX and length == 32:
            prefixes.append(str(IPv6Network((option[16:32], min(option[2], 128)), strict=False)))
        elif kind == CAPTIVE_PORTAL:
            api = option[2:].rstrip(b"\0").decode("ascii", "replace")
        at += length
    lifetime = struct.unpack_from("!H", message, 6)[0]
    return Advertisement(socket.inet_ntop(socket.AF_INET6, packet[8:24]), lifetime, tuple(prefixes), api)
