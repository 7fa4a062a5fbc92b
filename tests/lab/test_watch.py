"""`wificrm watch` beside a real gateway: each misdeed is told once, with its port; a crowd is not told of at all.

The watch runs as ``games`` with CAP_NET_RAW only, and posts to a web server of the test's.
"""

import http.server
import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from captive.alert_kinds import AlertKind
from captive.watch.floods import NEW_DEVICES, ONE_DEVICE, STARVING
from captive.watch.frames import Kind
from tests.captive.watch import packets
from tests.captive.watch.test_claims import CASES
from tests.lab.crowd import Crowd
from tests.lab.gateway import ADDRESS6, ADVERTISER_USER, BRIDGE, BRIDGE_MAC, GROUP, ZONE, Gateway
from tests.lab.hasty_watch import WINDOW
from tests.lab.namespace import stop
from tests.lab.phone import WIFI, Phone
from tests.lab.test_isolation import isolated
from tests.lab.venue import Venue, eventually

pytestmark = pytest.mark.lab

HOOK_PORT = 9999
NAMES_SOMEBODY = re.compile(
    r"(?i)(?:[0-9a-f]{2}[:-]){5}[0-9a-f]{2}|[0-9a-f]{12}|(?!127\.)\b\d+\.\d+\.\d+\.\d+|fe80:|fd50:"
)


class Hook:
    """Somebody's web server, as seen from the gateway. Down until `start`."""

    def __init__(self, gateway: Gateway) -> None:
        self.got: list[dict[str, Any]] = []
        self._gateway = gateway

    def start(self) -> None:
        hook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                hook.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        listener = self._gateway.namespace.open_socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", HOOK_PORT), Handler, bind_and_activate=False
        )
        self._server.socket.close()
        self._server.socket = listener
        self._server.server_bind()
        self._server.server_activate()
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Watched:
    """A venue with two networks and a watch."""

    def __init__(self, venue: Venue) -> None:
        self.venue, self.gateway, self.began = venue, venue.gateway, time.time()
        self.folder = self.gateway.home / "state-watch"
        self.hook = Hook(self.gateway)
        with self.gateway.settings.open("a") as file:
            file.write(f'\n[watch]\nwebhook = "http://127.0.0.1:{HOOK_PORT}/hooks/secret"\n')
        self.folder.mkdir()
        shutil.chown(self.folder, ADVERTISER_USER, GROUP)
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        program = [*self.gateway._wificrm("watch")]
        program[program.index("-m") :] = ["-m", "tests.lab.hasty_watch", self.gateway.settings]
        only = "-all,+net_raw"
        return self.gateway.namespace.start(
            *self.gateway._uncovered(),
            *(
                "setpriv",
                f"--reuid={ADVERTISER_USER}",
                f"--regid={GROUP}",
                "--clear-groups",
                "--no-new-privs",
            ),
            *(f"--bounding-set={only}", f"--inh-caps={only}", f"--ambient-caps={only}"),
            *program,
            log=self.gateway.home / "log/watching.log",
        )

    @property
    def log(self) -> str:
        return self.gateway.log("watching")

    def phone(self, bridge: str = BRIDGE, *, mac: str = "") -> Phone:
        """A phone on the Wi-Fi, at a port of its own that the watch hears."""
        phone = self.venue.phone(bridge)
        if mac:
            phone.mac = mac
            phone.namespace.ip(f"link set {WIFI} address {mac}")
            # What its kernel says by itself would make a phone that roams one at two places.
            phone.namespace.sysctl({f"net.ipv6.conf.{WIFI}.disable_ipv6": 1})
        phone.namespace.ip(f"link set {WIFI} up")
        return phone

    def sees(self, port: str) -> bool:
        """Whether it hears *port*: its socket is bound to it."""
        with self.gateway.namespace.entered():
            index = socket.if_nametoindex(port)
            rows = Path("/proc/thread-self/net/packet").read_text().splitlines()[1:]
        return sum(int(row.split()[4]) == index and row.split()[3] == "0003" for row in rows) >= 2

    def listens_to(self, phone: Phone) -> None:
        assert eventually(lambda: self.sees(port_of(phone))), port_of(phone)

    @property
    def privileges(self) -> dict[str, str]:
        """Its capabilities as /proc has them."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)

    def told(self, phone: Phone) -> list[tuple[str, str]]:
        """(kind, what) of each message about the port of *phone*."""
        return [(each["kind"], each["what"]) for each in self.hook.got if each["port"] == port_of(phone)]

    def told_only(self, phone: Phone, kind: str, what: str) -> bool:
        return self.told(phone) == [(kind, what)]

    def counters(self) -> dict[str, Any]:
        decoded: dict[str, Any] = json.loads((self.folder / "watch.json").read_text())
        return decoded


def port_of(phone: Phone) -> str:
    """The gateway's end of the phone's cable."""
    return "port" + phone.namespace.name.rpartition("-p")[2]


def say(phone: Phone, frames: Iterable[bytes], *, rate: float) -> None:
    """Send *frames* from the phone's cable, so many a second."""
    with phone.namespace.packet_socket(WIFI) as sock:
        start = time.monotonic()
        for number, frame in enumerate(frames):
            while number > rate * (time.monotonic() - start):
                time.sleep(0.002)
            sock.send(frame)


