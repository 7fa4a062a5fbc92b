"""The venue's announcements for its guest pages."""

from collections.abc import Sequence
from datetime import date

from campaigns.pages import announcements_for
from campaigns.store import Seen, count_seen
from crm.store import Store
from crm.web import Notice


class VenueNotices:
    """The venue's announcements for its guest pages (a `crm.web.Notices`)."""

    def __init__(self, store: Store, venue: str) -> None:
        self._store = store
        self._venue = venue

    async def shown(self, day: date, language: str) -> Sequence[Notice]:
        """What is announced on *day*."""
        urgent, others = await announcements_for(self._store, self._venue, day, language)
        return [*urgent, *others]

    async def count_shown(self, ids: Sequence[int], day: date, language: str) -> None:
        """One guest has been shown *ids*."""
        for each in ids:
            seen = Seen(announcement_id=each, venue=self._venue, day=day, language=language, event="shown")
            await self._store.write(count_seen, seen)
