"""Cases 2, 8, 15 and 19 for thin routers: nobody speaks for a router, and no phone for another.

Whoever listens on the way or owns another router may repeat, change and make up whatever is sent.
"""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import captive.routers.session
from tests.captive.portal_app import Clock
from tests.captive.routers.thin_portal import NAME, ThinPortal, thin_portal
from tests.lab.certificates import Authority
from tests.lab.thin_client import ThinRouter, refused

MAC = "02:00:00:00:00:01"
STRANGER = "02:00:00:00:99:99"


@pytest.fixture
async def routers(tmp_path: Path) -> AsyncIterator[ThinPortal]:
    """A portal for two routers."""
    authority = Authority(tmp_path / "authority")
    pair = authority.issue("portal", NAME)
    async with thin_portal(tmp_path, Clock(), authority, pair) as served:
        yield served


async def test_a_challenge_serves_once(routers: ThinPortal) -> None:
    router = routers.router()
    body = router.stream_request(await router.get_challenge())
    async with router.ask("POST", "stream", body) as answer:
        assert answer.status == 200
        async with router.ask("POST", "stream", body) as again:
            assert again.status == 403
        other_nonce = router.stream_request(router.challenge)
        async with router.ask("POST", "stream", other_nonce) as again:
            assert again.status == 403


async def test_who_has_not_the_key_gets_no_stream(routers: ThinPortal) -> None:
    for key, name in (
        (os.urandom(32), "hall1"),
        (routers.router("hall2").key, "hall1"),
        (os.urandom(32), "hall9"),
    ):
        stranger = routers.router()
        stranger.key, stranger.name = key, name
        await refused(stranger.connect())
    forged = routers.router()
    async with forged.ask("POST", "stream", forged.stream_request("0" * 32 + "-1-" + "0" * 64)) as answer:
        assert answer.status == 403
    async with forged.ask("POST", "stream", b"nonsense") as answer:
        assert answer.status == 400


async def test_replayed_forged_and_foreign_reports_are_refused(routers: ThinPortal) -> None:
    router, other = routers.router(), routers.router("hall2")
    await router.connect()
    await other.connect()
    router.present.add(STRANGER)
    sent = router.signed_report()
    await router.send_report(sent)
    await refused(router.send_report(sent))
    lie = "applied 3\nlease 02:00:00:00:00:01 99 0 0\n"
    await refused(router.send_report(router.signed_report(lie, number=1)))
    await refused(router.send_report(router.signed_report(lie, up=other.up)))
    await refused(router.send_report(router.signed_report(lie, up=os.urandom(32))))
    await refused(router.send_report(router.signed_report(lie, session=other.session)))
    await refused(router.send_report(router.signed_report(lie, session="0" * 32)))
    whole = router.signed_report()
    await refused(router.send_report(whole.replace(b"uptime 100", b"uptime 101")))
    await router.report()  # the truth is still taken


async def test_a_report_of_a_session_before_is_refused(routers: ThinPortal) -> None:
    router = routers.router()
    await router.connect()
    old = router.signed_report()
    await router.hang_up()
    await router.connect()
    await refused(router.send_report(old))


async def test_salts_change_and_the_last_two_are_good(
    routers: ThinPortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captive.routers.session, "PING_SECONDS", 0.1)
    monkeypatch.setattr(captive.routers.session, "SALT_SECONDS", 0.2)
    router = routers.router()
    await router.connect()
    await router.until(lambda: len(router.salts) >= 3)
    monkeypatch.setattr(captive.routers.session, "SALT_SECONDS", 1e9)
    pings = len(router.said("ping"))
    await router.until(lambda: len(router.said("ping")) > pings + 1)  # nor is another salt under way
    for salt, status in ((router.salts[-1], 303), (router.salts[-2], 303), (router.salts[-3], 403)):
        phone = routers.phone()
        assert (await phone.get(router.enter_path(phone.mac, salt=salt))).status == status


