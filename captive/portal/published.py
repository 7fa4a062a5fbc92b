"""What the venue asks now, by network: as the crm store has it, and until that can be used, as the files have it."""

from zoneinfo import ZoneInfo

from crm.dating import date_undated, has_undated
from crm.settings import Settings
from crm.store import Store
from crm.times import UNDATED, local_moment
from crm.venues import save_venue
from crm.web import Clock
from surveys.questionnaire_files import load_questionnaire
from surveys.store import Version, has_versions, publish

UNPUBLISHED = 0
"""The id of a version that the store has not got; answers to it cannot be kept."""

LOOKS = 5
"""So often after the clock was set it is looked for what was still under way without a date."""


class Published:
    """The versions of *settings*; call `look` at the start and every few seconds."""

    def __init__(self, settings: Settings, store: Store, clock: Clock) -> None:
        self._settings, self._store, self._clock = settings, store, clock
        self._zone = ZoneInfo(settings.venue.timezone)
        self._asked = {
            place.name: place.questionnaire or settings.venue.questionnaire for place in settings.places
        }
        self._questionnaires = {key: load_questionnaire(key) for key in dict.fromkeys(self._asked.values())}
        self._versions = {
            key: Version(UNPUBLISHED, settings.venue.code, each, 0)
            for key, each in self._questionnaires.items()
        }
        self._published = False
        self._looks = LOOKS

    def version(self, network: str) -> Version:
        """What is asked on *network*."""
        return self._versions[self._asked[network]]

    async def look(self) -> None:
        """Publish what the store has not got (yet, or since a backup was restored); date what waits for a day.

        Raises `crm.store.STORE_ERRORS`, and `UserError` for a questionnaire that the store cannot take.
        """
        moment = local_moment(self._clock(), self._zone)
        if self._published:
            async with self._store.read() as conn:
                self._published = await has_versions(conn, self._versions.values())
        if not self._published:
            async with self._store.begin() as conn:
                await save_venue(conn, self._settings.venue)
                fresh = {
                    key: await publish(conn, self._settings.venue.code, each, moment.day)
                    for key, each in self._questionnaires.items()
                }
            self._versions, self._published = fresh, True
        if moment.day == UNDATED:
            self._looks = LOOKS
        elif self._looks:
            async with self._store.read() as conn:
                found = await conn.run_sync(has_undated)
            if found:
                await self._store.write(date_undated, moment)
            self._looks -= 1
