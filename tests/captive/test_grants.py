"""The book of grants on a real access store; the kernel's part is played by the demo's gateway."""

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from captive.door import Door
from captive.gateway import OpenGateway
from captive.grants import Grants
from captive.neighbours import Loopback
from crm.migrate import migrate
from crm.store import Store, open_store

MAC = "02:00:00:00:00:0a"
DAY = date(2026, 11, 21)


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
async def access(tmp_path: Path) -> AsyncIterator[Store]:
    dsn = str(tmp_path / "access.db")
    await migrate(dsn, "captive")
    store = open_store(dsn)
    yield store
    await store.close()


async def make(access: Store, gateway: OpenGateway, clock: Clock, minutes: int = 60) -> Grants:
    grants = Grants(access, gateway, clock, minutes)
    await grants.load(DAY)
    return grants


async def rows(access: Store, table: str) -> list[tuple[object, ...]]:
    async with access.read() as conn:
        return [tuple(row) for row in await conn.execute(text(f'SELECT * FROM "{table}"'))]


async def test_a_grant_reaches_the_gateway_and_survives_a_restart(access: Store) -> None:
    clock, kernel = Clock(), OpenGateway()
    grants = await make(access, kernel, clock)
    assert grants.seconds_left(MAC) == 0
    await grants.grant(MAC)
    assert 3590 <= grants.seconds_left(MAC) <= 3600
    assert (await kernel.list())[MAC].seconds >= 3590

    rebooted = OpenGateway()
    clock.now += timedelta(minutes=20)
    again = await make(access, rebooted, clock)
    assert again.seconds_left(MAC) == 0  # not before the kernel lets it through
    await again.reconcile()
    assert 2380 <= again.seconds_left(MAC) <= 2400
    assert 2380 <= (await rebooted.list())[MAC].seconds <= 2400
    assert again.was_asked(MAC)


async def test_what_ran_out_while_we_were_away_is_ended_and_its_mac_forgotten(access: Store) -> None:
    clock = Clock()
    await (await make(access, OpenGateway(), clock)).grant(MAC)
    clock.now += timedelta(minutes=61)
    kernel = OpenGateway()
    grants = await make(access, kernel, clock)
    await grants.reconcile()
    assert grants.seconds_left(MAC) == 0
    assert await kernel.list() == {}
    assert await rows(access, "grant") == []


async def test_a_clock_that_jumps_ends_nobodys_grant(access: Store) -> None:
    clock, kernel = Clock(), OpenGateway()
    clock.now = datetime(1970, 1, 1, tzinfo=UTC)
    grants = await make(access, kernel, clock)
    await grants.grant(MAC)
    clock.now = datetime(2026, 11, 21, tzinfo=UTC)
    await grants.reconcile()
    assert grants.seconds_left(MAC) > 3500
    assert MAC in await kernel.list()


async def test_the_kernel_is_made_to_agree_with_the_book(access: Store) -> None:
    kernel = OpenGateway()
    grants = await make(access, kernel, Clock())
    await grants.grant(MAC)
    await kernel.deny([MAC])
    await kernel.allow({"02:00:00:00:00:0b": 500})
    await grants.reconcile()
    assert set(await kernel.list()) == {MAC}
    await kernel.allow({MAC: 100_000})
    await grants.reconcile()
    assert (await kernel.list())[MAC].seconds <= 3600


async def test_asked_today_goes_at_midnight_with_its_secret(access: Store) -> None:
    grants = await make(access, OpenGateway(), Clock())
    await grants.grant(MAC)
    before = await rows(access, "day_secret")
    assert grants.was_asked(MAC)
    assert len(await rows(access, "asked")) == 1

    await grants.start_day(DAY + timedelta(days=1))

    assert not grants.was_asked(MAC)
    assert await rows(access, "asked") == []
    after = await rows(access, "day_secret")
    assert len(after) == 1
    assert after != before


async def test_the_mark_does_not_hold_the_mac(access: Store) -> None:
    grants = await make(access, OpenGateway(), Clock())
    await grants.grant(MAC)
    [(mark,)] = await rows(access, "asked")
    assert isinstance(mark, bytes)
    assert bytes.fromhex(MAC.replace(":", "")) not in mark


async def test_playing_another_phone_forgets_this_one(access: Store) -> None:
    kernel = OpenGateway()
    grants = await make(access, kernel, Clock())
    await grants.grant(MAC)
    await grants.forget(MAC)
    assert not grants.was_asked(MAC)
    assert grants.seconds_left(MAC) == 0
    assert await kernel.list() == {}
    assert await rows(access, "grant") == await rows(access, "asked") == []


async def test_a_probe_gets_its_redirect_whatever_fails_behind_it(access: Store) -> None:
    grants = await make(access, OpenGateway(), Clock())
    door = Door(grants, Loopback(), b"k" * 32, "V", "net")
    await door.start_day(DAY)
    await access.close()
    await door.welcome_back(MAC)  # must not raise
    assert grants.seconds_left(MAC) == 0
