"""A SQLite store that cannot be used is told from one that can, and put aside, so that a new one takes its place.

Guests go online whatever became of a file. What was in it is kept beside the new one, for whoever can mend it.
"""

import os
import re
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from crm.times import is_sound

Condition = Literal["sound", "older", "newer", "missing", "damaged", "out_of_reach"]
"""*older*: `crm.migrate` brings it up to date. *out_of_reach*: perhaps well, but not now (rights, disk, lock)."""

Check = Callable[[sqlite3.Connection], None]
"""Reads what a store of that kind must hold; raises ValueError or sqlite3.DatabaseError where it does not."""

CHECK_SECONDS = 3.0
"""For looking through the file; in a large one damage may be found later, when it is met."""
WAIT_SECONDS = 2.0
"""For another process's lock."""
KEEP = timedelta(days=7)
"""How long a broken access store stays: it names devices."""

_NOT_THE_FILE = {
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_AUTH,
}
"""Errors that say nothing of what is in the file."""
_STAMP = "%Y%m%dT%H%M%SZ"
_PARTS = ("", "-wal", "-shm", "-journal")


def judge(path: Path, head: str, check: Check = lambda _: None) -> Condition:
    """In what condition the store at *path* is, for a program whose newest schema step is *head*."""
    try:
        if not path.exists():
            return "missing"
        if not path.stat().st_size:
            return "damaged"
        with closing(sqlite3.connect(path, timeout=WAIT_SECONDS, isolation_level=None)) as connection:
            return _judge(connection, head, check)
    except sqlite3.DatabaseError as error:
        return "out_of_reach" if says_nothing(error, path) else "damaged"
    except sqlite3.Error:  # the library's own complaint of what it reads
        return "damaged"
    except OSError:
        return "out_of_reach"
    except (ValueError, OverflowError):
        return "damaged"


def _judge(connection: sqlite3.Connection, head: str, check: Check) -> Condition:
    until = time.monotonic() + CHECK_SECONDS
    connection.execute("PRAGMA cell_size_check=ON")
    # A flipped bit can make a file read-only for SQLite that is not; only trying tells.
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("ROLLBACK")
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if not tables:  # a store whose list of tables is gone still has their pages
        return "missing" if connection.execute("PRAGMA page_count").fetchone()[0] <= 1 else "damaged"
    versions = [str(row[0]) for row in connection.execute("SELECT version_num FROM alembic_version LIMIT 2")]
    if len(versions) != 1 or not re.fullmatch("[0-9]{4}", version := versions[0]):
        return "damaged"
    connection.set_progress_handler(lambda: time.monotonic() > until, 10_000)
    try:
        if connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            return "damaged"
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_INTERRUPT:
            raise
    connection.set_progress_handler(None, 0)
    if version != head:
        return "newer" if version > head else "older"
    check(connection)
    return "sound"


def says_nothing(error: sqlite3.Error, path: Path) -> bool:
    """Whether *error*, met in the store at *path*, tells of rights, room or locks instead of what is in it."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code == sqlite3.SQLITE_READONLY:
        return not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK))
    if code == sqlite3.SQLITE_CANTOPEN:
        return not path.is_dir()
    return code in _NOT_THE_FILE


def set_aside(path: Path, now: datetime) -> Path:
    """Move the store at *path* out of the way, with what belongs to it; where it is now. Raises OSError."""
    aside = _free_name(path, now)
    _rename(path, aside)
    for part in _PARTS:
        if _with(aside, part).is_file():
            _with(aside, part).chmod(0o600)
    return aside


def copy_aside(path: Path, now: datetime) -> Path:
    """Keep a copy of the broken store at *path*, which another is to take the place of; where it is. Raises OSError."""
    aside = _free_name(path, now)
    for part in _PARTS:
        if _with(path, part).is_file():
            descriptor = os.open(_with(aside, part), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as copy, _with(path, part).open("rb") as file:
                shutil.copyfileobj(file, copy)
    return aside


def kept_aside(path: Path) -> list[Path]:
    """The broken stores that were moved out of the way of the one at *path*, oldest first."""
    return sorted(each for each in path.parent.glob(f"{path.name}.broken-*") if _stamp(each))


def delete_expired(path: Path, now: datetime) -> int:
    """Delete what was set aside from *path* longer than `KEEP` ago; how many of them went. Raises OSError.

    By a clock that is known to be wrong nothing is deleted; what it has stamped is stamped anew, once there is
    a better one, and kept from then.
    """
    if not is_sound(now):
        return 0
    gone = 0
    for aside in kept_aside(path):
        stamp = _stamp(aside)
        if stamp is None or stamp > now - KEEP:
            continue
        if is_sound(stamp):
            gone += 1
            for part in _PARTS:
                _with(aside, part).unlink(missing_ok=True)
        else:
            _rename(aside, _free_name(path, now))
    return gone


def _rename(old: Path, new: Path) -> None:
    for part in _PARTS:
        if _with(old, part).exists() or _with(old, part).is_symlink():
            _with(old, part).rename(_with(new, part))


def _free_name(path: Path, now: datetime) -> Path:
    return next(name for name in _names(path, now) if not any(_with(name, part).exists() for part in _PARTS))


def _names(path: Path, now: datetime) -> Iterator[Path]:
    while True:
        yield path.with_name(f"{path.name}.broken-{now.astimezone(UTC):{_STAMP}}")
        now += timedelta(seconds=1)


def _with(path: Path, part: str) -> Path:
    return path.with_name(path.name + part)


def _stamp(path: Path) -> datetime | None:
    """When the file at *path* was set aside, by its name; None for what belongs to another."""
    try:
        return datetime.strptime(path.name.rpartition(".broken-")[2], _STAMP).replace(tzinfo=UTC)
    except ValueError:
        return None
