"""Hears the ports and says what is wrong: sightings of a cause, with what only a terminal may show."""

import contextlib
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import structlog

from captive.alert_kinds import AlertKind
from captive.watch.alarms import Cause
from captive.watch.bridge_events import BridgeEvents, list_learned
from captive.watch.claims import read_claim
from captive.watch.floods import KNOWN, Flood, KnownDevices, PortTraffic
from captive.watch.frames import classify, sender, speaks_ip
from captive.watch.probing import PROBE_APART, PROBE_SECONDS, probe_frames
from captive.watch.roaming import Place, Whereabouts
from captive.watch.taps import Spot, Tap, find_spots
from crm.settings import Network

log = structlog.get_logger()

LOOK_SECONDS = 1.0
"""Between two looks at which ports there are."""
HEADERS_AT_ONCE, HEADERS_OF_ALL = 256, 1_024
"""Frames whose first octets are read per turn: of one port, of all."""
CLAIMS_AT_ONCE, CLAIMS_OF_ALL = 64, 256
"""Packets of servers, routers and liars that are judged per turn: of one port, of all."""
EVENTS_AT_ONCE = 256


class Sighting(NamedTuple):
    """*cause* was seen *times* times. *mac* and *frame* name a device: for the eye at a terminal only."""

    cause: Cause
    times: int
    mac: bytes = b""
    frame: bytes = b""


class _Ear(NamedTuple):
    tap: Tap
    traffic: PortTraffic


class Observer:
    """Listens at all ports of *networks*. *draw* gives a random number of 32 bits.

    Times are seconds of a clock that only goes forward.
    """

    def __init__(self, networks: Sequence[Network], now: float, draw: Callable[[], int]) -> None:
        self._networks, self._draw = networks, draw
        self._ears: dict[int, _Ear] = {}
        self._known = KnownDevices()
        self._whereabouts = Whereabouts()
        self._events = BridgeEvents()
        self._turns = self._headers_left = self._claims_left = 0
        self._probe_at, self._probed = now + PROBE_SECONDS, now - PROBE_APART
        self._look(now)
        with contextlib.suppress(OSError):
            for learned in list_learned(KNOWN):  # who is here already is not new
                self._known.is_new(learned.mac)

    @property
    def ports(self) -> list[str]:
        """The names of the ports that are heard."""
        return sorted(ear.tap.spot.port for ear in self._ears.values())

    def turn(self, now: float) -> Iterator[Sighting]:
        """Read what has come in, a bounded amount of it, and say what is wrong."""
        if now >= self._look_at:
            self._look(now)
        if now >= self._probe_at:
            self._probe(now)
        yield from self._moves(now)
        self._claims_left, self._headers_left = CLAIMS_OF_ALL, HEADERS_OF_ALL
        for ear in self._in_turn():
            yield from self._claims(ear)
            yield from self._count(ear, now)

    def close(self) -> None:
        """Stop listening."""
        self._events.close()
        for ear in self._ears.values():
            ear.tap.close()
        self._ears.clear()

    def _in_turn(self) -> list[_Ear]:
        """All ears, another one first each time: nobody at one port uses up what all may have."""
        ears = list(self._ears.values())
        self._turns += 1
        first = self._turns % max(1, len(ears))
        return ears[first:] + ears[:first]

    def _look(self, now: float) -> None:
        """Follow which ports there are."""
        self._look_at = now + LOOK_SECONDS
        try:
            spots = {spot.number: spot for spot in find_spots(self._networks)}
        except OSError as error:
            log.warning("the ports cannot be listed; it is tried again", reason=error.strerror)
            return
        for index, ear in list(self._ears.items()):
            if spots.get(index) != ear.tap.spot:
                ear.tap.close()
                del self._ears[index]
        for index, spot in spots.items():
            if index not in self._ears:
                with contextlib.suppress(OSError):  # gone again in this very moment; looked for again
                    self._ears[index] = _Ear(Tap(spot), self._traffic(spot, now))
                    # Soon: a port that has just come up may not pass frames yet.
                    self._probe_at = min(self._probe_at, max(now + 1.0, self._probed + PROBE_APART))

    def _traffic(self, spot: Spot, now: float) -> PortTraffic:
        return PortTraffic(self._known, spot.own.macs, many=spot.network.identity == "mac+ip", now=now)

    def _probe(self, now: float) -> None:
        self._probed, self._probe_at = now, now + PROBE_SECONDS
        for frame in probe_frames(self._draw()):
            for ear in self._ears.values():
                with contextlib.suppress(OSError):  # a port without a cable
                    ear.tap.send(frame)

    def _moves(self, now: float) -> Iterator[Sighting]:
        for learned in self._events.read(EVENTS_AT_ONCE):
            ear = self._ears.get(learned.port)
            if ear:
                yield from self._see(learned.mac, ear, now)

    def _claims(self, ear: _Ear) -> Iterator[Sighting]:
        spot = ear.tap.spot
        for frame in ear.tap.claims(min(CLAIMS_AT_ONCE, self._claims_left)):
            self._claims_left -= 1
            claim = read_claim(frame, spot.own)
            if claim:
                yield Sighting(Cause(claim.kind, claim.what, spot.place), 1, sender(frame), frame)

    def _count(self, ear: _Ear, now: float) -> Iterator[Sighting]:
        traffic = ear.traffic
        for frame in ear.tap.headers(min(HEADERS_AT_ONCE, self._headers_left)):
            self._headers_left -= 1
            kind = classify(frame)
            if kind:
                mac = sender(frame)
                traffic.add(mac, kind, now)
                if speaks_ip(frame):
                    yield from self._see(mac, ear, now)
        if traffic.due(now):
            traffic.add_unread(ear.tap.unread())
            for flood in traffic.judge(now):
                yield _as_sighting(flood, ear.tap.spot.place)

    def _see(self, mac: bytes, ear: _Ear, now: float) -> Iterator[Sighting]:
        if mac in ear.traffic.own:
            return
        place = ear.tap.spot.place
        other = self._whereabouts.see(mac, place, now)
        if other:
            first, second = sorted((place, other))  # to and fro is one cause, not two
            yield Sighting(Cause(AlertKind.CLONED_MAC, "ports", first, second), 1, mac)


def _as_sighting(flood: Flood, place: Place) -> Sighting:
    kind = AlertKind.SPOOFED_GATEWAY if flood.what == "own_mac" else AlertKind.FLOOD
    return Sighting(Cause(kind, flood.what, place), flood.frames, flood.mac)


def may_listen() -> str:
    """Why packets cannot be heard by this process; "" when they can."""
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
    except OSError as error:
        return str(error.strerror)
    return ""
