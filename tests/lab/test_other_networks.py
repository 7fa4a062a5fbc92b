"""Frames that a guest makes up: other networks' guests, forged senders, odd headers, tags, all addresses at once."""

import re
import socket
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from scapy.layers.inet import ICMP, IP, UDP, IPOption_LSRR, IPOption_RR, fragment
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    fragment6,
)
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Packet

from tests.lab import dhcp
from tests.lab.gateway import (
    ADDRESS4,
    ADDRESS6,
    BRIDGE_MAC,
    CONSOLE_PORT,
    HTTP_PORT,
    NAME,
    TLS_PORT,
    bridge_of,
)
from tests.lab.internet import STRAY4, STRAY6, VENUE4, VENUE6
from tests.lab.journey import skip
from tests.lab.phone import WIFI, Phone
from tests.lab.venue import Venue

pytestmark = pytest.mark.lab

DESK4, DESK6 = "192.168.100.1", "fd50:7c3a:100::1"
MARK = b"made up by a guest"
PRINTER_PORT = 9100
STATES = pytest.mark.parametrize("state", ["captive", "online"])


class Guests(NamedTuple):
    """Two phones in the hall, one of them online, and one at the desk, online too."""

    captive: Phone
    online: Phone
    desk: Phone


@pytest.fixture(scope="module")
def venue() -> Iterator[Venue]:
    """A hall and a desk; and something on the box that listens on all its addresses."""
    with (
        Venue(others={"desk": ""}) as built,
        built.gateway.namespace.open_socket(socket.AF_INET6, socket.SOCK_STREAM) as printer,
    ):
        printer.bind(("::", PRINTER_PORT))
        printer.listen()
        yield built


@pytest.fixture(scope="module")
def guests(venue: Venue) -> Guests:
    found = Guests(venue.phone(), venue.phone(), venue.phone(bridge_of("desk")))
    for phone in found:
        phone.join()
    skip(found.online)
    skip(found.desk)
    return found


def send(phone: Phone, *packets: Packet) -> None:
    """Each packet to the gateway, as it is."""
    with phone.namespace.packet_socket(WIFI) as out:
        for packet in packets:
            frame = packet if isinstance(packet, Ether) else Ether(src=phone.mac, dst=BRIDGE_MAC) / packet
            out.send(bytes(frame))


def leaked(venue: Venue, phone: Phone, *packets: Packet) -> int:
    """How many packets the Internet sees of them."""
    venue.internet.forget()
    send(phone, *packets)
    assert phone.resolve(NAME)  # whatever was on its way has arrived by now
    return venue.internet.leaked()[0]


def heard(listener: Phone, sender: Phone, *packets: Packet) -> int:
    """How many frames with `MARK` come to *listener* of what *sender* sends."""
    count = 0
    with listener.namespace.packet_socket(WIFI) as into:
        send(sender, *packets)
        into.settimeout(0.4)
        try:
            while True:
                count += MARK in into.recv(2048)
        except TimeoutError:
            return count


def datagrams(phone: Phone, *targets: str) -> list[Packet]:
    """One with `MARK` to each."""
    return [
        (IPv6(src=phone.address6, dst=each) if ":" in each else IP(src=phone.address4, dst=each))
        / UDP(sport=4000, dport=443)
        / MARK
        for each in targets
    ]


def pieces(packet: Packet, size: int) -> list[Packet]:
    """Its fragments."""
    cut = fragment6 if isinstance(packet, IPv6) else fragment
    return list(cut(packet, size))  # type: ignore[no-untyped-call]


@STATES
def test_nothing_goes_to_guests_of_another_network(guests: Guests, state: str) -> None:
    phone, desk = getattr(guests, state), guests.desk
    targets = (desk.address4, desk.address6, "192.168.100.255", "255.255.255.255", "239.1.2.3", "224.0.0.251")
    assert heard(desk, phone, *datagrams(phone, *targets, "ff02::1", "ff05::1", "ff0e::1")) == 0
    assert phone.tcp(desk.address4, 445) == phone.tcp(desk.address6, 445) == "reset"
    assert phone.ping(desk.address4, timeout=0.2) != "answer"
    assert phone.ping(desk.address6, timeout=0.2) != "answer"


@STATES
@pytest.mark.parametrize("address", [DESK4, DESK6, VENUE4, VENUE6])
def test_the_boxes_other_addresses_show_the_portal_and_no_more(
    guests: Guests, venue: Venue, state: str, address: str
) -> None:
    phone = getattr(guests, state)
    listening = venue.gateway.namespace.run("ss", "-Hltn")
    tried = {int(port) for port in re.findall(r":(\d+)\s", listening)} | {22, 53, 80, 443, 8000}
    assert {CONSOLE_PORT, PRINTER_PORT} <= tried
    opened = {port for port in tried if phone.tcp(address, port) == "open"}
    assert opened <= {53, 80, 443, HTTP_PORT, TLS_PORT}
    assert 80 in opened


def test_the_boxes_link_local_address_shows_no_more(guests: Guests, venue: Venue) -> None:
    listed = venue.gateway.namespace.run(
        "ip", "-6", "-o", "address", "show", "dev", "br-guest", "scope", "link"
    )
    address = re.findall(r"fe80:\S+(?=/)", listed)[0]
    phone = guests.online
    with phone.namespace.entered():
        index = socket.if_nametoindex(WIFI)
    opened = set()
    for port in (22, 53, 80, 443, PRINTER_PORT, CONSOLE_PORT, HTTP_PORT, TLS_PORT):
        with phone.open_socket(address, socket.SOCK_STREAM) as sock:
            sock.settimeout(20)
            if sock.connect_ex((address, port, 0, index)) == 0:
                opened.add(port)
    assert {80, HTTP_PORT} <= opened <= {53, 80, 443, HTTP_PORT, TLS_PORT}


