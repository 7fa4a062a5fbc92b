"""Writes the connection log: events wait in memory, are dated by a sound clock, sealed, and written in batches.

Nothing here may hold up or hurt a guest: the two verbs only note, memory is bounded, and a disk that fails
costs records, which the log itself tells, and nothing else.
"""

import asyncio
import contextlib
import hashlib
import hmac
import itertools
import os
import secrets
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import structlog
from nacl.public import PublicKey, SealedBox

from captive.connections.audit import Entry
from captive.connections.keys import find_public, fingerprint
from captive.connections.records import RESUMED, Event, Kind, pack
from captive.connections.store import (
    DamagedLogError,
    insert_audit,
    insert_records,
    opened,
    select_audit,
    set_aside,
    transaction,
)
from captive.gateway import key_parts
from crm.errors import SetupError
from crm.settings import Settings
from crm.times import is_sound, local_moment
from crm.web import Clock

log = structlog.get_logger()

FLUSH = 15.0
"""Seconds for which events are gathered; a power cut loses those of this time at most."""

LAST_FLUSH = 5.0
"""Seconds that the portal waits for the last batch when it stops."""

MAX_WAITING = 10_000
"""Events that wait for the disk or a sound clock at most (about 4 MB); later ones are counted only."""

BATCH = 256
"""Events written in one transaction: what a batch takes of memory, the process keeps."""

MAX_SESSIONS = 70_000
"""Connections followed at a time; the kernel's set holds 65,536."""

MAX_ADDRESSES = 16
"""Addresses noted for one connection; a phone has one of IPv4 and a few of IPv6."""


class _Noted(msgspec.Struct, frozen=True):
    """An event before it is dated: *moment* is on the monotonic clock."""

    moment: float
    event: Event


class _Session(msgspec.Struct, gc=False):
    id: str
    addresses: tuple[str, ...]


