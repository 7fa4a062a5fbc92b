"""Routers come and go: what the portal then does, over real TLS with real stores."""

import asyncio
import time
from pathlib import Path

import pytest

import captive.app
from captive.grants import policy
from crm.settings import Grant, Router
from tests.captive.portal_app import Clock
from tests.captive.routers.thin_portal import (
    ThinPortal,
    change,
    end,
    let_in,
    looked,
    taken,
    thin_portal,
)
from tests.lab.certificates import Authority
from tests.lab.thin_client import Entry
from tests.waiting import until

Pair = tuple[Path, Path]
STRANGER = "02:00:00:00:99:99"


async def test_a_grant_reaches_the_router_before_the_guest_is_told(
    tmp_path: Path, authority: Authority, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        captive.app, "TICK", 60
    )  # the regular look would say so, too, while it is written down
    async with thin_portal(tmp_path, Clock(), authority, pair) as portal:
        router, phone = portal.router(), portal.phone()
        await router.connect()
        assert router.config == {"up_kbit": "0", "down_kbit": "0", "portal": "portal.lab", "garden": ""}
        await let_in(router, phone)
        assert router.said("allow") == [f"allow {phone.mac} 14400 1"]
        assert 14_390 < router.table[phone.mac].seconds <= 14_400


async def test_a_guest_who_was_asked_today_is_let_in_as_soon_as_it_is_there(portal: ThinPortal) -> None:
    router, phone = portal.router(), portal.phone()
    await router.connect()
    await let_in(router, phone)
    portal.clock.pass_by(hours=1)
    router.present.clear()
    del router.table[phone.mac]
    await router.report()
    await router.until(lambda: phone.mac in router.table)  # the book lets it in again: the grant still runs

    await end(portal, phone)
    assert (await phone.get("/vi")).status == 200
    await phone.post("/vi/skip")
    await router.until(lambda: phone.mac in router.table)


async def test_what_ends_a_grant_is_said_to_the_router(portal: ThinPortal) -> None:
    router, phone = portal.router(), portal.phone()
    await router.connect()
    await let_in(router, phone)
    await end(portal, phone)
    await router.until(lambda: phone.mac not in router.table)
    assert router.said("deny") == [f"deny {phone.mac}"]


async def test_presence_lets_in_who_was_asked_and_nobody_else(
    tmp_path: Path, authority: Authority, pair: Pair
) -> None:
    """A lease runs out by itself, the guest is heard from again: it is online unasked."""
    routers = (Router(name="hall1", grant=Grant(minutes=1, idle_minutes=1)),)
    async with thin_portal(tmp_path, Clock(), authority, pair, routers=routers) as portal:
        router, phone = portal.router(), portal.phone()
        await router.connect()
        await let_in(router, phone)
        router.present = {STRANGER}
        await change(portal, "UPDATE \"grant\" SET expires = '2026-11-20 00:00:00.000000'")
        settings = portal.settings
    async with thin_portal(tmp_path, Clock(), authority, pair, settings=settings) as portal:
        again = portal.router()
        again.table, again.present = {}, {STRANGER}
        await again.connect()
        await again.report()
        await asyncio.sleep(0.3)
        assert again.table == {}
        again.present = {phone.mac}
        await again.report()
        await again.until(lambda: phone.mac in again.table)
        assert STRANGER not in again.table


async def test_counts_become_what_devices_took(portal: ThinPortal) -> None:
    router, phone = portal.router(), portal.phone()
    await router.connect()
    await let_in(router, phone)
    key = f"hall1 {phone.mac}"
    router.table[phone.mac].up, router.table[phone.mac].down = 1_000, 50_000
    await router.report()
    await router.until(lambda: taken(portal)[key] == (1_000, 50_000))
    router.table[phone.mac].up += 500
    await router.report()
    await router.until(lambda: taken(portal)[key] == (1_500, 50_000))


async def test_who_took_all_there_is_is_shut_out(tmp_path: Path, authority: Authority, pair: Pair) -> None:
    routers = (Router(name="hall1", grant=Grant(total_mb=1)),)
    async with thin_portal(tmp_path, Clock(), authority, pair, routers=routers) as portal:
        router, phone = portal.router(), portal.phone()
        await router.connect()
        await let_in(router, phone)
        router.table[phone.mac].down = 2_000_000
        await router.report()
        await router.until(lambda: phone.mac not in router.table)


async def test_a_restart_of_the_portal_changes_nothing(
    tmp_path: Path, authority: Authority, pair: Pair
) -> None:
    """Nobody goes offline, and what was taken before is not counted twice."""
    async with thin_portal(tmp_path, Clock(), authority, pair) as portal:
        router, phone = portal.router(), portal.phone()
        await router.connect()
        await let_in(router, phone)
        router.table[phone.mac].up = 1_000
        await router.report()
        await router.until(lambda: taken(portal)[f"hall1 {phone.mac}"] == (1_000, 0))
        table, settings, cookie = router.table, portal.settings, phone.cookie
    async with thin_portal(tmp_path, Clock(), authority, pair, settings=settings) as portal:
        again = portal.router()
        again.table = table
        await asyncio.sleep(0.3)  # the portal looks several times, and hears of nobody
        assert list(taken(portal)) == [f"hall1 {phone.mac}"]
        await again.connect()
        table[phone.mac].up = 1_200
        await again.report()
        await again.until(lambda: taken(portal)[f"hall1 {phone.mac}"] == (1_200, 0))
        assert again.said("allow") == again.said("deny") == []
        back = portal.phone(phone.mac)
        assert (await back.get("/vi/online", Cookie=f"wificrm={cookie}")).status == 200


