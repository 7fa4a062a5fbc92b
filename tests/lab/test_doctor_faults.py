"""Faults planted one by one in a venue that is well: the doctor names each, and blames nothing else."""

import contextlib
import re
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from captive.doctor.phone import joining
from crm.settings_file import load_settings
from tests.lab.doctoring import ROGUE_MAC, faults, findings, nft, provider_with, resolver_with, rogue
from tests.lab.gateway import ADDRESS4, BRIDGE, NAME, Gateway
from tests.lab.venue import Venue, eventually

pytestmark = pytest.mark.lab

ADDRESS, TRUTH = "A phone asks for an address", "Names are answered truthfully"
SECURE = "Secure pages are refused at once (port 443)"
FORWARD = "chain c { type filter hook forward priority -10;"
NAT = "chain c { type nat hook prerouting priority -110;"


@pytest.fixture
def gateway(venue: Venue) -> Gateway:
    """The gateway, which the test must leave as it found it."""
    return venue.gateway


@pytest.fixture(autouse=True)
def hasty(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody else can speak up, nobody is waited for."""
    if "second_dhcp" not in request.node.name:
        monkeypatch.setattr(joining, "GATHER_SECONDS", 0.6)
        monkeypatch.setattr(joining, "OFFER_SECONDS", 2.0)


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


def test_names_are_dropped_on_their_way_to_the_resolver(venue: Venue, gateway: Gateway) -> None:
    with nft(gateway.namespace, "chain c { type filter hook input priority -10; udp dport 53 drop; }"):
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
    wanted = f"Location: {scheme}://{NAME}/"
    ask = ("curl", "-si", "-H", "Host: odd.example", f"http://{ADDRESS4}:8080/")
    return eventually(lambda: wanted in gateway.namespace.run(*ask))


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


# -- what guests may and may not ------------------------------------------------------------------


def test_port_443_is_dropped(venue: Venue, gateway: Gateway) -> None:
    with nft(gateway.namespace, f"{FORWARD} tcp dport 443 drop; }}"):
        found = faults(venue, "walls")
    assert found.keys() == {SECURE}
    assert "dropped in silence" in found[SECURE].detail


def test_port_443_is_intercepted(venue: Venue, gateway: Gateway) -> None:
    with nft(gateway.namespace, f'{NAT} iifname "{BRIDGE}" tcp dport 443 redirect to :8443; }}'):
        found = faults(venue, "walls")
    assert found.keys() == {SECURE}
    assert "a certificate that is not its own" in found[SECURE].detail


def test_quic_is_dropped(venue: Venue, gateway: Gateway) -> None:
    with nft(gateway.namespace, f"{FORWARD} udp dport 443 drop; }}"):
        found = faults(venue, "walls")
    assert found.keys() == {"QUIC is refused at once (UDP 443)"}


def test_the_gate_is_stopped_then_the_staff_pages_are_open_then_the_table_goes(
    venue: Venue, gateway: Gateway
) -> None:
    gateway.stop("gate")
    try:
        found = faults(venue, "online")
        assert found.keys() == {"gate"}
        assert "nobody new comes online" in found["gate"].detail
        rule = ("insert", "rule", "inet", "wificrm", "to_box", "tcp", "dport", "8081", "accept")
        gateway.namespace.run("nft", *rule)
        found = faults(venue, "walls")
        # Without the gate nobody isolates the ports of the phones that are played.
        assert found.keys() == {"gate", "Staff pages are out of reach", "Guests do not reach each other"}
        assert f"guests reach them at {ADDRESS4}:8081" in found["Staff pages are out of reach"].detail
        gateway.namespace.run("nft", "delete", "table", "inet", "wificrm")
        found = faults(venue)
        assert found.keys() == {"gate", "firewall table"}
        assert "our table is not in the kernel" in found["firewall table"].detail
    finally:
        gateway.start_gate()
        gateway.wait("gate")
    assert eventually(lambda: not faults(venue))


# -- the way to the Internet ----------------------------------------------------------------------


def test_the_uplink_is_dead(venue: Venue) -> None:
    cut = 'chain c { type filter hook prerouting priority -400; iifname "venue" drop; }'
    with nft(venue.internet.namespace, cut):
        found = faults(venue, "names", "portal", "walls", "online")
    assert found.keys() == {"uplink"}
    assert "dead: none of 8.8.8.8" in found["uplink"].detail


def test_another_firewall_drops_what_is_forwarded(venue: Venue, gateway: Gateway) -> None:
    with nft(gateway.namespace, f'{FORWARD} oifname "uplink0" drop; }}'):
        found = faults(venue, "online")
    assert found.keys() == {"The Internet answers"}
    assert "nothing passes" in found["The Internet answers"].detail
    assert "table inet foreign drops what is forwarded" in found["The Internet answers"].todo
    with nft(gateway.namespace, f"{FORWARD} policy drop; }}"):
        found = faults(venue)
    assert found.keys() == {"gateway"}
    assert "chain c of table inet foreign drops by default" in found["gateway"].detail


def test_forwarding_is_off(venue: Venue, gateway: Gateway) -> None:
    gateway.namespace.sysctl({"net.ipv4.ip_forward": 0})
    try:
        found = faults(venue, "online")
    finally:
        gateway.namespace.sysctl({"net.ipv4.ip_forward": 1})
    assert found.keys() == {"forwarding", "The Internet answers"}
    assert "nothing passes over IPv4" in found["The Internet answers"].detail
    assert "forwarding is off, see above" in found["The Internet answers"].todo


# -- the box --------------------------------------------------------------------------------------


def test_the_disk_is_full(venue: Venue, gateway: Gateway, tmp_path: Path) -> None:
    """The stores lie on a small disk; the portal is left alone with its own."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", tmp_path], check=True)
    try:
        settings = load_settings(gateway.settings)
        for name in ("crm.db", "access.db"):
            with contextlib.closing(sqlite3.connect(gateway.home / "data" / name)) as store:
                store.execute("VACUUM INTO ?", (str(tmp_path / name),))
        stores = msgspec.structs.replace(
            settings.store, crm=str(tmp_path / "crm.db"), access=str(tmp_path / "access.db")
        )
        found = faults(venue, settings=msgspec.structs.replace(settings, store=stores))
    finally:
        subprocess.run(["umount", tmp_path], check=True)
    assert found.keys() == {"disk"}
    assert "full: " in found["disk"].detail


