"""The doctor on odd boxes: what it says of them, and of itself where it breaks; never a traceback."""

import asyncio
import contextlib
import errno
import http.client
import http.server
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from ipaddress import IPv4Address
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from captive.certificate import Verdict
from captive.demo import demo_settings
from captive.doctor import examination, machine, portal, processes, readiness, stores, trial, uplink, walls
from captive.doctor import join as joining
from captive.doctor.certificate import look_at_certificate
from captive.doctor.clock import how_far_ahead, look_at_clock
from captive.doctor.examination import ITSELF, PLAYED, examine
from captive.doctor.finding import Finding, Notes, as_text
from captive.doctor.phone import dhcp
from captive.doctor.phone.attempts import any_open
from captive.doctor.phone.probes import PROBES
from captive.doctor.phone.resolving import SILENT, Reply
from captive.doctor.phone.web import Page
from captive.doctor.portal import Look
from captive.doctor.radio import look_at_radios
from captive.doctor.trial import Trials
from captive.doctor.watch import look_at_watch
from captive.gate import hostapd
from captive.kernel import sysctls
from captive.watch.state_file import Counters, state_path, write_counters
from crm.settings import Gate, Metrics, Network, Portal, Settings, StoreSection, Uplink
from crm.store import open_store
from tests.free_ports import free_port
from tests.waiting import until


def doctor(*arguments: str, settings: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "captive.cli", "doctor", *arguments, "--config", str(settings)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_settings_that_cannot_be_read_are_a_fault_also_for_a_monitor(tmp_path: Path) -> None:
    path = tmp_path / "wificrm.toml"
    path.write_text("[portal]\nport = 'eighty'\n")
    done = doctor("--quick", "--json", settings=path)
    [found] = msgspec.json.decode(done.stdout, type=list[Finding])
    assert (done.returncode, done.stderr, found.what, found.state) == (1, "", "settings", "fault")
    assert f"{path}:2: portal.port" in found.detail


async def test_what_breaks_the_doctor_is_told_as_its_own_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_settings: Settings) -> list[Finding]:
        devices: dict[str, Finding] = {}
        return [devices["02:1a:b0:00:00:01"]]

    monkeypatch.setattr(examination, "look_at_routers", broken)
    found = await examine(demo_settings(8000, tmp_path), PLAYED)
    [own] = [each for each in found if each.what == ITSELF]
    assert own.state == "fault"
    assert own.detail.startswith("failed here (KeyError in test_doctor_box.py, line ")
    assert "02:1a" not in own.detail
    assert {"crm store", "portal", "clock", "disk", "A phone"} <= {each.what for each in found}


def test_what_strangers_say_steers_no_terminal_and_begins_no_line() -> None:
    notes = Notes()
    notes.warn("x", "sent to \x1b[2J\nFAULT    y: " + "z" * 5_000, "see")
    assert "\x1b" not in as_text(notes.findings)
    assert len(as_text(notes.findings).splitlines()) == 5
    assert len(notes.findings[0].detail) == 600


def test_a_kernel_without_ipv6_reaches_nobody_by_it() -> None:
    def without(family: int, *_: int) -> socket.socket:
        raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")

    assert not any_open(without, ["2620:fe::fe"], 443)


# -- the radio ---------------------------------------------------------------------------------


HOSTAPD = shutil.which("hostapd", path="/usr/sbin:/usr/bin")


@pytest.mark.skipif(not HOSTAPD, reason="needs hostapd")
async def test_a_radio_that_is_not_on_the_air_is_told(tmp_path: Path) -> None:
    """A real hostapd that has no radio; disabled as by `hostapd_cli disable`, and gone at last."""
    control = tmp_path / "control"
    (tmp_path / "hostapd.conf").write_text(f"interface=air0\ndriver=none\nctrl_interface={control}\nssid=x\n")
    settings = Settings(networks=(Network(interface="none0", hostapd=(f"{control}/air0",)),))
    process = subprocess.Popen([str(HOSTAPD), str(tmp_path / "hostapd.conf")], stdout=subprocess.DEVNULL)
    try:
        await until(lambda: look_at_radios(settings)[0].state == "ok")
        with hostapd.connect(f"{control}/air0") as asked:
            asked.send(b"DISABLE")
            assert asked.recv(64) == b"OK\n"
        [disabled] = look_at_radios(settings)
    finally:
        process.kill()
        process.wait()
    [gone] = look_at_radios(settings)
    assert (disabled.state, gone.state) == ("fault", "fault")
    assert "not on the air (DISABLED)" in disabled.detail
    assert f"nobody answers at {control}/air0 (Connection refused)" in gone.detail
    assert gone.todo == "systemctl status 'hostapd*'"


