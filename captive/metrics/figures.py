"""The figures of one scrape, taken from their sources."""

import asyncio
import math
import time
from datetime import datetime
from typing import get_args
from zoneinfo import ZoneInfo

from captive.grants.tally import End
from captive.metrics import catalogue as told
from captive.metrics.disk import Disk, read_disk, read_process
from captive.metrics.exposition import Exposition
from captive.metrics.guests import BOUNDS, OUTCOMES
from captive.metrics.readiness import look
from captive.metrics.sources import Sources
from captive.metrics.survey_day import SurveyDay
from crm.opening_hours import open_until, parse_hours
from crm.times import is_sound
from crm.version import VERSION

FRESH = 1.0
"""Seconds for which a scrape is told again to whoever asks: many who ask cost no more than one."""
PATIENCE = 2.0
"""Seconds that a scrape waits for the disks; Prometheus itself gives up after ten."""
SLOW = 1.0
"""Seconds; how long a store takes is told from here on only: what is usual would show each single write."""
JUMP = 60.0
"""Seconds by which the clock is set at least for the portal to have started at another time; less is drift."""
SILENT = 30.0
"""Seconds; a router that reports oftener also does when somebody comes, which is not to be seen."""
TWENTIETH = 20


class Figures:
    """Tells the figures of *sources*."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._day = SurveyDay(sources.settings, sources.crm)
        self._began, self._start = time.monotonic(), sources.clock().timestamp()
        self._hours = {place.name: parse_hours(place.grant.opening) for place in sources.settings.places}
        self._zone = ZoneInfo(sources.settings.venue.timezone)
        self._text, self._told = "", float("-inf")
        self._looking: asyncio.Future[Disk] | None = None
        self._lock = asyncio.Lock()

    async def text(self) -> str:
        """The whole page."""
        loop = asyncio.get_running_loop()
        async with self._lock:
            if loop.time() - self._told >= FRESH:
                disk = await self._look_at_disk()
                await self._day.look(self._sources.clock())
                page = Exposition()
                self._add_guests(page)
                self._add_survey(page)
                self._add_service(page)
                self._add_stores(page, disk)
                self._add_box(page, disk)
                self._add_process(page, disk)
                self._text, self._told = page.text(), loop.time()
            return self._text

    async def _look_at_disk(self) -> Disk:
        """A folder that hangs (backups on a server that is away) holds up no scrape, and one thread at most."""
        self._looking = self._looking or asyncio.ensure_future(
            asyncio.to_thread(read_disk, self._sources.settings)
        )
        done, _ = await asyncio.wait([self._looking], timeout=PATIENCE)
        if not done:
            return Disk(read_process())
        self._looking = None
        return done.pop().result()

    def _add_guests(self, page: Exposition) -> None:
        guests, book, now = self._sources.guests, self._sources.book, self._local_time()
        guests.settle()
        online = book.online()
        for place in self._sources.settings.places:
            name = place.name
            page.add(told.DEVICES_JOINED, guests.steps[name, "joined"], name)
            page.add(told.DEVICES_REDIRECTED, guests.steps[name, "redirected"], name)
            page.add(told.PORTAL_SHOWN, guests.steps[name, "shown"], name)
            for outcome in OUTCOMES:
                page.add(told.GRANTS, guests.outcomes[name, outcome], name, outcome)
            for reason in get_args(End):
                page.add(told.GRANTS_ENDED, book.tally.ended[name, reason], name, reason)
            page.add(told.DEVICES_ONLINE, online[name], name)
            page.add(told.PLACE_OPEN, open_until(self._hours[name], now) != now, name)
        page.add_histogram(told.GRANT_WAIT, BOUNDS, guests.waits, guests.waited)

    def _add_survey(self, page: Exposition) -> None:
        if (began := self._day.began) is not None:
            page.add(told.SURVEY_DAY, began)
            for step, visitors in self._day.visitors.items():
                page.add(told.SURVEY_VISITORS, visitors, step)

    def _add_service(self, page: Exposition) -> None:
        gate = self._sources.gate
        for part in look(self._sources):
            page.add(told.READY, not part.wrong, part.name.replace(" ", "_"))
        if gate is not None:
            page.add(told.GATE_REACHABLE, bool(gate.reachable))
            if gate.round_trip is not None:
                page.add(told.GATE_ROUND_TRIP, math.ceil(gate.round_trip * 100) / 100)
        page.add(told.REPAIRS, self._sources.book.tally.repairs)
        for router in self._sources.routers():
            page.add(told.ROUTER_CONNECTED, router.is_live, router.name)
            if (age := router.report_age) is not None:
                page.add(told.ROUTER_REPORT_AGE, age if age >= SILENT else 0, router.name)

    def _add_stores(self, page: Exposition, disk: Disk) -> None:
        for name, store in (("crm", self._sources.crm), ("access", self._sources.access)):
            worst = store.worst()
            page.add(told.STORE_USABLE, self._sources.is_usable(name), name)
            page.add(told.STORE_QUEUE, store.waiting // 100 * 100, name)
            page.add(told.STORE_WAIT, worst.waited if worst.waited >= SLOW else 0, name)
            page.add(told.STORE_COMMIT, worst.took if worst.took >= SLOW else 0, name)
            if name in disk.set_aside:
                page.add(told.STORE_SET_ASIDE, disk.set_aside[name], name)
            if name in disk.free:
                page.add(told.STORE_FREE, disk.free[name], name)
        page.add(told.STORE_BEHIND, self._sources.book.is_behind)

    def _add_box(self, page: Exposition, disk: Disk) -> None:
        certificate = self._sources.certificate
        if self._sources.settings.tls:
            page.add(told.CERTIFICATE_GOOD, certificate.valid)
            if certificate.verdict.ends:
                page.add(told.CERTIFICATE_ENDS, certificate.verdict.ends)
        page.add(told.CLOCK_SOUND, is_sound(self._sources.clock()))
        for name, pool in disk.pools.items():
            if name in self._hours and pool.size > 0:
                page.add(told.DHCP_POOL, pool.size, name)
                page.add(told.DHCP_USED, round(pool.used / pool.size * TWENTIETH) / TWENTIETH, name)
        if disk.watch is not None:
            page.add(told.WATCH_RUNNING, disk.watch.running)
            for kind, alerts in disk.watch.alerts.items():
                page.add(told.WATCH_ALERTS, alerts, kind)
            for kind, seen in disk.watch.seen.items():
                page.add(told.WATCH_SEEN, seen, kind)
        if disk.backup is not None:
            page.add(told.BACKUP_MADE, disk.backup)
        page.add(told.BUILD, 1, VERSION)

    def _local_time(self) -> datetime:
        return self._sources.clock().astimezone(self._zone)

    def _add_process(self, page: Exposition, disk: Disk) -> None:
        page.add(told.PROCESS_MEMORY, disk.process.memory)
        page.add(told.PROCESS_CPU, disk.process.cpu)
        page.add(told.PROCESS_FILES, disk.process.files)
        page.add(told.PROCESS_MAX_FILES, disk.process.max_files)
        # A router without a battery starts in the past, and is set right minutes later.
        start = self._sources.clock().timestamp() - (time.monotonic() - self._began)
        if abs(start - self._start) > JUMP:
            self._start = start
        page.add(told.PROCESS_START, self._start)
