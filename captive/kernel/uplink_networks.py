"""The networks that the uplink is in: the office's own, whose public addresses no list of private ranges names.

Read from the addresses that the box has there, not from routes: those of a tunnel may cover the whole Internet.
"""

import asyncio
import contextlib
import ipaddress
import socket
import struct
from collections.abc import Awaitable, Callable

from captive.kernel.netlink import Netlink, attributes

RTM_GETADDR = 22
IFA_ADDRESS = 1
RT_SCOPE_UNIVERSE = 0
_ADDRESS = struct.Struct("=BBBBI")
"""struct ifaddrmsg: family, prefix length, flags, scope, interface."""
SUBNET6 = 64
"""Prefix length of what an address by DHCPv6, a /128, is one of (RFC 4291, 2.5.4)."""
EVERY = 5.0
"""Seconds between two looks."""


def uplink_networks(interface: str) -> frozenset[str]:
    """As ``2001:db8::/64``; none while there is no such interface. Raises OSError."""
    index = next((number for number, name in socket.if_nameindex() if name == interface), None)
    if index is None:
        return frozenset()
    found = set()
    with Netlink(socket.NETLINK_ROUTE) as netlink:
        for body in netlink.dump(RTM_GETADDR, _ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0)):
            family, length, _, scope, where = _ADDRESS.unpack_from(body)
            raw = dict(attributes(body, _ADDRESS.size)).get(IFA_ADDRESS, b"")
            if where == index and scope == RT_SCOPE_UNIVERSE and len(raw) in (4, 16):
                length = SUBNET6 if family == socket.AF_INET6 and length == 128 else length
                found.add(str(ipaddress.ip_network((raw, length), strict=False)))
    return frozenset(found)


async def watch_networks(
    interface: str, known: Callable[[], frozenset[str]], changed: Callable[[], Awaitable[None]]
) -> None:
    """Call *changed* while *interface* is in others than the *known*: providers give an office new ones any day."""
    while True:
        await asyncio.sleep(EVERY)
        with contextlib.suppress(OSError):  # asked again
            if uplink_networks(interface) != known():
                await changed()
