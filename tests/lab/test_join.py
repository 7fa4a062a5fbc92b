"""What a phone learns when it joins: address, option 114, IPv6, names."""

import ipaddress
import socket
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from scapy.layers.dhcp6 import (
    DUID_LL,
    DHCP6_InfoRequest,
    DHCP6_Reply,
    DHCP6OptClientId,
    DHCP6OptDNSServers,
    DHCP6OptOptReq,
)

from tests.lab.conftest import NewPhone
from tests.lab.gateway import ADDRESS4, ADDRESS6, NAME
from tests.lab.internet import PROVIDER_ANSWER, STRAY4, STRAY6, STRAY_NAME
from tests.lab.phone import WIFI, Phone
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


def test_dhcpcd_too_learns_of_the_portal(venue: Venue, tmp_path: Path) -> None:
    phone = venue.phone()
    phone.namespace.ip(f"link set {WIFI} up")
    tmp_path.joinpath("conf").write_text("define 114 string captive_portal_uri\nnoipv6\n")
    script = tmp_path / "script"
    script.write_text(f'#!/bin/sh\necho "$reason $new_captive_portal_uri" >> {tmp_path}/learnt\n')
    script.chmod(0o755)
    # Its files are shared by the whole machine, unless its own mount namespace hides them.
    hide = "mount -t tmpfs none /var/lib/dhcpcd; mkdir -p /run/dhcpcd; mount -t tmpfs none /run/dhcpcd; "
    client = ["dhcpcd", "-f", str(tmp_path / "conf"), "-4", "-1", "-B", "-t", "8", "-c", str(script), WIFI]
    command = phone.namespace.command("sh", "-c", f'{hide} exec "$@"', "sh", *client)
    with (tmp_path / "log").open("w") as log:  # a file, not a pipe: its helpers outlive it
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=20, check=True)
    assert f"BOUND {API}" in (tmp_path / "learnt").read_text()


@pytest.mark.parametrize("asked", [[23], [23, CAPTIVE_PORTAL_6]], ids=str)
def test_dhcpv6_tells_resolver_and_portal_to_who_asks(phone: Phone, asked: list[int]) -> None:
    """SLAAC gives the address; DHCPv6, asked for information (RFC 8415 section 18.2.6), gives the rest."""
    question = DHCP6_InfoRequest(trid=0xABCDEF) / DHCP6OptClientId(duid=DUID_LL(lladdr=phone.mac))
    question /= DHCP6OptOptReq(reqopts=asked)
    with phone.open_socket("ff02::1:2", socket.SOCK_DGRAM) as sock:
        sock.settimeout(3)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, WIFI.encode())
        sock.bind(("::", 546))
        sock.sendto(bytes(question), ("ff02::1:2", 547))
        reply = DHCP6_Reply(sock.recv(2048))
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
