"""A copy of a crm store while it is in use, and back: SQLite by its own means, PostgreSQL by pg_dump and pg_restore.

A copy of a SQLite store is written anew, row by row in the order of the keys, so that it tells nothing of the order
in which answers came. A dump of PostgreSQL has its rows as they lie in its files.
"""

import asyncio
import os
import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from captive.backup.folder import give_to_owner_of, make_folder, need_room
from crm.commands_here import to_install
from crm.engines import make_engine, store_url
from crm.errors import SetupError
from crm.migrate import migrate
from crm.salvage import judge, says_nothing
from crm.schema import head_of

_TABLES = """
SELECT c.relname, c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND n.nspname = current_schema()
AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
"""
"""Each table that is not an extension's: its name, and how it is written in SQL."""

WAIT_SECONDS = 60.0
"""For the portal to finish what it is writing."""


class DamagedStoreError(SetupError):
    """The store cannot be read through, however well it looks at a glance."""


async def copy_out(dsn: str, target: Path) -> None:
    """Write a copy of the store at *dsn* to *target*, in a workshop, of one moment.

    Raises `SetupError`, for a file that is damaged `DamagedStoreError`.
    """
    url = store_url(dsn)
    if url.get_backend_name() == "sqlite":
        await asyncio.to_thread(_copy_file_out, Path(url.database or ""), target)
    else:
        options = ("--format=custom", "--no-owner", "--no-privileges", "--exclude-table-data=staff_session")
        await _run("pg_dump", *options, f"--file={target}", dsn=dsn)


async def copy_in(source: Path, dsn: str) -> None:
    """Put the copy *source* in place of what is in the store at *dsn*, in one transaction. Raises `SetupError`.

    Whoever has the store open goes on with what was put there. *source* may be brought to this program's schema.
    """
    url = store_url(dsn)
    if url.get_backend_name() == "sqlite":
        condition = await asyncio.to_thread(judge, source, head_of("crm"))
        if condition not in ("sound", "older"):
            raise SetupError(f"the backup's store is {condition}: nothing was changed; use another backup")
        if condition == "older":
            await migrate(str(source), "crm")
        await asyncio.to_thread(_copy_file_in, source, Path(url.database or ""))
        return
    await _drop_newer_tables(dsn, await _run("pg_restore", "--list", source, dsn=dsn))
    options = ("--clean", "--if-exists", "--no-owner", "--no-privileges", "--single-transaction")
    await _run("pg_restore", *options, "--dbname", url.database or "", source, dsn=dsn)
    await migrate(dsn, "crm")


def _copy_file_out(source: Path, target: Path) -> None:
    try:
        # The copy, and the archive of it: a fifth of it as a rule.
        need_room(target.parent, source.stat().st_size * 3 // 2)
        with closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            connection.execute(f"PRAGMA busy_timeout={WAIT_SECONDS * 1000:.0f}")
            # Nobody else knows the copy, and many file servers know no locks.
            connection.execute("VACUUM INTO ?", (f"{target.absolute().as_uri()}?nolock=1",))
    except sqlite3.Error as error:
        kind = SetupError if says_nothing(error, source) else DamagedStoreError
        raise kind(f"{source}: cannot be copied: {error}; wificrm doctor says more") from None


def _copy_file_in(source: Path, target: Path) -> None:
    try:
        make_folder(target.parent)
        target.touch(mode=0o600)
        with closing(sqlite3.connect(source)) as copy:
            _end_sessions(copy)
            _put_pages(copy, target)
    except (sqlite3.Error, OSError) as error:
        raise SetupError(f"{target}: nothing was restored: {error}; is the disk full, is it yours?") from None
    give_to_owner_of(target.parent, target)


def _end_sessions(copy: sqlite3.Connection) -> None:
    """Who has signed out since, or been shut out by a new password, is not signed in by an old backup."""
    with copy:
        copy.execute("DELETE FROM staff_session")


def _put_pages(copy: sqlite3.Connection, target: Path) -> None:
    with closing(sqlite3.connect(target, timeout=WAIT_SECONDS)) as connection:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_NOTADB:
                raise
            # Whoever called has kept it; now there is something to write into. A link may lead root anywhere.
            os.close(os.open(target, os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW))
        copy.backup(connection)
        connection.execute("PRAGMA journal_mode=WAL")
        with suppress(sqlite3.OperationalError):  # no room for it: what was put there holds all the same
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


async def _drop_newer_tables(dsn: str, listing: str) -> None:
    """Drop what a newer release added to the dump of that *listing*: pg_restore knows nothing of it.

    Left there, it keeps tables that it refers to from being replaced, and the next upgrade from making it again.
    """
    lines = [line.split() for line in listing.splitlines() if not line.startswith(";")]
    known = {line[5] for line in lines if line[3:4] == ["TABLE"] and len(line) > 5}
    if "alembic_version" not in known:
        raise SetupError("the backup's dump is none of a store: nothing was changed; use another backup")
    engine = make_engine(dsn)
    try:
        async with engine.begin() as conn:
            for name, quoted in (await conn.execute(text(_TABLES))).all():
                if name not in known:
                    await conn.exec_driver_sql(f"DROP TABLE {quoted} CASCADE")
    except (DBAPIError, OSError) as error:
        raise SetupError(
            f"{store_url(dsn).database}: nothing was restored: {getattr(error, 'orig', error)}"
        ) from None
    finally:
        await engine.dispose()


async def _run(program: str, *arguments: str | Path, dsn: str) -> str:
    """What *program* said. Raises `SetupError`."""
    if not (path := shutil.which(program)):
        raise SetupError(f"{program} is missing: {to_install('postgresql-client', 'pgsql-cli-extra')}")
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        path, *arguments, env=_environment(dsn), stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe
    )
    said, complaint = await process.communicate()
    if process.returncode:
        lines = complaint.decode("utf-8", "replace").strip().splitlines() or ["it gave no reason"]
        raise SetupError(f"{program}: {lines[0]}")
    return said.decode("utf-8", "replace")


def _environment(dsn: str) -> Mapping[str, str]:
    """Where the database is, for PostgreSQL's programs; the list of processes is no place for a password."""
    url = store_url(dsn)
    asked = {name: value for name, value in url.query.items() if isinstance(value, str)}
    given = {
        "PGHOST": url.host or asked.get("host"),
        "PGPORT": str(url.port) if url.port else asked.get("port"),
        "PGUSER": url.username,
        "PGPASSWORD": str(url.password) if url.password else None,
        "PGPASSFILE": asked.get("passfile"),
        "PGSSLMODE": asked.get("ssl"),
        "PGDATABASE": url.database,
    }
    return {"LC_ALL": "C.UTF-8"} | {name: value for name, value in given.items() if value}
