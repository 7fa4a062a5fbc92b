"""Sets of counts that somebody has filled to the brim: traffic flows, others are counted, strays are swept out."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from captive.kernel.ruleset import MAX_DEVICES
from tests.captive.small_venue import MAC, WORLD4, SmallVenue, needs_root, small_venue

pytestmark = [pytest.mark.lab, needs_root]

WORLD = "the world"
COUNTS = (("inet", "up_guest"), ("netdev", "down_guest"))


@pytest.fixture
def venue(tmp_path: Path) -> Iterator[SmallVenue]:
    with small_venue(tmp_path / "venue") as made:
        made.serve(made.world, 443, WORLD)
        assert made.command("box.apply(settings)").returncode == 0
        made.box.nft(f"add element inet wificrm allowed_guest {{ {MAC} timeout 600s }}\n")
        yield made


def fill(venue: SmallVenue, family: str, name: str) -> None:
    """Others take up all the room that is left, each counted once."""
    room = MAX_DEVICES - len(elements(venue, family, name))
    macs = [f"06:00:00:{n >> 16:02x}:{n >> 8 & 255:02x}:{n & 255:02x}" for n in range(room)]
    for start in range(0, room, 8_192):
        some = ", ".join(macs[start : start + 8_192])
        venue.box.nft(f"add element {family} wificrm {name} {{ {some} }}\n")


def elements(venue: SmallVenue, family: str, name: str) -> dict[str, int]:
    """{MAC: bytes counted}."""
    listing = venue.box.run("nft", "-j", "list", "set", family, "wificrm", name).stdout
    found = {}
    for item in msgspec.json.decode(listing)["nftables"]:
        for element in item.get("set", {}).get("elem", ()):
            inside = element["elem"] if isinstance(element, dict) else {"val": element}
            found[inside["val"]] = inside.get("counter", {}).get("bytes", 0)
    return found


def test_full_sets_stop_no_traffic_and_no_count_and_strays_are_swept_out(venue: SmallVenue):
    assert venue.ask_tcp(WORLD4, 443) == WORLD
    before = {name: elements(venue, family, name)[MAC] for family, name in COUNTS}
    for family, name in COUNTS:
        fill(venue, family, name)
    assert venue.ask_tcp(WORLD4, 443) == WORLD
    for family, name in COUNTS:
        assert elements(venue, family, name)[MAC] > before[name] > 0

    for family, name in COUNTS:  # full without the phone
        venue.box.nft(
            f"delete element {family} wificrm {name} {{ {MAC} }}\n"
            f"add element {family} wificrm {name} {{ 06:00:00:ff:ff:ff }}\n"
        )
    assert venue.ask_tcp(WORLD4, 443) == WORLD
    assert venue.ask_udp(WORLD4, 443) == WORLD

    swept = (
        "(lambda wall: (wall.forget_counts(strays := wall.strays()), len(strays))[1])"
        "(__import__('captive.kernel.firewall').kernel.firewall.Firewall(settings))"
    )
    done = venue.command(swept)
    assert done.stdout.strip() == str(MAX_DEVICES), done.stderr
    assert venue.ask_tcp(WORLD4, 443) == WORLD
    for family, name in COUNTS:
        assert list(elements(venue, family, name)) == [MAC]
