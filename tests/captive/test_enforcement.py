"""What packets of a phone may do, in the real kernel, before and after the grant. No process of ours runs:
the table alone does it."""

import contextlib
import socket
import time
from collections.abc import Iterator

import pytest

from tests.captive.small_venue import (
    BESIDE4,
    BESIDE6,
    BOX4,
    BOX6,
    MAC,
    OFFICE4,
    PHONE4,
    WORLD4,
    WORLD6,
    SmallVenue,
    eventually,
    needs_root,
    small_venue,
)
from tests.waiting import LONG

pytestmark = [needs_root, pytest.mark.lab]

PORTAL, WORLD, BOX = "the portal", "the world", "the box"
RESET = "ConnectionRefusedError"
FILTERED = {"No route to host", "Permission denied"}
"""How Linux reports ICMP's and ICMPv6's *administratively prohibited*."""
BOTH = pytest.mark.parametrize(("world", "box"), [(WORLD4, BOX4), (WORLD6, BOX6)], ids=["IPv4", "IPv6"])


@pytest.fixture(scope="module")
def wired(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallVenue]:
    with small_venue(tmp_path_factory.mktemp("venue")) as made:
        portal = made.settings.portal
        text = made.config.read_text()
        made.config.write_text(text + '[portal]\nname = "p.example"\ncertificate = "/c"\nkey = "/k"\n')
        assert made.command("box.apply(settings)").returncode == 0
        made.serve(made.box, portal.port, PORTAL)
        made.serve(made.box, portal.tls_port, PORTAL)
        for port in (22, 8081, 9, 853):
            made.serve(made.box, port, BOX)
        for port in (22, 80, 443, 853, 9):
            made.serve(made.world, port, WORLD)
        yield made


@pytest.fixture
def venue(wired: SmallVenue) -> Iterator[SmallVenue]:
    """The venue with nobody online."""
    yield wired
    wired.box.nft(
        "flush set inet wificrm allowed_guest\nflush set inet wificrm garden4_guest\nflush set inet wificrm heard4\n"
    )
    wired.box.run("conntrack", "-F")


def allow(venue: SmallVenue, seconds: int = 1000, mac: str = MAC) -> None:
    venue.box.nft(f"add element inet wificrm allowed_guest {{ {mac} timeout {seconds}s }}\n")


def pings(venue: SmallVenue, host: str) -> bool:
    return venue.phone.run("ping", "-c1", "-W1", host, check=False).returncode == 0


@BOTH
class TestBeforeTheGrant:
    def test_port_80_of_anybody_is_the_portal(self, venue: SmallVenue, world: str, box: str):
        assert venue.ask_tcp(world, 80) == PORTAL
        assert venue.ask_tcp(box, 80) == PORTAL

    @pytest.mark.parametrize("port", [443, 22, 853])
    def test_other_ports_are_reset(self, venue: SmallVenue, world: str, box: str, port: int):
        assert venue.ask_tcp(world, port) == RESET

    @pytest.mark.parametrize("port", [443, 9])
    def test_udp_is_refused_aloud(self, venue: SmallVenue, world: str, box: str, port: int):
        # The kernel sends a device about one ICMP error a second: what is refused in between is refused silently.
        assert eventually(lambda: venue.ask_udp(world, port) in FILTERED)

    def test_nobody_answers_a_ping(self, venue: SmallVenue, world: str, box: str):
        assert not pings(venue, world)
        assert not pings(venue, box)

    def test_the_boxes_other_services_are_out_of_reach(self, venue: SmallVenue, world: str, box: str):
        for port in (22, 8081, 9, 853):
            assert venue.ask_tcp(box, port) == RESET
        assert venue.ask_udp(box, 9) != BOX

    def test_the_portal_has_its_https_on_its_own_address(self, venue: SmallVenue, world: str, box: str):
        assert venue.ask_tcp(box, 443) == PORTAL


