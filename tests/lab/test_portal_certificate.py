"""How phones are told of the portal (RFC 8910), and what becomes of it with the portal's certificate."""

import contextlib
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from scapy.layers.inet6 import ICMPv6ND_RA, ICMPv6NDOptPrefixInfo, ICMPv6NDOptRDNSS

from captive.advertise.advertisement import captive_portal_option
from tests.lab.conftest import NewPhone
from tests.lab.gateway import ADDRESS6, BRIDGE_MAC, NAME
from tests.lab.namespace import stop
from tests.lab.phone import WIFI, Phone
from tests.lab.venue import Venue, eventually

pytestmark = pytest.mark.lab

API = f"https://{NAME}/captive-portal/api"
DHCP4_OPTION, DHCP6_OPTION = 114, 103
PROBE = "http://connectivitycheck.gstatic.com/generate_204"
CAP_NET_RAW = 13


def uri_in(message: ICMPv6ND_RA) -> str:
    """The URI in option 37 of an advertisement; "" without one."""
    octets, at = bytes(message), 16
    while at < len(octets):
        if octets[at] == 37:
            return octets[at + 2 : at + octets[at + 1] * 8].rstrip(b"\0").decode()
        at += octets[at + 1] * 8
    return ""


def told(phone: Phone) -> dict[str, str]:
    """What the phone is told by each of the three ways, when it asks now."""
    four = phone.ask_dhcp(request=(DHCP4_OPTION,)).get(DHCP4_OPTION, b"").decode()
    six = bytes(phone.ask_dhcp6(DHCP6_OPTION))
    return {
        "DHCPv4": four,
        "DHCPv6": API if API.encode() in six else six[six.find(b"http") :].decode() if b"http" in six else "",
        "RA": uri_in(phone.ask_router()),
    }


EVERYWHERE = dict.fromkeys(("DHCPv4", "DHCPv6", "RA"), API)
NOWHERE = dict.fromkeys(EVERYWHERE, "")


def test_three_ways_name_the_same_api(phone: Phone) -> None:
    assert told(phone) == EVERYWHERE


def test_an_advertisement_gives_what_a_phone_needs(phone: Phone) -> None:
    message = phone.ask_router()
    assert (message.routerlifetime, message.M, message.O) == (1800, 0, 1)
    assert message[ICMPv6NDOptPrefixInfo].prefix == "fd50:7c3a:1::"
    assert message[ICMPv6NDOptRDNSS].dns == [ADDRESS6]
    assert captive_portal_option(API) in bytes(message)
    (route,) = phone.namespace.run("ip", "-6", "route", "show", "default").splitlines()
    assert f"dev {WIFI} proto ra" in route
    (router,) = phone.namespace.run("ip", "-6", "neighbour", "show", route.split()[2]).splitlines()
    assert BRIDGE_MAC in router


def test_the_advertiser_holds_one_capability_and_is_nobody_special(venue: Venue) -> None:
    status = venue.gateway.privileges("advertiser")
    for kind in ("CapEff", "CapPrm", "CapBnd", "CapAmb"):
        assert int(status[kind], 16) == 1 << CAP_NET_RAW
    assert "0" not in status["Uid"].split()
    assert status["NoNewPrivs"].strip() == "1"


def test_dhcpcd_learns_of_the_portal_by_all_three_ways(venue: Venue, tmp_path: Path) -> None:
    phone = venue.phone()
    phone.namespace.ip(f"link set {WIFI} up")
    names = ("define 114 string", "define6 103 string", "definend 37 string", "option", "option dhcp6_")
    lines = [name if name.endswith("_") else f"{name} " for name in names]
    tmp_path.joinpath("conf").write_text("".join(f"{line}captive_portal_uri\n" for line in lines))
    script = tmp_path / "script"
    script.write_text(f'#!/bin/sh\nenv | sed -n "s/.*captive_portal_uri=/$reason /p" >> {tmp_path}/learnt\n')
    script.chmod(0o755)
    learnt = tmp_path / "learnt"
    learnt.touch()
    # Its files are shared by the whole machine, unless its own mount namespace hides them.
    hide = "mount -t tmpfs none /var/lib/dhcpcd; mkdir -p /run/dhcpcd; mount -t tmpfs none /run/dhcpcd; "
    client = ["dhcpcd", "-f", str(tmp_path / "conf"), "-B", "-d", "-c", str(script), WIFI]
    wrapped = ["unshare", "--mount", "sh", "-c", f'{hide} exec "$@"', "sh", *client]
    process = phone.namespace.start(*wrapped, log=tmp_path / "log")
    expected = {f"{reason} {API}" for reason in ("BOUND", "ROUTERADVERT", "INFORM6")}
    try:
        assert eventually(lambda: expected <= set(learnt.read_text().splitlines())), (
            learnt.read_text() + (tmp_path / "log").read_text()
        )
    finally:
        stop(process)


# -- the certificate comes and goes -------------------------------------------------------------------


@pytest.fixture(scope="module")
def own_venue() -> Iterator[Venue]:
    """A venue that starts without its certificate's files."""
    built = Venue()
    away(built)
    with built:
        yield built


@pytest.fixture(scope="module")
def own_phone(own_venue: Venue) -> Phone:
    phone = own_venue.phone()
    phone.join()
    return phone


