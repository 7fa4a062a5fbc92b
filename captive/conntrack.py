"""What the kernel remembers of a device: its addresses (neighbour table) and its flows (conntrack).

Plain netlink messages: one dump of 600 neighbours takes 1 ms here and 22 ms through pyroute2, whose
decoder is made for everything, and a busy venue has a hundred thousand flows to look through.
"""

import socket
import struct
from collections.abc import Collection, Iterator
from typing import Self

NETLINK_ROUTE, NETLINK_NETFILTER = 0, 12
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 0x1, 0x4, 0x300
NLMSG_ERROR, NLMSG_DONE = 2, 3
RTM_NEWNEIGH, RTM_GETNEIGH = 28, 30
NDA_DST, NDA_LLADDR, NDA_IFINDEX = 1, 2, 8
CTNETLINK = 1 << 8
CT_GET, CT_DELETE = CTNETLINK | 1, CTNETLINK | 2
CTA_TUPLE_ORIG, CTA_ID = 1, 12
NESTED = 0x8000
HEADER = struct.Struct("=IHHII")
ATTRIBUTE = struct.Struct("=HH")
FLOWS_AT_ONCE = 64


def addresses_of(macs: Collection[str], interface: str) -> set[bytes]:
    """The IPv4 and IPv6 addresses, packed, behind which *interface* has seen one of *macs*."""
    try:
        index = socket.if_nametoindex(interface)
    except OSError:
        return set()
    wanted = {bytes.fromhex(mac.replace(":", "")) for mac in macs}
    question = struct.pack("=BxxxiHBB", socket.AF_UNSPEC, index, 0, 0, 0) + _attribute(
        NDA_IFINDEX, struct.pack("=I", index)
    )
    found = set()
    with _Netlink(NETLINK_ROUTE) as netlink:
        for body in netlink.dump(RTM_GETNEIGH, question):
            attributes = dict(_attributes(body, 12))
            if attributes.get(NDA_LLADDR) in wanted and NDA_DST in attributes:
                found.add(attributes[NDA_DST])
    return found


def forget_flows(addresses: Collection[bytes]) -> int:
    """Delete the flows that *addresses* (packed) began.

    Replies are the other half of the same entry, so nothing of them remains in either direction. Returns
    how many went. Raises `OSError` when the kernel refuses.
    """
    if not addresses:
        return 0
    with _Netlink(NETLINK_NETFILTER) as netlink:
        # Picked here, not by the kernel: its filter by IPv6 address picks all others instead (seen with 6.18).
        flows = [
            flow for flow in netlink.dump(CT_GET, _family(socket.AF_UNSPEC)) if _source(flow) in addresses
        ]
        for start in range(0, len(flows), FLOWS_AT_ONCE):
            netlink.delete([_same_flow(flow) for flow in flows[start : start + FLOWS_AT_ONCE]])
    return len(flows)


def _family(family: int) -> bytes:
    return struct.pack("=BBH", family, 0, 0)


def _source(flow: bytes) -> bytes:
    """Who began *flow*: the kernel always puts the original tuple first, its source address first in it."""
    return flow[16:20] if flow[0] == socket.AF_INET else flow[16:32]


def _same_flow(flow: bytes) -> bytes:
    """The message body that names exactly *flow* (its number guards against one that came since)."""
    attributes = dict(_attributes(flow, 4))
    return (
        _family(flow[0])
        + _attribute(CTA_TUPLE_ORIG | NESTED, attributes[CTA_TUPLE_ORIG])
        + _attribute(CTA_ID, attributes[CTA_ID])
    )


def _attribute(kind: int, value: bytes) -> bytes:
    return ATTRIBUTE.pack(4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def _attributes(body: bytes, start: int) -> Iterator[tuple[int, bytes]]:
    while start + 4 <= len(body):
        length, kind = ATTRIBUTE.unpack_from(body, start)
        if length < 4:
            return
        yield kind & 0x3FFF, body[start + 4 : start + length]
        start += length + 3 & ~3


class _Netlink:
    """One netlink socket for a few questions, used by one thread."""

    def __init__(self, protocol: int) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self._socket.settimeout(5)
        self._number = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def dump(self, kind: int, body: bytes) -> Iterator[bytes]:
        """The bodies of everything the kernel has of that kind."""
        self._socket.send(self._message(kind, NLM_F_DUMP, body))
        while True:
            for number, answer in self._answers():
                if answer is None:
                    return
                if number == self._number:
                    yield answer

    def delete(self, bodies: list[bytes]) -> None:
        """Delete flows in one go; one that ended by itself meanwhile is as good as deleted."""
        self._socket.send(b"".join(self._message(CT_DELETE, NLM_F_ACK, body) for body in bodies))
        left = len(bodies)
        while left > 0:
            left -= sum(answer is None for _, answer in self._answers())

    def _message(self, kind: int, flags: int, body: bytes) -> bytes:
        self._number += 1
        return HEADER.pack(HEADER.size + len(body), kind, NLM_F_REQUEST | flags, self._number, 0) + body

    def _answers(self) -> Iterator[tuple[int, bytes | None]]:
        """One read: (number, body); None for the end of a dump and for an acknowledgement."""
        data, start = self._socket.recv(256 * 1024), 0
        while start < len(data):
            length, kind, _, number, _ = HEADER.unpack_from(data, start)
            body = data[start + HEADER.size : start + length]
            if kind in (NLMSG_ERROR, NLMSG_DONE):
                code = -struct.unpack_from("=i", body)[0] if len(body) >= 4 else 0
                if code not in (0, 2):
                    raise OSError(code, f"netlink: error {code}")
                yield number, None
            else:
                yield number, body
            start += length + 3 & ~3
