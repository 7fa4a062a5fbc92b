"""The period of a report: what staff typed, and the usual periods to choose from. Rules only, no I/O."""

import re
from datetime import date, timedelta

import msgspec

from crm.errors import UserError
from surveys.figures import months_between

EARLIEST = date(2000, 1, 1)


class Preset(msgspec.Struct, frozen=True):
    """A period to choose with one tap; *name* is a message key."""

    name: str
    first: date
    last: date


def presets(today: date) -> list[Preset]:
    """This month so far, last month, this quarter so far, this year so far."""
    month = today.replace(day=1)
    quarter = date(today.year, (today.month - 1) // 3 * 3 + 1, 1)
    before = month - timedelta(days=1)
    return [
        Preset("This month", month, today),
        Preset("Last month", before.replace(day=1), before),
        Preset("This quarter", quarter, today),
        Preset("This year", date(today.year, 1, 1), today),
    ]


def read_day(raw: str) -> date | None:
    """*raw* as 2026-01-31 or, as people write it, 31/01/2026; None when it is neither."""
    raw = raw.strip()
    people = re.fullmatch(r"(\d{1,2})[/.\-](\d{1,2})[/.\-](\d{4})", raw, re.ASCII)
    try:
        if people:
            return date(int(people[3]), int(people[2]), int(people[1]))
        return date.fromisoformat(raw) if re.fullmatch(r"\d{4}-\d{2}-\d{2}", raw, re.ASCII) else None
    except ValueError:
        return None


def read_period(first: str, last: str) -> tuple[date, date]:
    """The period from *first* to *last*. Raises `UserError` that says which day to mend."""
    start, end = read_day(first), read_day(last)
    if start is None or start < EARLIEST:
        raise UserError("Choose the first day of the report, for example 2026-10-01.")
    if end is None or end < EARLIEST:
        raise UserError("Choose the last day of the report, for example 2026-10-31.")
    if end < start:
        raise UserError("The period ends before it begins. Please check the two days.")
    if len(months_between(start, end)) > 60:
        raise UserError("A report covers five years at most. Please choose a shorter period.")
    return start, end
