"""Both stores made fit for use, at the start and while the portal runs; guests go online whatever became of them.

A broken SQLite file is moved aside and a new one takes its place; an older schema is brought up to date by a
process of its own, so that the portal need not hold Alembic.
"""

import asyncio
import contextlib
import re
import sqlite3
import sys
import time
from datetime import date, datetime
from pathlib import Path

import msgspec
import structlog

from captive.gateway import DEVICE_PATTERN
from crm.engines import store_url
from crm.errors import SetupError
from crm.salvage import delete_expired, judge, set_aside
from crm.schema import Migration, age_of, head_of
from crm.settings import Settings

log = structlog.get_logger()

AGAIN_SECONDS = 15.0
"""Between two attempts at a store that cannot be used."""
MIGRATION_SECONDS = 600
"""After which a migration is given up; a large store takes minutes."""


_BROWSER = r"[a-z][a-z0-9_]{0,11} ([0-9]{1,3}(\.[0-9]{1,3}){3}|::1)\Z"
"""What plays a phone where the gateway is open: known by its address."""


class _Grant(msgspec.Struct, frozen=True):
    """What a row of the access store's grants must look like."""

    device: str
    expires: datetime
    up: int
    down: int
    seen_up: int
    seen_down: int
    extensions: int


class StoreCare:
    """Looks after the stores of *settings*. `prepare` before they are opened, `mend` again and again."""

    def __init__(self, settings: Settings) -> None:
        self._stores = {"crm": (settings.store.crm, "crm"), "access": (settings.store.access, "captive")}
        self._unfit: set[str] = set()
        self._again_at = 0.0

    def is_fit(self, name: str) -> bool:
        """Whether the store *name* (crm, access) could be made fit for use."""
        return name not in self._unfit

    async def prepare(self, now: datetime) -> None:
        """Make both fit for use, or say in the log why one cannot be used yet.

        Raises `SetupError` for one that a newer program made and that is not to be put aside.
        """
        for name in self._stores:
            await self._look_after(name, now)

    async def mend(self, now: datetime) -> None:
        """Try again what could not be done; delete what was kept aside long enough. Never raises."""
        if time.monotonic() >= self._again_at:
            for name in list(self._unfit):
                with contextlib.suppress(SetupError):
                    await self._look_after(name, None)
            self._again_at = time.monotonic() + AGAIN_SECONDS
        path = sqlite_path(self._stores["access"][0])
        if path:
            try:
                if await asyncio.to_thread(delete_expired, path, now):
                    log.info("a broken access store, kept for a week, was deleted")
            except OSError as error:
                log.warning("a broken access store cannot be deleted", reason=error.strerror)

    async def _look_after(self, name: str, now: datetime | None) -> None:
        """Make the store *name* fit; a broken one stays where it is without *now*: it is open."""
        dsn, package = self._stores[name]
        try:
            path = sqlite_path(dsn)
            fit = await (_fit_file(name, path, package, now) if path else _fit_server(name, dsn, package))
            if not fit:
                await _migrate(dsn, package)
        except _NotNowError as error:
            if name not in self._unfit:
                why = str(error)
                log.error("a store cannot be used, guests go online without it", store=name, reason=why)  # noqa: TRY400
            self._unfit.add(name)
        else:
            if name in self._unfit:
                log.info("a store can be used again", store=name)
            self._unfit.discard(name)


class _NotNowError(Exception):
    """It may be possible later."""


async def _fit_file(name: str, path: Path, package: str, now: datetime | None) -> bool:
    """Whether the file may be used as it is; a broken one is moved aside first."""
    check = check_access if name == "access" else _check_nothing
    condition = await asyncio.to_thread(judge, path, head_of(package), check)
    if condition == "newer" and name != "access":
        raise SetupError(f"{path}: this store is of a newer wificrm; install that one again, or a backup")
    if condition == "out_of_reach":
        raise _NotNowError(f"{path}: cannot be opened for reading and writing; see its rights and the disk")
    try:
        if condition in ("damaged", "newer"):
            if now is None:
                raise _NotNowError(f"{path}: {condition}; it is moved aside when the portal starts again")
            aside = await asyncio.to_thread(set_aside, path, now)
            log.error("a store was set aside, a new one takes its place", was=condition, kept=str(aside))
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    except OSError as error:
        raise _NotNowError(f"{path}: {error.strerror}") from None
    return condition == "sound"


async def _fit_server(name: str, dsn: str, package: str) -> bool:
    """Whether the database on a server may be used as it is."""
    try:
        age = await age_of(dsn, package)
    except Exception as error:
        raise _NotNowError(f"{type(error).__name__}; is the database server running?") from None
    if age == "newer":
        raise SetupError(f"the {name} store is of a newer wificrm; install that one again")
    return age == "current"


async def _migrate(dsn: str, package: str) -> None:
    pipes = asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "crm.migrate", stdin=pipes, stderr=pipes
        )
        async with asyncio.timeout(MIGRATION_SECONDS):
            _, said = await process.communicate(msgspec.json.encode(Migration(dsn, package)))
    except OSError as error:  # TimeoutError is one
        raise _NotNowError(f"it cannot be brought to this program's schema: {type(error).__name__}") from None
    if process.returncode:
        lines = said.decode("utf-8", "replace").strip().splitlines() or ["no reason given"]
        raise _NotNowError(lines[-1])


def check_access(connection: sqlite3.Connection) -> None:
    """Read all that the access store is read for; raises ValueError where it cannot be what we wrote.

    Damage inside a value leaves the file sound for SQLite, and would fail at the gate or in the middle of a day.
    """
    columns = ", ".join(f'"{name}"' for name in _Grant.__struct_fields__)
    for row in connection.execute(f'SELECT {columns} FROM "grant"'):  # noqa: S608 - our own names
        grant = msgspec.convert(dict(zip(_Grant.__struct_fields__, row, strict=True)), _Grant)
        if not any(re.match(pattern, grant.device) for pattern in (DEVICE_PATTERN, _BROWSER)):
            raise ValueError("a device")
    for day, secret in connection.execute("SELECT day, secret FROM day_secret"):
        date.fromisoformat(day)
        if not isinstance(secret, bytes) or len(secret) != 32:
            raise ValueError("the day's secret")
    for mark, seconds, amount in connection.execute("SELECT device, seconds, bytes FROM usage"):
        if not isinstance(mark, bytes) or not isinstance(seconds, float) or not isinstance(amount, int):
            raise ValueError("what a device had")  # noqa: TRY004 - of the file, not of an argument
    for table in ("asked", "wish"):
        for (key,) in connection.execute(f"SELECT device FROM {table}"):  # noqa: S608
            if not isinstance(key, bytes if table == "asked" else str):
                raise ValueError(table)  # noqa: TRY004


def _check_nothing(_: sqlite3.Connection) -> None:
    """A crm store is looked at as far as SQLite can tell."""


def sqlite_path(dsn: str) -> Path | None:
    """The file that *dsn* names; None for a database on a server."""
    url = store_url(dsn)
    return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None
