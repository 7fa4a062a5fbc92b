"""The two programs for packet sockets, run by the kernel; on a Unix socket they need no root."""

import contextlib
import ctypes
import socket
import struct
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP, IPOption_RR
from scapy.layers.inet6 import ICMPv6ND_RA, IPv6, IPv6ExtHdrHopByHop
from scapy.layers.l2 import Ether

from captive.watch.filters import HEADER, WHOLE, claims_filter, headers_filter
from captive.watch.frames import Kind, classify, sender, speaks_ip
from tests.captive.watch import packets
from tests.captive.watch.test_claims import CASES

Passes = Callable[[bytes], bytes]
OWN6 = [IPv6Address(packets.GATEWAY_LINK_LOCAL), IPv6Address(packets.GATEWAY6)]


@contextlib.contextmanager
def attached(program: bytes) -> Iterator[Passes]:
    """What the kernel lets through of a frame, with *program* on the receiving end."""
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with here, there:
        held = ctypes.create_string_buffer(program, len(program))
        there.setsockopt(socket.SOL_SOCKET, 26, struct.pack("@HP", len(program) // 8, ctypes.addressof(held)))
        there.setblocking(False)

        def passes(frame: bytes) -> bytes:
            here.send(frame)
            try:
                return there.recv(65536)
            except BlockingIOError:
                return b""

        yield passes


@pytest.fixture(scope="module")
def claims() -> Iterator[Passes]:
    with attached(claims_filter(IPv4Address(packets.GATEWAY4), OWN6)) as passes:
        yield passes


@pytest.fixture(scope="module")
def headers() -> Iterator[Passes]:
    with attached(headers_filter()) as passes:
        yield passes


CLAIMS = {
    **{name: frame for name, (frame, _, _) in CASES.items()},
    "offer to one": packets.offer(to="02:1a:b0:00:00:01"),
    "RA behind a hop-by-hop header": bytes(
        Ether(dst="33:33:00:00:00:01")
        / IPv6(src="fe80::bad", dst="ff02::1")
        / IPv6ExtHdrHopByHop()
        / ICMPv6ND_RA()
    ),
    "RA behind another tag": packets.tagged(packets.advertisement(), 0),
    "ARP question": packets.arp(kind=1),
    "NA of the link-local address": packets.neighbour_advertisement(target=packets.GATEWAY_LINK_LOCAL),
    "offer with IP options": bytes(
        Ether(src=packets.MAC, dst=packets.EVERYBODY)
        / IP(src="10.0.0.1", dst="255.255.255.255", options=[IPOption_RR()])
        / UDP(sport=67, dport=68)
        / b"whatever"
    ),
}


@pytest.mark.parametrize("name", CLAIMS)
def test_what_servers_routers_and_liars_send_is_heard_whole(claims: Passes, name: str):
    assert claims(CLAIMS[name]) == CLAIMS[name]


def test_what_phones_send_is_not_heard(claims: Passes):
    assert [frame for frame in packets.of_a_phone(packets.MAC) if claims(frame)] == []


def test_another_vlan_and_a_switch_that_talks_of_itself_are_not_heard(claims: Passes):
    spanning_tree = bytes.fromhex("0180c2000000 021ab0000001 0026 424203") + bytes(35)
    cisco = bytes.fromhex("01000ccccccc 021ab0000001 0030 aaaa0300000c2000") + bytes(40)
    assert [
        frame for frame in (packets.tagged(packets.offer(), 20), spanning_tree, cisco) if claims(frame)
    ] == []


def test_another_address_one_octet_off_is_nobodys_business(claims: Passes):
    for octet in range(16):
        raw = bytearray(IPv6Address(packets.GATEWAY6).packed)
        raw[octet] ^= 1
        assert not claims(packets.neighbour_advertisement(target=str(IPv6Address(bytes(raw)))))
    assert not claims(packets.arp(claimed="192.168.50.2"))


def test_own_addresses_may_be_none(claims: Passes):
    with attached(claims_filter(IPv4Address(packets.GATEWAY4), [])) as passes:
        assert passes(packets.advertisement())
        assert not passes(packets.neighbour_advertisement())


def test_own_addresses_may_be_many():
    many = [*OWN6, *(IPv6Address(f"fe80::{number:x}") for number in range(1, 40))]
    with attached(claims_filter(IPv4Address(packets.GATEWAY4), many)) as passes:
        assert all(passes(frame) for frame in CLAIMS.values())


def test_headers_are_cut_and_bulk_is_not_heard(headers: Passes):
    bulk = [
        packets.tcp("A"),
        packets.tcp("SA"),
        packets.tcp("A", six=True),
        bytes(Ether(src=packets.MAC, dst=packets.BOX_MAC) / IP() / UDP(dport=443) / bytes(1200)),
    ]
    assert [frame for frame in bulk if headers(frame)] == []
    assert headers(packets.offer()) == packets.offer()[:HEADER]
    assert WHOLE >= 1514


@pytest.mark.parametrize(
    ("frame", "kind"),
    [
        (packets.arp(kind=1), Kind.ARP),
        (packets.discover(packets.MAC), Kind.DHCP),
        (packets.question(), Kind.DNS),
        (packets.question(six=True), Kind.DNS),
        (packets.tcp("S"), Kind.FLOW),
        (packets.tcp("SEC"), Kind.FLOW),
        (packets.tcp("S", six=True), Kind.FLOW),
        (packets.broadcast(), Kind.BROADCAST),
        (packets.advertisement(), Kind.BROADCAST),
        (
            bytes(Ether(src=packets.MAC, dst=packets.BOX_MAC) / IP(options=[IPOption_RR()]) / TCP(flags="S")),
            Kind.FLOW,
        ),
    ],
)
def test_what_is_counted_is_known_by_its_first_octets(headers: Passes, frame: bytes, kind: Kind):
    heard = headers(frame)
    assert classify(heard) is kind
    assert sender(heard) == packets.octets(packets.MAC)


@pytest.mark.parametrize("group", ["0180c2000000", "01000ccccccd", "ffffffffffff", "01d0f8000002"])
def test_what_switches_say_on_every_vlan_under_one_mac_counts_and_is_nobodys_place(
    headers: Passes, group: str
):
    """Its place noted, a switch's MAC would be at two networks at once; not counted, a flood to its group is free."""
    loop_protection = bytes.fromhex(f"{group} 021ab0000001 9000") + bytes(46)
    spanning_tree = bytes.fromhex(f"{group} 021ab0000001 0026 424203") + bytes(35)
    for frame in (loop_protection, spanning_tree):
        assert classify(headers(frame)) is Kind.BROADCAST
        assert not speaks_ip(frame)
    assert all(speaks_ip(frame) for frame in (packets.arp(), packets.question(), packets.question(six=True)))


@given(st.binary(max_size=200))
def test_any_octets_are_classified_or_not(frame: bytes):
    assert classify(frame) is None or len(frame) >= 14
