"""The book of grants on a real access store; the kernel's part is played by the demo's gateway."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Literal

import pytest
from sqlalchemy import text

from captive.gateway import OpenGateway, Terms, device_key
from captive.grants.grants import Grants
from captive.grants.policy import Policy
from captive.kernel.neighbours import Loopback
from captive.portal.door import Door
from crm.settings import Grant, Network
from crm.store import Store, open_store
from tests.migrated import migrated
from tests.waiting import until

MAC = "02:00:00:00:00:0a"
DEVICE = device_key("guest", MAC)
DAY = date(2026, 11, 21)


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
async def access(tmp_path: Path) -> AsyncIterator[Store]:
    dsn = str(tmp_path / "access.db")
    await migrated(dsn, "captive")
    store = open_store(dsn)
    yield store
    await store.close()


async def make(access: Store, gateway: OpenGateway, clock: Clock, minutes: int = 60) -> Grants:
    policy = Policy(Network(grant=Grant(minutes=minutes)))
    grants = Grants(access, gateway, clock, {"guest": policy})
    await grants.load(DAY)
    return grants


async def rows(access: Store, table: str) -> list[tuple[object, ...]]:
    async with access.read() as conn:
        return [tuple(row) for row in await conn.execute(text(f'SELECT * FROM "{table}"'))]


async def test_a_grant_reaches_the_gateway_and_survives_a_restart(access: Store) -> None:
    clock, kernel = Clock(), OpenGateway()
    grants = await make(access, kernel, clock)
    assert grants.seconds_left(DEVICE) == 0
    await grants.grant(DEVICE)
    assert 3590 <= grants.seconds_left(DEVICE) <= 3600
    assert (await kernel.list())[DEVICE].seconds >= 3590

    rebooted = OpenGateway()
    clock.now += timedelta(minutes=20)
    again = await make(access, rebooted, clock)
    assert again.seconds_left(DEVICE) == 0  # not before the kernel lets it through
    await again.reconcile()
    assert 2380 <= again.seconds_left(DEVICE) <= 2400
    assert 2380 <= (await rebooted.list())[DEVICE].seconds <= 2400
    assert again.was_asked(DEVICE)


async def test_what_ran_out_while_we_were_away_is_ended_and_its_mac_forgotten(access: Store) -> None:
    clock = Clock()
    await (await make(access, OpenGateway(), clock)).grant(DEVICE)
    clock.now += timedelta(minutes=61)
    kernel = OpenGateway()
    grants = await make(access, kernel, clock)
    await grants.reconcile()
    assert grants.seconds_left(DEVICE) == 0
    assert await kernel.list() == {}
    assert await rows(access, "grant") == []


async def test_a_clock_that_jumps_ends_nobodys_grant(access: Store) -> None:
    clock, kernel = Clock(), OpenGateway()
    clock.now = datetime(1970, 1, 1, tzinfo=UTC)
    grants = await make(access, kernel, clock)
    await grants.grant(DEVICE)
    clock.now = datetime(2026, 11, 21, tzinfo=UTC)
    await grants.reconcile()
    assert grants.seconds_left(DEVICE) > 3500
    assert DEVICE in await kernel.list()


async def test_the_kernel_is_made_to_agree_with_the_book(access: Store) -> None:
    kernel = OpenGateway()
    grants = await make(access, kernel, Clock())
    await grants.reconcile()
    await grants.grant(DEVICE)
    await kernel.deny([DEVICE])
    await kernel.allow({device_key("guest", "02:00:00:00:00:0b"): Terms(500)})
    await grants.reconcile()
    assert set(await kernel.list()) == {DEVICE}
    await kernel.allow({DEVICE: Terms(100_000)})
    await grants.reconcile()
    assert (await kernel.list())[DEVICE].seconds <= 3600


async def test_asked_today_goes_at_midnight_with_its_secret(access: Store) -> None:
    grants = await make(access, OpenGateway(), Clock())
    await grants.grant(DEVICE)
    before = await rows(access, "day_secret")
    assert grants.was_asked(DEVICE)
    assert len(await rows(access, "asked")) == 1

    await grants.start_day(DAY + timedelta(days=1))

    assert not grants.was_asked(DEVICE)
    assert await rows(access, "asked") == []
    after = await rows(access, "day_secret")
    assert len(after) == 1
    assert after != before


async def test_the_mark_does_not_hold_the_mac(access: Store) -> None:
    grants = await make(access, OpenGateway(), Clock())
    await grants.grant(DEVICE)
    [(mark,)] = await rows(access, "asked")
    assert isinstance(mark, bytes)
    assert bytes.fromhex(MAC.replace(":", "")) not in mark


async def test_playing_another_phone_forgets_this_one(access: Store) -> None:
    kernel = OpenGateway()
    grants = await make(access, kernel, Clock())
    await grants.grant(DEVICE)
    await grants.forget(DEVICE)
    assert not grants.was_asked(DEVICE)
    assert grants.seconds_left(DEVICE) == 0
    assert await kernel.list() == {}
    assert await rows(access, "grant") == await rows(access, "asked") == []


class BrokenGateway(OpenGateway):
    async def allow(self, leases: Mapping[str, Terms]) -> None:
        raise RuntimeError("nobody thought of this")


async def test_a_probe_gets_its_redirect_whatever_fails_behind_it(access: Store) -> None:
    grants = await make(access, BrokenGateway(), Clock())
    door = Door(grants, Loopback("guest"), b"k" * 32, "V")
    await door.start_day(DAY)
    await access.close()
    await door.welcome_back(DEVICE)  # must not raise
    assert grants.seconds_left(DEVICE) == 0


async def test_what_is_put_right_is_counted_and_a_grant_under_way_is_not(access: Store) -> None:
    class Slow(OpenGateway):
        async def allow(self, leases: Mapping[str, Terms]) -> None:
            await asyncio.sleep(0.1)
            await super().allow(leases)

    gateway = Slow()
    grants = await make(access, gateway, Clock())
    granting = asyncio.create_task(grants.grant(DEVICE))
    await asyncio.sleep(0.05)
    await grants.reconcile()
    await granting
    assert grants.tally.repairs == 0
    await gateway.deny([DEVICE])
    await gateway.allow({device_key("guest", "02:00:00:00:00:0b"): Terms(600)})
    await grants.reconcile()
    assert grants.tally.repairs == 2
    assert grants.online() == {"guest": 1}


async def test_why_a_grant_ended_is_counted(access: Store) -> None:
    grants = await make(access, OpenGateway(), Clock())
    for _ in range(2):
        await grants.grant(DEVICE)
        await grants.forget(DEVICE)
    await grants.grant(DEVICE)
    grants._held[DEVICE].ends = asyncio.get_running_loop().time() - 1
    await grants.reconcile()
    assert grants.tally.ended == {("guest", "staff"): 2, ("guest", "time"): 1}


class SlowGateway(OpenGateway):
    """Takes a device at once, and says so when it is told to, as a router elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[asyncio.Event] = []

    async def allow(self, leases: Mapping[str, Terms]) -> None:
        """Remember the leases, then wait."""
        await super().allow(leases)
        self.asked.append(asyncio.Event())
        await self.asked[-1].wait()


