"""What the kernel hands to the watch: two programs for packet sockets (classic BPF), written for one port.

Strangers choose what they send, so most of it is turned away in the kernel. Offsets are those of Ethernet,
IPv4 (RFC 791), IPv6 (RFC 8200), ARP (RFC 826), UDP and TCP. What the box sends itself passes neither:
whatever looks like a DHCP server or a router here is a stranger's.
"""

import struct
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

WHOLE, HEADER = 2_048, 96
"""Octets that are handed over of a packet that passes."""
ARP, IPV4, IPV6 = 0x0806, 0x0800, 0x86DD
VLANS = (0x8100, 0x88A8)
LONGEST_FRAME, SNAPS = 1_500, (bytes.fromhex("aaaa03000000"), bytes.fromhex("aaaa030000f8"))
"""Up to it the field of the type is a length (IEEE 802.3), and the type may stand behind an LLC/SNAP header:
RFC 1042's or the one of IEEE 802.1H; Wi-Fi drivers take off either."""
UDP, TCP, ICMP6 = 17, 6, 58
FRAGMENT = 44
EXTENSIONS = (0, 43, FRAGMENT, 60)
"""IPv6 headers behind which an advertisement can be hidden (RFC 7113)."""
ADVERTISEMENT, NEIGHBOUR_SOLICITATION, NEIGHBOUR_ADVERTISEMENT = 134, 135, 136
DHCP_SERVER, DHCP_CLIENT, DHCP6_CLIENT, DNS = 67, 68, 546, 53
MOST_ADDRESSES = 8
"""Of the box's own on one network that are looked for: a jump in a program is short."""
MULTICAST, GROUP_REPORTS = 0xFF, IPv6Address("ff02::16")
"""First octet of a multicast address; where each phone says which groups it is in, behind an extension header."""

LD, LDH, LDB, LDXB = 0x20, 0x28, 0x30, 0xB1
LDH_X, LDB_X = 0x48, 0x50
JEQ, JGT, JSET, AND, RET = 0x15, 0x25, 0x45, 0x54, 0x06
ANCILLARY = 0xFFFF_F000
PACKET_TYPE, VLAN_TAG, VLAN_PRESENT = ANCILLARY + 4, ANCILLARY + 44, ANCILLARY + 48
OUTGOING = 4
PASS, DROP, NEXT = "pass", "drop", ""
"""Where a test leads to, beside labels; NEXT is the following line."""


class Line(NamedTuple):
    """One instruction; *yes* and *no* are labels."""

    code: int
    value: int
    yes: str = NEXT
    no: str = NEXT


Program = list[Line | str]
"""Instructions; a text among them is the label of the next."""


def assemble(program: Program) -> bytes:
    """The octets of an array of ``struct sock_filter``. Jumps lead forward only, 255 lines at most."""
    lines: list[Line] = []
    labels: dict[str, int] = {}
    for each in program:
        if isinstance(each, str):
            labels[each] = len(lines)
        else:
            lines.append(each)

    def step(at: int, label: str) -> int:
        return labels[label] - at - 1 if label else 0

    return b"".join(
        struct.pack("=HBBI", line.code, step(at, line.yes), step(at, line.no), line.value)
        for at, line in enumerate(lines)
    )


def claims_filter(own4: IPv4Address, own6: Iterable[IPv6Address]) -> bytes:
    """Passes, whole, what only servers, routers and liars send.

    DHCP and DHCPv6 from a server, router advertisements (and what may hide one), ARP and neighbour
    discovery in the name of *own4* and *own6*, the box's own addresses (the first `MOST_ADDRESSES`).
    """
    program = [
        *_from_outside(),
        Line(LDH, 12),
        Line(JEQ, ARP, "arp"),
        Line(JEQ, IPV4, "ip4"),
        Line(JEQ, IPV6, "ip6"),
        *_wrapped(),
        "arp",
        Line(LD, 28),
        Line(JEQ, int(own4), PASS, DROP),
        "ip4",
        *_udp4(),
        Line(LDH_X, 16),
        Line(JEQ, DHCP_CLIENT, PASS),
        Line(JEQ, DHCP_SERVER, NEXT, DROP),
        Line(LDH_X, 14),
        Line(JEQ, DHCP_SERVER, PASS, DROP),
        "ip6",
        *_claims6(list(own6)[:MOST_ADDRESSES]),
        *_verdicts(WHOLE),
    ]
    return assemble(program)


