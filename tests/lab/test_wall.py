"""Before the grant nothing passes but DNS, DHCP and the portal; what is refused is refused at once."""

import re
import socket

import pytest

from tests.lab.conftest import NewPhone
from tests.lab.gateway import ADDRESS4, ADDRESS6, CONSOLE_PORT, HTTP_PORT, METRICS_PORT, NAME, TLS_PORT
from tests.lab.internet import (
    PROVIDER_ANSWER,
    RESOLVER4,
    RESOLVER6,
    STRAY4,
    STRAY6,
    STRAY_NAME,
    VENUE4,
    VENUE6,
)
from tests.lab.journey import is_online, skip
from tests.lab.phone import WIFI, Phone
from tests.lab.venue import Venue

pytestmark = pytest.mark.lab

TCP_PORTS = (
    *(
        1,
        20,
        21,
        22,
        23,
        25,
        81,
        110,
        123,
        143,
        443,
        465,
        554,
        587,
        853,
        993,
        1194,
        1723,
        1935,
        3128,
        3389,
        5060,
    ),
    *(5222, 5228, 8000, HTTP_PORT, CONSOLE_PORT, 8291, TLS_PORT, 8883, 9001, 9100, 27017, 51820, 65535),
)
UDP_PORTS = (
    443,
    1,
    69,
    80,
    123,
    137,
    161,
    500,
    514,
    853,
    1194,
    1900,
    3478,
    4500,
    5060,
    5353,
    33434,
    51820,
    65535,
)
REFUSED = {4: "icmp 3/13", 6: "icmp 1/1"}
"""Communication administratively prohibited, in ICMP and in ICMPv6."""

OUTSIDE = [(4, RESOLVER4), (4, STRAY4), (4, VENUE4), (6, RESOLVER6), (6, STRAY6), (6, VENUE6)]
"""Addresses of the Internet, and the gateway's own on its far side."""

TUNNELS = {
    "IP in IP": 4,
    "IPv6 in IPv4": 41,
    "GRE": 47,
    "ESP": 50,
    "AH": 51,
    "L2TP": 115,
    "SCTP": 132,
    "odd": 253,
}


@pytest.mark.parametrize(("family", "target"), OUTSIDE, ids=str)
def test_nothing_leaves_before_the_grant(phone: Phone, venue: Venue, family: int, target: str) -> None:
    own = target in (VENUE4, VENUE6)
    venue.internet.forget()
    reachable = {HTTP_PORT, TLS_PORT, 443} if own else set()
    for port in TCP_PORTS:
        assert phone.tcp(target, port) == ("open" if port in reachable else "reset"), port
    # The kernel tells a device of refusals only so often (icmp_ratelimit): the first, and some of the rest.
    assert phone.udp(target, UDP_PORTS[0]) == REFUSED[family]
    fates = {phone.udp(target, port, timeout=0.1) for port in UDP_PORTS}
    assert fates <= {REFUSED[family], "timeout"}
    assert phone.ping(target, timeout=0.1) in (REFUSED[family], "timeout")
    assert venue.internet.leaked() == (0, [])


@pytest.mark.parametrize("name", TUNNELS)
@pytest.mark.parametrize("target", [STRAY4, STRAY6])
def test_no_other_protocol_leaves_before_the_grant(
    phone: Phone, venue: Venue, name: str, target: str
) -> None:
    venue.internet.forget()
    with phone.open_socket(target, socket.SOCK_RAW, TUNNELS[name]) as sock:
        for _ in range(3):
            sock.sendto(b"\x45" + bytes(63), (target, 0))
    assert phone.resolve(NAME) == [ADDRESS4]  # whatever was on its way has arrived by now
    assert venue.internet.leaked() == (0, [])


def test_after_the_grant_everything_passes(phone: Phone) -> None:
    skip(phone)
    for target in (STRAY4, STRAY6):
        for port in TCP_PORTS:
            assert phone.tcp(target, port) == "open", port
        for port in UDP_PORTS:
            assert phone.udp(target, port) == "answer", port
        assert phone.ping(target) == "answer"


def test_guests_leave_under_the_gateways_address(phone: Phone, venue: Venue) -> None:
    skip(phone)
    assert is_online(phone)
    assert is_online(phone, family=6)
    assert {seen.source for seen in venue.internet.seen()} <= {VENUE4, VENUE6}