# -- connections -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("known", "most", "state"),
    [(300, 8192, "ok"), (7000, 8192, "warning"), (8192, 8192, "fault")],
)
def test_a_kernel_that_remembers_no_more_connections_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: int, most: int, state: str
) -> None:
    monkeypatch.setattr(sysctls, "HOME", tmp_path)
    (tmp_path / "net/netfilter").mkdir(parents=True)
    (tmp_path / sysctls.FLOWS_KNOWN).write_text(str(known))
    (tmp_path / sysctls.FLOWS_KEPT).write_text(str(most))
    notes = Notes()
    processes._flows(notes)
    [found] = notes.findings
    assert found.state == state
    assert bool(found.todo) == (state != "ok")


# -- the watch ---------------------------------------------------------------------------------


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Puts a program that does this much in place of the box's own; nothing else here is called."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")

    def put(name: str, text: str) -> None:
        path = tmp_path / "bin" / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    return put


def watched(tmp_path: Path, age: float | None) -> Settings:
    """A box with guests, whose watch wrote its file so many seconds ago; None: there is none."""
    settings = Settings(state=str(tmp_path / "state"))
    if age is not None:
        path = state_path(settings)
        path.parent.mkdir()
        write_counters(path, Counters())
        os.utime(path, (time.time() - age,) * 2)
    return settings


@pytest.mark.parametrize("age", [None, 600.0, -600.0])
def test_a_watch_that_is_to_run_and_does_not_is_told(
    tmp_path: Path, program: Callable[[str, str], None], age: float | None
) -> None:
    program("systemctl", '[ "$*" = "is-enabled wificrm-watch.service" ]')
    [found] = look_at_watch(watched(tmp_path, age))
    assert (found.what, found.state) == ("watch", "warning")
    assert "systemctl start wificrm-watch; journalctl -u wificrm-watch -n 50 says why" in found.todo
    assert "systemctl disable --now wificrm-watch" in found.todo


@pytest.mark.parametrize(("age", "told"), [(None, "not used"), (600.0, "not used"), (30.0, "looks out")])
@pytest.mark.parametrize("systemctl", ["exit 1", "echo disabled; exit 1", "echo 'No such file' >&2; exit 4"])
def test_a_watch_that_nobody_has_set_up_is_not_missed(
    tmp_path: Path, program: Callable[[str, str], None], age: float | None, told: str, systemctl: str
) -> None:
    program("systemctl", systemctl)
    [found] = look_at_watch(watched(tmp_path, age))
    assert found.state == "ok"
    assert found.detail.startswith(told)


def test_where_the_extra_is_not_installed_no_watch_is_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: Callable[[str, str], None]
) -> None:
    """The installer enables every unit that is there."""
    program("systemctl", "exit 0")
    monkeypatch.setattr("captive.doctor.watch.find_spec", lambda _: None)
    [found] = look_at_watch(watched(tmp_path, None))
    assert (found.state, found.detail) == ("ok", "not used: it needs scapy, which is not installed")


def test_a_system_that_hangs_holds_up_no_doctor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: Callable[[str, str], None]
) -> None:
    monkeypatch.setattr("captive.doctor.watch.PATIENCE", 0.2)
    program("systemctl", "exec sleep 60")
    [found] = look_at_watch(watched(tmp_path, None))
    assert (found.state, found.detail) == ("skipped", "cannot be seen: systemctl does not answer")


@pytest.mark.parametrize(
    ("uci", "state"), [("echo 0", "ok"), ("echo off", "ok"), ("echo 1", "warning"), ("exit 1", "warning")]
)
def test_on_openwrt_the_settings_say_whether_there_is_a_watch(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    program: Callable[[str, str], None],
    uci: str,
    state: str,
) -> None:
    for module in ("captive.doctor.watch", "crm.commands_here"):
        monkeypatch.setattr(f"{module}.OPENWRT", tmp_path)
    program("systemctl", "exit 1")
    program("uci", f'[ "$*" = "-q get wificrm.main.watch" ] && {uci}')
    [found] = look_at_watch(watched(tmp_path, None))
    assert found.state == state
    assert "systemctl" not in found.todo