async def test_who_is_granted_twice_at_once_is_online_as_soon_as_the_first_says_so(access: Store) -> None:
    gateway = SlowGateway()
    grants = await make(access, gateway, Clock())
    calls = []
    for number in (1, 2):
        calls.append(asyncio.create_task(grants.grant(DEVICE)))
        await until(lambda: len(gateway.asked) == number)  # noqa: B023 - asked at once
    gateway.asked[0].set()
    await calls[0]
    assert not calls[1].done()
    assert grants.is_online(DEVICE)
    gateway.asked[1].set()
    await calls[1]


@pytest.mark.parametrize(("before", "after"), [("mac", "mac+ip"), ("mac+ip", "mac")])
async def test_a_network_that_tells_devices_apart_otherwise_than_before_asks_for_none_by_their_former_names(
    access: Store, before: Literal["mac", "mac+ip"], after: Literal["mac", "mac+ip"]
) -> None:
    """The gate would refuse them, and all that are asked for in the same breath."""
    kernel = OpenGateway()
    other = device_key("desks", MAC)

    async def book(identity: Literal["mac", "mac+ip"]) -> Grants:
        hall = Network(name="hall", identity=identity)
        grants = Grants(
            access, kernel, Clock(), {"hall": Policy(hall), "desks": Policy(Network(name="desks"))}
        )
        await grants.load(DAY)
        await grants.reconcile()
        return grants

    device = device_key("hall", MAC, "192.168.50.9" if before == "mac+ip" else "")
    for each in (device, other):
        await (await book(before)).grant(each)
    grants = await book(after)
    assert grants.online() == {"desks": 1}
    assert set(await kernel.list()) == {other}
    assert [row[0] for row in await rows(access, "grant")] == [other]


async def test_an_extension_before_the_clock_is_set_is_not_lost_when_it_is(access: Store) -> None:
    """After a power cut nobody knows how long a grant has left until then; how much it was given is known."""
    clock = Clock()
    await (await make(access, OpenGateway(), clock)).grant(DEVICE)
    clock.now = datetime(1970, 1, 1, 0, 1, tzinfo=UTC)
    for _ in range(2):  # and the portal may start anew meanwhile
        grants = await make(access, OpenGateway(), clock)
        await grants.reconcile()
        await grants.extend(DEVICE)
    clock.now = Clock().now + timedelta(minutes=20)
    await grants.reconcile()
    assert 2 * 3600 + 2390 <= grants.seconds_left(DEVICE) <= 2 * 3600 + 2400
    assert (await make(access, OpenGateway(), clock))._held[DEVICE].extensions == 2


class Heard:
    """A journal: who is online as far as it was told."""

    def __init__(self) -> None:
        self.online: list[str] = []

    def began(self, device: str, address: str) -> None:
        """Note *device*."""
        self.online.append(device)

    def ended(self, device: str) -> None:
        """Strike *device* off."""
        if device in self.online:
            self.online.remove(device)


@pytest.mark.parametrize("later", range(0, 24, 3))
async def test_a_grant_that_is_ended_while_it_is_written_leaves_nothing(access: Store, later: int) -> None:
    kernel, heard = OpenGateway(), Heard()
    grants = Grants(access, kernel, Clock(), {"guest": Policy(Network())}, journal=heard)
    await grants.load(DAY)
    granting = asyncio.create_task(grants.grant(DEVICE))
    for _ in range(later):
        await asyncio.sleep(0)
    ending = asyncio.create_task(grants.forget(DEVICE))
    await asyncio.gather(granting, ending)
    if device_online := DEVICE in grants._held:  # it had not begun when it was ended
        assert later < 3
    await grants.reconcile()
    assert [row[0] for row in await rows(access, "grant")] == [DEVICE] * device_online
    assert len(await rows(access, "asked")) == device_online
    assert heard.online == [DEVICE] * device_online
    assert list(await kernel.list()) == [DEVICE] * device_online
