"""On what terms a device is let through now, or why it is not. Rules only: no clock, no store."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from captive.gateway import MOST_SECONDS, key_parts
from captive.kernel.metering import MEGABYTE
from captive.kernel.ruleset import MAX_DEVICES
from crm.opening_hours import open_until, opens_next, parse_hours
from crm.settings import Grant, Network, Place, Router

LAST_MINUTES = 30
"""Minutes before the end of a grant in which its page offers to extend it, at most."""
MOST_BEHIND_A_ROUTER = 4_000
"""Devices online behind one thin router: as many as its report has room for, and no place of another's."""

Reason = Literal["closed", "used_up", "blocked"]


class Refusal(Exception):  # noqa: N818 - the rules' own word for it
    """The device is not let through, for a *reason* that its page tells.

    *opens*: when guests may be online again, local time; None where that is not known.
    """

    def __init__(self, reason: Reason, opens: datetime | None = None) -> None:
        super().__init__(reason)
        self.reason: Reason = reason
        self.opens = opens


@dataclass(slots=True)
class Usage:
    """What a device had today: *seconds* online and *bytes* both ways, grants that ended included.

    *booked*: until when, on the monotonic clock, its time is in *seconds*; at two places at once it passes once.
    """

    seconds: float = 0
    bytes: int = 0
    booked: float = 0


@dataclass(slots=True)
class Taken:
    """What a device took in one grant, in bytes; since when, on the monotonic clock, it takes nothing.

    ``seen_up`` and ``seen_down`` are the kernel's counts as last read: what is counted there begins at zero
    whenever the kernel lost its table.
    """

    up: int = 0
    down: int = 0
    seen_up: int = 0
    seen_down: int = 0
    quiet_since: float = 0

    def read(self, up: int, down: int, now: float) -> int:
        """Take in the kernel's counts of *now*; the bytes that came to them since the last time."""
        more_up = up - self.seen_up if up >= self.seen_up else up
        more_down = down - self.seen_down if down >= self.seen_down else down
        self.seen_up, self.seen_down = up, down
        self.up, self.down = self.up + more_up, self.down + more_down
        if more_up or more_down:
            self.quiet_since = now
        return more_up + more_down


class Policy:
    """The policy of one network, here or behind a router."""

    def __init__(self, place: Place) -> None:
        self.grant: Grant = place.grant
        self.hours = parse_hours(place.grant.opening)
        self._never = frozenset(place.never)
        self._always = frozenset(place.always)
        self._by_address = isinstance(place, Network) and place.identity == "mac+ip"
        self.is_daily = bool(self.grant.daily_minutes or self.grant.daily_mb)
        """Whether what a device had today matters at all; where it does not, nothing of it is kept."""
        self.may_refuse = bool(self.hours or self._never or self.is_daily)
        """Whether there is anything for which a device is not let through."""
        self.most = MOST_BEHIND_A_ROUTER if isinstance(place, Router) else MAX_DEVICES
        """Devices that may be online here at once."""

    def fits(self, device: str) -> bool:
        """Whether *device* is called as devices are here: by its MAC, or by MAC and IPv4 address."""
        return bool(key_parts(device)[2]) == self._by_address

    @property
    def longest(self) -> int:
        """Seconds that a grant may last with all its extensions."""
        return min(
            MOST_SECONDS, (self.grant.minutes + self.grant.extensions * self.grant.extend_minutes) * 60
        )

    def is_near_end(self, left: int) -> bool:
        """Whether a grant that has *left* seconds is in its last quarter, and its last half hour."""
        return 0 < left <= min(LAST_MINUTES, self.grant.minutes / 4) * 60

    def is_always(self, mac: str) -> bool:
        """Whether *mac* is let through by the table itself, without a grant."""
        return mac in self._always

    def is_never(self, mac: str) -> bool:
        """Whether *mac* is never let through."""
        return mac in self._never

    def seconds(self, mac: str, now: datetime | None, today: Usage) -> int:
        """How long a grant that begins *now* may last, in seconds. Raises `Refusal`.

        *now* is local time; None while the clock is known to be wrong: then no hour closes anything.
        """
        return self._within(self.grant.minutes * 60, mac, now, today)

    def extended(self, mac: str, now: datetime | None, today: Usage, left: int) -> int:
        """Seconds from *now* after one extension of a grant that has *left*. Raises `Refusal`."""
        return self._within(min(MOST_SECONDS, left + self.grant.extend_minutes * 60), mac, now, today)

    def obstacle(self, mac: str, now: datetime | None, today: Usage, left: int) -> Reason | None:
        """What makes an extension of a grant that has *left* shorter than it might be; None: nothing."""
        return self._bounded(left + self.grant.extend_minutes * 60, mac, now, today)[1]

    def _within(self, seconds: int, mac: str, now: datetime | None, today: Usage) -> int:
        seconds, limit = self._bounded(seconds, mac, now, today)
        if limit and seconds <= 0:
            raise Refusal(limit, opens_next(self.hours, now) if now and limit == "closed" else None)
        return seconds

    def _bounded(
        self, seconds: int, mac: str, now: datetime | None, today: Usage
    ) -> tuple[int, Reason | None]:
        """(as much of *seconds* as may be, what allows no more); 0 seconds: none at all."""
        if mac in self._never:
            return 0, "blocked"
        limit: Reason | None = None
        closes = open_until(self.hours, now) if now else None
        if now and closes and (until := int((closes - now).total_seconds())) < seconds:
            seconds, limit = until, "closed"
        daily = self.grant.daily_minutes
        if seconds > 0 and daily and (rest := int(daily * 60 - today.seconds)) < seconds:
            seconds, limit = rest, "used_up"
        if seconds > 0 and self._is_over(today.bytes, self.grant.daily_mb):
            seconds, limit = 0, "used_up"
        return seconds, limit

    def is_spent(self, taken: Taken, today: Usage, now: float) -> bool:
        """Whether a grant ends before its time: too much was taken, or for too long nothing at all."""
        grant = self.grant
        return (
            self._is_over(taken.up, grant.up_mb)
            or self._is_over(taken.down, grant.down_mb)
            or self._is_over(taken.up + taken.down, grant.total_mb)
            or self._is_over(today.bytes, grant.daily_mb)
            or self.is_idle(taken, now)
        )

    def is_idle(self, taken: Taken, now: float) -> bool:
        """Whether nothing was taken for too long."""
        return bool(self.grant.idle_minutes) and now - taken.quiet_since >= self.grant.idle_minutes * 60

    def bytes_left(self, taken: Taken, today: Usage) -> int | None:
        """Bytes that may still be taken; None: no limit (RFC 8908, ``bytes-remaining``)."""
        grant = self.grant
        limits = (
            (grant.up_mb, taken.up),
            (grant.down_mb, taken.down),
            (grant.total_mb, taken.up + taken.down),
            (grant.daily_mb, today.bytes),
        )
        left = [most * MEGABYTE - used for most, used in limits if most]
        return max(0, min(left)) if left else None

    @staticmethod
    def _is_over(used: int, most: int) -> bool:
        return bool(most) and used >= most * MEGABYTE
