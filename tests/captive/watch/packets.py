"""Packets that the watch meets, honest ones and others."""

from ipaddress import IPv6Address

from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.dhcp6 import DHCP6_Advertise, DHCP6_Solicit
from scapy.layers.dns import DNS, DNSQR
from scapy.layers.inet import IP, TCP, UDP, fragment
from scapy.layers.inet6 import (
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6ND_RS,
    ICMPv6NDOptPrefixInfo,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    PadN,
    RouterAlert,
)
from scapy.layers.l2 import ARP, Ether

GATEWAY4, GATEWAY6, GATEWAY_LINK_LOCAL = "192.168.50.1", "fd50:7c3a:1::1", "fe80::50:1"
BOX_MAC, MAC = "02:1a:b1:00:00:01", "02:1a:b0:00:00:99"
EVERYBODY = "ff:ff:ff:ff:ff:ff"


def octets(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def offer(mac: str = MAC, server: str = "192.168.50.66", kind: str = "offer", to: str = EVERYBODY) -> bytes:
    options = [("message-type", kind), ("server_id", server), ("router", server), "end"]
    return bytes(
        Ether(src=mac, dst=to)
        / IP(src=server, dst="255.255.255.255")
        / UDP(sport=67, dport=68)
        / BOOTP(op=2, yiaddr="192.168.50.77", siaddr=server, chaddr=octets(mac))
        / DHCP(options=options)
    )


def to_port(port: int, said: bytes) -> bytes:
    """A broadcast over UDP that says *said*."""
    return bytes(
        Ether(src=MAC, dst=EVERYBODY) / IP(dst="255.255.255.255") / UDP(sport=4000, dport=port) / said
    )


def discover(mac: str, hardware: str = "") -> bytes:
    return bytes(
        Ether(src=mac, dst=EVERYBODY)
        / IP(src="0.0.0.0", dst="255.255.255.255")
        / UDP(sport=68, dport=67)
        / BOOTP(op=1, chaddr=octets(hardware or mac))
        / DHCP(options=[("message-type", "discover"), "end"])
    )


def advertisement(mac: str = MAC, *, hidden: int = 0, source: str = "fe80::bad") -> bytes:
    packet = Ether(src=mac, dst="33:33:00:00:00:01") / IPv6(src=source, dst="ff02::1", hlim=255)
    for _ in range(hidden):
        packet /= IPv6ExtHdrDestOpt(options=[PadN(optdata=b"0000")])
    return bytes(packet / ICMPv6ND_RA() / ICMPv6NDOptPrefixInfo(prefix="2001:db8:bad::", prefixlen=64))


def to_address(frame: bytes, address: str) -> bytes:
    """An IPv6 *frame*, as it is, to another *address*: that of a group in which phones are too (mDNS), of one phone."""
    return frame[:38] + IPv6Address(address).packed + frame[54:]


def advertisement_in_parts(size: int) -> list[bytes]:
    """The two parts of an advertisement; the first holds *size* octets of what is cut up."""
    whole = advertisement(hidden=2)
    head, body = IPv6(src="fe80::bad", dst="ff02::1", hlim=255), whole[54:]
    parts = [
        IPv6ExtHdrFragment(nh=60, m=1, offset=0, id=7) / body[:size],
        IPv6ExtHdrFragment(nh=60, m=0, offset=size // 8, id=7) / body[size:],
    ]
    return [bytes(Ether(src=MAC, dst="33:33:00:00:00:01") / head / part) for part in parts]


def offer_in_parts() -> bytes:
    """The first part of an offer: IP and UDP headers, and nothing of what it says."""
    frame = Ether(offer())
    return bytes(Ether(src=MAC, dst=EVERYBODY) / fragment(frame[IP], fragsize=8)[0])  # type: ignore[no-untyped-call]


def tagged(frame: bytes, *vlans: int) -> bytes:
    """*frame* behind tags of *vlans* (IEEE 802.1Q)."""
    return frame[:12] + b"".join(b"\x81\x00" + vlan.to_bytes(2) for vlan in vlans) + frame[12:]


def encapsulated(frame: bytes, organisation: str = "000000") -> bytes:
    """*frame* behind an LLC/SNAP header, its length in place of its type (IEEE 802.3)."""
    return frame[:12] + (len(frame) - 6).to_bytes(2) + bytes.fromhex(f"aaaa03{organisation}") + frame[12:]


def oddly(frame: bytes, *, port: int, code: int | None = None) -> bytes:
    """A UDP *frame* over IPv4 or IPv6 from another *port*; an offer with another *code* of BOOTP."""
    at = 34 if frame[12:14] == b"\x08\x00" else 54
    frame = frame[:at] + port.to_bytes(2) + frame[at + 2 :]
    return frame if code is None else frame[:42] + bytes([code]) + frame[43:]


def groups(mac: str = MAC) -> bytes:
    """A phone says which groups it is in (RFC 3810)."""
    record = bytes.fromhex("8f00000000000001 04000000") + bytes(16)
    head = IPv6(src="fe80::77", dst="ff02::16", hlim=1, nh=0) / IPv6ExtHdrHopByHop(
        nh=58, options=[RouterAlert()]
    )
    return bytes(Ether(src=mac, dst="33:33:00:00:00:16") / head / record)


def arp(mac: str = MAC, claimed: str = GATEWAY4, asked: str = "192.168.50.77", kind: int = 2) -> bytes:
    return bytes(Ether(src=mac, dst=EVERYBODY) / ARP(op=kind, hwsrc=mac, psrc=claimed, pdst=asked))


def neighbour_advertisement(mac: str = MAC, target: str = GATEWAY6) -> bytes:
    return bytes(
        Ether(src=mac, dst="33:33:00:00:00:01")
        / IPv6(src="fe80::bad", dst="ff02::1")
        / ICMPv6ND_NA(tgt=target)
    )


def neighbour_solicitation(mac: str = MAC, source: str = GATEWAY_LINK_LOCAL) -> bytes:
    return bytes(Ether(src=mac, dst=MAC) / IPv6(src=source, dst="fe80::77") / ICMPv6ND_NS(tgt="fe80::77"))


def dhcp6(mac: str = MAC) -> bytes:
    return bytes(
        Ether(src=mac, dst=EVERYBODY) / IPv6(src="fe80::bad") / UDP(sport=547, dport=546) / DHCP6_Advertise()
    )


def broadcast(mac: str = MAC) -> bytes:
    return bytes(Ether(src=mac, dst=EVERYBODY, type=0x88B5) / b"hello")


def question(mac: str = MAC, *, six: bool = False) -> bytes:
    over = IPv6(dst=GATEWAY6) if six else IP(dst=GATEWAY4)
    return bytes(
        Ether(src=mac, dst=BOX_MAC) / over / UDP(sport=4000, dport=53) / DNS(qd=DNSQR(qname="a.example"))
    )


def tcp(flags: str, mac: str = MAC, *, six: bool = False) -> bytes:
    over = IPv6(dst="2001:db8::1") if six else IP(dst="203.0.113.9")
    return bytes(Ether(src=mac, dst=BOX_MAC) / over / TCP(sport=4000, dport=443, flags=flags))


def of_a_phone(mac: str) -> list[bytes]:
    """What a phone sends that joins and looks around: nothing here claims anything."""
    return [
        discover(mac),
        arp(mac, "0.0.0.0", GATEWAY4, 1),
        arp(mac, "192.168.50.77", GATEWAY4, 1),
        bytes(Ether(src=mac, dst="33:33:00:00:00:02") / IPv6(src="fe80::77", dst="ff02::2") / ICMPv6ND_RS()),
        bytes(
            Ether(src=mac, dst=EVERYBODY)
            / IPv6(src="::", dst="ff02::1:ff00:77")
            / ICMPv6ND_NS(tgt="fe80::77")
        ),
        neighbour_solicitation(mac, "fe80::77"),
        neighbour_advertisement(mac, "fe80::77"),
        bytes(
            Ether(src=mac, dst=EVERYBODY) / IPv6(src="fe80::77") / UDP(sport=546, dport=547) / DHCP6_Solicit()
        ),
        question(mac),
        question(mac, six=True),
        tcp("S", mac),
        tcp("A", mac),
        broadcast(mac),
        groups(mac),
    ]
