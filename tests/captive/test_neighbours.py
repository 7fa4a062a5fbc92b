"""Whose an address is, while the table is read over and over and addresses change hands: by the kernel itself."""

import asyncio
import re
from collections.abc import Iterator, Mapping
from functools import partial

import pytest
import uvloop

from captive.kernel import neighbours as kernel_neighbours
from captive.kernel.neighbours import KernelNeighbours, follow_neighbours
from crm.settings import Network
from tests.lab.namespace import Namespace, Run, missing
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.skipif(bool(missing()), reason=missing())]

HOSTS = 250
"""Addresses that change hands at once."""
OTHERS = 2_000
"""Addresses that lengthen the reading of the table."""
ROUNDS = 12


@pytest.fixture
def box() -> Iterator[Namespace]:
    run = Run()
    try:
        namespace = Namespace(run, "box")
        namespace.ip(
            "link add br-guest type bridge", "link set br-guest up", "address add 10.0.0.1/8 dev br-guest"
        )
        lines = (
            f"neigh add 10.1.{n >> 8}.{n & 255} lladdr 02:aa:00:00:{n >> 8:02x}:{n & 255:02x}"
            for n in range(OTHERS)
        )
        namespace.ip(*(f"{line} dev br-guest nud permanent" for line in lines))  # which no limit counts
        yield namespace
        namespace.close()
    finally:
        run.close()


def test_an_address_that_changed_hands_while_the_table_was_read_is_its_new_devices(
    box: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_neighbours, "PATIENCE", ())  # for reading after reading without a pause
    uvloop.run(hand_over(box))  # as the portal runs; asyncio's own loop reads a table in one go


async def hand_over(box: Namespace) -> None:
    with box.entered():
        neighbours = await follow_neighbours([Network(address4="10.0.0.1/8")])
    reading = True

    async def read_on() -> None:
        while reading:
            with box.entered():
                read = asyncio.create_task(neighbours.device("10.9.9.9"))  # nobody: the whole table is read
                await asyncio.sleep(0)
            assert await read is None

    for number in range(ROUNDS):
        reading = True
        readers = asyncio.create_task(read_on())
        lines = (f"neigh replace 10.2.0.{n} lladdr 02:bb:00:00:{number:02x}:{n:02x}" for n in range(HOSTS))
        await asyncio.to_thread(box.ip, *(f"{line} dev br-guest nud stale" for line in lines))
        reading = False
        await readers
        shown = await asyncio.to_thread(box.run, "ip", "neigh", "show", "dev", "br-guest")
        kernel = dict(re.findall(r"^(10\.2\S+) lladdr (\S+)", shown, re.MULTILINE))
        assert len(kernel) == HOSTS
        await until(partial(knows, neighbours, kernel))
    await neighbours.close()


def knows(neighbours: KernelNeighbours, kernel: Mapping[str, str]) -> bool:
    """Whether the last events have been heard, and none of them was undone: nothing reads the table any more."""
    ours = neighbours.addresses()
    return all(ours.get(address) == f"guest {mac}" for address, mac in kernel.items())


def test_who_speaks_before_its_events_are_heard_is_no_stranger(
    box: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        kernel_neighbours, "PATIENCE", (0.02,) * 1_000
    )  # until a busy machine has told the kernel
    uvloop.run(speak_early(box))


async def speak_early(box: Namespace) -> None:
    """The table does not tell of the address yet when it is read; the event comes a moment later."""
    with box.entered():
        neighbours = await follow_neighbours([Network(address4="10.0.0.1/8")])
        asked = asyncio.create_task(neighbours.device("10.3.0.1"))
        await asyncio.sleep(0)
    await asyncio.sleep(0.03)
    assert not asked.done()
    await asyncio.to_thread(box.ip, "neigh add 10.3.0.1 lladdr 02:cc:00:00:00:01 dev br-guest nud stale")
    assert await asked == "guest 02:cc:00:00:00:01"
    await neighbours.close()


def test_an_address_that_changed_hands_while_events_were_lost_is_its_new_devices(box: Namespace) -> None:
    uvloop.run(lose_events(box))


async def lose_events(box: Namespace) -> None:
    """More happens at once than the socket holds: what it kept is older than what it lost."""
    with box.entered():
        neighbours = await follow_neighbours([Network(address4="10.0.0.1/8")])
    first, last = "02:cc:00:00:00:01", "02:cc:00:00:00:02"
    for number in range(3):
        address = f"10.3.0.{number}"
        others = (
            f"neigh replace 10.4.{n >> 8}.{n & 255} lladdr 02:dd:00:{number:02x}:00:01" for n in range(OTHERS)
        )
        lines = [f"neigh replace {address} lladdr {first}", *others, f"neigh replace {address} lladdr {last}"]
        box.ip(*(f"{line} dev br-guest nud permanent" for line in lines))  # the loop stands still meanwhile
        with box.entered():
            await until(partial(knows, neighbours, {address: last}))
        box.ip(f"neigh add 10.5.0.{number} lladdr {last} dev br-guest nud permanent")
        await until(
            partial(knows, neighbours, {f"10.5.0.{number}": last})
        )  # what was told before has been heard
        assert knows(neighbours, {address: last})
    await neighbours.close()


def test_a_bridge_that_was_made_anew_has_guests_again(box: Namespace) -> None:
    """As after a restart of the box's network service: another number, the same name."""
    uvloop.run(make_anew(box))


async def make_anew(box: Namespace) -> None:
    with box.entered():
        neighbours = await follow_neighbours([Network(address4="10.0.0.1/8")])
    joined: list[str] = []
    neighbours.on_join = joined.append
    await asyncio.to_thread(
        box.ip,
        "link del br-guest",
        "link add br-guest type bridge",
        "link set br-guest up",
        "address add 10.0.0.1/8 dev br-guest",
        "neigh add 10.3.0.1 lladdr 02:cc:00:00:00:01 dev br-guest nud permanent",
        "neigh add fe80::cc lladdr 02:cc:00:00:00:01 dev br-guest nud permanent",
    )
    number = (await asyncio.to_thread(box.run, "cat", "/sys/class/net/br-guest/ifindex")).strip()
    for address in ("10.3.0.1", f"fe80::cc%{number}"):
        with box.entered():
            asking = asyncio.create_task(neighbours.device(address))
            await asyncio.sleep(0)
        assert await asking == "guest 02:cc:00:00:00:01"
    assert len(neighbours.addresses()) == 2, "of the former bridge nobody is left"
    await asyncio.to_thread(box.ip, "neigh add 10.3.0.2 lladdr 02:cc:00:00:00:02 dev br-guest nud permanent")
    await until(lambda: "guest 02:cc:00:00:00:02" in joined)
    await neighbours.close()