def together(*deeds: Callable[[], None]) -> None:
    with ThreadPoolExecutor(len(deeds)) as pool:
        for done in [pool.submit(deed) for deed in deeds]:
            done.result()


def mac(number: int) -> str:
    """One that is no phone's of the lab."""
    return "02:aa:" + number.to_bytes(4).hex(":")


@pytest.fixture(scope="module")
def watched() -> Iterator[Watched]:
    with Venue(tls=False, others={"desk": ""}) as venue:
        watched = Watched(venue)
        assert eventually(lambda: "watching" in watched.log)
        yield watched
        assert watched.process.poll() is None, watched.log
        watched.process.terminate()
        assert watched.process.wait(60) == 0, watched.log
        told = re.sub(r"\d+-\d+-\d+T[^\"]*", "", watched.log + json.dumps(watched.hook.got))
        assert not NAMES_SOMEBODY.findall(told)


@pytest.fixture(scope="module")
def hostile(watched: Watched) -> Phone:
    phone = watched.phone()
    watched.listens_to(phone)
    return phone


def test_an_alert_waits_for_a_webhook_that_is_away(watched: Watched) -> None:
    phone = watched.phone()
    watched.listens_to(phone)
    say(phone, [packets.advertisement(phone.mac)] * 3, rate=10)
    assert eventually(lambda: "the webhook takes no message" in watched.log), watched.log
    watched.hook.start()
    assert eventually(lambda: watched.told(phone) == [("rogue_ra", "ra")])
    assert "secret" not in watched.log
    (message,) = watched.hook.got
    assert set(message) == {
        *("centre", "kind", "what", "state", "network", "port", "count", "first", "last", "text")
    }
    assert (message["centre"], message["network"], message["state"]) == ("LAB-P01", "guest", "new")
    first = datetime.fromisoformat(message["first"])
    assert watched.began - 1 <= first.timestamp() <= time.time()
    assert first.utcoffset() == datetime.now(ZONE).utcoffset()


def test_a_rogue_dhcp_server_is_found_although_it_hears_no_guest(watched: Watched) -> None:
    """A real dnsmasq behind an isolated port answers nobody but the watch's own question."""
    rogue, other = watched.phone(), watched.phone("br-desk")
    rogue.namespace.ip(f"address add 10.66.0.1/24 dev {WIFI}")
    command = [
        "dnsmasq",
        "--keep-in-foreground",
        "--port=0",
        "--conf-file=/dev/null",
        "--leasefile-ro",
        "--no-ping",
    ]
    command += [f"--interface={WIFI}", "--bind-dynamic", "--dhcp-range=10.66.0.10,10.66.0.50", "--user=root"]
    serving = rogue.namespace.start(*command, "--pid-file=", log=watched.folder.parent / "log/rogue.log")
    try:
        watched.listens_to(rogue)
        other.join()  # the box's own server answers, which is nothing to tell
        again = watched.phone()  # a port that comes up is asked, and the others with it
        assert eventually(lambda: watched.told(rogue) == [("rogue_dhcp", "dhcp4")]), watched.log
        assert watched.told(other) == watched.told(again) == []
    finally:
        stop(serving)


