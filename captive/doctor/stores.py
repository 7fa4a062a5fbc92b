"""Both stores and the connection log: readable, sound, of this program's schema."""

import asyncio
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from captive.connections.state import describe
from captive.doctor.finding import Finding, Notes
from captive.store_care import sqlite_path
from crm.errors import SetupError
from crm.salvage import CHECK_SECONDS, kept_aside
from crm.schema import age_of
from crm.settings import Settings

_AGES = {
    "older": ("of an older schema", "run: wificrm migrate"),
    "missing": ("not there", "run: wificrm migrate"),
    "newer": ("of a newer schema than this program's", "install that wificrm again, or restore a backup"),
}
_BACKUP = "restore the last backup: wificrm restore FILE"


async def look_at_stores(settings: Settings) -> list[Finding]:
    """The stores, what was set aside of them, the connection log."""
    notes = Notes()
    for name, dsn, package in _stores(settings):
        await _look_at(notes, name, dsn, package)
    _look_aside(notes, settings)
    _look_at_log(notes, settings)
    return notes.findings


def _stores(settings: Settings) -> list[tuple[str, str, str]]:
    return [("crm store", settings.store.crm, "crm"), ("access store", settings.store.access, "captive")]


async def _look_at(notes: Notes, name: str, dsn: str, package: str) -> None:
    try:
        age = await age_of(dsn, package)
        if age != "current":
            notes.fault(name, *_AGES[age])
            return
        path = sqlite_path(dsn)
        if path and (verdict := await asyncio.to_thread(_integrity, path)) != "ok":
            notes.fault(name, f"damaged ({verdict})", _BACKUP)
            return
    except (SetupError, OSError) as error:
        notes.fault(name, str(error), "see what it says; wificrm migrate makes what is missing")
        return
    except sqlite3.DatabaseError as error:
        notes.fault(name, str(error), _BACKUP)
        return
    notes.ok(name, "readable, of this program's schema")


def _integrity(path: Path) -> str:
    """SQLite's own word, "ok" where it found nothing within `CHECK_SECONDS`; a large store takes longer."""
    until = time.monotonic() + CHECK_SECONDS
    uri = f"file:{quote(str(path))}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, timeout=10)) as connection:
        connection.set_progress_handler(lambda: time.monotonic() > until, 10_000)
        try:
            return str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_INTERRUPT:
                raise
            return "ok"


def _look_aside(notes: Notes, settings: Settings) -> None:
    """Stores that could not be read and were moved out of the way when the portal started."""
    for name, dsn, package in _stores(settings):
        path = sqlite_path(dsn)
        for aside in kept_aside(path) if path else ():
            if package == "crm":
                notes.fault(
                    name,
                    f"set aside as {aside}: answers and staff accounts are in it",
                    "wificrm restore FILE with a backup from before that; once nothing is missing, delete the file",
                )
            else:
                notes.warn(
                    name,
                    f"set aside as {aside}: nobody lost their connection by it",
                    "nothing: it names devices and is deleted after a week",
                )


def _look_at_log(notes: Notes, settings: Settings) -> None:
    state, lines = describe(settings)
    told = "; ".join(lines)
    if state == "ok":
        notes.ok("connection log", told)
    else:
        (notes.fault if state == "fault" else notes.warn)(
            "connection log", told, "wificrm connections status says more; docs/connection-log.md"
        )
