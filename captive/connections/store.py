"""The SQL of the connection log: a SQLite file of its own, opened for each batch and closed after it.

With the whole file in hand but no private key, it says how many events a day had, and nothing more: rows
are sealed, of one length, and named by random ids (no rowid that tells who came after whom).
"""

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path

from captive.connections.audit import Entry, Line, make_line
from crm.errors import SetupError

APPLICATION = 0x77636C67  # "wclg"
VERSION = 1
BUSY = 10.0
"""Seconds to wait for another process that writes."""
DAMAGED = ".damaged-"

_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE record (
    day TEXT NOT NULL,     -- local day, for retention; the only thing in clear
    id BLOB NOT NULL,      -- random
    sealed BLOB NOT NULL,
    PRIMARY KEY (day, id)
) WITHOUT ROWID;
CREATE TABLE audit (n INTEGER PRIMARY KEY, line TEXT NOT NULL, hash BLOB NOT NULL);
CREATE TRIGGER audit_stays BEFORE UPDATE ON audit BEGIN SELECT raise(ABORT, 'audit lines stay'); END;
CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit BEGIN SELECT raise(ABORT, 'audit lines stay'); END;
PRAGMA application_id={APPLICATION};
PRAGMA user_version={VERSION};
COMMIT;
"""


class DamagedLogError(Exception):
    """The file cannot be read as a connection log."""


@contextlib.contextmanager
def opened(path: Path, *, create: bool = False) -> Iterator[sqlite3.Connection]:
    """A connection to the log at *path*; with *create* it is made when it is missing (0600).

    Raises `SetupError` when there is none, `DamagedLogError` when it is none of ours, `sqlite3.Error`
    when it cannot be reached now (locked, disk full, no permission).
    """
    if create and not path.exists():
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
    if not path.exists():
        raise SetupError(f"{path}: there is no connection log here; it is made when the first record comes")
    conn = sqlite3.connect(path, timeout=BUSY, isolation_level=None)
    try:
        with _telling_damage():
            # A rollback journal, gone with each commit: unlike a write-ahead log it keeps no order of arrival.
            conn.execute("PRAGMA journal_mode=DELETE")
            conn.execute("PRAGMA synchronous=FULL")
            conn.execute("PRAGMA secure_delete=ON")
            _prepare(conn, create=create)
            yield conn
    finally:
        conn.close()


def _prepare(conn: sqlite3.Connection, *, create: bool) -> None:
    (application,) = conn.execute("PRAGMA application_id").fetchone()
    (version,) = conn.execute("PRAGMA user_version").fetchone()
    if create and not application and not conn.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
        conn.executescript(_SCHEMA)
    elif (application, version) != (APPLICATION, VERSION):
        raise DamagedLogError("not a connection log of this program's version")


@contextlib.contextmanager
def _telling_damage() -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise DamagedLogError(str(error)) from None
        raise


@contextlib.contextmanager
def transaction(conn: sqlite3.Connection) -> Iterator[None]:
    """All or nothing."""
    conn.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        with contextlib.suppress(sqlite3.Error):  # a full disk has rolled back by itself
            conn.execute("ROLLBACK")
        raise
    conn.execute("COMMIT")


def insert_records(conn: sqlite3.Connection, rows: Sequence[tuple[date, bytes]]) -> None:
    """Keep *rows*: (local day, sealed event)."""
    fresh = sorted((day.isoformat(), os.urandom(16), sealed) for day, sealed in rows)
    conn.executemany("INSERT INTO record (day, id, sealed) VALUES (?, ?, ?)", fresh)


def select_sealed(conn: sqlite3.Connection, day: date) -> list[bytes]:
    """The sealed events of *day*, in no order."""
    return [row[0] for row in conn.execute("SELECT sealed FROM record WHERE day = ?", (day.isoformat(),))]


def select_days(conn: sqlite3.Connection, first: date, last: date) -> list[tuple[date, int]]:
    """The days from *first* to *last* that have events, and how many."""
    rows = conn.execute(
        "SELECT day, count(*) FROM record WHERE day BETWEEN ? AND ? GROUP BY day ORDER BY day",
        (first.isoformat(), last.isoformat()),
    )
    return [(date.fromisoformat(day), n) for day, n in rows]


def delete_records(conn: sqlite3.Connection, before: date) -> int:
    """Overwrite and remove all events of days earlier than *before*; how many there were."""
    return conn.execute("DELETE FROM record WHERE day < ?", (before.isoformat(),)).rowcount


def select_audit(conn: sqlite3.Connection) -> Iterator[Line]:
    """Every line of the audit, in order."""
    for n, text, digest in conn.execute("SELECT n, line, hash FROM audit ORDER BY n"):
        yield Line(n, str(text), bytes(digest))


def insert_audit(conn: sqlite3.Connection, entry: Entry) -> Line:
    """Add *entry* to the audit; call it in a transaction."""
    last = conn.execute("SELECT n, line, hash FROM audit ORDER BY n DESC LIMIT 1").fetchone()
    line = make_line(entry, Line(*last) if last else None)
    conn.execute("INSERT INTO audit (n, line, hash) VALUES (?, ?, ?)", (line.n, line.text, line.hash))
    return line


def set_aside(path: Path) -> Path:
    """Move a damaged log, and what SQLite left beside it, out of the way; where it is now."""
    number = 1
    while (aside := path.with_name(f"{path.name}{DAMAGED}{number}")).exists():
        number += 1
    path.rename(aside)
    journal = path.with_name(path.name + "-journal")
    if journal.exists():  # else SQLite would roll it back into the new file
        journal.rename(aside.with_name(aside.name + "-journal"))
    return aside


def set_aside_files(path: Path) -> list[Path]:
    """The damaged logs that were moved out of the way."""
    return sorted(path.parent.glob(f"{path.name}{DAMAGED}*")) if path.parent.is_dir() else []


def first_day_kept(today: date, days: int) -> date:
    """The first day whose events are still kept; *days* 0 keeps none."""
    return today - timedelta(days=days - 1)