def _claims6(own: list[IPv6Address]) -> Program:
    """The same over IPv6."""
    return [
        Line(LDB, 20),
        Line(JEQ, ICMP6, "icmp6"),
        Line(JEQ, UDP, "udp6"),
        *(Line(JEQ, header, "extended") for header in EXTENSIONS),
        Line(RET, 0),
        "udp6",
        Line(LDH, 56),
        Line(JEQ, DHCP6_CLIENT, PASS, DROP),
        "extended",
        Line(LDB, 0),
        Line(JSET, 1, "many"),
        Line(LDB, 38),
        Line(JEQ, MULTICAST, NEXT, DROP),  # who tells one phone alone tells nobody else
        "many",
        *_address_at(38, [GROUP_REPORTS], "reports", DROP),
        Line(RET, WHOLE),
        "icmp6",
        Line(LDB, 54),
        Line(JEQ, ADVERTISEMENT, PASS),
        Line(JEQ, NEIGHBOUR_ADVERTISEMENT, "advert"),
        Line(JEQ, NEIGHBOUR_SOLICITATION, "solicit", DROP),
        "advert",
        *_address_at(62, own, "advert"),
        Line(RET, 0),
        "solicit",
        *_address_at(22, own, "solicit"),
        Line(RET, 0),
    ]


def headers_filter() -> bytes:
    """Passes the first octets of what is counted (see `captive.watch.frames`).

    Broadcast and multicast, ARP, questions to DNS and DHCP servers, the beginnings of TCP flows.
    """
    program = [
        *_from_outside(),
        Line(LDB, 0),
        Line(JSET, 1, PASS),
        Line(LDH, 12),
        Line(JEQ, ARP, PASS),
        Line(JEQ, IPV4, "ip4"),
        Line(JEQ, IPV6, "ip6", DROP),
        "ip4",
        Line(LDB, 23),
        Line(JEQ, TCP, "tcp4"),
        *_udp4(),
        Line(LDH_X, 16),
        Line(JEQ, DNS, PASS),
        Line(JEQ, DHCP_SERVER, PASS, DROP),
        "tcp4",
        Line(LDH, 20),
        Line(JSET, 0x1FFF, DROP),
        Line(LDXB, 14),
        Line(LDB_X, 27),
        Line(AND, 0x12),
        Line(JEQ, 0x02, PASS, DROP),
        "ip6",
        Line(LDB, 20),
        Line(JEQ, UDP, "udp6"),
        Line(JEQ, TCP, NEXT, DROP),
        Line(LDB, 67),
        Line(AND, 0x12),
        Line(JEQ, 0x02, PASS, DROP),
        "udp6",
        Line(LDH, 56),
        Line(JEQ, DNS, PASS, DROP),
        *_verdicts(HEADER),
    ]
    return assemble(program)


def _from_outside() -> Program:
    """Only what came in, and with no VLAN's tag: another VLAN on the same cable is not the guests'."""
    return [
        Line(LD, PACKET_TYPE),
        Line(JEQ, OUTGOING, DROP),
        Line(LD, VLAN_PRESENT),
        Line(JEQ, 0, "untagged"),
        Line(LD, VLAN_TAG),
        Line(JSET, 0x0FFF, DROP),  # the tag of VLAN 0 is priority only, and phones take it for none
        "untagged",
    ]


def _udp4() -> Program:
    """UDP over IPv4, not a later fragment; X becomes the length of the IPv4 header."""
    return [
        Line(LDB, 23),
        Line(JEQ, UDP, NEXT, DROP),
        Line(LDH, 20),
        Line(JSET, 0x1FFF, DROP),
        Line(LDXB, 14),
    ]


def _wrapped() -> Program:
    """Pass what phones look through to what is inside: another tag of VLAN 0, an LLC/SNAP header; drop the rest."""
    return [
        *(Line(JEQ, kind, "tagged") for kind in VLANS),
        Line(JGT, LONGEST_FRAME, DROP),
        Line(LD, 14),
        Line(JEQ, int.from_bytes(SNAPS[0][:4]), NEXT, DROP),
        Line(LDH, 18),
        *(Line(JEQ, int.from_bytes(snap[4:]), PASS) for snap in SNAPS),
        Line(RET, 0),
        "tagged",
        Line(LDH, 14),
        Line(JSET, 0x0FFF, DROP, PASS),
    ]


def _address_at(offset: int, addresses: list[IPv6Address], name: str, verdict: str = PASS) -> Program:
    """*verdict* when one of *addresses* stands at *offset*, on to the next line otherwise."""
    program: Program = []
    for number, address in enumerate(addresses):
        words = struct.unpack("!4I", address.packed)
        other = f"{name} {number}"
        for at, word in enumerate(words):
            program.append(Line(LD, offset + 4 * at))
            program.append(Line(JEQ, word, verdict if at == 3 else NEXT, other))
        program.append(other)
    return program


def _verdicts(octets: int) -> Program:
    return [PASS, Line(RET, octets), DROP, Line(RET, 0)]
