"""How the end of a grant is written down, and read again after a restart. Rules only.

The book keeps deadlines on the monotonic clock. On paper they are moments in UTC; while the clock is known to
be wrong, which it is after a power cut until somebody sets it, no moment can be told, and the time left stands
there instead, counted from 1970.
"""

from datetime import UTC, datetime, timedelta

from crm.times import is_sound

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def written_end(now: datetime, left: float) -> datetime:
    """What is written of a grant that lasts *left* seconds more."""
    return (now if is_sound(now) else EPOCH) + timedelta(seconds=left)


def time_left(end: datetime, now: datetime) -> float | None:
    """Seconds that a grant with the written *end* lasts more; None: *now* is wrong and does not tell."""
    if not is_sound(end):
        return (end - EPOCH).total_seconds()
    return (end - now).total_seconds() if is_sound(now) else None
