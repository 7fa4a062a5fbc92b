"""The first page in every language, rendered once per day and change and sent as bytes with a token in it."""

from datetime import date
from typing import Any

from aiohttp import hdrs, web

from captive.portal.door import NEW, Standing
from captive.portal.guest_web import HEADERS
from captive.portal.public_services import service_hosts
from captive.portal.ready_answer import ReadyHead
from captive.portal.wording import duration
from crm.opening_hours import in_spans, parse_hours
from crm.settings import Place, Settings
from crm.splice import MARK, SplicedPage, accepts_gzip
from crm.web import NOTICES, WORDS, Notice, render
from surveys.pages import VERSION
from surveys.questions import first_question


class FirstPages:
    """The first pages of a venue. Call `refresh` at start and every few seconds."""

    def __init__(
        self, app: web.Application, settings: Settings, frame: dict[str, Any], *, demo: bool
    ) -> None:
        self._app = app
        self._settings = settings
        self._frame = frame
        self._demo = demo
        headers = app[HEADERS].copy()
        headers[hdrs.CONTENT_TYPE] = "text/html; charset=utf-8"
        headers[hdrs.VARY] = "Accept-Encoding, Accept-Language"
        self._plain = ReadyHead(headers)
        headers = headers.copy()
        headers[hdrs.CONTENT_ENCODING] = "gzip"
        self._gzipped = ReadyHead(headers)
        self._made_of: object = None
        self._today = date.min
        self._pages: dict[tuple[str, str, Standing], SplicedPage] = {}
        self._notices: dict[str, tuple[Notice, ...]] = dict.fromkeys(settings.venue.languages, ())
        self._places = {place.name: place for place in settings.places}
        self._alike = {name: name for name in self._places}

    @property
    def is_rendered(self) -> bool:
        """Whether there are pages of a day."""
        return self._made_of is not None

    def answer(
        self, request: web.Request, network: str, language: str, standing: Standing, token: bytes
    ) -> web.StreamResponse:
        """The answer to *request*: `page`, packed for who takes that, with the guest's *token* in it."""
        page = self.page(network, language, standing)
        if accepts_gzip(request.headers.get(hdrs.ACCEPT_ENCODING, "")[:200]):
            return self._gzipped.answer(request, page.gzipped(token))
        return self._plain.answer(request, page.plain(token))

    def page(self, network: str, language: str, standing: Standing) -> SplicedPage:
        """The page on *network* for a guest who stands so; rendered when first asked for."""
        key = self._alike[network], language, standing
        page = self._pages.get(key)
        if page is None:
            page = self._pages[key] = SplicedPage(self._render(self._places[network], language, standing))
        return page

    def notices(self, network: str, language: str) -> tuple[Notice, ...]:
        """What is announced on *network*."""
        return tuple(notice for notice in self._notices[language] if notice.is_for(network))

    async def refresh(self, today: date) -> None:
        """Render anew if the day, the questionnaire or the announcements have changed.

        Where the store cannot tell what is announced, its error is raised; the day is *today* all the same.
        """
        if today != self._today:
            self._today, self._pages = today, {}  # a page that says *tomorrow* is wrong from midnight on
        networks, languages = self._settings.places, self._settings.venue.languages
        notices = {each: tuple(await self._app[NOTICES].shown(today, each)) for each in languages}
        made_of = (today, [self._app[VERSION](network.name).id for network in networks], notices)
        if made_of == self._made_of:
            return
        self._notices, self._made_of, self._pages = notices, made_of, {}
        self._alike = self._find_alike()
        for network in networks:
            for language in languages:
                self.page(network.name, language, NEW)

    def _find_alike(self) -> dict[str, str]:
        """For each place the first one whose pages say the same: one page serves all, also of 256 routers."""
        first: dict[object, str] = {}
        language = self._settings.venue.languages[0]
        return {
            name: first.setdefault(
                (
                    self._app[VERSION](name).questionnaire.key,
                    place.grant,
                    place.walled_garden,
                    tuple(notice.id for notice in self.notices(name, language)),
                ),
                name,
            )
            for name, place in self._places.items()
        }

    def _render(self, network: Place, language: str, standing: Standing) -> str:
        names = self._settings.venue.names
        name = names.get(language) or names[self._settings.venue.languages[0]]
        notices = self.notices(network.name, language)
        return render(
            self._app,
            "captive/home.html",
            language,
            **{**self._frame, "venue_name": name},
            title=f"{self._app[WORDS].say(language, 'Free Wi-Fi')} – {name}",
            question=first_question(self._app[VERSION](network.name).questionnaire),
            token=MARK,
            urgent=[notice for notice in notices if notice.urgent],
            announcements=[notice for notice in notices if not notice.urgent],
            grant=network.grant,
            hours=in_spans(parse_hours(network.grant.opening)),
            services=service_hosts(network.walled_garden),
            standing=standing,
            daily_time=duration(self._app[WORDS], language, network.grant.daily_minutes),
            days_ahead=(standing.opens.date() - self._today).days if standing.opens else 0,
            demo=self._demo,
        )
