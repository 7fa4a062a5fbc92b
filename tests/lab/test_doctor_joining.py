"""Faults that phones meet as they join and look for the portal: each planted, named, nothing else blamed."""

import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from captive.doctor.phone import joining
from tests.lab.doctoring import ROGUE_MAC, faults, findings, nft, provider_with, resolver_with, rogue
from tests.lab.gateway import ADDRESS4, BRIDGE, HTTP_PORT, NAME, Gateway
from tests.lab.venue import Venue, eventually

pytestmark = pytest.mark.lab

ADDRESS, TRUTH = "A phone asks for an address", "Names are answered truthfully"
NAT = "chain c { type nat hook prerouting priority -110;"
UNANSWERED = {"test_the_resolver_is_dead", "test_the_resolver_hangs", "test_all_addresses_are_taken"}
"""Tests in which nobody offers an address."""


@pytest.fixture
def gateway(venue: Venue) -> Gateway:
    """The gateway, which the test must leave as it found it."""
    return venue.gateway


@pytest.fixture(autouse=True)
def hasty(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody else can speak up, nobody is waited for; but an offer that must come, as long as it takes."""
    name = request.node.originalname
    if name != "test_a_second_dhcp_server":
        monkeypatch.setattr(joining, "GATHER_SECONDS", 0.6)
    monkeypatch.setattr(joining, "OFFER_SECONDS", 2.0 if name in UNANSWERED else 30.0)


# -- names ----------------------------------------------------------------------------------------


def test_our_own_resolver_bends_an_answer(venue: Venue, gateway: Gateway) -> None:
    with resolver_with(gateway, lambda text: f"{text}address=/captive.apple.com/{ADDRESS4}\n"):
        found = faults(venue, "names")
    assert found.keys() == {TRUTH}
    assert f"captive.apple.com is said to be at {ADDRESS4}, a private address" in found[TRUTH].detail
    assert "own dnsmasq says so" in found[TRUTH].detail
    assert faults(venue, "names") == {}


def test_the_providers_resolver_bends_answers(venue: Venue, gateway: Gateway) -> None:
    def bent(text: str) -> str:
        return re.sub(r"(host-record=[^,]*(?:gstatic|msftncsi)\.com),.*", r"\1,10.1.2.3", text)

    with provider_with(venue.internet, gateway, bent):
        found = faults(venue, "names")
    assert found.keys() == {TRUTH, "Windows' test name has the right address"}
    assert "provider's resolver 198.51.100.53 says so" in found[TRUTH].detail
    assert "10.1.2.3" in found["Windows' test name has the right address"].detail


def test_the_resolver_is_dead(venue: Venue, gateway: Gateway) -> None:
    gateway.kill9("dnsmasq")
    try:
        found = faults(venue, "names")
    finally:
        gateway.wificrm("gateway", "apply")
    assert found.keys() == {"dnsmasq", ADDRESS}
    assert "dnsmasq does not run" in found[ADDRESS].detail


def test_the_resolver_hangs(venue: Venue, gateway: Gateway) -> None:
    pid = int((gateway.home / "state/dnsmasq.pid").read_text())
    os.kill(pid, signal.SIGSTOP)
    try:
        found = faults(venue)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert found.keys() == {"dnsmasq"}
    assert "it hangs" in found["dnsmasq"].detail
    assert f"kill -9 {pid}" in found["dnsmasq"].todo


def test_names_are_dropped_on_their_way_to_the_resolver(venue: Venue, gateway: Gateway) -> None:
    drop = f'iifname "{BRIDGE}" udp dport 53 drop'
    with nft(gateway.namespace, f"chain c {{ type filter hook input priority -10; {drop}; }}"):
        found = faults(venue, "names")
    assert found.keys() == {"The resolver answers"}
    assert "no answer on port 53, though dnsmasq runs" in found["The resolver answers"].detail


def test_the_providers_resolver_is_dead(venue: Venue, gateway: Gateway) -> None:
    with provider_with(venue.internet, gateway, alive=False):
        found = faults(venue, "names", "portal")
    assert found.keys() == {"the provider's resolvers"}
    assert "though the Internet is reached" in found["the provider's resolvers"].detail


# -- joining --------------------------------------------------------------------------------------


def test_a_second_dhcp_server(venue: Venue) -> None:
    with rogue(venue, "dhcp-range=192.168.1.100,192.168.1.200,1h"):
        found = faults(venue, "join")
    assert found.keys() == {"Only this box gives addresses"}
    told = found["Only this box gives addresses"].detail
    assert "a second DHCP server answers: 192.168.1.1" in told
    assert ROGUE_MAC in told


def test_a_second_router(venue: Venue) -> None:
    with rogue(venue, "enable-ra", "dhcp-range=fd99::,ra-only"):
        found = faults(venue, "join")
    assert found.keys() == {"Only this box is the IPv6 router"}
    assert ROGUE_MAC in found["Only this box is the IPv6 router"].detail


def test_all_addresses_are_taken(venue: Venue, gateway: Gateway) -> None:
    ends = int(time.time()) + 3600
    leases = "".join(f"{ends} 02:ee:00:00:00:{n:02x} 192.168.50.{n} * *\n" for n in range(2, 255))
    with resolver_with(gateway, str, leases):
        found = faults(venue, "join")
    assert found.keys() == {ADDRESS}
    assert "all 253 addresses of 192.168.50.0/24 are taken" in found[ADDRESS].detail


def test_nobody_advertises_ipv6(venue: Venue, gateway: Gateway) -> None:
    gateway.stop("advertiser")
    try:
        found = faults(venue, "join")
    finally:
        gateway.start_advertiser()
        gateway.wait("advertiser")
    assert found.keys() == {"router advertisements", "A phone looks for an IPv6 router"}
    assert "wificrm advertise does not run" in found["A phone looks for an IPv6 router"].detail


def test_option_114_is_missing(venue: Venue, gateway: Gateway) -> None:
    def without(text: str) -> str:
        return "".join(line for line in text.splitlines(keepends=True) if "114," not in line)

    with resolver_with(gateway, without):
        found = faults(venue, "join")
    assert found.keys() == {"DHCP names the portal"}
    assert "option 114 is missing though the certificate is good" in found["DHCP names the portal"].detail


# -- the portal -----------------------------------------------------------------------------------


def test_the_portal_is_stopped(venue: Venue, gateway: Gateway) -> None:
    gateway.stop("portal")
    try:
        found = faults(venue, "portal", "online")
    finally:
        gateway.start_portal()
        gateway.wait("portal")
    assert found.keys() == {"portal"}
    assert "no answer on 192.168.50.1:8080" in found["portal"].detail


@pytest.fixture
def replaced(gateway: Gateway) -> Iterator[Path]:
    """The portal's certificate, to be replaced for a while."""
    kept = {path: path.read_bytes() for path in (gateway.certificate, gateway.key)}
    yield gateway.certificate
    for path, content in kept.items():
        path.write_bytes(content)
    assert is_sent_to(gateway, "https")


def is_sent_to(gateway: Gateway, scheme: str) -> bool:
    """Whether the portal has noticed which certificate it has."""

    def location() -> bytes:
        with gateway.namespace.open_socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
            sock.settimeout(5)
            sock.connect((ADDRESS4, HTTP_PORT))
            sock.sendall(b"GET / HTTP/1.1\r\nHost: odd.example\r\nConnection: close\r\n\r\n")
            return sock.recv(4096)

    return eventually(lambda: f"Location: {scheme}://{NAME}/".encode() in location())


@pytest.mark.parametrize(
    ("name", "days", "words"),
    [
        (NAME, (-9.0, -1.0), "expired on"),
        ("other.example", (-1.0, 60.0), f"made for other.example, not for {NAME}"),
    ],
)
def test_a_certificate_that_no_phone_takes(
    venue: Venue, gateway: Gateway, replaced: Path, name: str, days: tuple[float, float], words: str
) -> None:
    certificate, key = venue.authority.issue("bad", name, days=days)
    gateway.key.write_bytes(key.read_bytes())
    replaced.write_bytes(certificate.read_bytes())
    assert is_sent_to(gateway, "http")
    told = findings(venue, "join", "portal")
    found = {each.what: each for each in told if each.state == "fault"}
    assert found.keys() == {"certificate"}
    assert words in found["certificate"].detail
    late = {each.what for each in told if each.state == "warning"}
    assert {"what phones are told of the portal", "DHCP names the portal", "IPv6 names the portal"} <= late


def test_port_80_leads_elsewhere(venue: Venue, gateway: Gateway) -> None:
    with nft(gateway.namespace, f'{NAT} iifname "{BRIDGE}" tcp dport 80 redirect to :81; }}'):
        found = faults(venue, "portal")
    assert found.keys() == {"Port 80 leads to the portal"}
    assert "table inet foreign is not ours" in found["Port 80 leads to the portal"].todo


def test_a_probe_host_is_in_the_walled_garden(venue: Venue, gateway: Gateway) -> None:
    four, six = venue.internet.addresses["captive.apple.com"]
    change = "\n".join(
        f"{{0}} element inet wificrm garden{n}_guest {{{{ {a} }}}}" for n, a in ((4, four), (6, six))
    )
    gateway.namespace.run("nft", "-f", "-", text=change.format("add"))
    try:
        found = faults(venue, "portal")
    finally:
        gateway.namespace.run("nft", "-f", "-", text=change.format("delete"))
    assert found.keys() == {"Apple devices find the portal"}
    told = found["Apple devices find the portal"]
    assert "gets through to the Internet before the grant" in told.detail
    assert "walled garden" in told.todo


def test_at_last_all_is_well_again(venue: Venue) -> None:
    assert faults(venue, "join", "names", "portal", "walls", "online") == {}
