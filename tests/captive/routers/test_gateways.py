"""The gate of this box beside routers elsewhere: each device's own is asked, and who is away harms nobody else."""

import asyncio
from collections.abc import Collection, Mapping
from datetime import date
from pathlib import Path

import pytest

from captive.gateway import GatewayError, Lease, OpenGateway, Terms
from captive.grants.grants import Grants
from captive.grants.policy import Policy
from captive.grants.store import select_grants
from captive.routers.gateways import Gateways
from crm.migrate import migrate
from crm.settings import Network, Router
from crm.store import Store, open_store
from tests.captive.portal_app import Clock

HERE, THERE = "guest 02:00:00:00:00:01", "hall1 02:00:00:00:00:02"


class Gate(OpenGateway):
    """A gate that can be away."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self.told: list[tuple[object, ...]] = []

    async def allow(self, leases: Mapping[str, Terms]) -> None:
        self._answer("allow", sorted(leases))
        await super().allow(leases)

    async def deny(self, devices: Collection[str]) -> None:
        self._answer("deny", sorted(devices))
        await super().deny(devices)

    async def list(self, *, counts: bool = False) -> dict[str, Lease]:
        self._answer("list", counts)
        return await super().list(counts=counts)

    def _answer(self, *words: object) -> None:
        if self.away:
            raise GatewayError("away")
        self.told.append(words)


class Link(Gate):
    """A link whose router can be away."""

    @property
    def is_live(self) -> bool:
        return not self.away


@pytest.fixture
def both() -> tuple[Gate, Link, Gateways]:
    local, link = Gate(), Link()
    return local, link, Gateways(local, ["guest"], {"hall1": link})  # type: ignore[dict-item]


async def test_each_device_is_its_own_gateways(both: tuple[Gate, Link, Gateways]) -> None:
    local, link, gateways = both
    await gateways.allow({HERE: Terms(60), THERE: Terms(60)})
    assert (local.told, link.told) == ([("allow", [HERE])], [("allow", [THERE])])
    assert set(await gateways.list()) == {HERE, THERE}
    assert gateways.silent() == set()
    await gateways.deny([HERE, THERE])
    await gateways.deny([])
    assert await gateways.list() == {}


@pytest.mark.parametrize("away", ["guest", "hall1"])
async def test_who_is_away_harms_nobody_else(both: tuple[Gate, Link, Gateways], away: str) -> None:
    local, link, gateways = both
    broken, other, device = (local, link, THERE) if away == "guest" else (link, local, HERE)
    broken.away = True
    with pytest.raises(GatewayError, match="away"):
        await gateways.allow({HERE: Terms(60), THERE: Terms(60)})
    assert other.told == [("allow", [device])]
    assert set(await gateways.list(counts=True)) == {device}
    assert gateways.silent() == {away}
    with pytest.raises(GatewayError):
        await gateways.deny([HERE, THERE])
    assert other.told[-1] == ("deny", [device])


async def test_with_all_away_it_is_told_as_ever(both: tuple[Gate, Link, Gateways]) -> None:
    local, link, gateways = both
    local.away = link.away = True
    with pytest.raises(GatewayError):
        await gateways.list()


async def test_a_box_without_guests_of_its_own_has_routers_only() -> None:
    link = Link()
    gateways = Gateways(None, [], {"hall1": link})  # type: ignore[dict-item]
    await gateways.allow({THERE: Terms(60), HERE: Terms(60)})
    assert set(await gateways.list()) == {THERE}
    link.away = True
    assert await gateways.list() == {}
    assert gateways.silent() == {"hall1"}


async def test_the_book_leaves_alone_what_it_hears_nothing_of(
    both: tuple[Gate, Link, Gateways], tmp_path: Path
) -> None:
    """Neither restored nor removed, neither counted nor idle; and taken over when it is first heard."""
    local, link, gateways = both
    await migrate(str(tmp_path / "access.db"), "captive")
    access = open_store(str(tmp_path / "access.db"))
    policies = {"guest": Policy(Network()), "hall1": Policy(Router(name="hall1"))}
    link.away = True
    await OpenGateway.allow(link, {THERE: Terms(600)})
    await OpenGateway.allow(local, {HERE: Terms(600)})
    grants = Grants(access, gateways, Clock(), policies, silent=gateways.silent)
    try:
        await grants.load(date(2026, 11, 20))  # a new store: the gateways know better
        await grants.reconcile()
        assert grants.is_online(HERE)
        assert not grants.is_online(THERE)
        link.away, local.away = False, True
        await grants.reconcile()
        assert grants.is_online(THERE), "heard of for the first time"
        assert grants.is_online(HERE), "the gate is away: the book stays as it is"
        local.away = False
        stranger = "hall1 02:00:00:00:00:09"
        await OpenGateway.allow(link, {stranger: Terms(600)})
        await grants.reconcile()
        assert not grants.is_online(stranger)
        assert link.told[-1] == ("deny", [stranger])
        assert not any(word[0] == "allow" for word in (*local.told, *link.told))
    finally:
        await access.close()


async def test_a_router_that_takes_no_orders_stops_nobody_elsewhere(tmp_path: Path) -> None:
    """Others are put right and counted all the same."""

    class Stuck(Link):
        async def allow(self, leases: Mapping[str, Terms]) -> None:
            raise GatewayError("does not take what it is told")

    class Counting(Gate):
        async def list(self, *, counts: bool = False) -> dict[str, Lease]:
            return {device: Lease(each.seconds, 7, 8) for device, each in (await super().list()).items()}

    local, link = Counting(), Stuck()
    gateways = Gateways(local, ["guest"], {"hall1": link})  # type: ignore[dict-item]
    await migrate(str(tmp_path / "access.db"), "captive")
    access = open_store(str(tmp_path / "access.db"))
    policies = {"guest": Policy(Network()), "hall1": Policy(Router(name="hall1"))}
    grants = Grants(access, gateways, Clock(), policies, silent=gateways.silent)
    try:
        await grants.load(date(2026, 11, 20))
        await grants.grant(HERE)
        with pytest.raises(GatewayError):
            await grants.grant(THERE)
        await OpenGateway.deny(local, [HERE])
        await grants.reconcile()
        await asyncio.sleep(0.2)
        await grants.reconcile()
        assert local.told.count(("allow", [HERE])) == 2
        assert not grants.is_online(THERE)
        assert await taken(access) == {HERE: (7, 8), THERE: (0, 0)}
    finally:
        await access.close()


async def taken(access: Store) -> dict[str, tuple[int, int]]:
    async with access.read() as conn:
        return {device: (row.up, row.down) for device, row in (await select_grants(conn)).items()}
