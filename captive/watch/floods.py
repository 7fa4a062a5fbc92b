"""What is a flood at one port, judged every `WINDOW` seconds by the first octets of what came in.

Under a flood only a part of the frames is read; the kernel tells how many there were, and rates are scaled
by that. Everything here has a bound, however many devices a stranger plays.
"""

from collections import OrderedDict
from collections.abc import Iterator
from typing import NamedTuple

from captive.watch.frames import Kind
from captive.watch.heavy_hitters import HeavyHitters

WINDOW = 10.0
"""Seconds over which a rate is taken."""
SENDERS = 256
"""Devices that are counted one by one, per port and kind."""
LEAST = 20
"""Frames that must really have been read of whoever is said to flood."""
ONE_DEVICE = {Kind.ARP: 50.0, Kind.DHCP: 5.0, Kind.DNS: 100.0, Kind.FLOW: 200.0, Kind.BROADCAST: 100.0}
"""Frames a second that no phone sends for ten seconds on end, not while joining and not while it looks for others."""
MANY_STAND_BEHIND = 10
"""A repeater shows one MAC for all who are behind it."""
WHOLE_PORT = {Kind.ARP: 1_000.0, Kind.BROADCAST: 2_000.0}
"""Frames a second that no crowd sends: a loop in the cables, or somebody with ever new addresses."""
NEW_DEVICES = 50.0
"""New MACs a second, two windows on end: a thousand phones do not arrive within twenty seconds."""
KNOWN = 16_384
"""MACs that are remembered to have been here, the latest."""
STARVING, STARVING_WITHIN, TIME_TO_SPEAK = 100, 90.0, 10.0
"""So many new MACs within so many seconds that ask for addresses and then, given time, say nothing else."""
MISSED = 1.2
"""Where more frames came for each that was read, nobody can be said to be silent."""
SILENT = 1_024
"""MACs that are remembered to have asked for an address and said nothing since, per port."""
OWN_FRAMES = 3
"""Frames under the box's own MAC within a window: fewer may be a switch that has just been rewired."""


class Flood(NamedTuple):
    """A flood, or frames in the box's own name: what of, how many frames in the window, by whom if by one."""

    what: str
    frames: int
    mac: bytes = b""


class KnownDevices:
    """The MACs seen lately on all networks, at most `KNOWN`."""

    def __init__(self) -> None:
        self._macs: OrderedDict[bytes, None] = OrderedDict()

    def is_new(self, mac: bytes) -> bool:
        """Whether *mac* is seen for the first time; from now on it is known."""
        new = mac not in self._macs
        self._macs[mac] = None
        self._macs.move_to_end(mac)
        if len(self._macs) > KNOWN:
            self._macs.popitem(last=False)
        return new


class PortTraffic:
    """What one port brings in. *own* are the box's MACs there; *many*: one MAC may be many devices."""

    def __init__(self, known: KnownDevices, own: frozenset[bytes], *, many: bool, now: float) -> None:
        self._known = known
        self.own = own
        self._tolerance = MANY_STAND_BEHIND if many else 1
        self._silent: OrderedDict[bytes, float] = OrderedDict()
        self._many_new = False
        self._spoke: list[float] = []
        self._start(now)

    def add(self, mac: bytes, kind: Kind, now: float) -> None:
        """A frame of *kind* from *mac* was read."""
        self._read += 1
        if mac in self.own:
            self._mine += 1
            return
        self._kinds[kind].add(mac)
        new = self._known.is_new(mac)
        self._new += new
        if new and kind is Kind.DHCP:
            self._silent[mac] = now
            if len(self._silent) > SILENT:
                self._silent.popitem(last=False)
        elif kind is not Kind.DHCP and self._silent.pop(mac, None) is not None and len(self._spoke) < SILENT:
            self._spoke.append(now)

    def add_unread(self, frames: int) -> None:
        """So many more passed that were not read, of the same kinds one may suppose."""
        self._unread += frames

    def due(self, now: float) -> bool:
        """Whether a window has passed."""
        return now - self._since >= WINDOW

    def judge(self, now: float) -> list[Flood]:
        """The floods of the window that has passed; a new one begins."""
        seconds = now - self._since
        scale = (self._read + self._unread) / self._read if self._read else 1.0
        found = [
            *self._rates(scale, seconds),
            *self._ever_new(scale, seconds),
            *self._starving(scale, now),
        ]
        if self._mine >= OWN_FRAMES:
            found.append(Flood("own_mac", round(self._mine * scale)))
        self._start(now)
        return found

    def _start(self, now: float) -> None:
        self._since = now
        self._kinds = {kind: HeavyHitters(SENDERS) for kind in Kind}
        self._read = self._unread = self._new = self._mine = 0

    def _rates(self, scale: float, seconds: float) -> Iterator[Flood]:
        for kind, limit in ONE_DEVICE.items():
            senders = self._kinds[kind]
            mac, count = senders.top()
            whole = WHOLE_PORT.get(kind, float("inf"))
            if senders.total * scale / seconds >= whole and count < senders.total / 2:
                yield Flood(f"all_{kind.value}", round(senders.total * scale))
            elif count >= LEAST and count * scale / seconds >= limit * self._tolerance:
                yield Flood(kind.value, round(count * scale), mac)

    def _ever_new(self, scale: float, seconds: float) -> Iterator[Flood]:
        before, self._many_new = self._many_new, self._new * scale / seconds >= NEW_DEVICES
        if before and self._many_new:
            yield Flood("new_macs", round(self._new * scale))

    def _starving(self, scale: float, now: float) -> Iterator[Flood]:
        if scale > MISSED:
            self._silent.clear()
            return
        while self._silent and next(iter(self._silent.values())) < now - STARVING_WITHIN:
            self._silent.popitem(last=False)
        self._spoke = [at for at in self._spoke if at >= now - STARVING_WITHIN]
        silent = sum(asked <= now - TIME_TO_SPEAK for asked in self._silent.values())
        if silent >= STARVING and silent > 3 * len(self._spoke):
            yield Flood("starvation", silent)
