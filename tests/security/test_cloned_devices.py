"""Case 15: a borrowed address or name opens nothing.

TorBox PR 159, QuotaManager 10 (riding another's session); anirut's sets hold addresses only. What stands in
`tests.captive.test_enforcement` (same address, other MAC) and `tests.lab.test_wall` (same MAC, other address)
is not repeated here.
"""

import contextlib
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import tests.captive.small_venue
from captive.gateway import GateClient, Terms
from tests.captive.small_venue import MAC, PHONE4, WORLD4, WORLD6, SmallVenue, needs_root, small_venue

pytestmark = [needs_root, pytest.mark.lab]

ETH_P_ALL = 3
WORLD, REFUSED = "the world", "refused"
OTHER4, OTHER6 = "192.168.60.1", "fd50:7c3a:2::1"
TWO_NETWORKS = f"""
[[network]]
name = "guest"

[[network]]
name = "staffroom"
interface = "br-two"
address4 = "{OTHER4}/24"
address6 = "{OTHER6}/64"
"""


@pytest.fixture(scope="module")
def wired(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallVenue]:
    """Two networks; the phone's second radio is on the other one."""
    with small_venue(tmp_path_factory.mktemp("venue")) as made:
        made.config.write_text(made.config.read_text().replace("[network]\n", "") + TWO_NETWORKS)
        made.box.ip(
            "link add br-two type bridge",
            "link set br-two up",
            f"address add {OTHER4}/24 dev br-two",
            f"address add {OTHER6}/64 dev br-two nodad",
            f"link add port1 type veth peer name wlan1 netns {made.phone.name}",
            "link set port1 master br-two up",
        )
        made.serve(made.world, 443, WORLD)
        assert made.command("box.apply(settings)").returncode == 0
        made.gate()
        yield made


@pytest.fixture
async def venue(wired: SmallVenue) -> SmallVenue:
    """The venue with the phone online on the network of guests, and on no other."""
    await allow(wired, f"guest {MAC}")
    return wired


async def allow(venue: SmallVenue, device: str) -> None:
    """Bring *device* online as the portal does."""
    gate = GateClient(venue.settings.gate.socket)
    await gate.allow({device: Terms(600)})
    await gate.close()


def move(venue: SmallVenue, radio: str, mac: str, four: str, six: str, box4: str, box6: str) -> None:
    """Put the phone on the network behind *radio* with these addresses."""
    for name in ("wlan0", "wlan1"):
        venue.phone.ip(f"address flush dev {name}", f"link set {name} down")
    venue.phone.run("sysctl", "-qw", f"net.ipv6.conf.{radio}.accept_ra=0")
    venue.phone.ip(
        f"link set {radio} address {mac} up",
        f"address add {four}/24 dev {radio}",
        f"address add {six}/64 dev {radio} nodad",
        f"route replace default via {box4} dev {radio} onlink",
        f"route replace default via {box6} dev {radio} onlink",
    )
    venue.box.run("ip", "neigh", "flush", "all")


@pytest.fixture(autouse=True)
def home(venue: SmallVenue) -> Iterator[None]:
    """The phone where it belongs, before and after."""
    yield
    move(venue, "wlan0", MAC, PHONE4, "fd50:7c3a:1::10", "192.168.50.1", "fd50:7c3a:1::1")


def reached(venue: SmallVenue) -> set[str]:
    """What the phone hears from the world, in both families, by TCP and UDP; refusals are one."""
    ways = [(ask, world) for ask in (venue.ask_tcp, venue.ask_udp) for world in (WORLD4, WORLD6)]
    with ThreadPoolExecutor(len(ways)) as pool:  # where nobody answers, each takes seconds
        heard = {asked.result() for asked in [pool.submit(ask, world, 443) for ask, world in ways]}
    return {WORLD if each == WORLD else REFUSED for each in heard}


def test_the_phone_itself_is_online(venue: SmallVenue) -> None:
    """Or nothing below could fail."""
    assert reached(venue) == {WORLD}


def test_the_same_mac_on_another_network_is_another_device(venue: SmallVenue) -> None:
    assert reached(venue) == {WORLD}
    move(venue, "wlan1", MAC, "192.168.60.10", "fd50:7c3a:2::10", OTHER4, OTHER6)
    assert reached(venue) == {REFUSED}


def test_another_mac_with_the_phones_addresses_is_nobody(venue: SmallVenue) -> None:
    assert reached(venue) == {WORLD}
    move(venue, "wlan0", "02:00:00:00:00:99", PHONE4, "fd50:7c3a:1::10", "192.168.50.1", "fd50:7c3a:1::1")
    assert reached(venue) == {REFUSED}


def test_the_phones_addresses_on_another_network_go_nowhere(
    venue: SmallVenue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its MAC and addresses, spoken on the other network: not even the portal is told that it is the phone."""
    monkeypatch.setattr(tests.captive.small_venue, "LONG", 3.0)  # there is nobody to answer
    move(venue, "wlan1", MAC, PHONE4, "fd50:7c3a:1::10", OTHER4, OTHER6)
    assert WORLD not in reached(venue)


@pytest.mark.parametrize(
    "source", ["192.168.60.77", "203.0.113.77", "10.1.2.3", "2001:db8::77", "fd50:7c3a:2::77"]
)
def test_nobody_online_speaks_under_a_foreign_address(venue: SmallVenue, source: str) -> None:
    """Not another network's, not the uplink's, not a private one: nothing of it arrives outside."""
    six = ":" in source
    length, world = (128, WORLD6) if six else (32, WORLD4)
    packed = socket.inet_pton(socket.AF_INET6 if six else socket.AF_INET, source)
    assert reached(venue) == {WORLD}
    venue.phone.ip(f"address add {source}/{length} dev wlan0" + (" nodad" if six else ""))
    with venue.world.socket(socket.AF_PACKET, socket.SOCK_RAW) as tap:
        tap.bind(("venue", ETH_P_ALL))
        try:
            with venue.phone.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM) as liar:
                liar.bind((source, 0))
                for _ in range(3):
                    liar.sendto(b"from nobody", (world, 443))
        finally:
            venue.phone.ip(f"address delete {source}/{length} dev wlan0")
        assert venue.ask_tcp(world, 443) == WORLD  # whatever was on its way has arrived by now
        heard = frames(tap)
    assert heard
    assert not [frame for frame in heard if packed in frame or b"from nobody" in frame]


def frames(tap: socket.socket) -> list[bytes]:
    """What *tap* has seen so far."""
    seen = []
    tap.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            seen.append(tap.recv(2000))
    return seen


async def test_behind_a_repeater_the_address_counts_too(tmp_path: Path) -> None:
    """identity = "mac+ip": the repeater's MAC with an address that did not come online is captive."""
    with small_venue(tmp_path / "venue", identity="mac+ip", address6="") as venue:
        venue.serve(venue.world, 443, WORLD)
        assert venue.command("box.apply(settings)").returncode == 0
        venue.gate()
        await allow(venue, f"guest {MAC} {PHONE4}")
        assert venue.ask_tcp(WORLD4, 443) == WORLD
        venue.phone.ip(
            "address flush dev wlan0",
            "address add 192.168.50.11/24 dev wlan0",
            "route replace default via 192.168.50.1",
        )
        assert venue.ask_tcp(WORLD4, 443) != WORLD
