"""Who is online: the access store is the truth, the kernel's sets its copy, and both are kept equal.

Deadlines are kept on the monotonic clock, so that a wall clock that jumps (a router without a battery
wakes up in 1970) ends nobody's grant; only the store's copy, read after a restart, is in UTC.
"""

import asyncio
import math
from collections.abc import Callable, Collection, Mapping
from datetime import date, datetime, timedelta
from typing import Protocol

import structlog

from captive.book import Book, Held, now_on_loop
from captive.gateway import Gateway, GatewayError, Lease, Terms, key_parts
from captive.marks import Marks
from captive.policy import Policy, Taken, Usage
from captive.ruleset import MAX_DEVICES
from captive.store import (
    CountRow,
    GrantRow,
    delete_grants,
    delete_wishes,
    extend_grant,
    save_counts,
    save_grants,
    select_grants,
    select_wishes,
)
from crm.store import Store
from crm.web import Clock

log = structlog.get_logger()

DRIFT = 10
"""Seconds by which the kernel's timeout may differ from the book before it is set right."""
COUNT_EVERY = 10.0
"""Seconds between two readings of what devices took."""


class Journal(Protocol):
    """Told who comes and goes, for the connection log; must neither wait nor fail."""

    def began(self, device: str, address: str) -> None:
        """A grant of *device* begins; *address* is the one it spoke from, or ""."""

    def ended(self, device: str) -> None:
        """The grant of *device* ended."""


class NoJournal:
    """Nothing is written down."""

    def began(self, device: str, address: str) -> None:
        """Let it pass."""

    def ended(self, device: str) -> None:
        """Let it pass."""


