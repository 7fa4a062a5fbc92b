"""Who is online: the access store is the truth, the kernel's set its copy, and both are kept equal.

Deadlines are kept on the monotonic clock, so that a wall clock that jumps (a router without a battery
wakes up in 1970) ends nobody's grant; only the store's copy, read after a restart, is in UTC.
"""

import asyncio
import hashlib
import hmac
import math
from datetime import date, datetime, timedelta

import structlog

from captive.gateway import Gateway, GatewayError
from captive.store import (
    GrantRow,
    delete_asked,
    delete_grants,
    save_grants,
    select_asked,
    select_grants,
    select_secret,
)
from crm.store import Store
from crm.web import Clock

log = structlog.get_logger()

DRIFT = 10
"""Seconds by which the kernel's timeout may differ from the book before it is set right."""


MAX_MARKS = 20_000
"""Devices whose mark is kept at hand; it is only quicker so."""


class Grants:
    """The book of grants. `load` it before use; call `reconcile` every few seconds."""

    def __init__(self, access: Store, gateway: Gateway, clock: Clock, minutes: int) -> None:
        self._access = access
        self._gateway = gateway
        self._clock = clock
        self._seconds = minutes * 60
        self._deadlines: dict[str, float] = {}  # MAC -> end on the loop's clock
        self._online: set[str] = set()  # MACs the gateway has confirmed
        self._secret = b""
        self._asked: set[bytes] = set()
        self._marks: dict[str, bytes] = {}  # MAC -> its mark of today
        self._mending = asyncio.Lock()

    async def load(self, today: date) -> None:
        """Read the store: grants that still run, and who was asked today."""
        await self.start_day(today)
        now, loop_now = self._clock(), asyncio.get_running_loop().time()
        async with self._access.read() as conn:
            kept = await select_grants(conn)
        for mac, expires in kept.items():
            left = min((expires - now).total_seconds(), self._seconds)
            self._deadlines[mac] = loop_now + left  # one that ran out is ended by the next `reconcile`

    async def start_day(self, today: date) -> None:
        """Take up the secret of *today*; yesterday's goes, and nobody can be recognised by it again."""
        async with self._access.begin() as conn:
            self._secret = await select_secret(conn, today)
            self._asked = await select_asked(conn)
        self._marks.clear()

    def seconds_left(self, mac: str) -> int:
        """Seconds for which *mac* stays online; 0 when the gateway does not let it through."""
        if mac not in self._online:
            return 0
        return max(0, math.ceil(self._deadlines.get(mac, 0) - asyncio.get_running_loop().time()))

    def until(self, mac: str) -> datetime:
        """The end of the grant of *mac*, in UTC."""
        return self._clock() + timedelta(seconds=self.seconds_left(mac))

    def was_asked(self, mac: str) -> bool:
        """Whether *mac* answered or skipped today."""
        return self._mark(mac) in self._asked

    async def grant(self, mac: str) -> None:
        """Bring *mac* online: written down first, then let through. Returns when packets flow.

        Raises `GatewayError` when the gateway cannot be told; the grant stands and the next
        `reconcile` that reaches the gateway carries it out.
        """
        mark = self._mark(mac)
        self._deadlines[mac] = asyncio.get_running_loop().time() + self._seconds
        expires = self._clock() + timedelta(seconds=self._seconds)
        await self._access.write(save_grants, GrantRow(mac, expires, mark))
        self._asked.add(mark)
        await self._gateway.allow({mac: self._seconds})
        self._online.add(mac)

    async def forget(self, mac: str) -> None:
        """End the grant of *mac* and forget that it was asked (the demo's *play another phone*)."""
        mark = self._mark(mac)
        async with self._access.begin() as conn:
            await delete_grants(conn, [mac])
            await delete_asked(conn, mark)
        self._deadlines.pop(mac, None)
        self._online.discard(mac)
        self._asked.discard(mark)
        await self._gateway.deny([mac])

    async def reconcile(self) -> None:
        """Make the kernel agree with the book, and end what has run out."""
        async with self._mending:
            await self._end_expired()
            try:
                kernel = await self._gateway.list()
                now = asyncio.get_running_loop().time()
                missing = {
                    mac: math.ceil(deadline - now)
                    for mac, deadline in self._deadlines.items()
                    if deadline > now
                    and (mac not in kernel or abs(kernel[mac].seconds - (deadline - now)) > DRIFT)
                }
                strangers = kernel.keys() - self._deadlines.keys()
                if missing:
                    await self._gateway.allow(missing)
                if strangers:
                    await self._gateway.deny(strangers)
            except GatewayError as error:
                log.warning("gateway out of reach", reason=str(error))
                return
            if missing or strangers:
                log.info("gateway set right", restored=len(missing), removed=len(strangers))
            self._online = {
                mac for mac in self._deadlines if mac in kernel or mac in missing or mac in self._online
            }

    async def _end_expired(self) -> None:
        now = asyncio.get_running_loop().time()
        ended = [mac for mac, deadline in self._deadlines.items() if deadline <= now]
        if not ended:
            return
        async with self._access.begin() as conn:
            await delete_grants(conn, ended)
        for mac in ended:
            if self._deadlines[mac] <= now:  # not granted anew meanwhile
                del self._deadlines[mac]
                self._online.discard(mac)
        try:
            await self._gateway.deny([mac for mac in ended if mac not in self._deadlines])
        except GatewayError as error:
            log.warning("gateway out of reach", reason=str(error))

    def _mark(self, mac: str) -> bytes:
        mark = self._marks.get(mac)
        if mark is None:
            if len(self._marks) >= MAX_MARKS:
                self._marks.clear()
            mark = self._marks[mac] = hmac.digest(self._secret, mac.encode(), hashlib.sha256)
        return mark
