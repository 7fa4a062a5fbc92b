"""What is known of a router's table: what it last reported, and what was said since. Rules only, no I/O.

Times are seconds on the monotonic clock.
"""

from dataclasses import dataclass, field

from captive.gateway import Lease, Terms
from captive.routers.wire import Report

NOT_SAID = 2**62
"""The number of a line that is not written yet."""


@dataclass(slots=True)
class Said:
    """The last word on one device: in line *number*, until *ends* (None: shut out)."""

    number: int
    ends: float | None
    fresh: bool


@dataclass(slots=True)
class Mirror:
    """The table of one session, from its first report on."""

    reported: dict[str, Lease] = field(default_factory=dict)
    said: dict[str, Said] = field(default_factory=dict)
    at: float = 0

    def say(self, mac: str, terms: Terms | None, now: float) -> None:
        """*mac* will be let through on *terms*, or (None) not any more."""
        before = self.said.get(mac)
        fresh = terms is not None and (terms.fresh or (before is not None and before.fresh))
        self.said[mac] = Said(NOT_SAID, now + terms.seconds if terms else None, fresh)

    def written(self, macs: list[str], number: int) -> None:
        """The last words on *macs* stand in line *number*."""
        for mac in macs:
            self.said[mac].number = number

    def take(self, report: Report, now: float) -> None:
        """The router has reported: what it has carried out is in it."""
        self.reported, self.at = report.leases, now
        self.said = {mac: said for mac, said in self.said.items() if said.number > report.applied}

    def leases(self, now: float) -> dict[str, Lease]:
        """The devices let through at *now*, by MAC."""
        gone = int(now - self.at)
        found = {
            mac: Lease(lease.seconds - gone, lease.up, lease.down)
            for mac, lease in self.reported.items()
            if lease.seconds > gone and mac not in self.said
        }
        for mac, said in self.said.items():
            if said.ends is not None and said.ends > now:
                had = self.reported.get(mac)
                counts = (had.up, had.down) if had and not said.fresh else (0, 0)
                found[mac] = Lease(round(said.ends - now), *counts)
        return found
