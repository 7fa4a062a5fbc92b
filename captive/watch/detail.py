"""What scapy reads in a frame, for a technician at a terminal. Whether anything is told does not depend on it."""

import logging

from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet6 import ICMPv6ND_RA, ICMPv6NDOptPrefixInfo, IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet

from captive.watch.claims import unwrapped

logging.getLogger("scapy").setLevel(logging.CRITICAL)  # its warnings quote packets

SHOWN = 120
"""Characters of what a stranger wrote that a technician is shown at most."""


def describe(frame: bytes) -> str:
    """Whom *frame* names as server, router or gateway; "" where scapy cannot read it. Nothing steers a terminal."""
    try:
        text = _describe(Ether(unwrapped(frame)))
    except Exception:  # as many kinds as there are fields
        return ""
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:SHOWN]


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
