"""Router advertisements: their octets, when they are due, and what a solicitation must look like.

dnsmasq cannot send option 37, by which RFC 8910 names the captive portal's API, so this box advertises
itself. Numbers in brackets are sections of RFC 4861.
"""

import struct
from collections.abc import Callable
from ipaddress import IPv6Address, IPv6Interface

ALL_NODES, ALL_ROUTERS = "ff02::1", "ff02::2"
SOLICITATION, ADVERTISEMENT = 133, 134
HOP_LIMIT = 255
"""What nobody behind a router can make a packet arrive with."""
MAX_INTERVAL, MIN_INTERVAL = 600.0, 200.0
"""Seconds between two unasked advertisements (6.2.1)."""
INITIAL, INITIAL_INTERVAL = 3, 16.0
"""So many after a start or a change follow one another at most so many seconds apart (6.2.4)."""
MAX_DELAY = 0.5
"""Seconds that an answer is put off at most, so that who asks together is answered together (6.2.6)."""
MIN_APART = 3.0
"""Seconds between two advertisements to all (6.2.6)."""
LIFETIME = 1800
"""Seconds for which we are the default router: three times the longest interval (6.2.1)."""
MAX_ASKERS = 16
"""Devices that are answered one by one at a time; when more ask, all are answered by one."""
OTHER_CONFIGURATION = 0x40
ON_LINK, AUTONOMOUS = 0x80, 0x40
UNSPECIFIED = "::"
SOURCE_ADDRESS, PREFIX, MTU, RESOLVER, CAPTIVE_PORTAL = 1, 3, 5, 25, 37
"""Options: RFC 4861 section 4.6, RFC 8106, RFC 8910."""


def render_advertisement(
    network: IPv6Interface, *, lease: int, mac: bytes, mtu: int, api: str, last: bool = False
) -> bytes:
    """The ICMPv6 message; its checksum is the kernel's to fill in.

    *network* is the gateway's address with the prefix that guests choose their addresses from, for
    *lease* seconds. *api* is the URI of the captive portal's API, "" without one. With *last* the
    router says goodbye (6.2.5).
    """
    lifetime = 0 if last else LIFETIME
    prefix, kept = network.network, max(lease, LIFETIME)  # not to run out between two advertisements
    options = [
        struct.pack("!BB", SOURCE_ADDRESS, 1) + mac,
        struct.pack("!BBHI", MTU, 1, 0, mtu),
        struct.pack("!BBBBIII", PREFIX, 4, prefix.prefixlen, ON_LINK | AUTONOMOUS, kept, kept, 0)
        + prefix.network_address.packed,
        struct.pack("!BBHI", RESOLVER, 3, 0, lifetime) + network.ip.packed,
        captive_portal_option(api) if api and not last else b"",
    ]
    head = struct.pack("!BBHBBHII", ADVERTISEMENT, 0, 0, 64, OTHER_CONFIGURATION, lifetime, 0, 0)
    return head + b"".join(options)


def captive_portal_option(uri: str) -> bytes:
    """Option 37 (RFC 8910 section 2.3): the URI, filled up with NUL to a multiple of eight octets."""
    text = uri.encode("ascii")
    units = (2 + len(text) + 7) // 8
    return struct.pack("!BB", CAPTIVE_PORTAL, units) + text.ljust(units * 8 - 2, b"\0")


def solicitor(message: bytes, hop_limit: int, source: str) -> str | None:
    """Where the answer to a solicitation goes; None when it is none (6.1.1).

    *source* is the address it came from, without its zone; `UNSPECIFIED` stands for an answer to all. The
    checksum was the kernel's to verify.
    """
    if hop_limit != HOP_LIMIT or len(message) < 8 or message[0] != SOLICITATION or message[1] != 0:
        return None
    at = 8
    while at < len(message):
        length = message[at + 1] * 8 if at + 1 < len(message) else 0
        if length == 0 or at + length > len(message):
            return None
        if message[at] == SOURCE_ADDRESS and source == UNSPECIFIED:
            return None
        at += length
    # An answer to any other address could be led elsewhere.
    return source if IPv6Address(source).is_link_local else UNSPECIFIED


class Timetable:
    """When to advertise and to whom. Times are seconds of one clock that only goes forward.

    *between* draws a number between two.
    """

    def __init__(self, now: float, between: Callable[[float, float], float]) -> None:
        self._between = between
        self._initial = INITIAL
        self._all_at = now
        self._last_all = now - MIN_APART
        self._answer_at = float("inf")
        self._answered = now - MAX_DELAY
        self._askers: set[str] = set()

    @property
    def wake(self) -> float:
        """When `take` has something to say next."""
        return min(self._all_at, self._answer_at)

    @property
    def crowded(self) -> bool:
        """Whether further solicitations would change nothing before the next answer."""
        return len(self._askers) > MAX_ASKERS

    def change(self, now: float) -> None:
        """What is advertised has changed: all are to hear of it at once, and twice more."""
        self._initial = INITIAL
        self._all_at = max(now, self._last_all + MIN_APART)

    def solicit(self, source: str, now: float) -> None:
        """*source* asks. Answers are bounded, however often and from however many sources it does."""
        if self.crowded:
            return
        self._askers.add(source)
        if self._answer_at == float("inf"):
            self._answer_at = max(now + self._between(0, MAX_DELAY), self._answered + MAX_DELAY)

    def take(self, now: float) -> list[str]:
        """Where to send to, now; none when nothing is due."""
        found: list[str] = []
        if now >= self._answer_at:
            if self.crowded or UNSPECIFIED in self._askers:
                self._all_at = min(self._all_at, max(now, self._last_all + MIN_APART))
            else:
                found += sorted(self._askers)
            self._askers.clear()
            self._answer_at, self._answered = float("inf"), now
        if now >= self._all_at:
            found = [ALL_NODES]
            self._last_all = now
            self._askers.clear()
            self._answer_at = float("inf")
            self._initial = max(0, self._initial - 1)
            gap = self._between(MIN_INTERVAL, MAX_INTERVAL)
            self._all_at = now + (min(gap, INITIAL_INTERVAL) if self._initial else gap)
        return found