class ConnectionLog:
    """A `captive.grants.journal.Journal` that keeps what it is told. `start` it, and `close` it at the end."""

    def __init__(
        self,
        settings: Settings,
        public: PublicKey,
        clock: Clock,
        *,
        addresses: Callable[[], Mapping[str, str]] = dict,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """*addresses* tells which device is at each address now."""
        self._path = Path(settings.connection_log.path)
        self._hashed = settings.connection_log.macs == "hashed"
        self._zone = ZoneInfo(settings.venue.timezone)
        self._box = SealedBox(public)
        self._key = fingerprint(public)
        self._clock = clock
        self._addresses = addresses
        self._monotonic = monotonic
        self._sessions: dict[str, _Session] = {}
        self._waiting: deque[_Noted] = deque()
        self._lost = 0
        self._day, self._day_key = date.min, b""
        self._key_noted = False
        self._complaint = ""
        self._flushing = asyncio.Lock()
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def resume(self, devices: Iterable[str]) -> None:
        """*devices* were online before the portal started."""
        for device in devices:
            self._begin(device, "", RESUMED)

    def began(self, device: str, address: str) -> None:
        """*device* is online and has *address* (empty: not known); told again, one more address is noted."""
        self._begin(device, address)

    def _begin(self, device: str, address: str, note: str = "") -> None:
        address = address.removeprefix("::ffff:")
        if address.startswith("fe80:"):  # every device gives itself one; it leads nowhere
            address = ""
        session = self._sessions.get(device)
        if session is None:
            if len(self._sessions) >= MAX_SESSIONS:
                self._lost += 1
                return
            session = _Session(secrets.token_hex(8), (address,) if address else ())
            self._sessions[device] = session
            self._note("on", device, session.id, address, note)
        elif address and address not in session.addresses and len(session.addresses) < MAX_ADDRESSES:
            session.addresses += (address,)
            self._note("also", device, session.id, address)

    def ended(self, device: str, reason: str = "") -> None:
        """*device* is not online any more. One that never began here was online before the portal started."""
        session = self._sessions.pop(device, None)
        self._note("off", device, session.id if session else "", "", reason)

    async def start(self) -> None:
        """Write in the background from now on."""
        self._task = asyncio.create_task(self._write_for_ever(), name="connection log")

    async def close(self) -> None:
        """Write what waits, for `LAST_FLUSH` seconds at most."""
        self._stopping.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_FLUSH):
                if self._task is not None:
                    await self._task
                await self.flush()
        if self._waiting:
            log.error("connection log: records are lost", records=len(self._waiting) + self._lost)

    async def flush(self) -> bool:
        """Date, seal and write what waits; False when it has to wait longer."""
        async with self._flushing:
            for address, device in self._addresses().items():
                if device in self._sessions:
                    self._begin(device, address)
            written = await self._flush_batch()
            for _ in range(MAX_WAITING // BATCH):
                if not (written and self._waiting):
                    break
                written = await self._flush_batch()
            return written

    async def _flush_batch(self) -> bool:
        now, moment = self._clock(), self._monotonic()
        if not is_sound(now):
            if self._waiting:
                self._complain("the clock shows a time in the past; records wait for it")
            return False
        noted, lost = list(itertools.islice(self._waiting, BATCH)), self._lost
        events = [_dated(each, now, moment) for each in noted]
        if lost:
            events.append(Event("lost", int(now.timestamp()), count=lost))
        if not events and self._key_noted:
            return True
        try:
            await asyncio.to_thread(self._write, events, now)
        except DamagedLogError as error:
            self._complain(f"damaged ({error})")
            return False
        except (sqlite3.Error, OSError) as error:
            self._complain(_reason(error))
            return False
        for _ in noted:
            self._waiting.popleft()
        self._lost -= lost
        self._complain("")
        return True

    def _note(self, kind: Kind, device: str, session: str, address: str, note: str = "") -> None:
        if len(self._waiting) >= MAX_WAITING:
            self._lost += 1
            return
        network, mac, _ = key_parts(device)
        event = Event(kind, 0, session, network, mac, address, note)
        self._waiting.append(_Noted(self._monotonic(), event))

    async def _write_for_ever(self) -> None:
        while not self._stopping.is_set():
            try:
                await self.flush()
            except Exception as error:
                log.exception("connection log: a batch failed; it is tried again", error=type(error).__name__)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), FLUSH)

    def _write(self, events: Sequence[Event], now: datetime) -> None:
        """Seal and write *events*; in a thread."""
        self._take_day_key(local_moment(now, self._zone).day)
        rows = [(self._local_day(event), self._seal(event)) for event in events]
        try:
            with opened(self._path, create=True) as conn, transaction(conn):
                if not self._key_noted:
                    self._note_key(conn, now)
                insert_records(conn, rows)
        except DamagedLogError:
            aside = set_aside(self._path)
            log.error("connection log: damaged; moved aside, a new one begins", aside=aside.name)  # noqa: TRY400
            self._key_noted = False
            raise
        self._key_noted = True

    def _note_key(self, conn: sqlite3.Connection, now: datetime) -> None:
        """The audit says from when on which key opens the log."""
        texts = [line.text for line in select_audit(conn)]
        known = [entry.key for entry in map(_entry, texts) if entry and entry.act == "key"]
        if not known or known[-1] != self._key:
            insert_audit(conn, Entry(f"{now.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}", "key", key=self._key))

    def _take_day_key(self, today: date) -> None:
        if self._day != today:  # yesterday's is gone: it was in memory only
            self._day, self._day_key = today, os.urandom(32)

    def _seal(self, event: Event) -> bytes:
        if self._hashed and event.device:
            coded = hmac.digest(self._day_key, event.device.encode(), hashlib.sha256)[:16].hex()
            event = msgspec.structs.replace(event, device=coded)
        return bytes(self._box.encrypt(pack(event)))

    def _local_day(self, event: Event) -> date:
        return local_moment(datetime.fromtimestamp(event.at, UTC), self._zone).day

    def _complain(self, reason: str) -> None:
        """Say once what is wrong, and once that it is right again."""
        if reason != self._complaint:
            if reason:
                log.error("connection log: not written; guests are not affected", reason=reason)
            else:
                log.info("connection log: written again")
            self._complaint = reason


def _dated(noted: _Noted, now: datetime, moment: float) -> Event:
    """The event with its time: as long before *now* as it was noted before *moment*."""
    at = now - timedelta(seconds=max(0.0, moment - noted.moment))
    seconds, ms = divmod(int(at.timestamp() * 1000), 1000)
    return msgspec.structs.replace(noted.event, at=seconds, ms=ms)


def _entry(text: str) -> Entry | None:
    try:
        return msgspec.json.decode(text, type=Entry)
    except msgspec.DecodeError:
        return None


def _reason(error: Exception) -> str:
    """What went wrong, without what SQLite or the system put in: constant words only."""
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return getattr(error, "sqlite_errorname", type(error).__name__)


def open_log(settings: Settings, clock: Clock, addresses: Callable[[], Mapping[str, str]]) -> ConnectionLog:
    """The log that the settings ask for; *addresses* as for `ConnectionLog`.

    Raises `SetupError` when the public key is none.
    """
    try:
        public = find_public(settings.connection_log.public_key)
    except SetupError as error:
        raise SetupError(f"connection_log.public_key: {error}") from None
    return ConnectionLog(settings, public, clock, addresses=addresses)
