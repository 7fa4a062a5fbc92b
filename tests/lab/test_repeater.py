"""Two phones behind one MAC, as behind a repeater: told apart by their addresses; and a radio that sends phones away.

The repeater is a namespace that relays by proxy ARP: no NAT, but its own MAC on everything, as many sold ones do.
"""

import contextlib
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from captive.gateway import device_key
from tests.lab.client import Client
from tests.lab.gateway import GROUP, bridge_of
from tests.lab.internet import STRAY4
from tests.lab.journey import is_online, skip
from tests.lab.namespace import HOME, Namespace, stop
from tests.lab.phone import WIFI, Phone
from tests.lab.traffic import Cable, Traffic
from tests.lab.venue import Venue, eventually

pytestmark = pytest.mark.lab

MB = 1_000_000
REASON = "reason=4"
HOSTAPD = shutil.which("hostapd", path="/usr/sbin:/usr/bin:/sbin:/bin") or ""


class Behind(Client):
    """A phone behind *repeater*: its MAC is the repeater's, its address and sockets are its own."""

    def __init__(self, venue: Venue, repeater: Phone, number: int) -> None:
        super().__init__(repeater.mac, repeater._context)
        self.namespace = Namespace(venue.run, f"behind{number}")
        self.address4 = f"192.168.100.{200 + number}"
        self.resolver = "192.168.100.1"
        inner, outer = "eth0", f"phone{number}"
        repeater.namespace.ip(
            f"link add {outer} type veth peer name {inner} netns {self.namespace.name}",
            f"link set {outer} up",
            f"route add {self.address4} dev {outer}",
        )
        quick: dict[str, int | str] = {
            f"net.ipv4.conf.{outer}.proxy_arp": 1,
            f"net.ipv4.neigh.{outer}.proxy_delay": 0,
        }
        repeater.namespace.sysctl(quick)
        self.namespace.ip(
            f"link set {inner} up",
            f"address add {self.address4}/24 dev {inner}",
            "route add default via 192.168.100.1",
        )

    def make_socket(self, family: int, kind: int, protocol: int) -> socket.socket:
        """A socket in this phone's namespace."""
        return self.namespace.open_socket(family, kind, protocol)

    @property
    def key(self) -> str:
        """As the gate knows it."""
        return device_key("yard", self.mac, self.address4)


class Scene(NamedTuple):
    """A yard with a repeater and two phones behind it; beside it a hall whose radio is a real hostapd."""

    venue: Venue
    one: Behind
    two: Behind
    radio: Path


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    """The venue, with hostapd for the hall, a control socket that is not there, and one that never answers."""
    with contextlib.ExitStack() as stack:
        HOME.mkdir(exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="radio", dir=HOME))
        folder.chmod(0o755)
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        deaf = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        deaf.bind(str(folder / "deaf"))
        (folder / "deaf").chmod(0o777)
        sockets = [str(folder / name) for name in ("missing", "deaf", "control/radio0")]
        hall = f"hostapd = {sockets}".replace("'", '"')
        venue = stack.enter_context(Venue(network=hall, others={"yard": 'identity = "mac+ip"'}))
        _start_hostapd(venue, folder, stack)
        repeater = venue.phone(bridge_of("yard"))
        repeater.namespace.ip(
            f"link set {WIFI} up",
            f"address add 192.168.100.199/24 dev {WIFI}",
            "route add default via 192.168.100.1",
        )
        repeater.namespace.sysctl(
            {
                "net.ipv4.ip_forward": 1,
                f"net.ipv4.conf.{WIFI}.proxy_arp": 1,
                f"net.ipv4.neigh.{WIFI}.proxy_delay": 0,
            }
        )
        one, two = (Behind(venue, repeater, number) for number in (1, 2))
        for phone in (one, two):
            stack.callback(phone.namespace.close)
        yield Scene(venue, one, two, folder / "log")


def _start_hostapd(venue: Venue, folder: Path, stack: contextlib.ExitStack) -> None:
    """A hostapd without a radio: its control socket is the real one."""
    lines = ["interface=radio0", "driver=none", "ssid=lab", "hw_mode=g", "channel=6"]
    lines += [f"ctrl_interface={folder}/control", f"ctrl_interface_group={GROUP}"]
    (folder / "hostapd.conf").write_text("\n".join(lines) + "\n")
    process = venue.gateway.namespace.start(HOSTAPD, "-d", folder / "hostapd.conf", log=folder / "log")
    stack.callback(stop, process)
    assert eventually((folder / "control/radio0").exists)


def end(venue: Venue, *what: str) -> None:
    """The technician ends grants."""
    venue.gateway.wificrm("device", "end", *what)


def test_each_phone_behind_one_mac_has_a_grant_and_a_count_of_its_own(scene: Scene) -> None:
    one, two = scene.one, scene.two
    skip(one)
    assert is_online(one)
    assert not is_online(two)
    assert scene.venue.gateway.leases().keys() == {one.key}
    skip(two)
    assert is_online(two)
    before = scene.venue.gateway.leases()
    traffic = Traffic(scene.venue)
    cables = [Cable.of(phone.namespace, "eth0") for phone in (one, two)]
    traffic.run(one.namespace, "-n", "2500K", "-b", "40M")
    traffic.run(two.namespace, "-n", "2500K", "-b", "40M", "-R")
    passed = [
        Cable.of(phone.namespace, "eth0").since(cable)
        for phone, cable in zip((one, two), cables, strict=True)
    ]
    after = scene.venue.gateway.leases()
    up, down = (
        {k: getattr(after[k], way) - getattr(before[k], way) for k in after} for way in ("up", "down")
    )
    sent, got = passed[0].up, passed[1].down
    assert min(sent, got) > 2.5 * MB
    assert abs(up[one.key] - sent) < sent * 0.01
    assert abs(down[two.key] - got) < got * 0.01
    assert max(up[two.key], down[one.key]) < MB / 10


def test_one_is_shut_out_and_the_other_stays(scene: Scene) -> None:
    one, two = scene.one, scene.two
    for phone in (one, two):
        if not is_online(phone):
            skip(phone)
    flows = {phone: phone.flow(STRAY4) for phone in (one, two)}
    assert all(flow.grows() for flow in flows.values())
    end(scene.venue, f"{one.mac} {one.address4}")
    assert flows[one].wait(60) == "reset"
    assert flows[two].grows()
    assert scene.venue.gateway.leases().keys() == {two.key}
    assert not is_online(one)
    for flow in flows.values():
        flow.close()


@pytest.mark.skipif(not HOSTAPD, reason="hostapd is not installed")
def test_the_radio_sends_away_who_was_shut_out_and_holds_up_nobody(scene: Scene) -> None:
    phones = [scene.venue.phone() for _ in range(2)]
    for phone in phones:
        phone.join()
        skip(phone)
    flow = phones[0].flow(STRAY4)
    end(scene.venue, phones[0].mac)
    assert flow.wait(60) == "reset"
    flow.close()
    command = f"CTRL_IFACE DEAUTHENTICATE {phones[0].mac} {REASON}"
    assert eventually(lambda: command in scene.radio.read_text())
    assert phones[1].mac not in scene.radio.read_text()
    log = scene.venue.gateway.log("gate")
    assert "missing" in log
    assert "deaf" in log
    assert not any(phone.mac in log for phone in phones)
    # While the gate waits for the one that never answers, others are let in and shut out.
    end(scene.venue, phones[1].mac)
    another = scene.venue.phone()
    another.join()
    skip(another)
    assert is_online(another)
    assert scene.one.mac not in scene.radio.read_text()
