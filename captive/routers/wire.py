"""What portal and thin routers say to each other: lines of text, each signed. Rules only, no I/O.

TLS tells the router that it speaks to the portal's name; on top both sides prove that they hold the router's
key. Nothing depends on a clock that is set: what is fresh is told by nonces and by numbers that only grow.
"""

import hashlib
import hmac
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from captive.gateway import Lease, Terms
from crm.settings import Place

MAX_STREAM_REQUEST = 512
"""Bytes of the line that asks for a stream."""
SESSION_LENGTH = 32
"""Letters of a session's name, with which a report begins."""
MAX_REPORT = 256 * 1024
MAX_PRESENT = 2_000
"""Devices that a report may name as being there; the guest networks that this is made for hold 254."""
MAX_AT_ONCE = 200
"""Devices in one line at most."""
MAX_SECONDS = 10 * 24 * 3600
MAX_BYTES = 2**46
"""Of one device and way, a week at 1 Gbit/s. A router that lets counts begin anew at each reading, every ten seconds,
gets no sum in a fortnight that the store's 63 bits do not hold."""
CHALLENGE_SECONDS = 60.0
"""For which a challenge is good."""

_MAC = r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}"
_STREAM = re.compile(r"([a-z][a-z0-9_]{0,11}) ([A-Za-z0-9._\-]{1,200}) ([0-9a-f]{32}) ([0-9a-f]{64})\n?")
_HEAD = re.compile(rb"([0-9a-f]{32}) ([1-9][0-9]{0,14}) ([0-9a-f]{64})")
_CHALLENGE = re.compile(r"([0-9a-f]{32})-([0-9]{1,15})-([0-9a-f]{64})")
_APPLIED = re.compile(r"[0-9]{1,15}")
_LEASE = re.compile(rf"({_MAC}) ([0-9]{{1,10}}) ([0-9]{{1,19}}) ([0-9]{{1,19}})")
_PRESENT = re.compile(_MAC)
_AWAY = re.compile(r"[0-9]{1,10}")
_SIGNATURE = re.compile(r"[0-9a-f]{64}")
_VERSION = re.compile(r"[A-Za-z0-9 ._+~:\-]{1,64}")
_ENTER = re.compile(r"(?:[0-9a-f]{2}){0,1024}")


class WireError(ValueError):
    """Not what a router says; the message tells what was wrong, without any device."""


class StreamRequest(NamedTuple):
    """A router asks for its stream."""

    name: str
    challenge: str
    nonce: str
    signature: str


class ReportHead(NamedTuple):
    """Whose report it is; *number* grows from report to report."""

    session: str
    number: int
    signature: str


class Report(NamedTuple):
    """What a router tells of itself and of its table.

    *applied* is the number of the last line that it carried out; *leases* are by MAC; *away*: seconds for which
    the portal was away before.
    """

    applied: int
    leases: dict[str, Lease]
    present: tuple[str, ...] = ()
    version: str = ""
    away: int | None = None


def sign(key: bytes, text: str) -> str:
    """HMAC-SHA-256 of *text*, as 64 hex digits."""
    return hmac.digest(key, text.encode(), hashlib.sha256).hex()


def is_signed(key: bytes, text: str, signature: str) -> bool:
    """Whether *signature* is that of *text*; takes as long whatever is wrong with it."""
    return hmac.compare_digest(sign(key, text).encode(), signature.encode())


def session_key(key: bytes, way: str, request: StreamRequest) -> bytes:
    """The key of one session for the *way* ``down`` (the portal's lines) or ``up`` (reports)."""
    return sign(key, f"{way} {request.challenge} {request.nonce}").encode()


# -- the portal proves nothing here but that it asked ------------------------------------------------


def make_challenge(key: bytes, random: str, now: float) -> str:
    """A challenge given out at *now* (seconds, on a clock that only goes forward); *random*: 32 hex digits."""
    body = f"{random}-{int(now)}"
    return f"{body}-{sign(key, body)}"


def is_challenge(key: bytes, text: str, now: float) -> bool:
    """Whether *text* is a challenge of ours, and not too old."""
    found = _CHALLENGE.fullmatch(text)
    if not found or not is_signed(key, f"{found[1]}-{found[2]}", found[3]):
        return False
    return 0 <= now - int(found[2]) <= CHALLENGE_SECONDS


def parse_stream(body: bytes) -> StreamRequest:
    """The line that asks for a stream. Raises `WireError`."""
    found = _STREAM.fullmatch(body.decode("ascii", "replace"))
    if not found:
        raise WireError("expected: NAME CHALLENGE NONCE SIGNATURE")
    return StreamRequest(*found.groups())


def is_from_router(key: bytes, request: StreamRequest) -> bool:
    """Whether *request* was written by who holds *key*."""
    text = f"stream {request.name} {request.challenge} {request.nonce}"
    return is_signed(key, text, request.signature)


# -- down: what the portal says ---------------------------------------------------------------------


