"""The end of a lease: the kernel ends it, with everything the device has under way, whoever else is stopped."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.lab.client import Flow
from tests.lab.internet import CDN6, PROVIDER_ANSWER, STRAY4, STRAY6
from tests.lab.journey import is_online, skip
from tests.lab.phone import Phone
from tests.lab.venue import Venue, eventually

pytestmark = pytest.mark.lab

MINUTES = 1
EARLY, LATE = 5, 8
"""Seconds by which the end may come before and after the lease's: both seen end to end, on a busy machine."""
QUIET = 4
"""Seconds without a datagram, of streams that send twenty a second, after which they have ended."""


class Stream:
    """Datagrams both ways 20 times a second, and the far end goes on whether it hears anything or not."""

    def __init__(self, venue: Venue, phone: Phone, far: str) -> None:
        self.up_last = self.down_last = 0.0  # monotonic time of the last datagram that arrived
        kind = socket.AF_INET6 if ":" in far else socket.AF_INET
        self._far = venue.internet.namespace.open_socket(kind, socket.SOCK_DGRAM)
        self._far.bind((far, 53))  # the lab's internet echoes on all ports but this
        self._near = phone.open_socket(far, socket.SOCK_DGRAM)
        self._near.connect((far, 53))
        self._ended = threading.Event()
        for sock in (self._far, self._near):
            sock.settimeout(0.02)
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._talk, self._answer)]
        for thread in self._threads:
            thread.start()

    def _talk(self) -> None:
        while not self._ended.wait(0.03):
            with contextlib.suppress(OSError):
                self._near.send(b".")
            with contextlib.suppress(OSError):
                self._near.recv(100)
                self.down_last = time.monotonic()

    def _answer(self) -> None:
        guest = None
        while not self._ended.wait(0.03):
            with contextlib.suppress(OSError):
                _, guest = self._far.recvfrom(100)
                self.up_last = time.monotonic()
            with contextlib.suppress(OSError):
                if guest:
                    self._far.sendto(b".", guest)

    def close(self) -> None:
        """End it."""
        self._ended.set()
        for thread in self._threads:
            thread.join()
        self._far.close()
        self._near.close()


@dataclass
class Guest:
    """A phone with long flows, and when they were seen to end."""

    venue: Venue
    phone: Phone
    asked: float = 0.0
    granted: float = 0.0
    flows: dict[str, Flow] = field(default_factory=dict)
    streams: dict[str, Stream] = field(default_factory=dict)

    def begin(self) -> None:
        """Come online and start talking."""
        self.asked = time.monotonic()
        skip(self.phone)
        self.granted = time.monotonic()
        self.flows = {"IPv4": self.phone.flow(STRAY4), "IPv6": self.phone.flow(STRAY6)}
        assert all(flow.grows() for flow in self.flows.values())
        targets = {"IPv4": PROVIDER_ANSWER, "IPv6": CDN6[0]}
        self.streams = {family: Stream(self.venue, self.phone, far) for family, far in targets.items()}

    def is_the_end(self, at: float) -> bool:
        """Whether *at* (monotonic) is when the lease ends."""
        return self.asked + MINUTES * 60 - EARLY < at < self.granted + MINUTES * 60 + LATE


def talking(found: dict[str, Guest]) -> list[float]:
    """When each stream that is to end was last heard, each way."""
    both = [stream for name in ("served", "alone") for stream in found[name].streams.values()]
    return [*(each.up_last for each in both), *(each.down_last for each in found["served"].streams.values())]


@pytest.fixture(scope="module")
def guests() -> Iterator[dict[str, Guest]]:
    """Two venues with leases of a minute, both waited for at once: ``served`` runs on, ``alone`` is killed.

    ``gone`` is in the first of them, came online and left.
    """
    with Venue(minutes=MINUTES) as served, Venue(minutes=MINUTES) as alone:
        found = {}
        for name, venue in (("served", served), ("alone", alone)):
            phone = venue.phone()
            phone.join()
            found[name] = Guest(venue, phone)
            found[name].begin()
        found["gone"] = Guest(served, served.phone())
        found["gone"].phone.join()
        skip(found["gone"].phone)
        found["gone"].phone.leave()
        alone.gateway.kill9("portal", "gate")
        time.sleep(2)
        assert all(flow.grows() for guest in found.values() for flow in guest.flows.values())
        for guest in found.values():
            for flow in guest.flows.values():
                flow.wait(guest.granted + MINUTES * 60 + 2 * LATE - time.monotonic())
        # What goes on after all is seen to go on.
        eventually(lambda: all(time.monotonic() - last > QUIET for last in talking(found)), within=2 * LATE)
        for guest in found.values():
            for stream in guest.streams.values():
                stream.close()
        yield found
        for guest in found.values():
            for flow in guest.flows.values():
                flow.close()