@BOTH
class TestAfterTheGrant:
    def test_everything_of_the_world_is_open_and_the_box_is_not(
        self, venue: SmallVenue, world: str, box: str
    ):
        allow(venue)
        for port in (80, 443, 22, 853):
            assert venue.ask_tcp(world, port) == WORLD
        assert venue.ask_udp(world, 443) == WORLD
        assert venue.ask_udp(world, 9) == WORLD
        assert eventually(lambda: pings(venue, world) and pings(venue, box))
        for port in (22, 8081, 9, 853):
            assert venue.ask_tcp(box, port) == RESET

    def test_the_portal_stays_where_it_is(self, venue: SmallVenue, world: str, box: str):
        allow(venue)
        assert venue.ask_tcp(box, 80) == PORTAL
        assert venue.ask_tcp(box, 443) == PORTAL

    def test_a_flow_the_portal_took_for_another_ends_and_the_portals_own_goes_on(
        self, venue: SmallVenue, world: str, box: str
    ):
        with talk(venue, world, 80) as taken, talk(venue, box, 80) as own:
            allow(venue)
            own.send(b"my answer")
            assert own.recv(100) == b"my answer"
            taken.send(b"GET")
            with pytest.raises(ConnectionResetError):
                taken.recv(100)
        assert venue.ask_tcp(world, 80) == WORLD

    def test_a_long_tcp_flow_ends_with_the_lease(self, venue: SmallVenue, world: str, box: str):
        allow(venue)
        with talk(venue, world, 443) as long:
            ours = "element inet wificrm allowed_guest"
            venue.box.nft(f"delete {ours} {{ {MAC} }}\nadd {ours} {{ {MAC} timeout 2s }}\n")
            with pytest.raises(ConnectionResetError):
                echo_for_ever(long)
        assert venue.ask_tcp(world, 443) == RESET
        assert venue.ask_tcp(world, 80) == PORTAL


def echo_for_ever(connection: socket.socket) -> None:
    until = time.monotonic() + LONG
    while time.monotonic() < until:
        connection.send(b"x")
        assert connection.recv(10) == b"x"
        time.sleep(0.05)


def hear_for_ever(listener: socket.socket) -> None:
    until = time.monotonic() + LONG
    while time.monotonic() < until:
        assert listener.recv(10) == b"x"


@contextlib.contextmanager
def talk(venue: SmallVenue, host: str, port: int) -> Iterator[socket.socket]:
    """A connection over which the greeting has come."""
    with venue.phone.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as caller:
        caller.connect((host, port))
        assert caller.recv(100)
        yield caller


def test_what_only_comes_down_ends_too(venue: SmallVenue):
    """A stream of UDP that the phone asked for once: it lives on what the device says, not on itself."""
    allow(venue)
    with venue.phone.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.connect((WORLD4, 443))
        listener.send(b"stream")
        assert listener.recv(10) == b"x"
        venue.box.nft(f"delete element inet wificrm heard4 {{ {PHONE4} }}\n")  # two silent minutes
        listener.settimeout(0.5)  # the world says something every 20 ms
        with pytest.raises(TimeoutError):
            hear_for_ever(listener)


def test_nobody_reaches_the_office_behind_the_uplink(venue: SmallVenue):
    allow(venue)
    assert venue.ask_tcp(OFFICE4, 443) == RESET
    assert venue.ask_tcp(OFFICE4, 80) == RESET
    assert not pings(venue, OFFICE4)
    for beside in (BESIDE4, BESIDE6):
        assert venue.ask_tcp(beside, 443) == RESET
        assert not pings(venue, beside)


def test_a_garden_host_is_open_to_everybody_on_its_web_ports_only(venue: SmallVenue):
    venue.box.nft(f"add element inet wificrm garden4_guest {{ {WORLD4} }}\n")
    assert venue.ask_tcp(WORLD4, 80) == WORLD
    assert venue.ask_tcp(WORLD4, 443) == WORLD
    assert venue.ask_udp(WORLD4, 443) == WORLD
    assert venue.ask_tcp(WORLD4, 22) == RESET
    assert not pings(venue, WORLD4)