@pytest.mark.parametrize("address", [ADDRESS4, ADDRESS6])
@pytest.mark.parametrize("online", [False, True], ids=["captive", "online"])
def test_the_box_itself_shows_guests_nothing_but_resolver_and_portal(
    phone: Phone, venue: Venue, address: str, *, online: bool
) -> None:
    if online:
        skip(phone)
    listening = venue.gateway.namespace.run("ss", "-Hltn")
    there = {int(port) for port in re.findall(r":(\d+)\s", listening)}
    assert {CONSOLE_PORT, METRICS_PORT} <= there, "both listen on every address here, or this proves nothing"
    tried = {*range(1, 1200), *there, *TCP_PORTS}
    open_ports = {port for port in sorted(tried) if phone.tcp(address, port) == "open"}
    assert open_ports == {53, 80, 443, HTTP_PORT, TLS_PORT}
    fates = {phone.udp(address, port, timeout=0.1) for port in UDP_PORTS}
    assert fates <= {REFUSED[6 if ":" in address else 4], "timeout"}


def test_the_portal_knows_no_staff_page(phone: Phone) -> None:
    for path in ("/sign-in", "/sign-out", "/reports", "/announcements"):
        assert phone.get(f"https://{NAME}{path}").status == 404


def test_own_port_443_is_the_portal_and_any_other_is_not_touched(phone: Phone, venue: Venue) -> None:
    assert phone.get(f"https://{NAME}/").status == 200
    with pytest.raises(ConnectionRefusedError):
        phone.get(f"https://{NAME}/", address=venue.internet.addresses["odd.example"][0])


def test_the_walled_garden_is_open_to_everybody_and_nothing_else_is(phone: Phone, venue: Venue) -> None:
    four, six = venue.internet.addresses["garden.example"]
    for family in (4, 6):
        answer = phone.get("https://garden.example/", family=family)
        assert "You reached garden.example" in answer.text
        assert phone.get("http://garden.example/", family=family).status == 200
    assert phone.tcp(four, 22) == phone.tcp(six, 22) == "reset"
    assert phone.tcp(PROVIDER_ANSWER, 443) == "reset"


def test_a_flood_of_questions_is_cut_and_the_phone_is_served_again(new_phone: NewPhone) -> None:
    flooding, other = new_phone(), new_phone()
    query = bytes.fromhex("000101000001000000000000") + b"\x02ab\x07example\x00\x00\x01\x00\x01"
    with flooding.open_socket(ADDRESS4, socket.SOCK_DGRAM) as sock:
        sock.connect((ADDRESS4, 53))
        for _ in range(2000):
            sock.send(query)
        assert other.resolve(STRAY_NAME) == [PROVIDER_ANSWER]
        sock.settimeout(1)
        answers = 0
        while answers <= 2000:
            try:
                answers += bool(sock.recv(2048))
            except TimeoutError:
                break
    assert 0 < answers < 500
    assert flooding.resolve(STRAY_NAME, timeout=60) == [PROVIDER_ANSWER]


def test_a_stolen_address_opens_nothing(new_phone: NewPhone) -> None:
    guest, thief = new_phone(), new_phone()
    skip(guest)
    assert is_online(guest)
    stolen4, stolen6 = guest.address4, guest.address6
    guest.leave()
    thief.namespace.ip(
        f"address flush dev {WIFI} scope global",
        f"address add {stolen4}/24 dev {WIFI}",
        f"address add {stolen6}/64 dev {WIFI}",
        f"route add default via {ADDRESS4}",
    )
    for family, target in ((4, STRAY4), (6, STRAY6)):
        assert thief.get("http://odd.example/", family=family).status == 302
        assert thief.tcp(target, 443) == "reset"
        assert thief.udp(target, 443) == REFUSED[family]


def test_a_guest_that_changes_its_address_stays_online(phone: Phone) -> None:
    skip(phone)
    phone.namespace.ip(
        f"address flush dev {WIFI} scope global",
        f"address add 192.168.50.7/24 dev {WIFI}",
        f"route add default via {ADDRESS4}",
    )
    assert is_online(phone)


def test_an_online_guest_cannot_send_under_a_foreign_address(phone: Phone, venue: Venue) -> None:
    skip(phone)
    phone.namespace.ip(f"address add 10.9.8.7/32 dev {WIFI}")
    venue.internet.forget()
    with phone.open_socket(STRAY4, socket.SOCK_DGRAM) as sock:
        sock.bind(("10.9.8.7", 0))
        sock.sendto(b"?", (STRAY4, 443))
    assert phone.resolve(NAME) == [ADDRESS4]
    assert venue.internet.leaked() == (0, [])