def test_who_is_online_sends_under_no_name_but_its_networks(guests: Guests, venue: Venue) -> None:
    phone, to = guests.online, UDP(sport=4000, dport=443) / MARK
    own = IP(src=phone.address4, dst=STRAY4) / to, IPv6(src=phone.address6, dst=STRAY6) / to
    assert leaked(venue, phone, *own) >= 2, "what is not forged must pass, or this proves nothing"
    forged4 = (ADDRESS4, DESK4, VENUE4, guests.desk.address4, "127.0.0.1", "0.0.0.0", "255.255.255.255")
    forged6 = (ADDRESS6, DESK6, VENUE6, guests.desk.address6, "::1", "::", "fe80::1", "ff02::1", "fd00::1")
    for source in (*forged4, "224.0.0.1", "240.0.0.1", "10.9.8.7", STRAY4, "192.168.50.255"):
        assert leaked(venue, phone, IP(src=source, dst=STRAY4) / to) == 0, source
    for source in (*forged6, "::ffff:192.168.50.9", "2001:db8::9"):
        assert leaked(venue, phone, IPv6(src=source, dst=STRAY6) / to) == 0, source


def test_odd_headers_open_nothing(guests: Guests, venue: Venue) -> None:
    phone, to = guests.captive, UDP(sport=4000, dport=443) / (MARK * 60)
    four, six = IP(src=phone.address4, dst=STRAY4), IPv6(src=phone.address6, dst=STRAY6)
    box6 = IPv6(src=phone.address6, dst=ADDRESS6)
    tried: dict[str, list[Packet]] = {
        "fragments": pieces(four / to, 400),
        "tiny fragments": pieces(four / to, 8),
        "a later fragment alone": [pieces(four / to, 400)[1]],
        "IPv6 fragments": pieces(six / IPv6ExtHdrFragment(id=7) / to, 600),
        "a fragment that is whole": [six / IPv6ExtHdrFragment(id=8) / to],
        "record route": [
            IP(
                src=phone.address4,
                dst=STRAY4,
                options=[IPOption_RR(length=11, routers=["0.0.0.0", "0.0.0.0"])],
            )
            / to
        ],
        "source route": [
            IP(src=phone.address4, dst=ADDRESS4, options=[IPOption_LSRR(routers=[STRAY4])]) / to
        ],
        "hop by hop": [six / IPv6ExtHdrHopByHop() / to],
        "destination options": [six / IPv6ExtHdrDestOpt() / to],
        "both": [six / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / IPv6ExtHdrFragment(id=9) / to],
        "routing header 0": [box6 / IPv6ExtHdrRouting(type=0, addresses=[STRAY6]) / to],
        "routing header 2": [box6 / IPv6ExtHdrRouting(type=2, addresses=[STRAY6]) / to],
        "segment routing": [box6 / IPv6ExtHdrRouting(type=4, addresses=[STRAY6]) / to],
        "nothing inside": [IPv6(src=phone.address6, dst=STRAY6, nh=59) / MARK],
        "echo with a payload": [four / ICMP() / (MARK * 70), six / ICMPv6EchoRequest(data=MARK * 70)],
        "echo replies": [four / ICMP(type=0) / MARK],
        "ICMP errors": [four / ICMP(type=3, code=1) / (IP(src=STRAY4, dst=phone.address4) / to)],
    }
    for name, packets in tried.items():
        assert leaked(venue, phone, *packets) == 0, name


def test_a_source_route_leads_nobody_anywhere(guests: Guests, venue: Venue) -> None:
    phone = guests.online
    options = [IPOption_LSRR(routers=[guests.desk.address4])]
    to = UDP(sport=4000, dport=443) / MARK
    routed = IP(src=phone.address4, dst=ADDRESS4, options=options) / to
    headers = [
        IPv6(src=phone.address6, dst=ADDRESS6)
        / IPv6ExtHdrRouting(type=kind, addresses=[guests.desk.address6])
        / to
        for kind in (0, 2, 4)
    ]
    assert heard(guests.desk, phone, routed, *headers) == 0


@STATES
def test_a_vlans_tag_leads_nowhere(guests: Guests, venue: Venue, state: str) -> None:
    phone = getattr(guests, state)
    (datagram,) = datagrams(phone, STRAY4)
    frame = Ether(src=phone.mac, dst=BRIDGE_MAC)
    tagged = [frame / Dot1Q(vlan=100) / datagram, frame / Dot1Q(vlan=1) / Dot1Q(vlan=100) / datagram]
    assert leaked(venue, phone, *tagged) == 0
    assert heard(guests.desk, phone, *tagged) == 0


def test_one_device_does_not_take_all_addresses(guests: Guests, venue: Venue) -> None:
    """It plays other devices as far as DHCP looks, under the one MAC that its radio link has."""
    phone = venue.phone()
    phone.namespace.ip(f"link set {WIFI} up")
    offered = set()
    with phone.namespace.packet_socket(WIFI) as sock:
        sock.settimeout(0.5)
        for number in range(60):
            frame = Ether(dhcp.question(f"02:ff:00:00:00:{number:02x}", number, "discover", flags="B"))
            frame.src = phone.mac
            sock.send(bytes(frame))
        try:
            while True:
                told = dhcp.answer(sock.recv(2048))
                if told:
                    offered.add(told[1])
        except TimeoutError:
            pass
    assert 0 < len(offered) <= 30
    later = venue.phone()
    later.join()
    assert later.address4
