"""Opening hours: when guests may be online, written as people write them."""

import re
from collections.abc import Sequence
from datetime import datetime, time, timedelta
from typing import NamedTuple

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_LINE = re.compile(r"([a-z]{3})(?:-([a-z]{3}))? ([0-9]{2}:[0-9]{2})-([0-9]{2}:[0-9]{2})")


class Hours(NamedTuple):
    """Open on *days* (0: Monday) from *opens* until *closes* (00:00: midnight at the day's end), local time."""

    days: frozenset[int]
    opens: time
    closes: time


def parse_hours(lines: Sequence[str]) -> tuple[Hours, ...]:
    """``"mon-fri 07:30-17:00"`` and the like. Raises ValueError with what was expected."""
    return tuple(_parse(line) for line in lines)


def _parse(line: str) -> Hours:
    found = _LINE.fullmatch(line.strip().lower())
    if not found or not {found[1], found[2] or found[1]} <= set(DAYS):
        raise ValueError(f"{line!r} is not of the form 'mon-fri 07:30-17:00' or 'sat 08:00-11:30'")
    first, last = DAYS.index(found[1]), DAYS.index(found[2] or found[1])
    days = frozenset((first + step) % 7 for step in range((last - first) % 7 + 1))
    try:
        opens, closes = time.fromisoformat(found[3]), _end(found[4])
    except ValueError:
        raise ValueError(f"{line!r} names a time that no clock shows") from None
    if opens >= closes and closes != time(0):
        raise ValueError(f"{line!r} closes before it opens; hours past midnight take two entries")
    return Hours(days, opens, closes)


def _end(text: str) -> time:
    return time(0) if text == "24:00" else time.fromisoformat(text)


def open_until(hours: Sequence[Hours], now: datetime) -> datetime | None:
    """When it closes next, in the zone of *now*; *now* itself when it is closed; None: it never closes.

    Hours that touch, at midnight too, are one stretch.
    """
    if not hours:
        return None
    end = now
    for _ in range(8 * len(hours) + 8):
        later = [closes for each in hours if (closes := _closes(each, end)) is not None]
        if not later or max(later) == end:
            return end
        end = max(later)
    return None  # open around the clock, all week


def opens_next(hours: Sequence[Hours], now: datetime) -> datetime | None:
    """When it opens next after *now*, in the zone of *now*; None when there are no hours."""
    ahead = [
        (now + timedelta(days=day)).replace(
            hour=each.opens.hour, minute=each.opens.minute, second=0, microsecond=0
        )
        for day in range(8)
        for each in hours
        if (now.weekday() + day) % 7 in each.days
    ]
    return min((moment for moment in ahead if moment > now), default=None)


def in_spans(hours: Sequence[Hours]) -> list[tuple[int, int, str]]:
    """*hours* as people read them: (first day, last day, ``07:00–11:30, 13:30–17:00``), the same days together."""
    spans: dict[tuple[int, int], list[tuple[time, time]]] = {}
    for each in hours:
        first = next((day for day in sorted(each.days) if (day - 1) % 7 not in each.days), 0)
        last = (first + len(each.days) - 1) % 7
        spans.setdefault((first, last), []).append((each.opens, each.closes))
    return [
        (*days, ", ".join(f"{opens:%H:%M}–{_told_end(closes)}" for opens, closes in sorted(times)))
        for days, times in spans.items()
    ]


def _told_end(closes: time) -> str:
    return "24:00" if closes == time(0) else f"{closes:%H:%M}"


def _closes(hours: Hours, moment: datetime) -> datetime | None:
    """The end of the stretch of *hours* that holds *moment*."""
    if moment.weekday() not in hours.days:
        return None
    opens = moment.replace(hour=hours.opens.hour, minute=hours.opens.minute, second=0, microsecond=0)
    closes = moment.replace(hour=hours.closes.hour, minute=hours.closes.minute, second=0, microsecond=0)
    if hours.closes == time(0):
        closes += timedelta(days=1)
    return closes if opens <= moment < closes else None