def test_who_says_to_be_the_gateway_is_told_of_by_port(watched: Watched) -> None:
    lies = {
        "arp": packets.arp(),
        "ndp": packets.neighbour_advertisement(target=ADDRESS6),
        "own_mac": packets.broadcast(BRIDGE_MAC),
    }
    liars = {what: watched.phone() for what in lies}
    for what, liar in liars.items():
        watched.listens_to(liar)
        say(liar, [lies[what]] * 9, rate=200)
    for what, liar in liars.items():
        assert eventually(partial(watched.told_only, liar, "spoofed_gateway", what)), (
            what,
            watched.log,
        )
    assert all(isolated(watched.venue, port_of(liar)) for liar in liars.values()), "heard although it is"


class Morning:
    """What goes on at a centre at the same time; each at ports of its own."""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        self._copied, self._across, self._roaming = mac(1), mac(2), mac(3)
        self.copies = [watched.phone(mac=self._copied) for _ in range(2)]
        self.networks = [watched.phone(bridge, mac=self._across) for bridge in (BRIDGE, "br-desk")]
        self.roaming = [watched.phone(mac=self._roaming) for _ in range(2)]
        self.loud, self.starving, self.many, self.elsewhere = (watched.phone() for _ in range(4))
        self.phones = [*self.copies, *self.networks, *self.roaming]
        self.phones += [self.loud, self.starving, self.many, self.elsewhere]
        authority = watched.venue.authority.certificate
        size = STARVING + 20  # more than would be starvation if they said nothing else
        self.crowd = Crowd(watched.venue.run, watched.gateway.namespace, BRIDGE, size, authority)

    def pass_by(self) -> None:
        for phone in self.phones:
            self._watched.listens_to(phone)
        assert eventually(lambda: self._watched.sees("port-crowd"))
        seconds = 3 * WINDOW
        loud = [packets.broadcast(self.loud.mac)] * int(2 * ONE_DEVICE[Kind.BROADCAST] * seconds)
        thirsty = [packets.discover(mac(1000 + number)) for number in range(STARVING + 20)]
        new = [packets.broadcast(mac(10_000 + number)) for number in range(int(3 * NEW_DEVICES * seconds))]
        # not even a broadcast: the bridge itself tells
        bulk = partial(self._until_told, self.copies, packets.tcp("A", self._copied), 18)
        names = partial(self._until_told, self.networks, packets.question(self._across), 9)
        together(
            *(partial(bulk, phone) for phone in self.copies),
            *(partial(names, phone) for phone in self.networks),
            partial(say, self.loud, loud, rate=2 * ONE_DEVICE[Kind.BROADCAST]),
            partial(say, self.starving, thirsty, rate=0.9 * NEW_DEVICES),
            partial(say, self.many, new, rate=3 * NEW_DEVICES),
            self._roam,
            self._gather,
        )
        time.sleep(2 * WINDOW)

    def _until_told(self, pair: list[Phone], frame: bytes, rate: float, phone: Phone) -> None:
        """Say *frame* from *phone* until the watch tells of the *pair*."""
        for _ in range(60):
            say(phone, [frame] * int(rate), rate=rate)
            if any(each["kind"] == "cloned_mac" for one in pair for each in self._of(one)):
                return

    def _of(self, phone: Phone) -> list[dict[str, Any]]:
        return [each for each in self._watched.hook.got if each["port"] == port_of(phone)]

    def _roam(self) -> None:
        first, second = self.roaming
        for phone in (first, second, first):
            say(phone, [packets.broadcast(self._roaming)] * 15, rate=15)

    def _gather(self) -> None:
        """All join at once and look around; then a third of them roams to another port."""
        self.crowd.join()
        with ThreadPoolExecutor(20) as pool:
            list(pool.map(lambda device: device.resolve("garden.example"), self.crowd.devices))
        moved = [packets.arp(device.mac, device.address4) for device in self.crowd.devices[:40]]
        say(self.elsewhere, moved, rate=100)


