"""What bridges learn: which MAC is behind which port. The kernel tells of each move, whatever frames came in."""

import socket
import struct
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from captive.kernel.netlink import HEADER, Netlink, attributes

AF_BRIDGE = 7
RTMGRP_NEIGH = 4
RTM_NEWNEIGH, RTM_GETNEIGH = 28, 30
NDA_LLADDR = 2
NUD_PERMANENT = 0x80
ENTRY = struct.Struct("=BxxxiHBB")
READ_AT_ONCE = 16 * 1024


class Learned(NamedTuple):
    """A bridge has learned that *mac* is behind the port with that index."""

    mac: bytes
    port: int


class BridgeEvents:
    """Follows what all bridges of the box learn."""

    def __init__(self) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        self._socket = socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)
        self._socket.bind((0, RTMGRP_NEIGH))

    def read(self, most: int) -> Iterator[Learned]:
        """What was learned since, up to *most* messages; under a flood the kernel drops the rest."""
        for _ in range(most):
            try:
                data = self._socket.recv(READ_AT_ONCE)
            except BlockingIOError:
                return
            except OSError:  # some were lost: there are more where they came from
                continue
            yield from _entries(data)

    def close(self) -> None:
        """Stop following."""
        self._socket.close()


def list_learned(most: int) -> list[Learned]:
    """Up to *most* of the MACs that the bridges know now. Raises `OSError`."""
    with Netlink(socket.NETLINK_ROUTE) as netlink:
        bodies = netlink.dump(RTM_GETNEIGH, ENTRY.pack(AF_BRIDGE, 0, 0, 0, 0))
        return list(islice(filter(None, map(_entry, bodies)), most))


def _entries(data: bytes) -> Iterator[Learned]:
    start = 0
    while start + HEADER.size <= len(data):
        length, kind, _, _, _ = HEADER.unpack_from(data, start)
        if kind == RTM_NEWNEIGH:
            entry = _entry(data[start + HEADER.size : start + length])
            if entry:
                yield entry
        start += max(length + 3 & ~3, HEADER.size)


def _entry(body: bytes) -> Learned | None:
    if len(body) < ENTRY.size:
        return None
    family, port, state, _, _ = ENTRY.unpack_from(body)
    mac = dict(attributes(body, ENTRY.size)).get(NDA_LLADDR, b"")
    return Learned(mac, port) if family == AF_BRIDGE and not state & NUD_PERMANENT and len(mac) == 6 else None