def test_where_there_is_nobody_to_hear_there_is_no_watch(
    tmp_path: Path, program: Callable[[str, str], None]
) -> None:
    program("systemctl", "exit 0")
    assert look_at_watch(msgspec.structs.replace(watched(tmp_path, None), networks=())) == []
    assert look_at_watch(demo_settings(8000, tmp_path)) == []


# -- stores ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [3.0, 0.0])
def test_a_store_is_looked_through_whatever_its_name_and_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    monkeypatch.setattr(stores, "CHECK_SECONDS", seconds)
    path = tmp_path / "100%#1?.db"
    with contextlib.closing(sqlite3.connect(path)) as store, store:
        store.execute("CREATE TABLE t (x TEXT)")
        store.executemany("INSERT INTO t VALUES (?)", [("x" * 900,)] * 5_000)
        store.execute("CREATE INDEX i ON t (x)")
    assert stores._integrity(path) == "ok"
    octets = bytearray(path.read_bytes())
    octets[4096:8192] = os.urandom(4096)
    path.write_bytes(octets)
    assert stores._integrity(path) != "ok"


# -- disk, gate, portal -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("disk", "state", "words"),
    [
        ({}, "ok", "1000 MiB free in"),
        ({"f_flag": os.ST_RDONLY}, "fault", "read-only: nothing can be kept in"),
        ({"f_favail": 5}, "fault", "room for 5 more files only"),
        ({"f_files": 0, "f_favail": 0}, "ok", "1000 MiB free in"),  # btrfs counts none
        ({"f_bavail": 2**10}, "fault", "full: 4 MiB free in"),
    ],
)
def test_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, disk: dict[str, int], state: str, words: str
) -> None:
    well = {"f_bavail": 250 * 2**10, "f_frsize": 2**12, "f_flag": 0, "f_files": 2**16, "f_favail": 2**15}
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(**(well | disk)))
    # A crm store on a server elsewhere leaves the access store here.
    stores = StoreSection(crm="postgresql://wificrm@elsewhere/crm", access=str(tmp_path / "access.db"))
    found = [each for each in machine.look_at_machine(Settings(store=stores)) if each.what == "disk"]
    assert [each.state for each in found] == [state]
    assert words in found[0].detail
    assert bool(found[0].todo) == (state != "ok")


async def test_a_gate_that_hangs_is_to_be_started_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asked before and hung up still fills the queue of those who wait: it must not wait for ever."""
    monkeypatch.setattr(processes, "PATIENCE", 0.2)
    monkeypatch.setattr("captive.gateway.TIMEOUT", 0.2)
    path = str(tmp_path / "gate.sock")
    with contextlib.ExitStack() as stack:
        hanging = stack.enter_context(socket.socket(socket.AF_UNIX))
        hanging.bind(path)
        hanging.listen(0)
        stack.enter_context(socket.socket(socket.AF_UNIX)).connect(path)
        notes = Notes()
        await processes._gate(notes, Settings(gate=Gate(socket=path), networks=(Network(),)))
    [found] = notes.findings
    assert found.state == "fault"
    assert "does not answer" in found.detail
    assert "systemctl restart wificrm-gate" in found.todo


async def test_a_portal_that_hangs_is_to_be_started_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        settings = demo_settings(hanging.getsockname()[1], Path("nowhere"))
        notes = Notes()
        await processes._portal(notes, settings)
    [found] = notes.findings
    assert "it hangs" in found.detail
    assert "systemctl restart wificrm" in found.todo


@contextlib.contextmanager
def told(text: str) -> Iterator[Settings]:
    """The settings of a portal whose /readyz says *text*."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(503)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Settings(metrics=Metrics(address="0.0.0.0", port=server.server_address[1]))
        server.shutdown()


