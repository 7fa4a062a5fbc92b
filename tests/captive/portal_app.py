"""A running portal on loopback with the demo's open gateway, and guests who each have an address."""

import contextlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from captive.app import running
from captive.demo import demo_settings
from crm.settings import ConnectionLogSection, Metrics, Network, Settings
from tests.free_ports import free_port
from tests.migrated import migrated

TOKEN = re.compile(r'name="r" value="([^"]+)"')


@dataclass
class Clock:
    now: datetime = field(default_factory=lambda: datetime(2026, 11, 20, 3, 0, tzinfo=UTC))  # a Friday, 10:00

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, **time: float) -> None:
        self.now += timedelta(**time)


@dataclass
class Page:
    status: int
    headers: Any
    text: str

    @property
    def words(self) -> str:
        """The text with plain spaces, and without the signs that only keep a line from ending."""
        return self.text.replace("\N{NO-BREAK SPACE}", " ").replace("\N{WORD JOINER}", "")

    @property
    def location(self) -> str:
        return str(self.headers.get("Location", ""))

    @property
    def token(self) -> str:
        found = TOKEN.search(self.text)
        assert found is not None, self.text
        return found.group(1)


class Guest:
    """One phone: an address of its own in 127.0.0.0/8, no cookies."""

    def __init__(self, origin: str, number: int, subnet: int = 1) -> None:
        self.address = f"127.0.{subnet}.{number}"
        self.origin = origin
        self.session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(local_addr=(self.address, 0)), cookie_jar=aiohttp.DummyCookieJar()
        )

    async def get(self, path: str, **headers: str) -> Page:
        return await self._ask("GET", path, headers={"Accept-Language": "vi", **headers})

    async def head(self, path: str) -> Page:
        return await self._ask("HEAD", path)

    async def post(self, path: str, **form: str) -> Page:
        return await self._ask("POST", path, data=form)

    async def send(self, body: bytes, path: str) -> Page:
        """A form exactly as given."""
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return await self._ask("POST", path, data=body, headers=headers)

    async def _ask(self, method: str, path: str, **options: Any) -> Page:
        url = self.origin + path
        async with self.session.request(method, url, allow_redirects=False, **options) as answer:
            return Page(answer.status, answer.headers, await answer.text())

    async def answer(self, *values: str, language: str = "vi") -> Page:
        """Answer as the pages lead, beginning at the first one; returns the last reply."""
        page = await self.get(f"/{language}")
        token, path = page.token, re.search(r'action="(/\w+/survey/\w+)"', page.text)
        assert path is not None
        where = path.group(1)
        for value in values:
            page = await self.post(where, r=token, value=value)
            where = page.location.partition("?")[0]
        return page


@dataclass
class Portal:
    settings: Settings
    clock: Clock
    guests: list[Guest] = field(default_factory=list)

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.settings.portal.port}"

    async def told(self, path: str = "/metrics") -> Page:
        """What the listener for metrics answers."""
        url = f"http://127.0.0.1:{self.settings.metrics.port}{path}"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return Page(answer.status, answer.headers, await answer.text())

    def guest(self, subnet: int = 1) -> Guest:
        """A new phone, in 127.0.*subnet*.0/24."""
        self.guests.append(Guest(self.origin, len(self.guests) + 1, subnet))
        return self.guests[-1]


@contextlib.asynccontextmanager
async def portal_at(
    folder: Path,
    clock: Clock,
    *,
    connection_log: ConnectionLogSection | None = None,
    networks: tuple[Network, ...] = (),
    tls: dict[str, Any] | None = None,
    metrics: int = 0,
    **venue: Any,
) -> AsyncIterator[Portal]:
    """Serve until the context ends; opened again on the same *folder* it is a restart.

    *tls* are the keys of the portal's settings that name its certificate; *metrics* is a port, 0: none.
    """
    settings = demo_settings(free_port(), folder)
    settings = msgspec.structs.replace(
        settings,
        venue=msgspec.structs.replace(settings.venue, **venue),
        connection_log=connection_log or settings.connection_log,
        networks=networks or settings.networks,
        portal=msgspec.structs.replace(settings.portal, **(tls or {})),
        metrics=Metrics(port=metrics),
    )
    await migrated(settings.store.crm, "crm")
    await migrated(settings.store.access, "captive")
    async with running(settings, host="127.0.0.1", clock=clock):
        portal = Portal(settings, clock)
        try:
            yield portal
        finally:
            for guest in portal.guests:
                await guest.session.close()
