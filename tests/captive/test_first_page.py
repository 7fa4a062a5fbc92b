"""The first pages as they are kept: one of each kind, of the day that it is."""

from collections.abc import Sequence
from datetime import UTC, date, datetime

import pytest
from aiohttp import web
from markupsafe import Markup

from captive.app import _PACKAGES
from captive.portal.door import NEW, Standing
from captive.portal.first_page import FirstPages
from captive.portal.guest_web import HEADERS, guest_headers
from crm.settings import Grant, Network, Router, Settings, Venue
from crm.web import NOTICES, TEMPLATES, WORDS, Notice, make_templates
from crm.words import load_words
from surveys.pages import VERSION
from surveys.questionnaire_files import load_questionnaire
from surveys.questions import in_language
from surveys.store import Version

FRIDAY, SATURDAY = date(2026, 11, 20), date(2026, 11, 21)
LIBRARY = Notice(7, "The library is open", Markup("<p>Come in.</p>"), urgent=False, networks=("hall",))
CLOSED = Standing("closed", opens=datetime(2026, 11, 21, 7, 30, tzinfo=UTC))


class Announced:
    """Notices of which the store may be broken."""

    def __init__(self, *notices: Notice) -> None:
        self.notices, self.broken = notices, False

    async def shown(self, day: date, language: str) -> Sequence[Notice]:
        if self.broken:
            raise OSError("the disk is gone")
        return self.notices

    async def count_shown(self, ids: Sequence[int], day: date, language: str) -> None:
        raise NotImplementedError


def pages_of(settings: Settings, announced: Announced) -> FirstPages:
    version = Version(1, "V", load_questionnaire(settings.venue.questionnaire), 1)
    app = web.Application()
    app[HEADERS], app[NOTICES], app[WORDS] = guest_headers(""), announced, load_words()
    app[VERSION], app[TEMPLATES] = lambda _place: version, make_templates(_PACKAGES, app[WORDS])
    app[TEMPLATES].globals["in_language"] = in_language
    frame = {"venue_phone": "", "style": "", "here": "", "languages": settings.venue.languages}
    return FirstPages(app, settings, frame, demo=False)


async def test_places_that_say_the_same_share_their_pages() -> None:
    """256 routers held 18 MB of equal pages, and each change of an announcement rendered them all."""
    other = Grant(minutes=30)
    routers = (*(Router(name=f"r{number}") for number in range(256)), Router(name="short", grant=other))
    networks = Network(name="hall"), Network(name="desk"), Network(name="garden", walled_garden=("a.gov.vn",))
    pages = pages_of(Settings(venue=Venue(), networks=networks, routers=routers), Announced(LIBRARY))
    await pages.refresh(FRIDAY)

    def page(place: str, language: str = "en") -> str:
        return b"".join(pages.page(place, language, NEW).plain(b"t")).decode()

    assert pages.page("r0", "en", NEW) is pages.page("r255", "en", NEW) is pages.page("desk", "en", NEW)
    assert len(pages._pages) == 4 * len(Venue().languages)
    assert LIBRARY.title in page("hall")
    assert LIBRARY.title not in page("desk")
    assert "a.gov.vn" in page("garden")
    assert page("short") != page("r0") != page("r0", "vi")


async def test_tomorrow_is_today_after_midnight_whatever_the_store_does() -> None:
    announced = Announced(LIBRARY)
    pages = pages_of(Settings(venue=Venue(), networks=(Network(name="hall"),)), announced)
    await pages.refresh(FRIDAY)
    assert "tomorrow at 07:30" in b"".join(pages.page("hall", "en", CLOSED).plain(b"t")).decode()
    announced.broken = True
    with pytest.raises(OSError, match="gone"):
        await pages.refresh(SATURDAY)
    after = b"".join(pages.page("hall", "en", CLOSED).plain(b"t")).decode()
    assert "today at 07:30" in after
    assert LIBRARY.title in after
