"""Who plays DHCP server, router or gateway, told by the octets alone; scapy reads what a terminal is shown.

A stranger chose every octet. So nothing that breaks scapy hides a claim, and nothing that phones look through
does: tags of VLAN 0, LLC/filters.SNAP headers (VU#855201), fragments (RFC 6980), extension headers (RFC 7113).
"""

import logging
from ipaddress import ip_address
from typing import NamedTuple

from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet6 import ICMPv6ND_RA, ICMPv6NDOptPrefixInfo, IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet

from captive.watch import filters
from captive.watch.kinds import AlertKind

logging.getLogger("scapy").setLevel(logging.CRITICAL)  # its warnings quote packets

REPLY = 2
"""BOOTP's code of what servers say (RFC 951), whatever the message is."""
DHCP6_REPLIES = (2, 7, 10)
"""Advertise, reply, reconfigure (RFC 8415)."""
MAX_EXTENSIONS, MAX_WRAPPERS = 8, 8
"""More than anybody honest uses."""
SHOWN = 120
"""Characters of what a stranger wrote that a technician is shown at most."""


class Own(NamedTuple):
    """What is the box's own on one network: its MACs there, and its addresses as text."""

    macs: frozenset[bytes]
    addresses: frozenset[str]


class Claim(NamedTuple):
    """What somebody pretends to be. *mac* and *detail* name a device: for the eye at a terminal only."""

    kind: AlertKind
    what: str
    mac: bytes
    detail: str


def read_claim(frame: bytes, own: Own) -> Claim | None:
    """The claim in a *frame* that came in from guests through `captive.watch.filters.claims_filter`; None: none."""
    mac = frame[6:12]
    if mac in own.macs:
        return Claim(AlertKind.SPOOFED_GATEWAY, "own_mac", mac, "")
    bare = _unwrapped(frame)
    found = _judge(bare, own)
    return Claim(found[0], found[1], mac, _printable(_detail(bare))) if found else None


_Found = tuple[AlertKind, str]
_DHCP4: _Found = (AlertKind.ROGUE_DHCP, "dhcp4")
_DHCP6: _Found = (AlertKind.ROGUE_DHCP, "dhcp6")
_RA: _Found = (AlertKind.ROGUE_RA, "ra")


def _unwrapped(frame: bytes) -> bytes:
    """*frame* as a phone takes it: without tags of VLAN 0 and without LLC/SNAP headers."""
    for _ in range(MAX_WRAPPERS):
        kind = int.from_bytes(frame[12:14])
        if kind in filters.VLANS and not int.from_bytes(frame[14:16]) & 0x0FFF:
            frame = frame[:12] + frame[16:]
        elif kind <= filters.LONGEST_FRAME and frame[14:20] == filters.SNAP:
            frame = frame[:12] + frame[20:]
        else:
            break
    return frame


def _judge(frame: bytes, own: Own) -> _Found | None:
    kind = int.from_bytes(frame[12:14])
    if kind == filters.ARP:
        # Access points that answer for others (proxy ARP) say the truth: the address is at the box's MAC.
        is_lie = _address(frame[28:32]) in own.addresses and frame[22:28] not in own.macs
        return (AlertKind.SPOOFED_GATEWAY, "arp") if is_lie else None
    if kind == filters.IPV4 and frame[23:24] == bytes([filters.UDP]):
        return _judge_udp4(frame)
    return _judge_ip6(frame, own.addresses) if kind == filters.IPV6 else None


def _judge_udp4(frame: bytes) -> _Found | None:
    udp = frame[14 + (frame[14] & 15) * 4 :]
    ports = int.from_bytes(udp[:2]), int.from_bytes(udp[2:4])
    if ports not in ((filters.DHCP_SERVER, filters.DHCP_CLIENT), (filters.DHCP_SERVER, filters.DHCP_SERVER)):
        return None
    in_parts = bool(frame[20] & 0x20)  # nobody honest has to cut it up; what it says may be in the other part
    return _DHCP4 if in_parts or udp[8:9] == bytes([REPLY]) else None


def _judge_ip6(frame: bytes, own: frozenset[str]) -> _Found | None:
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
    ports = int.from_bytes(frame[at : at + 2]), int.from_bytes(frame[at + 2 : at + 4])
    is_reply = header == filters.UDP and ports == (filters.DHCP6_SERVER, filters.DHCP6_CLIENT)
    return _DHCP6 if is_reply and int.from_bytes(frame[at + 8 : at + 9]) in DHCP6_REPLIES else None


def _judge_icmp6(frame: bytes, at: int, own: frozenset[str]) -> _Found | None:
    kind = frame[at]
    if kind == filters.ADVERTISEMENT:
        return _RA
    target = frame[at + 8 : at + 24] if kind == filters.NEIGHBOUR_ADVERTISEMENT else b""
    named = frame[22:38] if kind == filters.NEIGHBOUR_SOLICITATION else target
    return (AlertKind.SPOOFED_GATEWAY, "ndp") if _address(named) in own else None


def _address(octets: bytes) -> str:
    return str(ip_address(octets)) if len(octets) in (4, 16) else ""


def _detail(frame: bytes) -> str:
    """What scapy reads in *frame*, for the eye; "" where it cannot."""
    try:
        return _describe(Ether(frame))
    except Exception:  # as many kinds as there are fields
        return ""


def _describe(packet: Packet) -> str:
    if BOOTP in packet:
        options = {
            each[0]: each[1] for each in packet[DHCP].options if isinstance(each, tuple) and len(each) > 1
        }
        names = f"router {options.get('router', '-')}, DNS {options.get('name_server', '-')}"
        return f"server {options.get('server_id', '-')}, {names}"
    if ICMPv6ND_RA in packet:
        prefix = f", prefix {packet[ICMPv6NDOptPrefixInfo].prefix}" if ICMPv6NDOptPrefixInfo in packet else ""
        return f"router {packet[IPv6].src}, lifetime {packet[ICMPv6ND_RA].routerlifetime} s{prefix}"
    if ARP in packet:
        return f"{packet[ARP].psrc} is at {packet[ARP].hwsrc}"
    return f"from {packet[IPv6].src}" if IPv6 in packet else ""


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:SHOWN]
