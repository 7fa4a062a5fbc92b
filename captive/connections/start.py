"""Starts the connection log when the settings ask for one; what it needs is loaded only then."""

from contextlib import AsyncExitStack, suppress
from importlib import import_module
from typing import Any

from captive.grants.journal import Journal, NoJournal
from captive.grants.store import select_grants
from captive.kernel.neighbours import Neighbours
from crm.settings import Settings
from crm.store import STORE_ERRORS, Store
from crm.web import Clock


async def start_journal(
    stack: AsyncExitStack, settings: Settings, access: Store, clock: Clock, neighbours: Neighbours
) -> Journal:
    """The journal of grants, told who is online already; *stack* ends it. Raises `SetupError`."""
    if not settings.connection_log.on:
        return NoJournal()
    writing: Any = import_module("captive.connections.log")
    journal = writing.open_log(settings, clock, neighbours.addresses)
    with suppress(*STORE_ERRORS):  # then it begins with who comes from now on
        async with access.read() as conn:
            journal.resume(await select_grants(conn))
    await journal.start()
    stack.push_async_callback(journal.close)
    told: Journal = journal
    return told
