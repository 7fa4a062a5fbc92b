"""What ends a stream, and crowds: routers that lie, repeat, stay silent, or come all at once."""

import asyncio
import contextlib
import time
from pathlib import Path

import pytest

import captive.routers.session
from captive.routers.keys import make_key
from crm.settings import Router
from tests.captive.portal_app import Clock
from tests.captive.routers.thin_portal import (
    NAME,
    ThinPortal,
    let_in,
    looked,
    taken,
    thin_portal,
    thin_settings,
)
from tests.lab.certificates import Authority
from tests.lab.thin_client import Entry, RefusedError, refused, sign

Pair = tuple[Path, Path]


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
    monkeypatch.setattr(captive.routers.session, "REPORT_SECONDS", 3.0)
    router, mute = portal.router(), portal.router("hall2")
    mute.reporting = False
    await router.connect()
    await mute.connect()
    while not mute.ended:
        await asyncio.sleep(0.1)
        await router.report()
    assert router.ended == ""
    assert len(router.said("ping")) > 5


async def test_a_router_that_claims_a_million_devices_harms_nobody(
    portal: ThinPortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captive.routers.session, "WINDOW", 600.0)  # a busy box takes its time for 150 reports
    liar, router, phone = portal.router(), portal.router("hall2"), portal.phone()
    await liar.connect()
    await router.connect()
    await looked(
        portal
    )  # where the store is new it takes over whom a router names when it is first looked at
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
    router.table["02:00:00:01:01:00"] = Entry(time.monotonic() + 600)
    await router.report()
    await router.until(
        lambda: bool(taken(portal))
    )  # what it knew at first was taken over; who comes now is a stranger
    for number in range(150):
        router.table[f"02:00:00:01:00:{number:02x}"] = Entry(time.monotonic() + 600)
    await router.report()
    await router.until(lambda: bool(router.ended))


async def test_what_is_said_and_never_carried_out_does_not_either(
    portal: ThinPortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has a key may report other strangers each second, and be told of each that it is to go."""
    monkeypatch.setattr(captive.routers.session, "MAX_WAITING", 100)
    router = portal.router()
    router.reporting = False
    await router.connect()
    await router.report()
    with contextlib.suppress(RefusedError):
        for burst in range(1, 6):
            macs = (f"02:00:00:01:{burst:02x}:{number:02x}" for number in range(40))
            await router.report("applied 0\n" + "".join(f"lease {mac} 600 0 0\n" for mac in macs))
            await looked(portal)
    assert router.ended
