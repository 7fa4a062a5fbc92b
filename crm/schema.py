"""Which schema a store has, told without loading Alembic."""

import sqlite3
from importlib import import_module
from pathlib import Path
from typing import Literal

import msgspec
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError

from crm.engines import damaged, make_engine, store_url
from crm.errors import SetupError

Age = Literal["current", "older", "newer", "missing"]


class Migration(msgspec.Struct, frozen=True):
    """What ``python -m crm.migrate`` is told on standard input: bring *dsn* to the schema of *package*."""

    dsn: str
    package: str


async def is_current(dsn: str, package: str) -> bool:
    """Whether the store at *dsn* is there and has the newest schema of *package* (``crm``, ``captive``).

    Raises `SetupError` when a database server cannot be reached.
    """
    return await age_of(dsn, package) == "current"


async def age_of(dsn: str, package: str) -> Age:
    """How the schema of the store at *dsn* stands to this program's. Raises `SetupError` as `is_current` does."""
    version, head = await version_of(dsn, package), head_of(package)
    if version is None:
        return "missing"
    return "current" if version == head else "newer" if version > head else "older"


async def version_of(dsn: str, package: str) -> str | None:
    """The newest step that the store at *dsn* has; None where there is no store. Raises `SetupError`."""
    url = store_url(dsn)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
        return None
    engine = make_engine(dsn, readonly=True)
    try:
        async with engine.connect() as conn:
            return str((await conn.execute(text("SELECT version_num FROM alembic_version"))).scalar() or "")
    except ProgrammingError:  # no such table
        return None
    except OperationalError as error:
        code = getattr(error.orig, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        if code == sqlite3.SQLITE_ERROR:  # no such table
            return None
        raise SetupError(f"{dsn}: {error.orig}; see its rights and the disk") from None
    except DBAPIError as error:
        raise damaged(dsn, error) from None
    except OSError as error:
        raise SetupError(f"the {package} store cannot be reached: {error}; is the server running?") from None
    finally:
        await engine.dispose()


def head_of(package: str) -> str:
    """The newest step that this program knows of the schema of *package*; steps are numbered 0001, 0002, ..."""
    return str(import_module(f"{package}.migrations").HEAD)
