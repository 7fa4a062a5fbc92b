"""No guest's frames reach another guest: each port of the guests' bridges bears the bridge's own mark for it.

A bridge passes nothing from one *isolated* port to another, whatever the frame is, and all of it to the box
(Linux 4.18; bridge(8)). Rules in nft would have to think of every protocol, and see a bridge's ports only
with a kernel module that many boxes lack. What meets inside one radio or behind one switch never comes to
the bridge: hostapd's ``ap_isolate`` and the switch have to see to that.
"""

import asyncio
import contextlib
import socket
import struct
import sys
from collections.abc import Collection
from typing import NamedTuple

import structlog

from captive.kernel.netlink import Netlink, attribute, attributes

log = structlog.get_logger()

AF_BRIDGE = 7
RTM_GETLINK, RTM_SETLINK = 18, 19
RTMGRP_LINK = 1
IFLA_IFNAME, IFLA_MASTER, IFLA_PROTINFO = 3, 10, 12
IFLA_BRPORT_ISOLATED = 33
LINK = struct.Struct("=BxHiII")
READ_AT_ONCE = 256 * 1024
BREATH = 0.05
"""Seconds between two looks, should somebody else keep changing the ports."""


class Port(NamedTuple):
    """An interface that is a port of a guests' bridge."""

    number: int
    name: str
    bridge: str
    isolated: bool | None
    """None: this kernel knows no isolation."""


def list_ports(bridges: Collection[str]) -> list[Port]:
    """The ports of *bridges*; whatever is not there, or no bridge, has none."""
    masters = {}
    for bridge in bridges:
        with contextlib.suppress(OSError):
            masters[socket.if_nametoindex(bridge)] = bridge
    ports = []
    with Netlink(socket.NETLINK_ROUTE) as netlink:
        for body in netlink.dump(RTM_GETLINK, LINK.pack(AF_BRIDGE, 0, 0, 0, 0)):
            link = dict(attributes(body, LINK.size))
            master = masters.get(int.from_bytes(link.get(IFLA_MASTER, b""), sys.byteorder))
            if master:
                mark = dict(attributes(link.get(IFLA_PROTINFO, b""), 0)).get(IFLA_BRPORT_ISOLATED)
                name = link.get(IFLA_IFNAME, b"").rstrip(b"\0").decode(errors="replace")
                number = LINK.unpack_from(body)[2]
                ports.append(Port(number, name, master, None if mark is None else mark != b"\0"))
    return ports


def isolate_ports(bridges: Collection[str]) -> int:
    """Isolate every port of *bridges* that is not yet; how many. Raises `OSError` when the kernel refuses."""
    waiting = [port.number for port in list_ports(bridges) if port.isolated is False]
    mark = attribute(IFLA_PROTINFO, attribute(IFLA_BRPORT_ISOLATED, b"\x01"), nested=True)
    if waiting:
        with Netlink(socket.NETLINK_ROUTE) as netlink:
            netlink.change(RTM_SETLINK, [LINK.pack(AF_BRIDGE, 0, port, 0, 0) + mark for port in waiting])
    return len(waiting)


async def keep_isolated(bridges: Collection[str]) -> None:
    """Isolate every port of *bridges* now, and whatever becomes one the moment it does."""
    loop = asyncio.get_running_loop()
    with socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
    ) as events:
        events.setblocking(False)
        events.bind((0, RTMGRP_LINK))
        while True:
            try:
                done = isolate_ports(bridges)  # a few messages, quicker than a change of threads
                if done:
                    log.info("ports of the guests' bridges were isolated", ports=done)
            except OSError as error:
                log.error("ports cannot be isolated: guests may reach each other", reason=str(error))  # noqa: TRY400
            await asyncio.sleep(BREATH)
            with contextlib.suppress(OSError):  # more events than the socket holds are as good as one
                await loop.sock_recv(events, READ_AT_ONCE)


def isolation_problems(bridges: Collection[str]) -> list[str]:
    """A sentence for each port through which guests can reach each other."""
    return [
        f"{port.name}, a port of {port.bridge}, is not isolated: guests can reach each other through it; "
        + (
            "wificrm gate isolates it while it runs"
            if port.isolated is False
            else "this kernel is older than 4.18"
        )
        for port in list_ports(bridges)
        if not port.isolated
    ]
