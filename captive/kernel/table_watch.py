"""Tells when somebody took something out of our tables, or put something in, the moment it happens.

Elements of sets are left alone: dnsmasq and the packets themselves change them all the time. What the portal
has in them it looks at by itself, every other second.
"""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable

from captive.kernel.ruleset import TABLE

NETLINK_NETFILTER = 12
SOL_NETLINK, NETLINK_ADD_MEMBERSHIP = 270, 1
NFNLGRP_NFTABLES = 7
CHANGES = {0x0A00 | kind for kind in (2, 3, 5, 6, 8, 11)}
"""nf_tables says: a table was deleted; a chain made or deleted; a rule the same; a set deleted."""
BREATH = 0.05
"""Seconds to let a change finish that comes as many messages."""


async def watch_table(mend: Callable[[], Awaitable[None]]) -> None:
    """Call *mend* after every change of our tables, our own included; it looks whether there is work."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER) as events:
        events.setblocking(False)
        events.bind((0, 0))  # without an address of its own the socket hears nothing
        events.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, NFNLGRP_NFTABLES)
        while True:
            try:
                changed = _tells_change(await loop.sock_recv(events, 64 * 1024))
            except OSError:  # more at once than the socket holds: anything may have been among it
                changed = True
            if changed:
                await asyncio.sleep(BREATH)
                await mend()


def _tells_change(data: bytes) -> bool:
    start = 0
    while start + 16 <= len(data):
        length, kind = struct.unpack_from("=IH", data, start)
        if kind in CHANGES and f"{TABLE}\0".encode() in data[start : start + length]:
            return True
        start += max(length + 3 & ~3, 16)
    return False