def test_another_vlan_on_the_same_cable_is_not_the_guests(watched: Watched) -> None:
    """Its DHCP server is honest. VLAN 0 is no VLAN, and phones look through it as often as it is written."""
    wrapped: dict[str, Callable[[bytes], bytes]] = {
        "office": lambda frame: packets.tagged(frame, 20),
        "once": lambda frame: packets.tagged(frame, 0x5000),
        "twice": lambda frame: packets.tagged(frame, 0, 0),
        "forty times": lambda frame: packets.tagged(frame, *[0] * 40),
        "encapsulated": packets.encapsulated,
        "from another port": lambda frame: packets.oddly(frame, port=6767, code=1),
    }
    phones = {name: watched.phone() for name in wrapped}
    for name, phone in phones.items():
        watched.listens_to(phone)
        say(phone, [wrapped[name](packets.offer(phone.mac))], rate=1)
    office = phones.pop("office")
    for name, liar in phones.items():
        told = partial(watched.told_only, liar, "rogue_dhcp", "dhcp4")
        assert eventually(told), (name, watched.log)
    assert watched.told(office) == []


@pytest.fixture(scope="module")
def morning(watched: Watched) -> Iterator[Morning]:
    morning = Morning(watched)
    try:
        morning.pass_by()
        yield morning
    finally:
        morning.crowd.close()


def test_a_copied_mac_is_told_of_once_by_both_its_places(watched: Watched, morning: Morning) -> None:
    def told() -> list[dict[str, Any]]:
        return [each for each in watched.hook.got if each["kind"] == "cloned_mac"]

    assert eventually(lambda: len(told()) == 2), watched.log
    for pair in (morning.copies, morning.networks):
        (message,) = [each for each in told() if each["port"] in map(port_of, pair)]
        assert all(f"port {port_of(phone)} (network " in message["text"] for phone in pair)
        assert message["state"] == "new"


def test_floods_are_told_of_once_by_kind_and_port(watched: Watched, morning: Morning) -> None:
    for phone, what in {
        morning.loud: "broadcast",
        morning.starving: "starvation",
        morning.many: "new_macs",
    }.items():
        assert eventually(partial(watched.told_only, phone, "flood", what)), (what, watched.log)


def test_a_crowd_and_phones_that_roam_are_not_told_of(watched: Watched, morning: Morning) -> None:
    honest = {"port-crowd", *map(port_of, (*morning.roaming, morning.elsewhere))}
    assert [each for each in watched.hook.got if each["port"] in honest] == []


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    frame=st.sampled_from([frame for frame, _, _ in CASES.values()]),
    octets=st.lists(st.tuples(st.integers(14, 300), st.integers(0, 255)), max_size=12),
    length=st.integers(14, 400),
)
@example(frame=packets.offer(), octets=[], length=100)  # no option is left of it
def test_bent_packets_do_not_stop_it(
    watched: Watched, hostile: Phone, frame: bytes, octets: list[tuple[int, int]], length: int
) -> None:
    bent = bytearray(frame)
    for at, value in octets:
        if at < len(bent):
            bent[at] = value
    with hostile.namespace.packet_socket(WIFI) as sock:
        sock.send(bytes(bent[: max(14, length)]))
        sock.send(os.urandom(max(60, length)))


def test_after_all_that_it_still_watches_and_counted(watched: Watched) -> None:
    phone = watched.phone()
    watched.listens_to(phone)
    say(phone, [packets.offer(phone.mac)], rate=1)
    assert eventually(lambda: watched.told(phone) == [("rogue_dhcp", "dhcp4")]), watched.log
    assert eventually(lambda: watched.counters()["alerts"]["rogue_dhcp"] >= 2)
    counters = watched.counters()
    assert set(counters) == {"alerts", "seen"}
    assert set(counters["seen"]) == set(counters["alerts"]) == set(AlertKind)
    assert all(watched.began - 1 <= at <= time.time() for at in counters["seen"].values())
    assert counters["alerts"]["cloned_mac"] == 2, [
        each for each in watched.hook.got if each["kind"] == "cloned_mac"
    ]
    assert watched.privileges["CapEff"].strip() == watched.privileges["CapBnd"].strip() == f"{1 << 13:016x}"
