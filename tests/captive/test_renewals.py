"""A phone keeps its address by asking the box alone, beside another DHCP server of the same box."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from scapy.layers.dhcp import BOOTP, DHCP

from tests.captive.small_venue import BOX4, SmallVenue, eventually, needs_root, small_venue

pytestmark = [needs_root, pytest.mark.lab]

DESKS = """[[network]]
name = "desks"
interface = "desks0"
address4 = "192.168.51.1/24"
address6 = ""
"""
OTHER = """port=0
bind-dynamic
except-interface=br-guest
except-interface=desks0
dhcp-range=192.168.1.100,192.168.1.200,1h
dhcp-leasefile={folder}/leases
keep-in-foreground
log-facility=-
"""
"""As OpenWrt's own dnsmasq serves the router's LAN."""
PHONES = 12


@contextlib.contextmanager
def office(venue: SmallVenue, folder: Path) -> Iterator[None]:
    """A second network of guests, and the office's with a dnsmasq of its own."""
    venue.config.write_text(
        venue.config.read_text().replace("[network]", '[[network]]\nname = "guest"') + DESKS
    )
    for name, address in (("desks0", "192.168.51.1"), ("lan0", "192.168.1.1")):
        lines = f"link add {name} type bridge", f"address add {address}/24 dev {name}", f"link set {name} up"
        venue.box.ip(*lines)
    (folder / "other.conf").write_text(OTHER.format(folder=folder))
    with venue.box.start("dnsmasq", f"--conf-file={folder}/other.conf") as other:
        try:
            assert eventually(lambda: ":67" in venue.box.run("ss", "-lun").stdout)
            yield
        finally:
            other.kill()


def renew(venue: SmallVenue, address: str) -> bool:
    """Whether a phone that has *address* may keep it (RFC 2131, 4.3.2: asked of the server alone, from its address)."""
    venue.phone.ip(f"address add {address}/24 dev wlan0")
    message = BOOTP(op=1, ciaddr=address, chaddr=b"\x02\0" + socket.inet_aton(address), xid=1)
    with venue.phone.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
        phone.settimeout(10)
        phone.bind((address, 68))
        phone.sendto(bytes(message / DHCP(options=[("message-type", "request"), "end"])), (BOX4, 67))
        try:
            return ("message-type", 5) in BOOTP(phone.recv(2048))[DHCP].options
        except TimeoutError:
            return False


def test_every_phone_s_renewal_is_answered(tmp_path: Path) -> None:
    """The kernel gives a datagram to one of two sockets by its sender: to ours for half of them."""
    with small_venue(tmp_path / "venue") as venue, office(venue, tmp_path):
        done = venue.command("box.apply(settings)")
        assert done.returncode == 0, done.stderr
        answered = [renew(venue, f"192.168.50.{20 + number}") for number in range(PHONES)]
        assert all(answered), answered