async def test_who_knows_no_key_learns_nothing(routers: ThinPortal) -> None:
    """Case 19: every answer to a stranger is a short sentence; no name of a router, no device."""
    router = routers.router()
    await router.connect()
    router.present.add(STRANGER)
    await router.report()
    stranger = ThinRouter("hall1", os.urandom(32), router.port, router.authority)
    routers.routers.append(stranger)
    for path, body in (
        ("stream", stranger.stream_request(await stranger.get_challenge())),
        ("stream", b"hall1\n" * 50),
        ("report", router.signed_report(up=os.urandom(32))),
        ("report", b""),
        ("nothing", b"x"),
    ):
        async with stranger.ask("POST", path, body) as answer:
            text = await answer.text()
            assert answer.status in (400, 403, 404), path
            assert len(text) < 100
            assert STRANGER not in text
            assert "hall1" not in text
            assert "Traceback" not in text


async def test_a_router_speaks_for_its_own_devices_only(routers: ThinPortal) -> None:
    """Case 15: whatever a router reports is of its own network; nobody elsewhere comes online or goes by it."""
    router, liar, phone = routers.router(), routers.router("hall2"), routers.phone()
    await router.connect()
    await liar.connect()
    await phone.get(router.enter_path(phone.mac))
    assert (await phone.post("/vi/skip")).location == "/vi/online"
    await refused(liar.report(f"applied 3\nlease hall1 {phone.mac} 9999 0 0\n"), 400)
    await liar.report(f"applied 3\nlease {phone.mac} 9999 99999999999 0\npresent {phone.mac}\n")
    await asyncio.sleep(2.5)  # the portal has looked at all of it
    assert phone.mac in router.table
    assert (await phone.get("/vi/online")).status == 200
    with sqlite3.connect(f"file:{routers.settings.store.access}?mode=ro", uri=True) as store:
        rows = store.execute('SELECT device, up FROM "grant"').fetchall()
    assert (f"hall1 {phone.mac}", 0) in rows


async def test_a_link_signed_for_one_device_serves_no_other(routers: ThinPortal) -> None:
    """Case 15: not with another MAC, not for another router, not under a salt that another router was given."""
    router, other = routers.router(), routers.router("hall2")
    await router.connect()
    await other.connect()
    good = router.enter_path(MAC, "bao.example/")
    for forged in (
        good.replace(MAC, STRANGER),
        good.replace("r=hall1", "r=hall2"),
        router.enter_path(MAC, salt=other.salts[-1]),
        router.enter_path(MAC, salt=os.urandom(32).hex()),
        router.enter_path(MAC, salt=router.key.hex()),
        good.replace(b"bao".hex(), b"xao".hex()),
        good.partition("&s=")[0],
    ):
        reply = await routers.phone().get(forged)
        assert reply.status == 403, forged
        assert "Set-Cookie" not in reply.headers
    assert (await routers.phone().get(good)).status == 303


async def test_the_cookie_of_one_device_is_worth_nothing_for_another(routers: ThinPortal) -> None:
    """Case 15: no letter of it can be changed, and what it opens is its own device's."""
    router, owner, thief = routers.router(), routers.phone(), routers.phone()
    await router.connect()
    for phone in (owner, thief):
        await phone.get(router.enter_path(phone.mac))
    token = (await owner.get("/vi")).token
    assert (await thief.post("/vi/survey/A0", r=token, value="done")).status in (400, 409)
    mine, wanted = (phone.mac.replace(":", "") for phone in (thief, owner))
    made_up = thief.cookie.replace(mine, wanted)
    assert made_up != thief.cookie
    assert (await routers.phone().get("/vi", Cookie=f"wificrm={made_up}")).status == 403
    assert (await thief.post("/vi/skip")).location == "/vi/online"
    assert (await owner.get("/vi/online")).location == "/vi", "still to be asked"
    assert owner.mac not in router.table


@pytest.mark.parametrize(
    "wanted",
    ["evil.example/", "//evil.example/", "evil.example@portal.lab/", "\r\nLocation: http://evil.example/"],
)
async def test_a_signed_link_leads_to_the_portal_only(routers: ThinPortal, wanted: str) -> None:
    """Case 8: whatever page stands in it, also for who is online already."""
    router, phone = routers.router(), routers.phone()
    await router.connect()
    for _ in range(2):
        reply = await phone.get(router.enter_path(phone.mac, wanted))
        assert (reply.status, reply.location) == (303, "/")
        assert "evil" not in reply.text
        await phone.post("/vi/skip")
