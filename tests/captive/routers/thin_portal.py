"""A portal for thin routers only: their test doubles, and phones that know it by cookie."""

import asyncio
import contextlib
import sqlite3
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from yarl import URL

from captive.app import running
from captive.routers.keys import make_key, read_key
from crm.settings import Console, Gate, Metrics, Network, Portal, Router, Settings, StoreSection
from tests.captive.portal_app import Clock, Page
from tests.free_ports import free_ports
from tests.lab.certificates import Authority
from tests.lab.thin_client import ThinRouter
from tests.migrated import migrated
from tests.waiting import until

NAME = "portal.lab"
HALLS = (Router(name="hall1"), Router(name="hall2", questionnaire="chuan"))


class Phone:
    """One phone behind a router: follows what its router tells it, keeps cookies of this browser window."""

    def __init__(self, portal: "ThinPortal", mac: str) -> None:
        self.mac = mac
        self._origin = f"https://127.0.0.1:{portal.settings.portal.tls_port}"
        context = ssl.create_default_context(cafile=str(portal.authority.certificate))
        self.session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context),
            cookie_jar=aiohttp.CookieJar(unsafe=True),
            headers={"Host": NAME, "Accept-Language": "vi"},
        )

    @property
    def cookie(self) -> str:
        kept = self.session.cookie_jar.filter_cookies(URL(self._origin))
        return kept["wificrm"].value if "wificrm" in kept else ""

    async def get(self, path: str, **headers: str) -> Page:
        return await self._ask("GET", path, headers=headers)

    async def post(self, path: str, **form: str) -> Page:
        return await self._ask("POST", path, data=form)

    async def _ask(self, method: str, path: str, **options: Any) -> Page:
        url = URL(self._origin + path, encoded=True)
        async with self.session.request(
            method, url, allow_redirects=False, server_hostname=NAME, **options
        ) as answer:
            return Page(answer.status, answer.headers, await answer.text())


@dataclass
class ThinPortal:
    settings: Settings
    clock: Clock
    authority: Authority
    routers: list[ThinRouter] = field(default_factory=list)
    phones: list[Phone] = field(default_factory=list)

    def router(self, name: str = "hall1") -> ThinRouter:
        """The router *name*, which knows its key; not connected yet."""
        key = read_key(self.settings, name) or make_key(self.settings, name)
        port = self.settings.portal.router_port
        self.routers.append(ThinRouter(name, key, port, self.authority.certificate))
        return self.routers[-1]

    def phone(self, mac: str = "") -> Phone:
        number = len(self.phones) + 1
        self.phones.append(Phone(self, mac or f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}"))
        return self.phones[-1]

    async def close(self) -> None:
        for phone in self.phones:
            await phone.session.close()
        for router in self.routers:
            await router.close()


def thin_settings(
    folder: Path,
    pair: tuple[Path, Path],
    routers: tuple[Router, ...] = HALLS,
    networks: tuple[Network, ...] = (),
    **other: Any,
) -> Settings:
    """Settings of a box that serves *routers* (and *networks*), with everything in *folder*."""
    port, tls_port, router_port, console = free_ports(4)
    return msgspec.structs.replace(
        Settings(
            networks=networks,
            routers=routers,
            portal=Portal(NAME, port, tls_port, router_port, str(pair[0]), str(pair[1])),
            console=Console(port=console),
            gate=Gate(gateway="open"),
            metrics=Metrics(port=0),
            store=StoreSection(crm=str(folder / "crm.db"), access=str(folder / "access.db")),
            secrets=str(folder / "secrets"),
        ),
        **other,
    )


@contextlib.asynccontextmanager
async def thin_portal(
    folder: Path, clock: Clock, authority: Authority, pair: tuple[Path, Path], **other: Any
) -> AsyncIterator[ThinPortal]:
    """Serve until the context ends; *other* as for `thin_settings`. *settings* among them: a restart on these."""
    settings = other.pop("settings", None) or thin_settings(folder, pair, **other)
    await migrated(settings.store.crm, "crm")
    await migrated(settings.store.access, "captive")
    async with running(settings, host="127.0.0.1", clock=clock):
        portal = ThinPortal(settings, clock, authority)
        try:
            yield portal
        finally:
            await portal.close()


async def let_in(router: ThinRouter, phone: Phone) -> None:
    """Walk *phone* through the portal, by *Skip*."""
    assert (await phone.get(router.enter_path(phone.mac))).status == 303
    reply = await phone.post("/vi/skip")
    assert reply.location == "/vi/online", reply.text
    router.present.add(phone.mac)


def taken(portal: ThinPortal) -> dict[str, tuple[int, int]]:
    """{device: bytes up and down} as the access store has them."""
    with sqlite3.connect(f"file:{portal.settings.store.access}?mode=ro", uri=True) as store:
        return {row[0]: row[1:] for row in store.execute('SELECT device, up, down FROM "grant"').fetchall()}


async def end(portal: ThinPortal, phone: Phone) -> None:
    """The technician ends the grant of *phone*; returns when the portal has done it."""
    await wish(portal, phone.mac)
    await until(lambda: f"hall1 {phone.mac}" not in taken(portal))


async def looked(portal: ThinPortal) -> None:
    """Returns when the portal has once more compared its book with what its routers say.

    Which it does after it has fulfilled wishes: with the second the comparison that followed the first is over.
    """
    with contextlib.closing(sqlite3.connect(portal.settings.store.access)) as store:
        for _ in range(2):
            await wish(portal, "02:00:00:00:ff:ff")
            await until(lambda: store.execute("SELECT count(*) FROM wish").fetchone() == (0,))


async def wish(portal: ThinPortal, mac: str) -> None:
    """Have the portal end the grant of *mac* in the first hall when it looks next, within two seconds."""
    await change(portal, "INSERT INTO wish (device, verb) VALUES (?, 'end')", f"hall1 {mac}")


async def change(portal: ThinPortal, statement: str, *values: str) -> None:
    """Change the access store as another process would: the portal, which runs here too, has to go on meanwhile."""

    def carry_out() -> None:
        with contextlib.closing(sqlite3.connect(portal.settings.store.access)) as store, store:
            store.execute(statement, values)

    await asyncio.to_thread(carry_out)
