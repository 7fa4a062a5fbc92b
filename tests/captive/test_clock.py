"""Clocks that are wrong: a router without a battery wakes up in 1970, somebody sets the clock, midnight comes."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

import captive.app
from captive.gateway import OpenGateway, Terms, device_key
from captive.grants.deadlines import time_left, written_end
from captive.grants.grants import Grants
from captive.grants.policy import Policy
from crm.settings import Grant, Network
from crm.store import Store, open_store
from crm.times import UNDATED
from tests.captive.portal_app import Clock, portal_at
from tests.migrated import migrated
from tests.waiting import until

DEVICE, OTHER = (device_key("guest", f"02:00:00:00:00:0{digit}") for digit in "ab")
TODAY = date(2026, 11, 22)
NOON, WOKEN = datetime(2026, 11, 22, 5, 0, tzinfo=UTC), datetime(1970, 1, 1, 0, 0, 40, tzinfo=UTC)


@pytest.fixture
async def access(tmp_path: Path) -> AsyncIterator[Store]:
    dsn = str(tmp_path / "access.db")
    await migrated(dsn, "captive")
    store = open_store(dsn)
    yield store
    await store.close()


async def box(access: Store, kernel: OpenGateway, clock: Clock, today: date) -> Grants:
    """A portal that has just started."""
    policy = Policy(Network(grant=Grant(minutes=60, extensions=0)))
    grants = Grants(access, kernel, clock, {"guest": policy})
    await grants.load(today)
    await grants.reconcile()
    return grants


async def rows(store: Store, query: str) -> list[tuple[object, ...]]:
    async with store.read() as conn:
        return [tuple(row) for row in await conn.execute(text(query))]


def test_an_end_is_a_moment_or_the_time_left() -> None:
    assert time_left(written_end(NOON, 600), NOON + timedelta(seconds=100)) == 500
    assert time_left(written_end(WOKEN, 600), NOON) == 600
    assert time_left(written_end(NOON, 600), WOKEN) is None


async def test_a_power_cut_that_wakes_in_1970_keeps_grants_marks_and_secret(access: Store) -> None:
    clock = Clock(NOON)
    grants = await box(access, OpenGateway(), clock, TODAY)
    await grants.grant(DEVICE)
    before = await rows(access, "SELECT * FROM day_secret")

    clock.now, kernel = WOKEN, OpenGateway()
    grants = await box(access, kernel, clock, UNDATED)
    assert grants.is_online(DEVICE)
    assert grants.was_asked(DEVICE)
    assert await rows(access, "SELECT * FROM day_secret") == before
    assert [str(end)[:4] for (end,) in await rows(access, 'SELECT expires FROM "grant"')] == ["2026"]
    await grants.grant(OTHER)

    clock.now = NOON + timedelta(minutes=40)  # set at last: twenty minutes of the first grant are left
    await grants.start_day(TODAY)
    await grants.reconcile()
    assert 1190 <= grants.seconds_left(DEVICE) <= 1200
    assert 3590 <= grants.seconds_left(OTHER) <= 3600
    assert 1190 <= (await kernel.list())[DEVICE].seconds <= 1200
    assert grants.was_asked(DEVICE)
    assert grants.was_asked(OTHER)
    assert await rows(access, "SELECT * FROM day_secret") == before
    ends = await rows(access, 'SELECT expires FROM "grant" ORDER BY device')
    for (end,), minutes in zip(ends, (60, 100), strict=True):
        late = datetime.fromisoformat(str(end)).replace(tzinfo=UTC) - (NOON + timedelta(minutes=minutes))
        assert abs(late.total_seconds()) < 5


async def test_in_1970_the_kernel_knows_best_how_long_a_lease_lasts(access: Store) -> None:
    clock, kernel = Clock(NOON), OpenGateway()
    grants = await box(access, kernel, clock, TODAY)
    await grants.grant(DEVICE)
    await kernel.allow({DEVICE: Terms(1000)})  # so much is left when the portal alone starts again
    clock.now = WOKEN
    grants = await box(access, kernel, clock, UNDATED)
    assert 990 <= grants.seconds_left(DEVICE) <= 1000


async def test_a_grant_of_1970_lasts_through_a_restart_in_1970_and_one_with_the_clock_set(
    access: Store,
) -> None:
    clock = Clock(WOKEN)
    grants = await box(access, OpenGateway(), clock, UNDATED)
    await grants.grant(DEVICE)
    for now, day in ((WOKEN + timedelta(seconds=50), UNDATED), (NOON, TODAY)):
        clock.now = now
        grants = await box(access, OpenGateway(), clock, day)
        assert 3500 <= grants.seconds_left(DEVICE) <= 3600
        assert grants.was_asked(DEVICE)
    assert await rows(access, "SELECT day FROM day_secret") == [("2026-11-22",)]


async def test_who_was_asked_before_the_clock_was_set_is_not_asked_again_that_day(access: Store) -> None:
    """The power went yesterday: its marks go as soon as the day is known, those of this morning stay."""
    clock = Clock(NOON - timedelta(days=1))
    grants = await box(access, OpenGateway(), clock, TODAY - timedelta(days=1))
    await grants.grant(DEVICE)
    before = await rows(access, "SELECT secret FROM day_secret")

    clock.now = WOKEN
    grants = await box(access, OpenGateway(), clock, UNDATED)
    await grants.grant(OTHER)
    clock.now = NOON
    await grants.start_day(TODAY)
    await grants.reconcile()
    assert not grants.was_asked(DEVICE)
    assert not grants.is_online(DEVICE), "its time ran out in the dark"
    assert grants.was_asked(OTHER)
    assert grants.is_online(OTHER)
    assert await rows(access, "SELECT secret FROM day_secret") != before
    assert len(await rows(access, "SELECT * FROM asked")) == 1
    again = await box(access, OpenGateway(), clock, TODAY)
    assert again.was_asked(OTHER)


@pytest.mark.parametrize("hours", [-30, -1, 1, 30])
async def test_a_jump_ends_and_lengthens_nobodys_grant(access: Store, hours: int) -> None:
    clock, kernel = Clock(NOON), OpenGateway()
    grants = await box(access, kernel, clock, TODAY)
    await grants.grant(DEVICE)
    clock.now += timedelta(hours=hours)
    await grants.start_day((clock.now + timedelta(hours=7)).date())
    await grants.reconcile()
    assert 3590 <= grants.seconds_left(DEVICE) <= 3600
    restarted = await box(access, OpenGateway(), clock, (clock.now + timedelta(hours=7)).date())
    assert 3580 <= restarted.seconds_left(DEVICE) <= 3600, "what the store has follows the clock"


async def test_answers_of_1970_are_kept_and_dated_when_the_clock_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captive.app, "TICK", 0.1)
    clock = Clock(WOKEN)
    async with portal_at(tmp_path, clock) as portal:
        early, midway = portal.guest(), portal.guest()
        assert (await early.answer("done", "5")).status == 303
        await early.post("/en/skip")
        online = (await early.get("/en/online?again=1")).text
        assert re.search(r"lasts for another [34]\xa0h", online)
        assert re.search(r"\d\d:\d\d", online) is None, "no time of the day is told by a wrong clock"
        token = (await midway.get("/vi")).token
        assert (await midway.post("/vi/survey/A0", r=token, value="done")).status == 303
        clock.now = NOON
        store = open_store(portal.settings.store.crm)
        try:

            async def dated() -> bool:
                found = await rows(store, "SELECT day, n FROM daily_funnel WHERE step = 'started'")
                return found == [("2026-11-22", 2)]

            await until(dated)
            assert await rows(store, "SELECT DISTINCT day, daypart FROM response") == [("2026-11-22", 1)]
            assert await rows(store, "SELECT DISTINCT month, hour FROM monthly_hour") == [("2026-11-01", 12)]
            page = await midway.post("/vi/survey/A1", r=token, value="5")
            assert page.status == 303, "a page from before the clock was set is good"
            tables = ("daily_count", "daily_funnel", "response")
            found = [await rows(store, f"SELECT * FROM {name} WHERE day < '2026-01-01'") for name in tables]
            assert found == [[], [], []]
        finally:
            await store.close()


async def test_a_page_of_before_the_power_cut_is_good_in_1970(tmp_path: Path) -> None:
    clock = Clock(NOON)
    async with portal_at(tmp_path, clock) as portal:
        token = (await portal.guest().get("/vi")).token
    clock.now = WOKEN
    async with portal_at(tmp_path, clock) as portal:
        assert (await portal.guest().post("/vi/survey/A0", r=token, value="done")).status == 303