async def test_a_store_that_was_lost_takes_over_what_a_router_knows(
    tmp_path: Path, authority: Authority, pair: Pair
) -> None:
    """Also long after the start: a router is heard for the first time when it comes."""
    async with thin_portal(tmp_path, Clock(), authority, pair) as portal:
        await asyncio.sleep(0.3)
        router = portal.router()
        router.table[STRANGER] = Entry(time.monotonic() + 600, 10, 20)
        await router.connect()
        await router.until(lambda: taken(portal).get(f"hall1 {STRANGER}") == (10, 20))
        assert router.said("deny") == []
        router.table["02:00:00:00:99:98"] = Entry(time.monotonic() + 600)
        await router.report()
        await router.until(lambda: router.said("deny") == ["deny 02:00:00:00:99:98"])


async def test_strangers_are_shut_out_after_the_first_report(
    tmp_path: Path, authority: Authority, pair: Pair
) -> None:
    async with thin_portal(tmp_path, Clock(), authority, pair) as portal:
        first = portal.router()
        await first.connect()
        await first.report()
        await asyncio.sleep(0.3)
        settings = portal.settings
    async with thin_portal(tmp_path, Clock(), authority, pair, settings=settings) as portal:
        router = portal.router()
        router.table[STRANGER] = Entry(time.monotonic() + 600)
        router.reporting = False
        await router.connect()
        await asyncio.sleep(0.3)
        assert router.said("deny") == [], "nothing is known before the first report"
        await router.report()
        await router.until(lambda: router.table == {})


async def test_a_router_that_lost_its_table_gets_it_back_with_counts_begun_anew(portal: ThinPortal) -> None:
    router, phone = portal.router(), portal.phone()
    await router.connect()
    await let_in(router, phone)
    router.table[phone.mac].up = 700
    await router.report()
    await router.until(lambda: taken(portal)[f"hall1 {phone.mac}"] == (700, 0))
    await router.hang_up()
    router.table.clear()
    await router.connect()
    await router.until(lambda: phone.mac in router.table)
    assert router.said("allow")[-1].endswith(" 1")
    router.table[phone.mac].up = 30
    await router.report()
    await router.until(lambda: taken(portal)[f"hall1 {phone.mac}"] == (730, 0))


async def test_after_a_long_gap_both_sides_agree_again(portal: ThinPortal) -> None:
    """Who left meanwhile is shut, who still has a grant is not, and nobody is told twice."""
    router, stays, leaves = portal.router(), portal.phone(), portal.phone()
    await router.connect()
    await let_in(router, stays)
    await let_in(router, leaves)
    await router.hang_up()
    await end(portal, leaves)
    assert (await stays.get("/vi/online")).status == 200, "the book stays as it was"
    await asyncio.sleep(0.3)
    assert set(router.table) == {stays.mac, leaves.mac}
    before = len(router.said("allow"))
    await router.connect()
    await router.until(lambda: set(router.table) == {stays.mac})
    assert len(router.said("allow")) == before


async def test_a_full_router_takes_no_room_of_another_and_is_set_right_at_once(
    tmp_path: Path, authority: Authority, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One key, or one guest under ever new MACs, fills one hall and no more."""
    monkeypatch.setattr(policy, "MOST_BEHIND_A_ROUTER", 3)
    async with thin_portal(tmp_path, Clock(), authority, pair) as portal:
        router, other = portal.router(), portal.router("hall2")
        phones = [portal.phone() for _ in range(3)]
        await router.connect()
        await other.connect()
        for phone in phones:
            await let_in(router, phone)
        one_more = portal.phone()
        await one_more.get(router.enter_path(one_more.mac))
        assert (await one_more.post("/vi/skip")).status == 503
        assert len(taken(portal)) == 3
        await let_in(other, portal.phone())
        for phone in phones:
            router.table[phone.mac].ends -= 1000
        await router.report()
        await router.until(lambda: all(entry.seconds > 14_000 for entry in router.table.values()))
        assert set(router.table) == {phone.mac for phone in phones}


async def test_counts_that_no_device_can_have_harm_nobody_elsewhere(portal: ThinPortal) -> None:
    """Their sum, were it too large for the store, would keep it from writing anybody's."""
    liar, honest = portal.router(), portal.router("hall2")
    one, two = portal.phone(), portal.phone()
    for router, phone in ((liar, one), (honest, two)):
        await router.connect()
        await let_in(router, phone)
    for _ in range(3):
        before = taken(portal)[f"hall1 {one.mac}"][0]
        for count in (0, 2**63 - 1):
            liar.table[one.mac].up = count
            await liar.report()
            await looked(portal)
        await until(lambda: taken(portal)[f"hall1 {one.mac}"][0] > before)  # noqa: B023
    honest.table[two.mac].up = 730
    await honest.report()
    await until(lambda: taken(portal)[f"hall2 {two.mac}"] == (730, 0))


async def test_a_guest_of_a_router_that_is_away_is_told_so_and_is_online_when_it_is_back(
    portal: ThinPortal,
) -> None:
    router, phone, elsewhere = portal.router(), portal.phone(), portal.phone()
    other = portal.router("hall2")
    await router.connect()
    await other.connect()
    await phone.get(router.enter_path(phone.mac))
    await router.hang_up()
    await asyncio.sleep(0.1)
    reply = await phone.post("/vi/skip")
    assert reply.status == 503
    await let_in(other, elsewhere)  # nobody elsewhere is harmed
    assert elsewhere.mac in other.table
    await router.connect()
    await router.until(lambda: phone.mac in router.table)

    async def online() -> bool:
        return (await phone.get("/vi/online")).status == 200

    await until(online)
