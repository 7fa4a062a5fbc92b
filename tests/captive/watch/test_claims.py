"""What is a claim, and what scapy makes of hostile octets for a terminal."""

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Ether

from captive.alert_kinds import AlertKind
from captive.watch import detail
from captive.watch.claims import Own, read_claim
from captive.watch.detail import describe
from tests.captive.watch import packets

OWN = Own(
    frozenset([packets.octets(packets.BOX_MAC)]),
    frozenset([packets.GATEWAY4, packets.GATEWAY6, packets.GATEWAY_LINK_LOCAL]),
)
CASES = {
    "offer": (packets.offer(), "rogue_dhcp", "dhcp4"),
    "ack": (packets.offer(kind="ack"), "rogue_dhcp", "dhcp4"),
    "nak": (packets.offer(kind="nak"), "rogue_dhcp", "dhcp4"),
    "DHCPv6": (packets.dhcp6(), "rogue_dhcp", "dhcp6"),
    "RA": (packets.advertisement(), "rogue_ra", "ra"),
    "RA in our name": (packets.advertisement(source=packets.GATEWAY_LINK_LOCAL), "rogue_ra", "ra"),
    "hidden RA": (packets.advertisement(hidden=3), "rogue_ra", "ra"),
    "deeply hidden RA": (packets.advertisement(hidden=100), "rogue_ra", "ra"),
    "RA, hidden from the box by another group": (
        packets.to_address(packets.advertisement(hidden=1), "ff02::fb"),
        "rogue_ra",
        "ra",
    ),
    "RA, hidden, to one phone's address and to the MAC of all": (
        packets.to_address(packets.advertisement(hidden=1), "fe80::77"),
        *("rogue_ra", "ra"),
    ),
    "RA in parts": (packets.advertisement_in_parts(16)[0], "rogue_ra", "ra"),
    "RA in parts, the first ends in a header": (packets.advertisement_in_parts(8)[0], "rogue_ra", "ra"),
    "RA in parts, of which one is whole": (packets.advertisement_in_parts(64)[0], "rogue_ra", "ra"),
    "RA behind two tags": (packets.tagged(packets.advertisement(), 0, 0), "rogue_ra", "ra"),
    "RA behind forty tags, which Linux takes off all the same": (
        packets.tagged(packets.advertisement(), *[0] * 40),
        *("rogue_ra", "ra"),
    ),
    "RA behind the other LLC/SNAP header": (
        packets.encapsulated(packets.advertisement(), "0000f8"),
        *("rogue_ra", "ra"),
    ),
    "RA behind an LLC/SNAP header": (packets.encapsulated(packets.advertisement()), "rogue_ra", "ra"),
    "ARP behind both": (packets.tagged(packets.encapsulated(packets.arp()), 0), "spoofed_gateway", "arp"),
    "offer from another port": (packets.oddly(packets.offer(), port=6767), "rogue_dhcp", "dhcp4"),
    "offer that calls itself a request": (
        packets.oddly(packets.offer(), port=67, code=1),
        *("rogue_dhcp", "dhcp4"),
    ),
    "DHCPv6 from another port": (packets.oddly(packets.dhcp6(), port=1547), "rogue_dhcp", "dhcp6"),
    "offer in parts": (packets.offer_in_parts(), "rogue_dhcp", "dhcp4"),
    "offer behind an LLC/SNAP header": (packets.encapsulated(packets.offer()), "rogue_dhcp", "dhcp4"),
    "offer whose first option is bent": (
        packets.offer().replace(b"\x63\x82\x53\x63", b"\x63\x82\x53\x63\x01\x03\xff\xff\xff"),
        *("rogue_dhcp", "dhcp4"),
    ),
    "offer that ends in its head": (packets.offer()[:100], "rogue_dhcp", "dhcp4"),
    "ARP": (packets.arp(), "spoofed_gateway", "arp"),
    "ARP of an odd kind": (packets.arp(kind=9), "spoofed_gateway", "arp"),
    "NA": (packets.neighbour_advertisement(), "spoofed_gateway", "ndp"),
    "NS": (packets.neighbour_solicitation(), "spoofed_gateway", "ndp"),
    "our own offer, back by a loop": (packets.offer(packets.BOX_MAC), "spoofed_gateway", "own_mac"),
}


@pytest.mark.parametrize("name", CASES)
def test_claims(name: str):
    frame, kind, what = CASES[name]
    claim = read_claim(frame, OWN)
    assert claim
    assert claim == (AlertKind(kind), what)


def test_what_phones_send_claims_nothing():
    others = [packets.neighbour_advertisement(target="fd50:7c3a:1::2"), packets.arp(claimed="192.168.50.2")]
    others += [packets.advertisement_in_parts(16)[1], packets.tagged(packets.advertisement(), 0, 20)]
    truth = Ether(packets.arp())
    truth[ARP].hwsrc = packets.BOX_MAC  # an access point answers in the box's place
    others.append(bytes(truth))
    others += [packets.oddly(packets.discover(packets.MAC), port=67), packets.to_port(68, b"\x00" * 300)]
    others += [packets.tagged(packets.to_port(53, b"\x02" * 300), 0, 0)]
    frames = [*packets.of_a_phone(packets.MAC), *others]
    frames += [packets.encapsulated(frame) for frame in packets.of_a_phone(packets.MAC)]
    assert [frame for frame in frames if read_claim(frame, OWN)] == []


def test_what_breaks_scapy_is_shown_without_words(monkeypatch: pytest.MonkeyPatch):
    def broken(_octets: bytes) -> None:
        raise RecursionError

    monkeypatch.setattr(detail, "Ether", broken)
    assert {describe(frame) for frame, _, _ in CASES.values()} == {""}


def test_a_terminal_is_shown_the_server():
    shown = "server 10.1.2.3, router 10.1.2.3, DNS -"
    assert describe(packets.offer(server="10.1.2.3")) == shown
    assert describe(packets.tagged(packets.encapsulated(packets.offer(server="10.1.2.3")), 0)) == shown
    assert describe(b"") == ""


FRAMES = [frame for frame, _, _ in CASES.values()]
DEEP = bytes(
    Ether(dst="33:33:00:00:00:01")
    / IPv6(src="fe80::bad", dst="ff02::1", nh=60)
    / (b"\x3c\x00\x01\x04\0\0\0\0" * 180)
)


@given(st.sampled_from(FRAMES), st.integers(0, 400), st.binary(max_size=40), st.integers(0, 1500))
@example(DEEP, 0, b"", 1500)
def test_bent_packets_break_nothing(frame: bytes, at: int, octets: bytes, length: int):
    bent = (frame[:at] + octets + frame[at + len(octets) :])[: max(14, length)]
    read_claim(bent, OWN)
    assert describe(bent).isprintable()  # nothing that could steer a terminal


@given(st.binary(max_size=1500))
def test_any_octets_break_nothing(octets: bytes):
    read_claim(octets, OWN)
    describe(octets)


def test_no_packet_keeps_scapy_busy_for_long():
    """Twenty a turn are shown at most; its own time, whatever else the machine does meanwhile."""
    hostile = [
        DEEP,
        packets.offer()[:282] + b"\x01\x01\x00" * 400,
        packets.offer()[:282] + b"\x77\x02\xc0\x00" * 300,
        packets.advertisement()[:70] + b"\x18\x01" + b"\0" * 6 + b"\x03\x01\0\0\0\0\0\0" * 170,
        packets.dhcp6()[:66] + b"\x00\x19\x00\x00" * 350,
    ]
    for frame in hostile:
        start = time.thread_time()
        describe(frame)
        assert time.thread_time() - start < 1
