"""DHCP as a phone speaks it (RFC 2131), octet by octet. Rules only, no I/O."""

import socket
import struct
from typing import NamedTuple

DISCOVER, OFFER, REQUEST, ACK, NAK, RELEASE = 1, 2, 3, 5, 6, 7
SUBNET, ROUTER, RESOLVER, ADDRESS, LEASE, KIND, SERVER, ASKED, CAPTIVE_PORTAL = (
    1,
    3,
    6,
    50,
    51,
    53,
    54,
    55,
    114,
)
"""Options by number (RFC 2132, RFC 8910)."""
CLIENT_PORT, SERVER_PORT = 68, 67
_COOKIE = bytes.fromhex("63825363")
_HEAD = struct.Struct("!BBBBIHH4s4s4s4s16s64s128s4s")
_BROADCAST_FLAG = 0x8000
_UDP = 17


class Message(NamedTuple):
    """What a server says: of which exchange, which address, and {option: octets}."""

    number: int
    address: str
    options: dict[int, bytes]

    @property
    def kind(self) -> int:
        """`OFFER`, `ACK`, `NAK`; 0 where it says none."""
        return int.from_bytes(self.options.get(KIND, b""), "big")

    def address_of(self, option: int) -> str:
        """The first address in *option*; "" without one."""
        value = self.options.get(option, b"")[:4]
        return socket.inet_ntoa(value) if len(value) == 4 else ""

    @property
    def seconds(self) -> int:
        """For how long the address is lent."""
        return int.from_bytes(self.options.get(LEASE, b"")[:4], "big")

    @property
    def prefix(self) -> int:
        """The length of the network's prefix, by its mask."""
        return int.from_bytes(self.options.get(SUBNET, b"")[:4], "big").bit_count()

    @property
    def api(self) -> str:
        """The URI of the portal's API that option 114 names; "" without one."""
        return self.options.get(CAPTIVE_PORTAL, b"").decode("ascii", "replace").rstrip("\0")


def question(
    kind: int, mac: str, number: int, *, server: str = "", address: str = "", own: str = ""
) -> bytes:
    """A phone's message. *address* is the one it asks for; *own* the one that it has and gives back."""
    options = [(KIND, bytes([kind]))]
    if address:
        options.append((ADDRESS, socket.inet_aton(address)))
    if server:
        options.append((SERVER, socket.inet_aton(server)))
    if kind != RELEASE:
        options.append((ASKED, bytes([SUBNET, ROUTER, RESOLVER, LEASE, CAPTIVE_PORTAL])))
    head = _HEAD.pack(
        *(1, 1, 6, 0, number, 0, 0 if own else _BROADCAST_FLAG),
        *(socket.inet_aton(own or "0.0.0.0"), bytes(4), bytes(4), bytes(4)),  # noqa: S104 - no address yet
        *(bytes.fromhex(mac.replace(":", "")), b"", b"", _COOKIE),
    )
    text = b"".join(bytes([code, len(value)]) + value for code, value in options)
    return (head + text + b"\xff").ljust(300, b"\0")


def as_packet(message: bytes) -> bytes:
    """*message* in UDP and IP, from who has no address to everybody."""
    udp = struct.pack("!HHHH", CLIENT_PORT, SERVER_PORT, 8 + len(message), 0) + message
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, _UDP, 0, bytes(4), b"\xff" * 4)
    total = sum(struct.unpack("!10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    return head[:10] + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF) + head[12:] + udp


def answer(packet: bytes) -> Message | None:
    """What a server says in an IP *packet*; None when it is none of a server's."""
    if len(packet) < 28 or packet[0] >> 4 != 4 or packet[9] != _UDP:
        return None
    start = (packet[0] & 15) * 4
    if packet[start : start + 4] != struct.pack("!HH", SERVER_PORT, CLIENT_PORT):
        return None
    message = packet[start + 8 :]
    if len(message) < _HEAD.size or message[0] != 2 or message[_HEAD.size - 4 : _HEAD.size] != _COOKIE:
        return None
    options: dict[int, bytes] = {}
    at = _HEAD.size
    while at + 1 < len(message) and message[at] != 0xFF:
        if message[at] == 0:
            at += 1
            continue
        length = message[at + 1]
        options.setdefault(message[at], message[at + 2 : at + 2 + length])
        at += 2 + length
    return Message(int.from_bytes(message[4:8], "big"), socket.inet_ntoa(message[16:20]), options)
