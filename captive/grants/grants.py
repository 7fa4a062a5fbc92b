"""Who is online: the access store is the truth, the kernel's sets its copy, and both are kept equal.

Deadlines are kept on the monotonic clock, so that a wall clock that jumps (a router without a battery
wakes up in 1970) ends nobody's grant; only the store's copy, read after a restart, is in UTC.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from captive.gateway import Gateway, GatewayError, Lease, Terms, key_parts
from captive.grants.book import Book, Held, now_on_loop, read_back
from captive.grants.journal import Journal, NoJournal
from captive.grants.ledger import Ledger
from captive.grants.marks import Marks
from captive.grants.policy import Policy, Taken, Usage
from captive.grants.store import (
    CountRow,
    KeptGrant,
    delete_grants,
    delete_wishes,
    extend_grant,
    save_all,
    save_counts,
    save_grants,
    select_grants,
    select_wishes,
)
from captive.grants.tally import End
from captive.grants.trials import TRY
from crm.store import Store
from crm.times import is_sound
from crm.web import Clock

log = structlog.get_logger()

DRIFT = 10
"""Seconds by which the kernel's timeout may differ from the book before it is set right."""
JUMP = 5.0
"""Seconds; by more than this no clock changes in a few seconds but by being set."""
COUNT_EVERY = 10.0
"""Seconds between two readings of what devices took."""


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
        note: Path | None = None,
        silent: Callable[[], Collection[str]] = tuple,
    ) -> None:
        """*policies* by network; *local* tells the local time, None while the clock is wrong; *note*: see `Ledger`.

        *silent* names the networks of which the gateway could not tell when it was last asked who is let through.
        """
        self._ledger = Ledger(access, note)
        super().__init__(policies, clock, Marks(self._ledger), local, silent)
        self._gateway = gateway
        self._journal = journal or NoJournal()
        self._mending = asyncio.Lock()
        self._counted = -COUNT_EVERY
        self._adopting: set[str] = set()
        self._offset = clock().timestamp() - now_on_loop()

    async def load(self, today: date) -> None:
        """Read the store: grants that still run, who was asked today, what each had.

        *today* is `UNDATED` while the clock is known to be wrong. Where the store is new or cannot be used,
        the next `reconcile` takes over what the kernel knows.
        """
        unknown = not await self._marks.load(today) or self._ledger.was_left_behind
        self._take_in(await self._ledger.read(select_grants) or {})
        self._ledger.fall_behind()  # writing tells whether it can be written
        await self._catch_up()
        self._adopting = set(self._policies) if unknown or self._ledger.behind else set()

    async def start_day(self, today: date) -> None:
        """Take up a secret for *today*; yesterday's goes, and nobody can be recognised by it again."""
        self._marks.start_day(today)
        await self._catch_up()

    def _take_in(self, kept: Mapping[str, KeptGrant]) -> None:
        now, loop_now = self._clock(), now_on_loop()
        for device, row in kept.items():
            policy = self._policies.get(key_parts(device)[0])
            if policy is None or not policy.fits(device) or device in self._held:
                continue  # newer in the book; or of no network, or called as none is now, which the gate refuses
            self._held[device] = read_back(row, policy, now, loop_now)  # if it ran out, `reconcile` ends it

    async def grant(self, device: str, address: str = "") -> None:
        """Bring *device* online: written down first if that can be, then let through. Returns when packets flow.

        Raises `Refusal`; raises `GatewayError` when the gateway cannot be told: then the grant stands and
        the next `reconcile` that reaches the gateway carries it out.
        """
        seconds, trial = self._seconds(device), self.is_trial(device)
        if device not in self._held and not self._has_room(key_parts(device)[0]):
            raise GatewayError("as many devices are online as the table holds")  # nothing more is kept of any
        now = now_on_loop()
        held = self._held[device] = Held(now + seconds, Taken(quiet_since=now), booked=now)
        mark = b"" if trial else self._marks.note_asked(device)
        await self._ledger.write(save_grants, self._row(device, held, mark))
        if device not in self._held:  # ended meanwhile, perhaps before it was written
            self._ledger.fall_behind()
            return
        if not trial:
            self._journal.began(device, address)
        await self._gateway.allow({device: Terms(seconds)})
        # It may have been granted once more meanwhile (seen by its radio and at the portal at once).
        self._held.get(device, held).online = True

    async def extend(self, device: str) -> None:
        """Let the grant of *device* last longer, where it can (see `can_extend`). Raises `GatewayError`."""
        held = self._held.get(device)
        if held is None or not self.can_extend(device):
            return
        seconds = self.extended(device)
        held.ends, held.extensions = now_on_loop() + seconds, held.extensions + 1
        if held.due:  # no clock tells yet how long it has left; it has so much more
            held.due += timedelta(minutes=self._policy(device).grant.extend_minutes)
        expires = self._row(device, held, b"").expires
        changed = partial(extend_grant, device=device, expires=expires, extensions=held.extensions)
        await self._ledger.change(changed)
        await self._gateway.allow({device: Terms(seconds, fresh=False)})

    async def forget(self, device: str) -> None:
        """End the grant of *device* and forget that it was asked, so that it meets the portal again."""
        await self._marks.forget([device])
        await self._end([device], "staff")

    async def reconcile(self) -> None:
        """Make the kernel agree with the book, and end what has run out."""
        async with self._mending:
            self._follow_clock()
            await self._catch_up()
            await self._fulfil_wishes()
            now = now_on_loop()
            ran_out = [device for device, held in self._held.items() if held.ends <= now]
            await self._end(ran_out, "time", by=now)
            counting = now - self._counted >= COUNT_EVERY
            try:
                kernel = await self._gateway.list(counts=counting)
                self._learn(kernel)
                await self._catch_up()
                self._ledger.settle()
                await self._set_right(kernel)
            except GatewayError as error:
                log.warning("gateway out of reach", reason=str(error))
                return
            if counting:
                self._counted = now
                await self._count(kernel)

    def _follow_clock(self) -> None:
        """Notice that the clock was set: what is on paper is to be written anew by it."""
        now, loop_now = self._clock(), now_on_loop()
        offset = now.timestamp() - loop_now
        if abs(offset - self._offset) > JUMP:
            self._ledger.fall_behind()
        self._offset = offset
        for held in self._held.values() if is_sound(now) else ():
            if held.due:
                held.ends = min(held.ends, loop_now + (held.due - now).total_seconds())
                held.due = None
                self._ledger.fall_behind()

    async def _catch_up(self) -> None:
        """Write the whole book where the store lacks something of it."""
        if not self._ledger.behind:
            return
        if not self._marks.is_read and await self._marks.load(self._marks.today):
            self._take_in(await self._ledger.read(select_grants) or {})
        if self._marks.is_read:
            await self._ledger.catch_up(self._write_all)

    async def _write_all(self, conn: AsyncConnection) -> None:
        rows = [self._row(device, held, b"") for device, held in self._held.items()]
        await save_all(conn, self._marks.day, rows)

    def _learn(self, kernel: Mapping[str, Lease]) -> None:
        """Take over what the kernel alone knows: when it is first heard, and only where the store could not tell."""
        now = now_on_loop()
        for device, lease in kernel.items():
            network, mac, _ = key_parts(device)
            held, policy = self._held.get(device), self._policies.get(network)
            if policy is None:
                continue
            ends = now + min(lease.seconds, policy.longest)
            adopting = network in self._adopting and not policy.is_never(mac)
            if held and held.unsure:
                held.ends = ends
            elif held is None and adopting and self._has_room(network):
                counts = (lease.up, lease.down, lease.up, lease.down)
                self._held[device] = Held(ends, Taken(*counts, quiet_since=now), booked=now)
                self._marks.note_asked(device)
                self._ledger.fall_behind()
        for held in self._told_of().values():
            held.unsure = False
        self._adopting.intersection_update(self._silent())

    async def _set_right(self, kernel: Mapping[str, Lease]) -> None:
        missing = self._missing(kernel, DRIFT)
        strangers = kernel.keys() - self._held.keys()
        # Who is being let through at this moment is missing, too, and no repair.
        self.tally.repairs += len(strangers) + sum(self._held[each].online for each in missing)
        if strangers:  # first: while the others wait, one of them may be granted
            await self._gateway.deny(strangers)
        if missing:
            await self._begin_anew([device for device, terms in missing.items() if terms.fresh])
            try:
                await self._gateway.allow(missing)
            except GatewayError as error:  # perhaps one of several: what the others took, the next look finds
                log.warning("gateway out of reach", reason=str(error))
                missing = {}
        if missing or strangers:
            log.info("gateway set right", restored=len(missing), removed=len(strangers))
        for device, held in self._held.items():
            held.online = held.online or device in kernel or device in missing

    async def _begin_anew(self, devices: Collection[str]) -> None:
        """The kernel will count *devices* from zero: noted before it does, so that no restart mixes it up."""
        rows = []
        for device in devices:
            taken = self._held[device].taken if device in self._held else Taken()
            if taken.seen_up or taken.seen_down:
                taken.seen_up = taken.seen_down = 0
                rows.append(CountRow(device, taken.up, taken.down, 0, 0))
        if rows:
            await self._ledger.change(partial(save_counts, counts=rows, used={}))

    async def _count(self, kernel: Mapping[str, Lease]) -> None:
        """Read what devices took, keep it, and end grants of which too much (or nothing) was taken."""
        now = now_on_loop()
        rows: list[CountRow] = []
        used: dict[bytes, Usage] = {}
        spent: list[str] = []
        idle: list[str] = []
        for device, held in self._told_of().items():
            lease, policy, taken = kernel.get(device), self._policy(device), held.taken
            more = taken.read(lease.up, lease.down, now) if lease else 0
            if more:
                rows.append(CountRow(device, taken.up, taken.down, taken.seen_up, taken.seen_down))
            if self._is_daily(device):
                used[self._marks.mark(device)] = self._book(device, held, now, more)
            if policy.is_spent(taken, self._usage(device), now):
                (idle if policy.is_idle(taken, now) else spent).append(device)
        if rows or used:
            await self._ledger.change(partial(save_counts, counts=rows, used=used))
        # Who was merely away comes back unasked; who took all there is meets the portal, which says so.
        await self._marks.note_spent(spent)
        await self._end(spent, "amount")
        await self._end(idle, "idle")

    async def _fulfil_wishes(self) -> None:
        wishes = None if self._ledger.behind else await self._ledger.read(select_wishes)
        if wishes:
            self._trials.begin([device for device, verb in wishes.items() if verb == TRY], now_on_loop())
            ended = [device for device, verb in wishes.items() if verb != TRY]
            await self._marks.forget(ended)
            await self._end(ended, "staff")
            await self._ledger.change(partial(delete_wishes, devices=wishes))

    async def _end(self, devices: Collection[str], why: End, *, by: float | None = None) -> None:
        """End grants; with *by* only those that have not been made longer since."""
        if not devices:
            return
        now = now_on_loop()
        ended = [d for d in devices if d in self._held and (by is None or self._held[d].ends <= by)]
        used = {}
        for device in ended:
            held = self._held.pop(device)
            if self._is_daily(device):
                used[self._marks.mark(device)] = self._book(device, held, min(now, held.ends), 0)
            if not self.is_trial(device):
                self._journal.ended(device)
                self.tally.end(device, why)

        async def write_down(conn: AsyncConnection) -> None:
            # Asked inside the transaction: a grant that begins from here on is written after it.
            await delete_grants(conn, [device for device in devices if device not in self._held])
            await save_counts(conn, [], used)

        await self._ledger.change(write_down)
        try:
            await self._gateway.deny([device for device in devices if device not in self._held])
        except GatewayError as error:
            log.warning("gateway out of reach", reason=str(error))
