"""A console for tests: the real frame over a real store, and three people to look at it.

Mai manages every venue, Nam is an official of DEMO-P01, Tí is a stranger.
"""

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from sqlalchemy import insert

from crm import tables
from crm.console import MAX_CONSOLE_FORM, add_console
from crm.settings import Settings
from crm.sign_in import DESK
from crm.staff import insert_staff
from crm.store import Store
from crm.web import CLOCK, SETTINGS, STORE, TEMPLATES, WORDS, make_templates
from crm.words import load_words

Client = TestClient[web.Request, web.Application]

PASSWORD = "bến đò một chiều"
HASHES: list[str] = []
"""Of `PASSWORD`, once it was needed: making one is slow, as it should be."""
VENUES = {"DEMO-P01": ["vi", "en"], "DEMO-X02": ["vi", "km"]}


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self, now: datetime = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def move(self, **by: float) -> None:
        self.now += timedelta(**by)


async def fill(store: Store) -> None:
    """Two venues."""
    async with store.begin() as conn:
        for code, languages in VENUES.items():
            names = {"vi": f"Trung tâm {code}", "en": f"Centre {code}"}
            await conn.execute(insert(tables.venue).values(code=code, names=names, languages=languages))


def make_console(
    store: Store,
    routes: Iterable[web.AbstractRouteDef] = (),
    packages: tuple[str, ...] = ("crm",),
    clock: Clock | None = None,
) -> web.Application:
    """The console application over *store*, with *routes* besides its own."""
    app = web.Application(client_max_size=MAX_CONSOLE_FORM)
    words = load_words()
    app[SETTINGS], app[STORE], app[WORDS] = Settings(), store, words
    now: Callable[[], datetime] = clock or Clock()
    app[CLOCK] = now
    app[TEMPLATES] = make_templates({name: name for name in packages}, words)
    add_console(app)
    app.add_routes(routes)
    return app


async def open_client(app: web.Application) -> Client:
    """A browser that follows nothing by itself and reads English."""
    client: Client = TestClient(TestServer(app), headers={"Accept-Language": "en"})
    await client.start_server()
    return client


async def add_people(client: Client) -> None:
    """Mai, a manager of every venue; Nam, an official of DEMO-P01; Lan, a manager of DEMO-X02."""
    app = client.app
    assert app is not None
    if not HASHES:
        HASHES.append(await app[DESK].passwords.hash(PASSWORD))
    (password_hash,) = HASHES
    async with app[STORE].begin() as conn:
        await insert_staff(conn, "mai", password_hash, "manager", None)
        await insert_staff(conn, "nam", password_hash, "official", "DEMO-P01")
        await insert_staff(conn, "lan", password_hash, "manager", "DEMO-X02")


def form_key(page: str) -> str:
    """The key of the last form on *page*."""
    keys = re.findall(r'name="key" value="([^"]+)"', page)
    return str(keys[-1])


async def sign_in(client: Client, name: str, password: str = PASSWORD, then: str = "/") -> None:
    """Go through the sign-in page."""
    page = await (await client.get("/sign-in")).text()
    form = {"name": name, "password": password, "next": then, "key": form_key(page)}
    answer = await client.post("/sign-in", data=form, allow_redirects=False)
    assert answer.status == 303, await answer.text()
