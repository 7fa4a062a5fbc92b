"""What a frame is by its first octets: from which device, and of which of the kinds that are counted."""

from enum import StrEnum

from captive.watch.filters import ARP, DHCP_SERVER, DNS, IPV4, IPV6, TCP, UDP


class Kind(StrEnum):
    """What is counted, each frame as the most telling that it is."""

    ARP = "arp"
    DHCP = "dhcp"
    DNS = "dns"
    FLOW = "flow"
    BROADCAST = "broadcast"
    """Any other broadcast or multicast."""


def sender(frame: bytes) -> bytes:
    """The source MAC."""
    return frame[6:12]


def speaks_ip(frame: bytes) -> bool:
    """Whether it is of a device that may go online.

    Switches say what they say to each other (spanning tree, discovery, loop protection) on every VLAN under one MAC.
    """
    return int.from_bytes(frame[12:14]) in (ARP, IPV4, IPV6)


def classify(frame: bytes) -> Kind | None:
    """The kind of a *frame* that `captive.watch.filters.headers_filter` has passed; None: of none that is counted."""
    if len(frame) < 14:
        return None
    kind = int.from_bytes(frame[12:14])
    if kind == ARP:
        return Kind.ARP
    found = None
    if kind == IPV4 and len(frame) >= 34:
        found = _transport(frame[23], frame[14 + (frame[14] & 15) * 4 :])
    elif kind == IPV6 and len(frame) >= 54:
        found = _transport(frame[20], frame[54:])
    if found is None and frame[0] & 1:
        return Kind.BROADCAST
    return found


def _transport(protocol: int, segment: bytes) -> Kind | None:
    if protocol == TCP:
        return Kind.FLOW
    port = int.from_bytes(segment[2:4]) if protocol == UDP else 0
    return {DNS: Kind.DNS, DHCP_SERVER: Kind.DHCP}.get(port)
