"""The walled garden by name: what everybody may reach before the grant, on each network its own."""

import contextlib
import json
from collections.abc import Iterator

import pytest

from tests.lab.gateway import bridge_of
from tests.lab.internet import CDN4, CDN6
from tests.lab.phone import Phone
from tests.lab.venue import Venue, eventually

pytestmark = pytest.mark.lab

HALL = 'walled_garden = ["garden.example"]'
DESK = 'walled_garden = ["*.cdn.example", "other-garden.example"]'


@pytest.fixture(scope="module")
def venue() -> Iterator[Venue]:
    """A hall and a desk, each with a garden of its own."""
    with Venue(others={"desk": DESK}) as built:
        yield built


@pytest.fixture(scope="module")
def hall(venue: Venue) -> Phone:
    phone = venue.phone()
    phone.join()
    return phone


@pytest.fixture(scope="module")
def desk(venue: Venue) -> Phone:
    phone = venue.phone(bridge_of("desk"))
    phone.join()
    return phone


@contextlib.contextmanager
def changed(venue: Venue, before: str, after: str) -> Iterator[None]:
    """Other settings, for a while."""
    settings = venue.gateway.settings
    text = settings.read_text()
    assert before in text
    settings.write_text(text.replace(before, after))
    try:
        yield
    finally:
        settings.write_text(text)


def fates(phone: Phone, *addresses: str) -> set[str]:
    """How connections to port 443 of *addresses* end."""
    return {phone.tcp(address, 443) for address in addresses}


def test_a_name_behind_aliases_opens_all_its_addresses_and_only_where_it_is_in_the_garden(
    venue: Venue, hall: Phone, desk: Phone
) -> None:
    assert set(hall.resolve("edge.cdn.example")) == set(CDN4)
    assert set(hall.resolve("edge.cdn.example", "AAAA")) == set(CDN6)
    assert fates(hall, *CDN4, *CDN6) == {"reset"}
    assert fates(desk, *CDN4, *CDN6) == {"open"}
    flush(venue)  # or the addresses might come out of dnsmasq's memory, for a minute
    assert set(CDN4) <= set(hall.resolve("www.garden.example"))
    assert set(CDN6) <= set(hall.resolve("www.garden.example", "AAAA"))
    assert fates(hall, *CDN4, *CDN6) == {"open"}


def test_a_network_reaches_its_own_garden_and_not_anothers(hall: Phone, desk: Phone) -> None:
    for name, inside, outside in (("garden.example", hall, desk), ("other-garden.example", desk, hall)):
        addresses = [*outside.resolve(name), *outside.resolve(name, "AAAA")]
        assert len(addresses) == 2
        assert fates(inside, *addresses) == {"open"}
        assert fates(outside, *addresses) == {"reset"}
        assert inside.get(f"http://{name}/").status == 200
        assert outside.get(f"http://{name}/").status == 302


def test_a_name_in_one_family_only_is_open_in_that_family(venue: Venue, hall: Phone) -> None:
    flush(venue)
    assert hall.resolve("four.garden.example") == [CDN4[0]]
    assert hall.resolve("four.garden.example", "AAAA") == []
    assert fates(hall, CDN4[0]) == {"open"}
    assert fates(hall, CDN4[1], *CDN6) == {"reset"}
    assert hall.resolve("six.garden.example", "AAAA") == [CDN6[0]]
    assert hall.resolve("six.garden.example") == []
    assert fates(hall, CDN6[0]) == {"open"}


def flush(venue: Venue) -> None:
    """Take every address out of the hall's garden, and out of dnsmasq's memory."""
    box = venue.gateway.namespace
    box.run("nft", "flush", "set", "inet", "wificrm", "garden4_guest")
    box.run("nft", "flush", "set", "inet", "wificrm", "garden6_guest")
    venue.gateway.kill9("dnsmasq")
    venue.gateway.wificrm("gateway", "apply")


def test_an_address_stays_as_long_as_it_is_used(venue: Venue, hall: Phone) -> None:
    """Its end comes from its first entry: dnsmasq, which enters it again, does not put it off (seen: 6.18)."""
    one, other = CDN4[2], CDN4[3]
    box = venue.gateway.namespace
    box.run("nft", "flush", "set", "inet", "wificrm", "garden4_guest")
    element = f"{{ {one} timeout 30s, {other} timeout 1s }}"
    box.run("nft", "add", "element", "inet", "wificrm", "garden4_guest", element)
    assert fates(hall, one) == {"open"}

    def left() -> dict[str, int]:
        """{address: seconds}; to try them would put off their end."""
        listing = json.loads(box.run("nft", "-j", "list", "set", "inet", "wificrm", "garden4_guest"))
        sets = [item["set"] for item in listing["nftables"] if "set" in item]
        return {each["elem"]["val"]: each["elem"]["expires"] for each in sets[0].get("elem", ())}

    assert left()[one] > 30
    assert eventually(lambda: other not in left())
    assert fates(hall, one) == {"open"}
    assert fates(hall, other) == {"reset"}


def test_a_dnsmasq_started_anew_fills_the_garden_again(venue: Venue, hall: Phone) -> None:
    (address,) = hall.resolve("garden.example")
    flush(venue)
    assert fates(hall, address) == {"reset"}
    assert hall.resolve("garden.example") == [address]
    assert eventually(lambda: fates(hall, address) == {"open"})


def test_a_name_taken_out_of_the_settings_is_shut(venue: Venue, hall: Phone, desk: Phone) -> None:
    (address,) = hall.resolve("garden.example")
    (others,) = desk.resolve("other-garden.example")
    assert fates(hall, address) == fates(desk, others) == {"open"}
    with changed(venue, HALL, "walled_garden = []"):
        venue.gateway.wificrm("gateway", "apply")
        assert hall.resolve("garden.example") == [address]
        assert fates(hall, address) == {"reset"}
        assert desk.resolve("other-garden.example") == [others]
        assert fates(desk, others) == {"open"}
    venue.gateway.wificrm("gateway", "apply")
    assert hall.resolve("garden.example") == [address]
    assert fates(hall, address) == {"open"}


@pytest.mark.parametrize("command", [("gateway", "check"), ("gateway", "apply"), ("serve",)])
@pytest.mark.parametrize("host", ["captive.apple.com", "*.gstatic.com"])
def test_a_host_that_phones_probe_is_refused_with_the_reason(
    venue: Venue, command: tuple[str, ...], host: str
) -> None:
    with (
        changed(venue, HALL, f'walled_garden = ["{host}"]'),
        pytest.raises(RuntimeError, match="phones ask whether they are online") as told,
    ):
        venue.gateway.wificrm(*command)
    assert "walled_garden" in str(told.value)
    assert "Traceback" not in str(told.value)
