"""A sealed export: the sessions that a request asks for, for one reader, with a manifest and an audit line.

The audit line that says who asks and why is on the disk before the first record is opened.
"""

import contextlib
import csv
import hashlib
import io
import os
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta, tzinfo
from pathlib import Path

import msgspec
from nacl.public import PrivateKey

from captive.connections.audit import Entry, Line
from captive.connections.keys import open_sealed
from captive.connections.records import Pairing, Session, in_order, matches, unpack
from captive.connections.sealed_file import Reader, seal
from captive.connections.store import insert_audit, opened, select_days, select_sealed, transaction
from crm.errors import SetupError

AROUND = timedelta(days=8)
"""How far before and after the days asked for is looked for begins and ends; a grant lasts 7 days at most."""

COLUMNS = ("time_on", "time_off", "network", "addresses", "device", "note")
MANIFEST = ".manifest.json"


class Wanted(msgspec.Struct, frozen=True):
    """What is asked for, by whom and why; *address* and *at* narrow it down."""

    first: date
    last: date
    reason: str
    requester: str
    approver: str
    recipient: str  # the reader's key, or "passphrase", as the manifest and the audit name it
    address: str = ""
    at: datetime | None = None


class Tally(msgspec.Struct):
    """What an export met on its way."""

    sessions: int = 0
    events: int = 0
    unopened: int = 0
    lost: int = 0


class Export:
    """One export from the log at *path*; *progress* is told of each record looked at."""

    def __init__(
        self, path: Path, keys: list[PrivateKey], zone: tzinfo, progress: Callable[[int], None]
    ) -> None:
        self._path = path
        self._keys = keys
        self._zone = zone
        self._progress = progress
        self.tally = Tally()

    def count(self, wanted: Wanted) -> int:
        """Events to look through."""
        with opened(self._path) as conn:
            return sum(n for _, n in select_days(conn, wanted.first - AROUND, wanted.last + AROUND))

    def write(self, wanted: Wanted, reader: Reader, output: Path, account: str, now: datetime) -> Line:
        """Write the sealed file *output* and its manifest; returns the audit line that ends it.

        Raises `SetupError`; then neither file is there, while the audit keeps that it was tried.
        """
        manifest = output.with_name(output.name + MANIFEST)
        for path in (output, manifest):
            if path.exists():
                raise SetupError(f"{path}: there is a file already; name another one")
        entry = Entry(
            f"{now.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}", "export", account,
            wanted.requester, wanted.approver, wanted.reason, wanted.first.isoformat(), wanted.last.isoformat(),
            [name for name, given in (("address", wanted.address), ("at", wanted.at)) if given],
            wanted.recipient,
        )  # fmt: skip
        with _draft(output) as draft, _draft(manifest) as told:
            begun = self._note(entry)
            digest = self._seal_into(draft, wanted, reader)
            if self.tally.unopened and self.tally.unopened == self.tally.events:
                raise SetupError(
                    f"the key opens none of the {self.tally.events} records; another key was in the settings then"
                )
            done = self._note(
                msgspec.structs.replace(
                    entry, act="exported", sessions=self.tally.sessions, rows=self.tally.events, sha256=digest
                )
            )
            told.write_bytes(_manifest(wanted, self.tally, output.name, digest, begun, done))
            draft.rename(output)
            told.rename(manifest)
        return done

    def _note(self, entry: Entry) -> Line:
        with opened(self._path) as conn, transaction(conn):
            return insert_audit(conn, entry)

    def _seal_into(self, draft: Path, wanted: Wanted, reader: Reader) -> str:
        digest = hashlib.sha256()
        with draft.open("wb") as file:
            for piece in seal(self._lines(wanted), reader):
                digest.update(piece)
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        return digest.hexdigest()

    def _lines(self, wanted: Wanted) -> Iterator[bytes]:
        yield "\ufeff".encode()  # spreadsheets take it for UTF-8 then
        yield _line(COLUMNS)
        for session in self._sessions(wanted):
            self.tally.sessions += 1
            addresses = [
                address if since == session.on else f"{address} (since {self._local(since)})"
                for address, since in session.addresses
            ]
            on, off = self._local(session.on), self._local(session.off)
            yield _line((on, off, session.network, " ".join(addresses), session.device, session.note))

    def _sessions(self, wanted: Wanted) -> Iterator[Session]:
        first = int(datetime.combine(wanted.first, datetime.min.time(), self._zone).timestamp())
        last = (
            int(datetime.combine(wanted.last + timedelta(1), datetime.min.time(), self._zone).timestamp()) - 1
        )
        at = int(wanted.at.timestamp()) if wanted.at else None
        pairing = Pairing()
        for session in self._pair(pairing, wanted):
            if matches(session, first, last, wanted.address, at):
                yield session
        self.tally.lost = pairing.lost

    def _pair(self, pairing: Pairing, wanted: Wanted) -> Iterator[Session]:
        """Every session of the days around; of a day only its own events are in memory."""
        with opened(self._path) as conn:
            days = [day for day, _ in select_days(conn, wanted.first - AROUND, wanted.last + AROUND)]
        for day in days:
            with opened(
                self._path
            ) as conn:  # nothing is held while a day is looked through: the portal writes
                rows = select_sealed(conn, day)
            events = []
            for sealed in rows:
                self.tally.events += 1
                self._progress(1)
                packed = open_sealed(sealed, self._keys)
                if packed is None:
                    self.tally.unopened += 1
                else:
                    events.append(unpack(packed))
            for event in in_order(events):
                yield from pairing.feed(event)
        yield from pairing.rest()

    def _local(self, seconds: int | None) -> str:
        return "" if seconds is None else datetime.fromtimestamp(seconds, self._zone).isoformat(" ")


@contextlib.contextmanager
def _draft(path: Path) -> Iterator[Path]:
    """A file beside *path* (0600) to write into and rename; gone when it was not renamed."""
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise SetupError(f"{path}: cannot be written: {error.strerror}; name another file") from None
    os.close(descriptor)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _line(values: tuple[str, ...]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow(values)
    return text.getvalue().encode()


def _manifest(wanted: Wanted, tally: Tally, name: str, digest: str, begun: Line, done: Line) -> bytes:
    told = {
        "file": name,
        "sha256": digest,
        "sealed_for": wanted.recipient,
        "from": wanted.first,
        "to": wanted.last,
        "address": wanted.address,
        "at": wanted.at,
        "reason": wanted.reason,
        "requester": wanted.requester,
        "approver": wanted.approver,
        **msgspec.structs.asdict(tally),
        "audit": [{"line": line.n, "hash": line.hash.hex()} for line in (begun, done)],
    }
    return msgspec.json.format(msgspec.json.encode(told), indent=2) + b"\n"