def test_what_the_portals_user_may_not_do_and_root_may_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    said = (
        "crm store: answers cannot be kept; see wificrm doctor\naccess store: ok\ngate: it does not answer\n"
    )
    with told(said + "first page: not rendered yet\ncertificate: plain http: expired\n") as settings:
        found = readiness.ask_portal(settings, {"gate"})
        assert [(each.what, each.state, each.detail) for each in found] == [
            ("crm store", "fault", "the portal says: answers cannot be kept")
        ]
        assert "may the portal's user write" in found[0].todo
        assert readiness.ask_portal(settings, {"portal"}) == []
    with told(
        "crm store: ok\naccess store: ok\nfirst page: ok\ncertificate: plain http: expired\n"
    ) as settings:
        assert [each.state for each in readiness.ask_portal(settings, ())] == ["ok"]
    monkeypatch.setattr(readiness, "PAUSE", 0)
    [nobody] = readiness.ask_portal(Settings(metrics=Metrics(port=free_port())), ())
    assert nobody.state == "warning"
    assert readiness.ask_portal(Settings(metrics=Metrics(port=0)), ()) == []


# -- the uplink ---------------------------------------------------------------------------------


class Way:
    """A way to the Internet that is as the test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.families, self.pages, self.seconds = {4, 6}, "Internet", 0.0
        self._now = 0.0
        self.dates = {"Apple": "", "Android": ""}
        """What the makers' servers say of the time."""
        self.routes = '[{"dst": "default", "dev": "eth0"}]'
        """What ip(8) says of the default route."""
        monkeypatch.setattr(uplink, "run_ip", lambda *_: SimpleNamespace(returncode=0, stdout=self.routes))
        monkeypatch.setattr(uplink, "any_open", self._any_open)
        monkeypatch.setattr(uplink, "resolve", self._resolve)
        monkeypatch.setattr(uplink, "ask", self._ask)
        monkeypatch.setattr(uplink, "time", SimpleNamespace(monotonic=lambda: self._now))

    def _any_open(self, _make: object, targets: tuple[str, ...], _port: int) -> bool:
        return (6 if ":" in targets[0] else 4) in self.families

    def _resolve(self, *_: object, **__: object) -> Reply:
        self._now += self.seconds
        return Reply(0, (IPv4Address("192.0.2.1"),))

    def _ask(self, _make: object, _address: str, url: str, **_: object) -> Page:
        [probe] = {each.url: each for each in PROBES if each.url == url}.values()
        headers = http.client.HTTPMessage()
        if date := self.dates["Apple" if "apple" in url else "Android"]:
            headers["Date"] = date
        if self.pages == "Internet":
            return Page(probe.status, headers, probe.body)
        if self.pages == "in trouble":
            return Page(503, headers, "")
        raise ConnectionResetError

    def look(self, *networks: Network) -> tuple[uplink.Uplink, dict[str, Finding]]:
        settings = Settings(uplink=Uplink(dns=("192.0.2.53#5353",)), networks=networks or (Network(),))
        found, findings = uplink.look_at_uplink(settings)
        return found, {each.what: each for each in findings}


@pytest.fixture
def way(monkeypatch: pytest.MonkeyPatch) -> Way:
    return Way(monkeypatch)


@pytest.mark.parametrize("pages", ["Internet", "in trouble", "none"])
def test_an_uplink_that_is_well_is_so_whatever_one_makers_server_does(way: Way, pages: str) -> None:
    way.pages = pages
    found, told = way.look()
    assert {each.state for each in told.values()} == {"ok"}
    assert (found.four, found.six, found.resolvers, found.tries) == (True, True, True, 2)


def test_who_keeps_public_resolvers_away_is_no_dead_uplink(way: Way) -> None:
    way.families = set()
    found, told = way.look()
    assert told["uplink"].state == "warning"
    assert "pages open over eth0, but none of 8.8.8.8" in told["uplink"].detail
    assert not found.four
    way.pages = "none"
    assert way.look()[1]["uplink"].state == "fault"


def test_an_internet_that_is_reached_over_another_interface_is_none_for_guests(way: Way) -> None:
    way.routes = '[{"dst": "default", "dev": "wwan0"}]'
    found, told = way.look()
    assert (told["uplink"].state, found.four, found.six) == ("fault", False, False)
    assert "leads over wwan0, and guests are let out over eth0 only" in told["uplink"].detail
    assert 'uplink.interface = "wwan0"' in told["uplink"].todo
    way.routes = '[{"dst": "default", "nexthops": [{"dev": "wwan0"}, {"dev": "eth0"}]}]'
    assert way.look()[1]["uplink"].state == "ok"