def test_another_device_with_the_address_of_one_that_is_online_is_not(venue: SmallVenue):
    allow(venue)
    assert venue.ask_tcp(WORLD4, 443) == WORLD
    venue.phone.ip("link set wlan0 address 02:00:00:00:00:99")
    try:
        venue.box.run("ip", "neigh", "flush", "dev", "br-guest")
        assert venue.ask_tcp(WORLD4, 443) == RESET
        assert venue.ask_tcp(WORLD4, 80) == PORTAL
    finally:
        venue.phone.ip(f"link set wlan0 address {MAC}", "route replace default via 192.168.50.1")
        venue.phone.ip(
            "address replace fd50:7c3a:1::10/64 dev wlan0 nodad", "route replace default via fd50:7c3a:1::1"
        )
        venue.box.run("ip", "neigh", "flush", "dev", "br-guest")


def test_a_source_address_that_is_not_the_networks_goes_nowhere(venue: SmallVenue):
    allow(venue)
    venue.phone.ip("address add 198.51.100.66/32 dev wlan0")
    venue.box.ip("route add 198.51.100.66/32 dev br-guest")
    try:
        with venue.phone.socket(socket.AF_INET, socket.SOCK_DGRAM) as liar:
            liar.bind(("198.51.100.66", 0))
            liar.settimeout(0.5)
            liar.connect((WORLD4, 9))
            liar.send(b"?")
            with pytest.raises(OSError):
                liar.recv(100)
    finally:
        venue.phone.ip("address delete 198.51.100.66/32 dev wlan0")
        venue.box.ip("route delete 198.51.100.66/32 dev br-guest")


def test_the_world_cannot_call_a_guest(venue: SmallVenue):
    allow(venue)
    venue.world.ip(f"route add 192.168.50.0/24 via 203.0.113.2 src {WORLD4}")
    venue.serve(venue.phone, 7000, "a guest")
    with venue.world.socket(socket.AF_INET, socket.SOCK_STREAM) as caller:
        caller.settimeout(0.5)
        with pytest.raises(TimeoutError):
            caller.connect((PHONE4, 7000))
    venue.world.ip("route delete 192.168.50.0/24 via 203.0.113.2")


def test_one_device_holds_a_hundred_connections_to_the_portal_at_most(venue: SmallVenue):
    with contextlib.ExitStack() as stack:
        connected = 0
        for _ in range(110):
            caller = stack.enter_context(venue.phone.socket(socket.AF_INET, socket.SOCK_STREAM))
            caller.settimeout(3 if connected < 100 else 0.1)
            with contextlib.suppress(TimeoutError):
                caller.connect((BOX4, 80))
                connected += 1
        assert connected == 100
    assert eventually(lambda: venue.ask_tcp(BOX4, 80) == PORTAL)


def test_one_device_with_ever_new_addresses_does_not_silence_the_others(venue: SmallVenue):
    allow(venue)
    many = [f"fd50:7c3a:1::beef:{number:x}" for number in range(1, 151)]
    venue.phone.ip(*(f"address add {each}/64 dev wlan0 nodad" for each in many))
    assert venue.ask_udp(WORLD6, 9) == WORLD  # its own address is known by now
    try:
        for each in many:
            with venue.phone.socket(socket.AF_INET6, socket.SOCK_DGRAM) as caller:
                caller.bind((each, 0))
                caller.sendto(b"?", (WORLD6, 9))
        heard = venue.box.run("nft", "list", "set", "inet", "wificrm", "heard6").stdout
        assert 20 <= heard.count("beef") <= 60
        assert venue.ask_udp(WORLD6, 9) == WORLD
    finally:
        venue.phone.ip(*(f"address delete {each}/64 dev wlan0" for each in many))
