"""`wificrm gateway check` beside OpenWrt's firewall, which leaves to our table what stands in a set of its."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from captive.box import check
from tests.captive.small_venue import SmallVenue, small_venue
from tests.router_scripts.openwrt_router import SCRIPTS

pytestmark = pytest.mark.lab

FW4 = """
table inet fw4 {
	%s
	chain forward { type filter hook forward priority 0; policy drop; }
	chain input { type filter hook input priority 0; policy drop; }
}
"""


@pytest.fixture
def venue(tmp_path: Path) -> Iterator[SmallVenue]:
    with small_venue(tmp_path / "venue") as made:
        yield made


def checked(venue: SmallVenue) -> str:
    done = venue.command("box.check(settings)")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_fw4_that_was_told_of_guests_is_no_fault(venue: SmallVenue):
    venue.box.nft(FW4 % "")
    assert "chain input of table inet fw4 drops by default" in checked(venue)
    venue.box.nft("delete table inet fw4\n" + FW4 % (SCRIPTS / "nftables/table.nft").read_text())
    assert "fw4" not in checked(venue), "it is opened when the gateway is put up"
    assert venue.command("box.apply(settings)").returncode == 0
    assert "fw4 refuses what comes from br-guest: /usr/share/wificrm/firewall open" in checked(venue)
    venue.box.nft('add element inet fw4 wificrm_guests { "br-guest" }\n')
    assert "fw4" not in checked(venue)


def test_a_dhcp_server_on_another_bridge_alone_is_none_in_the_way() -> None:
    """As odhcpd listens where it leases (it shares the port by one option, dnsmasq by two)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
        other.bind(("", 0))
        port = other.getsockname()[1]
        assert not check._is_taken("", port, socket.SO_REUSEPORT, socket.SO_REUSEADDR)
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        assert check._is_taken("", port, socket.SO_REUSEPORT, socket.SO_REUSEADDR)