def test_a_dead_ipv6_is_told_where_guests_get_addresses_of_the_internet(way: Way) -> None:
    way.families = {4}
    assert "uplink, IPv6" not in way.look()[1], "addresses of the house's own: phones prefer IPv4"
    told = way.look(Network(address6="2001:db8:7::1/64"))[1]["uplink, IPv6"]
    assert told.state == "warning"
    assert "guests get addresses of 2001:db8:7::/64" in told.detail


def test_slow_resolvers_are_told_and_given_more_time(way: Way) -> None:
    way.seconds = 1.5
    found, told = way.look()
    assert told["the provider's resolvers"].state == "warning"
    assert "slow: 192.0.2.53#5353 (1.5 s)" in told["the provider's resolvers"].detail
    assert found.tries == 3


# -- the clock ----------------------------------------------------------------------------------


def dated(ago: float) -> str:
    """A moment so many seconds ago, as servers write it."""
    return format_datetime(datetime.now(UTC) - timedelta(seconds=ago), usegmt=True)


@pytest.mark.parametrize(
    ("apple", "android", "state", "words"),
    [
        (0, 0, "ok", "UTC"),
        (7 * 3600, 7 * 3600, "warning", "7 hours ahead of the Internet's"),
        (20 * 365 * 86_400, 20 * 365 * 86_400, "fault", "7300 days ahead of the Internet's"),
        (-90 * 86_400, "", "fault", "90 days behind the Internet's"),
        (400 * 86_400, 4, "ok", "UTC"),  # one server alone is wrong
        ("yesterday", "Sun, 99 Nov 2026 10:00:00 GMT", "ok", "UTC"),
        ("", "", "ok", "UTC"),
    ],
)
def test_a_clock_that_is_wrong_is_told_by_what_is_asked_anyway(
    way: Way, apple: int | str, android: int | str, state: str, words: str
) -> None:
    told = {"Apple": apple, "Android": android}
    way.dates = {name: dated(each) if isinstance(each, int) else each for name, each in told.items()}
    [found] = look_at_clock(way.look()[0].ahead)
    assert (found.what, found.state) == ("clock", state)
    assert words in found.detail
    assert bool(found.todo) == (state != "ok")


def test_what_a_cache_has_kept_and_what_another_portal_says_is_not_the_time(way: Way) -> None:
    headers = http.client.HTTPMessage()
    headers["Date"], headers["Age"] = dated(86_400), "86390"
    assert (ahead := how_far_ahead([Page(204, headers, "")], datetime.now(UTC))) is not None
    assert 0 < ahead < 60
    way.dates, way.pages = dict.fromkeys(way.dates, dated(86_400)), "in trouble"
    assert way.look()[0].ahead is None


@pytest.mark.parametrize(
    ("ahead", "state", "words"),
    [
        (300 * 86_400.0, "skipped", "while the clock is wrong, nobody can tell"),
        (2.0, "fault", "put a good one into"),
        (None, "fault", f"see whether it is {datetime.now(UTC):%Y}-"),
    ],
)
def test_a_certificate_is_not_blamed_for_the_clock(ahead: float | None, state: str, words: str) -> None:
    settings = Settings(portal=Portal(name="p.example", certificate="c", key="k"), networks=())
    verdict = Verdict("expired on 2026-02-01; renew it", 1.0, datetime.now(UTC).timestamp() - 86_400)
    [found] = look_at_certificate(settings, verdict, ahead)
    assert (found.what, found.state) == ("certificate", state)
    assert words in found.detail + found.todo
    assert ("see whether it is" in found.todo) == (ahead is None)


# -- the phone ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "detail", "todo"),
    [
        ("odd", "sent to http://old.example/, not to http://new.example/", "systemctl restart wificrm"),
        ("silent", "no answer", "nft list ruleset"),
    ],
)
def test_what_keeps_all_phones_from_the_portal_is_told_once(outcome: Any, detail: str, todo: str) -> None:
    notes, play = Notes(), SimpleNamespace(families=(4, 6), suspects="nft list ruleset")
    looks = [Look(probe, family, outcome, detail) for probe in PROBES for family in (4, 6)]
    portal._tell_probes(notes, play, looks)  # type: ignore[arg-type]
    assert [each.what for each in notes.findings] == [portal.REDIRECT] * 2, "once for each family"
    assert all(each.state == "fault" and todo in each.todo for each in notes.findings)


