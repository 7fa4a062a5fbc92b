"""The tables through changes of settings, other people's hands, and on kernels that lack a hook."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.captive.small_venue import MAC, WORLD4, SmallVenue, needs_root, small_venue

pytestmark = [needs_root, pytest.mark.lab]

FIREWALL = "__import__('captive.kernel.firewall', fromlist=['_']).Firewall"
LISTED = (
    f"{{k: (v.seconds, v.up > 0, v.down > 0) for k, v in {FIREWALL}(settings).leases(counts=True).items()}}"
)
OLD = f"setattr({FIREWALL}, 'egress', False)"
"""As on kernels before 5.16."""


@pytest.fixture
def venue(tmp_path: Path) -> Iterator[SmallVenue]:
    """A small venue, up, with something in the world to talk to."""
    with small_venue(tmp_path) as made:
        made.serve(made.world, 443, "the world")
        up(made)
        yield made


def up(venue: SmallVenue, *lines: str) -> None:
    """`gateway apply` with *lines* added to the network's settings."""
    venue.config.write_text(venue.config.read_text() + "".join(f"{line}\n" for line in lines))
    done = venue.command("box.apply(settings)")
    assert done.returncode == 0, done.stderr


def said(venue: SmallVenue, expression: str) -> str:
    done = venue.command(expression)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def allow(venue: SmallVenue, element: str = f"{MAC} timeout 600s") -> None:
    venue.box.nft(f"add element inet wificrm allowed_guest {{ {element} }}\n")


def sets(venue: SmallVenue, family: str) -> str:
    return venue.box.run("nft", "list", "sets", family).stdout


def test_another_identity_takes_no_lease_over_and_keeps_nobody_from_starting(venue: SmallVenue):
    allow(venue)
    up(venue, 'identity = "mac+ip"', 'address6 = ""')
    assert said(venue, LISTED) == "{}"
    assert "type ether_addr . ipv4_addr" in sets(venue, "inet")
    assert venue.ask_tcp(WORLD4, 443) == "ConnectionRefusedError"


def test_another_limit_holds_at_once_and_who_is_online_stays(venue: SmallVenue):
    up(venue, "grant = { up_mb = 1, down_kbit = 512 }")
    allow(venue)
    assert venue.ask_tcp(WORLD4, 443) == "the world"
    assert MAC in venue.box.run("nft", "list", "set", "inet", "wificrm", "spent_up_guest_1").stdout
    venue.config.write_text(venue.config.read_text().replace("up_mb = 1", "up_mb = 2"))
    up(venue)
    assert venue.ask_tcp(WORLD4, 443) == "the world"
    listed = venue.box.run("nft", "list", "set", "inet", "wificrm", "spent_up_guest_2").stdout
    assert "quota over 2065536 bytes" in listed


def test_an_element_that_somebody_added_for_ever_is_listed_without_an_end(venue: SmallVenue):
    allow(venue, MAC)
    assert said(venue, LISTED) == f"{{'guest {MAC}': (0, False, False)}}"


def test_an_uplink_that_is_not_there_keeps_no_table_from_being_put_there(venue: SmallVenue):
    """A modem that is not dialled or not plugged in: the gate starts all the same."""
    venue.box.ip("link set eth0 down", "link set eth0 name away0")
    venue.box.nft("delete table inet wificrm")
    assert said(venue, f"{FIREWALL}(settings).apply()") == "None"
    upstream = "nft list chain inet wificrm upstream_guest"
    assert "203.0.113.0/24" not in venue.box.run(*upstream.split()).stdout
    venue.box.ip("link set away0 name eth0", "link set eth0 up")
    assert said(venue, f"{FIREWALL}(settings).apply()") == "None"
    assert "203.0.113.0/24" in venue.box.run(*upstream.split()).stdout


def test_an_interface_that_is_not_there_yet_is_hooked_when_it_comes(venue: SmallVenue):
    venue.box.ip("link add br-x type bridge")
    venue.config.write_text(venue.config.read_text().replace("[network]", '[network]\ninterface = "br-y"'))
    up(venue)
    assert "egress_guest" not in venue.box.run("nft", "list", "ruleset").stdout
    venue.box.ip("link set br-x name br-y")
    up(venue)
    assert "egress_guest" in venue.box.run("nft", "list", "ruleset").stdout


def test_without_the_egress_hook_all_but_downloads_works_and_the_check_says_so(venue: SmallVenue):
    venue.box.run("nft", "flush", "ruleset")
    venue.config.write_text(venue.config.read_text() + "grant = { up_mb = 5, down_kbit = 2000 }\n")
    said(venue, f"({OLD}, box.apply(settings))")
    assert sets(venue, "netdev") == ""
    allow(venue)
    assert venue.ask_tcp(WORLD4, 443) == "the world"
    listed = said(venue, f"({OLD}, {LISTED})[1]")
    assert "True, False)" in listed
    told = said(venue, f"({OLD}, '\\n'.join(box.check(settings)))[1]")
    assert "older than 5.16" in told
    assert "down_kbit" in told
    assert "older than 5.16" not in said(venue, "'\\n'.join(box.check(settings))")
