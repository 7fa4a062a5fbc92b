import ipaddress
import re
import socket
import struct
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from captive.box.dnsmasq import render_dnsmasq
from crm.settings import Settings
from crm.settings_file import parse_settings
from tests.captive.golden_cases import CASES, dnsmasq_of, settings_of
from tests.captive.small_venue import (
    BOX4,
    BOX6,
    WORLD4,
    WORLD6,
    SmallVenue,
    eventually,
    needs_root,
    small_venue,
)
from tests.lab.certificates import Authority

A, AAAA, SVCB, HTTPS = 1, 28, 64, 65
HTTPS_RECORD = bytes.fromhex("00010000010006026832026833")
"""Priority 1, the name itself, ALPN h2 and h3 (RFC 9460)."""
NXDOMAIN = 3
API = "https://portal.example.vn/captive-portal/api"


@pytest.mark.parametrize("case", CASES)
def test_dnsmasq_takes_it(case: str):
    done = subprocess.run(
        ["dnsmasq", "--test", "--conf-file=/dev/stdin"],
        input=dnsmasq_of(case),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("case", CASES)
def test_the_api_is_named_only_with_a_certificate(case: str):
    settings = settings_of(case)
    without = render_dnsmasq(settings, api="", revocation=())
    assert not re.search(r"=114,|:103,|https", without)
    named = set(render_dnsmasq(settings, api=API, revocation=()).splitlines()) - set(without.splitlines())
    six = any(network.net6 for network in settings.networks)
    assert len(named) == 2 + six
    assert f"dhcp-option-force=114,{API}" in named
    assert (f"dhcp-option=option6:103,{API}" in named) == six


@pytest.mark.parametrize("case", CASES)
def test_dnsmasq_advertises_no_router(case: str):
    assert not re.search(r"\bra-|enable-ra|slaac", dnsmasq_of(case))


def test_who_vouches_for_the_certificate_may_be_asked_before_going_online():
    settings = settings_of("garden")
    line = next(line for line in garden_lines(settings, ()) if "#garden4" in line)
    more = next(line for line in garden_lines(settings, ("crl.example.org",)) if "#garden4" in line)
    assert "crl.example.org" not in line
    assert more.startswith("nftset=/crl.example.org/dichvucong.gov.vn/")


def garden_lines(settings: Settings, revocation: tuple[str, ...]) -> list[str]:
    return [
        line
        for line in render_dnsmasq(settings, api="", revocation=revocation).splitlines()
        if line.startswith("nftset=")
    ]


def test_clocks_are_kept_apart_from_the_garden_and_may_be_none():
    (line,) = garden_lines(parse_settings('[uplink]\nclocks = ["time.example"]\n'), ())
    assert line == "nftset=/time.example/4#inet#wificrm#clocks4,6#inet#wificrm#clocks6"
    assert garden_lines(parse_settings("[uplink]\nclocks = []\n"), ()) == []


@pytest.mark.parametrize("gateway", ["10.0.0.1/29", "10.0.0.6/29", "10.0.0.3/29"])
def test_the_pool_begins_and_ends_beside_the_gateway(gateway: str):
    settings = parse_settings(f'[network]\naddress4 = "{gateway}"\naddress6 = ""\n')
    line = next(
        line
        for line in render_dnsmasq(settings, api="", revocation=()).splitlines()
        if line.startswith("dhcp-range=")
    )
    first, last, mask, _ = line.removeprefix("dhcp-range=").split(",")
    assert settings.networks[0].net4.ip not in (ipaddress.ip_address(first), ipaddress.ip_address(last))
    assert mask == "255.255.255.248"
    assert int(ipaddress.ip_address(last)) - int(ipaddress.ip_address(first)) >= 4


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallVenue]:
    with small_venue(tmp_path_factory.mktemp("venue"), walled_garden=["garden.example"]) as made:
        folder = Path(made.folder)
        made.config.write_text(made.config.read_text() + '[portal]\nname = "portal.example.vn"\n')
        hosts = folder / "hosts"
        hosts.write_text(
            f"198.51.100.7 garden.example\n2001:db8::7 garden.example\n{WORLD4} www.example\n"
            f"{WORLD4} time.apple.com\n{WORLD6} time.apple.com\n198.51.100.8 crl.garden2.example\n"
            f"{WORLD4} mask.icloud.com\n10.1.2.3 intranet.example\n{WORLD4} use-application-dns.net\n"
        )
        provider = (
            f"--listen-address={WORLD4} --bind-interfaces --no-resolv --no-hosts -d --addn-hosts={hosts} "
            f"--dns-rr=www.example,{HTTPS},{HTTPS_RECORD.hex()} "
            f"--dns-rr=_dns.resolver.arpa,{SVCB},{HTTPS_RECORD.hex()}"
        )
        process = made.world.start(
            "dnsmasq", "--conf-file=/dev/null", "--pid-file=", "--user=root", *provider.split()
        )
        assert made.command("box.apply(settings)").returncode == 0
        try:
            assert eventually(lambda: made.resolve("www.example", A)[1])
            yield made
        finally:
            process.kill()
            process.communicate()


