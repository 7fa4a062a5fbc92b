"""What scapy reads in a packet that only servers and routers send: who plays DHCP server, router or gateway.

A stranger chose every octet, so a packet that cannot be taken apart claims nothing.
"""

import logging
from typing import NamedTuple

from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.dhcp6 import DHCP6_Advertise, DHCP6_Reply
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6ND_RA, ICMPv6NDOptPrefixInfo, IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet

from captive.watch.filters import EXTENSIONS, IPV6
from captive.watch.kinds import AlertKind

logging.getLogger("scapy").setLevel(logging.CRITICAL)  # its warnings quote packets

OFFER, ACK, NAK = 2, 5, 6
FRAGMENT, MAX_EXTENSIONS = 44, 8
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
    try:
        found = _hidden(frame) or _read(Ether(frame), own.addresses)
    except Exception:  # whatever breaks scapy is no offer that a phone would take
        return None
    return Claim(found[0], found[1], mac, _printable(found[2])) if found else None


_Found = tuple[AlertKind, str, str]


def _read(packet: Packet, own: frozenset[str]) -> _Found | None:
    return _dhcp(packet) or _dhcp6(packet) or _advertisement(packet) or _address(packet, own)


def _hidden(frame: bytes) -> _Found | None:
    """Something to all nodes behind more extension headers than anybody honest uses; scapy would take long."""
    if int.from_bytes(frame[12:14]) != IPV6:
        return None
    header, at, headers = frame[20], 54, 0
    while header in EXTENSIONS and at + 1 < len(frame):
        header, at, headers = (
            frame[at],
            at + (8 if header == FRAGMENT else 8 * frame[at + 1] + 8),
            headers + 1,
        )
    if headers <= MAX_EXTENSIONS:
        return None
    return AlertKind.ROGUE_RA, "ra", f"hidden behind {headers} extension headers"


def _dhcp(packet: Packet) -> _Found | None:
    if BOOTP not in packet or packet[BOOTP].op != 2:
        return None
    options = {each[0]: each[1] for each in packet[DHCP].options if isinstance(each, tuple) and len(each) > 1}
    if options.get("message-type") not in (OFFER, ACK, NAK):
        return None
    names = f"router {options.get('router', '-')}, DNS {options.get('name_server', '-')}"
    return AlertKind.ROGUE_DHCP, "dhcp4", f"server {options.get('server_id', '-')}, {names}"


def _dhcp6(packet: Packet) -> _Found | None:
    if DHCP6_Advertise not in packet and DHCP6_Reply not in packet:
        return None
    return AlertKind.ROGUE_DHCP, "dhcp6", f"server {packet[IPv6].src}"


def _advertisement(packet: Packet) -> _Found | None:
    if ICMPv6ND_RA not in packet:
        return None
    prefix = f", prefix {packet[ICMPv6NDOptPrefixInfo].prefix}" if ICMPv6NDOptPrefixInfo in packet else ""
    lifetime = packet[ICMPv6ND_RA].routerlifetime
    return AlertKind.ROGUE_RA, "ra", f"router {packet[IPv6].src}, lifetime {lifetime} s{prefix}"


def _address(packet: Packet, own: frozenset[str]) -> _Found | None:
    if ARP in packet:
        what, address, mac = "arp", packet[ARP].psrc, packet[ARP].hwsrc
    elif ICMPv6ND_NA in packet:
        what, address, mac = "ndp", packet[ICMPv6ND_NA].tgt, packet.src
    elif ICMPv6ND_NS in packet:
        what, address, mac = "ndp", packet[IPv6].src, packet.src
    else:
        return None
    return (AlertKind.SPOOFED_GATEWAY, what, f"{address} is at {mac}") if address in own else None


def _printable(text: str) -> str:
    """*text* without what could steer a terminal."""
    return "".join(each if each.isprintable() else "?" for each in text[:SHOWN])
