"""Engines for both databases, with the pragmas that durability and privacy ask of SQLite."""

from collections.abc import Awaitable, Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import StaticPool

from crm.errors import SetupError

CONNECT_SECONDS = 5
"""Within which a database server is to take a call; without a bound a dead network holds it for a minute."""

BUSY_TIMEOUT = 10_000
"""Milliseconds for which SQLite waits for another process (the command line) to finish its write."""


def store_url(dsn: str) -> URL:
    """The SQLAlchemy address of *dsn*: a file's path, ``sqlite:///...`` or ``postgresql://...``.

    Raises `SetupError` for anything else.
    """
    if "://" not in dsn:
        return URL.create("sqlite+aiosqlite", database=str(Path(dsn)))
    try:
        url = make_url(dsn)
    except (ArgumentError, ValueError):
        raise SetupError(
            "the store's address cannot be read; write a path or postgresql://user@host/name"
        ) from None
    drivers = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}
    backend = url.get_backend_name()
    if backend not in drivers:
        raise SetupError(f"a store cannot live in {backend}; use a path (SQLite) or postgresql://...")
    return url.set(drivername=drivers[backend])


def make_engine(dsn: str, *, readonly: bool = False, pool_size: int = 1) -> AsyncEngine:
    """An engine for *dsn* with the pragmas that durability and privacy ask for."""
    url = store_url(dsn)
    if url.get_backend_name() == "postgresql":
        try:
            connect = _make_connect(import_module("asyncpg"))
        except ModuleNotFoundError:
            raise SetupError("PostgreSQL's driver is missing; pip install 'wificrm[postgres]'") from None
        return create_async_engine(
            url,
            pool_size=pool_size,
            max_overflow=4,
            pool_pre_ping=True,
            connect_args={"timeout": CONNECT_SECONDS, "async_creator_fn": connect},
            hide_parameters=True,
        )
    engine = create_async_engine(
        url,
        pool_size=pool_size,
        max_overflow=4,
        connect_args={"timeout": BUSY_TIMEOUT / 1000},
        hide_parameters=True,
    )
    _prepare_sqlite(engine.sync_engine, readonly=readonly)
    return engine


def _make_connect(asyncpg: Any) -> Callable[..., Awaitable[Any]]:  # noqa: ANN401 - the driver has no types
    async def connect(*args: Any, **options: Any) -> Any:  # noqa: ANN401
        """Connect; what the server says against it is an OSError, as it is when there is no server."""
        try:
            return await asyncpg.connect(*args, **options)
        except asyncpg.PostgresError as error:
            raise ConnectionError(str(error)) from None

    return connect


def make_batch_engine(dsn: str) -> Engine | None:
    """SQLite's connection for group commits; None for PostgreSQL, which needs none of its own."""
    url = store_url(dsn)
    if url.get_backend_name() == "postgresql":
        return None
    engine = create_engine(
        url.set(drivername="sqlite"),
        poolclass=StaticPool,
        connect_args={"timeout": BUSY_TIMEOUT / 1000, "check_same_thread": False},
        hide_parameters=True,
    )
    _prepare_sqlite(engine, readonly=False)
    return engine


def _prepare_sqlite(engine: Engine, *, readonly: bool) -> None:
    @event.listens_for(engine, "connect")
    def set_pragmas(connection: Any, _record: object) -> None:  # noqa: ANN401
        connection.isolation_level = None  # we say BEGIN ourselves
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA secure_delete=ON")
        cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT}")
        if readonly:
            cursor.execute("PRAGMA query_only=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:  # noqa: ANN401
        connection.exec_driver_sql("BEGIN" if readonly else "BEGIN IMMEDIATE")


def damaged(dsn: str, error: DBAPIError) -> SetupError:
    """What to say when SQLite cannot read the file at *dsn*, or PostgreSQL does not do what it is asked there."""
    url = store_url(dsn)
    if url.get_backend_name() == "postgresql":  # of the address not all: there may be a password in it
        return SetupError(
            f"the database {url.database} of {url.username}: {error.orig}; see what that user may do there"
        )
    return SetupError(
        f"{dsn}: {error.orig}; put a backup there, or move the file away and run: wificrm migrate"
    )
