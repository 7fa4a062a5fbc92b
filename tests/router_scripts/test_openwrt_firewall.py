"""Guests behind a firewall such as fw4's, with real packets: let through while wificrm decides, else shut out."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.gateway import ADDRESS4
from tests.lab.internet import STRAY4, STRAY6
from tests.lab.journey import is_online, open_portal, skip
from tests.lab.phone import Phone
from tests.lab.venue import Venue, eventually
from tests.router_scripts.openwrt_router import SCRIPTS, Router, needs_ash

pytestmark = [pytest.mark.lab, needs_ash]

FIREWALL = f"""
table inet fw4 {{
	include "{SCRIPTS}/nftables/table.nft"
	chain input {{
		type filter hook input priority filter; policy drop;
		iif lo accept
		include "{SCRIPTS}/nftables/input.nft"
		ct state established,related accept
		tcp flags & (fin | syn | rst | ack) == syn limit rate over 1/minute burst 1 packets drop
		iifname uplink0 accept
		reject
	}}
	chain forward {{
		type filter hook forward priority filter; policy drop;
		include "{SCRIPTS}/nftables/forward.nft"
		ct state established,related accept
		reject
	}}
}}
"""
"""As fw4 has them: what is ours first, then running flows, the limit on new ones, zones that refuse."""
SETTINGS = "config wificrm 'main'\n\toption enabled '1'\n\toption storage '/mnt/x'\nconfig network 'guest'\n"


class Firewall:
    """fw4 of the lab's gateway, and the script that opens and closes it."""

    def __init__(self, venue: Venue, folder: Path) -> None:
        self.router = Router(folder, SETTINGS)
        self.router.setup("apply")
        (self.router.root / "var/run/wificrm").mkdir(parents=True)
        (self.router.root / "var/run/wificrm/gateway.json").touch()
        self._namespace = venue.gateway.namespace
        self._namespace.run("nft", "-f", "-", text=FIREWALL)

    def say(self, word: str) -> None:
        path = f"PATH={self.router.folder}/bin:{self.router.folder}/busybox:/usr/sbin:/usr/bin"
        script = SCRIPTS / "wificrm.firewall"
        self._namespace.run("env", path, f"WIFICRM_ROOT={self.router.root}", "sh", script, word)


@pytest.fixture(scope="module")
def venue() -> Iterator[Venue]:
    with Venue(tls=False) as made:
        yield made


@pytest.fixture
def firewall(venue: Venue, tmp_path: Path) -> Iterator[Firewall]:
    yield Firewall(venue, tmp_path)
    venue.gateway.namespace.run("nft", "delete", "table", "inet", "fw4")


def phone_at(venue: Venue) -> Phone:
    phone = venue.phone()
    phone.join()
    return phone


def test_while_wificrm_decides_guests_have_all_that_it_gives(venue: Venue, firewall: Firewall) -> None:
    firewall.say("open")
    phones = [phone_at(venue) for _ in range(2)]
    for phone in phones:
        assert phone.tcp(STRAY4, 443) == "reset", "ours answers before the grant, at once"
        skip(phone)
        assert is_online(phone)
        assert is_online(phone, family=6)
        assert phone.ping(STRAY4) == phone.ping(STRAY6) == "answer"


def test_while_it_does_not_they_reach_neither_the_router_nor_the_internet(
    venue: Venue, firewall: Firewall
) -> None:
    firewall.say("open")
    phone = phone_at(venue)
    open_portal(phone)
    skip(phone)
    assert is_online(phone)
    firewall.say("close")
    venue.gateway.stop("gate")  # it would put the table back
    try:
        venue.gateway.namespace.run("nft", "delete", "table", "inet", "wificrm")
        assert phone.tcp(STRAY4, 443, timeout=3) != "open"
        assert phone.tcp(STRAY6, 443, timeout=3) != "open"
        assert phone.udp(STRAY4, 443, timeout=3) != "answer"
        assert phone.tcp(ADDRESS4, 8080, timeout=3) != "open"
        assert phone.tcp(ADDRESS4, 22, timeout=3) != "open"
    finally:
        venue.gateway.start_gate()
        venue.gateway.wait("gate")
    firewall.say("open")
    assert eventually(lambda: is_online(phone)), "the portal has put the grant back"
