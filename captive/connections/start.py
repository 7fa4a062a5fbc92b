"""Starts the connection log when the settings ask for one; what it needs is loaded only then."""

from collections.abc import Collection
from contextlib import AsyncExitStack, suppress
from importlib import import_module
from typing import Any

import structlog

from captive.gateway import key_parts
from captive.grants.journal import Journal, NoJournal
from captive.grants.store import select_grants
from captive.kernel.neighbours import Neighbours
from crm.settings import Settings
from crm.store import STORE_ERRORS, Store
from crm.web import Clock

log = structlog.get_logger()


class OwnJournal:
    """Hands on what happens on this box's own networks."""

    def __init__(self, journal: Journal, networks: Collection[str]) -> None:
        self._journal, self._networks = journal, frozenset(networks)

    def holds(self, device: str) -> bool:
        """Whether *device* is on a network of this box."""
        return key_parts(device)[0] in self._networks

    def began(self, device: str, address: str) -> None:
        """See `captive.grants.journal.Journal`."""
        if self.holds(device):
            self._journal.began(device, address)

    def ended(self, device: str) -> None:
        """See `captive.grants.journal.Journal`."""
        if self.holds(device):
            self._journal.ended(device)


async def start_journal(
    stack: AsyncExitStack, settings: Settings, access: Store, clock: Clock, neighbours: Neighbours
) -> Journal:
    """The journal of grants, told who is online already; *stack* ends it. Raises `SetupError`.

    It is of this box's own networks: no address of a device behind a thin router is known here.
    """
    if not settings.connection_log.on:
        return NoJournal()
    writing: Any = import_module("captive.connections.log")
    journal = writing.open_log(settings, clock, neighbours.addresses)
    own = OwnJournal(journal, [network.name for network in settings.networks])
    if settings.routers:
        log.info("connection log: guests behind routers are not in it", routers=len(settings.routers))
    with suppress(*STORE_ERRORS):  # then it begins with who comes from now on
        async with access.read() as conn:
            journal.resume(filter(own.holds, await select_grants(conn)))
    await journal.start()
    stack.push_async_callback(journal.close)
    return own
