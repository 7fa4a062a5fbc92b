"""The gateway of this box, with how long it takes to answer, and whether it does."""

import asyncio
from collections.abc import Awaitable, Collection, Mapping
from typing import TypeVar

from captive.gateway import Gateway, GatewayError, Lease, Terms

T = TypeVar("T")


class TimedGateway:
    """A `captive.gateway.Gateway` that passes everything on."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self.reachable: bool | None = None
        """Whether it answered the last time; None: it was not asked yet."""
        self.round_trip: float | None = None
        """Seconds that it took to list the devices, the last time without their counts."""

    async def allow(self, leases: Mapping[str, Terms]) -> None:
        """See `Gateway.allow`."""
        await self._ask(self._gateway.allow(leases))

    async def deny(self, devices: Collection[str]) -> None:
        """See `Gateway.deny`."""
        await self._ask(self._gateway.deny(devices))

    async def list(self, *, counts: bool = False) -> dict[str, Lease]:
        """See `Gateway.list`."""
        began = asyncio.get_running_loop().time()
        leases = await self._ask(self._gateway.list(counts=counts))
        if not counts:
            self.round_trip = asyncio.get_running_loop().time() - began
        return leases

    async def close(self) -> None:
        """See `Gateway.close`."""
        await self._gateway.close()

    async def _ask(self, work: Awaitable[T]) -> T:
        try:
            done = await work
        except GatewayError:
            self.reachable = False
            raise
        self.reachable = True
        return done
