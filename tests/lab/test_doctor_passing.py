"""Faults of what is shut, of the way to the Internet, of the box: each planted, named, nothing else blamed."""

import contextlib
import http.server
import socket
import sqlite3
import subprocess
import threading
from pathlib import Path

import msgspec
import pytest

from captive.doctor.phone import web
from crm.settings_file import load_settings
from tests.lab.doctoring import faults, findings, nft
from tests.lab.gateway import ADDRESS4, BRIDGE, Gateway
from tests.lab.venue import Venue, eventually
from tests.mounted import mounted

pytestmark = pytest.mark.lab

SECURE = "Secure pages are refused at once (port 443)"
FORWARD = "chain c { type filter hook forward priority -10;"
NAT = "chain c { type nat hook prerouting priority -110;"


@pytest.fixture
def gateway(venue: Venue) -> Gateway:
    """The gateway, which the test must leave as it found it."""
    return venue.gateway


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


class Login(http.server.BaseHTTPRequestHandler):
    """Somebody else's portal: whoever asks is sent to it."""

    def do_GET(self) -> None:
        self.send_response(302)
        self.send_header("Location", "http://hotel.example/\x1b[2Jlogin")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_another_portal_stands_above_this_box(venue: Venue) -> None:
    """Connections and names pass, so that all seems well; only pages are the other's."""
    space = venue.internet.namespace
    with http.server.HTTPServer(("0.0.0.0", 8099), Login, bind_and_activate=False) as login:
        login.socket.close()
        login.socket = space.open_socket(socket.AF_INET, socket.SOCK_STREAM)
        login.server_bind()
        login.server_activate()
        threading.Thread(target=login.serve_forever, daemon=True).start()
        with nft(space, f'{NAT} iifname "venue" tcp dport 80 redirect to :8099; }}'):
            found = faults(venue)
        login.shutdown()
    assert found.keys() == {"uplink"}
    assert "another portal stands between" in found["uplink"].detail
    assert "sent to http://hotel.example/?[2Jlogin" in found["uplink"].detail


def test_large_packets_are_lost_above_this_box(venue: Venue, monkeypatch: pytest.MonkeyPatch) -> None:
    """As behind PPPoE where nobody says that packets must be smaller: connections open, and no page comes."""
    monkeypatch.setattr(web, "SECONDS", 1.5)
    lost = 'chain c { type filter hook output priority -400; oifname "venue" tcp sport 443 meta length > 600 drop; }'
    with nft(venue.internet.namespace, lost):
        found = faults(venue, "online")
    assert found.keys() == {"Secure pages, encrypted names and UDP pass"}
    told = found["Secure pages, encrypted names and UDP pass"]
    assert "what is large is lost" in told.detail
    assert "mtu 1400" in told.todo


def test_another_firewall_drops_what_is_forwarded(venue: Venue, gateway: Gateway) -> None:
    with nft(gateway.namespace, f'{FORWARD} oifname "uplink0" drop; }}'):
        found = faults(venue, "online")
    assert found.keys() == {"The Internet answers"}
    assert "nothing passes" in found["The Internet answers"].detail
    assert "table inet foreign drops what is forwarded" in found["The Internet answers"].todo
    gateway.namespace.sysctl({"net.ipv4.ip_forward": 0})
    try:
        with nft(gateway.namespace, f"{FORWARD} policy drop; }}"):
            found = faults(venue)
    finally:
        gateway.namespace.sysctl({"net.ipv4.ip_forward": 1})
    assert found.keys() == {"gateway", "forwarding"}, "one does not hide the other"
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


def test_settings_that_were_changed_and_not_applied(venue: Venue, gateway: Gateway) -> None:
    """All still runs by the former ones: held against the new ones, everything would look broken."""
    settings = load_settings(gateway.settings)
    changed = msgspec.structs.replace(settings.portal, port=9090)
    told = findings(venue, "join", "portal", settings=msgspec.structs.replace(settings, portal=changed))
    assert [each.what for each in told if each.state == "fault"] == ["settings"]
    assert {each.part for each in told} == {"box"}


def test_a_bridge_that_lost_its_address(venue: Venue, gateway: Gateway) -> None:
    """As when the system's network service started anew: dnsmasq, portal and certificate are innocent."""
    gateway.namespace.ip(f"address delete {ADDRESS4}/24 dev {BRIDGE}")
    try:
        found = faults(venue, "join", "portal")
    finally:
        gateway.namespace.ip(f"address add {ADDRESS4}/24 dev {BRIDGE}")
    assert found.keys() == {"gateway"}
    assert found["gateway"].todo == f"ip address add {ADDRESS4}/24 dev {BRIDGE}"


def test_a_gateway_that_is_not_up(venue: Venue, gateway: Gateway) -> None:
    """What waits for it is not blamed, and no phone is played."""
    memory = gateway.home / "state/gateway.json"
    memory.rename(gateway.home / "gateway.json")
    try:
        found = faults(venue, "join", "portal")
    finally:
        (gateway.home / "gateway.json").rename(memory)
    assert found.keys() == {"gateway"}
    assert found["gateway"].todo == "run: wificrm gateway apply"


def test_no_access_point_is_plugged_in(venue: Venue, gateway: Gateway) -> None:
    gateway.namespace.ip("link set ap0 down")
    try:
        found = faults(venue)
    finally:
        gateway.namespace.ip("link set ap0 up")
    assert found.keys() == {"access points"}
    assert f"none at {BRIDGE}" in found["access points"].detail


def test_the_disk_is_full(venue: Venue, gateway: Gateway, tmp_path: Path) -> None:
    """The stores lie on a small disk; the portal is left alone with its own."""
    with mounted(tmp_path, "-t", "tmpfs", "-o", "size=4m", "tmpfs"):
        settings = load_settings(gateway.settings)
        for name in ("crm.db", "access.db"):
            with contextlib.closing(sqlite3.connect(gateway.home / "data" / name)) as store:
                store.execute("VACUUM INTO ?", (str(tmp_path / name),))
        stores = msgspec.structs.replace(
            settings.store, crm=str(tmp_path / "crm.db"), access=str(tmp_path / "access.db")
        )
        found = faults(venue, settings=msgspec.structs.replace(settings, store=stores))
    assert found.keys() == {"disk"}
    assert "full: " in found["disk"].detail


def test_the_clock_shows_1970(gateway: Gateway, tmp_path: Path) -> None:
    library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    # The monotonic clock is faked, too: else libfaketime makes each time.sleep() one of fifty years.
    faked = (f"LD_PRELOAD={library}", "FAKETIME=@1970-01-01 00:10:00")
    command = gateway._wificrm("doctor", "--quick", "--json", environment=faked)
    done = subprocess.run(
        gateway.namespace.command(*command), capture_output=True, text=True, timeout=120, check=False
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
    assert faults(venue, "portal", "walls", "online") == {}
