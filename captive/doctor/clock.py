"""The clock, and what others say of it: those whom the box has asked anyway, for nobody else is asked for the time."""

from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime

from captive.doctor.finding import Finding, Notes
from captive.doctor.phone.web import Page
from crm.times import is_sound

SLACK, DAY = 300.0, 86_400.0
"""Seconds that a clock may be off unnoticed, and from which on answers stand on wrong days."""
_TODO = "set up NTP (systemd-timesyncd, chrony, OpenWrt's sysntpd), or a battery; until then"


def how_far_ahead(pages: Iterable[Page], now: datetime) -> float | None:
    """Seconds that *now* is ahead of what the servers of *pages* say (RFC 9110 section 6.6.1); None: they do not.

    Where they differ, it is the least of all: one server alone may be wrong.
    """
    found = []
    for page in pages:
        with suppress(ValueError):
            told = datetime.strptime(page.header("Date"), "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC)
            age = int(page.header("Age")[:9] or 0)  # a cache may stand in between
            found.append((now - told).total_seconds() - age)
    return min(found, key=abs, default=None)


def is_right(now: datetime, ahead: float | None) -> bool:
    """Whether days and certificates can be judged by the clock, as far as is known."""
    return is_sound(now) and (ahead is None or abs(ahead) < DAY)


def look_at_clock(ahead: float | None) -> list[Finding]:
    """What the clock shows; *ahead* as `how_far_ahead` says."""
    notes, now = Notes(), datetime.now(UTC)
    shown = f"{now:%Y-%m-%d %H:%M} UTC"
    if not is_sound(now):
        notes.fault("clock", f"shows {now:%Y-%m-%d}, a time in the past", f"{_TODO} nothing is dated")
    elif ahead is None or abs(ahead) < SLACK:
        notes.ok("clock", shown)
    else:
        off = f"{_span(abs(ahead))} {'ahead of' if ahead > 0 else 'behind'} the Internet's"
        detail = f"shows {shown}, {off}"
        if abs(ahead) < DAY:
            notes.warn("clock", detail, f"{_TODO} hours and opening times are wrong")
        else:
            notes.fault("clock", detail, f"{_TODO} answers stand on wrong days, and certificates fail")
    return notes.findings


def _span(seconds: float) -> str:
    for name, length in (("days", DAY), ("hours", 3600)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {name}"
    return f"{seconds / 60:.0f} minutes"
