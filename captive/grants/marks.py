"""What is known of devices for one day only: by marks that cannot be undone once the day's secret is gone."""

import hashlib
import hmac
import os
from collections.abc import Collection
from datetime import date
from functools import partial

from sqlalchemy.ext.asyncio import AsyncConnection

from captive.gateway import key_parts
from captive.grants.ledger import Ledger
from captive.grants.policy import Usage
from captive.grants.store import Day, delete_asked, select_day
from crm.times import UNDATED

MAX_KEPT = 20_000
"""Devices whose mark is kept at hand, and devices noted while the day is uncertain, at most."""


class Marks:
    """Who was asked today and what it had, under an HMAC of its MAC. `load` before use.

    The day is uncertain while the clock is known to be wrong, and while the store, which may know the day,
    cannot be read. Who is noted in that time is noted by name, in memory, to be marked anew when it is certain.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._day = Day(UNDATED, os.urandom(32), set(), {})
        self.today = UNDATED
        """The day as the clock has it."""
        self._read = False
        self._noted: set[str] = set()
        self._spent: set[bytes] = set()
        self._kept: dict[str, bytes] = {}

    @property
    def day(self) -> Day:
        """All of it, to be stored."""
        return self._day

    @property
    def is_behind(self) -> bool:
        """Whether the store lacks something."""
        return self._ledger.behind

    @property
    def is_read(self) -> bool:
        """Whether the store's own could be read since the start."""
        return self._read

    async def load(self, today: date) -> bool:
        """Take up what the store has, if it is of *today* or nobody can tell; whether it had anything.

        *today* is `UNDATED` while the clock is known to be wrong: then nothing is thrown away.
        """
        self.today = today
        found = await self._ledger.read(_read_day)
        if found is None:
            return False
        self._read = True
        if found and UNDATED not in (today, found[0].day) and found[0].day != today:
            self._take_up(None)
        else:
            self._take_up(found[0] if found else None)
        return bool(found)

    def start_day(self, today: date) -> None:
        """With yesterday's secret go all marks made under it; *today* as in `load`."""
        before, self.today = self._day.day, today
        if today != UNDATED and today != before:
            self._take_up(self._day if before == UNDATED else None)

    def _take_up(self, day: Day | None) -> None:
        """Go on with *day*, or with a fresh one; the names noted are marked under its secret, too."""
        had = {device: (self.was_asked(device), self.usage(device)) for device in self._noted}
        label = self.today if day is None or self.today != UNDATED else day.day
        taken = day or Day(label, os.urandom(32), set(), {})
        self._day = Day(label, taken.secret, taken.asked, taken.usage)
        self._spent.clear()
        self._kept.clear()
        for device, (asked, usage) in had.items():
            if asked:
                self._day.asked.add(self.mark(device))
            if usage.seconds or usage.bytes:
                self._day.usage[self.mark(device)] = usage
        if self._read and self.today != UNDATED:
            self._noted.clear()
        self._ledger.fall_behind()

    def mark(self, device: str) -> bytes:
        """The day's mark of *device*: the same on each network of the box, for a person is asked once a day."""
        kept = self._kept.get(device)
        if kept is None:
            if len(self._kept) >= MAX_KEPT:
                self._kept.clear()
            _, mac, address = key_parts(device)
            kept = self._kept[device] = hmac.digest(
                self._day.secret, f"{mac} {address}".encode(), hashlib.sha256
            )
        return kept

    def was_asked(self, device: str) -> bool:
        """Whether *device* answered or skipped today."""
        return self.mark(device) in self._day.asked

    def note_asked(self, device: str) -> bytes:
        """*device* was asked; its mark, which is to be stored."""
        mark = self.mark(device)
        self._day.asked.add(mark)
        if (not self._read or self.today == UNDATED) and len(self._noted) < MAX_KEPT:
            self._noted.add(device)
        self._spent.discard(mark)
        return mark

    def has_spent(self, device: str) -> bool:
        """Whether *device* took all that its last grant allowed; kept in memory only."""
        return bool(self._spent) and self.mark(device) in self._spent

    async def note_spent(self, devices: Collection[str]) -> None:
        """*devices* took all that their grants allowed: they meet the portal again, which says so."""
        await self.forget(devices)
        self._spent |= {self.mark(device) for device in devices}

    async def forget(self, devices: Collection[str]) -> None:
        """Forget that *devices* were asked."""
        theirs = {self.mark(device) for device in devices}
        self._spent -= theirs
        marks = theirs & self._day.asked
        self._noted.difference_update(devices)
        if marks:
            self._day.asked.difference_update(marks)
            await self._ledger.change(partial(delete_asked, marks=marks))

    def usage(self, device: str, *, make: bool = False) -> Usage:
        """What *device* had today; kept from now on when *make*."""
        mark = self.mark(device)
        return self._day.usage.setdefault(mark, Usage()) if make else self._day.usage.get(mark) or Usage()


async def _read_day(conn: AsyncConnection) -> list[Day]:
    day = await select_day(conn)
    return [day] if day else []