def put(venue: Venue, pair: tuple[Path, Path]) -> None:
    for source, target in zip(pair, (venue.gateway.certificate, venue.gateway.key), strict=True):
        fresh = target.with_suffix(".new")
        shutil.copy(source, fresh)
        fresh.replace(target)


def away(venue: Venue) -> None:
    venue.gateway.certificate.unlink()


def good(venue: Venue) -> None:
    put(venue, venue.authority.issue("good", NAME))


def expired(venue: Venue) -> None:
    put(venue, venue.authority.issue("expired", NAME, days=(-9, -1)))


def not_yet(venue: Venue) -> None:
    put(venue, venue.authority.issue("not-yet", NAME, days=(1, 9)))


def of_another(venue: Venue) -> None:
    put(venue, venue.authority.issue("other", "other.lab.example"))


def for_root_only(venue: Venue) -> None:
    good(venue)
    venue.gateway.key.chmod(0o600)


def is_sent_to(phone: Phone, scheme: str) -> bool:
    return phone.get(PROBE).location == f"{scheme}://{NAME}/"


def assert_plain(venue: Venue, phone: Phone) -> None:
    assert eventually(lambda: is_sent_to(phone, "http"))
    assert phone.follow(phone.get(f"http://{NAME}/")).url.startswith(f"http://{NAME}/")
    venue.gateway.wificrm("gateway", "apply")
    assert eventually(lambda: uri_in(phone.ask_router()) == "")
    assert told(phone) == NOWHERE


def assert_secure(venue: Venue, phone: Phone) -> None:
    assert eventually(lambda: is_sent_to(phone, "https"))
    assert phone.get(f"http://{NAME}/vi").location == f"https://{NAME}/vi"
    assert phone.get(f"https://{NAME}/").status == 200
    venue.gateway.wificrm("gateway", "apply")
    assert eventually(lambda: uri_in(phone.ask_router()) == API)
    assert told(phone) == EVERYWHERE
    assert '"captive":true' in phone.get(API).text


@pytest.mark.parametrize("spoil", [away, expired, not_yet, of_another, for_root_only])
def test_without_a_good_certificate_all_is_plain_and_with_one_it_comes_back(
    own_venue: Venue, own_phone: Phone, spoil: Callable[[Venue], None]
) -> None:
    if own_venue.gateway.certificate.exists():
        spoil(own_venue)
    assert_plain(own_venue, own_phone)  # the first time as the portal started: without files
    good(own_venue)
    own_venue.gateway.key.chmod(0o644)
    assert_secure(own_venue, own_phone)


def test_leases_outlive_the_change(own_venue: Venue, own_phone: Phone) -> None:
    good(own_venue)
    own_venue.gateway.wificrm("gateway", "apply")
    before = own_phone.ask_dhcp()[0]
    pid = (own_venue.gateway.home / "state/dnsmasq.pid").read_text()
    expired(own_venue)
    own_venue.gateway.wificrm("gateway", "apply")
    assert (own_venue.gateway.home / "state/dnsmasq.pid").read_text() != pid
    leases = (own_venue.gateway.home / "state/dnsmasq.leases").read_text()
    assert own_phone.mac in leases
    assert own_phone.ask_dhcp()[0] == before
    own_venue.gateway.wificrm("gateway", "remove")
    assert not (own_venue.gateway.home / "state/dnsmasq.leases").exists()
    own_venue.gateway.wificrm("gateway", "apply")


def test_the_port_of_tls_stays_open_and_nobody_is_sent_there(own_venue: Venue, own_phone: Phone) -> None:
    expired(own_venue)
    assert_plain(own_venue, own_phone)
    assert own_phone.tcp(own_phone.router4, 443) == "open"
    findings = doctor(own_venue)
    assert any("FAULT" in line and "certificate: expired on" in line for line in findings)
    good(own_venue)
    findings = doctor(own_venue)
    assert not [line for line in findings if "FAULT" in line]
    assert any("WARNING" in line and "certificate: 19 days left" in line for line in findings)


def test_that_nothing_is_advertised_is_told(own_venue: Venue, own_phone: Phone) -> None:
    assert '"advertised": true' in own_venue.gateway.wificrm("gateway", "status")
    own_venue.gateway.kill9("advertiser")
    assert '"advertised": false' in own_venue.gateway.wificrm("gateway", "status")
    assert any("FAULT" in line and "guests get no IPv6" in line for line in doctor(own_venue))
    with contextlib.suppress(TimeoutError, socket.timeout):
        raise AssertionError(own_phone.ask_router(timeout=3))
    own_venue.gateway.start_advertiser()
    own_venue.gateway.wait("advertiser")
    assert own_phone.ask_router().routerlifetime == 1800


def doctor(venue: Venue) -> list[str]:
    done = subprocess.run(
        venue.gateway.namespace.command(*venue.gateway._wificrm("doctor", "--quick")),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.stdout.splitlines()


def test_two_phones_and_a_goodbye(new_phone: NewPhone, venue: Venue) -> None:
    """Who stays hears that the router goes, and loses its way; it comes back with the router."""
    phones = [new_phone(), new_phone()]

    def ways() -> list[bool]:
        return [bool(phone.namespace.run("ip", "-6", "route", "show", "default").strip()) for phone in phones]

    assert ways() == [True, True]
    venue.gateway.stop("advertiser")
    assert eventually(lambda: ways() == [False, False])
    venue.gateway.start_advertiser()
    venue.gateway.wait("advertiser")
    assert eventually(lambda: ways() == [True, True])
