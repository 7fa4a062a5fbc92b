"""How the connection log stands: for ``wificrm connections status`` and the doctor."""

import sqlite3
from datetime import date
from pathlib import Path
from typing import Literal

from captive.connections.audit import breaks
from captive.connections.keys import find_public, fingerprint
from captive.connections.store import DamagedLogError, opened, select_audit, select_days, set_aside_files
from crm.errors import SetupError
from crm.settings import Settings

State = Literal["ok", "warning", "fault"]


def describe(settings: Settings) -> tuple[State, list[str]]:
    """How it stands, and lines that say so; the first is the shortest."""
    section, path = settings.connection_log, Path(settings.connection_log.path)
    state: State = "ok"
    lines = ["off: no connection is recorded"]
    if section.on:
        try:
            key = fingerprint(find_public(section.public_key))
        except SetupError as error:
            return "fault", [f"connection_log.public_key: {error}"]
        lines = [f"on, sealed to key {key}; MACs {section.macs}; kept {section.days} days"]
    if path.exists():
        try:
            lines += _contents(path)
        except DamagedLogError as error:
            return "fault", [
                f"{path}: damaged ({error}); the portal moves it aside and begins a new one",
                *lines,
            ]
        except (SetupError, sqlite3.Error, OSError) as error:
            return "fault", [f"{path}: cannot be read: {error}", *lines]
        if lines[-1].startswith("audit: changed"):
            return "fault", [lines[-1], *lines[:-1]]
    elif section.on:
        state = "warning"
        lines.append(f"{path}: not there yet; the portal makes it when it starts")
    aside = set_aside_files(path)
    if aside:
        state = "warning"
        lines.append(f"{len(aside)} damaged files beside it, removed when they are {section.days} days old")
    return state, lines


def _contents(path: Path) -> list[str]:
    with opened(path) as conn:
        verdict = str(conn.execute("PRAGMA quick_check(1)").fetchone()[0])
        if verdict != "ok":
            raise DamagedLogError(verdict)
        days = select_days(conn, date.min, date.max)
        audit = list(select_audit(conn))
    told = f"{sum(n for _, n in days)} records"
    if days:
        told += f", {days[0][0]} to {days[-1][0]}"
    broken = list(breaks(audit))
    return [told, f"audit: changed at line {broken[0]}" if broken else f"audit: {len(audit)} lines, unbroken"]
