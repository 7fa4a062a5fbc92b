"""Which device is behind an address: the kernel's neighbour table, followed by its events.

Privacy: addresses and MACs live in memory here and leave with the device; nothing is written or logged.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Protocol

from pyroute2.iproute.linux import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl import RTMGRP_NEIGH

from crm.errors import SetupError

NUD_INCOMPLETE, NUD_FAILED = 0x01, 0x20
MAX_NEIGHBOURS = 65_536


class Neighbours(Protocol):
    """Finds the device behind an address."""

    async def device(self, address: str) -> str | None:
        """The device that has *address* now; None: not one of our guests."""

    async def close(self) -> None:
        """Stop listening."""


class Loopback:
    """For the demo: a device is its address; a browser on this machine plays the phone."""

    async def device(self, address: str) -> str | None:
        """The address itself."""
        return address

    async def close(self) -> None:
        """Nothing to stop."""


class KernelNeighbours:
    """Follows the neighbour table of the guest interface. Make it with `follow_neighbours`."""

    def __init__(self, route: Any, index: int) -> None:  # noqa: ANN401
        self.on_join: Callable[[str], None] = _nobody_cares
        self._route = route
        self._index = index
        self._macs: dict[str, str] = {}
        self._task: asyncio.Task[None] | None = None

    async def device(self, address: str) -> str | None:
        """The MAC that has *address*; asks the kernel when no event has told it yet."""
        address = address.partition("%")[0].removeprefix("::ffff:")
        if address not in self._macs:
            await self._read_all()
        return self._macs.get(address)

    async def start(self) -> None:
        """Read the table, then follow its changes."""
        await self._route.bind(groups=RTMGRP_NEIGH)
        await self._read_all()
        self._task = asyncio.create_task(self._follow(), name="neighbours")

    async def close(self) -> None:
        """Stop listening."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._route.close()

    async def _read_all(self) -> None:
        async with AsyncIPRoute() as route:
            found: dict[str, str] = {}
            async for message in await route.neigh("dump", ifindex=self._index):
                self._note(message, found)
        self._macs = found

    async def _follow(self) -> None:
        while True:
            try:
                async for message in self._route.get():
                    if message["ifindex"] == self._index:
                        self._follow_one(message)
            except OSError:  # events were lost (ENOBUFS): the table itself is the truth
                await self._read_all()

    def _follow_one(self, message: Any) -> None:  # noqa: ANN401
        address = message.get_attr("NDA_DST")
        known = self._macs.get(address)
        if message["event"] == "RTM_DELNEIGH" or message["state"] & NUD_FAILED:
            self._macs.pop(address, None)
            return
        self._note(message, self._macs)
        mac = self._macs.get(address)
        if mac is not None and mac != known:
            self.on_join(mac)

    @staticmethod
    def _note(message: Any, table: dict[str, str]) -> None:  # noqa: ANN401
        address, mac = message.get_attr("NDA_DST"), message.get_attr("NDA_LLADDR")
        if mac and not message["state"] & (NUD_FAILED | NUD_INCOMPLETE) and len(table) < MAX_NEIGHBOURS:
            table[address] = mac.lower()


def _nobody_cares(_mac: str) -> None:
    pass


async def follow_neighbours(interface: str) -> KernelNeighbours:
    """Follow the devices on *interface*; the result's ``on_join`` is told the MAC of each that appears.

    Raises `SetupError` when there is no such interface.
    """
    route = AsyncIPRoute()
    try:
        found = await route.link_lookup(ifname=interface)
    except NetlinkError:
        found = []
    if not found:
        route.close()
        raise SetupError(
            f"there is no interface {interface}; set network.guest to the bridge that phones are on"
        )
    neighbours = KernelNeighbours(route, found[0])
    await neighbours.start()
    return neighbours
