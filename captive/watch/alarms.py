"""When a technician is told: at once, again while it goes on, and when it has been quiet. No message names a device."""

from collections.abc import Iterator
from datetime import datetime
from typing import Literal, NamedTuple

from captive.alert_kinds import AlertKind
from captive.watch.advice import describe
from captive.watch.roaming import Place

MAX_ALARMS = 1_000
"""Alarms that are kept at a time; ports and kinds are few, so nobody gets there by honest means."""

State = Literal["new", "goes on", "over"]


class Cause(NamedTuple):
    """What is wrong where. *what* is the kind more closely; *other* is the second place of a copied MAC."""

    kind: AlertKind
    what: str
    place: Place
    other: Place | None = None


class Message(NamedTuple):
    """What is told. Times are of the wall clock, None where it had not been set."""

    cause: Cause
    state: State
    times: int
    first: datetime | None
    last: datetime | None

    @property
    def text(self) -> str:
        """In English: what it is and what to do next."""
        return describe(self.cause.kind, self.cause.what, self.cause.place, self.cause.other, self.state)


class _Alarm:
    """One cause, from when it was first seen until it has been quiet."""

    __slots__ = ("count", "first", "first_at", "last", "last_at", "told_at")

    def __init__(self, now: float, at: datetime | None) -> None:
        self.first = self.last = now
        self.first_at = self.last_at = at
        self.told_at = now
        self.count = 0


class Alarms:
    """What is wrong now. *repeat*: seconds until the same is told again, and of quiet until it is over.

    *now* is a clock that only goes forward; *at* is the time of day, None while the clock is known to be wrong.
    """

    def __init__(self, repeat: float) -> None:
        self._repeat = repeat
        self._alarms: dict[Cause, _Alarm] = {}

    def see(self, cause: Cause, count: int, now: float, at: datetime | None) -> Message | None:
        """*cause* was seen *count* times more; the message when it is new."""
        alarm = self._alarms.get(cause)
        if alarm is None:
            if len(self._alarms) >= MAX_ALARMS:
                return None
            alarm = self._alarms[cause] = _Alarm(now, at)
        new = alarm.count == 0
        alarm.count += count
        alarm.last, alarm.last_at = now, at
        return _message(cause, "new", alarm) if new else None

    def due(self, now: float) -> Iterator[Message]:
        """What is to be told because time has passed."""
        for cause, alarm in list(self._alarms.items()):
            if now - alarm.last >= self._repeat:
                del self._alarms[cause]
                yield _message(cause, "over", alarm)
            elif now - alarm.told_at >= self._repeat and alarm.last > alarm.told_at:
                alarm.told_at = now
                yield _message(cause, "goes on", alarm)


def _message(cause: Cause, state: State, alarm: _Alarm) -> Message:
    return Message(cause, state, alarm.count, alarm.first_at, alarm.last_at)
