"""Routers come, go, lie and crowd: what the portal then does, over real TLS with real stores."""

import asyncio
import contextlib
import sqlite3
import time
from pathlib import Path

import pytest

import captive.routers.session
from captive.routers.keys import make_key
from crm.settings import Grant, Router
from tests.captive.portal_app import Clock
from tests.captive.routers.thin_portal import NAME, Phone, ThinPortal, thin_portal, thin_settings
from tests.lab.certificates import Authority
from tests.lab.thin_client import Entry, RefusedError, ThinRouter, refused, sign

Pair = tuple[Path, Path]
STRANGER = "02:00:00:00:99:99"


async def let_in(router: ThinRouter, phone: Phone) -> None:
    """Walk *phone* through the portal, by *Skip*."""
    assert (await phone.get(router.enter_path(phone.mac))).status == 303
    reply = await phone.post("/vi/skip")
    assert reply.location == "/vi/online", reply.text
    router.present.add(phone.mac)


def taken(portal: ThinPortal) -> dict[str, tuple[int, int]]:
    with sqlite3.connect(f"file:{portal.settings.store.access}?mode=ro", uri=True) as store:
        return {row[0]: row[1:] for row in store.execute('SELECT device, up, down FROM "grant"').fetchall()}


async def test_a_grant_reaches_the_router_before_the_guest_is_told(portal: ThinPortal) -> None:
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


async def end(portal: ThinPortal, phone: Phone) -> None:
    """The technician ends the grant of *phone*; returns when the portal has done it."""
    with sqlite3.connect(portal.settings.store.access) as store:
        store.execute("INSERT INTO wish (device, verb) VALUES (?, 'end')", (f"hall1 {phone.mac}",))
    async with asyncio.timeout(5):
        while f"hall1 {phone.mac}" in taken(portal):
            await asyncio.sleep(0.05)


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
        with sqlite3.connect(portal.settings.store.access) as store:
            store.execute("UPDATE \"grant\" SET expires = '2026-11-20 00:00:00.000000'")
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
    async with asyncio.timeout(5):
        while (await phone.get("/vi/online")).status != 200:
            await asyncio.sleep(0.05)


# -- what ends a stream --------------------------------------------------------------------------------


async def test_no_line_can_be_changed_or_repeated_unnoticed(portal: ThinPortal) -> None:
    """What the router checks: each line's number and its signature under a key of this session."""
    router = portal.router()
    await router.connect()
    before = router.down
    await router.hang_up()
    await router.connect()
    assert router.ended == ""
    first = router.heard[-3]
    assert first.text == f"hello {router.session}"
    assert sign(before, f"1 {first.text}") != sign(router.down, f"1 {first.text}")


