"""What the connection log holds of a connection, and how its events become sessions again. No I/O.

Each event is sealed alone when it comes, so that a power cut loses no connection that had begun: *on*,
*also* (one more address), *off*. The box cannot read them back; the holder of the private key pairs them.
Never DNS, never a destination: there is no field for it.
"""

from collections import deque
from collections.abc import Iterator
from typing import Literal

import msgspec

SIZE = 256
"""Bytes of every event before it is sealed, whatever it holds: its length tells nothing."""

MAX_ADDRESS, MAX_NETWORK, MAX_DEVICE, MAX_NOTE = 45, 12, 45, 40
"""Characters kept at most: an IPv6 address, a network's name, a MAC or its coded form, a reason."""

RESUMED = "resumed"
"""The note of a connection that was already there when the portal started."""

LINGER = 24 * 3600
"""Seconds: by more than a day no clock is set back while the box keeps a log."""

Kind = Literal["on", "also", "off", "lost"]


class Event(msgspec.Struct, frozen=True, array_like=True):
    """One thing that happened to a connection, *at* seconds since 1970 (UTC) and *ms* thousandths.

    *session* is random and joins the events of one connection; *lost* tells that so many (*count*) events
    before it could not be kept.
    """

    kind: Kind
    at: int
    session: str = ""
    network: str = ""
    device: str = ""
    address: str = ""
    note: str = ""
    count: int = 0
    ms: int = 0  # only for their order: a portal that starts anew ends and begins much within one second


class Session(msgspec.Struct):
    """One connection: *on* and *off* in seconds since 1970, None where it was not seen."""

    on: int | None
    off: int | None
    network: str
    device: str
    addresses: list[tuple[str, int]]  # (address, since)
    note: str = ""
    ids: list[str] = []
    resumed: bool = False  # all that was seen of its begin is that it was there when the portal started


def pack(event: Event) -> bytes:
    """*event* in `SIZE` bytes; what is longer than its field is cut."""
    kept = msgspec.structs.replace(
        event,
        network=event.network[:MAX_NETWORK],
        device=event.device[:MAX_DEVICE],
        address=event.address[:MAX_ADDRESS],
        note=event.note[:MAX_NOTE],
    )
    packed = msgspec.json.encode(kept)
    if len(packed) > SIZE:  # letters beyond ASCII; ours have none
        packed = msgspec.json.encode(
            msgspec.structs.replace(kept, network="", device="", address="", note="")
        )
    return packed.ljust(SIZE)  # JSON takes no offence at spaces


def unpack(packed: bytes) -> Event:
    """The event in *packed*. Raises `msgspec.DecodeError` when there is none."""
    return msgspec.json.decode(packed, type=Event)


class Pairing:
    """Makes sessions of events that are fed in the order of their times.

    A clock that was set back turns that order round, so a session that has ended is kept for `LINGER` seconds more,
    in which its begin or another address may still come.
    """

    def __init__(self) -> None:
        self.lost = 0
        self._sessions: dict[str, Session] = {}  # by each of its ids: those that are open or linger
        self._latest: dict[tuple[str, str], Session] = {}  # (network, device) -> its open session
        self._ended: deque[Session] = deque()

    def feed(self, event: Event) -> list[Session]:
        """Take in *event*; the sessions of which nothing more will come."""
        if event.kind == "lost":
            self.lost += event.count
        elif event.kind == "off":
            self._end(event)
        else:
            self._begin(event)
        done = []
        while self._ended and (self._ended[0].off or 0) < event.at - LINGER:
            done.append(self._told(self._ended.popleft()))
        return done

    def rest(self) -> Iterator[Session]:
        """The sessions that are left, also those whose end was not seen."""
        left = {id(session): session for session in (*self._ended, *self._sessions.values())}
        for session in left.values():
            yield self._told(session)

    def _begin(self, event: Event) -> None:
        session = self._sessions.get(event.session)
        if session is None and event.note == RESUMED:
            session = self._latest.get((event.network, event.device))  # the portal was started anew meanwhile
        if session is None:
            session = Session(None, None, event.network, event.device, [])
            self._latest[event.network, event.device] = session
        if event.kind == "on" and session.on is None:
            session.on, session.resumed = event.at, event.note == RESUMED
        self._name(session, event.session)
        if event.address and event.address not in (known for known, _ in session.addresses):
            session.addresses.append((event.address, event.at))

    def _end(self, event: Event) -> None:
        latest = self._latest.get((event.network, event.device))
        session = self._sessions.get(event.session) or latest
        if session is None:
            session = Session(None, None, event.network, event.device, [])
        self._name(session, event.session)
        if session.off is not None or event.session not in session.ids[-1:]:
            return  # written twice, or of a portal before the one that knows how it went on
        session.off, session.note = event.at, event.note
        self._ended.append(session)
        if self._latest.get((session.network, session.device)) is session:
            del self._latest[session.network, session.device]

    def _name(self, session: Session, number: str) -> None:
        if number not in session.ids:
            session.ids = [*session.ids, number]
        if number:  # none: it began before this portal
            self._sessions[number] = session

    def _told(self, session: Session) -> Session:
        for number in session.ids:
            self._sessions.pop(number, None)
        on, off = session.on, session.off
        notes = [
            "begin not recorded" if on is None else "was online before" if session.resumed else "",
            session.note if off is not None else "end not recorded",
        ]
        if on is not None and off is not None and off < on:
            # Nobody knows which of the two is right: it may have had its addresses at any time between them.
            session.on, session.off = off, on
            session.addresses = [(address, off) for address, _ in session.addresses]
            notes.append("the clock was set back meanwhile")
        session.note = "; ".join(filter(None, notes))
        return session


def in_order(events: list[Event]) -> list[Event]:
    """*events*, kept in no order, by time; of the same moment a begin before its resumption and its end."""
    rank = {"on": 0, "also": 2, "lost": 3, "off": 4}
    return sorted(
        events,
        key=lambda event: (event.at, event.ms, 1 if event.note == RESUMED else rank[event.kind]),
    )


def matches(session: Session, first: int, last: int, address: str, at: int | None) -> bool:
    """Whether *session* touches the time from *first* to *last* and, where asked, had *address*, at *at*.

    What was not seen to begin or end counts as long as it may have been.
    """
    on = session.on if session.on is not None else 0
    off = session.off if session.off is not None else 2**62
    if off < first or on > last or (at is not None and not on <= at <= off):
        return False
    if not address:
        return True
    return any(each == address and (at is None or since <= at) for each, since in session.addresses)
