"""One gateway over the gate of this box and the routers elsewhere: who is away harms nobody elsewhere."""

import asyncio
from collections.abc import Collection, Coroutine, Iterable, Mapping
from typing import Any

import structlog

from captive.gateway import Gateway, GatewayError, Lease, Terms, key_parts
from captive.routers.link import RouterLink

log = structlog.get_logger()


class Gateways:
    """A `captive.gateway.Gateway` that asks each device's own."""

    def __init__(
        self, local: Gateway | None, networks: Collection[str], links: Mapping[str, RouterLink]
    ) -> None:
        """*local* is the gate of this box with its *networks*, None where it has no guests of its own."""
        self._local, self._networks, self._links = local, frozenset(networks), links
        self._silent = frozenset(links)

    def silent(self) -> frozenset[str]:
        """The networks of which the last `list` could say nothing."""
        return self._silent

    async def allow(self, leases: Mapping[str, Terms]) -> None:
        """See `captive.gateway.Gateway.allow`; raises for one gateway after all others were told."""
        parts: dict[str, dict[str, Terms]] = {}
        for device, terms in leases.items():
            parts.setdefault(self._place(device), {})[device] = terms
        await _all(gateway.allow(part) for place, part in parts.items() if (gateway := self._of(place)))

    async def deny(self, devices: Collection[str]) -> None:
        """See `captive.gateway.Gateway.deny`; raises for one gateway after all others were told."""
        parts: dict[str, list[str]] = {}
        for device in devices:
            parts.setdefault(self._place(device), []).append(device)
        await _all(gateway.deny(part) for place, part in parts.items() if (gateway := self._of(place)))

    async def list(self, *, counts: bool = False) -> dict[str, Lease]:
        """See `captive.gateway.Gateway.list`; of the networks that `silent` names nothing is in it."""
        found: dict[str, Lease] = {}
        live = {name: link for name, link in self._links.items() if link.is_live}
        silent = self._links.keys() - live.keys()
        if self._local:
            try:
                found |= await self._local.list(counts=counts)
            except GatewayError as error:
                if not live:
                    raise
                log.warning("gateway out of reach", reason=str(error))
                silent |= self._networks
        self._silent = frozenset(silent | {name for name, link in live.items() if not link.is_live})
        for name, link in live.items():
            if name not in self._silent:
                found |= await link.list(counts=counts)
        return found

    async def close(self) -> None:
        """Hang up on all of them; leases stay in force."""
        for link in self._links.values():
            await link.close()
        if self._local:
            await self._local.close()

    def _place(self, device: str) -> str:
        name = key_parts(device)[0]
        return name if name in self._links else ""

    def _of(self, place: str) -> Gateway | None:
        return self._links[place] if place else self._local


async def _all(steps: Iterable[Coroutine[Any, Any, None]]) -> None:
    every = list(steps)
    if len(every) == 1:  # as nearly always
        await every[0]
        return
    done = await asyncio.gather(*every, return_exceptions=True)
    failed = [each for each in done if isinstance(each, BaseException)]
    if failed:
        raise failed[0]