@pytest.mark.parametrize(
    ("four", "faults", "state"),
    [(True, set(), "fault"), (True, {"gateway"}, "skipped"), (False, set(), "skipped")],
)
def test_silence_of_a_known_cause_is_told_once(
    monkeypatch: pytest.MonkeyPatch, four: bool, faults: set[str], state: str
) -> None:
    """Another's table that drops all; or no route: then the kernel refuses only now and then, once a second."""
    monkeypatch.setattr(walls, "attempts", SimpleNamespace(**dict.fromkeys(("tcp", "udp", "ping"), silent)))
    monkeypatch.setattr(walls, "time", SimpleNamespace(sleep=lambda _: None))
    notes = Notes()
    play: Any = SimpleNamespace(
        box=SimpleNamespace(uplink=uplink.Uplink(four, six=False, resolvers=False), faults=faults),
        phone=SimpleNamespace(make_socket=None),
        families=(4,),
        resolve=lambda *_: Reply(SILENT),
        each=lambda work, items: list(map(work, items)),
        suspects="nft list ruleset",
    )
    for tell in (walls._tell_quic, walls._tell_secure, walls._tell_out):
        tell(notes, play)
    assert [each.state for each in notes.findings] == [state] * 3


def silent(*_: Any, **__: Any) -> str:
    return "silent"


@pytest.mark.parametrize(
    ("server", "router", "address", "why", "todo"),
    [
        ("10.0.0.1", "10.9.9.9", "10.0.0.66", "Nexthop has invalid gateway", "a second DHCP server"),
        (
            "192.168.50.1",
            "192.168.50.254",
            "192.168.50.66",
            "the router is 192.168.50.1",
            "wificrm gateway apply",
        ),
    ],
)
def test_an_address_that_no_phone_can_use_is_a_fault_of_who_gave_it(
    monkeypatch: pytest.MonkeyPatch, server: str, router: str, address: str, why: str, todo: str
) -> None:
    """A stranger's server, met where ports are not isolated: its router stands outside its network. Or our own."""

    def set_address(*_: Any) -> None:
        if server == "10.0.0.1":
            raise OSError(2, "ip: Error: Nexthop has invalid gateway.")

    given_back: list[dhcp.Message] = []
    said = {dhcp.SERVER: server, dhcp.ROUTER: router, dhcp.SUBNET: "255.255.255.0"}
    options = {option: socket.inet_aton(each) for option, each in said.items()}
    monkeypatch.setattr(joining, "ask_for_address", lambda *_: (True, dhcp.Message(7, address, options)))
    monkeypatch.setattr(joining, "release", lambda _, lease: given_back.append(lease))
    network = Network(address6="")
    play: Any = SimpleNamespace(
        network=network,
        phone=SimpleNamespace(set_address=set_address),
        own4="192.168.50.1",
        lease=None,
        settings=None,
    )
    [found] = joining.join(play, thorough=False)
    assert found.state == "fault"
    assert f"got {address}/24 and router {router} from {server}, of no use to it" in found.detail
    assert why in found.detail
    assert todo in found.todo
    assert play.lease is None
    assert len(given_back) == 1


def test_a_mask_that_leaves_guests_half_the_world_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {dhcp.SERVER: "192.168.50.1", dhcp.ROUTER: "192.168.50.1", dhcp.RESOLVER: "192.168.50.1"}
    options = {option: socket.inet_aton(each) for option, each in said.items()}
    play: Any = SimpleNamespace(network=Network(), own4="192.168.50.1")
    for mask, state in (("255.255.255.0", "ok"), ("255.255.0.0", "fault")):
        play.lease = dhcp.Message(7, "192.168.50.66", options | {dhcp.SUBNET: socket.inet_aton(mask)})
        notes = Notes()
        joining._tell_address(notes, play, offered=True)
        assert notes.findings[0].state == state
    assert "in a network of /16, not 192.168.50.0/24" in notes.findings[0].detail


async def test_a_locked_access_store_holds_nobody_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "PATIENCE", 0.1)
    store = open_store(str(tmp_path / "access.db"))
    with contextlib.closing(sqlite3.connect(tmp_path / "access.db", isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode=WAL")
        other.execute("BEGIN IMMEDIATE")
        said = await asyncio.to_thread(Trials(store).begin, "guest 02:d0:c7:00:00:01")
        assert said == "the access store is locked"
        other.execute("ROLLBACK")
    await asyncio.sleep(0.1)
    await store.close()
