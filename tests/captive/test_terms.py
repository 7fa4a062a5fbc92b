"""The book under each kind of limit, on a real access store; the kernel's counts are said by the test."""

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from captive.gateway import Lease, OpenGateway, device_key
from captive.grants import book, grants
from captive.grants.grants import COUNT_EVERY, Grants
from captive.grants.policy import Policy, Refusal
from captive.grants.store import insert_wishes
from crm.settings import Grant, Network, Router
from crm.store import Store, open_store
from tests.migrated import migrated

MAC = "02:00:00:00:00:0a"
DEVICE, OTHER = device_key("guest", MAC), device_key("guest", "02:00:00:00:00:0b")
DAY = date(2026, 11, 20)
MB = 1_000_000


class Kernel(OpenGateway):
    """A gateway that counts what it is told to."""

    def __init__(self, watch: "Watch") -> None:
        super().__init__(clock=lambda: watch.seconds)
        self.counts: dict[str, tuple[int, int]] = {}

    async def list(self, *, counts: bool = False) -> dict[str, Lease]:
        leases = await super().list()
        if not counts:
            return leases
        return {
            device: msgspec.structs.replace(
                lease, up=self.counts.get(device, (0, 0))[0], down=self.counts.get(device, (0, 0))[1]
            )
            for device, lease in leases.items()
        }


