"""What a phone learns when it joins: address, option 114, IPv6, names."""

import ipaddress
import struct
from collections.abc import Iterator

import pytest
from scapy.layers.dhcp6 import DHCP6OptDNSServers

from tests.lab.conftest import NewPhone
from tests.lab.gateway import ADDRESS4, ADDRESS6, NAME
from tests.lab.internet import PROVIDER_ANSWER, STRAY4, STRAY6, STRAY_NAME
from tests.lab.phone import Phone
from tests.lab.venue import Venue

pytestmark = pytest.mark.lab

API = f"https://{NAME}/captive-portal/api"
CAPTIVE_PORTAL = 114
CAPTIVE_PORTAL_6 = 103


@pytest.fixture(scope="module")
def plain_venue() -> Iterator[Venue]:
    """A venue without a certificate."""
    with Venue(tls=False) as built:
        yield built


def test_three_phones_get_addresses_of_their_own(new_phone: NewPhone) -> None:
    phones = [new_phone() for _ in range(3)]
    assert len({phone.address4 for phone in phones}) == 3
    for phone in phones:
        assert ipaddress.ip_address(phone.address4) in ipaddress.ip_network("192.168.50.0/24")
        assert phone.lease["router"] == phone.lease["dns"] == ADDRESS4
        assert ipaddress.ip_address(phone.address6) in ipaddress.ip_network("fd50:7c3a:1::/64")


def test_option_114_names_the_api(phone: Phone) -> None:
    assert phone.api == API


@pytest.mark.parametrize("request_list", [(), (1, 3, 6), (1, 3, 6, CAPTIVE_PORTAL)], ids=str)
def test_option_114_comes_whether_asked_for_or_not(phone: Phone, request_list: tuple[int, ...]) -> None:
    assert phone.ask_dhcp(request=request_list)[CAPTIVE_PORTAL] == API.encode()


def test_no_option_114_without_a_certificate(plain_venue: Venue) -> None:
    phone = plain_venue.phone()
    phone.join()
    assert "opt114" not in phone.lease
    assert CAPTIVE_PORTAL not in phone.ask_dhcp(request=(1, 3, 6, CAPTIVE_PORTAL))
    probe = phone.get("http://captive.apple.com/hotspot-detect.html")
    assert (probe.status, probe.location) == (302, f"http://{NAME}/")
    assert phone.get(probe.location).status == 200


@pytest.mark.parametrize("asked", [[23], [23, CAPTIVE_PORTAL_6]], ids=str)
def test_dhcpv6_tells_resolver_and_portal_to_who_asks(phone: Phone, asked: list[int]) -> None:
    """SLAAC gives the address; DHCPv6, asked for information (RFC 8415 section 18.2.6), gives the rest."""
    reply = phone.ask_dhcp6(*asked)
    assert reply.trid == 0xABCDEF
    assert reply[DHCP6OptDNSServers].dnsservers == [ADDRESS6]
    assert ((struct.pack("!HH", CAPTIVE_PORTAL_6, len(API)) + API.encode()) in bytes(reply)) == (
        CAPTIVE_PORTAL_6 in asked
    )


def test_names_are_answered_truthfully(phone: Phone, venue: Venue) -> None:
    for name in ("connectivitycheck.gstatic.com", "captive.apple.com", "neverssl.example"):
        four, six = venue.internet.addresses[name]
        assert phone.resolve(name) == [four]
        assert phone.resolve(name, "AAAA") == [six]
    assert phone.resolve("dns.msftncsi.com") == ["131.107.255.255"]
    assert phone.resolve("dns.msftncsi.com", "AAAA") == ["fd3e:4f5a:5b81::1"]
    assert phone.ask_dns("no-such-name.example").rcode == 3


def test_the_portals_own_name_is_the_gateway_and_is_not_kept(phone: Phone) -> None:
    assert phone.resolve(NAME) == [ADDRESS4]
    assert phone.resolve(NAME, "AAAA") == [ADDRESS6]
    assert [record.ttl for record in phone.ask_dns(NAME).an] == [0]


def test_devices_are_kept_on_this_resolver(phone: Phone) -> None:
    assert phone.ask_dns("use-application-dns.net").rcode == 3  # Firefox: no DNS over HTTPS here
    assert phone.resolve("_dns.resolver.arpa") == []  # nobody: no encrypted resolver to move to


@pytest.mark.parametrize("stray", [STRAY4, STRAY6])
def test_a_question_to_a_stray_resolver_is_answered_by_ours(phone: Phone, stray: str) -> None:
    assert phone.resolve(STRAY_NAME, server=stray) == [PROVIDER_ANSWER]
    assert str(phone.ask_dns(STRAY_NAME, server=stray, tcp=True).an[0].rdata) == PROVIDER_ANSWER
