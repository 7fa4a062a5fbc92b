"""Guests do not reach each other, whatever the frame: the gate isolates each port of the guests' bridge."""

import contextlib
import json
import time
from collections.abc import Iterator

import pytest
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_RA, ICMPv6NDOptPrefixInfo, IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether

from tests.lab.conftest import NewPhone
from tests.lab.gateway import ADDRESS4, ADDRESS6, BRIDGE
from tests.lab.journey import skip
from tests.lab.namespace import Namespace
from tests.lab.phone import WIFI, Phone
from tests.lab.venue import Venue, eventually

pytestmark = pytest.mark.lab

EVERYBODY = "ff:ff:ff:ff:ff:ff"
MARK = b"from one guest to another"


def frames(sender: Phone, receiver: Phone) -> dict[str, Ether]:
    """What one guest may try on another, by name; each holds `MARK` or the sender's MAC."""
    four = IP(src=sender.address4, dst=receiver.address4)
    six = IPv6(src=sender.address6, dst=receiver.address6)
    to = Ether(src=sender.mac, dst=receiver.mac)
    to_all = Ether(src=sender.mac, dst=EVERYBODY)
    here = "192.168.50.255"
    hardware = bytes.fromhex(receiver.mac.replace(":", ""))
    offer = BOOTP(op=2, yiaddr="192.168.50.66", siaddr=sender.address4, chaddr=hardware)
    options = DHCP(options=[("message-type", "offer"), ("router", sender.address4), "end"])
    prefix = ICMPv6NDOptPrefixInfo(prefix="2001:db8:bad::", prefixlen=64)
    advert = IPv6(src="fe80::bad", dst="ff02::1", hlim=255) / ICMPv6ND_RA() / prefix
    return {
        "ARP question": to_all / ARP(op=1, hwsrc=sender.mac, psrc=sender.address4, pdst=receiver.address4),
        "ARP lie about the gateway": to / ARP(op=2, hwsrc=sender.mac, psrc=ADDRESS4, pdst=receiver.address4),
        "IPv4": to / four / UDP(sport=1, dport=2) / MARK,
        "IPv4 TCP": to / four / TCP(sport=1, dport=445),
        "IPv6": to / six / UDP(sport=1, dport=2) / MARK,
        "IPv4 broadcast": to_all / IP(src=sender.address4, dst=here) / UDP(sport=137, dport=137) / MARK,
        "IPv4 multicast": Ether(src=sender.mac, dst="01:00:5e:00:00:fb")
        / IP(src=sender.address4, dst="224.0.0.251")
        / UDP(sport=5353, dport=5353)
        / MARK,
        "IPv6 multicast": Ether(src=sender.mac, dst="33:33:00:00:00:01")
        / IPv6(src=sender.address6, dst="ff02::1")
        / UDP(sport=5353, dport=5353)
        / MARK,
        "rogue DHCP server": to_all
        / IP(src=sender.address4, dst="255.255.255.255")
        / UDP(sport=67, dport=68)
        / offer
        / options,
        "rogue router": Ether(src=sender.mac, dst="33:33:00:00:00:01") / advert,
        "neighbour lie": to / IPv6(src=ADDRESS6, dst=receiver.address6, hlim=255) / ICMPv6ND_NA(tgt=ADDRESS6),
        "another protocol": Ether(src=sender.mac, dst=receiver.mac, type=0x88B5) / MARK,
        "a VLAN's tag": to / Dot1Q(vlan=20) / four / UDP(sport=1, dport=2) / MARK,
        "two VLANs' tags": to / Dot1Q(vlan=20) / Dot1Q(vlan=30) / four / UDP(sport=1, dport=2) / MARK,
    }


def arrives(
    sending: tuple[Namespace, str],
    hearing: tuple[Namespace, str],
    sent: list[bytes],
    mac: str,
    *,
    patience: float,
) -> int:
    """How many of the frames that *mac* sends on one interface are heard on the other within *patience* seconds."""
    source = bytes.fromhex(mac.replace(":", ""))
    with sending[0].packet_socket(sending[1]) as out, hearing[0].packet_socket(hearing[1]) as into:
        for frame in sent:
            out.send(frame)
        into.settimeout(0.1)
        heard, until = 0, time.monotonic() + patience
        while heard < len(sent) and time.monotonic() < until:
            with contextlib.suppress(TimeoutError):
                heard += into.recv(2048)[6:12] == source
    return heard


