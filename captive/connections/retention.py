"""Takes out of the connection log what is older than the settings allow, once a day; also when it is off.

Never by a clock known to be wrong, nor by one that has just jumped: a date in the far future, shown for the
minute until the network sets it right, would empty the log.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import structlog

from captive.connections.store import (
    DamagedLogError,
    delete_records,
    first_day_kept,
    opened,
    set_aside_files,
    transaction,
)
from crm.errors import SetupError
from crm.settings import Settings
from crm.times import is_sound, local_moment
from crm.web import Clock

log = structlog.get_logger()

STEADY = 600.0
"""Seconds for which the clock must have run evenly before anything is removed by it."""

JUMP = 30.0
"""Seconds by which the clock may be corrected without counting as a jump."""


class Retention:
    """The daily removal. Call `look` as often as you like."""

    def __init__(
        self, settings: Settings, clock: Clock, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._path = Path(settings.connection_log.path)
        self._days = settings.connection_log.days
        self._zone = ZoneInfo(settings.venue.timezone)
        self._clock = clock
        self._monotonic = monotonic
        self._offset = 0.0
        self._steady_since = monotonic()
        self._done = date.min

    async def look(self) -> None:
        """Remove what is too old, when it has not been done today and the clock can be trusted."""
        now, moment = self._clock(), self._monotonic()
        offset = now.timestamp() - moment
        if abs(offset - self._offset) > JUMP:
            self._offset, self._steady_since = offset, moment
        today = local_moment(now, self._zone).day
        if not is_sound(now) or moment - self._steady_since < STEADY or today == self._done:
            return
        self._done = today
        try:
            await asyncio.to_thread(self._remove, first_day_kept(today, self._days))
        except (SetupError, DamagedLogError, sqlite3.Error, OSError) as error:
            self._done = date.min
            self._steady_since = moment  # try again in `STEADY` seconds
            log.warning("connection log: old records could not be removed", error=type(error).__name__)

    def _remove(self, before: date) -> None:
        for aside in set_aside_files(self._path):  # damaged ones grow old too
            if datetime.fromtimestamp(aside.stat().st_mtime, self._zone).date() < before:
                aside.unlink(missing_ok=True)
                log.info("connection log: an old damaged file was removed", file=aside.name)
        if self._path.exists():
            with opened(self._path) as conn, transaction(conn):
                rows = delete_records(conn, before)
            log.info("connection log: old records removed", records=rows, before=before.isoformat())
