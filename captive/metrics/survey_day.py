"""What visitors did on the last finished local day: the finest that is told of answers and skips."""

import asyncio
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from crm.settings import Settings
from crm.store import STORE_ERRORS, Store
from crm.times import UNDATED, is_sound, local_moment
from surveys.results import select_funnel

PATIENCE = 1.0
"""Seconds that a scrape waits for the store; what comes later is told in a later one."""
SETTLED = timedelta(minutes=10)
"""After midnight until yesterday is finished: what was under way is written by then."""


class SurveyDay:
    """The figures of that day; `look` before they are told. The store is read once a day."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._venue, self._store = settings.venue.code, store
        self._zone = ZoneInfo(settings.venue.timezone)
        self._day = UNDATED
        self._reading: asyncio.Task[None] | None = None
        self.visitors: dict[str, int] = {}
        """By step (shown, answered, skipped); one that is withheld is not in it."""

    @property
    def began(self) -> float | None:
        """When the day began, in seconds since 1970; None while there is none."""
        return None if self._day == UNDATED else _midnight(self._day, self._zone)

    async def look(self, now: datetime) -> None:
        """Read the day before that of *now*, once it is over. A store that fails is asked again."""
        if not is_sound(now):
            return
        day = local_moment(now - SETTLED, self._zone).day - timedelta(days=1)
        if day == self._day:
            return
        self._reading = self._reading or asyncio.create_task(self._read(day), name="survey day")
        done, _ = await asyncio.wait([self._reading], timeout=PATIENCE)
        if done:
            self._reading = None
            done.pop().result()

    async def _read(self, day: date) -> None:
        try:
            async with self._store.read() as conn:
                funnel = await select_funnel(conn, self._venue, day)
        except STORE_ERRORS:
            return
        told = {"shown": funnel.shown, "answered": funnel.started, "skipped": funnel.skipped}
        self._day = day
        self.visitors = {step: n for step, n in told.items() if n is not None}


def _midnight(day: date, zone: ZoneInfo) -> float:
    return datetime.combine(day, time(), zone).astimezone(UTC).timestamp()
