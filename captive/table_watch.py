"""Tells when somebody took something out of our table, the moment it happens."""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable

from captive.ruleset import TABLE

NETLINK_NETFILTER = 12
SOL_NETLINK, NETLINK_ADD_MEMBERSHIP = 270, 1
NFNLGRP_NFTABLES = 7
LOSSES = {0x0A00 | kind for kind in (2, 5, 8, 11)}
"""nf_tables says: a table, chain, rule, set was deleted."""
BREATH = 0.05
"""Seconds to let a change finish that comes as many messages."""


async def watch_table(mend: Callable[[], Awaitable[None]]) -> None:
    """Call *mend* after every loss in our table, our own included; it looks whether there is work."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER) as events:
        events.setblocking(False)
        events.bind((0, 0))  # without an address of its own the socket hears nothing
        events.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, NFNLGRP_NFTABLES)
        while True:
            try:
                lost = _tells_loss(await loop.sock_recv(events, 64 * 1024))
            except OSError:  # more at once than the socket holds: anything may have been among it
                lost = True
            if lost:
                await asyncio.sleep(BREATH)
                await mend()


def _tells_loss(data: bytes) -> bool:
    start = 0
    while start + 16 <= len(data):
        length, kind = struct.unpack_from("=IH", data, start)
        if kind in LOSSES and f"{TABLE}\0".encode() in data[start : start + length]:
            return True
        start += max(length + 3 & ~3, 16)
    return False
