"""The process that advertises, in a small venue, with CAP_NET_RAW and nothing else."""

import contextlib
import select
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import Popen
from typing import Self

import pytest
from scapy.layers.inet6 import ICMPv6ND_RA, ICMPv6ND_RS, ICMPv6NDOptPrefixInfo, ICMPv6NDOptSrcLLAddr, IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from captive.advertise.advertisement import MAX_ASKERS, MIN_APART
from captive.advertise.advertiser import ANNOUNCED
from tests.captive.small_venue import MAC, SmallVenue, eventually, needs_root, small_venue
from tests.waiting import LONG

pytestmark = [needs_root, pytest.mark.lab]

API = "https://portal.example.vn/captive-portal/api"
ETH_P_IPV6 = 0x86DD
ALL_NODES_MAC = "33:33:00:00:00:01"
ONE_CAPABILITY = ["setpriv", "--bounding-set=-all,+net_raw", "--inh-caps=-all,+net_raw", "--no-new-privs"]


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallVenue]:
    with small_venue(tmp_path_factory.mktemp("venue")) as made:
        Path(made.settings.state).mkdir()
        # A router's kernel learns from a solicitation where its sender is.
        made.box.run("sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
        yield made


def announce(venue: SmallVenue, api: str) -> None:
    (Path(venue.settings.state) / ANNOUNCED).write_text(f"{api}\n")


@contextlib.contextmanager
def advertising(venue: SmallVenue, api: str = "") -> Iterator[Popen[str]]:
    """The process, running; stopped with SIGTERM at the end unless it has ended."""
    announce(venue, api)
    arguments = ["-m", "captive.cli", "advertise", "--config", str(venue.config)]
    process = venue.box.start(*ONE_CAPABILITY, sys.executable, *arguments)
    assert process.stdout
    with process.stdout:
        try:
            for line in process.stdout:
                if "advertising" in line:
                    break
            else:
                raise AssertionError("it does not start")
            yield process
        finally:
            process.terminate()
            process.wait(LONG)


class Ear:
    """Hears every advertisement that reaches the phone."""

    def __init__(self, venue: SmallVenue) -> None:
        self._socket = venue.phone.socket(socket.AF_PACKET, socket.SOCK_RAW)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._socket.bind(("wlan0", ETH_P_IPV6))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def next(self, timeout: float = LONG / 2, accept: Callable[[Packet], bool] = lambda _: True) -> Packet:
        """The next advertisement that *accept* takes. Raises TimeoutError."""
        until = time.monotonic() + timeout
        while (left := until - time.monotonic()) > 0:
            if select.select([self._socket], [], [], left)[0]:
                frame = Ether(self._socket.recv(2048))
                if ICMPv6ND_RA in frame and accept(frame):
                    return frame
        raise TimeoutError("no advertisement")

    def all(self, seconds: float) -> list[Packet]:
        """Every advertisement of the next so many *seconds*."""
        found, until = [], time.monotonic() + seconds
        with contextlib.suppress(TimeoutError):
            while True:
                found.append(self.next(until - time.monotonic()))
        return found

    def say(self, *frames: bytes) -> None:
        """Send *frames* from the phone."""
        for frame in frames:
            self._socket.send(frame)


def ask(source: str = "fe80::77", mac: str = MAC, hop_limit: int = 255) -> Packet:
    option = ICMPv6NDOptSrcLLAddr(lladdr=mac) if source != "::" else b""
    address = IPv6(src=source, dst="ff02::2", hlim=hop_limit)
    return Ether(src=mac, dst="33:33:00:00:00:02") / address / ICMPv6ND_RS() / option


def names_the_portal(frame: Packet) -> bool:
    return b"\x25\x06" + API.encode() in bytes(frame)


def test_everybody_hears_of_the_router_at_the_start_and_of_its_end(venue: SmallVenue):
    with Ear(venue) as ear:
        with advertising(venue):
            first = ear.next()
            assert first[IPv6].hlim == 255
            assert first[IPv6].src.startswith("fe80::")
            assert first.dst == ALL_NODES_MAC
            assert first[ICMPv6ND_RA].routerlifetime == 1800
            assert first[ICMPv6NDOptPrefixInfo].prefix == "fd50:7c3a:1::"
            sent = first[ICMPv6ND_RA].cksum
            del first[ICMPv6ND_RA].cksum
            assert Ether(bytes(first))[ICMPv6ND_RA].cksum == sent
        assert ear.next()[ICMPv6ND_RA].routerlifetime == 0
        announce(venue, "")


def test_who_asks_is_answered_alone_and_at_once(venue: SmallVenue):
    with Ear(venue) as ear, advertising(venue, API):
        ear.next()
        ear.say(bytes(ask()))
        answer = ear.next()
        assert (answer.dst, answer[IPv6].dst) == (MAC, "fe80::77")
        assert names_the_portal(answer)


def test_what_comes_from_behind_a_router_is_not_answered(venue: SmallVenue):
    with Ear(venue) as ear, advertising(venue):
        ear.next()
        ear.say(bytes(ask(hop_limit=254)), bytes(ask(hop_limit=64)))
        assert ear.all(1.5) == []


def test_a_flood_of_solicitations_does_not_multiply_advertisements(venue: SmallVenue):
    """From one address and from a thousand; whoever else asks meanwhile is answered."""
    one, others = bytes(ask()), [bytes(ask(f"fe80::{number:x}")) for number in range(1, 1000)]
    with Ear(venue) as ear, advertising(venue):
        ear.next()
        with Ear(venue) as counting:
            start = time.monotonic()
            for said in range(2_000):
                ear.say(one if said % 2 else others[said % len(others)])
                time.sleep(0.001)
            heard = counting.all(1)
            seconds = time.monotonic() - start
        to_all = [frame for frame in heard if frame[IPv6].dst == "ff02::1"]
        assert 1 <= len(to_all) <= 2 + seconds / MIN_APART
        assert len(heard) - len(to_all) <= (2 * seconds + 1) * MAX_ASKERS
        ear.say(bytes(ask("fe80::88")))
        ear.next(accept=lambda frame: frame[IPv6].dst in ("fe80::88", "ff02::1"))


def test_a_change_of_the_portal_or_of_the_gateway_is_told_to_all_at_once(venue: SmallVenue):
    with Ear(venue) as ear, advertising(venue):
        assert not names_the_portal(ear.next())
        announce(venue, API)
        told = ear.next(accept=names_the_portal)
        assert told.dst == ALL_NODES_MAC
        announce(venue, "")
        ear.next(accept=lambda frame: not names_the_portal(frame) and frame.dst == ALL_NODES_MAC)
        # And while the gateway is down, nothing is advertised.
        (Path(venue.settings.state) / ANNOUNCED).unlink()
        assert ear.next()[ICMPv6ND_RA].routerlifetime == 0
        ear.say(bytes(ask()))
        assert ear.all(1.2) == []
        announce(venue, "")
        assert ear.next()[ICMPv6ND_RA].routerlifetime == 1800


def test_an_interface_may_go_and_come(venue: SmallVenue):
    with Ear(venue) as ear, advertising(venue) as process:
        ear.next()
        venue.box.ip("link set port0 down")
        time.sleep(1.5)
        venue.box.ip("link set port0 up")
        assert ear.next().dst == ALL_NODES_MAC
        venue.box.ip("link delete br-guest")
        time.sleep(1.5)
        venue.box.ip(
            "link add br-guest type bridge", "link set br-guest up", "link set port0 master br-guest"
        )
        assert ear.next()[ICMPv6ND_RA].routerlifetime == 1800
        ear.say(bytes(ask()))
        ear.next(accept=lambda frame: frame[IPv6].dst == "fe80::77")
        assert process.poll() is None


def test_one_is_enough_and_can_be_seen(venue: SmallVenue):
    seen = ("-c", "from captive.advertise.advertiser import is_advertised; print(is_advertised())")
    assert venue.box.run(sys.executable, *seen).stdout == "False\n"
    command = (sys.executable, "-m", "captive.cli", "advertise", "--config", str(venue.config))
    with advertising(venue):
        for _ in range(2):
            assert venue.box.run(sys.executable, *seen).stdout == "True\n"
        second = venue.box.run(*command, check=False)
        assert second.returncode == 1
        assert "another wificrm advertise runs" in second.stderr
    assert eventually(lambda: venue.box.run(sys.executable, *seen).stdout == "False\n")
    powerless = venue.box.run("setpriv", "--bounding-set=-all", "--inh-caps=-all", *command, check=False)
    assert powerless.returncode == 1
    assert "need CAP_NET_RAW" in powerless.stderr
