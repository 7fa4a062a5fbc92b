"""Figures of a portal that serves thin routers only."""

import sqlite3
from pathlib import Path

import aiohttp
import pytest

from captive.metrics import figures
from crm.settings import Grant, Metrics, Router
from tests.captive.metrics.scrapes import Samples, gained, read, value
from tests.captive.portal_app import Clock
from tests.captive.routers.thin_portal import Phone, ThinPortal, let_in, thin_portal
from tests.free_ports import free_port, free_ports
from tests.lab.certificates import Authority


async def told(portal: ThinPortal, path: str = "/metrics") -> tuple[int, str]:
    url = f"http://127.0.0.1:{portal.settings.metrics.port}{path}"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status, await answer.text()


async def scrape(portal: ThinPortal) -> Samples:
    return read((await told(portal))[1])


async def answer(phone: Phone) -> None:
    page = await phone.get("/vi")
    for question, given in (("A0", "done"), ("A1", "5"), ("A2", "nothing"), ("A4", "")):
        saved = await phone.post(f"/vi/survey/{question}", r=page.token, value=given)
        assert saved.status == 303
    assert saved.location == "/vi/online"


async def test_routers_and_who_is_behind_them(
    tmp_path: Path, authority: Authority, pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "FRESH", 0)
    metrics = Metrics(port=free_ports(1)[0])
    async with thin_portal(tmp_path, Clock(), authority, pair, metrics=metrics) as portal:
        away = await scrape(portal)
        assert value(away, "wificrm_router_connected", router="hall1") == 0
        assert ("wificrm_gate_reachable", ()) not in away, "a box without guests of its own has no gate"
        status, ready = await told(portal, "/readyz")
        assert (status, ready) == (
            200,
            "crm store: ok\naccess store: ok\nfirst page: ok\ncertificate: ok\n",
        )
        router, answering, skipping = portal.router(), portal.phone(), portal.phone()
        await router.connect()
        before = await scrape(portal)
        assert value(before, "wificrm_router_connected", router="hall1") == 1
        assert value(before, "wificrm_router_connected", router="hall2") == 0
        assert value(before, "wificrm_router_report_age_seconds", router="hall1") == 0
        assert value(before, "wificrm_certificate_good") == 1

        await answering.get(router.enter_path(answering.mac, "bao.example/tin"))
        await answering.get("/vi")
        assert gained(before, await scrape(portal)) == {}
        await answer(answering)
        answered = await scrape(portal)
        await skipping.get(router.enter_path(skipping.mac, ""))
        await skipping.get("/vi")
        assert (await skipping.post("/vi/skip")).location == "/vi/online"
        skipped = await scrape(portal)
        assert gained(before, answered) == gained(answered, skipped)
        for name in ("wificrm_devices_redirected_total", "wificrm_portal_shown_total"):
            assert value(skipped, name, place="hall1") == 2
        assert value(skipped, "wificrm_devices_online", place="hall1") == 2


async def test_who_waits_behind_a_closed_router_is_refused_once(
    tmp_path: Path, authority: Authority, pair: tuple[Path, Path]
) -> None:
    """A router tells of who is there every ten seconds, all night."""
    routers = (Router(name="hall1", grant=Grant(opening=("mon-fri 07:00-17:00",))),)
    metrics, clock = Metrics(port=free_port()), Clock()
    async with thin_portal(tmp_path, clock, authority, pair, routers=routers, metrics=metrics) as portal:
        router, phone = portal.router(), portal.phone()
        await router.connect()
        await let_in(router, phone)
        settings = portal.settings
    with sqlite3.connect(settings.store.access) as store:
        store.execute('DELETE FROM "grant"')  # it has ended meanwhile
    clock.pass_by(hours=8)  # 18:00
    async with thin_portal(tmp_path, clock, authority, pair, settings=settings) as portal:
        router = portal.router()
        router.present.add(phone.mac)
        await router.connect()
        await portal.phone().get(router.enter_path(phone.mac))
        before = await scrape(portal)
        assert value(before, "wificrm_grants_total", place="hall1", outcome="closed") == 1
        for _ in range(3):
            await router.report()
        assert gained(before, await scrape(portal)) == {}