def test_the_clock_shows_1970(gateway: Gateway, tmp_path: Path) -> None:
    library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    faked = (f"LD_PRELOAD={library}", "FAKETIME=@1970-01-01 00:10:00", "FAKETIME_DONT_FAKE_MONOTONIC=1")
    command = gateway._wificrm("doctor", "--quick", "--json", environment=faked)
    done = subprocess.run(
        gateway.namespace.command(*command), capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 1, done.stderr
    found = {each["what"]: each for each in msgspec.json.decode(done.stdout) if each["state"] == "fault"}
    assert found.keys() == {"clock"}
    assert "1970-01-01" in found["clock"]["detail"]


def test_a_store_is_of_an_older_schema(venue: Venue, gateway: Gateway) -> None:
    with contextlib.closing(sqlite3.connect(gateway.home / "data/crm.db")) as store:
        [(now,)] = store.execute("SELECT version_num FROM alembic_version").fetchall()
        with store:
            store.execute("UPDATE alembic_version SET version_num = '0000'")
        try:
            found = faults(venue)
        finally:
            with store:
                store.execute("UPDATE alembic_version SET version_num = ?", (now,))
    assert found.keys() == {"crm store"}
    assert "of an older schema" in found["crm store"].detail
    assert found["crm store"].todo == "run: wificrm migrate"


def test_at_last_all_is_well_again(venue: Venue) -> None:
    assert faults(venue, "join", "names", "portal", "walls", "online") == {}