class Watch:
    """Monotonic time and the clock on the wall, which the test moves on."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.wall = datetime(2026, 11, 20, 3, 0, tzinfo=UTC)

    def pass_by(self, seconds: float) -> None:
        self.seconds += seconds
        self.wall += timedelta(seconds=seconds)


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    made = Watch()
    for module in (book, grants):
        monkeypatch.setattr(module, "now_on_loop", lambda: made.seconds)
    return made


@pytest.fixture
async def access(tmp_path: Path) -> AsyncIterator[Store]:
    dsn = str(tmp_path / "access.db")
    await migrated(dsn, "captive")
    store = open_store(dsn)
    yield store
    await store.close()


@pytest.fixture
def kernel(watch: Watch) -> Kernel:
    return Kernel(watch)


async def open_book(
    access: Store, kernel: Kernel, watch: Watch, network: Network | None = None, **grant: Any
) -> Grants:
    policy = Policy(network or Network(grant=Grant(**grant)))
    grants = Grants(
        access,
        kernel,
        lambda: watch.wall,
        {"guest": policy},
        local=lambda: watch.wall + timedelta(hours=7),
    )
    await grants.load(DAY)
    return grants


async def test_an_amount_ends_the_grant_and_the_device_meets_the_portal_again(
    access: Store, kernel: Kernel, watch: Watch
) -> None:
    grants = await open_book(access, kernel, watch, total_mb=5)
    await grants.grant(DEVICE)
    await grants.grant(OTHER)
    kernel.counts = {DEVICE: (1 * MB, 3 * MB), OTHER: (0, 100)}
    watch.pass_by(COUNT_EVERY)
    await grants.reconcile()
    assert grants.bytes_left(DEVICE) == MB
    kernel.counts[DEVICE] = (1 * MB, 4 * MB)
    watch.pass_by(COUNT_EVERY)
    await grants.reconcile()
    assert not grants.is_online(DEVICE)
    assert not grants.was_asked(DEVICE)
    assert grants.has_spent(DEVICE)
    assert set(await kernel.list()) == {OTHER}
    assert grants.was_asked(OTHER)
    assert not grants.has_spent(OTHER)
    await grants.grant(DEVICE)
    assert not grants.has_spent(DEVICE)


async def test_counts_survive_restarts_of_either_side(access: Store, kernel: Kernel, watch: Watch) -> None:
    grants = await open_book(access, kernel, watch, total_mb=10)
    await grants.grant(DEVICE)
    kernel.counts[DEVICE] = (MB, MB)
    await grants.reconcile()
    kernel.counts[DEVICE] = (MB, 2 * MB)  # taken while the portal was away
    again = await open_book(access, kernel, watch, total_mb=10)
    await again.reconcile()
    assert again.bytes_left(DEVICE) == 7 * MB
    await kernel.deny([DEVICE])  # the kernel lost everything
    kernel.counts.clear()
    watch.pass_by(1)
    await again.reconcile()
    kernel.counts[DEVICE] = (0, MB)
    watch.pass_by(COUNT_EVERY)
    await again.reconcile()
    assert again.bytes_left(DEVICE) == 6 * MB


async def test_idle_ends_the_grant_of_who_takes_nothing_and_no_other(
    access: Store, kernel: Kernel, watch: Watch
) -> None:
    grants = await open_book(access, kernel, watch, idle_minutes=5)
    for device in (DEVICE, OTHER):
        await grants.grant(device)
    for number in range(31):
        kernel.counts[OTHER] = (number, 0)  # a byte now and then is life enough
        watch.pass_by(COUNT_EVERY)
        await grants.reconcile()
    assert set(await kernel.list()) == {OTHER}
    assert grants.was_asked(DEVICE)  # it comes back unasked


async def test_the_days_allowance_spans_grants_restarts_and_nothing_is_kept_without_one(
    access: Store, kernel: Kernel, watch: Watch
) -> None:
    grants = await open_book(access, kernel, watch, minutes=30, daily_minutes=50)
    await grants.grant(DEVICE)
    watch.pass_by(30 * 60 + 1)
    await grants.reconcile()
    grants = await open_book(access, kernel, watch, minutes=30, daily_minutes=50)
    await grants.grant(DEVICE)
    assert 19 * 60 <= grants.seconds_left(DEVICE) <= 20 * 60
    watch.pass_by(21 * 60)
    await grants.reconcile()
    with pytest.raises(Refusal, match="used_up"):
        await grants.grant(DEVICE)
    await grants.start_day(DAY + timedelta(days=1))
    await grants.grant(DEVICE)

    plain = await open_book(access, kernel, watch)
    await plain.grant(OTHER)
    watch.pass_by(COUNT_EVERY)
    await plain.reconcile()
    assert plain._marks.day.usage == {}


async def test_time_passes_once_for_who_walks_from_hall_to_hall(
    access: Store, kernel: Kernel, watch: Watch
) -> None:
    """Both grants run on for a while; the day's allowance is of the person's time."""
    terms = Grant(minutes=30, daily_minutes=50)
    policies = {"guest": Policy(Network(grant=terms)), "hall1": Policy(Router(name="hall1", grant=terms))}
    grants = Grants(access, kernel, lambda: watch.wall, policies)
    await grants.load(DAY)
    await grants.start_day(DAY)
    for device, minutes in ((DEVICE, 10), (device_key("hall1", MAC), 20), (None, 10)):
        if device:
            await grants.grant(device)
        watch.pass_by(minutes * 60 + 1)
        await grants.reconcile()
    assert await kernel.list() == {}
    await grants.grant(DEVICE)
    assert 9 * 60 <= grants.seconds_left(DEVICE) <= 10 * 60


async def test_closing_time_ends_a_running_grant(access: Store, kernel: Kernel, watch: Watch) -> None:
    grants = await open_book(access, kernel, watch, minutes=240, opening=("fri 07:30-11:30",))
    await grants.grant(DEVICE)  # at 10:00 local time
    assert grants.seconds_left(DEVICE) == 90 * 60
    watch.pass_by(90 * 60)
    await grants.reconcile()
    assert await kernel.list() == {}
    with pytest.raises(Refusal, match="closed"):
        await grants.grant(DEVICE)


async def test_an_extension_lengthens_so_often_and_outlives_a_restart(
    access: Store, kernel: Kernel, watch: Watch
) -> None:
    grants = await open_book(access, kernel, watch, minutes=30, extend_minutes=20, extensions=2)
    await grants.extend(DEVICE)  # no grant yet: nothing happens
    assert await kernel.list() == {}
    await grants.grant(DEVICE)
    await grants.extend(DEVICE)
    assert grants.seconds_left(DEVICE) == 50 * 60
    again = await open_book(access, kernel, watch, minutes=30, extend_minutes=20, extensions=2)
    await again.reconcile()
    assert again.seconds_left(DEVICE) == 50 * 60
    assert again.can_extend(DEVICE)
    await again.extend(DEVICE)
    assert not again.can_extend(DEVICE)
    await again.extend(DEVICE)
    assert again.seconds_left(DEVICE) == 70 * 60


async def test_nobody_is_offered_an_extension_that_gives_nothing(
    access: Store, kernel: Kernel, watch: Watch
) -> None:
    """At closing time, or with the day's allowance gone, a button that does nothing would be a lie."""
    grants = await open_book(access, kernel, watch, minutes=60, opening=("fri 07:30-11:30",))
    await grants.grant(DEVICE)  # at 10:00 local time, until 11:00
    assert grants.extended(DEVICE) == 90 * 60
    assert grants.can_extend(DEVICE)
    assert grants.obstacle(DEVICE) == "closed"
    await grants.extend(DEVICE)
    assert not grants.can_extend(DEVICE)
    await grants.extend(DEVICE)
    assert grants.seconds_left(DEVICE) == 90 * 60

    daily = await open_book(access, kernel, watch, minutes=60, daily_minutes=60)
    await daily.grant(OTHER)
    assert not daily.can_extend(OTHER)
    assert daily.obstacle(OTHER) == "used_up"
    assert daily.refusal(OTHER) is None


async def test_what_the_technician_wishes_is_done_once(access: Store, kernel: Kernel, watch: Watch) -> None:
    grants = await open_book(access, kernel, watch)
    await grants.grant(DEVICE)
    await grants.grant(OTHER)
    async with access.begin() as conn:
        await insert_wishes(conn, [DEVICE], "end")
    await grants.reconcile()
    assert set(await kernel.list()) == {OTHER}
    assert not grants.was_asked(DEVICE)
    await grants.grant(DEVICE)
    await grants.reconcile()
    assert grants.is_online(DEVICE)


async def test_lists(access: Store, kernel: Kernel, watch: Watch) -> None:
    network = Network(never=(MAC,), always=("02:00:00:00:00:0b",))
    grants = await open_book(access, kernel, watch, network)
    with pytest.raises(Refusal, match="blocked"):
        await grants.grant(DEVICE)
    assert grants.is_online(OTHER)
    assert grants.seconds_left(OTHER) == 0
    assert await kernel.list() == {}
