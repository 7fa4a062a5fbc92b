"""Who plays DHCP server, router or gateway, told by the octets alone.

A stranger chose every octet. So nothing that phones look through hides a claim: tags of VLAN 0, however many,
LLC/SNAP headers (VU#855201), fragments (RFC 6980), extension headers (RFC 7113), odd ports and codes of DHCP.
"""

from ipaddress import ip_address
from typing import NamedTuple

from captive.alert_kinds import AlertKind
from captive.watch import filters

REPLY, COOKIE = 2, bytes.fromhex("63825363")
"""BOOTP's code of what servers say (RFC 951), which not all phones look at; how DHCP's options begin (RFC 2131)."""
DHCP6_REPLIES = (2, 7, 10)
"""Advertise, reply, reconfigure (RFC 8415)."""
MAX_EXTENSIONS = 8
"""More than anybody honest uses."""


class Own(NamedTuple):
    """What is the box's own on one network: its MACs there, and its addresses as text."""

    macs: frozenset[bytes]
    addresses: frozenset[str]


class Claim(NamedTuple):
    """What somebody pretends to be."""

    kind: AlertKind
    what: str


def read_claim(frame: bytes, own: Own) -> Claim | None:
    """The claim in a *frame* that came in from guests through `captive.watch.filters.claims_filter`; None: none."""
    if frame[6:12] in own.macs:
        return Claim(AlertKind.SPOOFED_GATEWAY, "own_mac")
    return _judge(unwrapped(frame), own)


def unwrapped(frame: bytes) -> bytes:
    """*frame* as a phone takes it: without tags of VLAN 0 and without LLC/SNAP headers."""
    at = 12
    while True:
        kind = int.from_bytes(frame[at : at + 2])
        if kind in filters.VLANS and not int.from_bytes(frame[at + 2 : at + 4]) & 0x0FFF:
            at += 4
        elif kind <= filters.LONGEST_FRAME and frame[at + 2 : at + 8] in filters.SNAPS:
            at += 8
        else:
            return frame[:12] + frame[at:]


_DHCP4 = Claim(AlertKind.ROGUE_DHCP, "dhcp4")
_DHCP6 = Claim(AlertKind.ROGUE_DHCP, "dhcp6")
_RA = Claim(AlertKind.ROGUE_RA, "ra")


def _judge(frame: bytes, own: Own) -> Claim | None:
    kind = int.from_bytes(frame[12:14])
    if kind == filters.ARP:
        # Access points that answer for others (proxy ARP) say the truth: the address is at the box's MAC.
        is_lie = _address(frame[28:32]) in own.addresses and frame[22:28] not in own.macs
        return Claim(AlertKind.SPOOFED_GATEWAY, "arp") if is_lie else None
    if kind == filters.IPV4 and frame[23:24] == bytes([filters.UDP]):
        return _judge_udp4(frame)
    return _judge_ip6(frame, own.addresses) if kind == filters.IPV6 else None


def _judge_udp4(frame: bytes) -> Claim | None:
    udp = frame[14 + (frame[14] & 15) * 4 :]
    source, to = int.from_bytes(udp[:2]), int.from_bytes(udp[2:4])
    if to != filters.DHCP_CLIENT and (source, to) != (filters.DHCP_SERVER, filters.DHCP_SERVER):
        return None
    in_parts = bool(frame[20] & 0x20)  # nobody honest has to cut it up; what it says may be in the other part
    is_taken = to == filters.DHCP_CLIENT and udp[244:248] == COOKIE  # by phones that look at nothing else
    return _DHCP4 if in_parts or is_taken or udp[8:9] == bytes([REPLY]) else None


def _judge_ip6(frame: bytes, own: frozenset[str]) -> Claim | None:
    header, at, headers, in_parts = frame[20] if len(frame) > 54 else 0, 54, 0, False
    while header in filters.EXTENSIONS and at + 3 < len(frame):
        length = 8 * frame[at + 1] + 8
        if header == filters.FRAGMENT:
            place = int.from_bytes(frame[at + 2 : at + 4])
            if place & 0xFFF8:
                return None  # not the first part, which is judged
            length, in_parts = 8, in_parts or bool(place & 1)
        header, at, headers = frame[at], at + length, headers + 1
    if headers > MAX_EXTENSIONS:
        return _RA
    if at >= len(frame) or header in filters.EXTENSIONS:  # what it is stands in another part
        return _RA if in_parts and header in (*filters.EXTENSIONS, filters.ICMP6) else None
    if header == filters.ICMP6:
        return _judge_icmp6(frame, at, own)
    to_phones = header == filters.UDP and int.from_bytes(frame[at + 2 : at + 4]) == filters.DHCP6_CLIENT
    return _DHCP6 if to_phones and int.from_bytes(frame[at + 8 : at + 9]) in DHCP6_REPLIES else None


def _judge_icmp6(frame: bytes, at: int, own: frozenset[str]) -> Claim | None:
    kind = frame[at]
    if kind == filters.ADVERTISEMENT:
        return _RA
    target = frame[at + 8 : at + 24] if kind == filters.NEIGHBOUR_ADVERTISEMENT else b""
    named = frame[22:38] if kind == filters.NEIGHBOUR_SOLICITATION else target
    return Claim(AlertKind.SPOOFED_GATEWAY, "ndp") if _address(named) in own else None


def _address(octets: bytes) -> str:
    return str(ip_address(octets)) if len(octets) in (4, 16) else ""