def packed(*addresses: str) -> list[bytes]:
    return [socket.inet_pton(socket.AF_INET6 if ":" in a else socket.AF_INET, a) for a in addresses]


@needs_root
@pytest.mark.lab
def tells_the_time(venue: SmallVenue, clock: str) -> bool:
    return venue.ask_udp(clock, 123) == "the time"


class TestAnswers:
    def test_the_world_is_answered_truthfully(self, venue: SmallVenue):
        assert venue.resolve("www.example", A) == (0, packed(WORLD4))

    def test_any_resolver_that_is_asked_turns_out_to_be_ours(self, venue: SmallVenue):
        assert venue.resolve("portal.example.vn", A, server="198.51.100.99") == (0, packed(BOX4))
        assert venue.resolve("portal.example.vn", A, server="2001:db8::99") == (0, packed(BOX4))

    def test_the_portal_has_its_name_in_both_families_and_no_other_record(self, venue: SmallVenue):
        assert venue.resolve("portal.example.vn", A) == (0, packed(BOX4))
        assert venue.resolve("portal.example.vn", AAAA) == (0, packed(BOX6))
        assert venue.resolve("portal.example.vn", HTTPS)[1] == []

    def test_nobody_is_led_to_an_encrypted_resolver(self, venue: SmallVenue):
        for kind in (A, AAAA, HTTPS):
            assert venue.resolve("use-application-dns.net", kind) == (NXDOMAIN, [])
        for kind in (A, AAAA, SVCB, HTTPS):
            assert venue.resolve("_dns.resolver.arpa", kind)[1] == []

    def test_nothing_else_is_bent(self, venue: SmallVenue):
        """HTTPS records, Apple's relay, and names with private addresses: whoever is asked says what is."""
        assert venue.resolve("www.example", HTTPS) == (0, [HTTPS_RECORD])
        assert venue.resolve("mask.icloud.com", A) == (0, packed(WORLD4))
        assert venue.resolve("intranet.example", A) == (0, packed("10.1.2.3"))

    def test_the_garden_opens_with_the_answer(self, venue: SmallVenue):
        venue.resolve("garden.example", A)
        venue.resolve("garden.example", AAAA)
        listed = venue.box.run("nft", "list", "table", "inet", "wificrm").stdout
        assert "198.51.100.7" in listed
        assert "2001:db8::7" in listed

    def test_a_clock_opens_with_the_answer_for_ntp_and_nothing_else(self, venue: SmallVenue):
        venue.serve(venue.world, 123, "the time")
        venue.serve(venue.world, 124, "something else")
        for kind, clock in ((A, WORLD4), (AAAA, WORLD6)):
            assert venue.ask_udp(clock, 123) != "the time"
            assert venue.resolve("time.apple.com", kind) == (0, packed(clock))
            assert eventually(partial(tells_the_time, venue, clock))
            assert venue.ask_udp(clock, 124) in ("No route to host", "Permission denied")
            assert venue.ask_tcp(clock, 123) == "ConnectionRefusedError"

    def test_who_vouches_for_the_certificate_may_be_asked_while_there_is_one(
        self, venue: SmallVenue, tmp_path: Path
    ):
        before = venue.config.read_text()
        pair = Authority(tmp_path / "ca").issue("tls", "portal.example.vn", revocation="garden2.example")
        try:
            venue.config.write_text(f'{before}certificate = "{pair[0]}"\nkey = "{pair[1]}"\n')
            assert venue.command("box.apply(settings)").returncode == 0
            assert venue.resolve("crl.garden2.example", A) == (0, packed("198.51.100.8"))
            assert (
                "198.51.100.8"
                in venue.box.run("nft", "list", "set", "inet", "wificrm", "garden4_guest").stdout
            )
            assert API in (Path(venue.settings.state) / "dnsmasq.conf").read_text()
        finally:
            venue.config.write_text(before)
            assert venue.command("box.apply(settings)").returncode == 0
        assert "garden2" not in (Path(venue.settings.state) / "dnsmasq.conf").read_text()

    def test_a_device_that_asks_too_much_is_not_answered_and_others_are(self, venue: SmallVenue):
        with venue.phone.socket(socket.AF_INET, socket.SOCK_DGRAM) as tunnel:
            tunnel.settimeout(2)
            name = b"\6portal\7example\2vn\0"
            for number in range(400):
                head = struct.pack(">HHHHHH", number, 0x0100, 1, 0, 0, 0)
                tunnel.sendto(head + name + struct.pack(">HH", A, 1), (BOX4, 53))
            answered = 0
            try:
                while tunnel.recv(512):
                    answered += 1
            except TimeoutError:
                pass
        assert 100 <= answered <= 300
        venue.phone.ip("link set wlan0 address 02:00:00:00:00:02")
        try:
            assert venue.resolve("www.example", A) == (0, packed(WORLD4))
        finally:
            venue.phone.ip("link set wlan0 address 02:00:00:00:00:01")
