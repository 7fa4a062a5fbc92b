"""The first page in every language, rendered once per change and sent as bytes with a token in it."""

from datetime import date
from typing import Any

from aiohttp import hdrs, web

from captive.guest_web import HEADERS
from crm.settings import Network, Settings
from crm.splice import MARK, SplicedPage
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
        self.plain_headers = app[HEADERS].copy()
        self.plain_headers[hdrs.CONTENT_TYPE] = "text/html; charset=utf-8"
        self.plain_headers[hdrs.VARY] = "Accept-Encoding, Accept-Language"
        self.gzipped_headers = self.plain_headers.copy()
        self.gzipped_headers[hdrs.CONTENT_ENCODING] = "gzip"
        self._made_of: object = None
        self._pages: dict[tuple[str, str, bool], SplicedPage] = {}
        self._notices: dict[str, tuple[Notice, ...]] = {}

    def page(self, network: str, language: str, *, asked_today: bool) -> SplicedPage:
        """The page on *network* for a guest who has (not) been asked today."""
        return self._pages[network, language, asked_today]

    def notices(self, language: str) -> tuple[Notice, ...]:
        """What is announced on the page."""
        return self._notices[language]

    async def refresh(self, today: date) -> None:
        """Render anew if the questionnaire or the announcements have changed."""
        networks = self._settings.networks
        languages = self._settings.venue.languages
        notices = {each: tuple(await self._app[NOTICES].shown(today, each)) for each in languages}
        made_of = ([self._app[VERSION](network.name).id for network in networks], notices)
        if made_of == self._made_of:
            return
        self._pages = {
            (network.name, language, asked): SplicedPage(
                self._render(network, language, notices[language], asked=asked)
            )
            for network in networks
            for language in languages
            for asked in (False, True)
        }
        self._notices, self._made_of = notices, made_of

    def _render(self, network: Network, language: str, notices: tuple[Notice, ...], *, asked: bool) -> str:
        names = self._settings.venue.names
        name = names.get(language) or names[self._settings.venue.languages[0]]
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
            minutes=network.grant.minutes,
            asked_today=asked,
            demo=self._demo,
        )