class Grants(Book):
    """The book of grants. `load` it before use; call `reconcile` every few seconds."""

    def __init__(
        self,
        access: Store,
        gateway: Gateway,
        clock: Clock,
        policies: Mapping[str, Policy],
        *,
        local: Callable[[], datetime | None] = lambda: None,
        journal: Journal | None = None,
    ) -> None:
        """*policies* by network; *local* tells the local time, None while the clock is known to be wrong."""
        super().__init__(policies, clock, Marks(access), local)
        self._access, self._gateway = access, gateway
        self._journal = journal or NoJournal()
        self._mending = asyncio.Lock()
        self._counted = -COUNT_EVERY

    async def load(self, today: date) -> None:
        """Read the store: grants that still run, who was asked today, what each had."""
        await self._marks.start_day(today)
        now, loop_now = self._clock(), now_on_loop()
        async with self._access.read() as conn:
            kept = await select_grants(conn)
        for device, row in kept.items():
            policy = self._policies.get(key_parts(device)[0])
            if policy is None:
                continue  # a network that is no more; the next `reconcile` ends it in the kernel
            most = policy.longest
            left = min((row.expires - now).total_seconds(), most)
            taken = Taken(row.up, row.down, row.seen_up, row.seen_down, quiet_since=loop_now)
            # One that ran out is ended by the next `reconcile`.
            self._held[device] = Held(loop_now + left, taken, row.extensions, booked=loop_now)

    async def start_day(self, today: date) -> None:
        """Take up the secret of *today*; yesterday's goes, and nobody can be recognised by it again."""
        await self._marks.start_day(today)

    # -- what pages do ----------------------------------------------------------------------------

    async def grant(self, device: str, address: str = "") -> None:
        """Bring *device* online: written down first, then let through. Returns when packets flow.

        Raises `Refusal`; raises `GatewayError` when the gateway cannot be told: then the grant stands and
        the next `reconcile` that reaches the gateway carries it out.
        """
        _, mac, _ = key_parts(device)
        seconds = self._policy(device).seconds(mac, self._local(), self._usage(device))
        if device not in self._held and len(self._held) >= MAX_DEVICES:
            raise GatewayError("as many devices are online as the table holds")  # nothing more is kept of any
        now = now_on_loop()
        held = self._held[device] = Held(now + seconds, Taken(quiet_since=now), booked=now)
        expires = self._clock() + timedelta(seconds=seconds)
        mark = self._marks.mark(device)
        await self._access.write(save_grants, GrantRow(device, expires, mark))
        self._marks.note_asked(mark)
        self._journal.began(device, address)
        await self._gateway.allow({device: Terms(seconds)})
        held.online = True

    async def extend(self, device: str) -> None:
        """Let the grant of *device* last longer, where it can (see `can_extend`). Raises `GatewayError`."""
        held = self._held.get(device)
        if held is None or not self.can_extend(device):
            return
        seconds = self.extended(device)
        held.ends, held.extensions = now_on_loop() + seconds, held.extensions + 1
        async with self._access.begin() as conn:
            expires = self._clock() + timedelta(seconds=seconds)
            await extend_grant(conn, device, expires, held.extensions)
        await self._gateway.allow({device: Terms(seconds, fresh=False)})

    async def forget(self, device: str) -> None:
        """End the grant of *device* and forget that it was asked, so that it meets the portal again."""
        await self._marks.forget([device])
        await self._end([device])

    # -- what keeps book and kernel equal ---------------------------------------------------------

    async def reconcile(self) -> None:
        """Make the kernel agree with the book, and end what has run out."""
        async with self._mending:
            await self._fulfil_wishes()
            now = now_on_loop()
            await self._end([device for device, held in self._held.items() if held.ends <= now], by=now)
            counting = now - self._counted >= COUNT_EVERY
            try:
                kernel = await self._gateway.list(counts=counting)
                await self._set_right(kernel)
            except GatewayError as error:
                log.warning("gateway out of reach", reason=str(error))
                return
            if counting:
                self._counted = now
                await self._count(kernel)

    async def _set_right(self, kernel: Mapping[str, Lease]) -> None:
        now = now_on_loop()
        missing = {
            device: Terms(math.ceil(held.ends - now), fresh=device not in kernel)
            for device, held in self._held.items()
            if held.ends > now
            and (device not in kernel or abs(kernel[device].seconds - (held.ends - now)) > DRIFT)
        }
        strangers = kernel.keys() - self._held.keys()
        if missing:
            await self._gateway.allow(missing)
        if strangers:
            await self._gateway.deny(strangers)
        if missing or strangers:
            log.info("gateway set right", restored=len(missing), removed=len(strangers))
        for device, terms in missing.items():
            if terms.fresh and device in self._held:
                taken = self._held[device].taken
                taken.seen_up = taken.seen_down = 0
        for device, held in self._held.items():
            held.online = held.online or device in kernel or device in missing

    async def _count(self, kernel: Mapping[str, Lease]) -> None:
        """Read what devices took, keep it, and end grants of which too much (or nothing) was taken."""
        now = now_on_loop()
        rows: list[CountRow] = []
        used: dict[bytes, Usage] = {}
        spent: list[str] = []
        idle: list[str] = []
        for device, held in self._held.items():
            lease = kernel.get(device)
            policy = self._policy(device)
            more = held.taken.read(lease.up, lease.down, now) if lease else 0
            taken = held.taken
            if more:
                rows.append(CountRow(device, taken.up, taken.down, taken.seen_up, taken.seen_down))
            if policy.is_daily:
                used[self._marks.mark(device)] = self._book(device, held, now, more)
            if policy.is_spent(taken, self._usage(device), now):
                (idle if policy.is_idle(taken, now) else spent).append(device)
        if rows or used:
            async with self._access.begin() as conn:
                await save_counts(conn, rows, used)
        # Who was merely away comes back unasked; who took all there is meets the portal, which says so.
        await self._marks.note_spent(spent)
        await self._end([*spent, *idle])

    async def _fulfil_wishes(self) -> None:
        async with self._access.read() as conn:
            wishes = await select_wishes(conn)
        if wishes:
            await self._marks.forget(wishes)
            await self._end(wishes)
            async with self._access.begin() as conn:
                await delete_wishes(conn, wishes)

    async def _end(self, devices: Collection[str], *, by: float | None = None) -> None:
        """End grants; with *by* only those that have not been made longer since."""
        if not devices:
            return
        now = now_on_loop()
        ended = [d for d in devices if d in self._held and (by is None or self._held[d].ends <= by)]
        used = {}
        for device in ended:
            held = self._held.pop(device)
            if self._policy(device).is_daily:
                used[self._marks.mark(device)] = self._book(device, held, min(now, held.ends), 0)
            self._journal.ended(device)
        async with self._access.begin() as conn:
            # Asked inside the transaction: a grant that begins from here on is written after it.
            await delete_grants(conn, [device for device in devices if device not in self._held])
            await save_counts(conn, [], used)
        try:
            await self._gateway.deny([device for device in devices if device not in self._held])
        except GatewayError as error:
            log.warning("gateway out of reach", reason=str(error))