def isolated(venue: Venue, port: str) -> bool:
    shown = venue.gateway.namespace.run("ip", "-d", "-j", "link", "show", port)
    return bool(json.loads(shown)[0]["linkinfo"]["info_slave_data"]["isolated"])


def port_of(phone: Phone) -> str:
    """The gateway's end of the phone's cable."""
    return f"port{int(phone.mac[-2:], 16)}"


@pytest.mark.parametrize("online", [False, True], ids=["captive", "online"])
def test_no_frame_goes_from_guest_to_guest(new_phone: NewPhone, *, online: bool) -> None:
    one, other = new_phone(), new_phone()
    if online:
        skip(one)
        skip(other)
    for name, frame in frames(one, other).items():
        ends = (one.namespace, WIFI), (other.namespace, WIFI)
        assert not arrives(*ends, [bytes(frame)], one.mac, patience=0.2), name


@pytest.mark.parametrize("online", [False, True], ids=["captive", "online"])
def test_the_gateway_relays_nothing_from_guest_to_guest(
    new_phone: NewPhone, venue: Venue, *, online: bool
) -> None:
    """The box is asked to route it instead: the other guest's address, the gateway's MAC."""
    one, other = new_phone(), new_phone()
    if online:
        skip(one)
        skip(other)
    gateway = json.loads(venue.gateway.namespace.run("ip", "-j", "link", "show", BRIDGE))[0]["address"]
    with one.namespace.packet_socket(WIFI) as out, other.namespace.packet_socket(WIFI) as into:
        for name in ("IPv4", "IPv4 TCP", "IPv6", "IPv4 multicast", "IPv4 broadcast", "IPv6 multicast"):
            frame = frames(one, other)[name]
            frame.dst = gateway
            out.send(bytes(frame))
        into.settimeout(0.3)
        try:
            while True:
                assert MARK not in into.recv(2048)
        except TimeoutError:
            pass


@pytest.fixture
def office(venue: Venue) -> Iterator[list[tuple[Namespace, str]]]:
    """Another bridge on the same box, with two ports, that is not the guests'."""
    box = venue.gateway.namespace
    box.ip(
        "link add br-office type bridge",
        "link set br-office up",
        *(
            line
            for end in ("a", "b")
            for line in (
                f"link add desk-{end} type veth peer name plug-{end}",
                f"link set plug-{end} master br-office",
                f"link set plug-{end} up",
                f"link set desk-{end} up",
            )
        ),
    )
    yield [(box, "desk-a"), (box, "desk-b")]
    box.ip("link delete desk-a", "link delete desk-b", "link delete br-office")


def test_ports_of_other_bridges_are_left_alone(
    new_phone: NewPhone, venue: Venue, office: list[tuple[Namespace, str]]
) -> None:
    """The same frames on a bridge that is not the guests' show that the test would see what passes."""
    one, other = new_phone(), new_phone()
    assert isolated(venue, port_of(one))
    assert not isolated(venue, "plug-a")
    assert not isolated(venue, "plug-b")
    sent = [bytes(frame) for frame in frames(one, other).values()]
    assert arrives(office[0], office[1], sent, one.mac, patience=30) == len(sent)


def test_a_port_is_isolated_whenever_it_comes_and_whoever_changes_it(
    new_phone: NewPhone, venue: Venue
) -> None:
    box, phone = venue.gateway.namespace, new_phone()
    port = port_of(phone)
    box.ip(f"link set {port} type bridge_slave isolated off")
    assert eventually(lambda: isolated(venue, port))
    box.ip(f"link set {port} nomaster", f"link set {port} master {BRIDGE}")
    assert eventually(lambda: isolated(venue, port))
    venue.gateway.kill9("gate")
    box.ip(f"link set {port} type bridge_slave isolated off")
    try:
        with pytest.raises(RuntimeError, match=f"{port}, a port of {BRIDGE}, is not isolated"):
            venue.gateway.wificrm("gateway", "check")
    finally:
        venue.gateway.start_gate()
        venue.gateway.wait("gate")
    assert eventually(lambda: isolated(venue, port))