@pytest.mark.parametrize("family", ["IPv4", "IPv6"])
@pytest.mark.parametrize("name", ["served", "alone"])
def test_a_long_flow_is_reset_when_the_lease_ends(guests: dict[str, Guest], name: str, family: str) -> None:
    guest = guests[name]
    flow = guest.flows[family]
    assert flow.end == "reset"
    assert guest.is_the_end(flow.ended)


@pytest.mark.parametrize("family", ["IPv4", "IPv6"])
@pytest.mark.parametrize("name", ["served", "alone"])
def test_nothing_without_a_connection_goes_up_after_the_lease(
    guests: dict[str, Guest], name: str, family: str
) -> None:
    guest = guests[name]
    assert guest.is_the_end(guest.streams[family].up_last)


@pytest.mark.parametrize("family", ["IPv4", "IPv6"])
def test_nor_does_anything_come_down_that_the_far_end_goes_on_sending(
    guests: dict[str, Guest], family: str
) -> None:
    """At once where the gate runs; by the kernel alone, two minutes after the device was last let through."""
    guest = guests["served"]
    assert guest.is_the_end(guest.streams[family].down_last)


def test_the_kernel_ends_a_lease_with_portal_and_gate_stopped(guests: dict[str, Guest]) -> None:
    guest = guests["alone"]
    gateway = guest.venue.gateway
    assert not gateway.running("portal")
    assert not gateway.running("gate")
    assert gateway.allowed() == {}
    assert guest.phone.tcp(STRAY4, 443) == guest.phone.tcp(STRAY6, 443) == "reset"
    # The kernel tells a device of refusals only so often, and there were many a moment ago.
    assert eventually(lambda: guest.phone.udp(STRAY4, 443, timeout=1) == "icmp 3/13")
    assert eventually(lambda: guest.phone.udp(STRAY6, 443, timeout=1) == "icmp 1/1")


def test_the_access_store_forgets_a_device_when_its_grant_ends(guests: dict[str, Guest]) -> None:
    venue, mac = guests["gone"].venue, guests["gone"].phone.mac
    assert eventually(lambda: mac not in venue.gateway.allowed())

    def forgotten() -> bool:
        return all(mac.encode() not in file.read_bytes() for file in venue.gateway.store_files("access"))

    assert eventually(forgotten)


def test_a_guest_who_returns_the_same_day_is_not_asked_again(guests: dict[str, Guest]) -> None:
    """No sheet opens: the lease by DHCP is enough to be online, the first probe meets the Internet."""
    venue, phone = guests["gone"].venue, guests["gone"].phone
    before = venue.gateway.funnel()
    assert phone.mac not in venue.gateway.allowed()
    phone.join()
    assert eventually(lambda: phone.mac in venue.gateway.allowed())  # it has asked for nothing yet
    assert is_online(phone)
    assert is_online(phone, family=6)
    assert b'"captive":false' in phone.get(phone.api).body
    assert venue.gateway.funnel() == before


def test_a_guest_who_stays_is_online_again_with_the_next_probe(guests: dict[str, Guest]) -> None:
    phone = guests["served"].phone
    before = guests["served"].venue.gateway.funnel()
    phone.get("http://connectivitycheck.gstatic.com/generate_204")
    assert is_online(phone)
    assert guests["served"].venue.gateway.funnel() == before


def test_whoever_ran_out_while_all_was_stopped_comes_back_too(guests: dict[str, Guest]) -> None:
    venue, phone = guests["alone"].venue, guests["alone"].phone
    venue.gateway.start_gate()
    venue.gateway.start_portal()
    venue.gateway.wait()
    assert eventually(lambda: is_online(phone))


def test_a_stranger_is_asked(guests: dict[str, Guest]) -> None:
    """The other side of the same coin: only who was asked today goes on unasked."""
    phone = guests["served"].venue.phone()
    phone.join()
    assert phone.get("http://odd.example/").status == 302
    time.sleep(1)
    assert phone.get("http://odd.example/").status == 302
    assert b'"captive":true' in phone.get(phone.api).body