def signed_line(down: bytes, number: int, text: str) -> bytes:
    """*text* as line *number* of a stream."""
    return f"{number} {sign(down, f'{number} {text}')} {text}\n".encode()


def config_text(place: Place, host: str, revocation: Sequence[str] = ()) -> str:
    """The terms of *place* as far as the router keeps them; *host* is the portal's name.

    *revocation* are hosts where phones ask about the portal's certificate. The router resolves names itself, and
    no name tells which names are below it: of ``*.gov.vn`` only ``gov.vn`` is open.
    """
    hosts = dict.fromkeys([*(each.removeprefix("*.") for each in place.walled_garden), *revocation])
    grant = place.grant
    return (
        f"config up_kbit={grant.up_kbit} down_kbit={grant.down_kbit} portal={host} garden={','.join(hosts)}"
    )


def order_texts(orders: Mapping[str, Terms | None]) -> Iterator[tuple[str, list[str]]]:
    """(line, MACs in it) for *orders*: whom to let through on which terms, and (None) whom not."""
    allowed = [(mac, terms) for mac, terms in orders.items() if terms]
    denied = [mac for mac, terms in orders.items() if not terms]
    for start in range(0, len(denied), MAX_AT_ONCE):
        macs = denied[start : start + MAX_AT_ONCE]
        yield f"deny {' '.join(macs)}", macs
    for start in range(0, len(allowed), MAX_AT_ONCE):
        some = allowed[start : start + MAX_AT_ONCE]
        words = (f"{mac} {terms.seconds} {int(terms.fresh)}" for mac, terms in some)
        yield f"allow {' '.join(words)}", [mac for mac, _ in some]


def add_order(orders: dict[str, Terms | None], mac: str, terms: Terms | None) -> None:
    """Put the last word on *mac* into *orders*; counts that were to begin anew still do."""
    before = orders.pop(mac, terms)
    if terms and not terms.fresh and (before is None or before.fresh):
        terms = Terms(terms.seconds, fresh=True)
    orders[mac] = terms


# -- up: what the router says -----------------------------------------------------------------------


def parse_report_head(body: bytes) -> tuple[ReportHead, bytes]:
    """The head of a report, and the report. Raises `WireError`."""
    line, _, report = body.partition(b"\n")
    found = _HEAD.fullmatch(line)
    if not found:
        raise WireError("expected: SESSION NUMBER SIGNATURE")
    return ReportHead(found[1].decode(), int(found[2]), found[3].decode()), report


def is_report(up: bytes, head: ReportHead, report: bytes) -> bool:
    """Whether *head* and *report* belong together and were written by who holds *up*."""
    made = hmac.digest(up, b"%d\n%b" % (head.number, report), hashlib.sha256).hex()
    return hmac.compare_digest(made, head.signature)


def parse_report(report: bytes) -> Report:
    """What a router reports; lines that begin with words of a newer one are passed over. Raises `WireError`."""
    applied, version, away = 0, "", None
    leases: dict[str, Lease] = {}
    present: dict[str, None] = {}
    for number, line in enumerate(report.decode("ascii", "replace").split("\n"), 1):
        word, _, rest = line.partition(" ")
        if word == "lease":
            mac, *counts = _expect(_LEASE, rest, number).groups()
            seconds, up, down = map(int, counts)
            leases[mac] = Lease(min(seconds, MAX_SECONDS), min(up, MAX_BYTES), min(down, MAX_BYTES))
        elif word == "present":
            present[_expect(_PRESENT, rest, number)[0]] = None
        elif word == "applied":
            applied = int(_expect(_APPLIED, rest, number)[0])
        elif word == "version":
            version = _expect(_VERSION, rest, number)[0]
        elif word == "away":
            away = int(_expect(_AWAY, rest, number)[0])
    if len(present) > MAX_PRESENT:
        raise WireError(f"more than {MAX_PRESENT} devices are said to be there")
    return Report(applied, leases, tuple(present), version, away)


def _expect(pattern: re.Pattern[str], text: str, number: int) -> re.Match[str]:
    found = pattern.fullmatch(text)
    if not found:
        raise WireError(f"line {number} of the report cannot be understood")
    return found


# -- redirects that a router signs ------------------------------------------------------------------


def enter_text(name: str, mac: str, wanted: str) -> str:
    """What a router signs when it sends the device *mac* to the portal; *wanted* in hex digits."""
    return f"enter {name} {mac} {wanted}"


def is_mac(text: str) -> bool:
    """Whether *text* is a MAC as it is written here."""
    return _PRESENT.fullmatch(text) is not None


def is_signature(text: str) -> bool:
    """Whether *text* has the form of a signature."""
    return _SIGNATURE.fullmatch(text) is not None


def unwrap(wanted: str) -> tuple[str, str] | None:
    """(host, path) of the page that was asked for behind the hex digits *wanted*; None: no hex digits."""
    if not _ENTER.fullmatch(wanted):
        return None
    host, slash, path = bytes.fromhex(wanted).decode("latin-1").partition("/")
    return host, slash + path
