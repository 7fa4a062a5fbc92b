"""The access store as the book of grants uses it: nobody waits for it long, and what it misses is made up for.

While the store is full, broken or gone, the book goes on from memory. The first time that the store takes
anything again it is given the whole book in one transaction, so nothing need be remembered of what it missed.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from crm.store import STORE_ERRORS, BatchWrite, Store

log = structlog.get_logger()

T = TypeVar("T")

PATIENCE = 2.0
"""Seconds that anybody waits for the store; going online does not depend on it."""

Work = Callable[[AsyncConnection], Awaitable[T]]


class Ledger:
    """Writes through to *access* while that works; *behind* when the store lacks something of the book."""

    def __init__(self, access: Store, note: Path | None = None) -> None:
        """*note* is an empty file that stands while the store lacks something: a restart must not believe it."""
        self._access = access
        self._note = note
        self.was_left_behind = note is not None and note.exists()
        """Whether the portal ended while the store lacked something."""
        self.behind = False
        self._noted = self.was_left_behind
        self._failing = False
        self._missed = 0

    def fall_behind(self) -> None:
        """The whole book is to be written anew by the next `catch_up`."""
        self.behind = True
        self._missed += 1

    async def write(self, batch: BatchWrite, item: Any) -> None:  # noqa: ANN401
        """Group commit of *item* (see `crm.store.Store.write`)."""
        if self.behind:
            self._miss()
        else:
            await self._attempt(self._access.write(batch, item))

    async def change(self, work: Work[None]) -> None:
        """Do *work* in a transaction."""
        if self.behind:
            self._miss()
        else:
            await self._attempt(self._begin(work))

    async def read(self, work: Work[T]) -> T | None:
        """What *work* reads; None when the store fails."""
        done = await self._attempt(self._read(work))
        return done[0] if done else None

    async def catch_up(self, work: Work[None]) -> None:
        """Write the whole book by *work*; from then on changes are written as they come."""
        missed = self._missed
        if not await self._attempt(self._begin(work)):
            return
        if self._failing:
            log.info("the access store takes grants again; what it missed is in it")
        self._failing = False
        self.behind = missed != self._missed  # whatever changed meanwhile did not get in

    async def _attempt(self, work: Awaitable[T]) -> tuple[T] | None:
        """What came of *work*; None when the store failed."""
        try:
            async with asyncio.timeout(PATIENCE):
                return (await work,)
        except STORE_ERRORS as error:
            if not self._failing:
                log.error("the access store fails: grants go on in memory", error=type(error).__name__)  # noqa: TRY400
                self._leave_note()
            self._failing = True
            self.fall_behind()
            return None

    def settle(self) -> None:
        """The store has all there is to have: take the note away."""
        if self._note and self._noted and not self.behind:
            with contextlib.suppress(OSError):
                self._note.unlink(missing_ok=True)
                self._noted = False

    def _miss(self) -> None:
        self._missed += 1
        self._leave_note()

    def _leave_note(self) -> None:
        if self._note and not self._noted:
            with contextlib.suppress(OSError):  # a full disk most often has room for a name
                self._note.touch(mode=0o600)
        self._noted = True

    async def _begin(self, work: Work[None]) -> None:
        async with self._access.begin() as conn:
            await work(conn)

    async def _read(self, work: Work[T]) -> T:
        async with self._access.read() as conn:
            return await work(conn)
