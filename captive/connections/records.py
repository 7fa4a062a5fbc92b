"""What the connection log holds of a connection, and how its events become sessions again. No I/O.

Each event is sealed alone when it comes, so that a power cut loses no connection that had begun: *on*,
*also* (one more address), *off*. The box cannot read them back; the holder of the private key pairs them.
Never DNS, never a destination: there is no field for it.
"""

from collections.abc import Iterator
from typing import Literal

import msgspec

SIZE = 256
"""Bytes of every event before it is sealed, whatever it holds: its length tells nothing."""

MAX_ADDRESS, MAX_NETWORK, MAX_DEVICE, MAX_NOTE = 45, 12, 45, 40
"""Characters kept at most: an IPv6 address, a network's name, a MAC or its coded form, a reason."""

RESUMED = "resumed"
"""The note of a connection that was already there when the portal started."""


Kind = Literal["on", "also", "off", "lost"]


class Event(msgspec.Struct, frozen=True, array_like=True):
    """One thing that happened to a connection, *at* seconds since 1970 (UTC).

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


class Session(msgspec.Struct):
    """One connection: *on* and *off* in seconds since 1970, None where it was not seen."""

    on: int | None
    off: int | None
    network: str
    device: str
    addresses: list[tuple[str, int]]  # (address, since)
    note: str = ""
    ids: list[str] = []


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
    """Makes sessions of events that are fed in the order of time."""

    def __init__(self) -> None:
        self.lost = 0
        self._open: dict[str, Session] = {}
        self._latest: dict[tuple[str, str], Session] = {}  # (network, device) -> its open session

    def feed(self, event: Event) -> Session | None:
        """Take in *event*; the session that it ends."""
        if event.kind == "lost":
            self.lost += event.count
        elif event.kind == "off":
            return self._end(event)
        else:
            self._begin(event)
        return None

    def rest(self) -> Iterator[Session]:
        """The sessions whose end was not seen."""
        seen: set[int] = set()
        for session in self._open.values():
            if id(session) not in seen:
                seen.add(id(session))
                session.note = session.note or "end not recorded"
                yield session

    def _begin(self, event: Event) -> None:
        session = self._open.get(event.session)
        device = (event.network, event.device)
        if session is None and event.note == RESUMED:
            session = self._latest.get(device)  # the portal was started anew meanwhile
        if session is None:
            session = Session(event.at, None, event.network, event.device, [])
            session.note = "was online before" if event.note == RESUMED else ""
            if event.kind == "also":
                session.on, session.note = None, "begin not recorded"
        if event.session not in session.ids:
            session.ids = [*session.ids, event.session]
        if event.address and event.address not in (known for known, _ in session.addresses):
            session.addresses.append((event.address, event.at))
        self._open[event.session] = self._latest[device] = session

    def _end(self, event: Event) -> Session:
        device = (event.network, event.device)
        session = self._open.get(event.session) or self._latest.get(device)
        if session is None:
            session = Session(None, None, event.network, event.device, [], "begin not recorded")
        for number in session.ids:
            self._open.pop(number, None)
        if self._latest.get((session.network, session.device)) is session:
            del self._latest[session.network, session.device]
        session.off = event.at
        session.note = "; ".join(filter(None, [session.note, event.note]))
        return session


def in_order(events: list[Event]) -> list[Event]:
    """*events*, kept in no order, by time; of the same second a begin before its resumption and its end."""
    rank = {"on": 0, "also": 2, "lost": 3, "off": 4}
    return sorted(events, key=lambda event: (event.at, 1 if event.note == RESUMED else rank[event.kind]))


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
