"""What is known of devices for one day only: by marks that cannot be undone once the day's secret is gone."""

import hashlib
import hmac
from collections.abc import Collection
from datetime import date

from captive.gateway import key_parts
from captive.policy import Usage
from captive.store import delete_asked, select_asked, select_secret, select_usage
from crm.store import Store

MAX_KEPT = 20_000
"""Devices whose mark is kept at hand; it is only quicker so."""


class Marks:
    """Who was asked today and what it had, under an HMAC of its MAC. `start_day` before use."""

    def __init__(self, access: Store) -> None:
        self._access = access
        self._secret = b""
        self._asked: set[bytes] = set()
        self._usage: dict[bytes, Usage] = {}
        self._spent: set[bytes] = set()
        self._kept: dict[str, bytes] = {}

    async def start_day(self, today: date) -> None:
        """Take up the secret of *today*; with yesterday's go all marks made under it."""
        async with self._access.begin() as conn:
            self._secret = await select_secret(conn, today)
            self._asked = await select_asked(conn)
            self._usage = await select_usage(conn)
        self._spent.clear()
        self._kept.clear()

    def mark(self, device: str) -> bytes:
        """The day's mark of *device*: the same on each network of the box, for a person is asked once a day."""
        kept = self._kept.get(device)
        if kept is None:
            if len(self._kept) >= MAX_KEPT:
                self._kept.clear()
            _, mac, address = key_parts(device)
            kept = self._kept[device] = hmac.digest(self._secret, f"{mac} {address}".encode(), hashlib.sha256)
        return kept

    def was_asked(self, device: str) -> bool:
        """Whether *device* answered or skipped today."""
        return self.mark(device) in self._asked

    def note_asked(self, mark: bytes) -> None:
        """The device of *mark* was asked (and the store has it)."""
        self._asked.add(mark)
        self._spent.discard(mark)

    def has_spent(self, device: str) -> bool:
        """Whether *device* took all that its last grant allowed; kept in memory only."""
        return self.mark(device) in self._spent

    async def note_spent(self, devices: Collection[str]) -> None:
        """*devices* took all that their grants allowed: they meet the portal again, which says so."""
        await self.forget(devices)
        self._spent |= {self.mark(device) for device in devices}

    async def forget(self, devices: Collection[str]) -> None:
        """Forget that *devices* were asked."""
        theirs = {self.mark(device) for device in devices}
        self._spent -= theirs
        marks = theirs & self._asked
        if marks:
            async with self._access.begin() as conn:
                await delete_asked(conn, marks)
            self._asked -= marks

    def usage(self, device: str, *, make: bool = False) -> Usage:
        """What *device* had today; kept from now on when *make*."""
        mark = self.mark(device)
        return self._usage.setdefault(mark, Usage()) if make else self._usage.get(mark) or Usage()
