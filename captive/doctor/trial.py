"""The portal is told which phone is the doctor's, by a wish in the access store, and fulfils it within seconds."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from captive.grants.store import delete_wishes, insert_wishes, select_wishes
from captive.grants.trials import TRY
from crm.settings import Settings
from crm.store import STORE_ERRORS, Store, open_store

PATIENCE = 8.0
"""Seconds; the portal looks every two."""


class Trials:
    """Asks for trials from threads, while the event loop that made it runs."""

    def __init__(self, access: Store) -> None:
        self._access = access
        self._loop = asyncio.get_running_loop()

    def begin(self, device: str) -> str:
        """Have the portal take *device* for the doctor's phone; why it did not, "" when it did."""
        return self._wish(device, TRY)

    def end(self, device: str) -> str:
        """Have the portal end the grant of *device*; why it did not, "" when it did."""
        return self._wish(device, "end")

    def _wish(self, device: str, verb: str) -> str:
        wish = asyncio.run_coroutine_threadsafe(self._fulfilled(device, verb), self._loop)
        try:
            return wish.result(3 * PATIENCE)
        except TimeoutError:
            wish.cancel()
            return "the access store is locked"

    async def _fulfilled(self, device: str, verb: str) -> str:
        try:
            async with self._access.begin() as conn:
                await insert_wishes(conn, [device], verb)
            until = self._loop.time() + PATIENCE
            while self._loop.time() < until:
                await asyncio.sleep(0.1)
                async with self._access.read() as conn:
                    if device not in await select_wishes(conn):
                        return ""
            async with self._access.begin() as conn:
                await delete_wishes(conn, [device])
        except STORE_ERRORS as error:
            return f"the access store cannot be written ({type(error).__name__})"
        return f"the portal did not look into the access store for {PATIENCE:.0f} s"


@contextlib.asynccontextmanager
async def open_trials(settings: Settings) -> AsyncIterator[Trials]:
    """The access store, as far as it is needed for trials."""
    access = open_store(settings.store.access)
    try:
        yield Trials(access)
    finally:
        await access.close()
