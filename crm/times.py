"""Local time at the venue: the day and the daypart are all that an answer keeps."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import msgspec

from crm.errors import UserError

SOUND_CLOCK = datetime(2026, 1, 1, tzinfo=UTC)
"""A clock that shows an earlier time has not been set since the box woke up."""


UNDATED = date(1970, 1, 1)
"""The day that stands where none is known, because the clock is known to be wrong."""


def is_sound(now: datetime) -> bool:
    """Whether a clock that shows *now* (aware) can be right."""
    return now >= SOUND_CLOCK


def need_sound(now: datetime) -> None:
    """Raise `UserError` where *now* would date something that leaves the house and cannot be right."""
    if not is_sound(now):
        raise UserError(
            "The clock of this box has not been set yet: the report would bear a wrong date.", 503
        )


class Moment(msgspec.Struct, frozen=True):
    """A moment as far as it may be stored: local *day*, *daypart* (0 until 12:00, 1 until 17:00, 2 after).

    *hour* (0..23) goes into monthly counters only: at a small centre an hour of a day is one person.
    """

    day: date
    daypart: int
    hour: int


def local_moment(now: datetime, zone: ZoneInfo) -> Moment:
    """The *Moment* at which *now* (aware) is in *zone*; of `UNDATED` while the clock is known to be wrong.

    What is stored of such a moment is dated when the clock has been set (`surveys.dating`).
    """
    if not is_sound(now):
        return Moment(UNDATED, 0, 0)
    local = now.astimezone(zone)
    return Moment(local.date(), 0 if local.hour < 12 else 1 if local.hour < 17 else 2, local.hour)