async def test_where_phones_ask_about_the_certificate_is_open_too(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a full box; and the router is told anew when it changes."""
    monkeypatch.setattr(captive.routers.session, "PING_SECONDS", 0.2)
    pair = authority.issue("asked", NAME, revocation="pki.example")
    async with thin_portal(tmp_path, Clock(), authority, pair) as portal:
        router = portal.router()
        await router.connect()
        assert router.config["garden"] == "ocsp.pki.example,crl.pki.example"
        fresh = authority.issue("not-asked", NAME)
        for old, new in zip(pair, fresh, strict=True):
            new.replace(old)
        await router.until(lambda: router.config["garden"] == "")


async def test_a_second_stream_ends_the_first(portal: ThinPortal) -> None:
    first, second = portal.router(), portal.router()
    await first.connect()
    await second.connect()
    await first.until(lambda: first.ended == "the portal ended it")
    await refused(first.report())
    await second.report()


async def test_two_routers_with_one_key_are_told_of(
    portal: ThinPortal, capfd: pytest.CaptureFixture[str]
) -> None:
    twins = portal.router(), portal.router()
    for number in range(6):
        await twins[number % 2].connect()
        assert ("have two of them its name and key" in "".join(capfd.readouterr())) == (number == 5)


async def test_a_new_key_ends_what_the_old_one_opened(
    portal: ThinPortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captive.routers.session, "PING_SECONDS", 0.2)
    router = portal.router()
    await router.connect()
    make_key(portal.settings, "hall1")
    await router.until(lambda: bool(router.ended))
    await refused(router.connect())
    await portal.router().connect()


async def test_silence_ends_the_stream_and_words_keep_it(
    portal: ThinPortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captive.routers.session, "PING_SECONDS", 0.1)
    monkeypatch.setattr(captive.routers.session, "REPORT_SECONDS", 1.0)
    router, mute = portal.router(), portal.router("hall2")
    mute.reporting = False
    await router.connect()
    await mute.connect()
    for _ in range(15):
        await asyncio.sleep(0.1)
        await router.report()
    assert router.ended == ""
    assert len(router.said("ping")) > 5
    await mute.until(lambda: bool(mute.ended))


async def test_a_router_that_claims_a_million_devices_harms_nobody(portal: ThinPortal) -> None:
    liar, router, phone = portal.router(), portal.router("hall2"), portal.phone()
    await liar.connect()
    await router.connect()
    lines = "".join(
        f"lease 02:{n >> 24 & 255:02x}:{n >> 16 & 255:02x}:{n >> 8 & 255:02x}:{n & 255:02x}:77 9999 0 0\n"
        for n in range(1_000_000)
    )
    await refused(liar.report(lines), 413)
    await liar.report("applied 3\n" + lines[: 250 * 1024].rpartition("\n")[0])
    most = 250 * 1024 // 41
    await liar.until(lambda: sum(line.count(":77") for line in liar.said("deny")) > most - 100)
    assert max(line.count(" ") for line in liar.said("deny")) == 200
    await let_in(router, phone)
    assert phone.mac in router.table
    assert len(taken(portal)) == 1
    with contextlib.suppress(RefusedError):
        for _ in range(150):
            await liar.report("applied 3\n")
    await liar.until(lambda: bool(liar.ended))


async def test_a_hundred_routers_at_once(tmp_path: Path, authority: Authority, pair: Pair) -> None:
    halls = tuple(Router(name=f"hall{number}") for number in range(100))
    settings = thin_settings(tmp_path, pair, routers=halls)
    async with thin_portal(tmp_path, Clock(), authority, pair, settings=settings) as portal:
        routers = [portal.router(hall.name) for hall in halls]
        await asyncio.gather(*(router.connect() for router in routers))
        phones = [portal.phone() for _ in routers[:20]]
        await asyncio.gather(*map(let_in, routers, phones))
        for router, phone in zip(routers, phones, strict=False):
            assert set(router.table) == {phone.mac}, router.name
        assert all(router.ended == "" for router in routers)
        assert all(router.table == {} for router in routers[20:])


async def test_devices_that_are_always_online_are_so_behind_a_router_too(
    tmp_path: Path, authority: Authority, pair: Pair
) -> None:
    printer = "02:00:00:00:00:77"
    routers = (Router(name="hall1", always=(printer,)),)
    async with thin_portal(tmp_path, Clock(), authority, pair, routers=routers) as portal:
        router = portal.router()
        await router.connect()
        await router.until(lambda: printer in router.table)
        assert router.said("allow") == [f"allow {printer} 604800 1"]
        await asyncio.sleep(0.3)
        await router.report()
        await asyncio.sleep(0.2)
        assert router.said("deny") == []
        assert len(router.said("allow")) == 1
        router.table[printer].ends -= 2 * 86_400
        await router.report()
        await router.until(lambda: len(router.said("allow")) == 2)
        assert router.said("allow")[1] == f"allow {printer} 604800 0"


async def test_what_waits_to_be_said_does_not_grow_without_end(
    portal: ThinPortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captive.routers.session, "MAX_WAITING", 100)
    router = portal.router()
    router.reporting = False
    await router.connect()
    await router.report()
    await asyncio.sleep(0.3)
    for number in range(150):
        router.table[f"02:00:00:01:00:{number:02x}"] = Entry(time.monotonic() + 600)
    await router.report()
    await router.until(lambda: bool(router.ended))
