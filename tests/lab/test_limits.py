"""Limits of rate and amount: held by the kernel, per device, and told by the end of the grant."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from captive.gateway import Lease, device_key
from tests.lab.gateway import bridge_of
from tests.lab.internet import STRAY4, STRAY6
from tests.lab.journey import is_online, open_portal, skip
from tests.lab.phone import Phone
from tests.lab.traffic import Carried, Traffic
from tests.lab.venue import Venue, eventually

pytestmark = pytest.mark.lab

RATES = (512, 2000, 20_000)
"""kbit/s"""
SECONDS = 5
"""For how long a rate is measured."""
LONGER = 15
"""For several flows: one that lost a few packets in a row is silent for seconds, as TCP wants it (RFC 6298, 5.5)."""
LARGEST = 65_536
"""Bytes: TCP goes through the kernel in pieces of up to so many; at a low rate one more or less shows."""
MB = 1_000_000
AMOUNT = 3 * MB
ROOM = 70_000
"""Bytes by which an amount may be passed: one packet of the largest size."""
LIMITED = {
    "up": "grant = { up_mb = 3 }",
    "down": "grant = { down_mb = 3 }",
    "total": "grant = { total_mb = 3 }",
    "daily": "grant = { daily_mb = 3 }",
}
WAYS = {"up": "", "down": "-R", "total": "--bidir", "daily": "-R"}
"""What each takes until it is stopped."""
LISTED, SHUT_OUT = 250, 251
"""Numbers of the phones that are always let through, and never."""


def mac(number: int) -> str:
    return f"02:1a:b0:00:00:{number:02x}"


@pytest.fixture(scope="module")
def terms() -> Iterator[Venue]:
    """A venue with a network for each kind of limit."""
    others = {f"r{rate}": f"grant = {{ up_kbit = {rate}, down_kbit = {rate} }}" for rate in RATES}
    lists = f'always = ["{mac(LISTED)}"]\nnever = ["{mac(SHUT_OUT)}"]\ngrant = {{ up_mb = 1, down_mb = 1 }}'
    with Venue(others={**others, **LIMITED, "lists": lists}) as venue:
        yield venue


def on(venue: Venue, network: str) -> Phone:
    """A phone that is online on *network*."""
    phone = venue.phone(bridge_of(network))
    phone.join()
    skip(phone)
    return phone


RUNS = (
    ("TCP up", 4, "-P 1"),
    ("TCP down", 6, "-R"),
    ("TCP down, 8 flows", 4, "-R -P 8"),
    ("UDP up", 4, "-u -l 1200 -b {most}k"),
    ("UDP down", 6, "-R -u -l 1200 -b {most}k"),
)


@pytest.fixture(scope="module")
def carried(terms: Venue) -> dict[tuple[str, int], Carried]:
    """{(way, rate): what came through}: each a phone of its own, all at once."""
    traffic, runs = Traffic(terms), {}
    for rate in RATES:
        for way, family, options in RUNS:
            words = options.format(most=rate * 2).split()
            seconds = LONGER if "flows" in way else SECONDS
            phone = on(terms, f"r{rate}")
            # The first seconds go on what a device may take at once after it was quiet.
            runs[way, rate] = traffic.start(
                phone.namespace, *words, "-t", str(seconds), "-O", "3", family=family
            )
    return {key: run.end() for key, run in runs.items()}


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("way", [way for way, _, _ in RUNS])
def test_each_device_gets_its_rate_and_no_more(
    carried: dict[tuple[str, int], Carried], way: str, rate: int
) -> None:
    pieces = LARGEST if way.startswith("TCP") else 1200
    assert abs(carried[way, rate].kbit - rate) < rate * 0.1 + pieces * 8 / 1000 / SECONDS


@pytest.mark.parametrize("rate", RATES)
def test_no_flow_of_a_device_starves(carried: dict[tuple[str, int], Carried], rate: int) -> None:
    assert carried["TCP down, 8 flows", rate].least > 0


@dataclass
class Taker:
    """A phone that takes all it gets, and what of it was seen."""

    phone: Phone
    peaks: Lease = field(default_factory=lambda: Lease(0))
    stopped: bool = False  # its lease was no more


def watch(terms: Venue, takers: dict[str, Taker], until: float) -> None:
    """Until every grant was ended."""
    while time.monotonic() < until and not all(taker.stopped for taker in takers.values()):
        leases = terms.gateway.leases()
        for network, taker in takers.items():
            lease = leases.get(device_key(network, taker.phone.mac))
            if lease:
                up, down = max(lease.up, taker.peaks.up), max(lease.down, taker.peaks.down)
                taker.peaks = Lease(lease.seconds, up, down)
            taker.stopped = lease is None


@pytest.fixture(scope="module")
def takers(terms: Venue) -> dict[str, Taker]:
    """One on each network with an amount; watched from the first byte until each grant was ended."""
    found = {network: Taker(on(terms, network)) for network in WAYS}
    traffic, runs = Traffic(terms), []
    with ThreadPoolExecutor(1) as other:
        watching = other.submit(watch, terms, found, time.monotonic() + 120)
        try:
            for network, way in WAYS.items():
                options = ("-t", "180", "-b", "20M", *way.split())
                runs.append(traffic.start(found[network].phone.namespace, *options))
            watching.result()
        finally:
            for run in runs:
                run.stop()
    return found


@pytest.mark.parametrize("network", LIMITED)
def test_the_kernel_stops_it_at_the_amount(takers: dict[str, Taker], network: str) -> None:
    peaks = takers[network].peaks
    way = {"up": peaks.up, "down": peaks.down}.get(network, max(peaks.up, peaks.down))
    assert way < AMOUNT + ROOM
    # That it came so far is told by the end of the grant, which comes a moment after the last look at worst.
    assert way > AMOUNT / 4


@pytest.mark.parametrize("network", LIMITED)
def test_the_grant_ends_and_the_page_says_why(terms: Venue, takers: dict[str, Taker], network: str) -> None:
    taker = takers[network]
    assert taker.stopped
    assert taker.phone.mac not in terms.gateway.allowed(network)
    assert taker.phone.tcp(STRAY4, 443) == taker.phone.tcp(STRAY6, 443) == "reset"
    page = open_portal(taker.phone)
    if network == "daily":
        assert page.skip is None
        assert not is_online(taker.phone)
    else:
        assert page.skip is not None


def test_who_is_always_let_through_needs_no_grant_and_has_no_limit(terms: Venue) -> None:
    phone = Phone(terms.run, terms.gateway.namespace, bridge_of("lists"), LISTED, terms.authority.certificate)
    terms.phones.append(phone)
    phone.join()
    assert eventually(lambda: is_online(phone) and is_online(phone, family=6))
    traffic = Traffic(terms)
    for way in ((), ("-R",)):
        assert traffic.run(phone.namespace, "-n", "5M", "-b", "60M", *way).bytes > 4 * MB
    assert phone.mac not in terms.gateway.allowed("lists")


def test_who_is_never_let_through_is_told_so(terms: Venue) -> None:
    phone = Phone(
        terms.run, terms.gateway.namespace, bridge_of("lists"), SHUT_OUT, terms.authority.certificate
    )
    terms.phones.append(phone)
    phone.join()
    assert open_portal(phone).skip is None
    assert not is_online(phone)


def test_the_same_device_on_another_network_is_another_device(terms: Venue) -> None:
    phone = on(terms, "up")
    other = Phone(terms.run, terms.gateway.namespace, bridge_of("down"), 252, terms.authority.certificate)
    terms.phones.append(other)
    other.namespace.ip(f"link set wlan0 address {phone.mac}")
    other.join()
    skip(other)
    keys = {device_key("up", phone.mac), device_key("down", phone.mac)}
    assert terms.gateway.leases().keys() >= keys
    Traffic(terms).run(phone.namespace, "-n", "1500K", "-b", "20M")
    leases = terms.gateway.leases()
    assert leases[device_key("up", phone.mac)].up > MB
    assert leases[device_key("down", phone.mac)].up < MB / 10
